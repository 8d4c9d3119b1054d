"""Whether the logger is well, and what is playing."""
