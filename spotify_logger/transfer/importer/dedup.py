"""Decide which rows of exports are new plays. Pure: rows and known plays in, a status per row out.

Rows are decided in chronological order, whatever the order of the files.
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
"""Milliseconds around a row within which all known plays are needed to decide about it."""
GROUP_GAP_MS = 120_000
"""Milliseconds of silence that separate groups of rows, which are decided independently."""


class Deduplicator:
    """Decides about groups of rows in chronological order, and remembers the new plays.

    Args:
        forgotten: The spans of deleted plays, begin and end in milliseconds since the epoch.
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
            entries: The rows of the group; no other row is within `GROUP_GAP_MS`, unless the group is full.
            known: The known plays within `CONTEXT_MS` of them.
            isrcs: The known ISRCs, by item key.

        Returns:
            The rows by start, each with its status.
        """
        rows = [_row(entry, isrcs) for entry in _split_uploads(sorted(entries, key=_sort_key))]
        for row in rows:
            if self._is_deleted(row.evidence):
                row.status = RowStatus.FORGOTTEN
        match([row for row in rows if row.status is None], self._with_new_plays(rows, known))
        return [(row.entry, self._final_status(row)) for row in rows]

    def _with_new_plays(self, rows: Sequence[CandidateRow], known: Iterable[KnownPlay]) -> list[KnownPlay]:
        """Return the known plays and the new ones, which keep the evidence of their rows."""
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
        """Return whether a row belongs to a deleted play."""
        first = bisect_left(self._ends, evidence.begin_ms - TOMBSTONE_MS)
        later = islice(self._tombstones, first, None)
        near = takewhile(lambda span: span[0] <= evidence.end_ms + TOMBSTONE_MS, later)
        return any(was_deleted(evidence, since, until) for since, until in near)


def tombstone_spans(lines: Mapping[str, str]) -> list[tuple[int, int]]:
    """Return the spans of deleted plays, in milliseconds since the epoch, from the tombstone hash."""
    plays = (read_tombstone(second, value) for second, value in lines.items())
    return [(play[0] * 1000, play[1] * 1000) for play in plays if play is not None]


def _merge_overlapping(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge spans that overlap, and sort them."""
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
    """Sort by start, and rows with the same start always in the same order."""
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
    """Correct the end of rows that were uploaded together, which all report the same end."""
    last: dict[int, int] = defaultdict(int)
    for entry in entries:
        # A row that began just before the reported end was the last one, and was skipped at once.
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
