"""The questions that the log answers."""
