"""Running statistics over index rows. Pure: days of rows in, in chronological order, totals out.

Memory grows with the number of different items played, not with the number of plays.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import compress

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.play import SKIPPED, TRACKDONE
from spotify_logger.core.play_rows import PlayRows
from spotify_logger.core.redis_keys import EPOCH_DAY, OPEN

MIN_LISTENED_MS = 30_000  # the default for what counts as a play: half a minute, as at Spotify
SESSION_PAUSE_MS = 30 * 60_000  # a listening session ends when nothing is played for this long
HOUR, DAY = 3600, 86_400
WEEK_HOURS = 168
THURSDAY = 3  # the weekday of the epoch; Monday is 0

CountingRule = Callable[[PlayRows], Iterable[bool]]  # decides for each row whether it counts as a play


def at_least(milliseconds: int) -> CountingRule:
    """Count what was played for at least this many milliseconds."""
    return lambda rows: map(milliseconds.__le__, rows.ms_played)


def finished() -> CountingRule:
    """Count what was played to its end."""
    return lambda rows: map(TRACKDONE.__eq__, rows.ends)


def half(durations: Mapping[str, int]) -> CountingRule:
    """Count what was played for at least half of its duration (by catalog key), or to its end."""

    def rule(rows: PlayRows) -> Iterator[bool]:
        for item, ms_played, end in zip(rows.items, rows.ms_played, rows.ends, strict=True):
            yield end == TRACKDONE or 0 < durations.get(item, 0) <= 2 * ms_played

    return rule


class ItemCounts:
    """Plays and time by item. The items in `ms_played` are in the order of their last plays."""

    def __init__(self) -> None:
        self.plays: Counter[str] = Counter()  # those that count
        self.ms_played: defaultdict[str, int] = defaultdict(int)  # in all rows

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Add the rows of a day; `counted` says which of them count; days come in chronological order."""
        self.plays.update(compress(rows.items, counted))
        ms_played = self.ms_played
        for item, milliseconds in zip(rows.items, rows.ms_played, strict=True):
            ms_played[item] = ms_played.pop(item, 0) + milliseconds

    def copy(self) -> "ItemCounts":
        """Return an independent copy."""
        found = ItemCounts()
        found.plays, found.ms_played = self.plays.copy(), self.ms_played.copy()
        return found


@dataclass(slots=True)
class ItemStatistics:
    """The statistics of one item, or of several together."""

    plays: int = 0  # those that count
    shorter: int = 0  # those that do not count
    skips: int = 0  # whether they count or not
    ms_played: int = 0  # in all of them
    first: int | None = None  # the second of the first play that counts
    last: int | None = None  # and of the last one

    def merge(self, other: "ItemStatistics") -> None:
        """Add the statistics of another item."""
        self.plays += other.plays
        self.shorter += other.shorter
        self.skips += other.skips
        self.ms_played += other.ms_played
        self.first = min(filter(None, (self.first, other.first)), default=None)
        self.last = max(filter(None, (self.last, other.last)), default=None)


class DetailedItemCounts(ItemCounts):
    """Counts that also keep skips, and first and last plays; twice the work."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: Counter[str] = Counter()
        self._skips: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Add the rows of a day; days come in chronological order."""
        super().add(rows, counted)
        self._rows.update(rows.items)
        self._skips.update(compress(rows.items, map(SKIPPED.__eq__, rows.ends)))
        times = list(compress(zip(rows.items, rows.seconds, strict=True), counted))
        self._last.update(times)
        for item, second in times:
            self._first.setdefault(item, second)

    def tally(self, item: str) -> ItemStatistics:
        """Return the statistics of an item by its catalog key."""
        plays, ms_played = self.plays[item], self.ms_played.get(item, 0)
        first, last = self._first.get(item), self._last.get(item)
        return ItemStatistics(plays, self._rows[item] - plays, self._skips[item], ms_played, first, last)


@dataclass(slots=True)
class Totals:
    """Totals over a period."""

    plays: int = 0  # the rows that count
    rows: int = 0  # all of them
    skips: int = 0
    closed: int = 0  # those that are not open
    ms_played: int = 0  # in all of them

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Add the rows of a day."""
        self.plays += sum(counted)
        self.rows += len(rows)
        self.skips += rows.ends.count(SKIPPED)
        self.closed += len(rows) - rows.ends.count(OPEN)
        self.ms_played += sum(rows.ms_played)


class CalendarCounts:
    """Plays that count, and time: by local day since the epoch, and by hour of the local week."""

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self.plays: Counter[int] = Counter()
        self.ms_played: defaultdict[int, int] = defaultdict(int)
        self.hour_plays = [0] * WEEK_HOURS
        self.hour_ms_played = [0] * WEEK_HOURS

    def add(self, rows: PlayRows, counted: Sequence[bool]) -> None:
        """Add the rows of a day; a play belongs to the local day and hour in which it started."""
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

    def copy(self) -> "CalendarCounts":
        """Return an independent copy."""
        found = CalendarCounts(self._clock)
        found.plays, found.ms_played = self.plays.copy(), self.ms_played.copy()
        found.hour_plays, found.hour_ms_played = self.hour_plays.copy(), self.hour_ms_played.copy()
        return found


@dataclass(slots=True)
class Session:
    """Listening without a long pause."""

    begin: int  # the second in which its first play started
    end_ms: int  # when its last play ended: its start plus the time played, because the index has no ends

    @property
    def length_ms(self) -> int:
        """The length of the session in milliseconds."""
        return self.end_ms - self.begin * 1000


@dataclass(slots=True)
class SessionCounter:
    """The number of sessions, and the longest one."""

    number: int = 0
    longest: Session | None = None
    _now: Session | None = field(default=None, repr=False)

    def add(self, rows: PlayRows) -> None:
        """Add the rows of a day; days come in chronological order."""
        for second, ms_played in zip(rows.seconds, rows.ms_played, strict=True):
            now, begin_ms = self._now, second * 1000
            if not ms_played:
                continue
            if now is None or begin_ms - now.end_ms >= SESSION_PAUSE_MS:
                now = self._now = Session(second, begin_ms)
                self.number += 1
            now.end_ms = max(now.end_ms, begin_ms + ms_played)
            if self.longest is None or now.length_ms > self.longest.length_ms:
                self.longest = now


@dataclass(frozen=True, slots=True)
class Streak:
    """Consecutive days with at least one play that counts."""

    days: int = 0
    first: date | None = None


def streaks(days: Iterable[int], today: date) -> tuple[Streak, Streak]:
    """Return the longest streak of days since the epoch (the first of equal ones), and the current one."""
    longest = current = Streak()
    run, previous = 0, None
    for day in sorted(days):
        run = run + 1 if previous is not None and day == previous + 1 else 1
        previous = day
        current = Streak(run, date_of(day - run + 1))
        longest = max(longest, current, key=lambda streak: streak.days)
    # A streak that reaches yesterday is still current.
    is_over = previous is None or date_of(previous) < today - timedelta(days=1)
    return longest, Streak() if is_over else current


def date_of(day: int) -> date:
    """Return the date that is `day` days after the epoch."""
    return EPOCH_DAY + timedelta(days=day)
