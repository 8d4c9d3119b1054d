"""Figures over rows of the index. Pure: days of rows in, in order of time, running sums out.

What is kept grows with the number of different things played, never with the number of plays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import compress
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import EPOCH_DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from spotify_logger.core.periods import LocalClock
    from spotify_logger.core.play_rows import PlayRows

MIN_LISTENED_MS = 30_000
"""What counts as a play unless told otherwise: half a minute, as Spotify counts."""
SESSION_PAUSE_MS = 30 * 60_000
"""A session of listening ends when nothing is heard for so long."""
HOUR, DAY = 3600, 86_400
WEEK_HOURS = 168
THURSDAY = 3
"""The day of the week on which the epoch began, Monday being 0."""
TRACKDONE, SKIPPED, OPEN = "trackdone", "skipped", "open"


# What counts as a play

if TYPE_CHECKING:
    CountingRule = Callable[[PlayRows], Iterable[bool]]
    """Tells for each row whether it counts as a play."""


def at_least(milliseconds: int) -> CountingRule:
    """What was heard for so long, or longer, counts."""
    return lambda rows: map(milliseconds.__le__, rows.ms_played)


def finished() -> CountingRule:
    """What was left at its end counts."""
    return lambda rows: map(TRACKDONE.__eq__, rows.ends)


def half(durations: Mapping[str, int]) -> CountingRule:
    """What was heard for at least half of its length counts, and what was left at its end.

    Args:
        durations: Milliseconds by catalogue key, for all items of the rows that are given to the rule; 0 or
            missing where the length is not known.
    """

    def rule(rows: PlayRows) -> Iterator[bool]:
        for item, heard, end in zip(rows.items, rows.ms_played, rows.ends, strict=True):
            yield end == TRACKDONE or 0 < durations.get(item, 0) <= 2 * heard

    return rule


# By item


class ItemCounts:
    """What was played how often and for how long, item by item.

    Attributes:
        plays: Those that count.
        heard: Milliseconds, of all rows, those that do not count included.
    """

    def __init__(self) -> None:
        self.plays: Counter[str] = Counter()
        self.ms_played: defaultdict[str, int] = defaultdict(int)

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Take in a day; `counted` tells which of its rows count."""
        self.plays.update(compress(rows.items, counted))
        heard = self.ms_played
        for item, milliseconds in zip(rows.items, rows.ms_played, strict=True):
            heard[item] += milliseconds

    def copy(self) -> ItemCounts:
        """As they are now; later ones are added to the one or the other."""
        found = ItemCounts()
        found.plays, found.ms_played = self.plays.copy(), self.ms_played.copy()
        return found


@dataclass(slots=True)
class ItemStatistics:
    """What is added up over plays of one thing.

    Attributes:
        plays: Those that count.
        shorter: Those that do not.
        skips: Those that were left for something else before their end, whether they count or not.
        ms_played: Milliseconds heard in all, also of what does not count.
        first: Second of the first play that counts; None if there is none.
        last: Second of the last one that counts.
    """

    plays: int = 0
    shorter: int = 0
    skips: int = 0
    ms_played: int = 0
    first: int | None = None
    last: int | None = None

    def merge(self, other: ItemStatistics) -> None:
        """Count everything that another tally has counted."""
        self.plays += other.plays
        self.shorter += other.shorter
        self.skips += other.skips
        self.ms_played += other.ms_played
        firsts = [first for first in (self.first, other.first) if first is not None]
        lasts = [last for last in (self.last, other.last) if last is not None]
        self.first, self.last = min(firsts, default=None), max(lasts, default=None)


class DetailedItemCounts(ItemCounts):
    """The same with all that can be told of an item; twice the work."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: Counter[str] = Counter()
        self._skips: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """See `Tallies.add`; days come in order of time."""
        super().add(rows, counted)
        self._rows.update(rows.items)
        self._skips.update(compress(rows.items, map(SKIPPED.__eq__, rows.ends)))
        times = list(compress(zip(rows.items, rows.seconds, strict=True), counted))
        self._last.update(times)
        for item, second in times:
            if item not in self._first:
                self._first[item] = second

    def tally(self, item: str) -> ItemStatistics:
        """What there is to say of an item, by its catalogue key."""
        plays = self.plays[item]
        return ItemStatistics(
            plays,
            self._rows[item] - plays,
            self._skips[item],
            self.ms_played.get(item, 0),
            self._first.get(item),
            self._last.get(item),
        )


# By time


@dataclass(slots=True)
class Totals:
    """What is added up over a stretch.

    Attributes:
        plays: Rows that count.
        rows: All of them.
        skips: Those that were left for something else before their end.
        closed: Those that are over.
        ms_played: Milliseconds heard in all.
    """

    plays: int = 0
    rows: int = 0
    skips: int = 0
    closed: int = 0
    ms_played: int = 0

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Take in a day."""
        self.plays += sum(counted)
        self.rows += len(rows)
        self.skips += rows.ends.count(SKIPPED)
        self.closed += len(rows) - rows.ends.count(OPEN)
        self.ms_played += sum(rows.ms_played)


class CalendarCounts:
    """Plays and time by local day, and by hour of the local week.

    Args:
        clock: Tells what clocks show.

    Attributes:
        plays: Plays that count, by days since the epoch.
        heard: Milliseconds, by the same.
        hour_plays: Plays that count, by hour of the week; 0 is Monday's first.
        hour_heard: Milliseconds, by the same.
    """

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self.plays: Counter[int] = Counter()
        self.ms_played: defaultdict[int, int] = defaultdict(int)
        self.hour_plays = [0] * WEEK_HOURS
        self.hour_ms_played = [0] * WEEK_HOURS

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Take in a day; a play belongs to the day and the hour in which it started."""
        hours = [second // HOUR for second in self._clock.to_local(rows.seconds)]
        plays, ms_played = Counter(compress(hours, counted)), defaultdict[int, int](int)
        for hour, milliseconds in zip(hours, rows.ms_played, strict=True):
            ms_played[hour] += milliseconds
        for hour, milliseconds in ms_played.items():
            day, of_week = hour // 24, (hour + 24 * THURSDAY) % WEEK_HOURS
            self.plays[day] += plays[hour]
            self.ms_played[day] += milliseconds
            self.hour_plays[of_week] += plays[hour]
            self.hour_ms_played[of_week] += milliseconds

    def copy(self) -> CalendarCounts:
        """As it is now; later plays are added to the one or the other."""
        found = CalendarCounts(self._clock)
        found.plays, found.ms_played = self.plays.copy(), self.ms_played.copy()
        found.hour_plays, found.hour_ms_played = self.hour_plays.copy(), self.hour_ms_played.copy()
        return found


@dataclass(slots=True)
class Session:
    """Listening without a long pause.

    Attributes:
        begin: The second in which its first play started.
        end_ms: Milliseconds since the epoch at which its last one was heard through, as far as the index
            tells: its start plus what was heard of it.
    """

    begin: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """Milliseconds from its beginning to its end."""
        return self.end_ms - self.begin * 1000


@dataclass(slots=True)
class SessionCounter:
    """How many sessions there were, and which one was the longest.

    Attributes:
        number: How many.
        longest: None when there was none.
    """

    number: int = 0
    longest: Session | None = None
    _now: Session | None = field(default=None, repr=False)

    def add(self, rows: PlayRows) -> None:
        """Take in a day; days come in order of time."""
        for second, ms_played in zip(rows.seconds, rows.ms_played, strict=True):
            if ms_played:
                self._hear(second, second * 1000 + ms_played)

    def copy(self) -> SessionCounter:
        """As they are now; what is heard later is added to the one or the other."""
        now = self._now and replace(self._now)
        longest = now if self.longest is self._now else self.longest and replace(self.longest)
        return SessionCounter(self.number, longest, now)

    def _hear(self, second: int, end_ms: int) -> None:
        now = self._now
        if now is None or second * 1000 - now.end_ms >= SESSION_PAUSE_MS:
            now = self._now = Session(second, end_ms)
            self.number += 1
        else:
            now.end_ms = max(now.end_ms, end_ms)
        if self.longest is None or now.length_ms > self.longest.length_ms:
            self.longest = now


@dataclass(frozen=True, slots=True)
class Streak:
    """Days in a row on which something was played that counts.

    Attributes:
        days: How many.
        first: The first of them; None when there is none.
    """

    days: int = 0
    first: date | None = None


def streaks(days: Iterable[int], today: date) -> tuple[Streak, Streak]:
    """The longest streak, the earlier one of two that are as long, and the one that lasts.

    Args:
        days: Those with plays, in days since the epoch.
        today: A streak that reaches until yesterday lasts.
    """
    longest = lasting = Streak()
    run, previous = 0, None
    for day in sorted(days):
        run = run + 1 if previous is not None and day == previous + 1 else 1
        previous = day
        lasting = Streak(run, date_of(day - run + 1))
        longest = max(longest, lasting, key=lambda streak: streak.days)
    is_over = previous is None or date_of(previous) < today - timedelta(days=1)
    return longest, Streak() if is_over else lasting


def date_of(day: int) -> date:
    """The date that lies so many days after the epoch."""
    return EPOCH_DAY + timedelta(days=day)
