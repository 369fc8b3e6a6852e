"""Tests of worker.receiver."""
