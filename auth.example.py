"""Copy this file to auth.py and fill it in; git ignores that one. Or start run.py on a terminal, which asks.

auth.py is read, never run: only texts in quotes count. The environment and the file .env win over it
(SPOTIFY_CLIENT_ID, SPOTIFY_CLIENT_SECRET, SPOTIFY_REDIRECT_URI).
"""

# Both come from an app of your own at Spotify, which takes two minutes:
#   1. Open https://developer.spotify.com/dashboard, log in, and choose "Create app".
#      Its owner needs Spotify Premium. Name and description are yours to choose.
#   2. As "Redirect URI" enter exactly what stands below, and tick "Web API".
#   3. Open the app's settings: there is the client ID, and the client secret under "View client secret".
# Somebody else than the app's owner has to be added under "User Management", to be listened to.
client_id = ""

# May stay empty: the login then works without a secret (PKCE).
# Nobody else needs to read it: chmod 600 auth.py
client_secret = ""

# Where Spotify sends your browser after the login: this machine. "localhost" is refused by Spotify, and any
# change here has to be made in the app's settings too, letter by letter.
redirect_uri = "http://127.0.0.1:8888/callback"
