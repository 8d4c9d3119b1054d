"""HTTP for the whole project: a request goes in, and a response comes out before a deadline."""

import http.client
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from threading import get_ident
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from spotify_logger import __version__
from spotify_logger.system.clock import Deadline
from spotify_logger.system.errors import Unreachable, chain
from spotify_logger.system.log import DETAIL_LIMIT, sanitize
from spotify_logger.system.state import from_json

_MAX_RETRY_AFTER = 366 * 86400.0
_PLAUSIBLE_DATES = 1.6e9, 4.1e9  # seconds since the epoch, 2020 and 2099
_CAUSES: dict[type[BaseException] | tuple[type[BaseException], ...], str] = {
    socket.gaierror: "its name could not be resolved",
    TimeoutError: "no answer within {seconds:.0f} s",
    ConnectionRefusedError: "connection refused",
    (ConnectionError, http.client.IncompleteRead): "connection lost before the answer was complete",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or POST, with a form or with text as its body; what may contain secrets is not in its `repr`."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: names of headers are asked for in lower case; the body is decoded, and bounded."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> dict[str, object] | None:
        """The JSON object in the body; None if it is anything else."""
        return from_json(dict[str, object], self.body)

    @property
    def date(self) -> float | None:
        """The `Date`, in seconds since the epoch; None if it is missing or implausible."""
        date = _parse_date(self.headers.get("date", ""))
        return date if date is not None and _PLAUSIBLE_DATES[0] < date < _PLAUSIBLE_DATES[1] else None

    def retry_after(self, now: float) -> float | None:
        """Return the seconds of `Retry-After` (RFC 9110, 10.2.3); None if it is missing or invalid."""
        text = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
            return min(float(text), _MAX_RETRY_AFTER)
        if (until := _parse_date(text)) is None:
            return None
        # A date counts from the `Date` of the response.
        return min(max(0.0, until - (_parse_date(self.headers.get("date", "")) or now)), _MAX_RETRY_AFTER)


def _parse_date(text: str) -> float | None:
    with suppress(TypeError, ValueError, IndexError, OverflowError):
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return None


Send: TypeAlias = Callable[[Request], Response]  # sends a request, as `HttpSender` does


class HttpSender(requests.Session):
    """Sends HTTP and HTTPS requests, one at a time, over connections that are kept alive until `close`.

    Follows no redirect, keeps no cookie, and sends nothing twice. Proxies and a CA bundle are taken from the
    environment, as `requests` does.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,  # seconds for each address of a host, and again for TLS
        read_timeout: float = 10.0,  # seconds of silence after which a server is given up
        deadline: float = 20.0,  # seconds for the request and its whole answer, however the server drips
        body_limit: int = 2 * 1024 * 1024,  # bytes of the longest body that is taken, unpacked
    ) -> None:
        super().__init__()
        own = {"User-Agent": f"spotify-logger/{__version__}", "Accept": "application/json"}
        self.headers.update({**own, "Accept-Encoding": "gzip"})
        # Without any of our own, a line of ~/.netrc would replace our Authorization header.
        self.auth = lambda prepared: prepared
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())
        # On a machine that woke up in the past the certificate will be refused, and the error says why.
        urllib3.disable_warnings(urllib3.exceptions.SystemTimeWarning)
        self._timeouts, self._body_limit = (connect_timeout, read_timeout), body_limit
        self._thread = 0  # the one that sends
        self._deadline = Deadline(deadline, self._shut_down)

    def __call__(self, request: Request) -> Response:
        """Send and wait for the whole response, of any status; raises Unreachable if there is none."""
        if request.method != "GET":
            self.close()  # what must not be sent twice gets a connection that cannot have died unnoticed
        begun, self._thread = time.monotonic(), get_ident()
        try:
            with self._deadline, self._open(request) as answer:
                return Response(answer.status_code, answer.headers, self._body(answer))
        except Exception as error:  # noqa: BLE001 - whatever the libraries make of odd bytes is a call that failed
            self.close()
            words = _cause(error, time.monotonic() - begun)
            # Nothing else of the URL, which may hold secrets.
            host = urlsplit(request.url).netloc.rpartition("@")[2]
            raise Unreachable(f"{host}: {words}") from None

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect; with `allow_redirects=False`, `requests` would read its body to the end."""

    def _open(self, request: Request) -> requests.Response:
        text_type = {} if request.text is None else {"Content-Type": "text/plain; charset=utf-8"}
        return self.request(
            request.method,
            request.url,
            headers={**text_type, **request.headers},
            data=request.form if request.text is None else request.text.encode(),
            timeout=self._timeouts,
            stream=True,
        )

    def _shut_down(self) -> None:
        """End the wait for the last request, in another thread."""
        if sock := _sockets.pop(self._thread, None):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _body(self, answer: requests.Response) -> bytes:
        body = bytearray()
        for chunk in answer.raw.stream(16 * 1024, decode_content=True):
            body += chunk
            if len(body) > self._body_limit:
                raise OSError(f"the answer is longer than {self._body_limit} bytes")
        return bytes(body)


def _cause(error: BaseException, seconds: float) -> str:
    """Return why a call failed after some seconds; not the text of `requests`, which can hold a whole URL."""
    causes = list(chain(error))
    for kind, words in _CAUSES.items():
        if any(isinstance(link, kind) for link in causes):
            return words.format(seconds=seconds)
    match causes[-1]:
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"TLS certificate not accepted ({message}): is the machine's date right?"
        case ssl.SSLError(reason=reason):
            return f"TLS failed ({reason})"
        case urllib3.exceptions.SSLError(args=(ssl.SSLError() as wrapped,)):  # behind a proxy
            return _cause(wrapped, seconds)
        case OSError() as root if not isinstance(root, requests.RequestException):
            return sanitize(root.strerror or str(root), DETAIL_LIMIT)
        case root:
            return f"the request failed ({type(root).__name__})"


_sockets: dict[int, socket.socket | None] = {}  # by thread: the one that its last request waits for


class _Connection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the base's
        super().request(*args, **kwargs)
        _sockets[get_ident()] = self.sock


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _CachingSSLContext(ssl.SSLContext):
    """Reads a bundle of certificates again only when it has changed: it costs as much as ten polls."""

    _bundle: object = None

    def load_verify_locations(self, cafile: str | None = None, *others: Any) -> None:  # type: ignore[override] # noqa: ANN401
        bundle = cafile, others, os.stat(cafile).st_mtime_ns if cafile else 0  # noqa: PTH116 - twice as fast
        if bundle != self._bundle:
            super().load_verify_locations(cafile, *others)
            self._bundle = bundle


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the base's
        context = _CachingSSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, ssl_context=context, **kwargs)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the base's
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        kinds = {HTTPConnection: _Connection, HTTPSConnection: _TlsConnection}  # SOCKS has others
        pool.ConnectionCls = kinds.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool
