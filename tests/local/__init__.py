"""Tests of worker.local."""
