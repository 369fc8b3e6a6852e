"""The parts of `benchmarks.speed`: those who bind and call back, the servers they call, and the figures."""
