"""Export the log as JSON lines, JSON, CSV, or listens for ListenBrainz."""
