"""The Spotify login from the page: a URL to open, whose answer comes by redirect or is pasted."""

import threading

from spotify_logger.config.settings import Settings
from spotify_logger.spotify import login
from spotify_logger.system import atomic_file
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

ATTEMPT_TIMEOUT = 600.0  # seconds after which an attempt is given up
STOP_TIMEOUT = 5.0  # seconds to wait for the thread; one that is requesting the token may take longer


class LoginThread(threading.Thread):
    """An attempt to log in, in a thread of its own; with another account than `owner`, if known, it fails."""

    def __init__(self, settings: Settings, owner: str = "") -> None:
        super().__init__(name="login", daemon=True)
        if not settings.client_id:
            where = "where the logger does, in the environment, .env and auth.py"
            raise Misconfigured(f"SPOTIFY_CLIENT_ID is missing: the page looks for it {where}")
        try:
            atomic_file.make_state_dir(settings.state_dir)
        except OSError as error:
            trouble = f"{settings.state_dir} cannot be created ({error.strerror})"
            raise Misconfigured(f"{trouble}: set STATE_DIR to the folder that the logger uses") from None
        self._owner = owner
        self.lines: list[str] = []  # the messages so far
        self.attempt = login.LoginAttempt(settings, self.lines.append)

    @property
    def url(self) -> str:
        """The URL to open; "" if the attempt is over."""
        return self.attempt.url if self.is_alive() else ""

    def stop(self) -> None:
        """Cancel the attempt and wait until the port is free."""
        self.attempt.is_over.set()
        self.join(STOP_TIMEOUT)

    def run(self) -> None:
        """Wait for the answer, exchange it for a token and save that."""
        try:
            with self.attempt.listen():
                self.attempt.is_over.wait(ATTEMPT_TIMEOUT)
                if self.attempt.answer:
                    self.attempt.finish(self._owner, self._refuse)
        except SpotifyLoggerError as error:
            self.attempt.say(f"{error}.")

    def _refuse(self, conflict: str) -> bool:
        advice = "log out of Spotify in the browser first; `spotify-logger login` also accepts this account"
        self.attempt.say(f"Not saved: {conflict}. To log in with that account, {advice}.")
        return False
