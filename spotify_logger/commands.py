"""What can be asked of the command, and who answers it.

Everything that takes long to import is imported by the one who needs it: on a Pi, help need not take seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger import __version__, config, moving, questions
from spotify_logger.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spotify_logger.config import Settings
    from spotify_logger.faces import Answer
    from spotify_logger.store import Store

EXAMPLES = """
examples:
  spotify-logger status || echo "look after the logger"
  spotify-logger count veridis quo
  spotify-logger top artists --year 2026 --by time
  spotify-logger recent -n 50 --json | jq -r '.[].name // empty'

Settings come from the environment, from .env and from auth.py in the folder in which it is called.
Exit codes: 0 yes, 1 not well, unknown or Redis away, 2 wrong arguments, 78 wrong settings.
"""
_DASHES = re.compile(r"(-[^-]|--[^=]+)=?--")
TOP = ("tracks", "artists", "albums", "shows", "devices", "contexts")
PERIODS = ("day", "week", "month")


def parse(
    arguments: Sequence[str] | None, kind: type[argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.Namespace:
    """Read the arguments.

    Args:
        arguments: Those of the process, unless others are given.
        kind: What reads them; it ends the process with 2 where they make no sense, unless it has another way.
    """
    parser = _parser(kind)
    _refuse_dashes(parser, sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(arguments)
    try:
        options.question = questions.read(options, time.time())
        if "check" in options:
            options.check(options)
        if "day" in options:
            options.day = questions.read_day(options.question.zone, options.question.now, options.day)
    except ValueError as error:
        parser.error(str(error))
    return options


def _refuse_dashes(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Refuse `--` as the value of an option: before Python 3.13, argparse makes an empty list of it."""
    for argument in takewhile(lambda argument: argument != "--", arguments):
        if given := _DASHES.fullmatch(argument):
            parser.error(f"argument {given[1]}: expected one argument")


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for, and return the exit code."""
    from spotify_logger.faces import show  # noqa: PLC0415 - not for --help

    if options.command == "web":
        # Nothing of it is imported but here: it is an extra, and larger than all the rest.
        from spotify_logger.serving import serve  # noqa: PLC0415

        return serve(options, _settings(options))
    if options.command == "login":
        # With --json, standard output is for the JSON alone.
        answer = _login(options, sys.stderr if options.json else sys.stdout)
        if options.json:
            show(answer, sys.stdout, "json")
        return answer.code
    told = _answered(options, _settings(options))
    if told is None:
        return 0
    show(told, sys.stdout, "json" if options.json else "csv" if options.csv else "page")
    return told.code


def _settings(options: argparse.Namespace, *, need_login: bool = False) -> Settings:
    return config.load(Path.cwd(), os.environ, need_login=need_login, listener=options.listener)


def _login(options: argparse.Namespace, screen: TextIO) -> Answer:
    # It takes a second on a Pi.
    from spotify_logger.faces import Answer, utc_time  # noqa: PLC0415
    from spotify_logger.login import login_on_terminal  # noqa: PLC0415
    from spotify_logger.oauth import valid_until  # noqa: PLC0415

    token = login_on_terminal(_settings(options, need_login=True), screen)
    return Answer({"login_valid_until": utc_time(valid_until(token))}, [])


def _answered(options: argparse.Namespace, settings: Settings) -> Answer | None:
    with closing(open_store(settings)) as store:
        answer: Answer | None = options.answer(options, store, settings)
        return answer


# Who answers


def _status(options: argparse.Namespace, store: Store, settings: Settings) -> Answer:
    from spotify_logger.answers import status  # noqa: PLC0415

    if options.all:
        return status.statuses(settings, options.question.now)
    return status.status(store, options.question.now, 2 * settings.poll_max, settings.state_dir)


def _now(options: argparse.Namespace, store: Store, settings: Settings) -> Answer:
    from spotify_logger.answers import status  # noqa: PLC0415

    return status.now_playing(store, options.question.now, 2 * settings.poll_max, settings.state_dir)


def _recent(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import timeline  # noqa: PLC0415

    return timeline.recent(store, options.question)


def _day(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import timeline  # noqa: PLC0415

    return timeline.day(store, options.question, options.day)


def _on_this_day(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import timeline  # noqa: PLC0415

    return timeline.on_this_day(store, options.question)


def _count(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import count  # noqa: PLC0415

    return count.count(store.archive(), options.question, " ".join(options.text))


def _top(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import top  # noqa: PLC0415

    return top.top(store.archive(), options.question, options.kind)


def _stats(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import summary  # noqa: PLC0415

    return summary.stats(store.archive(), options.question)


def _clock(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import heat  # noqa: PLC0415

    return heat.clock(store.archive(), options.question)


def _calendar(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import heat  # noqa: PLC0415

    return heat.calendar(store.archive(), options.question)


def _year(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import review  # noqa: PLC0415

    return review.year(store.archive(), options.question)


def _compare(options: argparse.Namespace, store: Store, settings: Settings) -> Answer:
    from spotify_logger.answers import compare  # noqa: PLC0415

    name = listener_meant(options.other, store)
    with closing(open_store(settings.of(name))) as other:
        archives = store.archive(), other.archive()
        return compare.compare(archives, (settings.listener, name), options.question)


def listener_meant(text: str, store: Store) -> str:
    """The name of the listener that a word of the command means; "-" is the one without a name.

    Raises:
        SpotifyLoggerError: Nobody is called so; the message says who there is.
    """
    name = "" if text == "-" else text
    known = store.listeners()
    if name not in known:
        there = ", ".join(each or "-" for each in known) or "nobody"
        raise SpotifyLoggerError(f"no listener called {text!r} has a log here; there is {there}")
    return name


def open_store(settings: Settings) -> Store:
    """The log of a listener."""
    from spotify_logger.store import Store  # noqa: PLC0415 - redis-py takes seconds to import on a Pi

    return Store(settings.redis_url, settings.redis_prefix, listener=settings.listener)


def _course(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import course  # noqa: PLC0415

    return course.course(store.archive(), options.question, options.per)


def _page(options: argparse.Namespace, store: Store, _: Settings) -> Answer:
    from spotify_logger.answers import pages  # noqa: PLC0415

    return pages.page(store.archive(), options.question, options.kind, " ".join(options.text))


# What can be asked


def _parser(kind: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = kind(
        prog="spotify-logger",
        description="Ask the log of what you played on Spotify.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"spotify-logger {__version__}")
    parser.add_argument(
        "--listener", metavar="NAME", help="whose log it is about, where several listeners have one"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    add = Adding(commands)
    add.command("login", None, "allow the logger to see what you play; needed every six months", csv=False)
    status = add.command("status", _status, "is the logger alive and well? exit code 1 if not", csv=False)
    status.add_argument("--all", action="store_true", help="every listener's")
    add.command("now", _now, "what is playing; exit code 1 if nobody knows", csv=False)
    recent = add.command("recent", _recent, "the newest plays")
    questions.add_number(recent, 20)
    questions.add_stretch(recent)
    day = add.command("day", _day, "a day from its first play to its last")
    day.add_argument("day", metavar="2026-11-22", nargs="?", default="today", help="or today, or yesterday")
    on_this_day = add.command("on-this-day", _on_this_day, "what was played on this day in other years")
    for parser_of_days in (day, on_this_day):
        questions.add_zone(parser_of_days)
        questions.add_least(parser_of_days)
    count = add.command("count", _count, "how often something was played")
    _add_text(count, "a title, an artist or an album, or words of them in any order; case and accents aside")
    top = add.command("top", _top, "what was played most")
    top.add_argument("kind", choices=TOP, metavar="KIND", help=", ".join(TOP))
    for ranking in (count, top):
        questions.add_ranking(ranking)
    compare = add.command(
        "compare", _compare, "what two listeners have in common, and who was first", csv=False
    )
    compare.add_argument(
        "other", metavar="LISTENER", help="whom to compare with; - for the one without a name"
    )
    questions.add_ranking(compare)
    stats = add.command("stats", _stats, "a stretch in figures")
    questions.add_exact(stats)
    clock = add.command("clock", _clock, "the hours of the week, as a picture")
    calendar = add.command("calendar", _calendar, "the days of a year, as a picture")
    year = add.command("year", _year, "a year in review, on one screen")
    course = add.command(
        "course", _course, "how listening went on, day by day, week by week or month by month"
    )
    course.add_argument(
        "--per", choices=PERIODS, default="month", help="what each line is about (default: month)"
    )
    questions.add_year(calendar)
    questions.add_year(year, "year")
    for about_a_year in (calendar, year):
        questions.add_least(about_a_year)
    for ranked in (clock, calendar, year, course):
        questions.add_by(ranked)
    for about_a_stretch in (count, top, compare, stats, clock, course, *_add_pages(add)):
        questions.add_least(about_a_stretch)
        questions.add_stretch(about_a_stretch)
    moving.add_commands(add)
    web = add.command("web", None, "serve the page, for a browser", json=False)
    web.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where others may reach it, 0.0.0.0 for all (default: %(default)s)",
    )
    web.add_argument("--port", type=_port, default=8877, help="default: %(default)s")
    web.add_argument(
        "--name",
        action="append",
        default=[],
        dest="names",
        help="a name of this machine that browsers may use",
    )
    web.add_argument(
        "--behind-proxy",
        action="store_true",
        help="always ask for a password, and believe the X-Forwarded headers of a proxy on this machine",
    )
    web.add_argument(
        "--no-covers", dest="covers", action="store_false", help="no album covers from Spotify's image host"
    )
    return parser


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:6]) < 65536:  # noqa: PLR2004 - there are so many
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port, from 0 to 65535")


def _add_pages(add: Adding) -> list[argparse.ArgumentParser]:
    """Add the commands that are about one thing."""
    pages = {
        noun: add.command(noun, _page, f"the page of one {noun}") for noun in ("artist", "album", "track")
    }
    for noun, page in pages.items():
        page.set_defaults(kind=f"{noun}s")
        whose = "" if noun == "artist" else ", with or without whose it is; or its key"
        _add_text(page, f"what it is called{whose}; case and accents aside")
        questions.add_ranking(page, 5)
    return list(pages.values())


class Adding:
    """Adds commands with what all of them have.

    Args:
        commands: Where to.
    """

    def __init__(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        self._commands = commands

    def command(
        self,
        name: str,
        answer: Callable[[argparse.Namespace, Store, Settings], Answer | None] | None,
        what: str,
        *,
        json: bool = True,
        csv: bool = True,
    ) -> argparse.ArgumentParser:
        """Add one that `answer` answers; one that has its own ways of printing answers nothing."""
        parser = self._commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        if json:
            forms = parser.add_mutually_exclusive_group()
            forms.add_argument("--json", action="store_true", help="print JSON, for programs; times are UTC")
        if json and csv:
            forms.add_argument(
                "--csv", action="store_true", help="print CSV, for spreadsheets; times are UTC"
            )
        parser.set_defaults(answer=answer, json=False, csv=False)
        return parser


def _add_text(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("text", nargs="+", metavar="TEXT", type=questions.text_to_find, help=what)
