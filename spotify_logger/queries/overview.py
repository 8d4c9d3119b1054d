"""The last twelve months at a glance, again and again: the days that are past are added up once."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import CatalogEntry
from spotify_logger.core.periods import LocalClock, Period
from spotify_logger.core.statistics import CalendarCounts, streaks
from spotify_logger.queries.history_chart import WEEK, periods
from spotify_logger.queries.phrases import unseen_data
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, best, groups_of
from spotify_logger.queries.reader import Reading, begin_of
from spotify_logger.queries.summary import Figures, busiest_data, streak_data
from spotify_logger.queries.top import lines_of
from spotify_logger.report.words import utc_time
from spotify_logger.storage.bulk import ITEMS_TOGETHER, YOUNG_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spotify_logger.queries.question import Question
    from spotify_logger.queries.ranking import Ranked
    from spotify_logger.storage.bulk import Archive

KINDS = (TRACKS, ARTISTS, ALBUMS)
BEST = 5
NEEDED = ("artists", "artist_ids", "album", "album_id", "isrc")
"""The fields of the catalogue that tell things from each other; titles are asked for only where they
are shown."""
AGE = 3600.0
"""Seconds after which the past is added up anew: what is rewritten in place, as by `check --repair`, and what
the catalogue learns, changes nothing that would be noticed."""


@dataclass(slots=True)
class Fold:
    """The part of a stretch that is past, added up.

    Attributes:
        asked: The question, as if it were about that part alone.
        mark: What it was made of, see `Archive.mark`.
        until: The moment of the monotonic clock up to which it is good.
        figures: All that was added up.
        entries: What the catalogue knows of its items, and of later ones, as far as it is `NEEDED`.
    """

    asked: Question
    mark: str
    until: float
    figures: Figures
    entries: dict[str, CatalogEntry]

    def learn(self, reading: Reading, items: Iterable[str]) -> None:
        """Look up which things the items belong to that were not met before."""
        new = set(items) - self.entries.keys()
        if not new:
            return
        # Most texts come many times: each is kept once, as this is kept for long.
        texts = {text: text for entry in self.entries.values() for text in entry}
        for some in batched(new, ITEMS_TOGETHER):
            for key, entry in reading.entries(some, NEEDED).items():
                self.entries[key] = CatalogEntry._make(texts.setdefault(text, text) for text in entry)


class Overview:
    """Answers the same question again and again, quickly.

    Args:
        monotonic: Seconds since some fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._fold: Fold | None = None

    def data(self, archive: Archive, question: Question) -> dict[str, object]:
        """What a stretch was made of, in short, for programs.

        Args:
            archive: The log.
            question: What is asked; its stretch begins at a local midnight, and reaches into the present.
        """
        reading = Reading(archive, question)
        fold = self._past(reading)
        figures = fold.figures.copy()
        rest = replace(question.stretch, begin=fold.asked.stretch.end)
        for rows, counts in reading.days(rest):
            figures.add(rows, counts)
        fold.learn(reading, figures.tallies.heard)
        # Without what was met once, and is forgotten since.
        known = {key: fold.entries[key] for key in figures.tallies.heard}
        found = {}
        for kind in KINDS:
            # Made anew each time, one after the other: to keep them would take much memory.
            groups = groups_of(kind, known, exact=question.exact)
            found[kind] = best(figures.tallies, groups, question.by, BEST)
        entries = reading.entries(
            {key for kind in (TRACKS, ALBUMS) for each in found[kind][0] for key in each.keys}
        )
        return _data(reading, figures, found, entries)

    def _past(self, reading: Reading) -> Fold:
        """What is past of the question's stretch, added up now unless it was before."""
        question = reading.question
        begin = begin_of(question.stretch)
        end = max(begin, question.zone.midnight(question.today - timedelta(days=YOUNG_DAYS - 1)))
        asked = replace(question, now=0.0, stretch=Period(begin, end))
        mark, _ = reading.archive.mark(begin, end)
        fold, now = self._fold, self._monotonic()
        if fold is None or fold.asked != asked or fold.mark != mark or now >= fold.until:
            self._fold = None  # so that the two of them are never there at the same time
            figures = Figures(CalendarCounts(LocalClock(question.zone)))
            for rows, counts in reading.days(asked.stretch):
                figures.add(rows, counts)
            fold = self._fold = Fold(asked, mark, now + AGE, figures, {})
        return fold


def _data(
    reading: Reading,
    figures: Figures,
    found: Mapping[str, tuple[list[Ranked], int]],
    entries: Mapping[str, CatalogEntry],
) -> dict[str, object]:
    question, sums, played = reading.question, figures.sums, figures.days_with_plays()
    longest, lasting = streaks(played, question.today)
    return {
        "from": utc_time(question.stretch.begin),
        "plays": sums.plays,
        "shorter": sums.rows - sums.plays,
        "heard_ms": sums.ms_played,
        "skips": sums.skips,
        "skip_rate": round(sums.skips / sums.closed, 6) if sums.closed else None,
        "days": len(played),
        "longest_streak": streak_data(longest),
        "current_streak": streak_data(lasting),
        "busiest_day": busiest_data(figures),
        **{kind: number for kind, (_, number) in found.items()},
        "top": {
            kind: [
                {
                    "name": line.name,
                    "artists": line.about,
                    "plays": line.now.plays,
                    "heard_ms": line.now.ms_played,
                    "key": line.now.keys[0],
                }
                for line in lines_of(kind, shown, entries)
            ]
            for kind, (shown, _) in found.items()
        },
        "weeks": periods(figures.calendar, question, WEEK),
        "unseen": unseen_data(reading),
    }
