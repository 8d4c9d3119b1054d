"""The query commands and their options, for argparse; shared by the command line and the web page."""

from __future__ import annotations

import argparse
import re
import sys
import time
from itertools import takewhile
from typing import TYPE_CHECKING

from spotify_logger.queries import question

if TYPE_CHECKING:
    from collections.abc import Sequence

TOP_KINDS = ("tracks", "artists", "albums", "shows", "devices", "contexts")
INTERVALS = DAY, WEEK, MONTH = ("day", "week", "month")
_DASHES = re.compile(r"(-[^-]|--[^=]+)=?--")


def parse_args(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments; add the `question` to the result, and for the `day` command the `day`.

    Args:
        parser: The parser; for invalid arguments it exits with status 2, or raises.
        arguments: The arguments; by default those of the process.
    """
    _refuse_dashes(parser, sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(arguments)
    try:
        options.question = question.from_options(options, time.time())
        if "check" in options:
            options.check(options)
        if "day" in options:
            options.day = question.parse_day(options.question.zone, options.question.now, options.day)
    except ValueError as error:
        parser.error(str(error))
    return options


def _refuse_dashes(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Reject `--` as the value of an option: before Python 3.13, argparse turns it into an empty list."""
    for argument in takewhile(lambda argument: argument != "--", arguments):
        if given := _DASHES.fullmatch(argument):
            parser.error(f"argument {given[1]}: expected one argument")


def parse(
    words: Sequence[str], kind: type[argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.Namespace:
    """Parse a query command.

    Args:
        words: The command and its options.
        kind: The parser class, which decides what happens to invalid arguments.
    """
    parser = kind(prog="spotify-logger", allow_abbrev=False)
    add_questions(Subcommands(parser.add_subparsers(dest="command", required=True)))
    return parse_args(parser, words)


def add_questions(add: Subcommands) -> None:
    """Add the query commands."""
    status = add.command("status", "whether the logger is alive and well (exit code 1 if not)", csv=False)
    status.add_argument("--all", action="store_true", help="show the loggers of all listeners")
    add.command("now", "what is playing right now (exit code 1 if unknown)", csv=False)
    recent = add.command("recent", "the most recent plays")
    question.add_limit(recent, 20)
    question.add_period(recent)
    day = add.command("day", "the plays of one day, in order")
    day.add_argument(
        "day",
        metavar="2026-11-22",
        nargs="?",
        default="today",
        help="a date, today or yesterday (default: today)",
    )
    on_this_day = add.command("on-this-day", "what you played on this date in earlier years")
    for parser_of_days in (day, on_this_day):
        question.add_zone(parser_of_days)
        question.add_threshold(parser_of_days)
    count = add.command("count", "how often you played something")
    _add_text(count, "a title, artist or album, or words from them in any order (ignores case and accents)")
    top = add.command("top", "what you played most")
    top.add_argument("kind", choices=TOP_KINDS, metavar="KIND", help=", ".join(TOP_KINDS))
    for ranking in (count, top):
        question.add_ranking(ranking)
    compare = add.command("compare", "what two listeners have in common, and who heard it first", csv=False)
    compare.add_argument(
        "other", metavar="LISTENER", help="listener to compare with (- is the one without a name)"
    )
    question.add_ranking(compare)
    stats = add.command("stats", "listening statistics of a period")
    question.add_exact(stats)
    clock = add.command("clock", "heatmap of listening by weekday and hour")
    calendar = add.command("calendar", "heatmap of listening by day of a year")
    year = add.command("year", "your year in review, on one screen")
    course = add.command("course", "bar chart of listening by day, week or month")
    course.add_argument(
        "--per", choices=INTERVALS, default="month", help="one bar per day, week or month (default: month)"
    )
    question.add_year(calendar)
    question.add_year(year, "year")
    for about_a_year in (calendar, year):
        question.add_threshold(about_a_year)
    for ranked in (clock, calendar, year, course):
        question.add_by(ranked)
    for about_a_period in (count, top, compare, stats, clock, course, *_add_pages(add)):
        question.add_threshold(about_a_period)
        question.add_period(about_a_period)


def _add_pages(add: Subcommands) -> list[argparse.ArgumentParser]:
    """Add the commands about one artist, album or track."""
    pages = {noun: add.command(noun, f"everything about one {noun}") for noun in ("artist", "album", "track")}
    for noun, page in pages.items():
        page.set_defaults(kind=f"{noun}s")
        whose = "" if noun == "artist" else ", with or without the artist, or its key"
        _add_text(page, f"its name{whose} (ignores case and accents)")
        question.add_ranking(page, 5)
    return list(pages.values())


class Subcommands:
    """Adds subcommands with the options that all of them share.

    Args:
        commands: The subparsers to add to.
    """

    def __init__(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        self._commands = commands

    def command(
        self,
        name: str,
        what: str,
        *,
        json: bool = True,
        csv: bool = True,
    ) -> argparse.ArgumentParser:
        """Add a subcommand, with --json and --csv unless it does not support them."""
        parser = self._commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        if json:
            forms = parser.add_mutually_exclusive_group()
            forms.add_argument("--json", action="store_true", help="print JSON (times in UTC)")
        if json and csv:
            forms.add_argument("--csv", action="store_true", help="print CSV (times in UTC)")
        parser.set_defaults(json=False, csv=False)
        return parser


def _add_text(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("text", nargs="+", metavar="TEXT", type=question.search_text, help=what)
