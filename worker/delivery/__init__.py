"""Delivers callbacks: who may be tried when, and what becomes of a try."""
