"""The shared rate on a real Redis, and simulated."""
