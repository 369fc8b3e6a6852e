"""The registry of bindings held against the provider: taking in what was bound elsewhere, and finding what drifted."""
