"""The command line: its commands and options, and the dispatch to the functions that run them.

Slow imports are local to the functions that need them, so that --help is fast on a Raspberry Pi.
"""

import argparse
import os
import re
import sys
from contextlib import closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from spotify_logger import __version__
from spotify_logger.cli.arguments import add_command, add_questions
from spotify_logger.cli.transfer_arguments import TRANSFER_COMMANDS, add_transfer_commands
from spotify_logger.config.folder import settings_folder
from spotify_logger.config.listeners import unknown_listener
from spotify_logger.config.settings import Settings, load
from spotify_logger.config.sources import SERVICE_STATE_DIR
from spotify_logger.core.times import utc_time
from spotify_logger.report.answers import Answer, to_answer, write_answer
from spotify_logger.report.progress import progress_bar
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.system.program import module_command

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

ANY_LISTENER = ("status", "now", "import", "restore", "move", "token")
"""The commands for a listener who may have no log yet."""
PAGE_DEFAULTS = {"--host": "127.0.0.1", "--port": 8877}


def run(options: argparse.Namespace) -> int:
    """Run the chosen command and return its exit code."""
    folder = settings_folder(Path.cwd(), os.environ)
    if options.command == "run":
        _run_logger(options, folder)
    if options.command == "demo":
        limit = [f"--for={options.seconds}"] if options.seconds else []
        _replace_process("spotify_logger.simulator.demo", *["--web"] * options.web, *limit)
    need_login, environ = options.command == "login", dict(os.environ)
    if options.command not in {"login", "web"} and os.access(SERVICE_STATE_DIR, os.R_OK):
        environ.setdefault("STATE_DIRECTORY", str(SERVICE_STATE_DIR))  # for root, who leaves no files there
    settings = load(folder, environ, need_login=need_login, listener=options.listener)
    if options.demo:
        settings = options.demo.settings(settings)
    if options.command == "web":
        return _serve(options, settings)
    answer = _login(settings, as_json=options.json) if need_login else _answer(options, settings)
    if answer is None:
        return 0
    write_answer(answer, sys.stdout, "json" if options.json else "csv" if options.csv else "page")
    return answer.code


def _run_logger(options: argparse.Namespace, folder: Path) -> NoReturn:
    """Become the supervisor, in the folder of the settings."""
    with suppress(OSError):  # all settings may be in the environment
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(folder)
    if options.listener is not None:
        os.environ["LISTENER"] = options.listener
    page = ["--web", *_page_arguments(options)] if options.web else []
    _replace_process("spotify_logger.supervisor", *page)


def _replace_process(module: str, *arguments: str) -> NoReturn:
    """Run a module of this package in place of this process, so that nothing of it stays in memory."""
    os.execv(sys.executable, module_command(module, *arguments))  # noqa: S606 - this project


def _page_arguments(options: argparse.Namespace) -> list[str]:
    """Return the options of the page that were given, as arguments."""
    given = {"--host": options.host, "--port": options.port}
    values = [f"{name}={value}" for name, value in given.items() if value != PAGE_DEFAULTS[name]]
    values += [f"--name={name}" for name in options.names]
    return values + ["--behind-proxy"] * options.behind_proxy + ["--no-covers"] * (not options.covers)


def _login(settings: Settings, *, as_json: bool) -> Answer:
    from spotify_logger.queries.dispatch import open_store  # noqa: PLC0415 - importing redis-py takes seconds on a Pi
    from spotify_logger.spotify import login, oauth  # noqa: PLC0415 - requests takes a second

    with closing(open_store(settings)) as store:
        owner = store.known_owner()
        # With --json, nothing but JSON goes to standard output.
        token = login.login(settings, sys.stdin, sys.stderr if as_json else sys.stdout, owner)
        if oauth.account_conflict(token, owner):  # and it was confirmed
            store.set_owner(token.account)
    return Answer({"login_valid_until": utc_time(oauth.valid_until(token))}, [])


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    """Serve the web page until the process is stopped, and return the exit code."""
    try:
        from spotify_logger.web.app import serve  # noqa: PLC0415 - an optional extra, and slow to import
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("spotify_logger"):
            raise
        raise Misconfigured(
            f"the web page needs a package that is not installed ({error.name}): "
            "pip install 'spotify-logger[web]', or '.[web]' in a clone"
        ) from None
    return serve(
        options.host,
        options.port,
        options.names,
        settings,
        covers=options.covers,
        behind_proxy=options.behind_proxy,
    )


def _answer(options: argparse.Namespace, settings: Settings) -> Answer | None:
    from spotify_logger.cli.own_redis import own_redis  # noqa: PLC0415 - starts a process, seldom
    from spotify_logger.queries import dispatch  # noqa: PLC0415 - importing redis-py takes seconds on a Pi

    # Without Redis, the status is that of the logger, and nothing is playing now.
    may_start = options.command != "now"
    is_elsewhere = options.command == "move" and options.source and options.target
    needs_none = options.command == "status" or is_elsewhere
    redis = nullcontext() if needs_none else own_redis(settings, may_start=may_start)
    with redis, closing(dispatch.open_store(settings)) as store:
        if settings.listener and options.command not in ANY_LISTENER and not store.has_log():
            raise SpotifyLoggerError(unknown_listener(settings.listener, store.listeners()))
        if options.command in TRANSFER_COMMANDS:
            from spotify_logger.cli import transfer_commands  # noqa: PLC0415 - no query needs them

            return transfer_commands.answer(options, store, settings)
        with progress_bar(sys.stderr) as show:
            result = dispatch.answer(options, store, settings, partial(show, "reading the log"))
        return to_answer(result, options.question)


def command_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
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
    what = "log what you play, until Ctrl-C; the first start asks for your Spotify app and login"
    start = add_command(commands, "run", what, json=False)
    start.add_argument("--web", action="store_true", help="also serve the web page, with the options below")
    _add_page_options(start)
    start.set_defaults(check=_check_run)
    what = "try it without a Spotify account, with a simulated listener and its own Redis server"
    demo = add_command(commands, "demo", what, json=False)
    demo.add_argument("--web", action="store_true", help="also serve the web page, with a made-up year")
    what = "stop after this many seconds"
    demo.add_argument("--for", dest="seconds", type=_seconds, metavar="SECONDS", help=what)
    what = "log in to Spotify (required every six months)"
    add_command(commands, "login", what, csv=False)
    add_questions(commands)
    add_transfer_commands(commands)
    _add_page_options(add_command(commands, "web", "serve the web page", json=False))
    topic = commands.add_parser("help", help="show this help, or the help of a command", allow_abbrev=False)
    topic.add_argument("topic", nargs="?", metavar="COMMAND", help="the command to explain")
    return parser


def _add_page_options(web: argparse.ArgumentParser) -> None:
    what = "address to listen on, 0.0.0.0 for all (default: %(default)s)"
    web.add_argument("--host", default=PAGE_DEFAULTS["--host"], metavar="ADDRESS", help=what)
    what = "port to listen on (default: %(default)s)"
    web.add_argument("--port", type=_port, default=PAGE_DEFAULTS["--port"], help=what)
    web.add_argument(
        "--name",
        action="append",
        default=[],
        dest="names",
        metavar="HOST",
        type=_host_name,
        help="another hostname by which browsers may reach this machine",
    )
    what = "always ask for a password, and trust the X-Forwarded headers of a proxy on this machine"
    web.add_argument("--behind-proxy", action="store_true", help=what)
    what = "do not load album covers from Spotify's image host"
    web.add_argument("--no-covers", dest="covers", action="store_false", help=what)


def _check_run(options: argparse.Namespace) -> None:
    if _page_arguments(options) and not options.web:
        raise ValueError("the page's options require --web")


def _host_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", text) is None:
        raise argparse.ArgumentTypeError(f"not a host name: {text!r} (try music.example)")
    return text


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if (seconds := float(text)) > 0:
            return seconds
    raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r} (try 20)")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:6]) < 65536:  # noqa: PLR2004 - the number of TCP ports
        return int(text)
    raise argparse.ArgumentTypeError(f"not a port: {text!r} (0 to 65535)")
