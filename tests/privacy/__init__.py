"""Numbers at rest: sealed, rotated, forgotten."""
