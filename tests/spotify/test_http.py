from __future__ import annotations

import gzip
import os
import shutil
import socket
import ssl
import subprocess
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger import __version__
from spotify_logger.spotify.http import HttpSender, Request
from spotify_logger.system.errors import Unreachable
from tests.conftest import wait_until
from tests.scripted_server import ScriptedServer, ServerConnection, http_response, respond_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.scripted_server import Script

Serve = Callable[..., ScriptedServer]

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = b"Content-Encoding: gzip"
BODY_LIMIT = 100_000
LONG_TIMEOUT = 30.0
"""Seconds after which a call has surely not ended by its deadline of a quarter."""


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.upper().endswith(("_PROXY", "_CA_BUNDLE")):
            monkeypatch.delenv(name)


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ScriptedServer] = []

    def start(*scripts: Script, tls: ssl.SSLContext | None = None) -> ScriptedServer:
        servers.append(ScriptedServer(*scripts, tls=tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def send() -> Iterator[HttpSender]:
    """A sender that waits for as long as a slow machine may need."""
    sender = HttpSender(
        connect_timeout=LONG_TIMEOUT, read_timeout=LONG_TIMEOUT, deadline=LONG_TIMEOUT, body_limit=BODY_LIMIT
    )
    yield sender
    sender.close()


@pytest.fixture
def impatient() -> Iterator[HttpSender]:
    """A sender whose deadline comes soon."""
    sender = HttpSender(deadline=0.25, body_limit=BODY_LIMIT)
    yield sender
    sender.close()


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Sets the addresses of the name "many.test"; without any, it cannot be resolved."""
    known: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - as the real one
        if host != "many.test":
            return real(host, port, *args, **kwargs)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known.extend


def get(url: str) -> Request:
    return Request("GET", url)


def fail(send: HttpSender, url: str, method: str = "GET") -> str:
    """Send a request that fails in time, and return the error without the place."""
    start = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        send(Request(method, url))
    assert time.monotonic() - start < LONG_TIMEOUT
    place, _, reason = str(caught.value).partition(": ")
    assert place.startswith("127.0.0.1:")
    return reason


def test_get_is_sent_with_its_headers(send: HttpSender, serve: Serve) -> None:
    server = serve(respond_with(http_response(b'{"a": 1}', b"X-Odd: \xe9")))
    response = send(Request("GET", f"{server.url}/v1/me?x=1", {"Authorization": "Bearer abc"}))
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert response.headers == {"content-length": "8", "x-odd": "é"}
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("GET /v1/me?x=1 HTTP/1.1\r\n")
    assert {"Authorization: Bearer abc", f"User-Agent: spotify-logger/{__version__}"} < set(
        head.split("\r\n")
    )
    assert body == ""


def test_form_is_sent_encoded(send: HttpSender, serve: Serve) -> None:
    server = serve(respond_with(http_response()))
    send(Request("POST", f"{server.url}/api/token", {}, {"grant_type": "refresh_token", "x": "ä&="}))
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /api/token HTTP/1.1\r\n")
    assert "Content-Type: application/x-www-form-urlencoded" in head
    assert body == "grant_type=refresh_token&x=%C3%A4%26%3D"


RESPONSES = {
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "gzip": (http_response(gzip.compress(b"[1]"), GZIP), 200, b"[1]"),
    "chunks": (CHUNKED + b"1;x=y\r\n[\r\n1\r\n]\r\n0\r\nT: t\r\n\r\n", 200, b"[]"),
    "invalid headers": (http_response(b"{}", b"Set-Cookie: \xff=;;==", b"no header", b"Date"), 200, b"{}"),
    "invalid redirect": (http_response(b"{}", b"Location: http://[bad", status=b"302 Found"), 302, b"{}"),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_any_complete_response_is_returned_and_keeps_the_connection(
    send: HttpSender, serve: Serve, name: str
) -> None:
    text, status, body = RESPONSES[name]
    server = serve(respond_with(text, text))
    for _ in range(2):
        response = send(get(server.url))
        assert (response.status, response.body) == (status, body)
    assert server.connections == 1


def test_redirects_are_not_followed(send: HttpSender, serve: Serve) -> None:
    target = serve(respond_with(http_response()))
    server = serve(respond_with(http_response(b"", b"Location: " + target.url.encode(), status=b"301 Moved")))
    assert send(get(server.url)).status == 301
    assert target.connections == 0


def test_netrc_does_not_replace_the_login(
    send: HttpSender, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(respond_with(http_response()))
    send(Request("GET", server.url, {"Authorization": "Bearer abc"}))
    assert b"Authorization: Bearer abc\r\n" in server.requests[0]


def test_next_address_is_tried_when_one_refuses(
    send: HttpSender, serve: Serve, addresses: Callable[[list[str]], None]
) -> None:
    addresses(["127.0.0.99", "127.0.0.1"])
    server = serve(respond_with(http_response()))
    assert send(get(f"http://many.test:{server.port}")).status == 200


def closed_after(text: bytes) -> Script:
    def script(connection: ServerConnection) -> None:
        connection.read_request()
        connection.send(text)

    return script


LOST = "connection lost"
TOO_LONG = f"longer than {BODY_LIMIT} bytes"
BROKEN = {
    "closed at once": (closed_after(b""), LOST),
    "another protocol": (closed_after(b"SSH-2.0-OpenSSH_9.2\r\n"), "BadStatusLine"),
    "half a body": (closed_after(HEAD + b"Content-Length: 10\r\n\r\nhalf"), LOST),
    "chunk with an invalid length": (closed_after(CHUNKED + b"-2\r\n[]"), "ValueError"),
    "invalid gzip": (closed_after(http_response(b"no gzip", GZIP)), "failed"),
    "long body": (closed_after(http_response(b"x" * (BODY_LIMIT + 1))), TOO_LONG),
    "negative chunk": (closed_after(CHUNKED + b"-1\r\n" + b"x" * 1_000_000), "lost"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_response_is_an_error_without_a_second_request(
    send: HttpSender, serve: Serve, name: str
) -> None:
    script, word = BROKEN[name]
    server = serve(script)
    assert word in fail(send, server.url)
    assert (server.connections, len(server.requests)) == (1, 1)


def dripping(start: bytes, drops: bytes) -> Script:
    def script(connection: ServerConnection) -> None:
        connection.read_request()
        connection.send(start)
        connection.send_slowly(drops * 1000)

    return script


def hang(connection: ServerConnection) -> None:
    connection.read_request()
    connection.wait_for_close()


DRIPPING_BODY = dripping(HEAD + b"Content-Length: 9000\r\n\r\n", b"x" * 9)
ENDLESS = {
    "headers": dripping(HEAD, b"X: y\r\n"),
    "body": DRIPPING_BODY,
    "chunks": dripping(CHUNKED, b"1\r\nx\r\n"),
    "gzip without content": dripping(HEAD + GZIP + b"\r\n\r\n", gzip.compress(b"")),
    "silence": hang,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_deadline_ends_an_endless_response(impatient: HttpSender, serve: Serve, name: str) -> None:
    assert "no answer within" in fail(impatient, serve(ENDLESS[name]).url)


def compress_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize("again", [False, True])
def test_small_body_that_unpacks_to_a_huge_one_takes_no_memory(
    send: HttpSender, serve: Serve, *, again: bool
) -> None:
    bomb = compress_zeros(60)
    text = http_response(gzip.compress(bomb), GZIP + b", gzip") if again else http_response(bomb, GZIP)
    assert len(text) < BODY_LIMIT
    server = serve(respond_with(text))
    tracemalloc.start()
    try:
        assert TOO_LONG in fail(send, server.url)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_unreachable_server_and_unknown_name_are_named(
    send: HttpSender, addresses: Callable[[list[str]], None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "refused" in fail(send, f"http://127.0.0.1:{port}")
    addresses([])
    with pytest.raises(Unreachable, match=r"^many.test: .* not be resolved$"):
        send(get("http://many.test/"))


SECRET = "tops3cret"
UNSENDABLE = {
    "nobody listens": get(f"http://who:{SECRET}@127.0.0.1:1/{SECRET}?x={SECRET}"),
    "invalid port": get(f"http://who:{SECRET}@127.0.0.1:99999/{SECRET}"),
    "header in two lines": Request("GET", "http://127.0.0.1:1/", {"Authorization": f"Bearer {SECRET}\nX: y"}),
    "form": Request("POST", "http://127.0.0.1:1/", {}, {"refresh_token": SECRET}),
    "lone surrogate": Request("POST", f"http://127.0.0.1:1/{SECRET}", text=f"{SECRET} \ud800"),
}


@pytest.mark.parametrize("name", UNSENDABLE)
def test_secrets_of_a_request_are_not_shown(send: HttpSender, name: str) -> None:
    assert SECRET not in repr(UNSENDABLE[name])
    with pytest.raises(Unreachable) as caught:
        send(UNSENDABLE[name])
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def close_at_the_second(connection: ServerConnection) -> None:
    connection.read_request()
    connection.send(http_response(b"1"))
    connection.read_request()


def test_post_uses_a_new_connection_and_is_never_sent_again(send: HttpSender, serve: Serve) -> None:
    server = serve(respond_with(http_response()), closed_after(b""), respond_with(http_response()))
    send(get(server.url))
    assert LOST in fail(send, server.url, "POST")
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for 127.0.0.1, in one file."""
    openssl = shutil.which("openssl") or ""
    if not openssl:
        missing = "no openssl on this machine"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([openssl, *command.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".pem.crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))


def test_untrusted_certificate_is_refused_with_a_hint_at_the_date(
    send: HttpSender, serve: Serve, tls: ssl.SSLContext
) -> None:
    reason = fail(send, serve(respond_with(http_response()), tls=tls).url)
    assert "self-signed certificate" in reason
    assert "is the machine's date right?" in reason


def test_untrusted_certificate_behind_a_proxy_is_refused_in_the_same_words(
    send: HttpSender, serve: Serve, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(connection: ServerConnection) -> None:
        connection.read_request()
        connection.send(http_response(b""))
        connection.start_tls(tls)

    monkeypatch.setenv("https_proxy", serve(connect).url)
    with pytest.raises(Unreachable, match=r"^api.test: .*self-signed certificate.*the machine's date right"):
        send(get("https://api.test/v1"))


@pytest.mark.usefixtures("_trusted")
def test_certificate_of_another_host_is_refused(send: HttpSender, serve: Serve, tls: ssl.SSLContext) -> None:
    port = serve(respond_with(http_response()), tls=tls).port
    with pytest.raises(Unreachable, match=rf"^localhost:{port}: .*Hostname mismatch"):
        send(get(f"https://localhost:{port}"))


@pytest.mark.usefixtures("_trusted")
def test_tls_connection_is_kept_and_replaced_when_dead(
    send: HttpSender, serve: Serve, tls: ssl.SSLContext
) -> None:
    def close_at_the_third(connection: ServerConnection) -> None:
        connection.read_request()
        connection.send(http_response(b"1"))
        close_at_the_second(connection)

    server = serve(close_at_the_third, respond_with(http_response(b"3")), tls=tls)
    assert [send(get(server.url)).body for _ in range(2)] == [b"1", b"1"]
    assert LOST in fail(send, server.url)
    assert send(get(server.url)).body == b"3"
    assert server.connections == 2


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("script", [DRIPPING_BODY, hang], ids=["body", "silence"])
def test_deadline_holds_over_tls(
    impatient: HttpSender, serve: Serve, tls: ssl.SSLContext, script: Script
) -> None:
    assert "no answer within" in fail(impatient, serve(script, tls=tls).url)


def test_deadline_holds_during_the_tls_handshake(impatient: HttpSender, serve: Serve) -> None:
    server = serve(lambda connection: connection.send_slowly(b"\x16\x03\x03\x40\x00" + bytes(9000)))
    assert "no answer within" in fail(impatient, f"https://127.0.0.1:{server.port}")


def test_server_without_tls_is_an_error(send: HttpSender, serve: Serve) -> None:
    server = serve(lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert "TLS failed" in fail(send, f"https://127.0.0.1:{server.port}")


def test_proxy_of_the_environment_is_used_within_the_deadline(
    impatient: HttpSender, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(DRIPPING_BODY)
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(Unreachable, match=r"^api.test: no answer within"):
        impatient(get("http://api.test/v1"))
    wait_until(lambda: proxy.requests)
    assert proxy.requests[0].startswith(b"GET http://api.test/v1 HTTP/1.1\r\n")
