"""Import Spotify's exports, our own, and the samples of the 2019 script."""
