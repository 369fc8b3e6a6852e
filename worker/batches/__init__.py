"""Batches: files of many rows, each of which becomes a job or a rebinding. So far their input: reading and checking."""
