"""The command `spotify-logger`: what can be asked, and what each failure looks like to a shell."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger import __version__, config, journal
from spotify_logger.errors import Misconfigured, SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.config import Settings
    from spotify_logger.faces import Answer

EXIT_INTERRUPTED = 130
EXIT_NOBODY_READS = 141
"""What a shell shows for a program that Ctrl-C ended, and for one whose reader went away (128 + SIGPIPE)."""

EXAMPLES = """
examples:
  spotify-logger status || echo "look after the logger"
  spotify-logger count veridis quo
  spotify-logger recent -n 50 --json | jq -r '.[].name // empty'

Settings come from the environment, from .env and from auth.py in the folder in which it is called.
Exit codes: 0 yes, 1 not well or Redis away, 2 wrong arguments, 78 wrong settings.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title must not fail for want of a letter in the locale
    options = _parser().parse_args(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()
    except Misconfigured as error:
        return _fail(error, os.EX_CONFIG)
    except SpotifyLoggerError as error:
        return _fail(error, 1)
    except BrokenPipeError:
        # Python flushes standard output once more when it ends; there must be something to flush it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NOBODY_READS
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _run(options: argparse.Namespace) -> int:
    from spotify_logger.faces import show  # noqa: PLC0415 - not for --help

    if options.command == "login":
        # With --json, standard output is for the JSON alone.
        answer = _login(sys.stderr if options.json else sys.stdout)
        if options.json:
            show(answer, sys.stdout, as_json=True)
        return answer.code
    answer = _answer(options, config.load(Path.cwd(), os.environ, need_login=False))
    show(answer, sys.stdout, as_json=options.json)
    return answer.code


def _login(screen: TextIO) -> Answer:
    # It takes a second on a Pi.
    from spotify_logger.faces import Answer, utc_time  # noqa: PLC0415
    from spotify_logger.login import login_on_terminal  # noqa: PLC0415
    from spotify_logger.oauth import valid_until  # noqa: PLC0415

    token = login_on_terminal(config.load(Path.cwd(), os.environ), screen)
    return Answer({"login_valid_until": utc_time(valid_until(token))}, [])


def _answer(options: argparse.Namespace, settings: Settings) -> Answer:
    # redis-py takes seconds to import on a Pi; who only wants help need not wait for it.
    from spotify_logger import answers, counting  # noqa: PLC0415
    from spotify_logger.store import Store  # noqa: PLC0415

    with closing(Store(settings.redis_url, settings.redis_prefix)) as store:
        match options.command:
            case "status":
                return answers.status(store, time.time(), 2 * settings.poll_max)
            case "now":
                return answers.now_playing(store, time.time())
            case "recent":
                return answers.recent(store, options.n)
            case _:
                return counting.count(store, " ".join(options.text))


def _fail(error: SpotifyLoggerError, code: int) -> int:
    sys.stderr.write(f"spotify-logger: {journal.clean(str(error))}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spotify-logger",
        description="Ask the log of what you played on Spotify.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"spotify-logger {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON, for programs; times are UTC")
    login = "allow the logger to see what you play; needed every six months"
    commands.add_parser("login", parents=[as_json], help=login)
    commands.add_parser("status", parents=[as_json], help="is the logger alive and well? exit code 1 if not")
    commands.add_parser("now", parents=[as_json], help="what is playing")
    recent = commands.add_parser("recent", parents=[as_json], help="the newest plays")
    recent.add_argument("-n", type=_positive, default=20, metavar="N", help="how many (default: %(default)s)")
    count = commands.add_parser("count", parents=[as_json], help="how often something was played")
    count.add_argument(
        "text",
        nargs="+",
        metavar="TEXT",
        type=_text,
        help="a title, an artist or an album, case and accents aside",
    )
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text[:9])


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("there is nothing to look for")
    return text
