"""Copy this file to auth.py, which git ignores, and fill it in. Or start run.py in a terminal, which asks.

auth.py is parsed, never executed: only quoted strings count. The environment and the file .env override it
(SPOTIFY_CLIENT_ID, SPOTIFY_CLIENT_SECRET, SPOTIFY_REDIRECT_URI).
"""

# Both come from your own Spotify app, which takes two minutes to create:
#   1. Open https://developer.spotify.com/dashboard, log in, and choose "Create app".
#      Its owner needs Spotify Premium. Name and description are up to you.
#   2. As "Redirect URI" enter exactly the redirect_uri below, and tick "Web API".
#   3. Open the settings of the app: they show the client ID, and "View client secret" the secret.
# Listeners other than the owner of the app have to be added under "User Management".
client_id = ""

# May stay empty: the login then works without a secret (PKCE).
# Keep it private: chmod 600 auth.py
client_secret = ""

# Where Spotify sends your browser after the login: this machine. Spotify rejects "localhost". If you change
# it, change it in the settings of the app too: both have to be identical.
redirect_uri = "http://127.0.0.1:8888/callback"
