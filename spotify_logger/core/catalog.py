"""What belongs together: items of the catalogue as recordings, artists, albums and shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

EPISODE = "episode:"


class CatalogEntry(NamedTuple):
    """What the catalogue knows of an item, as far as it is needed here; "" where it knows nothing.

    Attributes:
        name: Its title.
        artists: Their names, parted by ", ".
        artist_ids: Their ids, parted by blanks.
        album: A show's name for an episode.
        album_id: The album's id at Spotify.
        isrc: What tells recordings from each other, whatever ids they have.
    """

    name: str = ""
    artists: str = ""
    artist_ids: str = ""
    album: str = ""
    album_id: str = ""
    isrc: str = ""


UNKNOWN_ENTRY = CatalogEntry()


def recording_key(key: str, isrc: str, *, exact: bool) -> str:
    """What is the same for all ids of a recording.

    Args:
        key: An item's catalogue key.
        isrc: Its ISRC, "" where none is known.
        exact: Every id is one of its own.
    """
    if exact or not isrc:
        return key
    # Most are in capitals already; a copy of each would take as much memory again.
    return isrc if isrc.isupper() else isrc.upper()


def artist_names(entry: CatalogEntry) -> list[str]:
    """The names of an item's artists.

    A name may hold ", " itself; so the text is cut only where that makes as many names as there are ids.
    Without ids it is one name: Spotify's export knows the album's artist alone.
    """
    names = entry.artists.split(", ")
    if len(names) == len(entry.artist_ids.split()):
        return list(dict.fromkeys(filter(None, names)))
    return [entry.artists] if entry.artists else []


def is_episode(key: str) -> bool:
    """Whether a catalogue key is that of an episode of a show, and not of music."""
    return key.startswith(EPISODE)


class AlbumKey(NamedTuple):
    """What tells one album from another: its name, and its first artist; none for those of many artists."""

    name: str
    artist: str


def album_keys(entries: Mapping[str, CatalogEntry], *, exact: bool) -> dict[str, AlbumKey]:
    """The albums of music: catalogue key -> album.

    The pressings of an album have several ids and one name; an album of many artists has one id. Editions
    with another name stay others.

    Args:
        entries: What the catalogue knows, by key.
        exact: Every id is an album of its own.
    """
    firsts = {key: next(iter(artist_names(entry)), "") for key, entry in entries.items()}
    only: dict[str, str] = {}
    of_many = set()
    for key, entry in entries.items():
        if entry.album_id and only.setdefault(entry.album_id, firsts[key]) != firsts[key]:
            of_many.add(entry.album_id)
    found = {}
    for key, entry in entries.items():
        if not entry.album or is_episode(key):
            continue
        is_by_id = exact or entry.album_id in of_many
        artist = entry.album_id if entry.album_id and is_by_id else firsts[key]
        found[key] = AlbumKey(entry.album, artist)
    return found


def keys_by_group(keys: Iterable[str], groups: Mapping[str, Iterable[Hashable]]) -> dict[Hashable, list[str]]:
    """Turn groups by key into keys by group, in the order of the keys."""
    found: dict[Hashable, list[str]] = {}
    for key in keys:
        for group in groups.get(key, ()):
            found.setdefault(group, []).append(key)
    return found
