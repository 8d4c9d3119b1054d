"""Yield the rows of all files in chronological order, in little memory and without temporary files.

The files are read twice. The first pass notes the days of the rows in each chunk of each file. The second
goes from one window of days to the next, and reads the chunks again that have rows of it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from spotify_logger.core.player_state import ONE_DAY_MS
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkippedRow, read_row
from spotify_logger.transfer.importer.json_stream import StreamPosition, UnreadableFile, read_elements
from spotify_logger.transfer.importer.own_records import GapRecord, ItemRecord, ParsedRecord, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from spotify_logger.transfer.importer.files import SourceFile
    from spotify_logger.transfer.importer.report import ImportSummary

PLAYS_PER_WINDOW = 16_384
"""Plays that are sorted together, about 25 MB. A day is never split, however many plays it has."""


NO_DAY = 0
"""The day of elements that are not plays: the first day of the epoch, long before Spotify."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file.

    Attributes:
        source: The file.
        position: Where it begins.
        days: For each element, the UTC day on which the play started, in days since the epoch; or `NO_DAY`.
    """

    source: SourceFile
    position: StreamPosition
    days: array[int]

    @property
    def end_number(self) -> int:
        """The number of elements in the file up to the end of the chunk."""
        return self.position.number + len(self.days)

    def follows(self, other: Chunk) -> bool:
        """Return whether it begins where the other one ends."""
        return self.source is other.source and self.position.number == other.end_number


class RowIndex:
    """Indexes the rows of files by day, and yields their plays in order.

    Args:
        now_ms: Now, in milliseconds since the epoch, UTC.
        summary: Counts the rows, and those that are skipped.
        other_records: Is called with the records that are not plays, in batches.
        private: Whether to include private sessions.
    """

    def __init__(
        self,
        now_ms: int,
        summary: ImportSummary,
        other_records: Callable[[list[ItemRecord | GapRecord]], None],
        *,
        private: bool = False,
    ) -> None:
        self._now_ms = now_ms
        self._private = private
        self._summary = summary
        self._write_others = other_records
        self._chunks: list[Chunk] = []
        self._days: Counter[int] = Counter()

    @property
    def entries(self) -> int:
        """The number of plays in the files scanned so far."""
        return self._days.total()

    def scan(self, source: SourceFile) -> Iterator[int]:
        """Index the rows of a file.

        Yields:
            The number of bytes scanned so far.
        """
        try:
            with source.open() as stream:
                for position, elements in read_elements(stream):
                    self._add_chunk(source, position, elements)
                    yield position.offset
        except UnreadableFile as error:
            self._summary.broken.append((source.name, error.number, str(error)))

    def _add_chunk(self, source: SourceFile, position: StreamPosition, elements: list[object]) -> None:
        days, other_records = array("H", [NO_DAY]) * len(elements), []
        for number, element in enumerate(elements):
            record = self._read(element)
            if isinstance(record, ImportedPlay):
                days[number] = _day(record)
            elif isinstance(record, SkippedRow):
                self._summary.skip(record, source.name, position.number + number + 1)
            else:
                other_records.append(record)
        self._summary.rows += len(elements) - len(other_records)
        self._days.update(day for day in days if day != NO_DAY)
        self._chunks.append(Chunk(source, position, days))
        if other_records:
            self._write_others(other_records)

    def sorted_plays(self) -> Iterator[ImportedPlay]:
        """Yield the plays of all files, by start."""
        for first, last in self._windows():
            chunks = [chunk for chunk in self._chunks if any(first <= day <= last for day in chunk.days)]
            entries = [entry for run in _runs(chunks) for entry in self._reread(run, first, last)]
            entries.sort(key=attrgetter("play.started_ms"))
            yield from entries

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last day of windows of at most `PLAYS_PER_WINDOW` plays."""
        first, last, together = 0, 0, 0
        for day in sorted(self._days):
            if together and together + self._days[day] > PLAYS_PER_WINDOW:
                yield first, last
                together = 0
            first = first if together else day
            last, together = day, together + self._days[day]
        if together:
            yield first, last

    def _reread(self, run: list[Chunk], first: int, last: int) -> Iterator[ImportedPlay]:
        """Yield the plays of a range of days from consecutive chunks."""
        source, begin = run[0].source, run[0].position
        days = chain.from_iterable(chunk.days for chunk in run)
        try:
            with source.open(begin.offset) as stream:
                for position, elements in read_elements(stream, begin):
                    wanted = (
                        element for element, day in zip(elements, days, strict=False) if first <= day <= last
                    )
                    yield from (
                        record for record in map(self._read, wanted) if isinstance(record, ImportedPlay)
                    )
                    if position.number + len(elements) >= run[-1].end_number:
                        return
        except UnreadableFile as error:
            self._summary.broken.append(
                (source.name, error.number, f"the file changed during the import: {error}")
            )

    def _read(self, element: object) -> ParsedRecord:
        if isinstance(element, dict) and "kind" in element:
            return read_record(element, self._now_ms)
        return read_row(element, self._now_ms, private=self._private)


def _runs(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """Group consecutive chunks, which can be read in one go."""
    runs: list[list[Chunk]] = []
    for chunk in chunks:
        if runs and chunk.follows(runs[-1][-1]):
            runs[-1].append(chunk)
        else:
            runs.append([chunk])
    return runs


def _day(entry: ImportedPlay) -> int:
    return entry.play.started_ms // ONE_DAY_MS
