"""The login at Spotify, from the page: an address to open, and its answer, by the browser or pasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.system import atomic_file
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.web.login_worker import LoginThread


class SpotifyLogin:
    """One attempt to log in at a time.

    Args:
        settings: The app.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._attempt: LoginThread | None = None

    def begin(self) -> None:
        """Begin anew; an attempt that is under way is given up.

        Raises:
            Misconfigured: There is no app to log in with.
        """
        if not self._settings.client_id:
            raise Misconfigured(
                "SPOTIFY_CLIENT_ID is missing: the page looks for it where the logger does, in the "
                "environment, .env and auth.py"
            )
        from spotify_logger.web.login_worker import LoginThread  # noqa: PLC0415 - it is seldom needed, and large

        try:
            atomic_file.make_state_dir(self._settings.state_dir)
        except OSError as error:
            raise Misconfigured(
                f"{self._settings.state_dir} cannot be made ({error.strerror}): set STATE_DIR to the logger's"
            ) from None
        self.stop()
        self._attempt = LoginThread(self._settings)
        self._attempt.start()

    def stop(self) -> None:
        """Give an attempt up that is under way."""
        if self._attempt:
            self._attempt.stop()
            self._attempt = None

    def paste(self, text: str) -> None:
        """Take the address that somebody's browser ended at."""
        if self._attempt:
            self._attempt.attempt.take_line(text)

    @property
    def url(self) -> str:
        """The address to open; "" while no answer is waited for."""
        return self._attempt.attempt.url if self._attempt and self._attempt.is_alive() else ""

    @property
    def is_done(self) -> bool:
        """Whether the last attempt has ended with a login."""
        return self._attempt is not None and self._attempt.is_done

    @property
    def lines(self) -> list[str]:
        """What is to be said about the last attempt."""
        return self._attempt.lines() if self._attempt else []
