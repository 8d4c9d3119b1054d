"""What every query can be asked: the period, what counts as a play, and how to rank; and all queries."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from spotify_logger.core import periods
from spotify_logger.core.periods import Period, Zone, matched

MIN_LISTENED_MS = 30_000  # the default for what counts as a play: half a minute, as at Spotify
DEFAULT_THRESHOLD = ContextVar("DEFAULT_THRESHOLD", default=MIN_LISTENED_MS)  # the demo is fast
PLAYS, TIME = "plays", "time"
HALF, FINISHED = "half", "finished"


@dataclass(frozen=True, slots=True)
class Question:
    """The parameters of a query, whatever the command."""

    now: float  # seconds since the epoch
    zone: Zone = field(default_factory=Zone)  # of days and hours
    period: Period = field(default_factory=Period)  # in which plays started
    # That has to be heard for a play to count, in milliseconds; or HALF or FINISHED.
    threshold: int | str = field(default_factory=DEFAULT_THRESHOLD.get)
    by: str = PLAYS  # what to rank by: PLAYS or TIME
    limit: int = 10  # lines at most
    exact: bool = False  # whether to count every ID of a recording or album separately

    @property
    def today(self) -> date:
        """The current local day."""
        return self.zone.day(self.now)

    @property
    def column(self) -> str:
        """The column of `by` in tallies and rankings."""
        return "ms_played" if self.by == TIME else "plays"

    @property
    def rule_words(self) -> str:
        """The threshold in words: "of at least 30 s"."""
        named = {HALF: "heard at least half", FINISHED: "heard to the end", 0: "of any length"}
        return named.get(self.threshold) or f"of at least {int(self.threshold) / 1000:g} s"


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

    def value(self, text: str, sign: str = "") -> Any:  # noqa: ANN401 - of any parameter
        """Return the value of a text, or raise ArgumentTypeError with a message that begins with `sign`."""
        try:
            return self.read(text)
        except ValueError:
            raise ArgumentTypeError(f"{sign}{self.problem}: {text!r} (try {self.example})") from None


def from_mapping(texts: Mapping[str, str], now: float, **defaults: object) -> Question:
    """Build the question from query parameters, and the values of others, or raise ArgumentTypeError."""
    values = dict(defaults)
    for name, parameter in PARAMETERS.items():
        if text := texts.get(name, "").strip():
            values[ATTRIBUTES.get(name, name)] = parameter.value(text, f"{name}: ")
    return from_values(values, now)


def from_values(values: Mapping[str, Any], now: float, sign: str = "") -> Question:
    """Build the question from values, such as those of options; contradictory ones raise ArgumentTypeError.

    `sign` precedes their names in a message, as in "--year".
    """
    zone = values.get("tz") or Zone()
    names = ("threshold", "by", "limit", "exact")
    others = {name: values[name] for name in names if values.get(name) is not None}
    return Question(now, zone, _period(values, zone, now, sign), **others)


def _period(values: Mapping[str, Any], zone: Zone, now: float, sign: str) -> Period:
    names = ("year", "month", "last", "since", "until")
    given = {name: values[name] for name in names if values.get(name) is not None}
    if len(given) > 1 and given.keys() != {"since", "until"}:
        one, other, *_ = given
        raise ArgumentTypeError(f"{sign}{one} and {sign}{other} cannot be combined: use one of them")
    match given:
        case {"year": year}:
            return periods.year(zone, year or zone.day(now).year)
        case {"month": first}:
            return periods.month(zone, first)
        case {"last": (number, unit)}:
            try:
                return periods.last(zone, now, number, unit)
            except (ValueError, OverflowError, OSError):
                raise ArgumentTypeError(f"{sign}last {number}{unit} goes too far back") from None
    bounds = {}
    for name, text in given.items():
        try:
            bounds[name] = periods.bounds_of(zone, now, text)[name == "until"]
        except (ValueError, OverflowError, OSError):
            raise ArgumentTypeError(f"{sign}{name}: not a date: {text!r} (try {periods.DAY_FORMS})") from None
    begin, end = bounds.get("since"), bounds.get("until")
    if begin is not None and end is not None and begin >= end:
        raise ArgumentTypeError(f"{sign}until {given['until']} is before {sign}since {given['since']}")
    words = " ".join(f"{name} {text}" for name, text in given.items())
    return periods.between(begin, end, words) if given else Period()


def _parse_threshold(text: str) -> int | str:
    seconds = matched(rf"{HALF}|{FINISHED}|([0-9]{{1,5}})s?", text)[1]
    return int(seconds) * 1000 if seconds else text


PARAMETERS: Mapping[str, Parameter] = {
    "since": Parameter(str.strip, "not a date", periods.DAY_FORMS),
    "until": Parameter(str.strip, "not a date", periods.DAY_FORMS),
    "year": Parameter(periods.parse_year, "not a year", "2026"),
    "month": Parameter(periods.parse_month, "not a month", "2026-11"),
    "last": Parameter(periods.parse_length, "not a length of time", periods.LENGTHS),
    "min": Parameter(_parse_threshold, "not a threshold", "30s, half, finished or 0"),
    "by": Parameter(lambda text: matched(f"{PLAYS}|{TIME}", text)[0], "not a measure", "plays or time"),
    "n": Parameter(lambda text: int(matched("0*([1-9][0-9]*)", text)[1][:9]), "not a positive number", "10"),
    "exact": Parameter(lambda text: matched("true|false", text)[0] == "true", "not true or false", "true"),
    "tz": Parameter(lru_cache(Zone), "unknown time zone", "Europe/Berlin"),
}
"""The parameters of a question by their names in a URL; the command has them as options."""
ATTRIBUTES = {"min": "threshold", "n": "limit"}
"""The attributes of parsed options that differ from these names."""


class Query(NamedTuple):
    """What answers a command; the command has those of its parameters as options that are `PARAMETERS`."""

    module: str
    function: str
    parameters: Sequence[str] = ()  # in a URL
    needed: Sequence[str] = ()  # options that the function is called with, besides the question
    defaults: Mapping[str, Any] = {}  # of options

    def load(self) -> Any:  # noqa: ANN401 - a function
        """Import the function, and nothing else."""
        return getattr(import_module(f"spotify_logger.{self.module}"), self.function)


STATUS = "monitoring.status"  # the module that needs no index
PERIOD = ("since", "until", "year", "month", "last", "tz")
COUNTED = ("min", *PERIOD)
RANKED = ("by", "n", "exact", *COUNTED)
OF_A_YEAR = ("year", "tz", "min", "by"), (), {"year": 0}  # the current one, which depends on the time zone
QUERIES: Mapping[str, Query] = {
    "status": Query(STATUS, "status"),
    "now": Query(STATUS, "now_playing"),
    "recent": Query("queries.timeline", "recent", ("n", *PERIOD), defaults={"limit": 20}),
    "day": Query("queries.timeline", "day", ("day", "tz", "min"), ("day",)),
    "on-this-day": Query("queries.timeline", "on_this_day", ("day", "tz", "min"), ("day",)),
    "count": Query("queries.count", "count", ("q", *RANKED), ("text",)),
    "top": Query("queries.top", "top", RANKED, ("kind",)),
    "compare": Query("queries.compare", "compare", RANKED),
    "stats": Query("queries.summary", "stats", ("exact", *COUNTED)),
    "clock": Query("queries.charts", "clock", ("by", *COUNTED)),
    "calendar": Query("queries.charts", "calendar", *OF_A_YEAR),
    "year": Query("queries.summary", "review", *OF_A_YEAR),
    "course": Query("queries.charts", "course", ("by", *COUNTED), ("per",)),
    **{
        noun: Query("queries.item_page", "page", RANKED, ("kind", "text"), {"kind": f"{noun}s", "limit": 5})
        for noun in ("artist", "album", "track")
    },
}
"""What answers each command; the command line, the page and its API share it."""
