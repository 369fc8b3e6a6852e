"""What keeps a worker from doing its work, looked for before it starts: `axn doctor`."""
