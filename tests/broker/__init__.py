"""A broker that misbehaves, and a real worker on it."""
