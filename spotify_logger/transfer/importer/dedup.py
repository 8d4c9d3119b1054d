"""Decide which rows of exports are new plays. Pure: rows and known plays in, a status per row out.

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
from spotify_logger.transfer.importer.pairing import CandidateRow, KnownPlay, RowStatus, match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.transfer.importer.export_rows import ImportedPlay

CONTEXT_MS = ONE_DAY_MS
"""Milliseconds around a row within which the plays have to be known that it may be about."""
GROUP_GAP_MS = 120_000
"""Rows between which nothing was heard for so long have nothing to do with each other."""


class Deduplicator:
    """Decides about groups of rows in chronological order, and remembers the new plays.

    Args:
        forgotten: Stretches, from and to in milliseconds since the epoch, of which nothing is wanted back.
    """

    def __init__(self, forgotten: Iterable[tuple[int, int]] = ()) -> None:
        self._tombstones = _merge_overlapping(forgotten)
        self._ends = [end for _, end in self._tombstones]
        self._new_plays: list[KnownPlay] = []

    def decide(
        self, entries: Iterable[ImportedPlay], known: Iterable[KnownPlay], isrcs: Mapping[str, str]
    ) -> list[tuple[ImportedPlay, RowStatus]]:
        """Return the status of each row of a group.

        Args:
            entries: The rows; there are no others within `APART_MS` around them.
            known: The plays that are known, `REACH_MS` around them.
            isrcs: By the keys of their items, as far as they are known.

        Returns:
            The rows in the order of their starts, each with what it is.
        """
        rows = [_row(entry, isrcs) for entry in _split_uploads(sorted(entries, key=_sort_key))]
        for row in rows:
            if self._is_deleted(row.evidence):
                row.status = RowStatus.FORGOTTEN
        match([row for row in rows if row.status is None], self._with_new_plays(rows, known))
        return [(row.entry, self._final_status(row)) for row in rows]

    def _with_new_plays(self, rows: Sequence[CandidateRow], known: Iterable[KnownPlay]) -> list[KnownPlay]:
        """What is known; of what was only just taken in, as it was then."""
        since = min((row.evidence.begin_ms for row in rows), default=0) - CONTEXT_MS
        self._new_plays = [play for play in self._new_plays if play.evidence.reported_end_ms >= since]
        fresh = {identity(play.play) for play in self._new_plays}
        return [*self._new_plays, *(play for play in known if identity(play.play) not in fresh)]

    def _final_status(self, row: CandidateRow) -> RowStatus:
        if row.status not in {None, RowStatus.NEW}:
            return row.status
        self._new_plays.append(KnownPlay(row.entry.play, row.evidence, RowStatus.DOUBLE))
        return RowStatus.NEW

    def _is_deleted(self, evidence: PlayEvidence) -> bool:
        """Whether it is of a play that was deleted, of those near it."""
        first = bisect_left(self._ends, evidence.begin_ms - TOMBSTONE_MS)
        later = islice(self._tombstones, first, None)
        near = takewhile(lambda span: span[0] <= evidence.end_ms + TOMBSTONE_MS, later)
        return any(was_deleted(evidence, since, until) for since, until in near)


def tombstone_spans(lines: Mapping[str, str]) -> list[tuple[int, int]]:
    """The stretches that are forgotten, in milliseconds since the epoch, of the hash that keeps them."""
    plays = (read_tombstone(second, value) for second, value in lines.items())
    return [(play[0] * 1000, play[1] * 1000) for play in plays if play is not None]


def _merge_overlapping(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same time in stretches that have none in common, in order."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _row(entry: ImportedPlay, isrcs: Mapping[str, str]) -> CandidateRow:
    isrc = isrcs.get(entry.play.item.key, "")
    return CandidateRow(entry, evidence_of(entry.play, entry.kind, entry.reported_end_ms, isrc))


def _sort_key(entry: ImportedPlay) -> tuple[object, ...]:
    """Rows in the order of their starts; those of one start always in the same order."""
    play = entry.play
    return (
        play.started_ms,
        -play.ms_played,
        entry.reported_end_ms,
        entry.kind,
        play.item.uri,
        str(play.end_reason),
        sorted(map(str, play.fields.items())),
    )


def _split_uploads(entries: Sequence[ImportedPlay]) -> Iterator[ImportedPlay]:
    """Rows that were uploaded together end where they were heard, and not all at the same moment."""
    last: dict[int, int] = defaultdict(int)
    for entry in entries:
        # What began just before is what came next, and was left at once.
        if (
            entry.kind is SourceKind.EXTENDED
            and entry.play.started_ms < entry.reported_end_ms - TIME_TOLERANCE_MS
        ):
            last[entry.reported_end_ms] = max(last[entry.reported_end_ms], entry.play.started_ms)
    for entry in entries:
        play = entry.play
        is_followed = entry.kind is SourceKind.EXTENDED and play.started_ms < last[entry.reported_end_ms]
        heard_until_ms = play.started_ms + play.ms_played
        yield replace(entry, play=replace(play, ended_ms=heard_until_ms)) if is_followed else entry
