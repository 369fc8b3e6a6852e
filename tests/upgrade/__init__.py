"""Releases side by side on one ledger."""
