"""The settings: read once, validated and typed; for where each comes from, see `sources`."""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeGuard
from urllib.parse import SplitResult, unquote, urlsplit

from spotify_logger.config import sources
from spotify_logger.config.sources import DEFAULTS, RawSetting, find_settings, printable
from spotify_logger.core.redis_keys import RESERVED_NAMES, add_listener, is_listener_name, remove_listener
from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.01, 3600.0  # the range of POLL_MIN and POLL_MAX
SENTINEL_PORT, REDIS_PORT = 26379, 6379  # the defaults
URL_FORMS = (
    "redis://[user:password@]host[:port][/number of the database], rediss://... for TLS, "
    "unix://[user:password@]/path[?db=database], redis+sentinel://host[:port],host,host/service[/database] "
    "or redis+cluster://host[:port],host,host; a password's / ? # @ are written %2F %3F %23 %40"
)
# In any other URL, a part of a password with special characters was taken for host, port, path or query.
_SERVER_URL = re.compile(
    r"(unix://[^/?#]*/[^?#]+|rediss?://[^/?#]*(/[0-9]{0,5})?)(\?[^=&#]+=[^&#]*(&[^=&#]+=[^&#]*)*)?"
)


class NotConfigured(Misconfigured):
    """No client ID is set: this is a fresh installation."""


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """A receiver of plays that has ListenBrainz's API."""

    number: int  # of its settings, from 1 on
    setting: str  # the name of the one with its token
    url: str = field(repr=False)  # what comes before "/1/submit-listens"
    token: str = field(repr=False)

    @property
    def host(self) -> str:
        """Its host, and port if it has one: the part of the URL that is no secret."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True)
class RedisTopology:
    """The addresses of Sentinels or cluster nodes; any one of them knows the others."""

    kind: str  # "sentinel" or "cluster"
    hosts: tuple[tuple[str, int], ...]  # host names or IP addresses, and ports
    service: str  # the name of the master as the Sentinels know it; "" for a cluster

    def __str__(self) -> str:
        if self.kind == "sentinel":
            return f"{self.service} (Sentinel)"
        return ",".join(f"{host}:{port}" for host, port in self.hosts) + " (cluster)"


@dataclass(frozen=True)
class Settings:
    """All settings, which docs/settings.md explains; texts are "" when unset, and times are in seconds."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    refresh_token: str = field(repr=False)
    redis_url: str = field(repr=False)
    redis_is_default: bool  # so the embedded server may be started
    listener: str
    redis_prefix: str  # of every key; ends with the name of the listener and a colon if there is one
    state_dir: Path  # absolute; that of a named listener ends with its name
    poll_min: float
    poll_max: float
    api_url: str
    accounts_url: str
    alert_url: str = field(repr=False)
    heartbeat_url: str = field(repr=False)
    web_password: str = field(repr=False)
    forward: tuple[ForwardTarget, ...] = ()

    def for_listener(self, listener: str) -> Self:
        """Return these settings for another listener; "" is the unnamed one."""
        prefix = add_listener(remove_listener(self.redis_prefix, self.listener), listener)
        folder = (self.state_dir.parent if self.listener else self.state_dir) / listener
        return replace(self, listener=listener, redis_prefix=prefix, state_dir=folder)


def load(
    directory: Path, environ: Mapping[str, str], *, need_login: bool = True, listener: str | None = None
) -> Settings:
    """Read the settings (Misconfigured), create the state folder (0700), and keep secrets out of the log.

    Without `need_login`, no client ID, state folder or right to read the files of settings is needed.
    """
    found = find_settings(directory, environ, is_reader=not need_login)
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
        alert_url=hook_url(found["ALERT_URL"]),
        heartbeat_url=hook_url(found["HEARTBEAT_URL"]),
        web_password=printable(found["WEB_PASSWORD"]),
        forward=tuple(_forward_targets(found)),
    )
    _conceal(settings)
    if settings.poll_min > settings.poll_max:
        raise found["POLL_MIN"].error(f"is more than {found['POLL_MAX'].label}: set both of them")
    if need_login and not settings.client_id:
        path = directory / sources.AUTH_FILE
        advice = f"fill in {path}" if path.exists() else "start the logger in a terminal, which asks for it"
        where = f"the environment or {directory / sources.DOTENV_FILE}"
        raise NotConfigured(f"SPOTIFY_CLIENT_ID is missing: {advice}, or set it in {where}")
    return settings


def is_visible_ascii(value: object) -> TypeGuard[str]:
    """Return whether `value` can be an ID, a token or a URL: visible ASCII (RFC 6750, 2.1), not empty."""
    return isinstance(value, str) and re.fullmatch(r"[!-~]+", value) is not None


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback IP address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _visible_ascii(setting: RawSetting) -> str:
    """Return the value of a setting that is an ID, a token or a URL, or empty (Misconfigured)."""
    if setting.value and not is_visible_ascii(setting.value):
        raise setting.error("contains a space or another invalid character: copy it again")
    return setting.value


def _poll_interval(setting: RawSetting) -> float:
    with suppress(ValueError):
        if MIN_POLL_SECONDS <= (seconds := float(setting.value)) <= MAX_POLL_SECONDS:
            return seconds
    raise setting.error(f"must be a number of seconds from {MIN_POLL_SECONDS:g} to {MAX_POLL_SECONDS:g}")


def _listener(setting: RawSetting) -> str:
    if setting.value and not is_listener_name(setting.value):
        reserved = ", ".join(sorted(RESERVED_NAMES))
        raise setting.error(f"must be up to 32 letters, digits, - and _, such as anna; reserved: {reserved}")
    return setting.value


def _web_url(setting: RawSetting, example: str, *, forbidden: str = "") -> SplitResult:
    """Return the parsed HTTP URL, which has a host, a valid port, and none of the `forbidden` characters."""
    with suppress(ValueError):
        parts = urlsplit(_visible_ascii(setting))
        is_web = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        if is_web and not any(character in setting.value for character in forbidden):
            return parts
    raise setting.error(f"must be a URL such as {example}")


def _service_url(setting: RawSetting) -> str:
    parts = _web_url(setting, f"{DEFAULTS[setting.name]}, with nothing after it", forbidden="@?#")
    if parts.scheme == "http" and parts.hostname != "localhost" and not is_loopback(parts.hostname or ""):
        raise setting.error("must start with https://, unless it is on this machine: secrets are sent to it")
    return setting.value.rstrip("/")


def hook_url(setting: RawSetting) -> str:
    """Return the URL of another service, if it is set."""
    if setting.value:
        _web_url(setting, "https://example.org/topic")
    return setting.value


def _forward_targets(found: Mapping[str, RawSetting]) -> Iterator[ForwardTarget]:
    """Yield the receivers that are set; Misconfigured if one is only half set."""
    for number, prefix in enumerate(sources.FORWARD_PREFIXES, start=1):
        url, token = found[f"{prefix}_URL"], found[f"{prefix}_TOKEN"]
        for missing, other in ((url, token), (token, url)):
            if other.value and not missing.value:
                raise Misconfigured(f"{missing.name} is missing: set it too, or remove {other.label}")
        if url.value:
            example = "https://api.listenbrainz.org or http://host:port/apis/listenbrainz"
            _web_url(url, example, forbidden="@?#")
            base = re.sub(r"/+(1/*(submit-listens/*)?)?$", "", url.value)
            yield ForwardTarget(number, token.name, base, _visible_ascii(token))


def parse_redis_url(url: str) -> tuple[RedisTopology | None, str]:
    """Return the Sentinels or the cluster in a URL, if any, and the URL as if the first were the only server.

    Its password is kept out of the log from now on. Raises ValueError, whose text could contain the password,
    if it has none of the `URL_FORMS`.
    """
    parts, topology = urlsplit(url), None
    for password in {parts.password or "", unquote(parts.password or "")}:
        log.add_secret(password)
    scheme, plus, kind = parts.scheme.partition("+")
    if plus:
        path = r"/([\w.-]+)(/\d{0,5})?" if kind == "sentinel" else r"()(/0?)?"
        found = re.fullmatch(path, parts.path, re.ASCII)
        is_known = scheme in {"redis", "rediss"} and kind in {"sentinel", "cluster"}
        if found is None or not is_known:
            raise ValueError(kind)
        credentials, at, netloc = parts.netloc.rpartition("@")
        hosts, default_port = netloc.split(","), SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
        topology = RedisTopology(kind, tuple(_host(host, default_port) for host in hosts), found[1])
        parts = parts._replace(scheme=scheme, netloc=f"{credentials}{at}{hosts[0]}", path=found[2] or "")
    server_url = parts.geturl() if plus else url
    if parts.port == 0 or not _SERVER_URL.fullmatch(server_url):
        raise ValueError(kind)
    return topology, server_url


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0 or text.endswith(":"):
        raise ValueError(text)
    return parts.hostname, parts.port or default_port


def is_redis_url(value: str) -> bool:
    """Return whether `value` has one of the `URL_FORMS`."""
    with suppress(ValueError):
        parse_redis_url(value)
        return True
    return False


def _redis_url(setting: RawSetting) -> str:
    if is_redis_url(value := _visible_ascii(setting)):
        return value
    raise setting.error(f"must look like {URL_FORMS}")


def _redirect_uri(setting: RawSetting) -> str:
    # The rules since 2025: developer.spotify.com/documentation/web-api/concepts/redirect_uri.
    example = f"{DEFAULTS['SPOTIFY_REDIRECT_URI']}, here and in the app's settings in Spotify's dashboard"
    parts = _web_url(setting, example, forbidden="@#")
    is_this_machine = is_loopback(parts.hostname or "") and parts.port
    if parts.hostname == "localhost" or (parts.scheme == "http" and not is_this_machine):
        raise setting.error(f"must start with https://, or http://127.0.0.1 and a port, such as {example}")
    return setting.value


def _state_dir(
    setting: RawSetting, listener: str, directory: Path, environ: Mapping[str, str], *, make: bool
) -> Path:
    path = Path(setting.value)
    try:
        # The first folder of systemd's StateDirectory= (systemd.exec(5)) comes before the XDG state folder.
        by_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        xdg = sources.xdg_folder("XDG_STATE_HOME", "~/.local/state", environ)
        given = printable(setting) or by_systemd or xdg
        shared_dir = (directory / Path(given).expanduser()).absolute()
        path = shared_dir / listener
        if make:
            atomic_file.make_state_dir(shared_dir)
            atomic_file.make_state_dir(path)
            # One that is not writable, as on a failing SD card, must not stop the logging.
            os.scandir(path).close()
    except (OSError, ValueError, RuntimeError) as error:  # also an invalid name; a user without a home folder
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        trouble = f"the state folder {log.sanitize(str(path))} cannot be used ({reason})"
        raise Misconfigured(f"{trouble}: set STATE_DIR to another one") from None
    return path


def _conceal(settings: Settings) -> None:
    hooks = (settings.alert_url, settings.heartbeat_url)
    secrets = (settings.client_secret, settings.refresh_token, settings.web_password)
    tokens = (target.token for target in settings.forward)
    paths = (urlsplit(hook)._replace(scheme="", netloc="").geturl() for hook in hooks)  # often the secret
    for secret in (*secrets, *tokens, *hooks, *paths):
        log.add_secret(secret)
