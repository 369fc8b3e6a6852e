"""Attempts with a fake provider and a real ledger."""
