"""Callbacks: body, signature, guard."""
