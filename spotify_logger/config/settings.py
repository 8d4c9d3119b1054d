"""The settings: read once, validated and typed; for where each comes from, see `sources`."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from spotify_logger.config.redis_url import URL_FORMS, parse_topology
from spotify_logger.config.sources import (
    AUTH_FILE,
    DEFAULTS,
    DOTENV_FILE,
    RawSetting,
    expand_home,
    find_settings,
    home_dir,
    printable,
)
from spotify_logger.core.redis_keys import RESERVED_NAMES, add_listener, is_listener_name, remove_listener
from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.01, 3600.0
"""The range of POLL_MIN and POLL_MAX."""

_MIN_CONCEALED_LENGTH = 4  # characters; hiding shorter ones would garble every log line


class NotConfigured(Misconfigured):
    """No client ID is set: this is a fresh installation."""


@dataclass(frozen=True)
class Settings:
    """All settings; docs/settings.md explains each.

    Attributes:
        client_id: The client ID of the app in Spotify's dashboard.
        client_secret: Its client secret; "" to rely on PKCE alone.
        redirect_uri: Where Spotify sends the browser after the login, as registered in the dashboard.
        refresh_token: Used while there is no token file; "" when unset.
        redis_url: May contain a password.
        redis_is_default: REDIS_URL is not set, so the embedded server may be started at the default address.
        listener: The name of the listener, where several share the other settings; "" for the unnamed one.
        redis_prefix: The prefix of every key; ends with the name of the listener and a colon if there is one.
        state_dir: An absolute path to a readable folder; the one of a named listener ends with that name.
        poll_min: Shortest interval between polls, in seconds.
        poll_max: Longest interval between polls, in seconds.
        api_url: Without a trailing slash.
        accounts_url: Without a trailing slash.
        alert_url: "" when unset.
        heartbeat_url: "" when unset.
        web_password: The password of the page; "" when unset.
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
        """The prefix of the keys that all listeners share."""
        return remove_listener(self.redis_prefix, self.listener)

    def for_listener(self, listener: str) -> Settings:
        """Return these settings for another listener.

        Args:
            listener: The name; "" for the unnamed one.
        """
        shared_dir = self.state_dir.parent if self.listener else self.state_dir
        return replace(
            self,
            listener=listener,
            redis_prefix=add_listener(self.shared_prefix, listener),
            state_dir=shared_dir / listener if listener else shared_dir,
        )


def load(
    directory: Path, environ: Mapping[str, str], *, need_login: bool = True, listener: str | None = None
) -> Settings:
    """Read the settings, create the state folder (0700) if it is needed, and keep the secrets out of the log.

    Args:
        directory: The folder of `.env` and `auth.py`.
        environ: The environment.
        need_login: False for commands that never call Spotify: they need neither client ID nor state folder.
        listener: Overrides LISTENER.

    Raises:
        NotConfigured: There is no client ID, and nothing else is wrong.
        Misconfigured: A setting is wrong; the message names it, its source, and what to do.
    """
    found = find_settings(directory, environ, parse_dotenv=True)
    if listener is not None:
        found["LISTENER"] = RawSetting("LISTENER", listener, "--listener")
    name = _listener(found["LISTENER"])
    settings = Settings(
        client_id=_visible_ascii(found["SPOTIFY_CLIENT_ID"]),
        client_secret=_visible_ascii(found["SPOTIFY_CLIENT_SECRET"]),
        redirect_uri=_redirect_uri(found["SPOTIFY_REDIRECT_URI"]),
        refresh_token=_visible_ascii(found["SPOTIFY_REFRESH_TOKEN"]),
        redis_url=_redis_url(found["REDIS_URL"]),
        redis_is_default=not found["REDIS_URL"].origin,
        listener=name,
        redis_prefix=add_listener(printable(found["REDIS_PREFIX"]), name),
        state_dir=_state_dir(found["STATE_DIR"], name, directory, environ, make=need_login),
        poll_min=_poll_interval(found["POLL_MIN"]),
        poll_max=_poll_interval(found["POLL_MAX"]),
        api_url=_service_url(found["SPOTIFY_API_URL"]),
        accounts_url=_service_url(found["SPOTIFY_ACCOUNTS_URL"]),
        alert_url=_hook_url(found["ALERT_URL"]),
        heartbeat_url=_hook_url(found["HEARTBEAT_URL"]),
        web_password=printable(found["WEB_PASSWORD"]),
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
    """Return ALERT_URL, "" if it is not set or a setting is wrong.

    Needs the standard library only, since it is called when packages are missing, python-dotenv perhaps among
    them; so only plain NAME=value lines of `.env` are understood.
    """
    try:
        return _hook_url(find_settings(directory, environ, parse_dotenv=False)["ALERT_URL"])
    except Misconfigured:
        return ""


def is_visible_ascii(text: str) -> bool:
    """Return whether `text` can be an ID, a secret or a URL: visible ASCII without spaces, not empty."""
    return re.fullmatch(r"[!-~]+", text) is not None


def _visible_ascii(setting: RawSetting) -> str:
    if setting.value and not is_visible_ascii(setting.value):
        raise Misconfigured(f"{setting.label} contains a space or another invalid character: copy it again")
    return setting.value


def _poll_interval(setting: RawSetting) -> float:
    try:
        seconds = float(setting.value)
    except ValueError:
        seconds = math.nan
    if not MIN_POLL_SECONDS <= seconds <= MAX_POLL_SECONDS:
        raise Misconfigured(
            f"{setting.label} must be a number of seconds from {MIN_POLL_SECONDS:g} to {MAX_POLL_SECONDS:g}, "
            "such as 5 or 0.5"
        )
    return seconds


def _url(setting: RawSetting, *schemes: str) -> SplitResult:
    """Return the parsed URL, whose `port` is valid."""
    try:
        parts = urlsplit(_visible_ascii(setting))
        valid = parts.scheme in schemes and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        prefixes = " or ".join(f"{scheme}://" for scheme in schemes)
        raise Misconfigured(f"{setting.label} must be a valid URL that starts with {prefixes}")
    return parts


def _service_url(setting: RawSetting) -> str:
    parts = _url(setting, "http", "https")
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise Misconfigured(
            f"{setting.label} must look like {DEFAULTS['SPOTIFY_API_URL']}, with nothing after it"
        )
    if parts.scheme == "http" and parts.hostname != "localhost" and not is_loopback(parts.hostname):
        raise Misconfigured(
            f"{setting.label} must start with https://, unless it is on this machine: secrets are sent to it"
        )
    return setting.value.rstrip("/")


def _hook_url(setting: RawSetting) -> str:
    if setting.value and not _url(setting, "http", "https").hostname:
        raise Misconfigured(f"{setting.label} must be a URL such as https://example.org/topic")
    return setting.value


def _redis_url(setting: RawSetting) -> str:
    value = _visible_ascii(setting)
    try:
        topology, parts = parse_topology(value), urlsplit(value)
        is_valid = topology is not None or (parts.scheme in {"redis", "rediss", "unix"} and parts.port != 0)
    except ValueError:
        is_valid = False  # raised below, where the error has no context that could contain a password
    if not is_valid:
        raise Misconfigured(f"{setting.label} must look like {URL_FORMS}")
    if topology is not None:
        return value
    if parts.scheme == "unix" and not parts.path.strip("/"):
        raise Misconfigured(f"{setting.label} must name a socket, such as unix:///run/redis/redis.sock?db=0")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d{1,5}", parts.path, re.ASCII):
        raise Misconfigured(
            f"{setting.label} must end with the number of a database, as in {DEFAULTS['REDIS_URL']}"
        )
    return value


def _listener(setting: RawSetting) -> str:
    name = setting.value
    if name and not is_listener_name(name):
        raise Misconfigured(
            f"{setting.label} must be a name of up to 32 letters, digits, - and _, such as anna, except for"
            f" these reserved ones: {', '.join(sorted(RESERVED_NAMES))}"
        )
    return name


def _redirect_uri(setting: RawSetting) -> str:
    """Return the redirect URI, if Spotify accepts it: since 2025 https, or http with a loopback IP address.

    Source: developer.spotify.com/documentation/web-api/concepts/redirect_uri.
    """
    parts = _url(setting, "http", "https")
    advice = f"use {DEFAULTS['SPOTIFY_REDIRECT_URI']}, here and in the app's settings in Spotify's dashboard"
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise Misconfigured(f"{setting.label} is not a redirect URI; {advice}")
    if parts.hostname == "localhost":
        raise Misconfigured(f"{setting.label} uses localhost, which Spotify has refused since 2025; {advice}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Misconfigured(f"{setting.label} must start with https://, or be on this machine; {advice}")
    if parts.scheme == "http" and parts.port is None:
        raise Misconfigured(f"{setting.label} has no port; {advice}")
    return setting.value


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback IP address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _state_dir(
    setting: RawSetting, listener: str, directory: Path, environ: Mapping[str, str], *, make: bool
) -> Path:
    path = Path(setting.value)
    try:
        path = (
            directory / expand_home(printable(setting), environ)
            if setting.value
            else _default_state_dir(environ)
        )
        shared_dir = path.absolute()
        path = shared_dir / listener
        if make:
            atomic_file.make_state_dir(shared_dir)
            atomic_file.make_state_dir(path)
        # A folder that is not writable, as on a failing SD card, must not stop the logging.
        is_usable = not make or os.access(path, os.R_OK | os.X_OK)
        reason = "" if is_usable else "no permission to read it"
    except OSError as error:
        reason = str(error.strerror)
    except (ValueError, RuntimeError):  # an invalid name; a user without a home folder
        reason = "not a valid path"
    if reason:
        raise Misconfigured(
            f"the state folder {log.sanitize(str(path))} cannot be used ({reason}): "
            "set STATE_DIR to another one"
        )
    return path


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    """Return the first folder of systemd's StateDirectory= (systemd.exec(5)), or the XDG state folder."""
    by_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if by_systemd:
        return Path(by_systemd)
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG Base Directory Specification says to ignore a relative path.
    return (Path(base) if base.startswith("/") else home_dir(environ) / ".local/state") / "spotify-logger"


def conceal(secret: str) -> None:
    """Keep `secret` out of the log, unless it is very short."""
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
