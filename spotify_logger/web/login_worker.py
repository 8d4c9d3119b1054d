"""An attempt to log in at Spotify, in a thread, until it has its answer or is given up.

Imported when one is begun: what speaks to Spotify takes more memory than much of the page.
"""

from __future__ import annotations

import io
import select
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger.spotify import oauth
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.login import Attempt, Talk, listener_of, save, token_of
from spotify_logger.spotify.oauth import TokenFile
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.callback_server import Listener

PATIENCE = 600.0
"""Seconds after which an attempt is given up: the page can begin another one."""
GOODBYE = 5.0
"""Seconds that an attempt gets to end; one that asks Spotify for the token just now may take longer."""
LOOK = 0.2
"""Seconds between two looks at whether somebody has pasted something."""


class LoginThread(threading.Thread):
    """One attempt.

    Args:
        settings: The app.

    Attributes:
        attempt: The address that is handed out; takes what somebody pastes.
        is_done: Whether it has ended with a login.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="login", daemon=True)
        self.is_done = False
        self._screen = io.StringIO()
        self._talk = Talk(self._screen)
        self.attempt = Attempt(settings, self._talk)
        self._settings = settings
        self._stopped = threading.Event()

    def lines(self) -> list[str]:
        """What was said so far."""
        return self._screen.getvalue().splitlines()

    def stop(self) -> None:
        """Give it up, and wait until the port is free again."""
        self._stopped.set()
        self.join(GOODBYE)

    def run(self) -> None:
        """Wait for the answer, and make a token of it."""
        try:
            with listener_of(self.attempt, self._talk) as listener:
                if self._wait(listener):
                    self._finish()
        except SpotifyLoggerError as error:
            self._talk.say(f"{error}.")

    def _wait(self, listener: Listener | None) -> bool:
        due = time.monotonic() + PATIENCE
        while self.attempt.answer is None and not self._stopped.is_set() and time.monotonic() < due:
            if listener is None:
                self._stopped.wait(LOOK)
                continue
            readable, _, _ = select.select(listener.sources, [], [], LOOK)
            listener.serve(readable)
        return self.attempt.answer is not None

    def _finish(self) -> None:
        answer = self.attempt.answer
        if answer is None:
            return
        with closing(HttpSender()) as send:
            token = token_of(send, self.attempt, answer, time.time, self._talk)
        if token is not None:
            save(TokenFile(self._settings.state_dir / oauth.TOKEN_FILE), token)
            self.is_done = True
