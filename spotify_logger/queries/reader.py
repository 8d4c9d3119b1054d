"""Read what a question is about: play rows and which of them count, catalog entries, and gaps."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import RECORDING_FIELDS, CatalogEntry
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.statistics import at_least, finished, half
from spotify_logger.queries.question import FINISHED, HALF, Question
from spotify_logger.storage.bulk import DAYS_PER_BATCH, FIRST_SECOND, Archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.core.periods import Period
    from spotify_logger.core.play_rows import PlayRows


class PlayReader:
    """Reads plays, catalog entries and gaps for one question."""

    def __init__(self, archive: Archive, question: Question) -> None:
        self.archive = archive
        self.question = question
        self._first: int | None = None
        self._durations: dict[str, int] = {}
        threshold = question.threshold
        if threshold == HALF:
            self._rule = half(self._durations)
        else:
            self._rule = finished() if threshold == FINISHED else at_least(int(threshold))

    def days(self, period: Period | None = None) -> Iterator[tuple[PlayRows, list[bool]]]:
        """Yield the rows of a period, by default the question's, in order by day, and which of them count."""
        wanted = self.question.period if period is None else period
        for rows in self.archive.rows(first_second(wanted), wanted.end):
            if self._first is None or rows.seconds[0] < self._first:
                self._first = rows.seconds[0]
            if self.question.threshold == HALF:
                unknown = set(rows.items) - self._durations.keys()
                for key, (duration,) in self.archive.catalog(unknown, ["duration_ms"]):
                    self._durations[key] = whole_number(duration) or 0
            yield rows, list(self._rule(rows))

    def entries(
        self, keys: Iterable[str], names: Sequence[str] = CatalogEntry._fields
    ) -> dict[str, CatalogEntry]:
        """Return the catalog entries of items, by key; only the fields in `names` are read."""
        found = self.archive.catalog(keys, names)
        # Pick each field from the values, or the blank appended to them.
        fields = itemgetter(*(names.index(name) if name in names else -1 for name in CatalogEntry._fields))
        return {key: CatalogEntry._make(fields((*values, ""))) for key, values in found}

    def batches(
        self, names: Sequence[str] = CatalogEntry._fields
    ) -> Iterator[tuple[list[tuple[PlayRows, list[bool]]], dict[str, CatalogEntry]]]:
        """Yield the days of the question in batches, each with the catalog entries of items new in it."""
        met: set[str] = set()
        for days in batched(self.days(), DAYS_PER_BATCH):
            new = {item for rows, _ in days for item in rows.items} - met
            met |= new
            yield days, self.entries(new, names)

    def entries_before(self, heard: Mapping[str, CatalogEntry]) -> dict[str, CatalogEntry]:
        """Return the catalog entries of items heard before the period of the question, even only in part.

        Args:
            heard: The catalog entries of items heard in the period, which are not looked up again.
        """
        begin = self.question.period.begin
        items = set() if begin is None else self.archive.items_before(begin)
        again = {key: heard[key] for key in items & heard.keys()}
        return {**self.entries(items - heard.keys(), RECORDING_FIELDS), **again}

    def unobserved(self) -> tuple[int, int]:
        """Return the number of gaps in the period, from the first play read on, and their seconds in it."""
        period = self.question.period
        begin = self._first if period.begin is None else period.begin
        end = int(self.question.now) if period.end is None else period.end
        if begin is None:
            return 0, 0
        gaps = [gap for gap in self.archive.gaps() if gap[0] < end and gap[1] > begin]
        return len(gaps), sum(max(0, min(last, end) - max(first, begin)) for first, last, _ in gaps)


def first_second(period: Period) -> int:
    """Return the first second of a period, or that of Spotify's first year if it has no start."""
    return FIRST_SECOND if period.begin is None else period.begin
