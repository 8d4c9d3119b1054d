"""The command `spotify-logger`."""
