"""The parts of `benchmarks.pace`: the provider, those who pace their calls, and the figures."""
