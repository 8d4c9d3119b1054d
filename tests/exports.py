"""Rows of Spotify's exports, for the tests of the import."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.times import to_iso
from spotify_logger.transfer.importer.export_rows import ImportedPlay
from spotify_logger.transfer.importer.formats import read_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOON = 1_767_268_800
"""The second since the epoch that the seconds of these rows count from: a noon of the first of January."""
NOW_MS = (NOON + 366 * 86_400) * 1000


@dataclass(frozen=True)
class Song:
    """Something that can be played; the letter of its name is its id."""

    name: str
    artist: str = "Daft Punk"
    album: str = "Discovery"
    identity: str = ""

    @property
    def uri(self) -> str:
        return f"spotify:track:{self.identity or self.name}"


A, B, C = Song("A"), Song("B"), Song("C", "Air", "Moon Safari")


def extended(
    song: Song,
    start: float | None,
    heard: float,
    end: float | None = None,
    reason: str = "trackdone",
    **more: object,
) -> dict[str, object]:
    """Return a row of the extended history, in seconds after noon; by default without a pause."""
    end = (start or 0) + heard if end is None else end
    row: dict[str, object] = {
        "ts": stamp(math.ceil(end)),
        "platform": "android",
        "ms_played": round(heard * 1000),
        "conn_country": "DE",
        "ip_addr": "192.0.2.1",
        "master_metadata_track_name": song.name,
        "master_metadata_album_artist_name": song.artist,
        "master_metadata_album_album_name": song.album,
        "spotify_track_uri": song.uri,
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "reason_start": "clickrow",
        "reason_end": reason,
        "shuffle": False,
        "skipped": reason != "trackdone",
        "offline": False,
        "offline_timestamp": None if start is None else NOON + math.floor(start),
        "incognito_mode": False,
    }
    return row | more


def account(song: Song, end: float, heard: float) -> dict[str, object]:
    """Return a row of the account data, which has the minute at which a play ended, in seconds after noon."""
    minute = stamp(math.floor(end))[:16].replace("T", " ")
    return {
        "endTime": minute,
        "artistName": song.artist,
        "trackName": song.name,
        "msPlayed": round(heard * 1000),
    }


def stamp(second: int) -> str:
    """Format a second after noon as exports do."""
    return to_iso((NOON + second) * 1000).replace(".000", "")


def entry(row: dict[str, object]) -> ImportedPlay:
    """Read a row that holds a play."""
    found = read_row(row, NOW_MS)
    assert isinstance(found, ImportedPlay), found
    return found


def write(path: Path, rows: Sequence[object]) -> Path:
    """Write a file of an export."""
    path.write_text(json.dumps(rows))
    return path
