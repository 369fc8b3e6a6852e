"""A year of renewals in minutes: a real Redis, the sandbox and the engine, whose clocks move together."""
