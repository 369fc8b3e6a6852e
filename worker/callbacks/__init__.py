"""The callback's body, its signature and its one POST."""
