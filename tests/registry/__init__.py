"""The registry held against the provider."""
