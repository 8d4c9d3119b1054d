"""The settings: read once, typed, and with the name of what is wrong.

Each setting is looked for in the environment, then among systemd's credentials, then in `.env`, then in
`auth.py`, and has a default otherwise; one that is there but blank counts as not there. The environment and
`.env` may also name a file that holds it, as NAME_FILE; a credential is a file called like the setting.
"""

from __future__ import annotations

import errno
import io
import ipaddress
import math
import os
import re
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from spotify_logger.config import auth_file
from spotify_logger.config.redis_url import URL_FORMS, parse_topology
from spotify_logger.core.redis_keys import RESERVED_NAMES, add_listener, is_listener_name, remove_listener
from spotify_logger.system import atomic_file, log, ownership
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

AUTH_FILE = "auth.py"
DOTENV_FILE = ".env"

DEFAULTS = {
    "SPOTIFY_CLIENT_ID": "",
    "SPOTIFY_CLIENT_SECRET": "",
    "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8888/callback",
    "SPOTIFY_REFRESH_TOKEN": "",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "REDIS_PREFIX": "",
    "LISTENER": "",
    "STATE_DIR": "",
    "POLL_MIN": "5",
    "POLL_MAX": "30",
    "SPOTIFY_API_URL": "https://api.spotify.com",
    "SPOTIFY_ACCOUNTS_URL": "https://accounts.spotify.com",
    "ALERT_URL": "",
    "HEARTBEAT_URL": "",
    "WEB_PASSWORD": "",
}
"""Every setting, and what it is when nobody says anything. For STATE_DIR see `_default_state_dir`."""

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.01, 3600.0
"""Seconds that POLL_MIN and POLL_MAX may be."""

SECRET_SETTINGS = frozenset(
    {
        "SPOTIFY_CLIENT_ID",
        "SPOTIFY_CLIENT_SECRET",
        "SPOTIFY_REFRESH_TOKEN",
        "REDIS_URL",
        "ALERT_URL",
        "HEARTBEAT_URL",
        "WEB_PASSWORD",
    }
)
"""The settings that are or may hold a secret, and the id that goes with one."""

_AUTH_NAMES = {name: f"SPOTIFY_{name.upper()}" for name in auth_file.NAMES}
# What is copied along with a value: blanks, quotes, byte order marks.
_PASTED_CHARACTERS = " \t\r\n\v\f\u00a0\u200b\ufeff\"'`\u201c\u201d\u2018\u2019"
_MIN_CONCEALED_LENGTH = 4


class NotConfigured(Misconfigured):
    """No client id anywhere: nobody has set this up yet."""


@dataclass(frozen=True)
class Settings:
    """What the person who runs this has decided; the README explains each.

    Attributes:
        client_id: The id of the app in Spotify's dashboard.
        client_secret: Its secret; "" for PKCE alone.
        redirect_uri: Where Spotify sends the browser after the login, as registered in the dashboard.
        refresh_token: Starts a machine without a token file; "" when unset.
        redis_url: May hold a password.
        redis_is_default: REDIS_URL is not set, so an own server may be started at its default.
        listener: Whose log it is, where several share the other settings; "" for the one without a name.
        redis_prefix: Put before every key; ends with the listener's name and a colon where there is one.
        state_dir: An absolute path; the folder is there and may be read. A listener's has that name.
        poll_min: Seconds.
        poll_max: Seconds.
        api_url: Without a slash at the end.
        accounts_url: Without a slash at the end.
        alert_url: "" when unset.
        heartbeat_url: "" when unset.
        web_password: What the page asks for; "" when unset.
    """

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    refresh_token: str = field(repr=False)
    redis_url: str = field(repr=False)
    redis_is_default: bool
    listener: str
    redis_prefix: str
    state_dir: Path
    poll_min: float
    poll_max: float
    api_url: str
    accounts_url: str
    alert_url: str = field(repr=False)
    heartbeat_url: str = field(repr=False)
    web_password: str = field(repr=False)

    @property
    def shared_prefix(self) -> str:
        """What is put before the keys that all listeners share."""
        return remove_listener(self.redis_prefix, self.listener)

    def for_listener(self, listener: str) -> Settings:
        """The same for another listener of the household.

        Args:
            listener: The name; "" for the one without a name.
        """
        household_dir = self.state_dir.parent if self.listener else self.state_dir
        return replace(
            self,
            listener=listener,
            redis_prefix=add_listener(self.shared_prefix, listener),
            state_dir=household_dir / listener if listener else household_dir,
        )


@dataclass(frozen=True)
class _Found:
    """One setting as it was found.

    Attributes:
        name: What it is called there.
        value: What it is, without what was copied along around it.
        origin: Where it was found; "" for the default.
    """

    name: str
    value: str = field(repr=False)
    origin: str

    @property
    def label(self) -> str:
        """What a person has to look at when the value is wrong."""
        return f"{self.name} in {self.origin}" if self.origin else f"{self.name} (not set)"


def load(
    directory: Path, environ: Mapping[str, str], *, need_login: bool = True, listener: str | None = None
) -> Settings:
    """Read the settings, make the state folder (0700) if it is missing and needed, and conceal the secrets.

    Args:
        directory: The folder that `.env` and `auth.py` are in.
        environ: The environment.
        need_login: False for those who never ask Spotify: they need neither client id nor state folder.
        listener: Whose log it is, whatever LISTENER says.

    Raises:
        NotConfigured: There is no client id; nothing else is wrong.
        Misconfigured: A setting is wrong; the message names it, where it comes from, and what to do.
    """
    found = _find(directory, environ, _in_dotenv_file)
    if listener is not None:
        found["LISTENER"] = _Found("LISTENER", listener, "--listener")
    name = _listener(found["LISTENER"])
    settings = Settings(
        client_id=_word(found["SPOTIFY_CLIENT_ID"]),
        client_secret=_word(found["SPOTIFY_CLIENT_SECRET"]),
        redirect_uri=_redirect_uri(found["SPOTIFY_REDIRECT_URI"]),
        refresh_token=_word(found["SPOTIFY_REFRESH_TOKEN"]),
        redis_url=_redis_url(found["REDIS_URL"]),
        redis_is_default=not found["REDIS_URL"].origin,
        listener=name,
        redis_prefix=add_listener(_plain(found["REDIS_PREFIX"]), name),
        state_dir=_state_dir(found["STATE_DIR"], name, directory, environ, make=need_login),
        poll_min=_seconds(found["POLL_MIN"]),
        poll_max=_seconds(found["POLL_MAX"]),
        api_url=_service_url(found["SPOTIFY_API_URL"]),
        accounts_url=_service_url(found["SPOTIFY_ACCOUNTS_URL"]),
        alert_url=_hook_url(found["ALERT_URL"]),
        heartbeat_url=_hook_url(found["HEARTBEAT_URL"]),
        web_password=_plain(found["WEB_PASSWORD"]),
    )
    _conceal(settings)
    if settings.poll_min > settings.poll_max:
        raise Misconfigured(
            f"{found['POLL_MIN'].label} is {settings.poll_min:g} s, which is more than the "
            f"{settings.poll_max:g} s of {found['POLL_MAX'].label}: set both, the smaller one as POLL_MIN"
        )
    if need_login and not settings.client_id:
        raise NotConfigured(
            f"SPOTIFY_CLIENT_ID is missing: {_auth_advice(directory / AUTH_FILE)}, "
            f"or set it in the environment or in {directory / DOTENV_FILE}"
        )
    return settings


def _auth_advice(path: Path) -> str:
    return f"fill in {path}" if path.exists() else f"copy auth.example.py to {path} and fill it in"


def alert_url(directory: Path, environ: Mapping[str, str]) -> str:
    """Return ALERT_URL, "" where it is not set or a setting is wrong. Needs no package.

    It is asked for when packages are missing, python-dotenv perhaps among them: of `.env`, only lines that
    are plainly NAME=value are understood here.
    """
    try:
        return _hook_url(_find(directory, environ, _plain_lines)["ALERT_URL"])
    except Misconfigured:
        return ""


def readable_by_others(directory: Path) -> list[Path]:
    """Return which of `auth.py` and `.env` other users of this machine can read."""
    paths = [directory / AUTH_FILE, directory / DOTENV_FILE]
    return [path for path in paths if path.exists() and path.stat().st_mode & 0o077]


def strip_pasted(text: str) -> str:
    """Return `text` without the blanks, line ends and quotes that were copied along with it."""
    return text.strip(_PASTED_CHARACTERS)


def is_visible_ascii(text: str) -> bool:
    """Return whether `text` can be an id, a secret or an address: printable ASCII, no blanks, not empty."""
    return re.fullmatch(r"[!-~]+", text) is not None


def _find(
    directory: Path, environ: Mapping[str, str], read_dotenv: Callable[[Path], Iterator[tuple[str, _Found]]]
) -> dict[str, _Found]:
    environment = _said((name, _Found(name, value, "the environment")) for name, value in environ.items())
    dotenv = _said(read_dotenv(directory / DOTENV_FILE))
    for name in DEFAULTS.keys() - SECRET_SETTINGS:
        if pointer := dotenv.get(f"{name}_FILE"):
            # What a file holds would be shown wherever that setting is, to whoever is asked in its name.
            raise Misconfigured(f"{pointer.label} is not for a secret: write {name}=... there instead")
    auth = _said(_in_auth_file(directory / AUTH_FILE))
    # In this order, and no further than needed: a file that is overruled need not be readable.
    return {
        name: _of(environment, name, directory, environ)
        or _credential(name, environ)
        or _of(dotenv, name, directory, environ)
        or auth.get(name)
        or _Found(name, default, "")
        for name, default in DEFAULTS.items()
    }


def _said(entries: Iterable[tuple[str, _Found]]) -> dict[str, _Found]:
    """Return what is said in one place: the last of each name that is not blank."""
    tidied = ((name, replace(found, value=strip_pasted(found.value))) for name, found in entries)
    return {name: found for name, found in tidied if found.value}


def _of(place: Mapping[str, _Found], name: str, directory: Path, environ: Mapping[str, str]) -> _Found | None:
    """Return what a place says of a setting, itself or through NAME_FILE."""
    value, pointer = place.get(name), place.get(f"{name}_FILE")
    if pointer is None:
        return value
    if value is not None:
        raise Misconfigured(f"{value.label} is set beside {pointer.label}: remove one of the two")
    try:
        path = directory / _expand(_plain(pointer), environ)
    except RuntimeError:
        raise Misconfigured(f"{pointer.label} begins with ~, and there is no home: write it out") from None
    return _in_file(name, path, pointer.label)


def _credential(name: str, environ: Mapping[str, str]) -> _Found | None:
    """Return what systemd hands over as the credential of that name (systemd.exec(5), LoadCredential=)."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not os.access(Path(folder, name), os.F_OK):
        return None
    return _in_file(name, Path(folder, name), f"the credential {name}")


def _in_file(name: str, path: Path, label: str) -> _Found | None:
    """Return the setting that a file holds and nothing else; None where that is blank.

    Args:
        name: The setting.
        path: The file, which has to be there.
        label: What a person has to look at when it is not.
    """
    try:
        text = _existing(path).decode()
    except OSError as error:
        raise Misconfigured(
            f"{label} is {log.sanitize(str(path))}, which cannot be read ({error.strerror}): "
            "correct its name, owner or mode"
        ) from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{name} in {path} is not text in UTF-8: write it again") from None
    found = _Found(name, strip_pasted(text), str(path))
    return found if _plain(found) else None


def _existing(path: Path) -> bytes:
    content = atomic_file.read(path)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return content


def _in_auth_file(path: Path) -> Iterator[tuple[str, _Found]]:
    for name, value in auth_file.parse(_read(path), str(path)).items():
        yield _AUTH_NAMES[name], _Found(name, value.text, f"{path}:{value.line}")


def _in_dotenv_file(path: Path) -> Iterator[tuple[str, _Found]]:
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not text in UTF-8: write it again") from None
    if not text:
        return
    # Not at the top: `alert_url` has to work without.
    from dotenv.parser import parse_stream  # noqa: PLC0415

    # Values are taken as they stand: a `${...}` in a password is no reference to another variable.
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        line = binding.original.line + original[: -len(original.lstrip()) or None].count("\n")
        if binding.error:
            raise Misconfigured(f"{path}:{line} is no NAME=value line: correct it, or put a # before it")
        if binding.key:
            yield binding.key, _Found(binding.key, binding.value or "", f"{path}:{line}")


def _plain_lines(path: Path) -> Iterator[tuple[str, _Found]]:
    for number, line in enumerate(_read(path).decode(errors="replace").splitlines(), 1):
        name, _, value = line.partition("=")
        name = name.strip().removeprefix("export ")
        yield name, _Found(name, value.partition(" #")[0], f"{path}:{number}")


def _read(path: Path) -> bytes:
    """Return what `.env` or `auth.py` holds, b"" where it is not there.

    Raises:
        Misconfigured: It cannot be read, or others can change it: the command is called in any folder, where
            somebody else may have put it to send secrets to a server of their own.
    """

    def inspect(status: os.stat_result) -> None:
        _refuse(path, "it", ownership.distrust_reason(path, status))

    try:
        if not os.path.lexists(path) or path.is_dir():  # some call their virtual environment .env
            return b""
        _refuse(path, "its folder", ownership.distrust_reason(path.parent, path.parent.stat()))
        return atomic_file.read(path, inspect) or b""
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}): correct its owner or mode") from None


def _refuse(path: Path, what: str, doubt: str) -> None:
    if doubt:
        raise Misconfigured(
            f"{path} is not trusted, because {what} {doubt}: correct that, or call this from another folder"
        )


def _plain(found: _Found) -> str:
    if any(unicodedata.category(character)[0] == "C" for character in found.value):
        raise Misconfigured(f"{found.label} holds a control character: copy it again, without line breaks")
    return found.value


def _word(found: _Found) -> str:
    if found.value and not is_visible_ascii(found.value):
        raise Misconfigured(
            f"{found.label} holds a blank or another character that cannot be part of it: copy it again"
        )
    return found.value


def _seconds(found: _Found) -> float:
    try:
        seconds = float(found.value)
    except ValueError:
        seconds = math.nan
    if not MIN_POLL_SECONDS <= seconds <= MAX_POLL_SECONDS:
        raise Misconfigured(
            f"{found.label} must be seconds, {MIN_POLL_SECONDS:g} to {MAX_POLL_SECONDS:g}, such as 5 or 0.5"
        )
    return seconds


def _address(found: _Found, *schemes: str) -> SplitResult:
    """Take the value apart; `port` of the result may be asked for without fear."""
    try:
        parts = urlsplit(_word(found))
        valid = parts.scheme in schemes and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        beginnings = " or ".join(f"{scheme}://" for scheme in schemes)
        raise Misconfigured(f"{found.label} must be a valid address that starts with {beginnings}")
    return parts


def _service_url(found: _Found) -> str:
    parts = _address(found, "http", "https")
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise Misconfigured(
            f"{found.label} must look like {DEFAULTS['SPOTIFY_API_URL']}, with nothing behind it"
        )
    if parts.scheme == "http" and parts.hostname != "localhost" and not is_loopback(parts.hostname):
        raise Misconfigured(
            f"{found.label} must begin with https://, unless it is on this machine: it is sent secrets"
        )
    return found.value.rstrip("/")


def _hook_url(found: _Found) -> str:
    if found.value and not _address(found, "http", "https").hostname:
        raise Misconfigured(f"{found.label} must be an address such as https://example.org/topic")
    return found.value


def _redis_url(found: _Found) -> str:
    value = _word(found)
    try:
        topology, parts = parse_topology(value), urlsplit(value)
        is_address = topology is not None or (parts.scheme in {"redis", "rediss", "unix"} and parts.port != 0)
    except ValueError:
        is_address = False  # raised outside, where the error has no context that could hold a password
    if not is_address:
        raise Misconfigured(f"{found.label} must look like {URL_FORMS}")
    if topology is not None:
        return value
    if parts.scheme == "unix" and not parts.path.strip("/"):
        raise Misconfigured(f"{found.label} must name a socket, such as unix:///run/redis/redis.sock?db=0")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d{1,5}", parts.path, re.ASCII):
        raise Misconfigured(
            f"{found.label} must end with the number of a database, as in {DEFAULTS['REDIS_URL']}"
        )
    return value


def _listener(found: _Found) -> str:
    name = found.value
    if name and not is_listener_name(name):
        raise Misconfigured(
            f"{found.label} has to be a name of up to 32 letters, digits, - and _, such as anna, and none of"
            f" these, which are taken: {', '.join(sorted(RESERVED_NAMES))}"
        )
    return name


def _redirect_uri(found: _Found) -> str:
    """Check what Spotify accepts since 2025: https, or http with a loopback address in figures.

    Source: developer.spotify.com/documentation/web-api/concepts/redirect_uri.
    """
    parts = _address(found, "http", "https")
    advice = (
        f"write {DEFAULTS['SPOTIFY_REDIRECT_URI']}, there and in the app's settings in Spotify's dashboard"
    )
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise Misconfigured(f"{found.label} is no redirect address; {advice}")
    if parts.hostname == "localhost":
        raise Misconfigured(f"{found.label} says localhost, which Spotify refuses since 2025; {advice}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Misconfigured(f"{found.label} must begin with https://, or be on this machine; {advice}")
    if parts.scheme == "http" and parts.port is None:
        raise Misconfigured(f"{found.label} has no port; {advice}")
    return found.value


def is_loopback(host: str) -> bool:
    """Return whether `host` is an address in figures that never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _state_dir(
    found: _Found, listener: str, directory: Path, environ: Mapping[str, str], *, make: bool
) -> Path:
    path = Path(found.value)
    try:
        path = directory / _expand(_plain(found), environ) if found.value else _default_state_dir(environ)
        household = path.absolute()
        path = household / listener
        if make:
            atomic_file.make_state_dir(household)
            atomic_file.make_state_dir(path)
        # One that cannot be written, as on an SD card that is dying, must not stop the logging.
        is_usable = not make or os.access(path, os.R_OK | os.X_OK)
        reason = "" if is_usable else "no permission to read it"
    except OSError as error:
        reason = str(error.strerror)
    except (ValueError, RuntimeError):  # a name that no file system takes; a user without a home
        reason = "no such place"
    if reason:
        raise Misconfigured(
            f"the state folder {log.sanitize(str(path))} cannot be used ({reason}): "
            "set STATE_DIR to one that can"
        )
    return path


def _home(environ: Mapping[str, str]) -> Path:
    # Asked for only where it matters: a user of a service may have none.
    return Path(environ.get("HOME") or Path.home())


def _expand(path: str, environ: Mapping[str, str]) -> Path:
    """Do what a shell does with "~" in front; no shell has read `.env`."""
    return _home(environ) / path[2:] if path == "~" or path.startswith("~/") else Path(path)


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    """Return systemd's StateDirectory= (the first of them, systemd.exec(5)), or the XDG state folder."""
    by_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if by_systemd:
        return Path(by_systemd)
    base = environ.get("XDG_STATE_HOME", "")
    # A relative one is to be ignored, says the XDG Base Directory Specification.
    return (Path(base) if base.startswith("/") else _home(environ) / ".local/state") / "spotify-logger"


def conceal(secret: str) -> None:
    """Keep `secret` out of the log, unless it is so short that this would riddle every line with stars."""
    if len(secret) >= _MIN_CONCEALED_LENGTH:
        log.add_secret(secret)


def _conceal(settings: Settings) -> None:
    redis = urlsplit(settings.redis_url).password or ""
    hooks = [settings.alert_url, settings.heartbeat_url]
    paths = [
        urlsplit(hook)._replace(scheme="", netloc="").geturl() for hook in hooks
    ]  # often the secret part
    secrets = (settings.client_secret, settings.refresh_token, settings.web_password, redis, unquote(redis))
    for secret in (*secrets, *hooks, *paths):
        conceal(secret)
