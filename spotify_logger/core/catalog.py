"""Group catalog items by recording, artist, album and show. Pure."""

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple


class CatalogEntry(NamedTuple):
    """The catalog fields that queries need; "" for an unknown value."""

    name: str = ""
    artists: str = ""  # their names, separated by ", "
    artist_ids: str = ""  # separated by spaces
    album: str = ""  # for an episode, the show
    album_id: str = ""
    isrc: str = ""  # identifies a recording across its Spotify IDs


def recording_key(key: str, isrc: str, *, exact: bool) -> str:
    """Return a key that all IDs of a recording share; with `exact`, every ID is a recording of its own.

    `key` is the item's catalog key; `isrc` is "" if unknown.
    """
    if exact or not isrc:
        return key
    # Most are in upper case already; copying them would double the memory.
    return isrc if isrc.isupper() else isrc.upper()


def artist_names(entry: CatalogEntry) -> list[str]:
    """Return the names of an item's artists.

    A name may contain ", ", so the text is split only if that yields as many names as there are IDs. Without
    IDs it is a single name: Spotify's export has only the album's artist.
    """
    names = entry.artists.split(", ")
    if len(names) == len(entry.artist_ids.split()):
        return list(dict.fromkeys(filter(None, names)))
    return [entry.artists] if entry.artists else []


def is_episode(key: str) -> bool:
    """Return whether a catalog key is that of an episode, not of music."""
    return key.startswith("episode:")


class AlbumKey(NamedTuple):
    """Identifies an album: its name and first artist; with `exact`, or for compilations, its ID instead."""

    name: str
    artist: str


def album_keys(entries: Mapping[str, CatalogEntry], *, exact: bool) -> dict[str, AlbumKey]:
    """Return the album of each track, by catalog key.

    Pressings of an album have different IDs and the same name; a compilation has one ID. Editions with
    another name are other albums. With `exact`, every ID is an album of its own.
    """
    firsts = {key: next(iter(artist_names(entry)), "") for key, entry in entries.items()}
    first_artists: dict[str, str] = {}
    compilations = set()
    for key, entry in entries.items():
        if entry.album_id and first_artists.setdefault(entry.album_id, firsts[key]) != firsts[key]:
            compilations.add(entry.album_id)
    found = {}
    for key, entry in entries.items():
        if entry.album and not is_episode(key):
            album_id = entry.album_id if exact or entry.album_id in compilations else ""
            found[key] = AlbumKey(entry.album, album_id or firsts[key])
    return found


def keys_by_group(keys: Iterable[str], groups: Mapping[str, Iterable[Hashable]]) -> dict[Hashable, list[str]]:
    """Invert a mapping of keys to groups, keeping the order of the keys."""
    found: dict[Hashable, list[str]] = {}
    for key in keys:
        for group in groups.get(key, ()):
            found.setdefault(group, []).append(key)
    return found
