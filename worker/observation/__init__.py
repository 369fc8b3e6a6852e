"""What a worker process tells of itself to machines: metrics, and whether it is alive and ready."""
