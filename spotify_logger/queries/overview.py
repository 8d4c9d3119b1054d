"""The last twelve months at a glance; the figures of past days are cached."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import CatalogEntry
from spotify_logger.core.periods import Period
from spotify_logger.queries.arguments import WEEK
from spotify_logger.queries.charts import by_interval
from spotify_logger.queries.phrases import unseen_data
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, groups_of, lines_of, top_ranked
from spotify_logger.queries.reader import PlayReader, first_second
from spotify_logger.queries.summary import Figures, skip_data
from spotify_logger.report.words import utc_time
from spotify_logger.storage.bulk import RECENT_DAYS, Archive
from spotify_logger.storage.store import ITEMS_PER_BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spotify_logger.queries.question import Question

KINDS = (TRACKS, ARTISTS, ALBUMS)
TOP_COUNT = 5
MAX_AGE = 3600.0
"""Seconds after which the past is summed up again, to include plays rewritten in place (`check --repair`) and
new catalog data."""


@dataclass(slots=True)
class PastFigures:
    """The figures of the past part of a period.

    Attributes:
        asked: The question, limited to that part.
        mark: The version of the data, see `Archive.mark`.
        until: When the figures expire, in monotonic seconds.
        entries: The catalog entries of the items of the whole period.
    """

    asked: Question
    mark: str
    until: float
    figures: Figures
    entries: dict[str, CatalogEntry]

    def learn(self, reader: PlayReader, items: Iterable[str]) -> None:
        """Look up the catalog entries of items that are new."""
        new = set(items) - self.entries.keys()
        if not new:
            return
        # Most texts occur many times: share them, since they are kept for a long time.
        texts = {text: text for entry in self.entries.values() for text in entry}
        for some in batched(new, ITEMS_PER_BATCH):
            for key, entry in reader.entries(some).items():
                self.entries[key] = CatalogEntry._make(texts.setdefault(text, text) for text in entry)


class Overview:
    """Answers the same question again and again, quickly."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._past_figures: PastFigures | None = None

    def data(self, archive: Archive, question: Question) -> dict[str, object]:
        """Return an overview for JSON; the period begins at a local midnight and includes the present."""
        reader = PlayReader(archive, question)
        past = self._past(reader)
        figures = past.figures.copy()
        for rows, counts in reader.days(replace(question.period, begin=past.asked.period.end)):
            figures.add(rows, counts)
        past.learn(reader, figures.tallies.ms_played)
        # Leave out items whose plays have been deleted.
        known = {key: past.entries[key] for key in figures.tallies.ms_played}
        shown, numbers = {}, {}
        for kind in KINDS:
            # Computed each time, one kind after the other: keeping them would take a lot of memory.
            groups = groups_of(kind, known, exact=question.exact)
            shown[kind], numbers[kind] = top_ranked(figures.tallies, groups, question.by, TOP_COUNT)
        entries = reader.entries(
            {key for kind in (TRACKS, ALBUMS) for each in shown[kind] for key in each.keys}
        )
        sums = figures.sums
        return {
            "from": utc_time(question.period.begin),
            "plays": sums.plays,
            "shorter": sums.rows - sums.plays,
            "heard_ms": sums.ms_played,
            **skip_data(sums),
            **figures.days_data(question.today),
            **numbers,
            "top": {kind: [line.data for line in lines_of(kind, shown[kind], entries)] for kind in KINDS},
            "weeks": by_interval(figures.calendar, question, WEEK),
            "unseen": unseen_data(reader),
        }

    def _past(self, reader: PlayReader) -> PastFigures:
        """Return the figures of the past part of the period, from the cache if it is still valid."""
        question = reader.question
        begin = first_second(question.period)
        end = max(begin, question.zone.midnight(question.today - timedelta(days=RECENT_DAYS - 1)))
        asked = replace(question, now=0.0, period=Period(begin, end))
        mark, _ = reader.archive.mark(begin, end)
        past, now = self._past_figures, self._monotonic()
        if past is None or past.asked != asked or past.mark != mark or now >= past.until:
            self._past_figures = None  # never keep two of them in memory
            figures = Figures.of(reader, asked.period)
            past = self._past_figures = PastFigures(asked, mark, now + MAX_AGE, figures, {})
        return past
