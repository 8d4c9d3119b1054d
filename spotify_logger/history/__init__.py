"""Plays that were not logged here: taken in from Spotify's exports, and given out to whom they belong."""
