"""Turn the samples of the 2019 script, one hash per answer, into plays. Pure.

The script flattened the answers of `/v1/me/player`. Its field names are not known for certain, so every name
that can only mean one thing is accepted.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.core.observations import AWAY_MS
from spotify_logger.core.play import IMPORT
from spotify_logger.core.player_state import NO_STATE, PlayerState, read_player_state, whole_number
from spotify_logger.core.tracker import OVER_AFTER_MS, Tracker
from spotify_logger.system.state import from_json
from spotify_logger.transfer.importer.export_rows import ImportedPlay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spotify_logger.core.play import Play

MAX_SAMPLE_GAP_MS = AWAY_MS
"""Milliseconds between two samples that count as a gap; the script took one every few seconds."""

_NAMES = {
    "id": ("id", "item_id", "track_id"),
    "uri": ("uri", "item_uri", "track_uri"),
    "type": ("type", "item_type", "currently_playing_type"),
    "name": ("name", "item_name", "track_name", "track", "title", "song"),
    "artists": ("artists", "artist", "artists_name", "artist_name", "item_artists", "item_artists_name"),
    "album": ("album", "album_name", "item_album", "item_album_name"),
    "duration_ms": ("duration_ms", "item_duration_ms", "duration"),
    "explicit": ("explicit", "item_explicit"),
    "progress_ms": ("progress_ms", "progress"),
    "playing": ("is_playing", "playing"),
    "timestamp": ("timestamp",),
    "device_name": ("device_name", "device"),
    "device_type": ("device_type",),
    "device_volume": ("device_volume_percent", "device_volume", "volume_percent", "volume"),
    "shuffle_state": ("shuffle_state", "shuffle"),
    "repeat_state": ("repeat_state", "repeat"),
    "context_uri": ("context_uri", "context"),
}
"""Our field names, and what the script may have called them, in lower case with underscores."""
_EMPTY = frozenset({"", "none", "null"})
_YES = frozenset({"1", "1.0", "true"})
_URI = re.compile(r"spotify:(track|episode):([\w.~-]{1,64})")


def read_sample(fields: Mapping[str, str]) -> PlayerState:
    """Return the player state of a sample; `NO_STATE` if it names no item."""
    known = ((name, value) for name, value in fields.items() if value.lower() not in _EMPTY)
    values = {re.sub(r"\W", "_", name.lower()): value for name, value in known}
    sample = {
        wanted: next((values[name] for name in names if name in values), None)
        for wanted, names in _NAMES.items()
    }
    uri = _URI.fullmatch(sample["uri"] or "")
    album = {"name": sample["album"]}
    body = {
        "item": {
            "type": uri[1] if uri else "episode" if sample["type"] == "episode" else "track",
            "id": sample["id"] or (uri[2] if uri else None),
            "uri": sample["uri"],
            "name": sample["name"],
            "artists": [{"name": name} for name in _artists(sample["artists"] or "")],
            "album": album,
            "show": album,
            "duration_ms": _number(sample["duration_ms"]),
            "explicit": _flag(sample["explicit"]),
        },
        "device": {
            "name": sample["device_name"],
            "type": sample["device_type"],
            "volume_percent": _number(sample["device_volume"]),
        },
        "context": {"uri": sample["context_uri"]},
        "timestamp": _number(sample["timestamp"]),
        "progress_ms": _number(sample["progress_ms"]),
        # A sample that does not say whether it was paused is taken as playing.
        "is_playing": _flag(sample["playing"]) is not False,
        "shuffle_state": _flag(sample["shuffle_state"]),
        "repeat_state": sample["repeat_state"],
    }
    return read_player_state(body)


def plays_of(samples: Iterable[tuple[int, PlayerState]]) -> Iterator[ImportedPlay]:
    """Yield the finished plays that samples show: their seconds and player states, in chronological order."""
    tracker, last_ms = Tracker(), 0
    for second, state in samples:
        now_ms = second * 1000
        if last_ms and now_ms - last_ms > MAX_SAMPLE_GAP_MS:
            tracker.note_gap()
        yield from _finished(tracker.observe(state, now_ms, now_ms))
        last_ms = now_ms
    tracker.note_gap()
    end_ms = last_ms + 2 * OVER_AFTER_MS
    yield from _finished(tracker.observe(NO_STATE, end_ms, end_ms))


def _finished(plays: Iterable[Play]) -> Iterator[ImportedPlay]:
    for play in plays:
        if play.end_reason is not None:
            yield ImportedPlay(replace(play, source=IMPORT), SourceKind.POLLED, play.ended_ms)


def _artists(text: str) -> list[str]:
    """Return the artists' names; the text may be a JSON list of names or of artist objects."""
    listed = from_json(list[object], text) if text.startswith("[") else None
    if listed is None:
        return [text]
    names = (artist.get("name") if isinstance(artist, dict) else artist for artist in listed)
    return [name for name in names if isinstance(name, str)]


def _number(text: str | None) -> int | None:
    return whole_number((text or "").removesuffix(".0"))


def _flag(text: str | None) -> bool | None:
    return None if text is None else text.lower() in _YES
