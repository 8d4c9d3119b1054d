"""What is wrong with Redis and what to do about it, in words that follow on the server's name. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from redis import exceptions

from spotify_logger.system.log import sanitize

MAX_SERVER_TEXT = 200
"""Characters of a server's own words that are passed on."""

REPLICA = "is a read-only replica: let REDIS_URL point to the primary"
CLUSTER = "is a node of a Redis Cluster: write redis+cluster:// instead of redis:// in REDIS_URL"

ADVICE_BY_CODE = {
    "WRONGTYPE": "holds something else there than a play log: rename or delete that key, or set REDIS_PREFIX",
    "OOM": "has no memory left (maxmemory): raise it, or free some",
    "MISCONF": "cannot save to its disk and takes no writes: free disk space, and look into its log",
    "NOPERM": "refuses this user: its ACL has to allow the command, on keys that begin with REDIS_PREFIX",
    "NOREPLICAS": "has too few replicas and takes no writes (min-replicas-to-write)",
    "READONLY": REPLICA,
    "MASTERDOWN": REPLICA,
    "MOVED": CLUSTER,
    "ASK": CLUSTER,
    "CLUSTERDOWN": "is a node of a Redis Cluster that is not whole: some of its masters are down",
}
"""The error codes of Redis that a logger can meet."""
READ_ONLY_CODES = frozenset({"OOM", "MISCONF", "NOREPLICAS", "READONLY"})
"""Those of a server that can be read from."""

CODE_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
)
"""redis-py takes these codes off the text, some of them only in later versions, and makes a class of each."""

ADVICE_BY_TEXT = (
    ("max number of clients", "has no connection left for us (maxclients): close some, or allow more"),
    ("without any password", "has no password, but REDIS_URL gives one: take it out"),
    ("no password is set", "has no password, but REDIS_URL gives one: take it out"),
    ("Authentication required", "wants a password: put it into REDIS_URL, redis://:password@host"),
    ("DB index", "has no such database: check the number at the end of REDIS_URL"),
)
"""Errors that have no code of their own."""

_SILENT = "does not answer in time: it hangs, is overloaded, or REDIS_URL is wrong"
_CLOSED = "closed the connection: it may be restarting"

ADVICE_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.BusyLoadingError, "is still loading its data: it answers when that is done"),
    (exceptions.AuthenticationError, "does not accept user name or password: check both in REDIS_URL"),
    (exceptions.TimeoutError, _SILENT),
    (TimeoutError, _SILENT),
    (exceptions.ConnectionError, _CLOSED),
    (ConnectionError, _CLOSED),
)

CLOSED_ERRORS = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Redis understood a command and did not carry it out; those beside it are not touched by that.

    Attributes:
        code: The first word of its error, such as "WRONGTYPE" or "OOM"; "ERR" where there is none.
        advice: What is wrong and what to do about it, without naming server or key.
        elsewhere: Host and port of the node of a cluster that has the key; the host is "" for the same one.
    """

    code: str
    advice: str
    elsewhere: tuple[str, int] | None = None


def to_refusal(error: exceptions.ResponseError) -> Refusal:
    """What an error reply means."""
    text = str(error)
    known = next((code for kind, code in CODE_BY_CLASS if isinstance(error, kind)), None)
    code = known or text.split(" ", 1)[0]
    if isinstance(error, exceptions.AskError):
        return Refusal(code, ADVICE_BY_CODE[code], (error.host, error.port))
    if code in ADVICE_BY_CODE:
        return Refusal(code, ADVICE_BY_CODE[code])
    words = next((words for part, words in ADVICE_BY_TEXT if part in text), None)
    return Refusal(code if code.isupper() else "ERR", words or f"says: {sanitize(text, MAX_SERVER_TEXT)}")


def explain(error: Exception) -> str:
    """Why there is no connection, or no answer."""
    if isinstance(error, exceptions.ResponseError):
        return to_refusal(error).advice
    for part, words in ADVICE_BY_TEXT:
        if part in str(error):
            return words
    # redis-py raises while it handles the system's error, which says it without numbers and addresses.
    cause = error.__context__
    if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, CLOSED_ERRORS):
        said = sanitize(cause.strerror, MAX_SERVER_TEXT)
        return f"cannot be reached ({said}): is it running, and REDIS_URL right?"
    what_it_is = next((words for kind, words in ADVICE_BY_CLASS if isinstance(error, kind)), None)
    return what_it_is or "is no Redis: something else answers there, check REDIS_URL"
