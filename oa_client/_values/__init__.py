"""The values that callers pass and receive, and the errors."""
