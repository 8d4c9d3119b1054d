from __future__ import annotations

import pytest

from spotify_logger.core.catalog import (
    Artist,
    CatalogEntry,
    artists_of,
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
    assert recordings(RECORDINGS, tell_apart(RECORDINGS)[0]) == {
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
