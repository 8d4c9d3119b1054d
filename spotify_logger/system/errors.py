"""The errors of this project: each class says what to do next, each message is a line without secrets."""


class SpotifyLoggerError(Exception):
    """The base class of all errors that this project raises."""


class TryLater(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """A transient error: timeout, reset, 5xx, invalid JSON. Retry after a backoff."""


class Unreachable(TryLater):
    """No complete response arrived: this machine, or the way to the service, is offline."""


class NotBefore(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """A rate limit or quota: send nothing for `seconds` from now."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class LoginNeeded(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """The user has to log in: the login is missing, expired, or lacks a scope."""


class Misconfigured(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """A setting is missing or invalid. The message names the setting, its source, and what to do."""


LOGIN_ADVICE = "run `spotify-logger login`"


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and its causes, the root cause last."""
    return [error, *chain(error.__cause__ or error.__context__)] if error is not None else []
