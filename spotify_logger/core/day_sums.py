"""How much was played in a unit of time: sums of days and hours, and streaks of days. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from spotify_logger.core.redis_keys import EPOCH_DAY


@dataclass(frozen=True, slots=True)
class Sums:
    """How much was played on a day, in an hour, a month or another unit of time."""

    unit: str  # names `when` in JSON
    when: str | int
    plays: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Streak:
    """Consecutive days with at least one play that counts."""

    days: int = 0
    from_: str | None = None


class LocalSums(NamedTuple):
    """The plays of a local day or hour, or of several."""

    number: int  # of the day or hour
    plays: int  # those that count
    all_plays: int
    heard_ms: int
    skips: int
    open: int

    @property
    def skip_rate(self) -> float | None:
        """The share of skips among the plays that are over; None without such plays."""
        closed = self.all_plays - self.open
        return round(self.skips / closed, 6) if closed else None

    def as_day(self) -> Sums:
        """Return the plays that count, and the time, of a day."""
        return Sums("day", str(date_of(self.number)), self.plays, self.heard_ms)


NOTHING = LocalSums(0, 0, 0, 0, 0, 0)


def total(sums: Sequence[LocalSums]) -> LocalSums:
    """Return the sums of all days or hours."""
    return LocalSums(*map(sum, zip(*sums, strict=True))) if sums else NOTHING


def date_of(day: int) -> date:
    """Return the date that is `day` days after the epoch."""
    return EPOCH_DAY + timedelta(days=day)


def day_figures(days: Sequence[LocalSums], today: date) -> tuple[int, Streak, Streak, Sums | None]:
    """Return the number of days with plays that count, the streaks, and the first day with the most time."""
    counting = [day.number for day in days if day.plays]
    busiest = max(days, key=lambda day: day.heard_ms, default=None)
    return len(counting), *streaks(counting, today), busiest and busiest.as_day()


def streaks(days: Iterable[int], today: date) -> tuple[Streak, Streak]:
    """Return the first longest streak of days since the epoch, given in order, and the current one."""
    longest = current = Streak()
    previous = None
    for day in days:
        run = current.days + 1 if previous is not None and day == previous + 1 else 1
        previous, current = day, Streak(run, str(date_of(day - run + 1)))
        longest = max(longest, current, key=lambda streak: streak.days)
    # A streak that reaches yesterday is still current.
    is_over = previous is None or date_of(previous) < today - timedelta(days=1)
    return longest, Streak() if is_over else current


def sums_of(
    days: Iterable[LocalSums], wanted: Iterable[int], unit: str, name_of: Callable[[date], str]
) -> list[Sums]:
    """Sum up plays and time of wanted days since the epoch, by the name of the unit they are in."""
    plays, heard_ms = Counter[str](), Counter[str]()
    known = {day.number: day for day in days}
    for number in wanted:
        name, day = name_of(date_of(number)), known.get(number, NOTHING)
        plays[name] += day.plays
        heard_ms[name] += day.heard_ms
    return [Sums(unit, name, plays[name], heard_ms[name]) for name in plays]
