from __future__ import annotations

import pytest

from spotify_logger.core.catalog import (
    AlbumKey,
    CatalogEntry,
    album_keys,
    artist_names,
    recording_key,
)


@pytest.mark.parametrize(
    ("isrc", "exact", "same"),
    [("gbduw0000061", False, "GBDUW0000061"), ("GBDUW0000061", True, "track:a"), ("", False, "track:a")],
)
def test_a_recording_has_one_isrc(isrc: str, same: str, *, exact: bool) -> None:
    assert recording_key("track:a", isrc, exact=exact) == same


@pytest.mark.parametrize(
    ("artists", "ids", "names"),
    [
        ("", "", []),
        ("Air, Beck", "1 2", ["Air", "Beck"]),
        ("Tyler, The Creator", "1", ["Tyler, The Creator"]),
        ("Air, Tyler, The Creator", "1 2", ["Air, Tyler, The Creator"]),  # ambiguous
        ("Air, Air", "1 2", ["Air"]),  # counted once
    ],
)
def test_artist_names(artists: str, ids: str, names: list[str]) -> None:
    assert artist_names(CatalogEntry("Title", artists, ids)) == names


def entry(album: str, album_id: str, artists: str, ids: str = "") -> CatalogEntry:
    return CatalogEntry("Title", artists, ids or " ".join("x" for _ in artists.split(", ")), album, album_id)


ENTRIES = {
    "track:1": entry("Discovery", "d1", "Daft Punk"),
    "track:2": entry("Discovery", "d1", "Daft Punk, Romanthony"),  # as a guest
    "track:3": entry("Discovery", "d2", "Daft Punk"),  # another pressing
    "track:4": entry("Discovery", "d3", "Electric Light Orchestra"),  # another album
    "track:6": entry("Hits", "h1", "Air"),
    "track:7": entry("Hits", "h1", "Beck"),
    "track:8": entry("Hits", "h2", "Air"),  # a compilation of one's own
    "track:9": entry("", "x", "Air"),
    "local:1": CatalogEntry("Title", "Daft Punk", "", "Discovery"),  # of a file, or an export
    "local:2": CatalogEntry("Title", "", "", "Field Recordings"),
    "episode:1": entry("A Show", "s1", ""),
    "track:nothing": CatalogEntry(),
}
DISCOVERY, HITS = AlbumKey("Discovery", "Daft Punk"), AlbumKey("Hits", "h1")
EXPECTED = {
    "track:1": DISCOVERY,
    "track:2": DISCOVERY,
    "track:3": DISCOVERY,
    "track:4": AlbumKey("Discovery", "Electric Light Orchestra"),
    "track:6": HITS,
    "track:7": HITS,
    "track:8": AlbumKey("Hits", "Air"),
    "local:1": DISCOVERY,
    "local:2": AlbumKey("Field Recordings", ""),
}


def test_albums_are_grouped_by_name_and_artist() -> None:
    assert album_keys(ENTRIES, exact=False) == EXPECTED


def test_albums_are_grouped_by_id() -> None:
    found = album_keys(ENTRIES, exact=True)
    assert found.keys() == EXPECTED.keys()
    assert found["track:1"] == found["track:2"] == AlbumKey("Discovery", "d1")
    assert found["track:3"] == AlbumKey("Discovery", "d2")
    assert found["local:1"] == DISCOVERY
