"""Parse the listens that other loggers export. Pure; accepts any input.

They keep title, artists and a second. How long a listen lasted is rarely known: it is the length of the track
where that is given, else the least with which a listen counts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.core.play import IMPORT, UNKNOWN, Play
from spotify_logger.core.player_state import MAX_ITEM_MS, Item, dict_get, encode_artists
from spotify_logger.core.times import from_iso
from spotify_logger.transfer.importer import export_rows as rows
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkippedRow, SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spotify_logger.transfer.importer.export_rows import ParsedRow

LEAST_LISTEN_MS = 30_000
"""What is credited if nothing tells the length: other loggers count from about half a minute on."""
_DATES = ("%d %b %Y %H:%M", "%d %b %Y %H:%M:%S")
"""Of Last.fm, in UTC, without the comma that some tools write."""
_NAME_FIELDS = ("alias", "aliases", "#text", "name", "albumtitle")
"""The fields that name an artist or album which is an object: of Koito, Last.fm, and old and new Maloja."""
_OPEN_SPOTIFY_TRACK = "https://open.spotify.com/track/"


class Logger(NamedTuple):
    """Where a logger's rows have what is needed: paths, of which the first with a value counts."""

    name: str
    title: tuple[str, ...]
    artists: tuple[str, ...]
    album: str
    moment: tuple[str, ...]
    length: tuple[str, ...] = ()  # in seconds, unless its name says milliseconds
    link: str = ""


_ABOUT = "track_metadata.additional_info"
LISTENBRAINZ = Logger(
    "ListenBrainz",
    title=("track_metadata.track_name",),
    artists=(f"{_ABOUT}.artist_names", "track_metadata.artist_name"),
    album="track_metadata.release_name",
    moment=("listened_at",),
    length=(f"{_ABOUT}.duration_played", f"{_ABOUT}.duration_ms", f"{_ABOUT}.duration"),
    link=f"{_ABOUT}.spotify_id",
)
KOITO = Logger(
    "Koito", ("track.aliases",), ("artists",), "album.aliases", ("listened_at",), ("track.duration",)
)
MALOJA = Logger(
    "Maloja", ("track.title",), ("track.artists",), "track.album", ("time",), ("duration", "track.length")
)
LAST_FM = Logger(
    "Last.fm",
    ("track", "name", "title"),
    ("artist",),
    "album",
    ("uts", "timestamp", "date.uts", "date.#text", "date"),
)


def read_listen(logger: Logger, row: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a listen of a logger."""
    started_ms = _moment_ms(_first(row, logger.moment)[1])
    if started_ms is None and dict_get(row, "@attr.nowplaying"):
        return SkippedRow(SkipReason.PLAYING)
    if started_ms is None or not rows.is_plausible(started_ms, now_ms):
        return rows.malformed("its time is not one between 2006 and now")
    item = _item(logger, row)
    if item is None:
        return SkippedRow(SkipReason.NAMELESS)
    ms_played = _length_ms(*_first(row, logger.length))
    ended_ms, fields = started_ms + ms_played, {**rows.fields_of(item), "logged_by": logger.name}
    play = Play(started_ms // 1000, item, started_ms, ended_ms, ms_played, UNKNOWN, IMPORT, fields)
    return ImportedPlay(play, SourceKind.LISTEN, ended_ms)


def _item(logger: Logger, row: Mapping[str, object]) -> Item | None:
    """Return the track of a listen; None without a title and an artist."""
    title, artists = (_names(_first(row, paths)[1]) for paths in (logger.title, logger.artists))
    if not title or not artists:
        return None
    link, album = rows.text_of(dict_get(row, logger.link)), _names(dict_get(row, logger.album)) or [""]
    uri = link.replace(_OPEN_SPOTIFY_TRACK, "spotify:track:")
    item = rows.item_of("track", uri, title[0], ", ".join(artists), album[0])
    if item is None or len(artists) == 1:
        return item
    listed = encode_artists((name, "") for name in artists)
    return replace(item, catalog={**item.catalog, "artist_list": listed})


def _first(row: Mapping[str, object], paths: Iterable[str]) -> tuple[str, object]:
    """Return the first path that has a value, and the value."""
    return next(((path, value) for path in paths if (value := dict_get(row, path))), ("", None))


def _names(value: object) -> list[str]:
    """Return the names in a text, an object or a list; of aliases, only the primary one."""
    if isinstance(value, dict):
        return _names(_first(value, _NAME_FIELDS)[1])
    if not isinstance(value, list):
        return [text] if (text := rows.text_of(value)) else []
    aliases = [each for each in value if dict_get(each, "alias")]
    chosen = sorted(aliases, key=lambda alias: dict_get(alias, "is_primary") is not True)[:1] or value
    return [name for each in chosen for name in _names(each)]


def _moment_ms(value: object) -> int | None:
    """Return the moment that a number of seconds or milliseconds, or a text, means."""
    number = rows.integer(int(value) if isinstance(value, float) and isfinite(value) else value)
    if number is not None or not isinstance(value, str):
        return None if number is None else rows.stamp_ms(number)
    for form in _DATES:
        with suppress(ValueError):
            return int(datetime.strptime(value.replace(",", ""), form).replace(tzinfo=UTC).timestamp()) * 1000
    return from_iso(value)


def _length_ms(path: str, value: object) -> int:
    length = value if isinstance(value, int | float) and 0 < value <= MAX_ITEM_MS else 0
    length_ms = round(length if path.endswith("_ms") else length * 1000)
    return length_ms if 0 < length_ms <= MAX_ITEM_MS else LEAST_LISTEN_MS
