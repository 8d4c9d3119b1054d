"""The first start in a terminal: asks for a Spotify app, and logs in."""

import getpass
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from spotify_logger.config.files import parse_auth_file
from spotify_logger.config.settings import Settings, is_visible_ascii, load
from spotify_logger.config.sources import AUTH_FILE, EXAMPLE_FILE, TOKEN_FILE, strip_pasted
from spotify_logger.spotify import oauth
from spotify_logger.spotify.login import Prompt, check_client, login
from spotify_logger.system import atomic_file
from spotify_logger.system.errors import Misconfigured


def log_in(settings: Settings) -> None:
    """Log in, unless there is a login."""
    if not oauth.TokenFile(settings.state_dir / TOKEN_FILE).load():
        login(settings, sys.stdin, sys.stdout)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"cannot write {path} ({error.strerror}): check its folder") from None


def set_up(directory: Path) -> None:
    """Ask for client ID and secret until a login with them succeeds; then save them in `auth.py`."""
    settings = load(directory, os.environ, need_login=False)
    path = directory / AUTH_FILE
    with _writing(path):  # permissions do not show that the kernel remounted a failing disk read-only
        tempfile.TemporaryFile(dir=directory).close()
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
