"""A callback URL to try against: verifies Standard Webhooks signatures and keeps what came in."""
