"""Import Spotify's exports, this program's own, and the samples of 2019."""
