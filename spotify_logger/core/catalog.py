"""Tell artists and recordings of catalog items apart. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, combinations, pairwise
from math import comb
from typing import NamedTuple

from spotify_logger.core.text import fold
from spotify_logger.system.state import from_json

MAX_SPLITS = 10_000  # a text that could be split into names in more ways stays whole


class CatalogEntry(NamedTuple):
    """The catalog fields that queries need; "" for an unknown value."""

    name: str = ""
    artists: str = ""  # their names, separated by ", "
    artist_ids: str = ""  # separated by spaces
    album: str = ""  # for an episode, the show
    album_id: str = ""
    isrc: str = ""  # identifies a recording across its Spotify IDs
    artist_list: str = ""  # names and IDs, as `encode_artists` returns them; entries of 0.5 lack it


class Artist(NamedTuple):
    """An artist; the ID is "" if it is unknown: exports and local files have none."""

    name: str
    id: str = ""

    def __str__(self) -> str:
        return self.name


def artists_of(entry: CatalogEntry) -> list[Artist]:
    """Return an item's artists, as far as its entry alone tells them apart.

    Without a list, the joined text is split only if that yields as many names as there are IDs, because a
    name may contain ", ". Without IDs it is a single name: Spotify's export has only the album's artist.
    """
    if listed := _read_list(entry.artist_list):
        return [*listed]
    names, ids = entry.artists.split(", "), entry.artist_ids.split()
    if len(names) == len(ids):
        return [Artist(*both) for both in zip(names, ids, strict=True) if both[0]]
    return [Artist(entry.artists, ids[0] if len(ids) == 1 else "")] if entry.artists else []


@lru_cache(maxsize=4096)
def _read_list(text: str) -> Sequence[Artist]:
    listed = from_json(list[dict[str, str]], text) or []
    return [Artist(each["name"], each.get("id", "")) for each in listed if each.get("name")]


def tell_apart(entries: Mapping[str, CatalogEntry]) -> tuple[dict[str, list[Artist]], set[str]]:
    """Return the artists of each item, and the items whose artists stay doubtful.

    Where an entry alone does not tell, the names that others have for its IDs may leave a single way to split
    the text. If not, only the artists with a known name are returned, or else the whole text as one name.
    """
    found = {key: artists_of(entry) for key, entry in entries.items()}
    unclear = {key for key, artists in found.items() if len(artists) == 1 and " " in entries[key].artist_ids}
    names: dict[str, set[str]] = {}  # by ID
    solved = found if unclear else {}
    while solved:
        for artist in chain.from_iterable(solved.values()):
            names.setdefault(artist.id, set()).add(artist.name)
        solved = {key: split for key in unclear if (split := _split(entries[key], names))}
        found |= solved
        unclear -= solved.keys()
    newest = {artist.id: artist.name for artist in chain.from_iterable(found.values())} if unclear else {}
    for key in unclear:
        ids = entries[key].artist_ids.split()
        found[key] = [Artist(newest[each], each) for each in ids if each in newest] or found[key]
    return found, unclear


def _split(entry: CatalogEntry, names: Mapping[str, Iterable[str]]) -> list[Artist]:
    """Return the artists if there is exactly one way to split their joined names; else nothing."""
    parts, ids = entry.artists.split(", "), entry.artist_ids.split()
    if comb(len(parts) - 1, len(ids) - 1) > MAX_SPLITS:
        return []
    cuts = combinations(range(1, len(parts)), len(ids) - 1)
    ways = ([", ".join(parts[begin:end]) for begin, end in pairwise((0, *cut, len(parts)))] for cut in cuts)
    possible = [
        way
        for way in ways
        if all(name in names.get(each, (name,)) for name, each in zip(way, ids, strict=True))
    ]
    return [Artist(*both) for both in zip(possible[0], ids, strict=True)] if len(possible) == 1 else []


def recordings(
    entries: Mapping[str, CatalogEntry], artists: Mapping[str, Sequence[Artist]]
) -> dict[str, str]:
    """Return what identifies the recording of each item, whose artists `tell_apart` returned.

    Items with the same ISRC are one recording. Imported plays have none: they join those with their title and
    artists, or else their first artist, since exports name no other.
    """
    # Most are in upper case already; copying them would double the memory.
    found = {key: each.isrc if each.isrc.isupper() else each.isrc.upper() for key, each in entries.items()}
    without = sorted(key for key, isrc in found.items() if not isrc)
    titles = {fold(entries[key].name) for key in without} - {""}
    names = {
        key: (title, *(fold(artist.name) for artist in artists[key]))
        for key, entry in (entries.items() if titles else ())
        if artists[key] and (title := fold(entry.name)) in titles
    }
    known: dict[tuple[str, ...], str] = {}
    for length in (None, 2):  # all artists, and then the first one
        for key in sorted(filter(found.get, names), key=found.__getitem__):
            known.setdefault(names[key][:length], found[key])
    for key in without:
        own = names.get(key, (key,))
        found[key] = known.get(own) or known.get(own[:2]) or key
        for each in (own, own[:2]):
            known.setdefault(each, found[key])
    return found
