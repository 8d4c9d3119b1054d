"""Export the log as listens in ListenBrainz's own JSON format, one per line.

The fields are those of <https://listenbrainz.readthedocs.io/en/latest/users/json.html>; those with "spotify"
in their names are those of its own importer for Spotify's exports. It expects the lines as *.jsonl in a zip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.player_state import whole_number
from spotify_logger.transfer.exporter.plays import read_plays_with_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.exporter.plays import StoredPlay

ALWAYS_COUNTS_MS = 240_000
"""Milliseconds; a listen needs half of the track or four minutes, whichever is less."""
MIN_UNKNOWN_LENGTH_MS = 30_000
"""Milliseconds; if the length is unknown, ListenBrainz's importer for Spotify's exports drops shorter plays,
unless the track was played to its end."""
CATALOG_FIELDS = ("name", "artists", "artist_ids", "album", "album_id", "isrc", "duration_ms")
PLAY_FIELDS = ("type", "name", "artists", "album", "duration_ms", "ms_played", "end_reason")
CLIENT = {
    "media_player": "Spotify",
    "submission_client": "Spotify Logger",
    "submission_client_version": __version__,
}
OPEN_SPOTIFY_URL = "https://open.spotify.com"


def listens(archive: Archive, begin: int, end: int | None) -> Iterator[dict[str, object]]:
    """Yield the plays that ListenBrainz counts as listens, in chronological order.

    Args:
        archive: The log.
        begin: The first second of the period.
        end: The second after the last one; None for no limit.
    """
    for play, fields in read_plays_with_catalog(archive, begin, end, PLAY_FIELDS, CATALOG_FIELDS):
        if fields.get("type") == "track" and fields.get("name") and fields.get("artists") and counts(fields):
            yield _listen(play, fields)


def counts(fields: Mapping[str, str]) -> bool:
    """Return whether enough of a track was played to count as a listen.

    Args:
        fields: The fields of the play, completed from the catalog.
    """
    ms_played = whole_number(fields.get("ms_played")) or 0
    duration_ms = whole_number(fields.get("duration_ms"))
    if duration_ms:
        return ms_played >= min(duration_ms / 2, ALWAYS_COUNTS_MS)
    return ms_played >= MIN_UNKNOWN_LENGTH_MS or fields.get("end_reason") == TRACKDONE


def _listen(play: StoredPlay, fields: Mapping[str, str]) -> dict[str, object]:
    track = {
        "artist_name": fields["artists"],
        "track_name": fields["name"],
        "release_name": fields.get("album"),
    }
    about = {
        "duration_ms": whole_number(fields.get("duration_ms")),
        "isrc": fields.get("isrc"),
        **(_at_spotify(play.item, fields) if play.item.startswith("track:") else {}),
        **CLIENT,
    }
    metadata = {**_without_blanks(track), "additional_info": _without_blanks(about)}
    return {"listened_at": play.second, "track_metadata": metadata}


def _at_spotify(item: str, fields: Mapping[str, str]) -> dict[str, object]:
    """Return the Spotify links of a track."""
    url = f"{OPEN_SPOTIFY_URL}/track/{item.removeprefix('track:')}"
    album = fields.get("album_id")
    return {
        "music_service": "spotify.com",
        "origin_url": url,
        "spotify_id": url,
        "spotify_album_id": album and f"{OPEN_SPOTIFY_URL}/album/{album}",
        "spotify_artist_ids": [
            f"{OPEN_SPOTIFY_URL}/artist/{artist}" for artist in fields.get("artist_ids", "").split()
        ],
    }


def _without_blanks(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
