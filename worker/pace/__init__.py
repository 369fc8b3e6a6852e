"""The rate shared by all workers, per account and action."""
