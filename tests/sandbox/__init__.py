"""Tests of worker.sandbox."""
