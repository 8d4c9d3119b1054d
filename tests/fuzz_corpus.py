"""Inputs of the fuzz tests: valid external data, hostile values, and mutations."""

# ruff: noqa: ANN401 - JSON can be anything

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECOND = 1_795_348_800
"""The time of the sample data, in seconds since the epoch: 2026-11-22T12:00:00Z."""
SECRET = "hush"
"""Part of every secret in the sample data."""

# Hostile values

CONTROLS = (
    "\0", "\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\x7f", "\x85", "a\tb", "a\nb", "a\r\nb", "\x08\x08",
    "\u202egnp.exe", "\u200f", "\u2066", "\ufeff", "\u2028", "\u00a0", "\ufffe", "\ue000",
)  # fmt: skip
TEXTS = (
    "", " ", "0", "-1", "1e9", "NaN", "None", "٣", "\uff11", "²", "9" * 4400, "%00", "\ud83d", "\udc00\ud800",
    "🎵" * 5000, "e" + "\u0301" * 99, "日本語 " * 40, "track", "episode", "ad", "unknown", "spotify:track:",
    "spotify:local:", "spotify:local:::\x1b:", "trackdone", "track:a 999999999999", "local:\x1b 1",
    "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "12:00",
    "2026-11-22T12:00:00Z", "invalid_grant", "invalid_client",
)  # fmt: skip
"""Digits of other scripts, lone surrogates, and values that are too long, nearly valid or valid elsewhere."""
NUMBERS: tuple[int | float, ...] = (
    0, 1, -1, 2, 3.0, 0.5, -0.0, 1e16, 1e308, -1e308, 5e-324, 61_000.0, 200, 429, 2**31, 2**53 - 1, 2**53,
    2**63 - 1, 2**63, -(2**63), 2**64, 10**12, 10**18, 10**30, 10**4200, -(10**4000), 86_400_000, 604_800_001,
    SECOND, SECOND * 1000, SECOND * 1000 - 90_000, SECOND * 1000 + 10**9, 253_402_300_799_999,
)  # fmt: skip

texts = st.sampled_from(CONTROLS + TEXTS) | st.text(st.characters(exclude_categories=()), max_size=12)
leaves = st.sampled_from((None, True, False)) | st.sampled_from(NUMBERS) | st.integers() | texts
values: st.SearchStrategy[object] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
"""JSON of any shape; none of it is NaN."""

# Responses of Spotify

TRACK = {
    "album": {"id": "al", "name": "Discovery"},
    "artists": [{"id": "ar", "name": "Daft Punk"}, {"id": "as", "name": "Panda Bear"}],
    "duration_ms": 345_000,
    "external_ids": {"isrc": "GBDUW0000059"},
    "id": "veridis",
    "name": "Veridis Quo",
    "type": "track",
    "uri": "spotify:track:veridis",
}
EPISODE = {
    "duration_ms": 3_600_000,
    "id": "pilot",
    "name": "The Pilot",
    "show": {"id": "sh", "name": "A Show"},
    "type": "episode",
    "uri": "spotify:episode:pilot",
}
LOCAL = {**TRACK, "id": None, "uri": "spotify:local:Me::Demo:200", "duration_ms": 200_000}


def player(item: object, **changes: object) -> dict[str, object]:
    """Return the body of a response of `/v1/me/player`."""
    return {
        "context": {"type": "album", "uri": "spotify:album:al"},
        "currently_playing_type": "track",
        "device": {"is_private_session": False, "name": "Kitchen", "volume_percent": 34},
        "is_playing": True,
        "item": item,
        "progress_ms": 61_000,
        "timestamp": SECOND * 1000 - 61_000,
        **changes,
    }


PLAYERS = [
    player(TRACK),
    player(LOCAL),
    player(EPISODE, currently_playing_type="episode"),
    player(TRACK, device={"is_private_session": True}),
    player(None, currently_playing_type="ad"),
    *examples("player"),
]
HISTORIES = [
    {
        "items": [
            {"played_at": "2199-11-22T12:00:00.000Z", "track": TRACK},
            {"played_at": "9999-12-31T23:59:59-23:59", "track": TRACK},
            {"played_at": "0001-01-01T00:00:00+23:59", "track": LOCAL},
            {"played_at": "1970-01-01T00:00:00Z", "track": EPISODE},
        ],
    },
    *examples("recently_played"),
]
ERRORS = examples("errors")
GRANTS = examples("token")

# Mutations

Change = Callable[[Any, object], object]
"""Returns what to put in the place of a part of a JSON value, given another value."""
REMOVED = object()
NAMES = frozenset(
    (  # noqa: SIM905 - four lines to read instead of forty
        "id uri type name artists album show device context item items track played_at duration_ms timestamp "
        "progress_ms is_playing is_private_session currently_playing_type error reason error_description "
        "expires_in access_token refresh_token started_at ended_at ms_played "
        "message at play last answered unseen hidden"
    ).split()
)
"""The fields that the program reads; they are mutated more often than others."""

CHANGES: tuple[Change, ...] = (
    *[lambda _, other: other] * 8,
    lambda _, __: REMOVED,
    lambda part, _: str(part)[:100],
    lambda part, other: [part, other],
    lambda part, other: {str(other)[:20]: part, "id": other},
    lambda part, _: part / 2 if isinstance(part, int) and abs(part) < 2**53 else 0.25,
    *[lambda part, other: f"{str(part)[:3]}{str(other)[:100]}{str(part)[3:100]}"] * 2,
)
ANYWHERE = st.integers(0, 2**16)
OTHERS = st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | leaves | values


def mutated(bodies: Sequence[object]) -> st.SearchStrategy[Any]:
    """Generate one of the bodies with up to three parts replaced, removed or retyped."""
    changes = st.lists(st.tuples(ANYWHERE, st.sampled_from(CHANGES), OTHERS), max_size=3)
    return st.builds(_mutate, st.sampled_from(bodies), changes)


def _mutate(body: object, changes: Sequence[tuple[int, Change, object]]) -> object:
    for number, change, other in changes:
        if paths := list(_paths(body)):
            body = _changed(body, paths[number % len(paths)], change, other)
    return body


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the keys and indices that lead to every part; those of important parts several times."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from [(*path, key)] * (10 if key in NAMES else 1)
        yield from _paths(part, (*path, key))


def _changed(value: Any, path: tuple[Any, ...], change: Change, other: object) -> Any:
    """Return a copy in which the part at `path` is changed."""
    if not path:
        return change(value, other)
    copy, key = value.copy(), path[0]
    copy[key] = _changed(copy[key], path[1:], change, other)
    if copy[key] is REMOVED:
        del copy[key]
    return copy


def encoded(bodies: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Generate bodies as sent over the network, sometimes damaged."""

    def encode(body: object, damage: Callable[[str, int], bytes], number: int) -> bytes:
        text = json.dumps(body, ensure_ascii=number % 2 == 0)
        return damage(text, number % (len(text) + 1))

    return st.builds(encode, bodies, st.sampled_from(DAMAGES), ANYWHERE)


def _utf8(text: str, at: int = 0) -> bytes:
    return text.encode("utf-8", "surrogatepass")


DAMAGES: tuple[Callable[[str, int], bytes], ...] = (
    *[_utf8] * 10,
    lambda text, at: _utf8(text[:at]),
    lambda text, at: _utf8(text)[:at] + b"\xff\x00\x1b" + _utf8(text)[at:],
    lambda text, at: text.encode("utf-16", "surrogatepass"),
    lambda text, at: _utf8(text.replace("0", "NaN", 1)),
    lambda text, at: _utf8(text.replace("0", "9" * 5000, 1)),
    lambda text, at: _utf8('{"item":' * 3000 + text),
    lambda text, at: b"<!doctype html><title>502</title>" + _utf8(text),
    lambda text, at: b"",
)
"""Kinds of damage to JSON on the network; half of them are none."""


def as_hash(value: object) -> dict[str, str]:
    """Return a hash with these fields as read by a client that replaces invalid UTF-8."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {_as_read(name): _as_read(inner) for name, inner in pairs}


def _as_read(value: object) -> str:
    return str(value)[:4096].encode("utf-8", "replace").decode()
