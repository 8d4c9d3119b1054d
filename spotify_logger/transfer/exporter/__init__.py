"""Gives the log out as JSON lines, JSON, CSV, or listens for ListenBrainz."""
