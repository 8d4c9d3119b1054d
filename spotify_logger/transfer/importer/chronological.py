"""All rows of all files in the order of time, in little memory: files are read twice, nothing is put aside.

First it is seen which rows there are, and from which days those of each piece of each file are. Then, one
stretch of time after the other, those pieces are read again that have rows of it.
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
"""Entries that are put in order together; so many are 25 MB. A day is not parted, however many it has."""


NO_DAY = 0
"""Stands for the day of what is no play: the first day of the epoch, long before Spotify."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file.

    Attributes:
        source: The file.
        position: Where it begins.
        days: Of each of its elements, the day on which the play started: days since the epoch, UTC.
    """

    source: SourceFile
    position: StreamPosition
    days: array[int]

    @property
    def end_number(self) -> int:
        """How many elements of the file there are up to its end."""
        return self.position.number + len(self.days)

    def follows(self, other: Chunk) -> bool:
        """Whether it begins where the other one ends."""
        return self.source is other.source and self.position.number == other.end_number


class RowIndex:
    """Knows which rows the files have, and gives those that tell of plays.

    Args:
        now_ms: Now, in milliseconds since the epoch, UTC.
        private: Whether what was heard in a private session is wanted.
        summary: Where rows are counted that tell of no play.
        other_records: Takes what else there is, some of it at a time.
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
        """How many rows tell of plays, as far as was looked."""
        return self._days.total()

    def scan(self, source: SourceFile) -> Iterator[int]:
        """See what a file has.

        Yields:
            How many bytes of it are seen.
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
        """The rows that tell of plays, in the order of the plays' starts."""
        for first, last in self._windows():
            chunks = [chunk for chunk in self._chunks if any(first <= day <= last for day in chunk.days)]
            entries = [entry for run in _runs(chunks) for entry in self._reread(run, first, last)]
            entries.sort(key=attrgetter("play.started_ms"))
            yield from entries

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Days, from and to, that have not too many entries together."""
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
        """The entries of some days in pieces that follow on each other."""
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
    """Put those together that can be read in one go."""
    runs: list[list[Chunk]] = []
    for chunk in chunks:
        if runs and chunk.follows(runs[-1][-1]):
            runs[-1].append(chunk)
        else:
            runs.append([chunk])
    return runs


def _day(entry: ImportedPlay) -> int:
    return entry.play.started_ms // ONE_DAY_MS
