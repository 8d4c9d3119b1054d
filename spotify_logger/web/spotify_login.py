"""The login at Spotify, from the page: an address to open, and its answer, by the browser or pasted."""

from __future__ import annotations

import io
import select
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger import oauth
from spotify_logger.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.login import Attempt, Talk, listener_of, save, token_of
from spotify_logger.oauth import TokenFile
from spotify_logger.transport import HttpSender

if TYPE_CHECKING:
    from spotify_logger.config import Settings
    from spotify_logger.loopback import Listener

PATIENCE = 600.0
"""Seconds after which an attempt is given up: the page can begin another one."""
LOOK = 0.2
"""Seconds between two looks at whether somebody has pasted something."""


class SpotifyLogin:
    """One attempt to log in at a time.

    Args:
        settings: The app.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: _Running | None = None

    def begin(self) -> None:
        """Begin anew; an attempt that is under way is given up.

        Raises:
            Misconfigured: There is no app to log in with.
        """
        if not self._settings.client_id:
            raise Misconfigured(
                "SPOTIFY_CLIENT_ID is missing: the page looks for it where the logger does, in the environment, "
                ".env and auth.py"
            )
        self.end()
        self._running = _Running(self._settings)
        self._running.start()

    def end(self) -> None:
        """Give an attempt up that is under way."""
        if self._running:
            self._running.stop()
            self._running = None

    def paste(self, text: str) -> None:
        """Take the address that somebody's browser ended at."""
        if self._running:
            self._running.attempt.take_line(text)

    @property
    def url(self) -> str:
        """The address to open; "" while no answer is waited for."""
        return self._running.attempt.url if self._running and self._running.is_alive() else ""

    @property
    def is_done(self) -> bool:
        """Whether the last attempt has ended with a login."""
        return self._running is not None and self._running.is_done

    @property
    def lines(self) -> list[str]:
        """What is to be said about the last attempt."""
        return self._running.lines() if self._running else []


class _Running(threading.Thread):
    """An attempt, until it has its answer, or is given up."""

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
        self.join()

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
