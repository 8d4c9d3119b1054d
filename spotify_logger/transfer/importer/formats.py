"""The formats of rows that can be imported: how each is recognized, and what reads it. Pure.

Other loggers keep title, artists and a second. How long a listen lasted is rarely known: it is the length of
the track where that is given, else the least with which a listen counts.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from spotify_logger.core.matching import AccountRank
from spotify_logger.core.matching_exports import LEAST_LISTEN_MS
from spotify_logger.core.play import IMPORT, UNKNOWN, Play
from spotify_logger.core.player_state import MAX_ITEM_MS, Item, dict_get, encode_artists
from spotify_logger.core.times import from_iso
from spotify_logger.transfer.importer import export_rows as rows
from spotify_logger.transfer.importer.export_rows import ImportedPlay, ParsedRow, Row, SkipReason

_NAME_FIELDS = "alias aliases #text name albumtitle"  # in an object: Koito, Last.fm, old and new Maloja
_OPEN_SPOTIFY_TRACK = "https://open.spotify.com/track/"


class Logger(NamedTuple):
    """Where a logger's rows have what is needed: paths, of which the first with a value counts."""

    name: str
    title: str
    artists: str
    album: str
    moment: str
    length: str = ""  # in seconds, unless its name says milliseconds
    link: str = ""


_ABOUT = "track_metadata.additional_info"
_LAST_FM_MOMENT = "uts timestamp date.uts date.#text date @attr.nowplaying"  # in its dumps and of tools
_LOGGERS = (
    Logger(
        "ListenBrainz",
        title="track_metadata.track_name",
        artists=f"{_ABOUT}.artist_names track_metadata.artist_name",
        album="track_metadata.release_name",
        moment="listened_at",
        length=f"{_ABOUT}.duration_played {_ABOUT}.duration_ms {_ABOUT}.duration",
        link=f"{_ABOUT}.spotify_id",
    ),
    Logger("Koito", "track.aliases", "artists", "album.aliases", "listened_at", "track.duration"),
    Logger("Maloja", "track.title", "track.artists", "track.album", "time", "duration track.length"),
    Logger("Last.fm", "track name title", "artist", "album", _LAST_FM_MOMENT),
)


class Format(NamedTuple):
    """A format of rows: whose it is, and sets of fields, of each of which every row has at least one."""

    service: str
    fields: tuple[set[str], ...]
    read: Callable[[Row, int], ParsedRow]


def read_row(row: object, now_ms: int, *, private: bool = False) -> ParsedRow:
    """Parse a row; private sessions are skipped unless `private` is set."""
    if isinstance(row, str) and is_damaged(row):
        return "not UTF-8, perhaps Latin-1: convert the file to UTF-8"
    known = format_of(row)
    if known is None or not isinstance(row, dict):
        return "not a row of a known format"
    if rows.flag(row.get("incognito_mode")) and not private:
        return SkipReason.PRIVATE
    return known.read(row, now_ms)


def format_of(row: object) -> Format | None:
    """Return the format of a row, decoded from JSON or CSV; None if it is not a known one."""
    fields = {*row} if isinstance(row, dict) else set()
    return next((known for known in _FORMATS if not any(map(fields.isdisjoint, known.fields))), None)


def user_of(row: object) -> str:
    """Return the user whom a row names; "" for most, which do not."""
    return rows.text_of(row.get("username")) if isinstance(row, dict) else ""


def is_damaged(text: str) -> bool:
    """Return whether text was read from bytes that are not UTF-8: they have become lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _read_listen(logger: Logger, row: Row, now_ms: int) -> ParsedRow:
    started_ms = _moment_ms(_first(row, logger.moment))
    if started_ms is None and dict_get(row, "@attr.nowplaying"):
        return SkipReason.PLAYING
    if started_ms is None or not rows.is_plausible(started_ms, now_ms):
        return "its time is not between 2006 and now"
    item = _item(logger, row)
    if item is None:
        return SkipReason.NAMELESS
    ms_played = _length_ms(logger, row)
    ended_ms, fields = started_ms + ms_played, {**rows.fields_of(item), "logged_by": logger.name}
    play = Play(started_ms // 1000, item, started_ms, ended_ms, ms_played, UNKNOWN, IMPORT, fields)
    return ImportedPlay(play, AccountRank.LISTEN, ended_ms)


def _item(logger: Logger, row: Row) -> Item | None:
    """Return the track of a listen; None without a title and an artist."""
    title, artists = (_names(_first(row, paths)) for paths in (logger.title, logger.artists))
    if not title or not artists:
        return None
    link, album = rows.text_of(dict_get(row, logger.link)), _names(dict_get(row, logger.album)) or [""]
    uri = link.replace(_OPEN_SPOTIFY_TRACK, "spotify:track:")
    item = rows.item_of("track", uri, title[0], ", ".join(artists), album[0])
    if item is None or len(artists) == 1:
        return item
    listed = encode_artists((name, "") for name in artists)
    return replace(item, catalog={**item.catalog, "artist_list": listed})


def _first(row: Row, paths: str) -> object:
    return next((value for path in paths.split() if (value := dict_get(row, path))), None)


def _names(value: object) -> list[str]:
    """Return the names in a text, an object or a list; of aliases, only the primary one."""
    if isinstance(value, dict):
        return _names(_first(value, _NAME_FIELDS))
    if not isinstance(value, list):
        return [text] if (text := rows.text_of(value)) else []
    aliases = [each for each in value if dict_get(each, "alias")]
    chosen = sorted(aliases, key=lambda alias: dict_get(alias, "is_primary") is not True)[:1] or value
    return [name for each in chosen for name in _names(each)]


def _moment_ms(value: object) -> int | None:
    """Return the moment that a number of seconds or milliseconds, or a text, means."""
    if (number := rows.integer(value)) is not None:
        return rows.stamp_ms(number)
    text = rows.text_of(value)
    with suppress(ValueError):  # Last.fm's form, in UTC; some tools write a comma
        moment = datetime.strptime(text.replace(",", ""), "%d %b %Y %H:%M").replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1000
    return from_iso(text)


def _length_ms(logger: Logger, row: Row) -> int:
    for path in logger.length.split():
        length = dict_get(row, path)
        if isinstance(length, int | float):
            length_ms = length if path.endswith("_ms") else length * 1000
            if 1 <= length_ms <= MAX_ITEM_MS:
                return round(length_ms)
    return LEAST_LISTEN_MS


def _format_of_listens(logger: Logger) -> Format:
    needed = (logger.title, logger.artists, logger.moment)
    fields = tuple({path.partition(".")[0] for path in paths.split()} for paths in needed)
    return Format(logger.name, fields, partial(_read_listen, logger))


_FORMATS = (
    Format("Spotify", ({"ts"}, {"ms_played"}), partial(rows.read_listening, AccountRank.EXTENDED)),
    Format("Spotify", ({"endTime"}, {"msPlayed"}), partial(rows.read_listening, AccountRank.ACCOUNT_DATA)),
    Format("spotify-logger", ({"kind"}, {"fields"}), rows.read_record),
    Format("spotify-logger", ({"second"}, {"started_ms"}, {"id"}), rows.read_csv_row),
    *map(_format_of_listens, _LOGGERS),
)
