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
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger import __version__
from spotify_logger.spotify.http import HttpSender, Request, parse_http_date
from spotify_logger.system.errors import TryLater
from tests.scripted_server import ScriptedServer, ServerConnection, http_response, respond_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.scripted_server import Script

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PATIENCE = 30.0
"""Seconds after which a call has surely not ended by its deadline of a quarter."""


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    peers: list[ScriptedServer] = []

    def start(*scripts: Script, tls: ssl.SSLContext | None = None) -> ScriptedServer:
        peers.append(ScriptedServer(*scripts, tls=tls))
        return peers[-1]

    yield start
    for server in peers:
        server.close()


@pytest.fixture
def send() -> Iterator[HttpSender]:
    """A sender that gives up soon, so that what never ends, ends soon."""
    sender = HttpSender(connect_timeout=10, read_timeout=10, deadline=0.25, body_limit=100_000)
    yield sender
    sender.close()


@pytest.fixture
def patient() -> Iterator[HttpSender]:
    """A sender that waits for as long as a slow machine may need."""
    sender = HttpSender(
        connect_timeout=PATIENCE, read_timeout=PATIENCE, deadline=PATIENCE, body_limit=100_000
    )
    yield sender
    sender.close()


def get(url: str) -> Request:
    return Request("GET", url)


def post(url: str) -> Request:
    return Request("POST", url, form={"a": "b"})


def failure(send: HttpSender, request: Request) -> str:
    """The words of the error, without the place."""
    start = time.monotonic()
    with pytest.raises(TryLater) as caught:
        send(request)
    assert time.monotonic() - start < PATIENCE
    place, _, words = str(caught.value).partition(": ")
    assert place.startswith("127.0.0.1:")
    return words


# What is sent, and what comes back


def test_a_get_is_sent_with_its_headers(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    server = serve(
        respond_with(http_response(b'{"a": 1}', b"X-Odd: \xe9", b"Date: Sun, 22 Nov 2026 18:00:00 GMT"))
    )
    response = patient(Request("GET", f"{server.url}/v1/me?x=1", {"Authorization": "Bearer abc"}))
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert response.headers == {
        "content-length": "8",
        "x-odd": "é",
        "date": "Sun, 22 Nov 2026 18:00:00 GMT",
    }
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("GET /v1/me?x=1 HTTP/1.1\r\n")
    assert {"Authorization: Bearer abc", f"User-Agent: spotify-logger/{__version__}"} <= set(
        head.split("\r\n")
    )
    assert body == ""


def test_a_form_is_sent_as_a_form(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    server = serve(respond_with(http_response()))
    patient(Request("POST", f"{server.url}/api/token", {}, {"grant_type": "refresh_token", "x": "ä&="}))
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /api/token HTTP/1.1\r\n")
    assert "Content-Type: application/x-www-form-urlencoded" in head
    assert body == "grant_type=refresh_token&x=%C3%A4%26%3D"


@pytest.mark.parametrize("text", ["Grüße, a=b & c\n", ""])
def test_a_text_is_sent_as_plain_text(
    patient: HttpSender, serve: Callable[..., ScriptedServer], text: str
) -> None:
    server = serve(respond_with(http_response()))
    patient(Request("POST", f"{server.url}/topic", {"X": "y"}, text=text))
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /topic HTTP/1.1\r\n")
    assert {
        "X: y",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text.encode())}",
    } <= set(head.split("\r\n"))
    assert body == text


def test_what_may_be_secret_is_not_shown() -> None:
    secret = "tops3cret"
    request = Request("POST", f"http://api.test/{secret}", {"Authorization": secret}, {"a": secret}, secret)
    assert repr(request) == "Request(method='POST')"


ANSWERS = {
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "an error": (http_response(b"no", status=b"404 Not Found"), 404, b"no"),
    "a status nobody knows": (http_response(b"", status=b"999 Odd"), 999, b""),
    "gzip": (http_response(gzip.compress(b"[1]"), b"Content-Encoding: gzip"), 200, b"[1]"),
    "gzip in two": (
        http_response(gzip.compress(b"[") + gzip.compress(b"]"), b"Content-Encoding: x-gzip"),
        200,
        b"[]",
    ),
    "deflate": (http_response(zlib.compress(b"[2]"), b"Content-Encoding: deflate"), 200, b"[2]"),
    "a coding nobody knows": (http_response(b"[3]", b"Content-Encoding: odd"), 200, b"[3]"),
    "chunks": (CHUNKED + b"1;x=y\r\n[\r\n1\r\n]\r\n0\r\nT: t\r\n\r\n", 200, b"[]"),
    "go on first": (b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(), 200, b"{}"),
    "bad headers": (http_response(b"{}", b"Set-Cookie: \xff=;;==", b"no header", b"Date"), 200, b"{}"),
    "bad redirect": (http_response(b"{}", b"Location: http://[bad", status=b"302 Found"), 302, b"{}"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_status_and_coding_is_an_answer_and_keeps_the_connection(
    patient: HttpSender, serve: Callable[..., ScriptedServer], name: str
) -> None:
    text, status, body = ANSWERS[name]
    server = serve(respond_with(text, text))
    for _ in range(2):
        response = patient(get(server.url))
        assert (response.status, response.body) == (status, body)
    assert server.connections == 1


def test_an_answer_without_a_length_ends_with_the_connection(
    patient: HttpSender, serve: Callable[..., ScriptedServer]
) -> None:
    def script(line: ServerConnection) -> None:
        line.read_request()
        line.send(b"HTTP/1.0 200 OK\r\n\r\n{}")

    assert patient(get(serve(script).url)).body == b"{}"


def test_redirects_are_not_followed(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    target = serve(respond_with(http_response()))
    server = serve(respond_with(http_response(b"", b"Location: " + target.url.encode(), status=b"301 Moved")))
    assert patient(get(server.url)).status == 301
    assert target.connections == 0


def test_cookies_are_not_kept(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    server = serve(respond_with(http_response(b"", b"Set-Cookie: a=b; Path=/"), http_response()))
    patient(get(server.url))
    patient(get(server.url))
    assert b"cookie" not in server.requests[1].lower()


def test_netrc_does_not_replace_the_login(
    patient: HttpSender, serve: Callable[..., ScriptedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(respond_with(http_response()))
    patient(Request("GET", server.url, {"Authorization": "Bearer abc"}))
    assert b"Authorization: Bearer abc\r\n" in server.requests[0]


def test_the_next_address_is_tried_when_one_refuses(
    patient: HttpSender, serve: Callable[..., ScriptedServer], addresses: Callable[[list[str]], None]
) -> None:
    addresses(["127.0.0.99", "127.0.0.1"])
    server = serve(respond_with(http_response()))
    assert patient(get(f"http://many.test:{server.port}")).status == 200


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Sets what the name "many.test" stands for; [] is a name that is not known."""
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


# What goes wrong


def closed_after(text: bytes) -> Script:
    def script(line: ServerConnection) -> None:
        line.read_request()
        line.send(text)

    return script


def reset_after(text: bytes) -> Script:
    def script(line: ServerConnection) -> None:
        line.read_request()
        line.send(text)
        line.reset()

    return script


LOST = "connection lost before the answer was complete"
LONG = "the answer is longer than 100000 bytes"


BROKEN = {
    "closed at once": (closed_after(b""), LOST),
    "reset at once": (reset_after(b""), LOST),
    "half a status line": (closed_after(b"HTTP/1."), "the request failed (BadStatusLine)"),
    "a status in words": (closed_after(b"HTTP/1.1 two hundred\r\n\r\n"), "the request failed (ValueError)"),
    "another protocol": (closed_after(b"SSH-2.0-OpenSSH_9.2\r\n"), "the request failed (BadStatusLine)"),
    "half a body": (closed_after(HEAD + b"Content-Length: 10\r\n\r\nhalf"), LOST),
    "reset in the body": (reset_after(HEAD + b"Content-Length: 10\r\n\r\nhalf"), LOST),
    "two lengths": (
        closed_after(HEAD + b"Content-Length: 1, 2\r\n\r\nhalf"),
        "the request failed (InvalidHeader)",
    ),
    "many headers": (closed_after(HEAD + b"X: y\r\n" * 200 + b"\r\n"), "the request failed (HTTPException)"),
    "a long header": (closed_after(HEAD + b"X: " + b"y" * 70_000), "the request failed (LineTooLong)"),
    "no chunk": (closed_after(CHUNKED), "the request failed (ValueError)"),
    "half a chunk": (closed_after(CHUNKED + b"9\r\nhalf"), LOST),
    "a chunk without a length": (closed_after(CHUNKED + b"zz\r\n[]"), LOST),
    "a chunk of a negative length": (closed_after(CHUNKED + b"-2\r\n[]"), "the request failed (ValueError)"),
    "no gzip": (
        closed_after(http_response(b"no gzip", b"Content-Encoding: gzip")),
        "the request failed (error)",
    ),
    "a long body": (closed_after(http_response(b"x" * 100_001)), LONG),
    "a chunk that has no end": (closed_after(CHUNKED + b"-1\r\n" + b"x" * 1_000_000), LONG),
    "go on, and on": (closed_after(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000), LONG),
    "a long redirect": (
        closed_after(http_response(b"x" * 100_001, b"Location: /x", status=b"302 Found")),
        LONG,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_a_passing_fault(
    patient: HttpSender, serve: Callable[..., ScriptedServer], name: str
) -> None:
    script, words = BROKEN[name]
    server = serve(script)
    assert failure(patient, get(server.url)) == words
    assert (server.connections, len(server.requests)) == (1, 1)


def drip_head(line: ServerConnection) -> None:
    line.read_request()
    line.send_slowly(HEAD + b"X: y\r\n" * 1000)


def drip_body(line: ServerConnection) -> None:
    line.read_request()
    line.send(HEAD + b"Content-Length: 9000\r\n\r\n")
    line.send_slowly(b"x" * 9000)


def drip_chunks(line: ServerConnection) -> None:
    line.read_request()
    line.send(CHUNKED)
    line.send_slowly(b"1\r\nx\r\n" * 1000)


def drip_empty_gzip(line: ServerConnection) -> None:
    """Nothing ever comes out of this body, however much goes in."""
    line.read_request()
    line.send(HEAD + b"Content-Encoding: gzip\r\n\r\n")
    line.send_slowly(gzip.compress(b"") * 1000)


def hang(line: ServerConnection) -> None:
    line.read_request()
    line.wait_for_close()


@pytest.mark.parametrize("script", [drip_head, drip_body, drip_chunks, drip_empty_gzip, hang])
def test_the_deadline_ends_what_would_not_end(
    send: HttpSender, serve: Callable[..., ScriptedServer], script: Script
) -> None:
    assert failure(send, get(serve(script).url)).startswith("no answer within")


def test_silence_is_given_up_before_the_deadline(serve: Callable[..., ScriptedServer]) -> None:
    send = HttpSender(read_timeout=0.2, deadline=1000)
    assert failure(send, get(serve(hang).url)).startswith("no answer within")


def test_the_deadline_ends_connecting_to_many_dead_addresses(
    send: HttpSender, addresses: Callable[[list[str]], None]
) -> None:
    addresses(["127.0.0.1"] * 100)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for caller in waiting:  # whoever calls after these gets no answer
            caller.settimeout(0)
            caller.connect_ex(full.getsockname())
        start = time.monotonic()
        with pytest.raises(TryLater, match=r"^many.test:\d+: no answer within"):
            send(get(f"http://many.test:{full.getsockname()[1]}"))
        assert time.monotonic() - start < PATIENCE
        for caller in waiting:
            caller.close()


def test_tls_does_not_begin_when_connecting_took_all_the_time(
    send: HttpSender, serve: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.create_connection
    heard: list[bytes] = []

    def late(address: tuple[str, int], timeout: float) -> socket.socket:
        line = real(address, PATIENCE)
        time.sleep(timeout)
        return line

    monkeypatch.setattr(socket, "create_connection", late)
    server = serve(lambda line: heard.append(line.receive()))
    assert failure(send, get(f"https://127.0.0.1:{server.port}")).startswith("no answer within")
    server.close()
    assert heard == [b""]


def test_a_long_body_is_not_read_further(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    def flood(line: ServerConnection) -> None:
        line.read_request()
        line.send(HEAD + b"Content-Length: 1000000000\r\n\r\n", *[b"x" * 100_000] * 10_000)

    server = serve(flood)
    assert failure(patient, get(server.url)) == LONG
    assert server.sent < 100_000_000  # what the sockets hold, not what was to come


def bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(60)) + packer.flush()


GZIP = b"Content-Encoding: gzip"
BOMB = bomb()
BOMB_IN_A_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BOMB), BOMB)


@pytest.mark.parametrize(
    "text",
    [
        http_response(BOMB, GZIP),
        http_response(gzip.compress(BOMB), GZIP + b", gzip"),
        HEAD + GZIP + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + BOMB_IN_A_CHUNK,
        http_response(BOMB, GZIP, b"Location: /x", status=b"302 Found"),
        http_response(BOMB, GZIP, status=b"500 Internal Server Error"),
    ],
    ids=["once", "twice", "chunked", "redirect", "error"],
)
def test_a_small_body_that_unpacks_to_a_huge_one_takes_no_memory(
    patient: HttpSender, serve: Callable[..., ScriptedServer], text: bytes
) -> None:
    assert len(text) < 100_000
    server = serve(respond_with(text))
    tracemalloc.start()
    try:
        assert failure(patient, get(server.url)) == LONG
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_nobody_listens(patient: HttpSender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert failure(patient, get(f"http://127.0.0.1:{port}")) == "connection refused"


def test_a_name_that_is_not_known(patient: HttpSender, addresses: Callable[[list[str]], None]) -> None:
    addresses([])
    with pytest.raises(TryLater, match=r"^many.test: its name could not be resolved$"):
        patient(get("http://many.test/"))


UNSENDABLE = {
    "nobody there": get("http://who:tops3cret@127.0.0.1:1/tops3cret?x=tops3cret"),
    "no such port": get("http://who:tops3cret@127.0.0.1:99999/tops3cret"),
    "no such scheme": get("ftp://who:tops3cret@127.0.0.1/tops3cret?x=tops3cret"),
    "half an address": get("http://who:tops3cret@[127.0.0.1/tops3cret"),
    "no host": get("http:///tops3cret"),
    "no address": get("tops3cret"),
    "a long name": get(f"http://{'a' * 70}.test/tops3cret"),
    "a header in two lines": Request(
        "GET", "http://127.0.0.1:1/", {"Authorization": "Bearer tops3cret\nX: y"}
    ),
    "a header beyond latin-1": Request("GET", "http://127.0.0.1:1/", {"Authorization": "Bearer tops3cret€"}),
    "a form": Request("POST", "http://127.0.0.1:1/", {}, {"refresh_token": "tops3cret"}),
    "a text": Request("POST", "http://127.0.0.1:1/tops3cret", text="tops3cret"),
    "a text that is none": Request("POST", "http://127.0.0.1:1/tops3cret", text="tops3cret \ud800"),
}


@pytest.mark.parametrize("name", UNSENDABLE)
def test_what_cannot_be_sent_is_a_passing_fault_that_tells_no_secret(patient: HttpSender, name: str) -> None:
    with pytest.raises(TryLater) as caught:
        patient(UNSENDABLE[name])
    assert "tops3cret" not in "".join(traceback.format_exception(caught.value))


# Connections that died


def reply_and_close_at_the_next(line: ServerConnection) -> None:
    line.read_request()
    line.send(http_response(b"1"))
    line.read_request()


def reply_and_reset_at_the_next(line: ServerConnection) -> None:
    reply_and_close_at_the_next(line)
    line.reset()


def reply_and_break_the_next(line: ServerConnection) -> None:
    reply_and_close_at_the_next(line)
    line.send(b"HTTP/1.1 2")
    line.reset()


@pytest.mark.parametrize("script", [reply_and_close_at_the_next, reply_and_reset_at_the_next])
def test_a_get_is_sent_again_when_the_kept_connection_was_dead(
    patient: HttpSender, serve: Callable[..., ScriptedServer], script: Script
) -> None:
    server = serve(script, respond_with(http_response(b"2")))
    assert patient(get(server.url)).body == b"1"
    assert patient(get(server.url)).body == b"2"
    assert (server.connections, len(server.requests)) == (2, 3)


def test_a_get_is_sent_again_once_only(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    server = serve(reply_and_close_at_the_next, closed_after(b""), respond_with(http_response(b"3")))
    patient(get(server.url))
    assert failure(patient, get(server.url)) == LOST
    assert server.connections == 2


def test_a_get_is_not_sent_again_once_an_answer_has_begun(
    patient: HttpSender, serve: Callable[..., ScriptedServer]
) -> None:
    server = serve(reply_and_break_the_next, respond_with(http_response(b"2")))
    patient(get(server.url))
    assert failure(patient, get(server.url))
    assert server.connections == 1


def test_a_post_goes_over_a_new_connection_and_is_never_sent_again(
    patient: HttpSender, serve: Callable[..., ScriptedServer]
) -> None:
    server = serve(respond_with(http_response()), closed_after(b""), respond_with(http_response()))
    patient(get(server.url))
    assert failure(patient, post(server.url)) == LOST
    assert (server.connections, len(server.requests)) == (2, 2)


def test_an_answer_that_failed_leaves_no_connection_behind(
    patient: HttpSender, serve: Callable[..., ScriptedServer]
) -> None:
    def long_and_on(line: ServerConnection) -> None:
        line.read_request()
        line.send(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 500_000)
        line.wait_for_close()

    server = serve(long_and_on, respond_with(http_response(b"2")))
    failure(patient, get(server.url))
    assert patient(get(server.url)).body == b"2"


# TLS and proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed, in one file."""
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


def test_a_certificate_that_nobody_vouches_for_is_refused(
    patient: HttpSender, serve: Callable[..., ScriptedServer], tls: ssl.SSLContext
) -> None:
    words = failure(patient, get(serve(respond_with(http_response()), tls=tls).url))
    assert words == "TLS certificate not accepted (self-signed certificate): is the machine's date right?"


@pytest.mark.usefixtures("_trusted")
def test_a_certificate_for_another_host_is_refused(
    patient: HttpSender, serve: Callable[..., ScriptedServer], tls: ssl.SSLContext
) -> None:
    port = serve(respond_with(http_response()), tls=tls).port
    with pytest.raises(
        TryLater, match=rf"^localhost:{port}: TLS certificate not accepted \(Hostname mismatch"
    ):
        patient(get(f"https://localhost:{port}"))


@pytest.mark.usefixtures("_trusted")
def test_trusted_certificates_are_read_again_only_when_they_have_changed(
    patient: HttpSender,
    serve: Callable[..., ScriptedServer],
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []
    read = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, *locations: str | None) -> None:
        reads.append(locations)
        read(context, *locations)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    server = serve(*[respond_with(http_response())] * 3, tls=tls)
    for expected in (1, 1, 2):
        if expected == 2:
            os.utime(certificate, (0, 0))
        assert patient(get(server.url)).status == 200
        patient.close()
        assert len(reads) == expected
    assert server.connections == 3


@pytest.mark.usefixtures("_trusted")
def test_tls_keeps_its_connection_and_survives_its_death(
    patient: HttpSender, serve: Callable[..., ScriptedServer], tls: ssl.SSLContext
) -> None:
    def two_and_gone(line: ServerConnection) -> None:
        line.read_request()
        line.send(http_response(b"1"))
        reply_and_close_at_the_next(line)

    server = serve(two_and_gone, respond_with(http_response(b"3")), tls=tls)
    assert [patient(get(server.url)).body for _ in range(3)] == [b"1", b"1", b"3"]
    assert server.connections == 2


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("script", [drip_head, drip_body, hang])
def test_the_deadline_holds_over_tls(
    send: HttpSender, serve: Callable[..., ScriptedServer], tls: ssl.SSLContext, script: Script
) -> None:
    assert failure(send, get(serve(script, tls=tls).url)).startswith("no answer within")


def test_the_deadline_holds_while_tls_begins(send: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    def mumble(line: ServerConnection) -> None:
        line.send_slowly(b"\x16\x03\x03\x40\x00" + bytes(9000))

    server = serve(mumble)
    assert failure(send, get(f"https://127.0.0.1:{server.port}")).startswith("no answer within")


def test_a_server_without_tls(patient: HttpSender, serve: Callable[..., ScriptedServer]) -> None:
    server = serve(lambda line: line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    words = failure(patient, get(f"https://127.0.0.1:{server.port}"))
    assert words.startswith("TLS failed (")


def test_a_proxy_of_the_environment_is_used_and_bound_by_the_deadline(
    send: HttpSender, serve: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(drip_body)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(TryLater, match=r"^api.test: no answer within"):
        send(get("http://api.test/v1"))
    assert proxy.requests[0].startswith(b"GET http://api.test/v1 HTTP/1.1\r\n")


def test_a_proxy_that_refuses_says_so(
    patient: HttpSender, serve: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(closed_after(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(TryLater, match=r"^api.test: Tunnel connection failed: 407 Proxy"):
        patient(get("https://api.test/v1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 22 Nov 2026 18:00:00 GMT", 1795370400.0),
        ("Sun, 22 Nov 2026 18:00:00 -0000", 1795370400.0),
        ("Sunday, 22-Nov-26 18:00:00 GMT", 1795370400.0),
        ("", None),
        ("soon", None),
        ("Sun, 22 Nov 99999 18:00:00 GMT", None),
        ("Sun, 42 Nov 2026 18:00:00 GMT", None),
        ("Sun, 22 Nov 2026 18:00:00 GMT, Sun, 22 Nov 2026 18:00:01 GMT", 1795370400.0),
    ],
)
def test_http_date(text: str, expected: float | None) -> None:
    assert parse_http_date(text) == expected
