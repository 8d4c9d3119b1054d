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
from spotify_logger.transfer.importer.export_rows import Entry, Left, read_row
from spotify_logger.transfer.importer.json_stream import Broken, Mark, read_elements
from spotify_logger.transfer.importer.own_records import GapRecord, ItemRecord, Record, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from spotify_logger.transfer.importer.files import Source
    from spotify_logger.transfer.importer.report import Tally

TOGETHER = 16_384
"""Entries that are put in order together; so many are 25 MB. A day is not parted, however many it has."""


NO_DAY = 0
"""Stands for the day of what is no play: the first day of the epoch, long before Spotify."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file.

    Attributes:
        source: The file.
        mark: Where it begins.
        days: Of each of its elements, the day on which the play started: days since the epoch, UTC.
    """

    source: Source
    mark: Mark
    days: array[int]

    @property
    def until(self) -> int:
        """How many elements of the file there are up to its end."""
        return self.mark.number + len(self.days)

    def follows(self, other: Piece) -> bool:
        """Whether it begins where the other one ends."""
        return self.source is other.source and self.mark.number == other.until


class Survey:
    """Knows which rows the files have, and gives those that tell of plays.

    Args:
        now_ms: Now, in milliseconds since the epoch, UTC.
        private: Whether what was heard in a private session is wanted.
        tally: Where rows are counted that tell of no play.
        besides: Takes what else there is, some of it at a time.
    """

    def __init__(
        self,
        now_ms: int,
        tally: Tally,
        besides: Callable[[list[ItemRecord | GapRecord]], None],
        *,
        private: bool = False,
    ) -> None:
        self._now_ms = now_ms
        self._private = private
        self._tally = tally
        self._besides = besides
        self._pieces: list[Piece] = []
        self._days: Counter[int] = Counter()

    @property
    def entries(self) -> int:
        """How many rows tell of plays, as far as was looked."""
        return self._days.total()

    def look(self, source: Source) -> Iterator[int]:
        """See what a file has.

        Yields:
            How many bytes of it are seen.
        """
        try:
            with source.open() as stream:
                for mark, elements in read_elements(stream):
                    self._look_at(source, mark, elements)
                    yield mark.offset
        except Broken as error:
            self._tally.broken.append((source.name, error.number, str(error)))

    def _look_at(self, source: Source, mark: Mark, elements: list[object]) -> None:
        days, besides = array("H", [NO_DAY]) * len(elements), []
        for number, element in enumerate(elements):
            record = self._read(element)
            if isinstance(record, Entry):
                days[number] = _day(record)
            elif isinstance(record, Left):
                self._tally.leave(record, source.name, mark.number + number + 1)
            else:
                besides.append(record)
        self._tally.rows += len(elements) - len(besides)
        self._days.update(day for day in days if day != NO_DAY)
        self._pieces.append(Piece(source, mark, days))
        if besides:
            self._besides(besides)

    def in_order(self) -> Iterator[Entry]:
        """The rows that tell of plays, in the order of the plays' starts."""
        for first, last in self._stretches():
            pieces = [piece for piece in self._pieces if any(first <= day <= last for day in piece.days)]
            entries = [entry for run in _runs(pieces) for entry in self._again(run, first, last)]
            entries.sort(key=attrgetter("play.started_ms"))
            yield from entries

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Days, from and to, that have not too many entries together."""
        first, last, together = 0, 0, 0
        for day in sorted(self._days):
            if together and together + self._days[day] > TOGETHER:
                yield first, last
                together = 0
            first = first if together else day
            last, together = day, together + self._days[day]
        if together:
            yield first, last

    def _again(self, run: list[Piece], first: int, last: int) -> Iterator[Entry]:
        """The entries of some days in pieces that follow on each other."""
        source, begin = run[0].source, run[0].mark
        days = chain.from_iterable(piece.days for piece in run)
        try:
            with source.open(begin.offset) as stream:
                for mark, elements in read_elements(stream, begin):
                    wanted = (
                        element for element, day in zip(elements, days, strict=False) if first <= day <= last
                    )
                    yield from (record for record in map(self._read, wanted) if isinstance(record, Entry))
                    if mark.number + len(elements) >= run[-1].until:
                        return
        except Broken as error:
            self._tally.broken.append((source.name, error.number, f"it changed meanwhile: {error}"))

    def _read(self, element: object) -> Record:
        if isinstance(element, dict) and "kind" in element:
            return read_record(element, self._now_ms)
        return read_row(element, self._now_ms, private=self._private)


def _runs(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Put those together that can be read in one go."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if runs and piece.follows(runs[-1][-1]):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _day(entry: Entry) -> int:
    return entry.play.started_ms // ONE_DAY_MS
