"""Brings in Spotify's export, this project's own, and the samples of 2019."""
