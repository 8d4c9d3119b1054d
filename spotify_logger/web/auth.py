"""Who may open the page: known hosts, the page's own forms, and who signed in with the password."""

import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.system.state import from_json, to_json
from spotify_logger.web.templating import TOKEN_PATHS, problem

Seconds = Callable[[], float]

FILENAME = "web.json"  # in STATE_DIR
GROUPS, GROUP_BYTES = 4, 3  # of a generated password, which has 96 random bits
SESSION_LIFETIME = 90 * 86_400  # seconds after which a browser has to sign in again
MAX_SESSIONS = 100  # beyond this number, the oldest session ends
WINDOW = 60.0  # seconds for which a wrong password counts
MAX_FAILURES = 5  # wrong passwords from one address in `WINDOW`
MAX_REMEMBERED = 2000  # addresses with wrong passwords; the one seen longest ago goes first
SESSION_COOKIE = "spotify_logger"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
SERVICE_WORKER, OFFLINE = "/service-worker.js", "/offline"
# Need no password: they reveal nothing of the log, or `Api` says who may read it.
PUBLIC_PATHS = ("/static/", SERVICE_WORKER, OFFLINE, SIGN_IN, SIGN_OUT, "/healthz", *TOKEN_PATHS)
LOCAL_SUFFIXES = ("local", "lan", "home", "home.arpa", "internal")  # nobody can register these domains
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {}; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": under it browsers send "Origin: null" with the page's own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
FORWARDED_HEADERS = ("forwarded", "via", "x-real-ip", "x-forwarded-")  # the beginnings of what proxies add


@dataclass
class Secrets:
    """What the file holds; `sessions` are the end of each, in seconds since the epoch, by its digest."""

    password: str = ""  # for when WEB_PASSWORD is not set
    sessions: dict[str, int] = field(default_factory=dict)  # missing in files of version 0.5.0


class PasswordAuth:
    """Signs browsers in and out, with a password, or with one that is generated once if that is empty.

    The file in `folder` holds a digest of each session's token, never the token itself. Its key is the
    password: a new one ends all sessions. Several processes may share the file, so every request looks at it.
    Misconfigured if it cannot be read or written.
    """

    def __init__(
        self, folder: Path, password: str, now: Seconds = time.time, monotonic: Seconds = time.monotonic
    ) -> None:
        self.path = folder / FILENAME
        self._version: tuple[int, ...] = ()
        self._now = now
        self.throttle = Throttle(monotonic)
        try:
            atomic_file.make_state_dir(folder)
            self._secrets = self._read()
            if not self._secrets.password:
                self._secrets = Secrets("-".join(secrets.token_hex(GROUP_BYTES) for _ in range(GROUPS)))
                self._write()
        except OSError as error:
            trouble = f"cannot read or write {self.path} ({error.strerror})"
            raise Misconfigured(f"{trouble}: fix its owner or mode, or set STATE_DIR") from None
        self.password = password or self._secrets.password
        log.add_secret(self.password)

    def sign_in(self, password: str, address: str) -> str | None:
        """Return the token of a new session; None if the password is wrong, which `throttle` counts."""
        if not hmac.compare_digest(password.strip().encode(), self.password.encode()):
            self.throttle.record_failure(address)
            return None
        token = secrets.token_urlsafe(32)
        self._save({**self._sessions(), self._digest(token): int(self._now()) + SESSION_LIFETIME})
        return token

    def sign_out(self, token: str) -> None:
        """End the session of `token`, if there is one."""
        sessions = dict(self._sessions())
        if sessions.pop(self._digest(token), None):
            self._save(sessions)

    def is_signed_in(self, token: str) -> bool:
        """Return whether `token` belongs to an open session."""
        return self._now() < self._sessions().get(self._digest(token), 0)

    def _digest(self, token: str) -> str:
        return hmac.digest(self.password.encode(), token.encode(), "sha256").hex()

    def _sessions(self) -> dict[str, int]:
        with suppress(OSError):  # keep what was read last
            found = self.path.stat()
            version = found.st_ino, found.st_mtime_ns, found.st_size
            if version != self._version:  # another process has signed somebody in or out
                self._secrets.sessions, self._version = self._read().sessions, version
        return self._secrets.sessions

    def _save(self, sessions: dict[str, int]) -> None:
        now = self._now()
        current = sorted((until, digest) for digest, until in sessions.items() if until > now)
        self._secrets.sessions = {digest: until for until, digest in current[-MAX_SESSIONS:]}
        try:
            self._write()
        except OSError as error:
            trouble = f"cannot write {self.path} ({error.strerror})"
            log.warning(f"{trouble}: signing in or out lasts only until the web server restarts")

    def _read(self) -> Secrets:
        return from_json(Secrets, atomic_file.read(self.path) or b"") or Secrets()

    def _write(self) -> None:
        atomic_file.write_atomically(self.path, to_json(self._secrets) + "\n")


class Throttle:
    """Throttles the addresses that send wrong passwords or tokens, by a clock of monotonic seconds."""

    def __init__(self, monotonic: Seconds, max_failures: int = MAX_FAILURES) -> None:
        self._monotonic, self._max_failures = monotonic, max_failures
        self._wrong: dict[str, list[float]] = {}

    def retry_after(self, address: str) -> float:
        """Return the seconds until a password is accepted from an address; 0 if it is accepted now."""
        since = self._monotonic() - WINDOW
        recent = [at for at in self._wrong.get(_source(address), ()) if at > since]
        return recent[-self._max_failures] - since if len(recent) >= self._max_failures else 0.0

    def record_failure(self, address: str) -> None:
        """Record a wrong password from `address`."""
        times = self._wrong.pop(_source(address), [])
        self._wrong[_source(address)] = [*times, self._monotonic()][-self._max_failures :]
        while len(self._wrong) > MAX_REMEMBERED:
            del self._wrong[next(iter(self._wrong))]


def _source(address: str) -> str:
    """Return what an address counts as: a machine may use all of an IPv6 network (/64), so that is one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    found = getattr(found, "ipv4_mapped", None) or found
    return found.packed[:8].hex()


def set_cookie(request: Request, answer: Response, name: str, value: str) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send, for `SESSION_LIFETIME`."""
    secure = request.url.scheme == "https"
    answer.set_cookie(name, value, SESSION_LIFETIME, secure=secure, httponly=True, samesite="strict")


class SecurityMiddleware:
    """Refuses requests that may not reach the page, and adds security headers to all answers.

    `names` are host names to answer to, besides those of this machine; without a password, `auth` is None;
    `covers` allows images from Spotify's host.
    """

    def __init__(
        self, app: ASGIApp, names: Iterable[str], auth: PasswordAuth | None, *, covers: bool
    ) -> None:
        self._app, self._auth = app, auth
        host = socket.gethostname().lower().partition(".")[0]
        own = ("localhost", host, socket.getfqdn(), *(f"{host}.{suffix}" for suffix in LOCAL_SUFFIXES))
        self._names = {name.lower().rstrip(".") for name in (*own, *names)}
        policy = CONTENT_POLICY.format("'self' https://i.scdn.co" if covers else "'self'")
        self._headers = {**SECURITY_HEADERS, "content-security-policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        refusal = self._refusal(request)
        if refusal and request.scope["path"].startswith(TOKEN_PATHS):
            refusal = problem(refusal.status_code, "Refused", bytes(refusal.body).decode().strip())
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        auth, path = self._auth, request.scope["path"]
        if auth is None and is_forwarded(request):
            return PlainTextResponse(
                "This page has no password, and a proxy would expose it to everybody. Start it with "
                "`spotify-logger web --behind-proxy` to require one; see docs/behind-a-proxy.md.\n",
                403,
            )
        if not self._is_known_host(request):
            return PlainTextResponse(
                "Unknown host name. Use the IP address of the machine, or start the page with "
                "`spotify-logger web --name NAME`.\n",
                421,
            )
        if request.method not in ("GET", "HEAD") and _is_cross_site(request):
            return PlainTextResponse("Cross-site requests are not allowed.\n", 403)
        token = request.cookies.get(SESSION_COOKIE, "")
        # Long-lived responses check it again.
        request.state.is_signed_in = lambda: auth is None or auth.is_signed_in(token)
        if path.startswith(PUBLIC_PATHS) or request.state.is_signed_in():
            return None
        if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("Sign in first.\n", 401)
        query = request.scope["query_string"].decode("latin-1")
        target = path + (query and f"?{query}")
        return RedirectResponse(f"{SIGN_IN}?to={quote(target, safe='/')}", 303)

    def _is_known_host(self, request: Request) -> bool:
        """Return whether a request is for this machine, by an IP address or a name that it has.

        This prevents DNS rebinding: another site could point its own name to this machine and read the page.
        IP addresses are safe: what a browser loads from one really comes from there.
        """
        try:
            (host,) = request.headers.getlist("host")
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            return name in self._names or bool(ipaddress.ip_address(name))
        except ValueError:  # several hosts or none, malformed brackets, no IP address
            return False


def is_forwarded(request: Request) -> bool:
    """Return whether a proxy sent a request: it would expose a page that has no password.

    nginx adds no header by default, but speaks HTTP/1.0 up to version 1.29, which no browser does.
    """
    is_named = any(name.startswith(FORWARDED_HEADERS) for name in request.headers)
    return is_named or request.scope["http_version"] == "1.0"


def _is_cross_site(request: Request) -> bool:
    """Return whether a page of another site sent a request (CSRF).

    Browsers send `Sec-Fetch-Site` only over https and to loopback, and `Origin` with every form (all of them
    since 2020). A request with neither does not come from a browser, so no other site can have sent it.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site != "same-origin"
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")
