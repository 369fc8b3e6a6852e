"""Producers' requests become jobs: checked, filed in the ledger, published."""
