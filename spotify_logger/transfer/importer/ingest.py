"""Import plays in chronological order, comparing them with the plays already logged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.transfer.importer.dedup import CONTEXT_MS, GROUP_GAP_MS, Deduplicator, tombstone_spans
from spotify_logger.transfer.importer.pairing import KnownPlay, RowStatus, known_play

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.importer.export_rows import ImportedPlay
    from spotify_logger.transfer.importer.report import ImportSummary
    from spotify_logger.transfer.importer.writer import PlayWriter

PLAYS_PER_BATCH = 1000
"""Plays that are decided and written together; also the largest group."""
MAX_GAP_IN_BATCH_MS = 2 * CONTEXT_MS
"""Milliseconds of silence after which a new batch begins, so that the plays in between are not read."""

_FIELDS = (
    *("uri", "type", "id", "name", "artists", "album", "duration_ms", "device_name", "playing"),
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
)
"""The fields of a logged play that matching needs."""


class Importer:
    """Imports the plays that are new.

    Args:
        archive: The log.
        summary: Counts the rows by status.
        writer: Writes the new ones.
    """

    def __init__(self, archive: Archive, summary: ImportSummary, writer: PlayWriter) -> None:
        self._archive = archive
        self._summary = summary
        self._writer = writer
        (lines,) = archive.hashes([TOMBSTONES])
        self._deduplicator = Deduplicator(tombstone_spans(lines))

    def import_plays(self, entries: Iterable[ImportedPlay]) -> Iterator[int]:
        """Import plays.

        Args:
            entries: The plays of the files, by start.

        Yields:
            The number of rows processed since the last time.
        """
        for groups in _batches(_groups(entries)):
            new = []
            for entry, status in self._decided(groups):
                self._summary.statuses[status] += 1
                if status is RowStatus.NEW:
                    new.append(entry)
            self._writer.write(new)
            yield sum(map(len, groups))

    def _decided(self, groups: Sequence[Sequence[ImportedPlay]]) -> Iterator[tuple[ImportedPlay, RowStatus]]:
        known = self._known(groups[0][0].play.started_ms, max(map(_end_ms, groups)))
        begins = [play.evidence.begin_ms for play in known]
        isrcs = self._isrcs(entry.play for entry in chain.from_iterable(groups)) if known else {}
        for group in groups:
            first = bisect_left(begins, group[0].play.started_ms - CONTEXT_MS)
            last = bisect_right(begins, _end_ms(group) + CONTEXT_MS)
            yield from self._deduplicator.decide(group, known[first:last], isrcs)

    def _known(self, begin_ms: int, end_ms: int) -> list[KnownPlay]:
        """Return the logged plays around a span of time, by start."""
        begin, end = (begin_ms - CONTEXT_MS) // 1000, (end_ms + CONTEXT_MS) // 1000
        seconds = chain.from_iterable(rows.seconds for rows in self._archive.rows(begin, end))
        found = [
            Play.from_hash(
                second, {name: value for name, value in zip(_FIELDS, values, strict=True) if value}
            )
            for second, values in self._archive.fields(seconds, _FIELDS)
        ]
        plays = [play for play in found if play is not None]
        isrcs = self._isrcs(plays)
        return sorted(
            (known_play(play, isrcs.get(play.item.key, "")) for play in plays),
            key=lambda known: known.evidence.begin_ms,
        )

    def _isrcs(self, plays: Iterable[Play]) -> dict[str, str]:
        keys = dict.fromkeys(play.item.key for play in plays)
        return {key: isrc for key, (isrc,) in self._archive.catalog(keys, ["isrc"]) if isrc}


def _groups(entries: Iterable[ImportedPlay]) -> Iterator[list[ImportedPlay]]:
    """Group the plays that no silence separates, up to `PLAYS_PER_BATCH`."""
    group: list[ImportedPlay] = []
    until_ms = 0
    for entry in entries:
        is_apart = entry.play.started_ms > until_ms + GROUP_GAP_MS
        if group and (is_apart or len(group) >= PLAYS_PER_BATCH):
            yield group
            group, until_ms = [], 0
        group.append(entry)
        until_ms = max(until_ms, entry.play.ended_ms)
    if group:
        yield group


def _batches(groups: Iterable[list[ImportedPlay]]) -> Iterator[list[list[ImportedPlay]]]:
    """Batch groups that are not far apart, up to `PLAYS_PER_BATCH` plays."""
    batch: list[list[ImportedPlay]] = []
    for group in groups:
        is_far = bool(batch) and group[0].play.started_ms > _end_ms(batch[-1]) + MAX_GAP_IN_BATCH_MS
        if batch and (is_far or sum(map(len, batch)) + len(group) > PLAYS_PER_BATCH):
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _end_ms(group: Sequence[ImportedPlay]) -> int:
    return max(entry.play.ended_ms for entry in group)
