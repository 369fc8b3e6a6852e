"""The parts of `benchmarks.callbacks`: its receivers and its deliveries."""
