"""The few ways in which asking can fail; each answers the question "what now?".

Every message is one line, fit to be shown, and free of secrets.
"""

from __future__ import annotations


class SpotifyLoggerError(Exception):
    """The base of every error that this project raises on purpose."""


class TryLater(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """A passing fault: timeout, reset, 5xx, nonsense instead of JSON. Ask again after a backoff."""


class Unreachable(TryLater):
    """No whole answer came at all: this machine is offline, or the way to the service is."""


class NotBefore(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """A rate limit or quota: nothing may be sent for `seconds` from now.

    Attributes:
        seconds: How long to wait, from the moment of raising, at least 0.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class LoginNeeded(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """Only a person can help: the login is missing, dead, or lacks a scope."""


class Misconfigured(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """A setting is missing or wrong. The message names the setting, where it came from, and what to do."""


LOGIN_ADVICE = "run `spotify-logger login`"
