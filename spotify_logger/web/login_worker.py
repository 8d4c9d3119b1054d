"""A login attempt in a thread of its own.

Imported on demand: the HTTP client takes a lot of memory.
"""

from __future__ import annotations

import io
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger.spotify import oauth
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.login import (
    POLL_SECONDS,
    LoginAttempt,
    Prompt,
    exchange_redirect,
    save_token,
    start_callback_server,
)
from spotify_logger.spotify.oauth import TokenFile
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.login import Redirect

ATTEMPT_TIMEOUT = 600.0
"""Seconds after which an attempt is given up."""
STOP_TIMEOUT = 5.0
"""Seconds to wait for the thread; one that is requesting the token may take longer."""


class LoginThread(threading.Thread):
    """One login attempt.

    Args:
        settings: The Spotify app to log in with.

    Attributes:
        attempt: Has the URL to open, and takes the answer.
        is_done: Whether it succeeded.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="login", daemon=True)
        self.is_done = False
        self._output = io.StringIO()
        self._prompt = Prompt(self._output)
        self.attempt = LoginAttempt(settings, self._prompt)
        self._settings = settings
        self._stopped = threading.Event()

    def lines(self) -> list[str]:
        """Return the messages so far."""
        return self._output.getvalue().splitlines()

    def stop(self) -> None:
        """Cancel the attempt and wait until the port is free."""
        self._stopped.set()
        self.join(STOP_TIMEOUT)

    def run(self) -> None:
        """Wait for the answer and exchange it for a token."""
        due = time.monotonic() + ATTEMPT_TIMEOUT
        try:
            with start_callback_server(self.attempt, self._prompt):
                while not self._stopped.is_set() and not self.attempt.answer and time.monotonic() < due:
                    self._stopped.wait(POLL_SECONDS)
            if self.attempt.answer:
                self._finish(self.attempt.answer)
        except SpotifyLoggerError as error:
            self._prompt.say(f"{error}.")

    def _finish(self, answer: Redirect) -> None:
        with closing(HttpSender()) as send:
            token = exchange_redirect(send, self.attempt, answer, time.time, self._prompt)
        if token is not None:
            save_token(TokenFile(self._settings.state_dir / oauth.TOKEN_FILE), token)
            self.is_done = True
