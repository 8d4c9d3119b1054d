"""What replies of a Redis server mean: its errors, and how it keeps its data. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from redis import exceptions

from spotify_logger.system.errors import chain
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_SERVER_TEXT = 200  # maximum characters of a server's own error text that are passed on
REPLICA = "is a read-only replica: point REDIS_URL to the primary"
CLUSTER = "is a node of a Redis Cluster: write redis+cluster:// instead of redis:// in REDIS_URL"

# What is wrong and what to do, in phrases that follow the name of the server.
ADVICE_BY_CODE = {
    "WRONGTYPE": "has a key of another type there: rename or delete it, or set REDIS_PREFIX",
    "OOM": "is out of memory: raise maxmemory, or free some",
    "MISCONF": "cannot save to disk and does not accept writes: free disk space, and check its log",
    "NOPERM": "denies this user: allow the command in its ACL, on keys that begin with REDIS_PREFIX",
    "NOREPLICAS": "has too few replicas to accept writes (min-replicas-to-write)",
    "READONLY": REPLICA,
    "MASTERDOWN": REPLICA,
    "MOVED": CLUSTER,
    "ASK": CLUSTER,
    "CLUSTERDOWN": "is a node of a Redis Cluster with missing slots: some of its masters are down",
}
# redis-py strips these codes from the text, some only in later versions, and turns them into classes.
CODE_BY_CLASS = {
    exceptions.OutOfMemoryError: "OOM",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.MovedError: "MOVED",
    exceptions.AskError: "ASK",
    exceptions.ClusterDownError: "CLUSTERDOWN",
}
# For errors without a code of their own, by a part of their text.
ADVICE_BY_TEXT = (
    ("max number of clients", "has too many clients: close some, or raise maxclients"),
    ("without any password", "has no password, but REDIS_URL has one: remove it"),
    ("no password is set", "has no password, but REDIS_URL has one: remove it"),
    ("Authentication required", "requires a password: set it in REDIS_URL, redis://:password@host"),
    ("cluster support disabled", "is not a node of a cluster: write redis:// in REDIS_URL"),
    ("slots are not covered", "is an incomplete cluster: some of its slots have no server"),
    ("No master found", "is unknown to its Sentinels, or down: check name and addresses in REDIS_URL"),
    ("DB index", "does not have that database: check the number at the end of REDIS_URL"),
)
ADVICE_BY_CLASS = (
    (exceptions.BusyLoadingError, "is still loading its data: wait until it is done"),
    (exceptions.AuthenticationError, "rejected the user name or password: check both in REDIS_URL"),
    (exceptions.TimeoutError, "did not answer in time: it hangs, is overloaded, or REDIS_URL is wrong"),
    ((exceptions.ConnectionError, ConnectionError), "closed the connection: it may be restarting"),
)
CLOSED_ERRORS = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
UNKNOWN = "unknown"
FORGETS = "none: it forgets with its next restart"
SNAPSHOTS = "snapshots"
APPEND_ONLY_FILE = "append-only file"
_WORST_FIRST = (UNKNOWN, FORGETS, SNAPSHOTS, APPEND_ONLY_FILE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply to one command; other commands in the batch are not affected."""

    code: str  # the first word of the error, such as "WRONGTYPE" or "OOM"; "ERR" if there is none
    advice: str  # what is wrong and what to do, without naming server or key


def to_refusal(error: exceptions.ResponseError) -> Refusal:
    """Convert an error reply of redis-py."""
    text = str(error)
    code = CODE_BY_CLASS.get(type(error)) or text.split(" ", 1)[0]
    if code in ADVICE_BY_CODE:
        return Refusal(code, ADVICE_BY_CODE[code])
    words = next((words for part, words in ADVICE_BY_TEXT if part in text), None)
    return Refusal(code if code.isupper() else "ERR", words or f"says: {sanitize(text, MAX_SERVER_TEXT)}")


def explain(error: BaseException) -> str:
    """Explain why there is no connection, or no answer."""
    causes = list(chain(error))
    for link in causes:
        if isinstance(link, exceptions.ResponseError):
            return to_refusal(link).advice
    for part, words in ADVICE_BY_TEXT:
        if any(part in str(link) for link in causes):
            return words
    for link in causes:  # redis-py raises while handling the system's error
        if isinstance(link, OSError) and link.strerror and not isinstance(link, CLOSED_ERRORS):
            reason = sanitize(link.strerror, MAX_SERVER_TEXT)
            return f"cannot be reached ({reason}): is it running, and is REDIS_URL right?"
    what_it_is = (words for kind, words in ADVICE_BY_CLASS if any(isinstance(link, kind) for link in causes))
    return next(what_it_is, "is not a Redis server: something else answers there. Check REDIS_URL")


class Persistence(NamedTuple):
    """How a server persists data; of several servers, the worst counts."""

    run: str = ""  # the server's `run_id`, which changes with every start; "" if it does not tell
    words: str = UNKNOWN  # a description for people
    eviction: str = ""  # that plays may be deleted when its memory is full, and what to do; "" if not
    trouble: str = ""  # why plays may be lost nevertheless, and what to do; "" if all is well


def read_persistence(replies: Iterable[Sequence[object]]) -> Persistence:
    """Read what each server replied to `INFO` and `CONFIG GET save`; either may have been refused."""
    known = [[reply if isinstance(reply, dict) else {} for reply in server] for server in replies]
    infos = [info for info, _ in known]
    return Persistence(
        run=" ".join(sorted(str(info.get("run_id", "")) for info in infos)),
        words=min((_words(info, save) for info, save in known), key=_WORST_FIRST.index),
        eviction=next(filter(None, map(_eviction, infos)), ""),
        trouble=next(filter(None, map(_trouble, infos)), ""),
    )


def _words(info: Mapping[str, object], save: Mapping[str, object]) -> str:
    if info.get("aof_enabled") == 1:
        return APPEND_ONLY_FILE
    if "save" not in save:
        return UNKNOWN
    return SNAPSHOTS if str(save["save"]).strip() else FORGETS


def _eviction(info: Mapping[str, object]) -> str:
    policy = str(info.get("maxmemory_policy", ""))
    if not info.get("maxmemory") or not policy.startswith("allkeys-"):
        return ""
    fault = f"this Redis deletes plays when its memory is full (maxmemory-policy {policy})"
    return f"{fault}: set `maxmemory-policy noeviction`"


def _trouble(info: Mapping[str, object]) -> str:
    if info.get("aof_enabled") == 1 and info.get("aof_last_write_status", "ok") != "ok":
        return "this Redis cannot write its append-only file: check its disk and its log"
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return "this Redis cannot save its snapshots: check its disk and its log"
    return _eviction(info)
