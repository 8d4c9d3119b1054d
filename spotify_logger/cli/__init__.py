"""The `spotify-logger` command."""
