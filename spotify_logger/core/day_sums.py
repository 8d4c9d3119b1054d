"""How much was played in a unit of time: sums of days and hours, streaks of days, and sessions. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from spotify_logger.core.periods import Period, Zone
from spotify_logger.core.redis_keys import EPOCH_DAY

LONGEST_MONTH = 31  # days
SESSION_PAUSE_MS = 30 * 60_000  # a listening session ends when nothing is played for this long
LONGEST_BY_MONTH = 366 * 86_400 + 3600  # in seconds: a leap year and an hour of daylight saving time
INTERVALS = DAY, WEEK, MONTH = ("day", "week", "month")


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


@dataclass(frozen=True, slots=True)
class Session:
    """A listening session."""

    from_: str
    ms: int


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
    return LocalSums(*map(sum, zip(NOTHING, *sums, strict=True)))


def date_of(day: int) -> date:
    """Return the date that is `day` days after the epoch."""
    return EPOCH_DAY + timedelta(days=day)


def day_figures(days: Sequence[LocalSums], today: date) -> dict[str, Any]:
    """Return the number of days with plays that count, the streaks, and the first day with the most time."""
    counting = [day.number for day in days if day.plays]
    busiest = max(days, key=lambda day: day.heard_ms, default=None)
    longest, current = streaks(counting, today)
    streaks_found = {"longest_streak": longest, "current_streak": current}
    return {"days": len(counting), **streaks_found, "busiest_day": busiest and busiest.as_day()}


def streaks(days: Sequence[int], today: date) -> tuple[Streak, Streak]:
    """Return the first longest streak of days since the epoch, given in order, and the current one."""
    runs = [list(run) for _, run in groupby(enumerate(days), key=lambda ranked: ranked[1] - ranked[0])]
    found = [Streak(len(run), str(date_of(run[0][1]))) for run in runs]
    longest = max(found, key=lambda streak: streak.days, default=Streak())
    # A streak that reaches yesterday is still current.
    return longest, found[-1] if days and date_of(days[-1] + 1) >= today else Streak()


def sums_of(
    days: Iterable[LocalSums], wanted: Iterable[int], unit: str, name_of: Callable[[date], str]
) -> list[Sums]:
    """Sum up plays and time of wanted days since the epoch, in order, by the name of the unit they are in."""
    known = {day.number: day for day in days}
    groups = groupby(wanted, key=lambda number: name_of(date_of(number)))
    sums = [(name, total([known.get(number, NOTHING) for number in numbers])) for name, numbers in groups]
    return [Sums(unit, name, each.plays, each.heard_ms) for name, each in sums]


def by_interval(days: Sequence[LocalSums], period: Period, zone: Zone, today: date, per: str) -> list[Sums]:
    """Return the sums of each day, week (from Monday) or month of a period, up to today."""
    if not days:
        return []
    first = date_of(days[0].number) if period.begin is None else zone.day(period.begin)
    last = today if period.end is None else min(zone.day(period.end - 1), today)
    last = max(last, date_of(days[-1].number))

    def begin(day: date) -> str:
        if per == WEEK:
            day -= timedelta(days=day.weekday())
        return str(day.replace(day=1) if per == MONTH else day)

    return sums_of(days, range((first - EPOCH_DAY).days, (last - EPOCH_DAY).days + 1), "from", begin)


def days_of(zone: Zone, period: Period) -> range:
    """Return the days since the epoch of a period that begins and ends at midnight."""
    return range(*((zone.day(second or 0) - EPOCH_DAY).days for second in (period.begin, period.end)))


def by_year_or_month(days: Sequence[LocalSums], period: Period) -> list[Sums]:
    """Return the sums of each year, or of each month in a short period, from the first play to the last."""
    begin, end = period.begin, period.end
    is_short = begin is not None and end is not None and end - begin <= LONGEST_BY_MONTH
    length = len("2026-11" if is_short else "2026")
    wanted = range(days[0].number, days[-1].number + 1)
    return sums_of(days, wanted, "period", lambda day: str(day)[:length])


def sessions(plays: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield first second and last millisecond of each session, from plays (second, milliseconds) in order."""
    begin, end_ms = 0, -SESSION_PAUSE_MS
    for second, ms_played in plays:
        if second * 1000 - end_ms >= SESSION_PAUSE_MS:
            if end_ms >= 0:
                yield begin, end_ms
            begin, end_ms = second, second * 1000
        end_ms = max(end_ms, second * 1000 + ms_played)
    if end_ms >= 0:
        yield begin, end_ms
