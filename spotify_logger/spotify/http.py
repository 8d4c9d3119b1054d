"""HTTP for the whole project: a request goes in, and a response comes out before a deadline."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from spotify_logger import __version__
from spotify_logger.system.errors import Unreachable
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import ReadableBuffer, StrOrBytesPath, WriteableBuffer

MAX_OVERHEAD_BYTES = 64 * 1024
"""Bytes that a response may have besides its body: status line, headers, chunk sizes."""

_CHUNK_BYTES = 16 * 1024  # bytes of a body that are read or decompressed at a time
_MAX_CAUSE_LENGTH = 200
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "its name could not be resolved"),
    (TimeoutError, "no answer within {seconds:.0f} s"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "connection lost before the answer was complete"),
    (http.client.IncompleteRead, "connection lost before the answer was complete"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; URL, headers and body may contain secrets, so they are not in its `repr`.

    Attributes:
        method: "GET" or "POST".
        url: The full URL, including the query.
        headers: Header names and values.
        form: A body to send form-encoded, or None.
        text: A body to send as UTF-8 text instead of a form, or None.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response.

    Attributes:
        status: The HTTP status.
        headers: Header names in lower case, and their values.
        body: The whole body, decoded of any transfer and content coding; at most the limit of the sender.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def parse_http_date(text: str) -> float | None:
    """Parse a header such as `Date` to seconds since the epoch; None if it is invalid."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


class Send(Protocol):
    """Sends a request to a server: over HTTP, or to the simulator in the same process."""

    def __call__(self, request: Request) -> Response:
        """Send and wait for the whole response, of any status.

        Raises:
            Unreachable: No complete response: connection refused or reset, DNS, timeout, body too long.
        """


class HttpSender:
    """HTTP and HTTPS, one request at a time, over connections that are kept alive.

    It follows no redirects, keeps no cookies, and never resends a request, except for a GET whose kept-alive
    connection turns out to be dead. Proxies and the CA bundle come from the environment, as in `requests`.

    Args:
        connect_timeout: Seconds to connect to each address of a host, and again for the TLS handshake.
        read_timeout: Seconds of silence after which a request is given up.
        deadline: Seconds that the whole call may take, even if the server keeps sending; only the name
            resolution, which is up to the system, may take longer.
        body_limit: The maximum size of a body in bytes, decompressed.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float = 10.0,
        deadline: float = 20.0,
        body_limit: int = 2 * 1024 * 1024,
    ) -> None:
        # On a machine whose clock is behind, the certificate is rejected, and the error says why.
        urllib3.disable_warnings(urllib3.exceptions.SystemTimeWarning)
        self._timeouts = (connect_timeout, read_timeout)
        self._deadline = deadline
        self._body_limit = body_limit
        self._session = _session()

    def __call__(self, request: Request) -> Response:
        """Send the request and wait for the whole response, of any status.

        Raises:
            Unreachable: There is no complete response.
        """
        if request.method != "GET":
            self.close()  # a POST must not be sent twice: its connection must not have died unnoticed
        call = _Call(self._deadline, self._body_limit)
        before = _current_call.set(call)
        try:
            return self._exchange_with_retry(request, call)
        except Exception as error:  # noqa: BLE001 - whatever the libraries raise for invalid bytes
            call.close_reader()
            raise Unreachable(f"{_host_and_port(request.url)}: {call.cause(error)}") from None
        finally:
            _current_call.reset(before)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._session.close()

    def _exchange_with_retry(self, request: Request, call: _Call) -> Response:
        try:
            return self._exchange(request)
        except Exception as error:
            if not call.met_dead_connection(error):
                raise
        return self._exchange(request)

    def _exchange(self, request: Request) -> Response:
        headers = dict(request.headers)
        if request.text is not None:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        with self._session.request(
            request.method,
            request.url,
            headers=headers,
            data=request.form if request.text is None else request.text.encode(),
            timeout=self._timeouts,
            allow_redirects=False,
            stream=True,
        ) as response:
            received = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status_code, received, self._body(response))

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > self._body_limit:
                raise _too_long(self._body_limit)
        return bytes(body)


class _Call:
    """A call in progress: its remaining time, and what it has received so far.

    Args:
        deadline: Seconds it may take.
        body_limit: The maximum size of the body in bytes.
    """

    def __init__(self, deadline: float, body_limit: int) -> None:
        self._started = time.monotonic()
        self._deadline = deadline
        self._body_limit = body_limit
        self._received = 0
        self._connected = False
        self._reader: io.IOBase | None = None

    def limit_timeout(self, timeout: float | None) -> float:
        """Limit a timeout to the time that is left.

        Raises:
            TimeoutError: Nothing is left.
        """
        left = self._started + self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(timeout, left)

    def connect(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """Connect to the first address of `host` that answers.

        Raises:
            OSError: None of them did.
        """
        self._connected = True
        failure = OSError("a name without an address")
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return self._open((str(address[0]), port), timeout)
            except OSError as error:
                failure = error
        raise failure

    def _open(self, address: tuple[str, int], timeout: float | None) -> socket.socket:
        sock = socket.create_connection(address, self.limit_timeout(timeout))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(self.limit_timeout(timeout))  # for the greeting of TLS
        except OSError:
            sock.close()
            raise
        return sock

    def attach(self, reader: io.IOBase) -> None:
        """Remember the reader of the response."""
        self._reader = reader

    def close_reader(self) -> None:
        """Close the reader, which `urllib3` does not do after invalid headers."""
        if self._reader is not None:
            self._reader.close()

    def count_received(self, count: int) -> None:
        """Count received bytes.

        Raises:
            OSError: They are more than any accepted response can have.
        """
        self._received += count
        if self._received > self._body_limit + MAX_OVERHEAD_BYTES:
            raise _too_long(self._body_limit)

    def met_dead_connection(self, error: BaseException) -> bool:
        """Return whether a kept-alive connection turned out dead before a byte of a response came."""
        kinds = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
        dead = any(isinstance(link, kinds) for link in _chain(error))
        return dead and not self._connected and not self._received

    def cause(self, error: BaseException) -> str:
        """Return in a few words why the call failed, without any part of the request."""
        chain = list(_chain(error))
        for kind, words in _CAUSES:
            if any(isinstance(link, kind) for link in chain):
                return words.format(seconds=time.monotonic() - self._started)
        return _describe(chain[-1])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and its causes, the root cause last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _describe(error: BaseException) -> str:
    """Describe an error; the text of a `requests` error can contain a whole URL, so it is not used."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS certificate not accepted ({error.verify_message}): is the machine's date right?"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason})"
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return sanitize(error.strerror or str(error), _MAX_CAUSE_LENGTH)
    return f"the request failed ({type(error).__name__})"


def _too_long(limit: int) -> OSError:
    return OSError(f"the answer is longer than {limit} bytes")


def _host_and_port(url: str) -> str:
    """Return the host of `url`, and its port if it has one: the part without secrets."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "an invalid URL"
    host = f"[{host}]" if ":" in host else host
    return sanitize(f"{host}:{port}" if port else host, _MAX_CAUSE_LENGTH)


# A connection outlives the call that opened it, so it looks up the current call here.
_current_call: ContextVar[_Call] = ContextVar("under_way")


class _DeadlineReader(io.RawIOBase):
    """Reads the bytes of one response; every read ends with the deadline of the call."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._call = _current_call.get()
        self._call.attach(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._socket.settimeout(self._call.limit_timeout(self._timeout))
        count = self._raw.readinto(buffer) or 0
        self._call.count_received(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))

    def flush(self) -> None:
        # Garbage collection flushes first; since Python 3.13, flushing a closed stream raises an error.
        if self.fp is not None and not self.fp.closed:
            super().flush()


class _DeadlineHTTPConnection(HTTPConnection):
    response_class = _DeadlineResponse

    def _new_conn(self) -> socket.socket:
        return _current_call.get().connect(self._dns_host, self.port, self.timeout)


class _DeadlineHTTPSConnection(_DeadlineHTTPConnection, HTTPSConnection):
    pass


class _DeadlineHTTPPool(HTTPConnectionPool):
    ConnectionCls = _DeadlineHTTPConnection


class _DeadlineHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _DeadlineHTTPSConnection


class _CachingSSLContext(ssl.SSLContext):
    """Reads a certificate bundle once, and again if it has changed.

    `urllib3` reads it for every connection, which costs as much as ten polls and frees its memory late.
    """

    _bundle: object = None

    def load_verify_locations(
        self,
        cafile: StrOrBytesPath | None = None,
        capath: StrOrBytesPath | None = None,
        cadata: str | ReadableBuffer | None = None,
    ) -> None:
        bundle = (cafile, capath, cadata, os.stat(cafile).st_mtime_ns if cafile else 0)  # noqa: PTH116 - or bytes
        if bundle != self._bundle:
            super().load_verify_locations(cafile, capath, cadata)
            self._bundle = bundle


class _DeadlineAdapter(HTTPAdapter):
    """The adapter of `requests`, with connections that respect the deadline; its retries are off."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the base's
        self._ssl_context = _CachingSSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, ssl_context=self._ssl_context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _DeadlineHTTPPool, "https": _DeadlineHTTPSPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the base's
        manager = super().proxy_manager_for(*args, ssl_context=self._ssl_context, **kwargs)
        if isinstance(manager, urllib3.ProxyManager):  # a SOCKS proxy has connections of its own kind
            manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager


class _NoRedirectSession(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: even when it does not follow a redirect, `requests` would read its body to the end."""


def _session() -> requests.Session:
    session = _NoRedirectSession()
    session.headers.update(
        {
            "User-Agent": f"spotify-logger/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
    )
    # Otherwise, an entry in ~/.netrc would replace our Authorization header.
    session.auth = lambda prepared: prepared
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _DeadlineAdapter())
    return session
