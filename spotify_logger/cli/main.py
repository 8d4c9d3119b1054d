"""Entry point of the `spotify-logger` command. Imports that take long on a Pi are where they are needed."""

import argparse
import atexit
import errno
import gc
import io
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

from spotify_logger.cli.commands import PAGE_DEFAULTS, command_parser
from spotify_logger.config.settings import Settings, load
from spotify_logger.config.sources import AUTH_FILE, DOTENV_FILE, EXAMPLE_FILE, SERVICE_STATE_DIR, xdg_folder
from spotify_logger.core import periods
from spotify_logger.core.times import utc_time
from spotify_logger.queries import question
from spotify_logger.report.answers import Answer, to_answer, write_answer
from spotify_logger.report.progress import progress_bar
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.system.program import EXIT_INTERRUPTED, module_command

EXIT_BROKEN_PIPE = 141  # by shell convention: 128 + SIGPIPE
ANY_LISTENER = ("status", "now", "import", "restore", "move", "token")  # may have no log yet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # Imports make many objects that stay: Python looks for garbage less often, and not again at the end.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    sys.stdout = sys.stdout or io.StringIO()  # it may be closed: `>&-`
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title may have characters that the locale cannot encode
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        code = _run(parse_args(command_parser(*words[:1]), words))
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("spotify_logger"):
            raise
        from spotify_logger.config import requirements  # noqa: PLC0415 - start-up time

        requirements.refuse("spotify-logger", [error.name], alert=False)
    except SpotifyLoggerError as error:
        problem, code = str(error), os.EX_CONFIG if isinstance(error, Misconfigured) else 1
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC}:
            raise
        # Python flushes standard output again at exit: give it a file descriptor that accepts the data.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return EXIT_BROKEN_PIPE
        problem, code = "the disk is full: the output is not complete", 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    else:
        return code
    sys.stderr.write(f"spotify-logger: {log.sanitize(problem)}\n")
    return code


def parse_args(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Parse arguments; add the `question`, and make `day` a date."""
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
        from spotify_logger.cli.own_redis import enter_demo  # noqa: PLC0415 - importing the index takes time

        options.demo = enter_demo()
    values = vars(options)
    values["year"] = values.get("one_year") or values.get("year")
    try:
        options.question = question.from_values(values, time.time(), "--")
        if "text" in options:
            options.text = " ".join(options.text)
        if problem := _contradiction(options):
            parser.error(problem)
        if "day" in options:
            options.day = periods.parse_day(options.question.zone, options.question.now, options.day)
    except (argparse.ArgumentTypeError, ValueError) as error:
        parser.error(str(error))
    return options


def _contradiction(options: argparse.Namespace) -> str:
    """Say which arguments do not go together; "" if all of them do."""
    problem = ""
    match options.command:
        case "run" if _page_arguments(options) and not options.web:
            problem = "the page's options require --web"
        case "import" if options.samples == bool(options.paths):
            problem = "import needs files, folders or ZIP archives, or --samples instead"
        case "move" if options.accept and (options.source or options.target):
            problem = "move --accept copies nothing: leave out --from and --to"
        case "forward" if (options.action == "backlog") != (options.since is not None):
            problem = "forward backlog needs --since DAY; the other actions do not take it"
        case "token" if (options.action == "list") == bool(options.name) or (
            options.action != "new" and options.listeners
        ):
            problem = "usage: token list, token revoke NAME, or token new NAME [LISTENER ...]"
        case "hide" if bool(options.kind) != bool(options.text):
            problem = f"hide {options.kind} needs a name or a key"
        case "forget" if not options.text and options.question.period == periods.Period():
            what = "a text, a key or a period such as --last 2h"
            problem = f"forget needs {what}: it does not delete the whole log"
    return problem


def _page_arguments(options: argparse.Namespace) -> list[str]:
    """Return the options of the page that were given, as arguments."""
    given = {"--host": options.host, "--port": options.port}
    values = [f"{name}={value}" for name, value in given.items() if value != PAGE_DEFAULTS[name]]
    values += [f"--name={name}" for name in options.names]
    return values + ["--behind-proxy"] * options.behind_proxy + ["--no-covers"] * (not options.covers)


def _run(options: argparse.Namespace) -> int:
    """Run the chosen command and return its exit code."""
    folder = settings_folder(Path.cwd(), os.environ)
    if options.command == "run":
        _run_logger(options, folder)
    if options.command == "demo":
        limit = [] if options.seconds is None else [f"--for={options.seconds}"]
        demo = module_command("spotify_logger.simulator.demo", *["--web"] * options.web, *limit)
        os.execv(sys.executable, demo)  # noqa: S606 - this project
    need_login, environ = options.command == "login", dict(os.environ)
    if options.command not in {"login", "web"} and os.access(SERVICE_STATE_DIR, os.R_OK):
        environ.setdefault("STATE_DIRECTORY", str(SERVICE_STATE_DIR))  # for root, who leaves no files there
    settings = load(folder, environ, need_login=need_login, listener=options.listener)
    if options.demo:
        settings = options.demo.settings(settings)
    if options.command == "web":
        try:
            from spotify_logger.web.app import serve  # noqa: PLC0415 - an optional extra, and slow to import
        except ModuleNotFoundError as error:
            problem = f"the web page needs a package that is not installed ({error.name})"
            advice = "pip install 'spotify-logger[web]', or '.[web]' in a clone"
            raise Misconfigured(f"{problem}: {advice}") from None
        return serve(options, settings)
    answer = _login(settings, as_json=options.json) if need_login else _answer(options, settings)
    write_answer(answer, sys.stdout, "json" if options.json else "csv" if options.csv else "page")
    return answer.code


def settings_folder(here: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of a user's settings: the current one if it has any, else one in the home folder."""
    with suppress(RuntimeError):  # a user without a home folder
        if not any(os.access(here / name, os.R_OK) for name in (DOTENV_FILE, AUTH_FILE, EXAMPLE_FILE)):
            return Path(xdg_folder("XDG_CONFIG_HOME", "~/.config", environ)).expanduser()
    return here


def _run_logger(options: argparse.Namespace, folder: Path) -> NoReturn:
    """Become the supervisor, in the folder of the settings; nothing of this process stays in memory."""
    with suppress(OSError):  # all settings may be in the environment
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(folder)
    if options.listener is not None:
        os.environ["LISTENER"] = options.listener
    page = ["--web", *_page_arguments(options)] if options.web else []
    os.execv(sys.executable, module_command("spotify_logger.supervisor", *page))  # noqa: S606 - the same


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


def _answer(options: argparse.Namespace, settings: Settings) -> Answer:
    from spotify_logger.queries import dispatch  # noqa: PLC0415 - importing redis-py takes seconds on a Pi

    with ExitStack() as stack:
        is_elsewhere = options.command == "move" and options.source and options.target
        # Without Redis, the status is that of the logger, and nothing is playing now.
        if settings.redis_is_default and options.command != "status" and not is_elsewhere:
            from spotify_logger.cli.own_redis import own_redis  # noqa: PLC0415 - start-up time

            stack.enter_context(own_redis(settings, may_start=options.command != "now"))
        store = stack.enter_context(closing(dispatch.open_store(settings)))
        if settings.listener and options.command not in ANY_LISTENER and not store.has_log():
            raise SpotifyLoggerError(dispatch.unknown_listener(settings.listener, store.listeners()))
        if options.command not in question.QUERIES:
            from spotify_logger.cli import transfer_commands  # noqa: PLC0415 - no query needs them

            return transfer_commands.answer(options, store, settings)
        with progress_bar(sys.stderr) as show:
            result = dispatch.answer(options, store, settings, partial(show, "reading the log"))
        return to_answer(result, options.question)
