"""`spotify-logger token`: the tokens with which programs on other machines read logs from the page.

They are in Redis, not in the state folder: the command may run as another user or on another machine than
the page, and every page refuses a revoked one at once. Redis has only their digests; those of 256 random bits
need neither salt nor slowness.
"""

import argparse
import hashlib
import secrets
from dataclasses import dataclass

from spotify_logger.core.redis_keys import TOKENS
from spotify_logger.core.times import utc_time
from spotify_logger.queries.dispatch import unknown_listener
from spotify_logger.report.answers import Answer, Note, Table
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.state import from_json, to_json


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What Redis has of a token."""

    name: str
    listeners: list[str]  # whose logs it is for
    created_at: str | None
    digest: str


def find(store: Archive, text: str) -> ApiToken | None:
    """Return the token with this text; None if it is wrong or revoked."""
    return next((token for token in _load(store) if token.digest == _digest(text)), None)


def answer(options: argparse.Namespace, store: Archive, listener: str) -> Answer:
    """Make a token, list all or revoke one; `listener` is the one that a new token is for by default."""
    name, known, key = options.name, _load(store), store.shared_key(TOKENS)
    if options.action == "list":
        data = [{"name": it.name, "listeners": it.listeners, "created_at": it.created_at} for it in known]
        rows = [(it.name, ", ".join(one or "-" for one in it.listeners), it.created_at) for it in known]
        return Answer(data, [Table(rows, ("name", "for", "created"))] if rows else ["There are no tokens."])
    is_new = options.action == "new"
    if is_new == any(token.name == name for token in known):
        there_is = "a token with this name exists already" if is_new else "no token has this name"
        raise SpotifyLoggerError(f"{there_is} ({name}): see `spotify-logger token list`")
    if options.action == "revoke":
        store.write([("HDEL", key, name)])
        return Answer({"revoked": name}, [f"Token {name} has been revoked."])
    listeners = [each.removeprefix("-") for each in options.listeners] or [listener]
    if unknown := sorted({*listeners} - {*store.listeners(), listener}):
        raise SpotifyLoggerError(unknown_listener(unknown[0], store.listeners()))
    text = secrets.token_urlsafe(32)
    token = ApiToken(name, listeners, utc_time(options.question.now), _digest(text))
    store.write([("HSET", key, name, to_json(token))])
    note = Note("It will not be shown again. Programs send it in the header `Authorization: Bearer TOKEN`.")
    return Answer({"name": name, "token": text, "listeners": listeners}, [Table([(text,)]), note])


def _load(store: Archive) -> list[ApiToken]:
    """Return all tokens, without those that are malformed."""
    (reply,) = store.send([("HGETALL", store.shared_key(TOKENS))])
    found = (from_json(ApiToken, value) for value in sorted((reply or {}).values()))
    return [token for token in found if token and token.listeners]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
