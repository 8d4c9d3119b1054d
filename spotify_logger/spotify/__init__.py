"""Spotify's Web API: HTTP with a deadline, rate limit, OAuth, tokens, login, the two endpoints."""
