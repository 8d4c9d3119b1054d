"""Answer `compare`: the artists and tracks that two listeners share, how often, and who heard them first.

Who was first is decided over all time up to the end of the period: someone who has known a track for years is
first in every year.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from spotify_logger.core.catalog import Artist, CatalogEntry, recordings
from spotify_logger.core.times import utc_time
from spotify_logger.queries import sql
from spotify_logger.queries.index_sync import read_entries
from spotify_logger.queries.question import TIME, Question
from spotify_logger.queries.sql import Log
from spotify_logger.queries.top import best


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
    listeners: Sequence[Mapping[str, Any]]  # the name, plays and time of each, and the number of both kinds
    common: Mapping[str, int]  # how many artists and tracks both played
    artists: Sequence[SharedLine]
    tracks: Sequence[SharedLine]


class _Played(NamedTuple):
    """An artist or a track that one of the two played."""

    plays: int
    ms_played: int
    groups: Sequence[str]  # several if its log takes for different what the other one knows to be the same


def compare(logs: Sequence[Log], names_of_both: Sequence[str], question: Question) -> Comparison:
    """Compare two listeners by their logs and names."""
    listeners: list[dict[str, Any]] = []
    for log, name in zip(logs, names_of_both, strict=True):
        sql.make_tally(log, question, question.period, sql.ARTISTS, sql.TRACKS)
        ((plays, heard_ms),) = log.rows("SELECT ifnull(sum(plays), 0), ifnull(sum(ms_played), 0) FROM tally")
        listeners.append({"name": name, "plays": plays, "heard_ms": heard_ms})
    common, lines = {}, {}
    # Artists that one of the logs knows by name only are the newest of that name.
    query = "SELECT last, folded, person FROM artists WHERE spotify_id <> '' AND last IS NOT NULL"
    artists = {name: person for _, name, person in sorted(row for log in logs for row in log.rows(query))}
    tracks = {} if question.exact else _same_recordings(logs)
    for kind, same in ((sql.ARTISTS, artists), (sql.TRACKS, tracks)):
        ours, theirs = played = [_played(log, kind, same) for log in logs]
        for listener, found in zip(listeners, played, strict=True):
            listener[kind] = len(found)
        pairs = [(each, theirs[name]) for name, each in ours.items() if name in theirs]
        common[kind], lines[kind] = len(pairs), _lines(logs, kind, question, pairs)
    begin, end = utc_time(question.period.begin), utc_time(question.period.end)
    return Comparison(begin, end, question.by, listeners, common, **lines)


def _played(log: Log, kind: str, same: Mapping[str, str]) -> dict[str, _Played]:
    """Return what a listener played of a kind; `same` names groups as the other log does."""
    rows = log.rows(f"SELECT plays, ms_played, grouped FROM {kind}_of_tally WHERE plays > 0")
    found: dict[str, _Played] = {}
    for plays, ms_played, grouped in sorted(rows, reverse=True):  # SQLite would be slow at it
        name = same.get(grouped, grouped)
        known = found.get(name, _Played(0, 0, ()))
        found[name] = _Played(known.plays + plays, known.ms_played + ms_played, (*known.groups, grouped))
    return found


def _first_plays(log: Log, kind: str, question: Question, groups: Iterable[str]) -> dict[str, int]:
    """Return the seconds of the first plays that count of groups, even before the period. Makes `shown`."""
    log.drop_table("shown")
    log.database.execute("CREATE TEMP TABLE shown (grouped TEXT PRIMARY KEY) WITHOUT ROWID")
    log.database.executemany("INSERT INTO shown VALUES (?)", ((group,) for group in groups))
    # In this order: SQLite would read all plays, and look up which of them are wanted.
    query = f"""SELECT grouped, min(second) FROM shown
            CROSS JOIN ({sql.groups(kind, exact=question.exact)}) AS members USING (grouped)
            CROSS JOIN plays ON plays.item = members.item CROSS JOIN items ON items.id = plays.item
        WHERE second < ? AND {sql.counts(question)} GROUP BY grouped"""
    return dict(log.rows(query, sql.bounds(question.period)[1]))


def _same_recordings(logs: Sequence[Log]) -> dict[str, str]:
    """Map recordings without an ISRC to what they are by the entries of both logs."""
    query = "SELECT DISTINCT title FROM items WHERE isrc = '' AND title <> '' AND NOT is_episode"
    titles = [title for log in logs for (title,) in log.rows(query)]
    entries: dict[str, CatalogEntry] = {}
    artists: dict[str, Sequence[Artist]] = {}
    own = {}
    for log in logs:
        for _, key, recording, entry, credited in read_entries(log, f"title {sql.ONE_OF}", titles):
            own[recording] = key
            if key not in entries or entry.isrc:
                entries[key], artists[key] = entry, credited
    found = recordings(entries, artists)
    return {recording: found[key] for recording, key in own.items() if recording in found}


def _lines(
    logs: Sequence[Log], kind: str, question: Question, pairs: Iterable[tuple[_Played, _Played]]
) -> list[SharedLine]:
    """Return the lines of what both played; names are those in the log of the first listener."""

    def order(pair: tuple[_Played, _Played]) -> tuple[int, int, str]:
        measures = [each.ms_played if question.by == TIME else each.plays for each in pair]
        return -min(measures), -sum(measures), pair[0].groups[0]

    shown = sorted(pairs, key=order)[: question.limit]
    first_plays = [
        _first_plays(log, kind, question, [group for pair in shown for group in pair[number].groups])
        for number, log in enumerate(logs)
    ]
    named = best(logs[0], question, kind, -1, "grouped IN shown")
    lines = []
    for rank, (ours, theirs) in enumerate(shown, 1):
        line, both = named[ours.groups[0]], (ours, theirs)
        plays, times = [each.plays for each in both], [each.ms_played for each in both]
        heard = zip(first_plays, both, strict=True)
        began = [utc_time(min(map(first.__getitem__, each.groups))) for first, each in heard]
        lines.append(SharedLine(rank, line.title, plays, times, began, line.key))
    return lines
