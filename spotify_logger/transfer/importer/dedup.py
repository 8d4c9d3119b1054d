"""Decide which rows of exports are new plays. Pure: rows and known plays in, a status per row out.

Rows are decided in chronological order, whatever the order of the files. Each step matches the best pairs
first. A row that ends up without a partner has taken none from the others, so the result is the same even if
some of the plays have been imported before. Moments are in milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from spotify_logger.core import matching_exports as rules
from spotify_logger.core.matching import identity
from spotify_logger.core.matching_exports import PART_COST, PlayEvidence, SourceKind, cost, is_part
from spotify_logger.core.play import IMPORT, Play
from spotify_logger.core.player_state import ONE_DAY_MS
from spotify_logger.transfer.importer.export_rows import ImportedPlay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CONTEXT_MS = ONE_DAY_MS
"""Milliseconds around a row within which all known plays are needed to decide about it."""


class RowStatus(Enum):
    """The result for a row; the value is shown to the user."""

    NEW = "new"
    LIVE = "already logged live"
    IMPORTED = "already imported"
    DOUBLE = "duplicates within these files"
    FORGOTTEN = "deleted before, not imported again"


@dataclass(slots=True)
class Candidate:
    """A row, or a known play: one that is logged already, or that is new in this import.

    Attributes:
        status: The result for a row, once it is decided; the one for rows that match a known play.
        used_ms: Milliseconds of a known play that matching rows account for.
        is_claimed: Whether a row of the other kind of export matches it.
    """

    entry: ImportedPlay
    evidence: PlayEvidence
    status: RowStatus | None = None
    used_ms: int = 0
    is_claimed: bool = False


def known_play(play: Play, isrc: str = "") -> Candidate:
    """Return the candidate for a logged play."""
    entry = ImportedPlay(play, rules.kind_of(play), play.ended_ms)
    status = RowStatus.IMPORTED if play.source == IMPORT else RowStatus.LIVE
    return replace(_candidate(entry, isrc), status=status)


def _candidate(entry: ImportedPlay, isrc: str) -> Candidate:
    return Candidate(entry, rules.evidence_of(entry.play, entry.kind, entry.reported_end_ms, isrc))


class Deduplicator:
    """Decides about groups of rows in chronological order, and remembers the new plays.

    Args:
        tombstones: The first and the last second of each deleted play.
    """

    def __init__(self, tombstones: Iterable[tuple[int, int]] = ()) -> None:
        self._tombstones = _merge_overlapping((begin * 1000, end * 1000) for begin, end in tombstones)
        self._ends = [end for _, end in self._tombstones]
        self._new_plays: list[Candidate] = []

    def decide(
        self, entries: Iterable[ImportedPlay], known: Iterable[Candidate], isrcs: Mapping[str, str]
    ) -> list[tuple[ImportedPlay, RowStatus]]:
        """Return the rows of a group by start, each with its status.

        Args:
            entries: The rows of the group; no other row is near, unless the group is full.
            known: The plays within `CONTEXT_MS` of them.
            isrcs: ISRCs by item key.
        """
        sorted_entries = sorted(entries, key=_sort_key)
        rows = [
            _candidate(entry, isrcs.get(entry.play.item.key, "")) for entry in _split_uploads(sorted_entries)
        ]
        for row in rows:
            if self._is_deleted(row.evidence):
                row.status = RowStatus.FORGOTTEN
        _match([row for row in rows if row.status is None], self._with_new_plays(rows, known))
        new = [row for row in rows if row.status in {None, RowStatus.NEW}]
        self._new_plays += (Candidate(row.entry, row.evidence, RowStatus.DOUBLE) for row in new)
        return [(row.entry, row.status or RowStatus.NEW) for row in rows]

    def _with_new_plays(self, rows: Sequence[Candidate], known: Iterable[Candidate]) -> list[Candidate]:
        """Return the known plays and the new ones, which keep the evidence of their rows."""
        since = min((row.evidence.begin_ms for row in rows), default=0) - CONTEXT_MS
        self._new_plays = [play for play in self._new_plays if play.evidence.reported_end_ms >= since]
        fresh = {identity(play.entry.play) for play in self._new_plays}
        return [*self._new_plays, *(play for play in known if identity(play.entry.play) not in fresh)]

    def _is_deleted(self, evidence: PlayEvidence) -> bool:
        """Return whether a row belongs to a deleted play."""
        first = bisect_left(self._ends, evidence.begin_ms - rules.TOMBSTONE_MS)
        later = islice(self._tombstones, first, None)
        near = takewhile(lambda span: span[0] <= evidence.end_ms + rules.TOMBSTONE_MS, later)
        return any(rules.was_deleted(evidence, since, until) for since, until in near)


def _merge_overlapping(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge spans that overlap, and sort them."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _sort_key(entry: ImportedPlay) -> tuple[object, ...]:
    """Sort by start, and rows with the same start always in the same order."""
    play = entry.play
    texts = play.item.uri, str(play.end_reason), sorted(map(str, play.fields.items()))
    return play.started_ms, -play.ms_played, entry.reported_end_ms, entry.kind, *texts


def _split_uploads(entries: Sequence[ImportedPlay]) -> Iterator[ImportedPlay]:
    """Correct the end of rows that were uploaded together, which all report the same end."""
    last: dict[int, int] = defaultdict(int)
    for entry in entries:
        # A row that began just before the reported end was the last one, and was skipped at once.
        if (
            entry.kind is SourceKind.EXTENDED
            and entry.play.started_ms < entry.reported_end_ms - rules.TIME_TOLERANCE_MS
        ):
            last[entry.reported_end_ms] = max(last[entry.reported_end_ms], entry.play.started_ms)
    for entry in entries:
        play = entry.play
        is_followed = entry.kind is SourceKind.EXTENDED and play.started_ms < last[entry.reported_end_ms]
        heard_until_ms = play.started_ms + play.ms_played
        yield entry._replace(play=replace(play, ended_ms=heard_until_ms)) if is_followed else entry


def _match(rows: Sequence[Candidate], plays: list[Candidate]) -> None:
    """Set the status of every row, by start, that matches another row or a known play around it."""
    # Plays of our own export, and those made from samples, are whole; a play may be many rows of the others.
    whole = [row for row in rows if row.entry.stored_hash or row.entry.kind is SourceKind.POLLED]
    plays += _match_whole_plays(whole, plays)
    by_kind: dict[SourceKind, list[Candidate]] = defaultdict(list)
    for play in plays:
        by_kind[play.evidence.kind].append(play)
    extended = [row for row in _undecided(rows) if row.evidence.kind is SourceKind.EXTENDED]
    accounts = [row for row in _undecided(rows) if row.evidence.kind is SourceKind.ACCOUNT]
    _find_duplicates(extended, by_kind[SourceKind.EXTENDED])
    _pair_exports(accounts, extended, by_kind)
    observed = _TimeIndex([*by_kind[SourceKind.POLLED], *by_kind[SourceKind.RECENTLY_PLAYED]])
    _find_in_plays(_undecided(extended), observed)
    _find_in_plays(_undecided(accounts), observed)
    names = {identity(play.entry.play): play.status for play in plays}
    for row in rows:
        # Whatever does not match: a play with that identity must not be overwritten.
        row.status = row.status or names.get(identity(row.entry.play))


def _undecided(rows: Iterable[Candidate]) -> list[Candidate]:
    return [row for row in rows if row.status is None]


def _match_whole_plays(rows: Iterable[Candidate], known: Iterable[Candidate]) -> list[Candidate]:
    """Set the status of rows that are whole plays, and return those that are new.

    A play from our own export must have the identity of a known play; one made from samples may also match
    the play of an export.
    """
    plays = {identity(play.entry.play): play for play in known}
    by_time = _TimeIndex(plays.values())
    new = []
    for row in rows:
        partner = plays.get(identity(row.entry.play))
        if partner is None and row.entry.stored_hash is None:
            near = by_time.around(row.evidence.begin_ms, row.evidence.end_ms, rules.TIME_TOLERANCE_MS)
            partner = next((play for play in near if cost(play.evidence, row.evidence) is not None), None)
        row.status = RowStatus.NEW if partner is None else partner.status
        if partner is None:
            new.append(Candidate(row.entry, row.evidence, RowStatus.DOUBLE))
            plays[identity(row.entry.play)] = new[-1]
    return new


def _find_duplicates(rows: Iterable[Candidate], known: Sequence[Candidate]) -> None:
    """Set the status of extended rows that duplicate another row or a known play."""
    by_time = _TimeIndex(known)
    recent: list[Candidate] = []
    for row in rows:
        begin, end = row.evidence.begin_ms, row.evidence.end_ms
        recent = [other for other in recent if other.evidence.end_ms >= begin - rules.DUPLICATE_END_MS]
        near = by_time.around(begin, end, rules.DUPLICATE_END_MS)
        partner = next((play for play in near if rules.is_duplicate(row.evidence, play.evidence)), None)
        if partner is not None:
            row.status = partner.status
            partner.evidence = row.evidence  # the log does not keep the reported end
        elif any(rules.is_duplicate(row.evidence, other.evidence) for other in recent):
            row.status = RowStatus.DOUBLE
        else:
            recent.append(row)


def _pair_exports(
    accounts: Sequence[Candidate],
    extended: Sequence[Candidate],
    known: Mapping[SourceKind, Sequence[Candidate]],
) -> None:
    """Match rows of the account data with the extended history, one to one."""
    single = _without_repeats(accounts, known[SourceKind.ACCOUNT])
    unmatched = _undecided(extended)
    partners = [*unmatched, *(play for play in known[SourceKind.EXTENDED] if not play.is_claimed)]
    for row, partner in _best_pairs(single, partners, rules.account_cost):
        partner.is_claimed = True
        # If one of two rows is in the log, both are known.
        known_as = row.status or partner.status
        partner.status, row.status = partner.status or row.status, known_as or RowStatus.DOUBLE
    unmatched = [row for row in unmatched if not row.is_claimed]
    free = [play for play in known[SourceKind.ACCOUNT] if not play.is_claimed]
    for row, play in _best_pairs(unmatched, free, lambda one, other: rules.account_cost(other, one)):
        row.status, play.is_claimed = play.status, True


def _without_repeats(accounts: Sequence[Candidate], known: Iterable[Candidate]) -> list[Candidate]:
    """Set the status of account rows that are in the log or repeated, and return each row once."""
    plays = {identity(play.entry.play): play for play in known}
    single: dict[tuple[int, str], Candidate] = {}
    for row in accounts:
        name = identity(row.entry.play)
        if name in single:
            row.status = single[name].status or RowStatus.DOUBLE
            continue
        single[name] = row
        if name in plays:
            row.status, plays[name].is_claimed = plays[name].status, True
    return list(single.values())


def _find_in_plays(rows: Sequence[Candidate], known: _TimeIndex) -> None:
    """Set the status of rows that match observed plays, or parts of them."""
    costs = []
    for number, row in enumerate(rows):
        for order, play in enumerate(_near(row.evidence, known)):
            value = cost(row.evidence, play.evidence)
            if value is not None:
                costs.append((value, number, order, play))
    for value, number, _, play in sorted(costs, key=lambda found: found[:3]):
        row = rows[number]
        fits = is_part(row.evidence, play.evidence, play.used_ms) if play.used_ms else value < PART_COST
        if row.status is None and fits:
            row.status = play.status
            play.used_ms += row.evidence.ms_played


def _near(row: PlayEvidence, known: _TimeIndex) -> Iterator[Candidate]:
    yield from known.around(row.begin_ms, row.end_ms, rules.TIME_TOLERANCE_MS)
    if row.reported_end_ms > row.end_ms + rules.TIME_TOLERANCE_MS:
        yield from known.around(row.reported_end_ms, row.reported_end_ms, rules.TIME_TOLERANCE_MS)


class _TimeIndex:
    """Finds the plays that overlap a span of time."""

    def __init__(self, plays: Iterable[Candidate]) -> None:
        self._plays = sorted(plays, key=lambda play: play.evidence.begin_ms)
        self._begins = [play.evidence.begin_ms for play in self._plays]
        lengths = (play.evidence.end_ms - play.evidence.begin_ms for play in self._plays)
        self._longest = max(lengths, default=0)

    def around(self, begin_ms: int, end_ms: int, tolerance_ms: int) -> Iterator[Candidate]:
        """Return the plays that overlap a span and a tolerance on both sides, or may do so."""
        begin_ms, end_ms = begin_ms - tolerance_ms, end_ms + tolerance_ms
        first = bisect_left(self._begins, begin_ms - self._longest)
        last = bisect_right(self._begins, end_ms)
        return (play for play in self._plays[first:last] if play.evidence.end_ms >= begin_ms)


def _best_pairs(
    rows: Sequence[Candidate],
    partners: Iterable[Candidate],
    cost_of: Callable[[PlayEvidence, PlayEvidence], int | None],
) -> Iterator[tuple[Candidate, Candidate]]:
    """Pair rows and partners with about the same `ms_played`, one to one, the best pairs first."""
    by_length: dict[int, list[tuple[int, Candidate]]] = defaultdict(list)
    for order, partner in enumerate(partners):
        by_length[partner.evidence.ms_played // rules.MS_PLAYED_TOLERANCE_MS].append((order, partner))
    costs = []
    for number, row in enumerate(rows):
        length = row.evidence.ms_played // rules.MS_PLAYED_TOLERANCE_MS
        for near in (length - 1, length, length + 1):
            for order, partner in by_length.get(near, ()):
                value = cost_of(row.evidence, partner.evidence)
                if value is not None:
                    costs.append((value, number, order, partner))
    paired: set[int] = set()
    taken: set[int] = set()
    for _, number, order, partner in sorted(costs, key=lambda found: found[:3]):
        if number not in paired and order not in taken:
            paired.add(number)
            taken.add(order)
            yield rows[number], partner
