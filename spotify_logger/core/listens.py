"""Turn plays into listens in ListenBrainz's own JSON format. Pure.

The fields are those of <https://listenbrainz.readthedocs.io/en/latest/users/json.html>; those with "spotify"
in their names are those of its own importer for Spotify's exports. It expects the lines as *.jsonl in a zip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.core.catalog import CatalogEntry, artists_of
from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.player_state import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.core.player_state import FieldValue

ALWAYS_COUNTS_MS = 240_000
"""Milliseconds; a listen needs half of the track or four minutes, whichever is less."""
MIN_UNKNOWN_LENGTH_MS = 30_000
"""Milliseconds; if the length is unknown, ListenBrainz's importer for Spotify's exports drops shorter plays,
unless the track was played to its end."""
CATALOG_FIELDS = (*CatalogEntry._fields, "duration_ms")
PLAY_FIELDS = ("type", "name", "artists", "album", "duration_ms", "ms_played", "end_reason")
CLIENT = {
    "media_player": "Spotify",
    "submission_client": "Spotify Logger",
    "submission_client_version": __version__,
}
OPEN_SPOTIFY_URL = "https://open.spotify.com"
_CONTROL_CHARACTERS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")


def is_music(fields: Mapping[str, FieldValue]) -> bool:
    """Return whether an item is a track whose title and artists are known."""
    return fields.get("type") == "track" and all(_text(fields.get(name, "")) for name in ("name", "artists"))


def counts(fields: Mapping[str, FieldValue]) -> bool:
    """Return whether a play is a listen: enough of a track, whose title and artists are known."""
    if not is_music(fields):
        return False
    ms_played = whole_number(fields.get("ms_played")) or 0
    duration_ms = whole_number(fields.get("duration_ms"))
    if duration_ms:
        return ms_played >= min(duration_ms / 2, ALWAYS_COUNTS_MS)
    return ms_played >= MIN_UNKNOWN_LENGTH_MS or fields.get("end_reason") == TRACKDONE


def listen(second: int, item: str, fields: Mapping[str, FieldValue]) -> dict[str, object]:
    """Return the listen of a play: the second of its start, the key of its item, and the fields above."""
    return {"listened_at": second, "track_metadata": track_metadata(item, fields)}


def track_metadata(item: str, fields: Mapping[str, FieldValue]) -> dict[str, object]:
    """Return what a listen says about its track, and how many seconds of it were really heard.

    ListenBrainz refuses NUL characters and blank names, and with one such listen all that are sent with it.
    """
    entry = CatalogEntry(**{name: _text(fields.get(name, "")) for name in CatalogEntry._fields})
    names = [*filter(None, map(_text, map(str, artists_of(entry))))]
    about = {
        "duration_ms": whole_number(fields.get("duration_ms")),
        "duration_played": (whole_number(fields.get("ms_played")) or 0) // 1000,
        "artist_names": names if len(names) >= len(entry.artist_ids.split()) else [],  # they are told apart
        "isrc": entry.isrc,
        **(_links(item, entry) if item.startswith("track:") else {}),
        **CLIENT,
    }
    return _without_blanks(
        {
            "artist_name": entry.artists,
            "track_name": entry.name,
            "release_name": entry.album,
            "additional_info": _without_blanks(about),
        }
    )


def _links(item: str, entry: CatalogEntry) -> dict[str, object]:
    url = f"{OPEN_SPOTIFY_URL}/track/{item.removeprefix('track:')}"
    return {
        "music_service": "spotify.com",
        "origin_url": url,
        "spotify_id": url,
        "spotify_album_id": entry.album_id and f"{OPEN_SPOTIFY_URL}/album/{entry.album_id}",
        "spotify_artist_ids": [f"{OPEN_SPOTIFY_URL}/artist/{artist}" for artist in entry.artist_ids.split()],
    }


def _text(value: FieldValue) -> str:
    """Return a text without control characters."""
    return str(value).translate(_CONTROL_CHARACTERS).strip()


def _without_blanks(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
