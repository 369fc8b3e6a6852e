"""Batches: many rows, each of which becomes a job. Read, checked and started here, and fed to the workers from here."""
