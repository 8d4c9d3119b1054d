from __future__ import annotations

import pytest

from spotify_logger.core.catalog import (
    AlbumKey,
    Artist,
    CatalogEntry,
    album_keys,
    artists_of,
    credited_artists,
    recordings,
    tell_apart,
)
from spotify_logger.core.player_state import encode_artists

TYLER, KALI, FRANK = Artist("Tyler, The Creator", "t"), Artist("Kali Uchis", "k"), Artist("Frank Ocean", "f")


def written(*artists: Artist, name: str = "Title", isrc: str = "") -> CatalogEntry:
    """An entry of today."""
    return CatalogEntry(name, ", ".join(map(str, artists)), isrc=isrc, artist_list=encode_artists(artists))


def old(artists: str, ids: str = "") -> CatalogEntry:
    """An entry of 0.5, or without IDs of an export."""
    return CatalogEntry("Title", artists, ids)


@pytest.mark.parametrize(
    ("entry", "artists"),
    [
        (old(""), []),
        (written(TYLER, KALI), [TYLER, KALI]),
        (written(Artist("A File's, Artist")), [Artist("A File's, Artist")]),
        (old("Air, Beck", "a b"), [Artist("Air", "a"), Artist("Beck", "b")]),
        (old("Tyler, The Creator", "t"), [TYLER]),
        (old("Tyler, The Creator, Kali Uchis", "t k"), [Artist("Tyler, The Creator, Kali Uchis")]),
        (old("Tyler, The Creator"), [Artist("Tyler, The Creator")]),
        (old("Air", "a")._replace(artist_list="[" * 100_000), [Artist("Air", "a")]),
        (old("Air", "a")._replace(artist_list='[{"name": 1}, 2]'), [Artist("Air", "a")]),
    ],
)
def test_artists_of_an_entry(entry: CatalogEntry, artists: list[Artist]) -> None:
    assert artists_of(entry) == artists


def test_other_entries_tell_artists_apart() -> None:
    entries = {
        "alone": old("Frank Ocean", "f"),
        "with the rest": old("Tyler, The Creator, Kali Uchis", "t k"),  # after the next one has been split
        "of three": old("Frank Ocean, JAY-Z, Tyler, The Creator", "f j t"),
        "renamed": old("Formerly, Known As, Frank Ocean", "x f"),
        "doubtful": old("Simon, Garfunkel, Crosby, Stills & Nash", "s c"),
        "in part": old("Frank Ocean, One, Two, Three", "f 1 2"),
        "new": written(TYLER, KALI),
    }
    found, doubtful = tell_apart(entries)
    assert found["with the rest"] == [TYLER, KALI]
    assert found["of three"] == [FRANK, Artist("JAY-Z", "j"), TYLER]
    assert found["renamed"] == [Artist("Formerly, Known As", "x"), FRANK]
    assert found["doubtful"] == [Artist("Simon, Garfunkel, Crosby, Stills & Nash")]
    assert found["in part"] == [FRANK]
    assert doubtful == {"doubtful", "in part"}


def test_a_text_that_may_be_split_in_too_many_ways() -> None:
    text = ", ".join(map(str, range(300)))
    entries = {"many": old(text, " ".join(map(str, range(150))))}
    assert tell_apart(entries) == ({"many": [Artist(text)]}, {"many"})


def test_an_artist_is_one_by_id_or_by_name() -> None:
    """The newest entry comes last."""
    entries = {
        "old name": written(Artist("Kanye West", "y")),
        "import": old("TYLER, the creator"),
        "new name": written(Artist("Ye", "y"), TYLER),
        "import of the old name": old("kanye west"),
        "namesake": written(Artist("Ye", "another")),
        "file": old("Sigur Rós"),
        "other file": old("sigur ros"),
    }
    assert credited_artists(entries) == {
        "old name": [Artist("Ye", "y")],
        "import": [TYLER],
        "new name": [Artist("Ye", "y"), TYLER],
        "import of the old name": [Artist("Ye", "y")],
        "namesake": [Artist("Ye", "another")],
        "file": [Artist("sigur ros")],
        "other file": [Artist("sigur ros")],
    }


RECORDINGS = {
    "track:1": written(TYLER, KALI, name="Duet", isrc="gb1"),
    "track:2": written(TYLER, KALI, name="Duet - Remastered", isrc="GB1"),
    "track:3": written(TYLER, name="Duet", isrc="GB2"),
    "track:4": old("Tyler, The Creator")._replace(name="DUET"),  # of an export
    "local:5": old("Kali Uchis")._replace(name="Duet"),
    "track:6": written(KALI, FRANK, name="Sólo"),
    "local:7": old("kali uchis")._replace(name="Solo"),
    "track:8": written(KALI, FRANK, name="Trio", isrc="GB3"),
    "local:9": old("Kali Uchis")._replace(name="trio"),
    "local:10": old("")._replace(name="trio"),
    "local:11": old("Kali Uchis")._replace(name=" "),
    "local:12": old("Kali Uchis")._replace(name=" "),
}


def test_recordings() -> None:
    assert recordings(RECORDINGS, exact=False) == {
        "track:1": "GB1",
        "track:2": "GB1",
        "track:3": "GB2",
        "track:4": "GB2",  # not the duet, although that begins with the same artist
        "local:5": "local:5",
        "track:6": "local:7",
        "local:7": "local:7",
        "track:8": "GB3",
        "local:9": "GB3",
        "local:10": "local:10",
        "local:11": "local:11",
        "local:12": "local:12",
    }


def test_recordings_are_taken_apart() -> None:
    assert recordings(RECORDINGS, exact=True) == {key: key for key in RECORDINGS}


def entry(album: str, album_id: str, artists: str, ids: str = "") -> CatalogEntry:
    return CatalogEntry(
        "Title",
        artists,
        ids or " ".join(name.replace(" ", "-") for name in artists.split(", ")),
        album,
        album_id,
    )


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
