"""The page behind real proxies, with the configurations that the documentation gives."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.web.auth import MAX_FAILURES
from tests.browser import PATIENCE_MS, chromium, skip_or_fail
from tests.conftest import EVERY_KIND, free_port, wait_until
from tests.web.page import (
    FORM_HEADERS,
    TIMEOUT,
    HttpResponse,
    ManualClock,
    PageClient,
    exchange,
    password_auth,
    serve_page,
    settings_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCUMENT = Path(__file__).parents[2] / "docs" / "behind-a-proxy.md"
NAME = "music.example"
PASSWORD = "open, sesame"


def documented(language: str) -> str:
    """Return the configuration in the document."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def replace_each(text: str, changes: Mapping[str, str]) -> str:
    """Replace parts of a text that each occur in it once."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextmanager
def running(port: int, *command: str, **environment: str) -> Iterator[None]:
    """Run a program until it listens on a port, and stop it afterwards."""
    program = shutil.which(command[0])
    if program is None:
        skip_or_fail(f"no {command[0]} on this machine: sudo apt install {command[0]}")
    with subprocess.Popen(
        [program, *command[1:]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:

        def is_ready() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            try:
                ask(port, "/sign-in")
            except OSError:
                return False
            return True

        try:
            wait_until(is_ready)
            yield
        finally:
            process.terminate()


@contextmanager
def nginx(page: int, folder: Path, server: str = "") -> Iterator[int]:
    """Run nginx as documented in front of the page on a port, and yield its own port."""
    port, certificate, key = free_port(), folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", f"/CN={NAME}", "-days", "2", "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server = replace_each(
        server or documented("nginx"),
        {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(certificate),
            f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(key),
            "127.0.0.1:8877": f"127.0.0.1:{page}",
        },
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}}}\n"
    )
    with running(port, "nginx", "-p", str(folder), "-c", str(configuration), "-e", "stderr"):
        yield port


@contextmanager
def caddy(page: int, folder: Path) -> Iterator[int]:
    """Run Caddy as documented in front of the page on a port, and yield its own port."""
    port = free_port()
    listen = f"https://{NAME}:{port} {{\n    bind 127.0.0.1\n    tls internal"
    site = replace_each(documented("caddy"), {f"{NAME} {{": listen, "127.0.0.1:8877": f"127.0.0.1:{page}"})
    path = folder / "Caddyfile"
    path.write_text(
        "{\n    admin off\n    skip_install_trust\n    auto_https disable_redirects\n"
        f"    storage file_system {folder}/caddy\n}}\n{site}"
    )
    command = ("caddy", "run", "--adapter", "caddyfile", "--config", str(path))
    with running(port, *command, HOME=str(folder)):
        yield port


@contextmanager
def connected(port: int, source: str = "127.0.0.1") -> Iterator[HTTPConnection]:
    """Connect to the proxy by its name, from one of the addresses of loopback."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the proxy signed its certificate
    plain = socket.create_connection(("127.0.0.1", port), TIMEOUT, (source, 0))
    with closing(HTTPConnection(NAME, port)) as connection:
        connection.sock = context.wrap_socket(plain, server_hostname=NAME)
        yield connection


def ask(
    port: int, target: str, body: str | None = None, source: str = "127.0.0.1", **headers: str
) -> HttpResponse:
    """Send a request through the proxy, like a client other than a browser; with a body, send a form."""
    headers = {**FORM_HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    with connected(port, source) as connection:
        return exchange(connection, "GET" if body is None else "POST", target, body, headers)


@pytest.fixture(params=[nginx, caddy] if EVERY_KIND else [nginx])
def port(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[int]:
    """The port of each proxy in front of a page started with --behind-proxy."""
    auth = password_auth(tmp_path, PASSWORD, ManualClock())
    with (
        serve_page(settings_for(redis_url, tmp_path), auth, behind_proxy=True) as page,
        request.param(page.port, tmp_path) as port,
    ):
        yield port


def test_signing_in_the_stream_and_the_throttle_work_as_documented(port: int) -> None:
    with chromium(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser:
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"https://{NAME}:{port}/health")
        page.fill("#password", PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/health")
        assert [cookie["secure"] for cookie in page.context.cookies()] == [True]
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")

    cookie = ask(port, "/sign-in", f"password={PASSWORD}").cookie
    with connected(port) as connection:
        connection.request("GET", "/live", headers={"Cookie": cookie})
        response = connection.getresponse()
        assert response.readline() == b"retry: 3000\n"
        ask(port, "/sign-out", "", Cookie=cookie)
        response.read()  # to its end

    for number in range(MAX_FAILURES):
        said = f"192.0.2.{number}"
        guess = ask(port, "/sign-in", "password=guess", "127.0.0.2", X_Forwarded_For=said)
        assert guess.status == 403
    known = ask(port, "/sign-in", f"password={PASSWORD}", "127.0.0.2", X_Forwarded_For="192.0.2.99")
    assert known.status == 429
    assert ask(port, "/sign-in", f"password={PASSWORD}", "127.0.0.3").status == 303


def test_what_a_proxy_says_is_believed_and_what_its_clients_say_is_not(
    redis_url: str, tmp_path: Path
) -> None:
    auth = password_auth(tmp_path, PASSWORD, ManualClock())
    with serve_page(settings_for(redis_url, tmp_path), auth, behind_proxy=True) as page:
        answer = page.post("/sign-in", f"password={PASSWORD}", X_Forwarded_Proto="https")
        assert "secure" in answer.headers["set-cookie"].lower()
        for number in range(MAX_FAILURES):
            chain = f"198.51.100.{number}, 192.0.2.1"
            assert page.post("/sign-in", "password=guess", X_Forwarded_For=chain).status == 403
        assert page.post("/sign-in", "password=guess", X_Forwarded_For="192.0.2.1").status == 429
        assert page.post("/sign-in", "password=guess", X_Forwarded_For="192.0.2.2").status == 403


class TestWithoutBehindProxy:
    @pytest.fixture
    def page(self, redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
        with serve_page(settings_for(redis_url, tmp_path)) as page:
            yield page

    def test_a_page_without_a_password_refuses_forwarded_requests(self, page: PageClient) -> None:
        for name in ("Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host"):
            for target in ("/recent", "/sign-in", "/static/x/page.css"):
                answer = page.request(target, more={name: "x"})
                assert answer.status == 403
                assert "--behind-proxy" in answer.text

    def test_also_those_of_a_proxy_that_sends_no_headers(self, page: PageClient, tmp_path: Path) -> None:
        silent = re.sub(r"(?m)^ *proxy_(?!pass).*\n", "", documented("nginx"))
        silent = replace_each(silent, {"proxy_pass": "proxy_http_version 1.0; proxy_pass"})
        with nginx(page.port, tmp_path, silent) as port:
            answer = ask(port, "/recent")
        assert answer.status == 403
        assert "--behind-proxy" in answer.text

    def test_a_page_with_a_password_does_not_believe_the_headers(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        auth = password_auth(tmp_path, PASSWORD, ManualClock())
        with serve_page(settings_for(redis_url, tmp_path), auth) as page:
            forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.1"}
            answer = page.post("/sign-in", f"password={PASSWORD}", **forwarded)
            assert answer.status == 303
            assert "secure" not in answer.headers["set-cookie"].lower()
            for number in range(MAX_FAILURES):
                page.post("/sign-in", "password=guess", X_Forwarded_For=f"192.0.2.{number}")
            assert page.post("/sign-in", "password=guess", X_Forwarded_For="192.0.2.99").status == 429
