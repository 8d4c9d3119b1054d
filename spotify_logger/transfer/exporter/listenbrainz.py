"""Turn plays into listens in ListenBrainz's own JSON format. Pure.

The fields are those of <https://listenbrainz.readthedocs.io/en/latest/users/json.html>; those with "spotify"
in their names are those of its own importer for Spotify's exports. It expects the lines as *.jsonl in a zip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.core.catalog import ARTIST_FIELDS, CatalogEntry, artists_of
from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.player_state import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

ALWAYS_COUNTS_MS = 240_000
"""Milliseconds; a listen needs half of the track or four minutes, whichever is less."""
MIN_UNKNOWN_LENGTH_MS = 30_000
"""Milliseconds; if the length is unknown, ListenBrainz's importer for Spotify's exports drops shorter plays,
unless the track was played to its end."""
CATALOG_FIELDS = ("name", "album", "album_id", "isrc", "duration_ms", *ARTIST_FIELDS)
PLAY_FIELDS = ("type", "name", "artists", "album", "duration_ms", "ms_played", "end_reason")
CLIENT = {
    "media_player": "Spotify",
    "submission_client": "Spotify Logger",
    "submission_client_version": __version__,
}
OPEN_SPOTIFY_URL = "https://open.spotify.com"


def counts(fields: Mapping[str, str]) -> bool:
    """Return whether a play is a listen: enough of a track, whose title and artists are known."""
    if fields.get("type") != "track" or not fields.get("name") or not fields.get("artists"):
        return False
    ms_played = whole_number(fields.get("ms_played")) or 0
    duration_ms = whole_number(fields.get("duration_ms"))
    if duration_ms:
        return ms_played >= min(duration_ms / 2, ALWAYS_COUNTS_MS)
    return ms_played >= MIN_UNKNOWN_LENGTH_MS or fields.get("end_reason") == TRACKDONE


def listen(second: int, item: str, fields: Mapping[str, str]) -> dict[str, object]:
    """Return the listen of a play: the second of its start, the key of its item, and the fields above."""
    artists = artists_of(CatalogEntry(**{name: fields.get(name, "") for name in ARTIST_FIELDS}))
    about = {
        # Fewer names than IDs: those of an earlier version, which cannot be told apart.
        "artist_names": [*map(str, artists)]
        if len(artists) >= len(fields.get("artist_ids", "").split())
        else [],
        "duration_ms": whole_number(fields.get("duration_ms")),
        "isrc": fields.get("isrc"),
        **(_links(item, fields) if item.startswith("track:") else {}),
        **CLIENT,
    }
    metadata = {
        "artist_name": fields["artists"],
        "track_name": fields["name"],
        "release_name": fields.get("album"),
        "additional_info": _without_blanks(about),
    }
    return {"listened_at": second, "track_metadata": _without_blanks(metadata)}


def _links(item: str, fields: Mapping[str, str]) -> dict[str, object]:
    url = f"{OPEN_SPOTIFY_URL}/track/{item.removeprefix('track:')}"
    album, artists = fields.get("album_id"), fields.get("artist_ids", "").split()
    return {
        "music_service": "spotify.com",
        "origin_url": url,
        "spotify_id": url,
        "spotify_album_id": album and f"{OPEN_SPOTIFY_URL}/album/{album}",
        "spotify_artist_ids": [f"{OPEN_SPOTIFY_URL}/artist/{artist}" for artist in artists],
    }


def _without_blanks(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
