"""The commands with their arguments, for argparse."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from spotify_logger import __version__
from spotify_logger.config.settings import URL_FORMS, is_redis_url, is_visible_ascii
from spotify_logger.core import day_sums, periods
from spotify_logger.core.periods import matched
from spotify_logger.queries.question import ATTRIBUTES, PARAMETERS, PERIOD, QUERIES, Parameter
from spotify_logger.queries.sql import CHOICES

EXAMPLES = """
examples:
  spotify-logger status || echo "the logger needs attention"
  spotify-logger count veridis quo
  spotify-logger top artists --year 2026 --by time
  spotify-logger recent -n 50 --json | jq -r '.[].name // empty'

Settings come from the environment, .env and auth.py in the current directory, or else in
~/.config/spotify-logger.
Exit codes: 0 success; 1 unhealthy, unknown or no Redis; 2 invalid arguments; 78 invalid settings.
"""
PAGE_DEFAULTS = {"--host": "127.0.0.1", "--port": 8877}
HIDEABLE = ("track", "artist", "show")
HOST = Parameter(lambda text: matched("[A-Za-z0-9_.-]{1,253}", text)[0], "not a host name", "music.example")
PORT = Parameter(lambda text: list(map(str, range(65536))).index(text), "not a port from 0 to 65535", "8877")
SEARCH_TEXT = Parameter(lambda text: matched(r"(?s).*\S.*", text)[0], "nothing to search for", "a title")
_OPTIONS = {  # the placeholder of the value, if there is one, and the help text, by the name of the parameter
    "since": ("DAY", f"start of the period: {periods.DAY_FORMS}"),
    "until": ("DAY", "end of the period, including all of that year, month or day"),
    "year": ("2026", "one calendar year"),
    "month": ("2026-11", "one calendar month"),
    "last": ("30d", f"the time up to now: {periods.LENGTHS}"),
    "tz": ("ZONE", "time zone, such as Europe/Berlin (default: the system's)"),
    "by": ("{plays,time}", "what to rank by (default: plays)"),
    "n": ("N", "maximum number of lines (default: %(default)s)"),
    "min": ("30s|half|finished|0", "how much has to be heard for a play to count (default: 30s)"),
    "exact": ("", "count every Spotify ID separately, even those of the same recording or album"),
}


class CommandParser(argparse.ArgumentParser):
    """The parser of the command line or of one command."""

    def add_flag(self, name: str, what: str) -> None:
        """Add an option without a value."""
        self.add_argument(name, action="store_true", help=what)

    def add_options(self, *names: str) -> None:
        """Add options that several commands share, by the names of their parameters."""
        group: argparse._ActionsContainer = self
        for name in names:
            metavar, what = _OPTIONS[name]
            if not metavar:
                self.add_flag(f"--{name}", what)
                continue
            if name == PERIOD[0]:
                group = self.add_argument_group("when", "in local time (default: all time)")
            group.add_argument(
                "-n" if name == "n" else f"--{name}",
                dest=ATTRIBUTES.get(name, name),
                type=PARAMETERS[name].value,
                default=10 if name == "n" else None,
                metavar=metavar,
                help=what,
            )

    def add_page_options(self) -> None:
        """Add the options of the page."""
        what = "address to listen on, 0.0.0.0 for all (default: %(default)s)"
        self.add_argument("--host", default=PAGE_DEFAULTS["--host"], metavar="ADDRESS", help=what)
        what = "port to listen on (default: %(default)s)"
        self.add_argument("--port", type=PORT.value, default=PAGE_DEFAULTS["--port"], help=what)
        named: dict[str, Any] = {"dest": "names", "metavar": "HOST", "type": HOST.value}
        what = "another hostname by which browsers may reach this machine"
        self.add_argument("--name", action="append", default=[], help=what, **named)
        what = "always ask for a password, and trust the X-Forwarded headers of a proxy on this machine"
        self.add_flag("--behind-proxy", what)
        what = "do not load album covers from Spotify's image host"
        self.add_argument("--no-covers", dest="covers", action="store_false", help=what)


class _Skipped:
    """Takes the place of the parser of another command than the given one: argparse is slow to make them."""

    def __getattr__(self, _: str) -> Callable[..., "_Skipped"]:
        return lambda *_, **__: self


def command_parser(only: str = "help") -> CommandParser:
    """Return the command-line parser; with the name of a command, it knows no other."""
    parser = CommandParser(
        prog="spotify-logger",
        description="Query the log of what you played on Spotify.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"spotify-logger {__version__}")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--listener", metavar="NAME", help="use the log of this listener")
    whose.add_argument("--demo", action="store_true", help="use the log of the demo that is running")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")

    def add(name: str, what: str, *, json: bool = True, csv: bool = True) -> CommandParser:
        """Add a command with its parameters, and with --json and --csv unless it does not support them."""
        if only not in (name, "help"):
            return cast("CommandParser", _Skipped())
        command = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        if json:
            forms = command.add_mutually_exclusive_group()
            forms.add_argument("--json", action="store_true", help="print JSON (times in UTC)")
            if csv:
                forms.add_argument("--csv", action="store_true", help="print CSV (times in UTC)")
        command.set_defaults(json=False, csv=False)
        if query := QUERIES.get(name):
            command.add_options(*filter(PARAMETERS.get, query.parameters))
            command.set_defaults(**query.defaults)
        return command

    what = "log what you play, until Ctrl-C; the first start asks for your Spotify app and login"
    start = add("run", what, json=False)
    start.add_flag("--web", "also serve the web page, with the options below")
    start.add_page_options()
    what = "try it without a Spotify account, with a simulated listener and its own Redis server"
    demo = add("demo", what, json=False)
    demo.add_flag("--web", "also serve the web page, with a made-up year")
    what = "stop after this many seconds"
    demo.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help=what)
    add("login", "log in to Spotify (required every six months)", csv=False)
    _add_questions(add)
    _add_imports_and_exports(add)
    _add_maintenance(add)
    add("web", "serve the web page", json=False).add_page_options()
    topic = add("help", "show this help, or the help of a command", json=False)
    topic.add_argument("topic", nargs="?", metavar="COMMAND", help="the command to explain")
    return parser if commands.choices else command_parser()


def _redis_url(text: str) -> str:
    if not text or (is_visible_ascii(text) and is_redis_url(text)):  # or the default
        return text
    raise argparse.ArgumentTypeError(f"not the address of a Redis server: it must look like {URL_FORMS}")


def _add_questions(add: Callable[..., CommandParser]) -> None:
    status = add("status", "whether the logger is alive and well (exit code 1 if not)", csv=False)
    status.add_flag("--all", "show the loggers of all listeners")
    add("now", "what is playing right now (exit code 1 if unknown)", csv=False)
    add("recent", "the most recent plays")
    day = add("day", "the plays of one day, in order")
    on_this_day = add("on-this-day", "what you played on this date in earlier years")
    what = "a date, today or yesterday (default: today)"
    for about_a_day in (day, on_this_day):
        about_a_day.add_argument("day", metavar="2026-11-22", nargs="?", default="today", help=what)
    count = add("count", "how often you played something")
    what = "a title, artist or album, or words from them in any order (ignores case and accents)"
    count.add_argument("text", nargs="+", metavar="TEXT", type=SEARCH_TEXT.value, help=what)
    top = add("top", "what you played most")
    what = f"{', '.join(CHOICES)} (default: tracks)"
    kind: dict[str, Any] = {"choices": CHOICES, "default": CHOICES[0], "metavar": "KIND", "nargs": "?"}
    # Also in the singular.
    top.add_argument(
        "kind", type=lambda text: f"{text}s" if f"{text}s" in CHOICES else text, help=what, **kind
    )
    compare = add("compare", "what two listeners have in common, and who heard it first", csv=False)
    what = "listener to compare with (- is the one without a name)"
    compare.add_argument("other", metavar="LISTENER", help=what)
    add("stats", "listening statistics of a period")
    add("clock", "heatmap of listening by weekday and hour")
    calendar = add("calendar", "heatmap of listening by day of a year")
    year = add("year", "your year in review, on one screen")
    for about_a_year in (calendar, year):
        read, what = PARAMETERS["year"].value, "the year (default: the current one)"
        about_a_year.add_argument("one_year", nargs="?", type=read, metavar="2026", help=what)
    course = add("course", "bar chart of listening by day, week or month")
    what = "one bar per day, week or month (default: month)"
    course.add_argument("--per", choices=day_sums.INTERVALS, default=day_sums.MONTH, help=what)
    for noun in ("artist", "album", "track"):
        page = add(noun, f"everything about one {noun}")
        whose = "" if noun == "artist" else ", with or without the artist"
        what = f"its name{whose}, or its key (ignores case and accents)"
        page.add_argument("text", nargs="+", metavar="TEXT", type=SEARCH_TEXT.value, help=what)


def _add_imports_and_exports(add: Callable[..., CommandParser]) -> None:
    bring = add("import", "import earlier plays from data exports", csv=False)
    bring.add_argument("paths", nargs="*", type=Path, metavar="FILE", help="files, folders or ZIP archives")
    bring.add_flag("--samples", "import what the 2019 script left in Redis")
    bring.add_flag("--private", "include private sessions")
    what = "whose plays to import, if the files belong to several users (repeatable)"
    bring.add_argument("--user", action="append", default=[], metavar="NAME", help=what)
    bring.add_flag("--restore", "include plays that you have deleted")
    bring.add_flag("--dry-run", "write nothing; only report what would be imported")
    bring.add_flag("--progress", "report progress as lines of JSON on standard error, for programs")
    export = add("export", "export the log, or one period of it", csv=False, json=False)
    forms = export.add_mutually_exclusive_group()
    for form, what in (
        ("jsonl", "one JSON record per line, with every field; `import` reads it back (default)"),
        ("json", "the same records in one JSON array"),
        ("csv", "one row per play, for spreadsheets"),
        ("listenbrainz", "listens in ListenBrainz's format"),
        ("spotify", "Spotify's extended streaming history, which statistics sites and other loggers read"),
    ):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=what)
    what = "file or .zip to write, with --spotify also a folder (default: standard output)"
    export.add_argument("--output", type=Path, metavar="FILE", help=what)
    export.add_options(*PERIOD)
    export.set_defaults(form="jsonl")
    forward = add("forward", "show or control the forwarding of plays to ListenBrainz and others", csv=False)
    what = "status: show what is waiting; check: ask the receivers whether they accept the tokens"
    what += "; backlog: send earlier plays, from --since on; retry: retry everything now"
    choices = "status", "check", "backlog", "retry"
    forward.add_argument("action", choices=choices, metavar="ACTION", help=what)
    forward.add_argument("--since", metavar="DAY", type=str.strip, help=f"for backlog: {periods.DAY_FORMS}")


def _add_maintenance(add: Callable[..., CommandParser]) -> None:
    forget = add("forget", "delete plays, after showing them and asking", csv=False)
    what = "a title, artist or album, or a key such as listening:<second>"
    forget.add_argument("text", nargs="*", metavar="TEXT", type=SEARCH_TEXT.value, help=what)
    forget.add_flag("--yes", "do not ask for confirmation")
    forget.add_options(*PERIOD)
    what = "take a track, an artist or a show out of the statistics, or list what is hidden"
    hide = add("hide", what, csv=False)
    what = f"{', '.join(HIDEABLE)} (default: list what is hidden)"
    hide.add_argument("kind", nargs="?", choices=HIDEABLE, metavar="KIND", help=what)
    hide.add_argument("text", nargs="*", metavar="NAME", type=SEARCH_TEXT.value, help="its name or key")
    hide.add_options("tz")
    undo = add("undo", "bring back what was deleted last, for a day, or show what was hidden last", csv=False)
    what = "key of a play, such as listening:1795377734, or of something hidden (default: the latest)"
    undo.add_argument(
        "key", nargs="?", type=lambda key: key if ":" in key else f"listening:{key}", metavar="KEY", help=what
    )
    check = add("check", "verify that the index, catalog and plays agree (exit code 1 if not)", csv=False)
    check.add_flag("--repair", "rebuild the index, and complete plays that have lost fields")
    check.add_flag("--yes", "do not ask before deleting what is left of lost plays")
    what = "bring back what Redis has lost, from the second copy in the state folder; may be repeated"
    restore = add("restore", what, csv=False)
    what = "files of another copy, or their folder (default: the one in the state folder)"
    restore.add_argument("paths", nargs="*", type=Path, metavar="FILE", help=what)
    restore.set_defaults(dry_run=False)
    what = "copy the logs of all listeners to another Redis; may be repeated"
    mover = add("move", f"{what} (exit code 1 if plays are missing)", csv=False)
    what = "where to (default: REDIS_URL)"
    mover.add_argument("--to", dest="target", metavar="URL", type=_redis_url, default="", help=what)
    what = "where from (default: REDIS_URL with --to, else the data of the logger's own Redis)"
    mover.add_argument("--from", dest="source", metavar="URL", type=_redis_url, default="", help=what)
    what = "copy nothing: go on with the log in REDIS_URL, although it is not the one known so far"
    mover.add_flag("--accept", what)
    token = add("token", "manage the tokens that let programs on other machines read your log", csv=False)
    what = "new: create a token and show it once; list: list all tokens; revoke: delete a token"
    token.add_argument("action", choices=("new", "list", "revoke"), metavar="ACTION", help=what)
    what = "name of the token, such as that of the program that uses it"
    token.add_argument("name", nargs="?", metavar="NAME", help=what)
    what = "for new: whose logs it can read (default: that of --listener; - is the one without a name)"
    token.add_argument("listeners", nargs="*", default=[], metavar="LISTENER", help=what)
