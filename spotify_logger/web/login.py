"""The Spotify login from the page: a URL to open, whose answer comes by redirect or is pasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.system import atomic_file
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.web.login_worker import LoginThread


class SpotifyLogin:
    """Runs one login attempt at a time.

    Args:
        settings: The Spotify app to log in with.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._attempt: LoginThread | None = None

    def begin(self) -> None:
        """Begin a new attempt, and cancel the one in progress.

        Raises:
            Misconfigured: The Spotify app is not configured, or STATE_DIR is not writable.
        """
        if not self._settings.client_id:
            raise Misconfigured(
                "SPOTIFY_CLIENT_ID is missing: the page looks for it where the logger does, in the "
                "environment, .env and auth.py"
            )
        from spotify_logger.web.login_worker import LoginThread  # noqa: PLC0415 - loads the HTTP client

        try:
            atomic_file.make_state_dir(self._settings.state_dir)
        except OSError as error:
            raise Misconfigured(
                f"{self._settings.state_dir} cannot be created ({error.strerror}): set "
                "STATE_DIR to the one of the logger"
            ) from None
        self.stop()
        self._attempt = LoginThread(self._settings)
        self._attempt.start()

    def stop(self) -> None:
        """Cancel the attempt in progress."""
        if self._attempt:
            self._attempt.stop()
            self._attempt = None

    def paste(self, text: str) -> None:
        """Complete the attempt with the redirect URL that a user pasted."""
        if self._attempt:
            self._attempt.attempt.take_line(text)

    @property
    def url(self) -> str:
        """The URL to open; "" if no attempt is in progress."""
        return self._attempt.attempt.url if self._attempt and self._attempt.is_alive() else ""

    @property
    def is_done(self) -> bool:
        """Whether the last attempt succeeded."""
        return self._attempt is not None and self._attempt.is_done

    @property
    def lines(self) -> list[str]:
        """Messages of the last attempt."""
        return self._attempt.lines() if self._attempt else []
