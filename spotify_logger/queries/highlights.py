"""Find the highlights of a period: the first play, the most repeated track, late-night plays. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.statistics import DAY, HOUR, ItemCounts, date_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from datetime import date

    from spotify_logger.core.periods import LocalClock
    from spotify_logger.core.play_rows import PlayRows

NIGHT_ENDS = 5 * HOUR
"""Seconds after midnight at which the late night ends; it begins at midnight."""


class MostRepeated(NamedTuple):
    """The track played most often on a single local day.

    Attributes:
        group: The track, see `groups_of`.
        day: The day.
        plays: The number of plays on that day.
    """

    group: Hashable
    day: date
    plays: int


@dataclass(slots=True)
class Highlights:
    """Collects highlights. It keeps the plays of each day: a few megabytes per year.

    Args:
        clock: Converts seconds to local time.

    Attributes:
        night: Plays between midnight and five, by item.
        first: The second and the item of the first play that counts.
    """

    clock: LocalClock
    night: ItemCounts = field(default_factory=ItemCounts)
    first: tuple[int, str] | None = None
    _days: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, rows: PlayRows, counts: list[bool]) -> None:
        """Add a day; days come in chronological order."""
        local = self.clock.to_local(rows.seconds)
        days = [second // DAY for second in local]
        self._days.update(compress(zip(days, rows.items, strict=True), counts))
        late = [second % DAY < NIGHT_ENDS for second in local]
        if any(late):
            self.night.add(rows.select(late), list(compress(counts, late)))
        if self.first is None:
            self.first = next(compress(zip(rows.seconds, rows.items, strict=True), counts), None)

    def repeated(self, tracks: Mapping[str, Iterable[Hashable]]) -> MostRepeated | None:
        """Return the track played most often on one day, the first in a tie; None without repeats.

        Args:
            tracks: The tracks of each item, as returned by `groups_of`.
        """
        plays: Counter[tuple[int, Hashable]] = Counter()
        for (day, item), number in self._days.items():
            for group in tracks.get(item, ()):
                plays[day, group] += number
        most = max(plays.values(), default=0)
        if most <= 1:
            return None
        day, group = next(which for which, number in plays.items() if number == most)
        return MostRepeated(group, date_of(day), most)
