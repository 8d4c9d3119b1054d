"""How often something was played, from the index and the catalogue alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from spotify_logger.faces import Answer, Table, counted, length, local_time, utc_time
from spotify_logger.gaps import seconds_blind, since
from spotify_logger.plays import minutes, title
from spotify_logger.stats import LISTENED_MS, Tally, tally
from spotify_logger.text import Fit, fit, fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.store import Store

CANDIDATES = 10
"""Tracks that are listed below a count."""


@dataclass(slots=True)
class Track:
    """A recording and what was heard of it; the same one may have several ids at Spotify.

    Attributes:
        keys: Its catalogue keys.
        name: Its title.
        artists: Parted by ", ".
        album: A show's name for an episode.
        tally: Its plays, under all of its keys.
    """

    keys: list[str]
    name: str
    artists: str
    album: str
    tally: Tally

    @property
    def title(self) -> str:
        """What to call it."""
        return title({"name": self.name, "artists": self.artists, "uri": self.keys[0]})


def count(store: Store, text: str) -> Answer:
    """How often something was played.

    Args:
        store: The log.
        text: The title, the album or an artist, as a whole; where nothing is called so, a part of these.
    """
    days = store.archive().rows()
    tallies = tally(row for rows in days for row in zip(rows.seconds, rows.items, rows.heard, strict=True))
    whole, in_part = _find(store, tallies, fold(text))
    found = whole or in_part
    sums = Tally()
    for track in found:
        sums.merge(track.tally)
    begun = min((each.first for each in tallies.values() if each.first is not None), default=None)
    gaps = [] if begun is None else since(store.gaps(), begun)
    blind = 0 if begun is None else seconds_blind(gaps, begun)
    ranked = sorted(found, key=lambda track: (-track.tally.plays, -track.tally.heard_ms, track.name))
    data = {
        "text": text,
        "whole": bool(whole),
        "at_least_ms": LISTENED_MS,
        **_tally_data(sums),
        "unseen": {"gaps": len(gaps), "seconds": blind},
        "tracks": [_track_data(track) for track in ranked],
    }
    if not found:
        return Answer(data, [f"Nothing that was played matches “{text}”."])
    page: list[str | Table] = [_sums_table(sums, ranked)]
    if len(ranked) > 1:
        rows = [
            (track.title, str(track.tally.plays), minutes(track.tally.heard_ms), track.album)
            for track in ranked[:CANDIDATES]
        ]
        page.append(Table(rows, ("track", "plays", "heard", "album"), numbers=[1, 2], wide=0))
    if len(ranked) > CANDIDATES:
        page.append(f"and {counted(len(ranked) - CANDIDATES, 'more track')}")
    if whole and in_part:
        page.append(f"Left out: {counted(len(in_part), 'track')} with this only as a part of the name.")
    if gaps:
        page.append(
            f"At least: in {counted(len(gaps), 'gap')}, {length(blind)} in all, nothing could be seen."
        )
    return Answer(data, page)


def _find(store: Store, tallies: Mapping[str, Tally], wanted: str) -> tuple[list[Track], list[Track]]:
    """The recordings that fit as a whole, and in part."""
    found: dict[Fit, dict[str, Track]] = {Fit.WHOLE: {}, Fit.IN_PART: {}}
    for key, (name, artists, album, isrc) in store.catalogue(tallies, ("name", "artists", "album", "isrc")):
        how = fit(wanted, name, artists, album)
        if how is Fit.NOT:
            continue
        track = found[how].setdefault(isrc or key, Track([], name, artists, album, Tally()))
        track.keys.append(key)
        track.tally.merge(tallies[key])
    return list(found[Fit.WHOLE].values()), list(found[Fit.IN_PART].values())


def _sums_table(sums: Tally, ranked: list[Track]) -> Table:
    only = ranked[0].title if len(ranked) == 1 else counted(len(ranked), "track")
    rows = [
        ("what", only),
        ("plays", f"{sums.plays:,}"),
        ("shorter", f"{sums.skips:,}"),
        ("heard", minutes(sums.heard_ms)),
        ("first", "" if sums.first is None else local_time(sums.first)),
        ("last", "" if sums.last is None else local_time(sums.last)),
    ]
    return Table([row for row in rows if row[1]])


def _track_data(track: Track) -> dict[str, object]:
    about = {"keys": track.keys, "name": track.name, "artists": track.artists, "album": track.album}
    return {**about, **_tally_data(track.tally)}


def _tally_data(sums: Tally) -> dict[str, object]:
    return {**asdict(sums), "first": utc_time(sums.first), "last": utc_time(sums.last)}
