"""The axn command."""
