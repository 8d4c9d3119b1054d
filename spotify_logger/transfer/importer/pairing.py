"""Match rows of exports with each other and with known plays. Pure.

Each step matches the best pairs first. A row that ends up without a partner has taken none from the others:
so the result is the same if some of the plays have been imported before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from spotify_logger.core.matching import identity
from spotify_logger.core.matching_exports import (
    DUPLICATE_END_MS,
    MS_PLAYED_TOLERANCE_MS,
    PART_COST,
    TIME_TOLERANCE_MS,
    PlayEvidence,
    SourceKind,
    account_cost,
    cost,
    evidence_of,
    is_duplicate,
    is_part,
    kind_of,
)
from spotify_logger.core.play import IMPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.transfer.importer.export_rows import ImportedPlay


class RowStatus(Enum):
    """The result for a row; the value is shown to the user."""

    NEW = "new"
    LIVE = "already logged live"
    IMPORTED = "already imported"
    DOUBLE = "duplicates within these files"
    FORGOTTEN = "deleted before, not imported again"


@dataclass(slots=True)
class KnownPlay:
    """A play that is logged already, or that is new in this import.

    Attributes:
        play: The play.
        evidence: What to compare rows with.
        status: The status of rows that match it.
        used_ms: Milliseconds of it that matching rows account for.
        is_claimed: For a play from one kind of export: whether a row of the other kind matches it.
    """

    play: Play
    evidence: PlayEvidence
    status: RowStatus
    used_ms: int = 0
    is_claimed: bool = False


@dataclass(slots=True)
class CandidateRow:
    """A row that may become a new play.

    Attributes:
        entry: The play parsed from the row.
        evidence: What to compare with other rows and plays.
        status: The result, once it is decided.
        is_claimed: For a row of the extended history: whether a row of the account data matches it.
    """

    entry: ImportedPlay
    evidence: PlayEvidence
    status: RowStatus | None = None
    is_claimed: bool = False


Partner = TypeVar("Partner", bound=CandidateRow | KnownPlay)


def known_play(play: Play, isrc: str = "") -> KnownPlay:
    """Return the known play for a logged one."""
    status = RowStatus.IMPORTED if play.source == IMPORT else RowStatus.LIVE
    return KnownPlay(play, evidence_of(play, kind_of(play), play.ended_ms, isrc), status)


def match(rows: Sequence[CandidateRow], known: Iterable[KnownPlay]) -> None:
    """Set the status of every row that matches a known play or another row.

    Args:
        rows: The rows, by start.
        known: The known plays around them.
    """
    plays = list(known)
    plays += _match_whole_plays([row for row in rows if _is_whole_play(row.entry)], plays)
    by_kind: dict[SourceKind, list[KnownPlay]] = defaultdict(list)
    for play in plays:
        by_kind[play.evidence.kind].append(play)
    extended = [row for row in rows if row.status is None and row.evidence.kind is SourceKind.EXTENDED]
    accounts = [row for row in rows if row.status is None and row.evidence.kind is SourceKind.ACCOUNT]
    _find_duplicates(extended, by_kind[SourceKind.EXTENDED])
    _pair_exports(accounts, extended, by_kind)
    observed = _TimeIndex([*by_kind[SourceKind.POLLED], *by_kind[SourceKind.RECENTLY_PLAYED]])
    _find_in_plays([row for row in extended if row.status is None], observed)
    _find_in_plays([row for row in accounts if row.status is None], observed)
    names = {identity(play.play): play.status for play in plays}
    for row in rows:
        # Whatever does not match: a play with that identity must not be overwritten.
        row.status = row.status or names.get(identity(row.entry.play))


def _is_whole_play(entry: ImportedPlay) -> bool:
    return entry.stored_hash is not None or entry.kind is SourceKind.POLLED


# Rows that are whole plays


def _match_whole_plays(rows: Iterable[CandidateRow], known: Iterable[KnownPlay]) -> list[KnownPlay]:
    """Set the status of rows that are whole plays, and return those that are new.

    A play from our own export must have the identity of a known play; one made from samples may also match
    the play of an export.
    """
    plays = {identity(play.play): play for play in known}
    by_time = _TimeIndex(list(plays.values()))
    new = []
    for row in rows:
        partner = plays.get(identity(row.entry.play))
        if partner is None and row.entry.stored_hash is None:
            near = by_time.around(
                row.evidence.begin_ms - TIME_TOLERANCE_MS, row.evidence.end_ms + TIME_TOLERANCE_MS
            )
            partner = next((play for play in near if cost(play.evidence, row.evidence) is not None), None)
        row.status = RowStatus.NEW if partner is None else partner.status
        if partner is None:
            new.append(KnownPlay(row.entry.play, row.evidence, RowStatus.DOUBLE))
            plays[identity(row.entry.play)] = new[-1]
    return new


# Rows of exports


def _find_duplicates(rows: Iterable[CandidateRow], known: Sequence[KnownPlay]) -> None:
    """Set the status of extended rows that duplicate another row or a known play."""
    by_time = _TimeIndex(known)
    recent: list[CandidateRow] = []
    for row in rows:
        begin, end = row.evidence.begin_ms - DUPLICATE_END_MS, row.evidence.end_ms + DUPLICATE_END_MS
        recent = [other for other in recent if other.evidence.end_ms >= begin]
        partner = next(
            (play for play in by_time.around(begin, end) if is_duplicate(row.evidence, play.evidence)), None
        )
        if partner is not None:
            row.status = partner.status
            partner.evidence = row.evidence  # the log does not keep the reported end
        elif any(is_duplicate(row.evidence, other.evidence) for other in recent):
            row.status = RowStatus.DOUBLE
        else:
            recent.append(row)


def _pair_exports(
    accounts: Sequence[CandidateRow],
    extended: Sequence[CandidateRow],
    known: dict[SourceKind, list[KnownPlay]],
) -> None:
    """Match rows of the account data with the extended history, one to one."""
    single = _without_repeats(accounts, known[SourceKind.ACCOUNT])
    unmatched = [row for row in extended if row.status is None]
    partners: list[CandidateRow | KnownPlay] = [*unmatched]
    partners += (play for play in known[SourceKind.EXTENDED] if not play.is_claimed)
    for row, partner in _best_pairs(single, partners, account_cost):
        partner.is_claimed = True
        if isinstance(partner, CandidateRow):
            # If one of the two is in the log, both are known.
            partner.status, row.status = row.status, row.status or RowStatus.DOUBLE
        else:
            row.status = row.status or partner.status
    unmatched = [row for row in unmatched if not row.is_claimed]
    free = [play for play in known[SourceKind.ACCOUNT] if not play.is_claimed]
    for row, play in _best_pairs(unmatched, free, _extended_cost):
        row.status, play.is_claimed = play.status, True


def _extended_cost(extended: PlayEvidence, account: PlayEvidence) -> int | None:
    return account_cost(account, extended)


def _without_repeats(accounts: Sequence[CandidateRow], known: Iterable[KnownPlay]) -> list[CandidateRow]:
    """Set the status of account rows that are in the log or repeated, and return each row once."""
    plays = {identity(play.play): play for play in known}
    single: dict[tuple[int, str], CandidateRow] = {}
    for row in accounts:
        name = identity(row.entry.play)
        if name in single:
            row.status = single[name].status or RowStatus.DOUBLE
            continue
        single[name] = row
        if name in plays:
            row.status, plays[name].is_claimed = plays[name].status, True
    return list(single.values())


def _find_in_plays(rows: Sequence[CandidateRow], known: _TimeIndex) -> None:
    """Set the status of rows that match observed plays, or parts of them."""
    costs = []
    for number, row in enumerate(rows):
        for order, play in enumerate(_candidates(row.evidence, known)):
            value = cost(row.evidence, play.evidence)
            if value is not None:
                costs.append((value, number, order, play))
    for value, number, _, play in sorted(costs, key=lambda found: found[:3]):
        row = rows[number]
        fits = is_part(row.evidence, play.evidence, play.used_ms) if play.used_ms else value < PART_COST
        if row.status is None and fits:
            row.status = play.status
            play.used_ms += row.evidence.ms_played


def _candidates(row: PlayEvidence, known: _TimeIndex) -> Iterator[KnownPlay]:
    yield from known.around(row.begin_ms - TIME_TOLERANCE_MS, row.end_ms + TIME_TOLERANCE_MS)
    if row.reported_end_ms > row.end_ms + TIME_TOLERANCE_MS:
        yield from known.around(
            row.reported_end_ms - TIME_TOLERANCE_MS, row.reported_end_ms + TIME_TOLERANCE_MS
        )


# Candidates


class _TimeIndex:
    """Finds the plays that overlap a span of time."""

    def __init__(self, plays: Iterable[KnownPlay]) -> None:
        self._plays = sorted(plays, key=lambda play: play.evidence.begin_ms)
        self._begins = [play.evidence.begin_ms for play in self._plays]
        self._longest = max(
            (play.evidence.end_ms - play.evidence.begin_ms for play in self._plays), default=0
        )

    def around(self, begin_ms: int, end_ms: int) -> Iterator[KnownPlay]:
        """Return the plays that overlap a span, or may do so."""
        first = bisect_left(self._begins, begin_ms - self._longest)
        last = bisect_right(self._begins, end_ms)
        return (play for play in self._plays[first:last] if play.evidence.end_ms >= begin_ms)


def _best_pairs(
    rows: Sequence[CandidateRow],
    partners: Iterable[Partner],
    cost_of: Callable[[PlayEvidence, PlayEvidence], int | None],
) -> Iterator[tuple[CandidateRow, Partner]]:
    """Pair rows and partners with about the same `ms_played`, one to one, the best pairs first."""
    by_length: dict[int, list[tuple[int, Partner]]] = defaultdict(list)
    for order, partner in enumerate(partners):
        by_length[partner.evidence.ms_played // MS_PLAYED_TOLERANCE_MS].append((order, partner))
    costs = []
    for number, row in enumerate(rows):
        length = row.evidence.ms_played // MS_PLAYED_TOLERANCE_MS
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
