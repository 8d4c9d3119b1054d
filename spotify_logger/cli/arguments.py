"""The query commands and their options, for argparse."""

from __future__ import annotations

import argparse
import re
import sys
import time
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from spotify_logger.core import day_sums, periods
from spotify_logger.queries import question
from spotify_logger.queries.sql import CHOICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no public name
    ParserOrGroup = argparse._ActionsContainer  # noqa: SLF001 - the same


def parse_args(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments, by default those of the process; add the `question`, and make `day` a date."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for argument in takewhile("--".__ne__, words):
        # Before Python 3.13, argparse turns `--` as the value of an option into an empty list.
        if given := re.fullmatch(r"(-[^-]|--[^=]+)=?--", argument):
            parser.error(f"argument {given[1]}: expected one argument")
    options = parser.parse_args(words)
    if options.command == "help":
        parser.parse_args([*filter(None, [options.topic]), "--help"])
    if options.demo and options.command in ("run", "demo", "login"):
        parser.error(f"--demo cannot be combined with {options.command}")
    if options.demo:
        from spotify_logger.cli import running_demo  # noqa: PLC0415 - importing the index takes time

        options.demo = running_demo.enter()
    try:
        options.question = question.from_values(vars(options), time.time(), "--")
        if "text" in options:
            options.text = " ".join(options.text)
        if "check" in options:
            options.check(options)
        if "day" in options:
            options.day = periods.parse_day(options.question.zone, options.question.now, options.day)
    except ValueError as error:
        parser.error(str(error))
    return options


def search_text(text: str) -> str:
    """Return a search text; an empty one is an error."""
    if not text.strip():
        raise argparse.ArgumentTypeError("nothing to search for: the text is empty")
    return text


def _kind(text: str) -> str:
    """Return the kind of top list that a text names, also in the singular."""
    return f"{text}s" if f"{text}s" in CHOICES else text


class _StoreIfGiven(argparse.Action):
    """Stores the value of a positional argument that may be missing, and leaves that of an option alone."""

    def __call__(self, _: object, namespace: argparse.Namespace, value: object, *_more: object) -> None:
        if value is not None:
            setattr(namespace, self.dest, value)


# Options that several commands share

PERIOD = "period"
"""Stands for the options of the period."""
RANKED = ("by", "n", "exact")
"""The options of a ranked list."""
_OPTIONS: Mapping[str, tuple[str, str]] = {
    "since": ("DAY", f"start of the period: {periods.DAY_FORMS}"),
    "until": ("DAY", "end of the period, including all of that year, month or day"),
    "year": ("2026", "one calendar year"),
    "month": ("2026-11", "one calendar month"),
    "last": ("30d", f"the time up to now: {periods.LENGTHS}"),
    "tz": ("ZONE", "time zone, such as Europe/Berlin (default: the system's)"),
    "by": ("{plays,time}", "what to rank by (default: plays)"),
    "n": ("N", "maximum number of lines (default: %(default)s)"),
    "min": ("30s|half|finished|0", "how much has to be heard for a play to count (default: 30s)"),
}
"""The placeholder of the value, and the help text, by the name of the parameter."""
_A_YEAR: Mapping[str, Any] = {
    "type": question.PARAMETERS["year"].value,
    "default": 0,  # the current year, which depends on the time zone
    "metavar": "2026",
    "help": "the year (default: the current one)",
}


def add_options(parser: ParserOrGroup, *names: str) -> None:
    """Add options that several commands share, by the names of their parameters or as `PERIOD`."""
    for name in names:
        if name == PERIOD:
            group = parser.add_argument_group("when", "in local time (default: all time)")
            add_options(group, "since", "until", "year", "month", "last", "tz")
        elif name == "exact":
            what = "count every Spotify ID separately, even those of the same recording or album"
            parser.add_argument("--exact", action="store_true", help=what)
        else:
            metavar, what = _OPTIONS[name]
            parser.add_argument(
                "-n" if name == "n" else f"--{name}",
                dest=question.ATTRIBUTES.get(name, name),
                type=question.PARAMETERS[name].value,
                default=10 if name == "n" else None,
                metavar=metavar,
                help=what,
            )


# Commands


def add_command(
    commands: Commands, name: str, what: str, *options: str, json: bool = True, csv: bool = True
) -> argparse.ArgumentParser:
    """Add a command with shared options, and with --json and --csv unless it does not support them."""
    parser = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
    if json:
        forms = parser.add_mutually_exclusive_group()
        forms.add_argument("--json", action="store_true", help="print JSON (times in UTC)")
        if csv:
            forms.add_argument("--csv", action="store_true", help="print CSV (times in UTC)")
    parser.set_defaults(json=False, csv=False)
    add_options(parser, *options)
    return parser


def add_questions(commands: Commands) -> None:
    """Add the query commands."""
    add, about_a_period = partial(add_command, commands), ("min", PERIOD)
    ranked = (*RANKED, *about_a_period)
    status = add("status", "whether the logger is alive and well (exit code 1 if not)", csv=False)
    status.add_argument("--all", action="store_true", help="show the loggers of all listeners")
    add("now", "what is playing right now (exit code 1 if unknown)", csv=False)
    add("recent", "the most recent plays", "n", PERIOD).set_defaults(limit=20)
    day = add("day", "the plays of one day, in order", "tz", "min")
    on_this_day = add("on-this-day", "what you played on this date in earlier years", "tz", "min")
    what = "a date, today or yesterday (default: today)"
    for about_a_day in (day, on_this_day):
        about_a_day.add_argument("day", metavar="2026-11-22", nargs="?", default="today", help=what)
    count = add("count", "how often you played something", *ranked)
    _add_text(count, "a title, artist or album, or words from them in any order (ignores case and accents)")
    top = add("top", "what you played most", *ranked)
    what = f"{', '.join(CHOICES)} (default: tracks)"
    top.add_argument(
        "kind", metavar="KIND", nargs="?", type=_kind, choices=CHOICES, default=CHOICES[0], help=what
    )
    compare = add("compare", "what two listeners have in common, and who heard it first", *ranked, csv=False)
    what = "listener to compare with (- is the one without a name)"
    compare.add_argument("other", metavar="LISTENER", help=what)
    add("stats", "listening statistics of a period", "exact", *about_a_period)
    add("clock", "heatmap of listening by weekday and hour", "by", *about_a_period)
    calendar = add("calendar", "heatmap of listening by day of a year")
    calendar.add_argument("--year", **_A_YEAR)
    calendar.add_argument("year", nargs="?", **{**_A_YEAR, "default": None}, action=_StoreIfGiven)
    year = add("year", "your year in review, on one screen")
    year.add_argument("year", nargs="?", **_A_YEAR)
    for about_a_year in (calendar, year):
        add_options(about_a_year, "tz", "min", "by")
    course = add("course", "bar chart of listening by day, week or month")
    what = "one bar per day, week or month (default: month)"
    course.add_argument("--per", choices=day_sums.INTERVALS, default=day_sums.MONTH, help=what)
    add_options(course, "by", *about_a_period)
    for noun in ("artist", "album", "track"):
        page = add(noun, f"everything about one {noun}", *ranked)
        page.set_defaults(kind=f"{noun}s", limit=5)
        whose = ", or its key" if noun == "artist" else ", with or without the artist, or its key"
        _add_text(page, f"its name{whose} (ignores case and accents)")


def _add_text(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("text", nargs="+", metavar="TEXT", type=search_text, help=what)
