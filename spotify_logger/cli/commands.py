"""The command line: which commands there are, and what each of them does.

What takes long to import is imported where it is needed: on a Pi, help need not take seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger import __version__
from spotify_logger.cli import transfer_commands
from spotify_logger.config.settings import load
from spotify_logger.queries import arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.config.settings import Settings
    from spotify_logger.report.blocks import Answer

EXAMPLES = """
examples:
  spotify-logger status || echo "the logger needs attention"
  spotify-logger count veridis quo
  spotify-logger top artists --year 2026 --by time
  spotify-logger recent -n 50 --json | jq -r '.[].name // empty'

Settings come from the environment, .env and auth.py in the current directory.
Exit codes: 0 yes; 1 not well, unknown or no Redis; 2 invalid arguments; 78 invalid settings.
"""


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments, those of the process unless others are given."""
    return arguments.parse_args(command_parser(), words)


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for, and return the exit code."""
    from spotify_logger.report.output import write_answer  # noqa: PLC0415 - not for --help

    if options.command == "web":
        # Nothing of it is imported but here: it is an extra, and larger than all the rest.
        from spotify_logger.cli.serve import serve  # noqa: PLC0415

        return serve(options, _settings(options))
    if options.command == "login":
        # With --json, standard output is for the JSON alone.
        answer = _login(options, sys.stderr if options.json else sys.stdout)
        if options.json:
            write_answer(answer, sys.stdout, "json")
        return answer.code
    told = _answer(options, _settings(options))
    if told is None:
        return 0
    write_answer(told, sys.stdout, "json" if options.json else "csv" if options.csv else "page")
    return told.code


def _settings(options: argparse.Namespace, *, need_login: bool = False) -> Settings:
    return load(Path.cwd(), os.environ, need_login=need_login, listener=options.listener)


def _login(options: argparse.Namespace, screen: TextIO) -> Answer:
    # It takes a second on a Pi.
    from spotify_logger.report.blocks import Answer  # noqa: PLC0415
    from spotify_logger.report.words import utc_time  # noqa: PLC0415
    from spotify_logger.spotify.login import login_on_terminal  # noqa: PLC0415
    from spotify_logger.spotify.oauth import valid_until  # noqa: PLC0415

    token = login_on_terminal(_settings(options, need_login=True), screen)
    return Answer({"login_valid_until": utc_time(valid_until(token))}, [])


def _answer(options: argparse.Namespace, settings: Settings) -> Answer | None:
    # redis-py and all the questions take seconds to import on a Pi.
    from spotify_logger.queries.dispatch import answer, open_store  # noqa: PLC0415

    with closing(open_store(settings)) as store:
        if options.command in transfer_commands.COMMANDS:
            return transfer_commands.answer(options, store)
        return answer(options, store, settings)


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="spotify-logger",
        description="Query the log of what you played on Spotify.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"spotify-logger {__version__}")
    parser.add_argument("--listener", metavar="NAME", help="whose log to use, if there are several listeners")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    add = arguments.Subcommands(commands)
    add.command("login", "let the logger see what you play (required every six months)", csv=False)
    arguments.add_questions(add)
    transfer_commands.add_commands(add)
    web = add.command("web", "serve the web page", json=False)
    web.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on, 0.0.0.0 for all (default: %(default)s)",
    )
    web.add_argument("--port", type=_port, default=8877, help="port to listen on (default: %(default)s)")
    web.add_argument(
        "--name",
        action="append",
        default=[],
        dest="names",
        type=_host_name,
        help="another hostname by which browsers may reach this machine",
    )
    web.add_argument(
        "--behind-proxy",
        action="store_true",
        help="always ask for a password, and trust the X-Forwarded headers of a proxy on this machine",
    )
    web.add_argument(
        "--no-covers",
        dest="covers",
        action="store_false",
        help="do not load album covers from Spotify's image host",
    )
    return parser


def _host_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", text) is None:
        raise argparse.ArgumentTypeError(f"not a host name: {text!r} (try music.example)")
    return text


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:6]) < 65536:  # noqa: PLR2004 - there are so many
        return int(text)
    raise argparse.ArgumentTypeError(f"not a port: {text!r} (0 to 65535)")
