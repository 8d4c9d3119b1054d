"""What every query can be asked: the period, what counts as a play, how to rank; and the options for it."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from spotify_logger.core import periods
from spotify_logger.core.periods import Period, Zone
from spotify_logger.core.statistics import MIN_LISTENED_MS

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PLAYS, TIME = "plays", "time"
HALF, FINISHED = "half", "finished"
DAY_FORMS = "2026, 2026-11, 2026-11-22, 2026-11-22T18:30, today or yesterday"

_LAST = re.compile(r"([1-9][0-9]{0,3})([hdwmy])")
_LEAST = re.compile(r"([0-9]{1,5})s?")
_YEAR = re.compile(r"[0-9]{4}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_FIRST_YEAR, _LAST_YEAR = 1971, 2199
"""The years that every supported platform's calendar covers."""
_THIS_YEAR = 0
"""Stands for the current year, which depends on the time zone."""


@dataclass(frozen=True, slots=True)
class Question:
    """The parameters of a query, whatever the command.

    Attributes:
        now: Seconds since the epoch.
        zone: The time zone of days and hours.
        period: The period in which plays started.
        threshold: How much has to be heard for a play to count: milliseconds, "half" or "finished".
        by: What to rank by: "plays" or "time".
        limit: Maximum number of lines.
        exact: Whether to count every ID of a recording or album separately.
    """

    now: float
    zone: Zone = field(default_factory=Zone)
    period: Period = field(default_factory=Period)
    threshold: int | str = MIN_LISTENED_MS
    by: str = PLAYS
    limit: int = 10
    exact: bool = False

    @property
    def today(self) -> date:
        """The current local day."""
        return self.zone.day(self.now)

    @property
    def rule_words(self) -> str:
        """The threshold in words: "of at least 30 s"."""
        if self.threshold == HALF:
            return "heard at least half"
        if self.threshold == FINISHED:
            return "heard to the end"
        return f"of at least {int(self.threshold) // 1000} s" if self.threshold else "of any length"


def add_period(parser: argparse.ArgumentParser) -> None:
    """Add the options for the period."""
    group = parser.add_argument_group("when", "in local time; without any of these, all time")
    group.add_argument("--since", metavar="DAY", type=_text, help=f"start of the period: {DAY_FORMS}")
    group.add_argument(
        "--until",
        metavar="DAY",
        type=_text,
        help="end of the period, including all of that year, month or day",
    )
    group.add_argument("--year", type=_year, metavar="2026", help="one calendar year")
    group.add_argument("--month", type=_month, metavar="2026-11", help="one calendar month")
    group.add_argument("--last", type=_last, metavar="30d", help="the time up to now: 12h, 30d, 4w, 6m or 1y")
    add_zone(group)


def add_zone(parser: argparse._ActionsContainer) -> None:
    """Add the --tz option."""
    parser.add_argument(
        "--tz", type=_zone, metavar="ZONE", help="time zone, such as Europe/Berlin (default: the system's)"
    )


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add the --min option."""
    parser.add_argument(
        "--min",
        dest="threshold",
        type=_threshold,
        default=MIN_LISTENED_MS,
        metavar="30s|half|finished|0",
        help="how much has to be heard for a play to count (default: 30s)",
    )


def add_year(parser: argparse.ArgumentParser, name: str = "--year") -> None:
    """Add the year, as an option or a positional argument; the default is the current year."""
    nargs = None if name.startswith("-") else "?"
    words = "the year (default: the current one)"
    parser.add_argument(name, type=_year, nargs=nargs, default=_THIS_YEAR, metavar="2026", help=words)
    add_zone(parser)


def add_ranking(parser: argparse.ArgumentParser, number: int = 10) -> None:
    """Add the options of a ranked list."""
    add_by(parser)
    add_limit(parser, number)
    add_exact(parser)


def add_by(parser: argparse.ArgumentParser) -> None:
    """Add the --by option."""
    parser.add_argument("--by", choices=(PLAYS, TIME), default=PLAYS, help="what to rank by (default: plays)")


def add_limit(parser: argparse.ArgumentParser, number: int) -> None:
    """Add the -n option."""
    words = "maximum number of lines (default: %(default)s)"
    parser.add_argument("-n", type=positive_int, default=number, metavar="N", help=words)


def add_exact(parser: argparse.ArgumentParser) -> None:
    """Add the --exact option."""
    parser.add_argument(
        "--exact",
        action="store_true",
        help="count every Spotify ID separately, even of the same recording or album",
    )


def from_options(options: argparse.Namespace, now: float) -> Question:
    """Build the question from parsed options.

    Raises:
        ValueError: The options contradict each other; the message says how.
    """
    values = vars(options)
    zone = values.get("tz") or Zone()
    return Question(
        now,
        zone,
        _period(values, zone, now),
        values.get("threshold", MIN_LISTENED_MS),
        values.get("by", PLAYS),
        values.get("n", 10),
        values.get("exact", False),
    )


def _period(values: dict[str, object], zone: Zone, now: float) -> Period:
    given = [name for name in ("year", "month", "last") if values.get(name) is not None]
    bounds = [name for name in ("since", "until") if values.get(name) is not None]
    if len(given) > 1 or (given and bounds):
        one, other = (given + bounds)[:2]
        raise ValueError(f"--{one} and --{other} cannot be combined: use one of them")
    if values.get("year") is not None:
        return periods.year(zone, int(str(values["year"])) or zone.day(now).year)
    if isinstance(first := values.get("month"), date):
        return periods.month(zone, first)
    if isinstance(last := values.get("last"), tuple):
        return _back(zone, now, *last)
    return _between(
        zone, now, *(str(values[name]) if name in bounds else None for name in ("since", "until"))
    )


def _back(zone: Zone, now: float, number: int, unit: str) -> Period:
    try:
        return periods.last(zone, now, number, unit)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"--last {number}{unit} goes too far back") from None


def _between(zone: Zone, now: float, since: str | None, until: str | None) -> Period:
    if since is None and until is None:
        return Period()
    begin = None if since is None else _bounds(zone, now, since, "--since")[0]
    end = None if until is None else _bounds(zone, now, until, "--until")[1]
    if begin is not None and end is not None and begin >= end:
        raise ValueError(f"--until {until} is before --since {since}")
    words = " ".join(f"{name} {text}" for name, text in (("since", since), ("until", until)) if text)
    return periods.between(begin, end, words)


def _bounds(zone: Zone, now: float, text: str, option: str) -> tuple[int, int]:
    """Return the first second of the date in a text, and the second after its last one."""
    try:
        return _seconds(zone, now, text)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{option}: not a date: {text!r} (try {DAY_FORMS})") from None


def _seconds(zone: Zone, now: float, text: str) -> tuple[int, int]:
    if _YEAR.fullmatch(text):
        found = periods.year(zone, _checked(int(text)))
    elif _MONTH.fullmatch(text):
        found = periods.month(zone, _first_of(text))
    elif "T" in text or " " in text:
        moment = datetime.fromisoformat(text)
        _checked(moment.year)
        second = zone.second(moment) if moment.tzinfo is None else int(moment.timestamp())
        return second, second
    else:
        found = periods.day(zone, parse_day(zone, now, text))
    return found.begin or 0, found.end or 0


def parse_day(zone: Zone, now: float, text: str) -> date:
    """Return the local day that a text names.

    Raises:
        ValueError: The text is not a day.
    """
    days_ago = {"today": 0, "yesterday": 1}.get(text)
    try:
        day = date.fromisoformat(text) if days_ago is None else zone.day(now) - timedelta(days=days_ago)
        _checked(day.year)
    except ValueError:
        raise ValueError(f"{text!r} is not a day (try 2026-11-22, today or yesterday)") from None
    return day


def _checked(year: int) -> int:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ValueError(year)
    return year


def _first_of(month: str) -> date:
    first = date.fromisoformat(f"{month}-01")
    _checked(first.year)
    return first


# Converters for argparse, which puts the name of the option before the message


def positive_int(text: str) -> int:
    """Convert a text to a positive integer."""
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError(f"not a positive number: {text!r}")
    return int(text[:9])


def search_text(text: str) -> str:
    """Return a search text; an empty one is an error."""
    if not text.strip():
        raise argparse.ArgumentTypeError("nothing to search for: the text is empty")
    return text


def _text(text: str) -> str:
    return text.strip()


def _year(text: str) -> int:
    return _read(lambda: _checked(int(text)), _YEAR.fullmatch(text), text, "year", "2026")


def _month(text: str) -> date:
    return _read(lambda: _first_of(text), _MONTH.fullmatch(text), text, "month", "2026-11")


def _last(text: str) -> tuple[int, str]:
    match = _LAST.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"not a length of time: {text!r} (try 12h, 30d, 4w, 6m or 1y)")
    return int(match[1]), match[2]


def _threshold(text: str) -> int | str:
    if text in (HALF, FINISHED):
        return text
    match = _LEAST.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"not a threshold: {text!r} (try 30s, half, finished or 0)")
    return int(match[1]) * 1000


def _zone(text: str) -> Zone:
    try:
        return Zone(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"unknown time zone: {text!r} (try Europe/Berlin)") from None


def _read(value: Callable[[], T], matches: object, text: str, noun: str, example: str) -> T:
    try:
        if matches:
            return value()
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"not a {noun}: {text!r} (try {example})")
