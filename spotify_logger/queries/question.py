"""What every query can be asked: the period, what counts as a play, and how to rank."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from spotify_logger.core import periods
from spotify_logger.core.periods import Period, Zone

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

MIN_LISTENED_MS = 30_000  # the default for what counts as a play: half a minute, as at Spotify
PLAYS, TIME = "plays", "time"
HALF, FINISHED = "half", "finished"
INTERVALS = DAY, WEEK, MONTH = ("day", "week", "month")
DAY_FORMS = "2026, 2026-11, 2026-11-22, 2026-11-22T18:30, today or yesterday"

_YEAR = re.compile(r"[0-9]{4}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_LENGTH = re.compile(r"([1-9][0-9]{0,3})([hdwmy])")
_SECONDS = re.compile(r"([0-9]{1,5})s?")
_FIRST_YEAR, _LAST_YEAR = 1971, 2199
"""The years that every supported platform's calendar covers."""


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


class Amount(Protocol):
    """Something that was played: how often, and for how long."""

    @property
    def plays(self) -> int: ...  # noqa: D102
    @property
    def heard_ms(self) -> int: ...  # noqa: D102


def measure(of: Amount, by: str) -> int:
    """Return the plays or the milliseconds."""
    return of.heard_ms if by == TIME else of.plays


class Parameter(NamedTuple):
    """How the text of a parameter is read; what is wrong with another text, and what to try instead."""

    read: Callable[[str], Any]
    problem: str
    example: str

    def value(self, text: str) -> Any:  # noqa: ANN401 - of any parameter
        """Return the value of a text, or raise ValueError with a message for people."""
        try:
            return self.read(text)
        except ValueError:
            raise ValueError(f"{self.problem}: {text!r} (try {self.example})") from None


def from_options(options: argparse.Namespace, now: float) -> Question:
    """Build the question from parsed options; options that contradict each other raise ValueError."""
    return _from_values(vars(options), now, "--")


def from_mapping(texts: Mapping[str, str], now: float, **defaults: object) -> Question:
    """Build the question from query parameters, and the values of others; invalid ones raise ValueError."""
    values = dict(defaults)
    for name, parameter in PARAMETERS.items():
        if text := texts.get(name, "").strip():
            try:
                values[_OPTIONS.get(name, name)] = parameter.value(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return _from_values(values, now, "")


def _from_values(values: Mapping[str, Any], now: float, sign: str) -> Question:
    zone = values.get("tz") or Zone()
    others = {name: values[name] for name in ("threshold", "by", "limit", "exact") if name in values}
    return Question(now, zone, _period(values, zone, now, sign), **others)


def _period(values: Mapping[str, Any], zone: Zone, now: float, sign: str) -> Period:
    names = ("year", "month", "last", "since", "until")
    given = {name: values[name] for name in names if values.get(name) is not None}
    if len(given) > 1 and given.keys() != {"since", "until"}:
        one, other, *_ = given
        raise ValueError(f"{sign}{one} and {sign}{other} cannot be combined: use one of them")
    match given:
        case {"year": year}:
            return periods.year(zone, year or zone.day(now).year)
        case {"month": first}:
            return periods.month(zone, first)
        case {"last": (number, unit)}:
            try:
                return periods.last(zone, now, number, unit)
            except (ValueError, OverflowError, OSError):
                raise ValueError(f"{sign}last {number}{unit} goes too far back") from None
    return _between(zone, now, given, sign) if given else Period()


def _between(zone: Zone, now: float, given: Mapping[str, str], sign: str) -> Period:
    """Return the period of --since, --until or both."""
    bounds = {}
    for name, text in given.items():
        try:
            bounds[name] = _bounds(zone, now, text)[name == "until"]
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"{sign}{name}: not a date: {text!r} (try {DAY_FORMS})") from None
    begin, end = bounds.get("since"), bounds.get("until")
    if begin is not None and end is not None and begin >= end:
        raise ValueError(f"{sign}until {given['until']} is before {sign}since {given['since']}")
    return periods.between(begin, end, " ".join(f"{name} {text}" for name, text in given.items()))


def _bounds(zone: Zone, now: float, text: str) -> tuple[int, int]:
    """Return the first second of the date in a text, and the second after its last one."""
    if _YEAR.fullmatch(text):
        found = periods.year(zone, parse_year(text))
    elif _MONTH.fullmatch(text):
        found = periods.month(zone, parse_month(text))
    elif "T" in text or " " in text:
        moment = datetime.fromisoformat(text)
        _checked(moment.year)
        second = zone.second(moment) if moment.tzinfo is None else int(moment.timestamp())
        return second, second
    else:
        found = periods.day(zone, parse_day(zone, now, text))
    return found.begin or 0, found.end or 0


# What is not valid raises ValueError


def parse_year(text: str) -> int:
    """Return the year that a text names."""
    return _checked(int(text) if _YEAR.fullmatch(text) else 0)


def parse_month(text: str) -> date:
    """Return the first day of the month that a text names."""
    _matched(_MONTH, text)
    return date(_checked(int(text[:4])), int(text[5:]), 1)


def parse_day(zone: Zone, now: float, text: str) -> date:
    """Return the local day that a text names."""
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


def _matched(form: re.Pattern[str], text: str) -> re.Match[str]:
    if match := form.fullmatch(text):
        return match
    raise ValueError(text)


def _parse_length(text: str) -> tuple[int, str]:
    match = _matched(_LENGTH, text)
    return int(match[1]), match[2]


def _parse_threshold(text: str) -> int | str:
    if text in (HALF, FINISHED):
        return text
    return int(_matched(_SECONDS, text)[1]) * 1000


def _parse_limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise ValueError(text)
    return int(text[:9])


def _parse_measure(text: str) -> str:
    if text not in (PLAYS, TIME):
        raise ValueError(text)
    return text


LENGTHS = "12h, 30d, 4w, 6m or 1y"
PARAMETERS: Mapping[str, Parameter] = {
    "since": Parameter(str.strip, "not a date", DAY_FORMS),
    "until": Parameter(str.strip, "not a date", DAY_FORMS),
    "year": Parameter(parse_year, "not a year", "2026"),
    "month": Parameter(parse_month, "not a month", "2026-11"),
    "last": Parameter(_parse_length, "not a length of time", LENGTHS),
    "min": Parameter(_parse_threshold, "not a threshold", "30s, half, finished or 0"),
    "by": Parameter(_parse_measure, "not a measure", "plays or time"),
    "n": Parameter(_parse_limit, "not a positive number", "10"),
    "tz": Parameter(Zone, "unknown time zone", "Europe/Berlin"),
}
"""The parameters of a question by their names in a URL; the command has them as options."""
_OPTIONS = {"min": "threshold", "n": "limit"}
"""The attributes of parsed options that differ from these names."""
