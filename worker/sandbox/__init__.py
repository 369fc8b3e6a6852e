"""The provider's API, played locally: a second opinion on the wire format that imports nothing of the engine."""
