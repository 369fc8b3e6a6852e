"""Tests of worker.intake."""
