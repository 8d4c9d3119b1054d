"""Answer `compare`: the artists and tracks that two listeners share, how often, and who heard them first.

Plays are counted in the period. Who was first is decided over all time up to its end: someone who has known
a track for years is first in every year.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import Artist, CatalogEntry, recordings
from spotify_logger.core.times import utc_time
from spotify_logger.queries.question import TIME, Question
from spotify_logger.queries.tallies import (
    ARTISTS,
    TRACKS,
    bounds,
    by_group,
    counts,
    groups,
    make_tally,
    source,
)
from spotify_logger.queries.top import Group, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spotify_logger.queries.log import Log


@dataclass(frozen=True, slots=True)
class Listener:
    """How much one of the two played."""

    name: str  # "" for the listener without one
    plays: int
    heard_ms: int
    artists: int
    tracks: int


@dataclass(frozen=True, slots=True)
class Common:
    """How many artists and tracks both played."""

    artists: int
    tracks: int


@dataclass(frozen=True, slots=True)
class SharedLine:
    """An artist or a track that both played; each sequence has a value for either of them."""

    rank: int
    name: str
    plays: Sequence[int]
    heard_ms: Sequence[int]
    first: Sequence[str | None]  # play that counts, even before the period
    key: str  # in the catalog, of the item that the first listener played most


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two listeners have in common, ranked by the lower of their measures."""

    from_: str | None
    to: str | None
    by: str
    listeners: Sequence[Listener]
    common: Common
    artists: Sequence[SharedLine]
    tracks: Sequence[SharedLine]


class _Played(NamedTuple):
    """An artist or a track that one of the two played."""

    group: Group
    first: int  # the second of the first play

    def together_with(self, other: _Played) -> _Played:
        most = max(self.group, other.group, key=lambda each: (each.plays, each.ms_played))
        plays, ms_played = self.group.plays + other.group.plays, self.group.ms_played + other.group.ms_played
        return _Played(most._replace(plays=plays, ms_played=ms_played), min(self.first, other.first))


def compare(logs: Sequence[Log], names_of_both: Sequence[str], question: Question) -> Comparison:
    """Compare two listeners by their logs and names."""
    artists = _played(logs, ARTISTS, question, _same_artists(logs))
    tracks = _played(logs, TRACKS, question, {} if question.exact else _same_recordings(logs))
    listeners = []
    for place, (log, name) in enumerate(zip(logs, names_of_both, strict=True)):
        ((plays, heard_ms),) = log.rows("SELECT ifnull(sum(plays), 0), ifnull(sum(ms_played), 0) FROM tally")
        listeners.append(Listener(name, plays, heard_ms, len(artists[place]), len(tracks[place])))
    return Comparison(
        utc_time(question.period.begin),
        utc_time(question.period.end),
        question.by,
        listeners,
        Common(*(len(one.keys() & other) for one, other in (artists, tracks))),
        _lines(logs[0], ARTISTS, question, *artists),
        _lines(logs[0], TRACKS, question, *tracks),
    )


def _played(
    logs: Iterable[Log], kind: str, question: Question, same: Mapping[str, str]
) -> list[dict[str, _Played]]:
    """Return what each of the two played of a kind; `same` names groups as the other log does."""
    query = f"""WITH by_item AS (
            SELECT item, min(second) AS first FROM {source(question)}
            WHERE second < ? AND {counts(question)} GROUP BY item
        ), firsts AS (
            SELECT grouped, min(first) AS first
            FROM by_item JOIN ({groups(kind, exact=question.exact)}) USING (item) GROUP BY grouped
        )
        SELECT first, grouped, plays, ms_played, (SELECT key FROM items WHERE id = item)
        FROM ({by_group(question, kind)}) JOIN firsts USING (grouped) WHERE plays > 0"""
    both = []
    for log in logs:
        make_tally(log, question, question.period)
        found: dict[str, _Played] = {}
        for first, *group in log.rows(query, bounds(question.period).end):
            new = _Played(Group(*group), first)
            name = same.get(new.group.grouped, new.group.grouped)
            found[name] = found[name].together_with(new) if name in found else new
        both.append(found)
    return both


def _same_artists(logs: Iterable[Log]) -> dict[str, str]:
    """Map artists that one of the logs knows by name only to the newest of that name."""
    query = "SELECT last, folded, person FROM artists WHERE spotify_id <> '' AND last IS NOT NULL"
    return {folded: person for _, folded, person in sorted(row for log in logs for row in log.rows(query))}


def _same_recordings(logs: Sequence[Log]) -> dict[str, str]:
    """Map recordings without an ISRC to what they are by the entries of both logs."""
    query = "SELECT DISTINCT title FROM items WHERE isrc = '' AND title <> '' AND NOT is_episode"
    titles = json.dumps([title for log in logs for (title,) in log.rows(query)])
    entries: dict[str, CatalogEntry] = {}
    artists: dict[str, list[Artist]] = {}
    own = {}
    credited = """SELECT group_concat(name, char(10)) FROM (SELECT name
        FROM credits JOIN artists ON artists.id = artist WHERE item = items.id ORDER BY position)"""
    query = f"""SELECT key, recording, name, isrc, ({credited}) FROM items
        WHERE title IN (SELECT value FROM json_each(?))"""
    for log in logs:
        for key, recording, name, isrc, credit in log.rows(query, titles):
            own[recording] = key
            if key not in entries or isrc:
                entries[key] = CatalogEntry(name, isrc=isrc)
                artists[key] = [Artist(each) for each in credit.split("\n")] if credit else []
    found = recordings(entries, artists)
    return {recording: found[key] for recording, key in own.items() if recording in found}


def _lines(
    log: Log, kind: str, question: Question, ours: Mapping[str, _Played], theirs: Mapping[str, _Played]
) -> list[SharedLine]:
    """Return the lines of what both played; names are those in the log of the first listener."""
    pairs = [(each, theirs[group]) for group, each in ours.items() if group in theirs]

    def order(pair: tuple[_Played, _Played]) -> tuple[int, int, str]:
        measures = [each.group.ms_played if question.by == TIME else each.group.plays for each in pair]
        return -min(measures), -sum(measures), pair[0].group.key

    best = sorted(pairs, key=order)[: question.limit]
    named = lines(log, kind, [pair[0].group for pair in best])
    return [
        SharedLine(
            rank,
            line.title,
            [each.group.plays for each in pair],
            [each.group.ms_played for each in pair],
            [utc_time(each.first) for each in pair],
            line.key,
        )
        for rank, (pair, line) in enumerate(zip(best, named, strict=True), 1)
    ]
