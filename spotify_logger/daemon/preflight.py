"""Checks settings and login before the loop starts, and asks for missing ones on a terminal.

The supervisor runs this in a process of its own, so that none of it stays in memory while the loop runs.
Without a supervisor, the loop calls `prepare`.
"""

import contextlib
import getpass
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    # Until `main` can handle Ctrl-C, it just ends the process; the imports below take a moment.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from spotify_logger.config import requirements

    requirements.check("run.py", alert=True, imports=("dotenv",))

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

from spotify_logger.config.files import parse_auth_file
from spotify_logger.config.settings import NotConfigured, Settings, is_visible_ascii, load
from spotify_logger.config.sources import AUTH_FILE, DOTENV_FILE, EXAMPLE_FILE, TOKEN_FILE, strip_pasted
from spotify_logger.storage.embedded_server import EmbeddedServer, is_listening
from spotify_logger.storage.outbox import known_log
from spotify_logger.system import atomic_file, lock_file, log
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, Misconfigured, SpotifyLoggerError
from spotify_logger.system.program import EXIT_INTERRUPTED


def main(arguments: Sequence[str]) -> int:
    """Check settings and login, and report; return 0, 78 if a person has to act first, 130 after Ctrl-C."""
    parser = ArgumentParser(prog="python -m spotify_logger.daemon.preflight")
    parser.add_argument("--report-fd", type=int, help="file descriptor to write one line of JSON to")
    report_fd = parser.parse_args(arguments).report_fd
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        settings = _settings(Path.cwd())
    except SpotifyLoggerError as error:
        log.error(str(error))
        return os.EX_CONFIG
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        return EXIT_INTERRUPTED
    if report_fd is not None:
        report = {"state_dir": str(settings.state_dir), "redis": _own_address(settings)}
        with contextlib.suppress(BrokenPipeError):  # the supervisor has been killed
            os.write(report_fd, f"{json.dumps(report)}\n".encode())
    return os.EX_OK


def prepare(settings: Settings, orphan_timeout: float, resources: contextlib.ExitStack) -> None:
    """Lock the state folder, and start a server if this logger needs its own; `resources` end both."""
    lock_fd = lock_file.acquire(settings.state_dir, "log.py", orphan_timeout)
    resources.callback(os.close, lock_fd)
    address = _own_address(settings)
    if address is None or is_listening(*address):
        return
    # It inherits the lock, so that a new loop waits for a server that briefly outlives a killed one.
    server = EmbeddedServer(settings.state_dir / "redis", *address, lock_fd)
    resources.callback(server.stop)
    try:
        server.start()
    except SpotifyLoggerError as error:
        log.warning(f"nothing is listening on {server.address}, and {error}; plays are queued until it runs")


def _own_address(settings: Settings) -> tuple[str, int] | None:
    """Return where to start a server; None where another one is configured, shared, or has the log."""
    if not settings.redis_is_default:
        return None
    address = urlsplit(settings.redis_url)
    host, port = address.hostname or "127.0.0.1", address.port or 6379
    if settings.listener:  # a shared server must not stop with the logger of one of them
        if not is_listening(host, port):
            reason = f"nothing is listening on {host}:{port}, and listeners with names share a server"
            log.warning(f"{reason}: sudo apt install redis-server. Plays are queued until it runs")
        return None
    if known_log(settings.state_dir) and not (settings.state_dir / "redis").is_dir():
        return None  # the log is in a server that is down: an empty one would take its place
    return host, port


def _settings(directory: Path) -> Settings:
    """Return the settings, once there are an app and a login; on a terminal, ask for what is missing."""
    try:
        settings = load(directory, os.environ)
    except NotConfigured:
        if not _on_terminal():
            raise
        _set_up(directory)
        settings = load(directory, os.environ)
    for path in (directory / AUTH_FILE, directory / DOTENV_FILE):
        if path.exists() and path.stat().st_mode & 0o077:
            log.warning(f"other users of this machine can read {path}: chmod 600 {path}")
    token_file = settings.state_dir / TOKEN_FILE
    if settings.refresh_token or (token_file.exists() and not _on_terminal()):
        return settings  # with a damaged token file the loop waits, as with an expired login
    if not _on_terminal():
        raise LoginNeeded(f"not logged in to Spotify yet: {LOGIN_ADVICE} in a terminal, as this user")
    from spotify_logger.spotify import login, oauth  # noqa: PLC0415 - slow, and a service does not need them

    if not oauth.TokenFile(token_file).load():
        login.login(settings, sys.stdin, sys.stdout)
    return settings


def _on_terminal() -> bool:
    return all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"cannot write {path} ({error.strerror}): check its folder") from None


def _set_up(directory: Path) -> None:
    """Ask for client ID and secret until a login with them succeeds; then save them in `auth.py`."""
    from spotify_logger.spotify import login, oauth  # noqa: PLC0415 - slow, and seldom needed

    settings = load(directory, os.environ, need_login=False)
    path = directory / AUTH_FILE
    with _writing(path):  # permissions do not show that the kernel remounted a failing disk read-only
        tempfile.TemporaryFile(dir=directory).close()
    say = partial(login.write_line, sys.stdout)
    say("Spotify Logger needs a Spotify app of your own. Create it once, in a browser:")
    say("1. Open https://developer.spotify.com/dashboard and create an app: any name, for the Web API.")
    say(f"2. Enter this redirect URI: {settings.redirect_uri}")
    say("3. Copy the client ID and client secret from its settings.")
    while True:
        values = {"client_id": _ask(say, input, "Client ID: ", needed=True)}
        if not settings.client_secret:
            values["client_secret"] = _ask(say, getpass.getpass, "Client secret (hidden; optional): ")
        given = {f"SPOTIFY_{name.upper()}": value for name, value in values.items()}
        app = load(directory, {**os.environ, **given})
        try:
            login.check_client(app)
            login.login(app, sys.stdin, sys.stdout)
        except oauth.UnknownClient as error:
            say(f"{error}. Nothing was saved. Enter them again:")
        else:
            break
    with _writing(path):
        source = atomic_file.read(path) or atomic_file.read(path.with_name(EXAMPLE_FILE)) or b""
        atomic_file.write_atomically(path, fill_auth_file(source, str(path), values))
    say(f"Saved in {path}, readable only by you.")


def fill_auth_file(source: bytes, path: str, values: Mapping[str, str]) -> str:
    """Return `auth.py` with values set: where it has "" for them, or at its end; Misconfigured if invalid."""
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text: write it again") from None
    for name, value in values.items():
        blank = re.compile(rf"^({name} *(?:: *str *)?= *)(?:\"\"|'')(?=\s*(?:#|$))", re.MULTILINE)
        text = blank.sub(r"\1" + repr(value).replace("\\", r"\\"), text)
    text += "\n" if text and not text.endswith("\n") else ""
    written = {setting.name: setting.value for setting in parse_auth_file(text.encode(), path)}
    missing = [name for name, value in values.items() if written.get(name) != value]
    return text + "".join(f"{name} = {values[name]!r}\n" for name in missing)


def _ask(say: Callable[[str], None], ask: Callable[[str], str], prompt: str, *, needed: bool = False) -> str:
    """Ask until the answer looks like an ID or a secret; it may be empty unless `needed`."""
    while True:
        try:
            answer = strip_pasted(ask(prompt))
        except EOFError:
            raise Misconfigured("SPOTIFY_CLIENT_ID is not set, and there was no answer") from None
        except UnicodeDecodeError:
            answer = " "
        if is_visible_ascii(answer) or not (answer or needed):
            return answer
        say("That does not look right: enter only letters and digits, without spaces.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
