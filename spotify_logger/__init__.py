"""Spotify Logger: keeps every play of a Spotify listener in Redis."""

__version__ = "0.5.0"
