"""Renewals against a real Redis and the sandbox of the provider's API."""
