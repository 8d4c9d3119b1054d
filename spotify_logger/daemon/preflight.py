"""Checks settings and login before the loop starts, and asks for missing ones on a terminal.

The supervisor runs this in a process of its own, so that none of it stays in memory while the loop runs.
"""

import argparse
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

    requirements.check("run.py", alert=True, imports=("dotenv", "requests"))

from collections.abc import Callable, Mapping, Sequence

from spotify_logger.config.files import parse_auth_file
from spotify_logger.config.settings import NotConfigured, Settings, is_visible_ascii, load
from spotify_logger.config.sources import AUTH_FILE, DOTENV_FILE, EXAMPLE_FILE, strip_pasted
from spotify_logger.daemon.standalone import own_address
from spotify_logger.spotify import oauth
from spotify_logger.spotify.login import Prompt, check_client, login
from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, Misconfigured, SpotifyLoggerError
from spotify_logger.system.program import EXIT_INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Check settings and login, and report to the supervisor.

    Returns:
        The exit code: 0 if the loop may start, 78 if a person has to act first, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m spotify_logger.daemon.preflight")
    parser.add_argument("--report-fd", type=int, help="file descriptor to write one line of JSON to")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        settings = _settings(Path.cwd())
        _ensure_login(settings)
    except SpotifyLoggerError as error:
        log.error(str(error))
        return os.EX_CONFIG
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        return EXIT_INTERRUPTED
    if options.report_fd is not None:
        address = own_address(settings)
        redis = None if address is None else {"host": address[0], "port": address[1]}
        report = {"state_dir": str(settings.state_dir), "redis": redis}
        with contextlib.suppress(BrokenPipeError):  # the supervisor has been killed
            os.write(options.report_fd, f"{json.dumps(report)}\n".encode())
    return os.EX_OK


def _settings(directory: Path) -> Settings:
    try:
        settings = load(directory, os.environ)
    except NotConfigured:
        if not _on_terminal():
            raise
        _set_up(directory)
        settings = load(directory, os.environ)
    for path in readable_by_others(directory):
        log.warning(f"other users of this machine can read {path}: chmod 600 {path}")
    return settings


def readable_by_others(directory: Path) -> list[Path]:
    """Return which of `auth.py` and `.env` other users of this machine can read."""
    paths = [directory / AUTH_FILE, directory / DOTENV_FILE]
    return [path for path in paths if path.exists() and path.stat().st_mode & 0o077]


def write_refusal(folder: Path) -> str:
    """Return why no file can be created in a folder, or "" if one can."""
    try:  # permissions do not show that the kernel remounted a failing disk read-only
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or "unknown error"
    return ""


def _set_up(directory: Path) -> None:
    """Ask for client ID and secret until a login with them succeeds; then save them in `auth.py`."""
    settings = load(directory, os.environ, need_login=False)
    path = directory / AUTH_FILE
    if reason := write_refusal(directory):
        raise Misconfigured(f"cannot write {path} ({reason}): check its folder")
    say = Prompt(sys.stdout).say
    say("Spotify Logger needs a Spotify app of your own. Create it once, in a browser:")
    say("1. Open https://developer.spotify.com/dashboard and create an app: any name, for the Web API.")
    say(f"2. Enter this redirect URI: {settings.redirect_uri}")
    say("3. Copy the client ID and client secret from its settings.")
    while True:
        values = {"client_id": _ask(input, "Client ID: ", needed=True)}
        if not settings.client_secret:
            values["client_secret"] = _ask(getpass.getpass, "Client secret (hidden; optional): ")
        given = {f"SPOTIFY_{name.upper()}": value for name, value in values.items()}
        app = load(directory, {**os.environ, **given})
        try:
            check_client(app)
            login(app, sys.stdin, sys.stdout)
        except oauth.UnknownClient as error:
            say(f"{error}. Nothing was saved. Enter them again:")
        else:
            break
    try:
        source = atomic_file.read(path) or atomic_file.read(path.with_name(EXAMPLE_FILE)) or b""
        atomic_file.write_atomically(path, fill_auth_file(source, str(path), values))
    except OSError as error:
        raise Misconfigured(f"cannot write {path} ({error.strerror}): check its folder") from None
    say(f"Saved in {path}, readable only by you.")


def fill_auth_file(source: bytes, path: str, values: Mapping[str, str]) -> str:
    """Return the text of `auth.py` with values set: where it has "" for them, or at its end.

    Raises:
        Misconfigured: It is invalid, or not UTF-8.
    """
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text: write it again") from None
    for name, value in values.items():
        blank = re.compile(rf"^({name} *(?:: *str *)?= *)(?:\"\"|'')(?=\s*(?:#|$))", re.MULTILINE)
        text = blank.sub(r"\1" + repr(value).replace("\\", r"\\"), text)
    text += "\n" if text and not text.endswith("\n") else ""
    written = {setting.name: setting.value for setting in parse_auth_file(text.encode(), path)}
    return text + "".join(
        f"{name} = {value!r}\n" for name, value in values.items() if written.get(name) != value
    )


def _ask(ask: Callable[[str], str], prompt: str, *, needed: bool = False) -> str:
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
        Prompt(sys.stdout).say("That does not look right: enter only letters and digits, without spaces.")


def _ensure_login(settings: Settings) -> None:
    path = settings.state_dir / oauth.TOKEN_FILE
    if oauth.TokenFile(path).load() or settings.refresh_token:
        return
    if _on_terminal():
        login(settings, sys.stdin, sys.stdout)
    elif not path.exists():  # with a damaged token file the loop waits, as with an expired login
        raise LoginNeeded(f"not logged in to Spotify yet: {LOGIN_ADVICE} in a terminal, as this user")


def _on_terminal() -> bool:
    return all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
