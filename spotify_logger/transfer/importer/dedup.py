"""Decide which rows of exports are new plays, and which are better accounts of known ones. Pure.

Rows and known plays that are accounts of one play are grouped, and the best account of each group stays in
the log. Rows are decided in chronological order, whatever the order of the files, and each step matches the
best pairs first, so the log does not depend on what was imported before. Moments are in milliseconds since
the epoch, UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core import matching_exports as rules
from spotify_logger.core.matching import LISTEN_TOLERANCE_MS, identity
from spotify_logger.core.matching_exports import PART_COST, PlayEvidence, SourceKind, cost, is_part
from spotify_logger.core.play import IMPORT, LIVE, Play
from spotify_logger.core.player_state import ONE_DAY_MS
from spotify_logger.transfer.importer.export_rows import ImportedPlay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from spotify_logger.core.matching import Identity
    from spotify_logger.core.player_state import FieldValue

CONTEXT_MS = ONE_DAY_MS
"""Milliseconds around a row within which all known plays are needed to decide about it."""
NAMES = ("name", "artists", "album")
"""The fields that a better account of a play takes over from a worse one if it lacks them."""


class RowStatus(Enum):
    """The result for a row; the value is shown to the user."""

    NEW = "new"
    IMPROVED = "improved: a better account of a play in the log"
    LIVE = "already logged"
    IMPORTED = "already imported"
    DOUBLE = "duplicates within these files"
    FORGOTTEN = "deleted before (--restore imports them again)"


class Decision(NamedTuple):
    """The result for a row.

    Attributes:
        is_written: Whether its play is written: it is new, or the best account of a known play.
        replaced: The known plays of which there is a better account, in this row or already in the log.
        named: The known play that takes over names that it lacks from this row, if any.
    """

    entry: ImportedPlay
    status: RowStatus
    is_written: bool = False
    replaced: Sequence[Play] = ()
    named: Play | None = None


@dataclass(slots=True, eq=False)
class Candidate:
    """An account of a play: a row, or a known play, which is logged already or new in this import.

    Attributes:
        known_as: The result for rows with a known play that is the best account; None for a row.
        accounts: All accounts of the same play, this one included.
        used_ms: Milliseconds of a known play that matching rows account for.
        is_claimed: Whether an account of another kind matches it.
    """

    entry: ImportedPlay
    evidence: PlayEvidence
    known_as: RowStatus | None = None
    accounts: list[Candidate] = field(default_factory=list)
    used_ms: int = 0
    is_claimed: bool = False

    @property
    def logs(self) -> set[bool]:
        """Whether the play is in our log (True), or in that of which a file is the export (False)."""
        known = {True for each in self.accounts if each.known_as is not None}
        return known | {False for each in self.accounts if each.entry.stored_hash is not None}

    def may_be(self, other: Candidate) -> bool:
        """Return whether another account may be of the same play: no log has both."""
        return self.logs.isdisjoint(other.logs)

    @property
    def loggers(self) -> set[FieldValue]:
        """The other loggers that have a listen of the play."""
        found = (each.entry.play.fields.get("logged_by") for each in self.accounts)
        return {logger for logger in found if logger is not None}

    def join(self, other: Candidate) -> None:
        """Note that another account is of the same play."""
        if self.accounts is not other.accounts:
            self.accounts += other.accounts
            for each in other.accounts:
                each.accounts = self.accounts


def known_play(play: Play, isrc: str = "") -> Candidate:
    """Return the candidate for a logged play."""
    entry = ImportedPlay(play, rules.kind_of(play), play.ended_ms)
    return _candidate(entry, isrc, RowStatus.IMPORTED if play.source == IMPORT else RowStatus.LIVE)


def _candidate(entry: ImportedPlay, isrc: str, known_as: RowStatus | None = None) -> Candidate:
    evidence = rules.evidence_of(entry.play, entry.kind, entry.reported_end_ms, isrc)
    found = Candidate(entry, evidence, known_as)
    found.accounts.append(found)
    return found


class Deduplicator:
    """Decides about groups of rows in chronological order, and remembers the new plays.

    Args:
        tombstones: The first and the last second of each deleted play.
    """

    def __init__(self, tombstones: Iterable[tuple[int, int]] = ()) -> None:
        self._tombstones = _merge_overlapping((begin * 1000, end * 1000) for begin, end in tombstones)
        self._ends = [end for _, end in self._tombstones]
        self._new_plays: list[Candidate] = []
        self._replaced: set[Identity] = set()

    def decide(
        self, entries: Iterable[ImportedPlay], known: Iterable[Candidate], isrcs: Mapping[str, str]
    ) -> list[Decision]:
        """Return the result for each row of a group, by start.

        Args:
            entries: The rows of the group; no other row is near, unless the group is full.
            known: The plays within `CONTEXT_MS` of them.
            isrcs: ISRCs by item key.
        """
        sorted_entries = sorted(entries, key=_sort_key)
        rows = [
            _candidate(entry, isrcs.get(entry.play.item.key, "")) for entry in _split_uploads(sorted_entries)
        ]
        decisions = {
            id(row): Decision(row.entry, RowStatus.FORGOTTEN)
            for row in rows
            if self._is_deleted(row.evidence)
        }
        left = [row for row in rows if id(row) not in decisions]
        _match(left, self._with_new_plays(rows, known))
        for accounts in {id(row.accounts): row.accounts for row in left}.values():
            decisions |= _settle(accounts)
        for row in left:
            decision = decisions[id(row)]
            if decision.is_written:
                row.known_as = RowStatus.DOUBLE
                self._new_plays.append(row)
            self._replaced.update(map(identity, decision.replaced))
        return [decisions[id(row)] for row in rows]

    def _with_new_plays(self, rows: Sequence[Candidate], known: Iterable[Candidate]) -> list[Candidate]:
        """Return the known plays and the new ones, which keep the evidence of their rows."""
        since = min((row.evidence.begin_ms for row in rows), default=0) - CONTEXT_MS
        self._replaced = {name for name in self._replaced if name[0] >= since - CONTEXT_MS}
        new = {identity(play.entry.play): play for play in self._new_plays}
        for name in self._replaced & new.keys():
            del new[name]
        self._new_plays = [play for play in new.values() if play.evidence.reported_end_ms >= since]
        found = list(self._new_plays)
        for play in known:
            name = identity(play.entry.play)
            if name in new:  # it has been written, perhaps under a later second
                new[name].entry = new[name].entry._replace(play=play.entry.play)
            elif name not in self._replaced:
                found.append(play)
        for play in found:
            play.accounts = [play]
        return found

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
    return play.started_ms, -play.ms_played, entry.reported_end_ms, entry.kind, play.item.uri


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
        follows_ms = last[entry.reported_end_ms] - play.started_ms  # a second export has a finer start
        is_followed = entry.kind is SourceKind.EXTENDED and follows_ms >= rules.SAME_START_MS
        heard_until_ms = play.started_ms + play.ms_played
        yield entry._replace(play=replace(play, ended_ms=heard_until_ms)) if is_followed else entry


def _match(rows: Sequence[Candidate], known: Sequence[Candidate]) -> None:
    """Join the rows, by start, with the other accounts of their plays."""
    first: dict[Identity, Candidate] = {}
    by_kind: dict[SourceKind, list[Candidate]] = defaultdict(list)
    for each in (*rows, *known):  # a row stands for a known play: the log does not keep the reported end
        same = first.setdefault(identity(each.entry.play), each)
        if same is each or same.evidence.kind is not each.evidence.kind:
            by_kind[each.evidence.kind].append(each)
        same.join(each)
    observed = by_kind[SourceKind.POLLED]
    samples = [row for row in observed if row.known_as is None and row.entry.stored_hash is None]
    extended, accounts = _without_duplicates(by_kind[SourceKind.EXTENDED]), by_kind[SourceKind.ACCOUNT]
    recent = by_kind[SourceKind.RECENTLY_PLAYED]
    _find_in_plays(samples, [play for play in observed if play not in samples])
    _find_in_plays(observed, recent)
    _find_in_plays(extended, [*observed, *recent])
    _pair_exports(accounts, extended)
    _find_in_plays([row for row in accounts if not row.is_claimed], [*observed, *recent])
    if listens := by_kind[SourceKind.LISTEN]:
        _find_listens([*observed, *recent, *extended, *accounts, *listens])


def _without_duplicates(rows: Iterable[Candidate]) -> list[Candidate]:
    """Join the extended rows and known plays that are duplicates, and return one of each."""
    found: list[Candidate] = []
    recent: list[Candidate] = []
    for row in sorted(rows, key=lambda row: row.evidence.begin_ms):
        since_ms = row.evidence.begin_ms - rules.DUPLICATE_END_MS
        recent = [other for other in recent if other.evidence.end_ms >= since_ms]
        same = (other for other in recent if rules.is_duplicate(row.evidence, other.evidence))
        partner = next(filter(row.may_be, same), None)
        if partner is None:
            recent.append(row)
            found.append(row)
        else:
            partner.evidence = row.evidence if partner.known_as is not None else partner.evidence
            partner.join(row)
    return found


def _settle(accounts: Sequence[Candidate]) -> dict[int, Decision]:
    """Return the results for the rows among all accounts of a play, by the ids of their candidates."""
    known = [each for each in accounts if each.known_as is not None]
    rows = [each for each in accounts if each.known_as is None]
    if len(accounts) == 1:
        return {id(accounts[0]): Decision(accounts[0].entry, RowStatus.NEW, is_written=True)}
    best = max((*known, *rows), key=lambda each: rules.account_order(each.entry.play))
    replaced = [each.entry.play for each in known if each is not best and each.entry.play.source != LIVE]
    status, others = best.known_as, best.known_as or RowStatus.DOUBLE
    if status is None:
        is_improved = any(each.known_as is not RowStatus.DOUBLE for each in known)
        status = RowStatus.IMPROVED if is_improved else RowStatus.DOUBLE if known else RowStatus.NEW
    decisions = {id(row): Decision(row.entry, others) for row in rows}
    if best.known_as is None:
        decisions[id(best)] = Decision(best.entry, status, is_written=True, replaced=replaced)
    else:
        row = max(rows, key=lambda each: rules.account_order(each.entry.play))
        lacks = any(name in row.entry.play.fields and name not in best.entry.play.fields for name in NAMES)
        named = best.entry.play if lacks else None
        decisions[id(row)] = Decision(row.entry, others, replaced=replaced, named=named)
    return decisions


def _by_cost(
    rows: Sequence[Candidate],
    near: Callable[[PlayEvidence], Iterable[Candidate]],
    cost_of: Callable[[PlayEvidence, PlayEvidence], int | None],
) -> Iterator[tuple[int, Candidate, Candidate]]:
    """Yield rows with plays near them that they may be, the best pairs first: mismatch, row and play."""
    costs = []
    for number, row in enumerate(rows):
        for order, play in enumerate(near(row.evidence)):
            value = cost_of(row.evidence, play.evidence)
            if value is not None and row.may_be(play):
                costs.append((value, number, order, play))
    for value, number, _, play in sorted(costs, key=lambda found: found[:3]):
        yield value, rows[number], play


def _pair_exports(accounts: Sequence[Candidate], extended: Iterable[Candidate]) -> None:
    """Join rows of the account data with the extended history, one to one."""
    by_length: dict[int, list[Candidate]] = defaultdict(list)
    for play in extended:
        by_length[play.evidence.ms_played // rules.MS_PLAYED_TOLERANCE_MS].append(play)

    def near(row: PlayEvidence) -> Iterator[Candidate]:
        length = row.ms_played // rules.MS_PLAYED_TOLERANCE_MS
        return chain.from_iterable(by_length.get(length + more, ()) for more in (-1, 0, 1))

    for _, row, play in _by_cost(accounts, near, rules.account_cost):
        if not (row.is_claimed or play.is_claimed):
            row.is_claimed = play.is_claimed = True
            row.join(play)


def _find_in_plays(rows: Sequence[Candidate], plays: Iterable[Candidate]) -> None:
    """Join rows with the observed and backfilled plays that they match, or are parts of."""
    known = _TimeIndex(plays)

    def near(row: PlayEvidence) -> Iterator[Candidate]:
        yield from known.around(row.begin_ms, row.end_ms, rules.TIME_TOLERANCE_MS)
        if row.reported_end_ms > row.end_ms + rules.TIME_TOLERANCE_MS:
            yield from known.around(row.reported_end_ms, row.reported_end_ms, rules.TIME_TOLERANCE_MS)

    matched: set[Candidate] = set()
    for value, row, play in _by_cost(rows, near, cost):
        fits = is_part(row.evidence, play.evidence, play.used_ms) if play.used_ms else value < PART_COST
        if row not in matched and fits:
            matched.add(row)
            row.join(play)
            play.used_ms += row.evidence.ms_played


def _find_listens(accounts: Sequence[Candidate]) -> None:
    """Join the listens of other loggers with plays, of which each logger has one listen."""
    near, costs = _TimeIndex(accounts), []
    new = [row for row in accounts if row.known_as is None]  # what the log has is decided
    for number, row in enumerate(new):
        begin_ms, end_ms = row.evidence.begin_ms, row.evidence.end_ms
        for order, other in enumerate(near.around(begin_ms, end_ms, LISTEN_TOLERANCE_MS)):
            for listen, play in ((row, other), (other, row)):
                value = rules.listen_cost(listen.evidence, play.evidence)
                if value is not None and listen.may_be(play):
                    costs.append((value, number, order, listen, play))
    matched: set[int] = set()  # a listen near two plays must not make one of them
    for *_, listen, play in sorted(costs, key=lambda found: found[:3]):
        if id(listen) not in matched and listen.loggers.isdisjoint(play.loggers):
            matched.add(id(listen))
            listen.join(play)


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
