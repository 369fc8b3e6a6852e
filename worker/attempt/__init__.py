"""One attempt at a job, and what follows from its outcome."""
