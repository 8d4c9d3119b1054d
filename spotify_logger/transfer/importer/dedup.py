"""Which rows of exports are plays that nobody knows yet. Pure: rows and known plays in, verdicts out.

Whatever order the rows come in, they are decided about in the order of time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from spotify_logger.core.matching import identity
from spotify_logger.core.matching_exports import (
    TIME_TOLERANCE_MS,
    TOMBSTONE_MS,
    PlayEvidence,
    SourceKind,
    evidence_of,
    was_deleted,
)
from spotify_logger.core.player_state import ONE_DAY_MS
from spotify_logger.core.redis_keys import read_tombstone
from spotify_logger.transfer.importer.pairing import Known, Row, Verdict, match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.transfer.importer.export_rows import Entry

REACH_MS = ONE_DAY_MS
"""Milliseconds around a row within which the plays have to be known that it may be about."""
APART_MS = 120_000
"""Rows between which nothing was heard for so long have nothing to do with each other."""


class Merger:
    """Gives verdicts, stretch after stretch in the order of time, and remembers what was new.

    Args:
        forgotten: Stretches, from and to in milliseconds since the epoch, of which nothing is wanted back.
    """

    def __init__(self, forgotten: Iterable[tuple[int, int]] = ()) -> None:
        self._forgotten = _united(forgotten)
        self._ends = [end for _, end in self._forgotten]
        self._fresh: list[Known] = []

    def decide(
        self, entries: Iterable[Entry], known: Iterable[Known], isrcs: Mapping[str, str]
    ) -> list[tuple[Entry, Verdict]]:
        """Decide about the rows of a stretch of time.

        Args:
            entries: The rows; there are no others within `APART_MS` around them.
            known: The plays that are known, `REACH_MS` around them.
            isrcs: By the keys of their items, as far as they are known.

        Returns:
            The rows in the order of their starts, each with what it is.
        """
        rows = [_row(entry, isrcs) for entry in _untangled(sorted(entries, key=_order))]
        for row in rows:
            if self._is_forgotten(row.evidence):
                row.verdict = Verdict.FORGOTTEN
        match([row for row in rows if row.verdict is None], self._with_fresh(rows, known))
        return [(row.entry, self._settled(row)) for row in rows]

    def _with_fresh(self, rows: Sequence[Row], known: Iterable[Known]) -> list[Known]:
        """What is known; of what was only just taken in, as it was then."""
        since = min((row.evidence.begin_ms for row in rows), default=0) - REACH_MS
        self._fresh = [play for play in self._fresh if play.evidence.reported_end_ms >= since]
        fresh = {identity(play.play) for play in self._fresh}
        return [*self._fresh, *(play for play in known if identity(play.play) not in fresh)]

    def _settled(self, row: Row) -> Verdict:
        if row.verdict not in {None, Verdict.NEW}:
            return row.verdict
        self._fresh.append(Known(row.entry.play, row.evidence, Verdict.DOUBLE))
        return Verdict.NEW

    def _is_forgotten(self, evidence: PlayEvidence) -> bool:
        """Whether it is of a play that was deleted, of those near it."""
        first = bisect_left(self._ends, evidence.begin_ms - TOMBSTONE_MS)
        later = islice(self._forgotten, first, None)
        near = takewhile(lambda stretch: stretch[0] <= evidence.end_ms + TOMBSTONE_MS, later)
        return any(was_deleted(evidence, since, until) for since, until in near)


def forgotten_stretches(lines: Mapping[str, str]) -> list[tuple[int, int]]:
    """The stretches that are forgotten, in milliseconds since the epoch, of the hash that keeps them."""
    plays = (read_tombstone(second, value) for second, value in lines.items())
    return [(play[0] * 1000, play[1] * 1000) for play in plays if play is not None]


def _united(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same time in stretches that have none in common, in order."""
    united: list[tuple[int, int]] = []
    for begin, end in sorted(stretches):
        if united and begin <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((begin, end))
    return united


def _row(entry: Entry, isrcs: Mapping[str, str]) -> Row:
    isrc = isrcs.get(entry.play.item.key, "")
    return Row(entry, evidence_of(entry.play, entry.kind, entry.told_ms, isrc))


def _order(entry: Entry) -> tuple[object, ...]:
    """Rows in the order of their starts; those of one start always in the same order."""
    play = entry.play
    return (
        play.started_ms,
        -play.ms_played,
        entry.told_ms,
        entry.kind,
        play.item.uri,
        str(play.end_reason),
        sorted(map(str, play.fields.items())),
    )


def _untangled(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Rows that were uploaded together end where they were heard, and not all at the same moment."""
    last: dict[int, int] = defaultdict(int)
    for entry in entries:
        # What began just before is what came next, and was left at once.
        if entry.kind is SourceKind.EXTENDED and entry.play.started_ms < entry.told_ms - TIME_TOLERANCE_MS:
            last[entry.told_ms] = max(last[entry.told_ms], entry.play.started_ms)
    for entry in entries:
        play = entry.play
        is_followed = entry.kind is SourceKind.EXTENDED and play.started_ms < last[entry.told_ms]
        heard_until_ms = play.started_ms + play.ms_played
        yield replace(entry, play=replace(play, ended_ms=heard_until_ms)) if is_followed else entry
