"""Parse the listens that other loggers export. Pure; accepts any input.

ListenBrainz has a listen per line, in a zip by months; Koito and Maloja have one list; the tools for Last.fm
write its API's answers, or CSV. They keep title, artist and a second. How long a listen lasted is rarely
known: it is the length of the track where that is given, else the least with which a listen counts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.core.play import IMPORT, UNKNOWN, Play
from spotify_logger.core.player_state import MAX_ITEM_MS, Item, dict_get, encode_artists
from spotify_logger.core.times import from_iso
from spotify_logger.transfer.importer.export_rows import (
    ImportedPlay,
    SkippedRow,
    SkipReason,
    fields_of,
    integer,
    is_plausible,
    item_of,
    malformed,
    stamp_ms,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.transfer.importer.export_rows import ParsedRow

LEAST_LISTEN_MS = 30_000
"""What is credited if nothing tells the length: other loggers count from about half a minute on."""
_DATES = ("%d %b %Y %H:%M", "%d %b %Y %H:%M:%S")
"""Of Last.fm, in UTC, without the comma that some tools write."""
_OPEN_SPOTIFY_TRACK = "https://open.spotify.com/track/"


def read_listenbrainz(row: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a listen of ListenBrainz."""
    about = dict_get(row, "track_metadata.additional_info")
    played, length = dict_get(about, "duration_played"), dict_get(about, "duration")
    length_ms = _milliseconds(played) or integer(dict_get(about, "duration_ms")) or _milliseconds(length)
    link = text_of(dict_get(about, "spotify_id"))
    uri = link.replace(_OPEN_SPOTIFY_TRACK, "spotify:track:") if link.startswith(_OPEN_SPOTIFY_TRACK) else ""
    artist, title, album = (
        dict_get(row, f"track_metadata.{name}") for name in ("artist_name", "track_name", "release_name")
    )
    item = _item(title, dict_get(about, "artist_names") or [artist], album, uri)
    return _listen("ListenBrainz", item, row.get("listened_at"), length_ms, now_ms)


def read_koito(row: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a listen of Koito, which has all names of everything."""
    artists = row.get("artists")
    names = [_primary(dict_get(artist, "aliases")) for artist in artists] if isinstance(artists, list) else []
    title, album = (_primary(dict_get(row, path)) for path in ("track.aliases", "album.aliases"))
    length_ms = _milliseconds(dict_get(row, "track.duration"))
    return _listen("Koito", _item(title, names, album), row.get("listened_at"), length_ms, now_ms)


def read_maloja(row: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a scrobble of Maloja; its album has had other forms in older versions."""
    album = dict_get(row, "track.album.albumtitle") or dict_get(row, "track.album.name")
    length_ms = _milliseconds(row.get("duration")) or _milliseconds(dict_get(row, "track.length"))
    item = _item(dict_get(row, "track.title"), dict_get(row, "track.artists"), album)
    return _listen("Maloja", item, row.get("time"), length_ms, now_ms)


def read_last_fm(row: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a scrobble of Last.fm, in the form of its API or of the CSV that tools make from it."""
    moment = next((row[name] for name in ("uts", "timestamp", "date") if row.get(name)), None)
    if moment is None and dict_get(row, "@attr.nowplaying"):
        return SkippedRow(SkipReason.PLAYING)
    title = row.get("track") or row.get("name") or row.get("title")
    item = _item(title, [_last_fm_text(row.get("artist"))], _last_fm_text(row.get("album")))
    return _listen("Last.fm", item, moment, None, now_ms)


def _item(title: object, artists: object, album: object, uri: str = "") -> Item | None:
    """Return the track of a listen; None without a title and an artist."""
    names = [name for name in map(text_of, artists) if name] if isinstance(artists, list) else []
    title = text_of(title)
    item = item_of("track", uri, title, ", ".join(names), text_of(album)) if title and names else None
    if item is None or len(names) == 1:
        return item
    return replace(
        item, catalog={**item.catalog, "artist_list": encode_artists((name, "") for name in names)}
    )


def _listen(logger: str, item: Item | None, moment: object, length_ms: int | None, now_ms: int) -> ParsedRow:
    """Return the play of an item from a moment on, of a length that may be unknown."""
    started_ms = _moment_ms(moment)
    if started_ms is None or not is_plausible(started_ms, now_ms):
        return malformed("its time is not one between 2006 and now")
    if item is None:
        return SkippedRow(SkipReason.NAMELESS)
    ms_played = length_ms if length_ms and length_ms <= MAX_ITEM_MS else LEAST_LISTEN_MS
    ended_ms, fields = started_ms + ms_played, {**fields_of(item), "logged_by": logger}
    play = Play(started_ms // 1000, item, started_ms, ended_ms, ms_played, UNKNOWN, IMPORT, fields)
    return ImportedPlay(play, SourceKind.LISTEN, ended_ms)


def _moment_ms(value: object) -> int | None:
    """Return the moment that a number of seconds or milliseconds, or a text, means."""
    if isinstance(value, dict):  # of Last.fm's API
        value = value.get("uts") or value.get("#text")
    number = integer(int(value) if isinstance(value, float) and isfinite(value) else value)
    if number is not None or not isinstance(value, str):
        return None if number is None else stamp_ms(number)
    text = value.replace(",", "")
    for form in _DATES:
        with suppress(ValueError):
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1000
    return from_iso(value)


def _milliseconds(seconds: object) -> int | None:
    return round(seconds * 1000) if isinstance(seconds, int | float) and 0 < seconds < MAX_ITEM_MS else None


def _primary(aliases: object) -> str:
    known = [alias for alias in aliases if isinstance(alias, dict)] if isinstance(aliases, list) else []
    chosen = next((alias for alias in known if alias.get("is_primary") is True), known[0] if known else {})
    return text_of(chosen.get("alias"))


def _last_fm_text(value: object) -> object:
    return value.get("#text") or value.get("name") if isinstance(value, dict) else value
