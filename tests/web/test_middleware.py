from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from spotify_logger.storage.bulk import Archive
from spotify_logger.web.auth import MAX_FAILURES, SESSION_COOKIE, SESSION_LIFETIME, WINDOW
from tests.web.log import write_play
from tests.web.page import ManualClock, PageClient, password_auth, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

PASSWORD = "open, sesame"
SECRETS = {
    "SPOTIFY_CLIENT_SECRET": "clientsecret",
    "SPOTIFY_REFRESH_TOKEN": "refreshtoken",
    "WEB_PASSWORD": PASSWORD,
}
TARGETS = (
    "/", "/today", "/recent", "/day/2026-11-22", "/day?day=today", "/top/tracks", "/chart", "/clock",
    "/calendar", "/year", "/year/2026/image.svg", "/track?q=x", "/search?q=x", "/health", "/health/login",
    "/sign-in", "/static/x/page.css", "/static/x/nothing.css", "/nowhere", "/top/nothing",
    "/top/tracks?year=x",
)  # fmt: skip

FIXED_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


@pytest.fixture(scope="module")
def page(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_server.url, tmp_path_factory.mktemp("page"))) as page:
        yield page


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def closed(redis_url: str, tmp_path: Path, clock: ManualClock) -> Iterator[PageClient]:
    """A page that requires a password."""
    auth = password_auth(tmp_path, PASSWORD, clock)
    settings = settings_for(redis_url, tmp_path, SPOTIFY_CLIENT_ID="an-id", **SECRETS)
    with serve_page(settings, auth) as page:
        yield page


def sign_in(page: PageClient) -> str:
    """Sign in and return the session cookie."""
    answer = page.post("/sign-in?to=/recent", "password=open%2C+sesame")
    assert answer.status == 303
    return answer.cookie


class TestAllowedHosts:
    @pytest.mark.parametrize("host", ["[::1]:8877", "192.168.1.7:8877", "LOCALHOST:1", "Music.Example.:80"])
    def test_accepts_local_names_and_ip_addresses(self, page: PageClient, host: str) -> None:
        assert page.request("/recent", Host=host).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            "localhost.evil.example", "127.0.0.1.evil.example", "music.example.evil", "evil.example:8877",
            "127.0.0.1@evil.example", "", "[::1", "a b",
        ],
    )  # fmt: skip
    def test_rejects_unknown_names(self, page: PageClient, host: str) -> None:
        answer = page.request("/health", Host=host)
        assert answer.status in (400, 421)
        assert b"Redis" not in answer.body

    def test_rejects_repeated_host_headers(self, page: PageClient) -> None:
        with page.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n")
            assert re.match(rb"HTTP/1.1 (400|421) ", connection.recv(100))


class TestSecurityHeaders:
    def test_every_response_has_security_headers_and_nothing_inline(self, page: PageClient) -> None:
        for target in TARGETS:
            answer = page.request(target)
            policy = answer.headers["content-security-policy"]
            allowed = "style-src 'sha256-" if ".svg" in target else "script-src 'self'; style-src 'self'; "
            assert policy.startswith(f"default-src 'none'; {allowed}")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert FIXED_HEADERS.items() <= answer.headers.items()
            assert "cache-control" in answer.headers
            assert "server" not in answer.headers
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert not re.search(r"<script(?![^>]*(src=|type=\"application/json\"))", answer.text)
                assert not re.search(r"<style|\sstyle=|\son\w+=", answer.text)

    def test_an_internal_error_has_the_headers_and_no_details(
        self, page: PageClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("spotify_logger.web.listeners.Index.sync", broken)
        answer = page.request("/clock")
        assert answer.status == 500
        assert "content-security-policy" in answer.headers
        assert "ZeroDivisionError" not in answer.text

    def test_unchanged_pages_are_not_sent_again_and_others_compressed(self, page: PageClient) -> None:
        first = page.request("/top/tracks")
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["content-encoding"] == "gzip"
        again = page.request("/top/tracks", If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        other = page.request("/top/tracks", If_None_Match='W/"other"', Accept_Encoding="identity")
        assert other.status == 200
        assert "content-encoding" not in other.headers
        head = page.request("/recent", "HEAD")
        assert (head.status, head.body) == (200, b"")


class TestSameOrigin:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
            {"Origin": "null"},
            {"Origin": "http://["},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://127.0.0.1:1"},
        ],
    )
    def test_rejects_cross_site_requests(self, page: PageClient, headers: dict[str, str]) -> None:
        assert page.request("/health/login", "POST", b"address=x", headers).status == 403

    def test_accepts_other_clients_but_no_large_forms(self, page: PageClient) -> None:
        assert page.post("/health/login", "address=x").status == 303
        assert page.post("/health/login", "address=" + "x" * 20_000).status == 400

    def test_other_routes_are_read_only(self, page: PageClient) -> None:
        (style,) = set(re.findall(r"/static/\w+/page\.css", page.request("/health").text))
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert page.request("/top/tracks", method).status == 405
            assert page.request(style, method).status == 405


class TestRequireSignIn:
    def test_reveals_nothing_before_signing_in(self, closed: PageClient) -> None:
        for target in TARGETS:
            if "static" not in target and target != "/sign-in":
                assert closed.request(target).status == 303
                assert closed.request(target, Accept="text/event-stream").status == 401
                assert closed.post(target, "").status == 401
        (style,) = set(re.findall(r"/static/\w+/page\.css", closed.request("/sign-in").text))
        assert closed.request(style).status == 200

    def test_signing_in_leads_to_the_requested_page(self, closed: PageClient) -> None:
        sign_in_page = closed.request("/top/tracks?by=time&year=2026").headers["location"]
        assert sign_in_page == "/sign-in?to=/top/tracks%3Fby%3Dtime%26year%3D2026"
        assert closed.request(sign_in_page).status == 200
        answer = closed.post(sign_in_page, "password=open%2C+sesame")
        assert answer.status == 303
        assert answer.headers["location"] == "/top/tracks?by=time&year=2026"
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=strict" in answer.headers["set-cookie"]
        assert closed.request("/recent", Cookie=answer.cookie).status == 200

    def test_never_redirects_to_other_sites(self, closed: PageClient) -> None:
        for to in (
            "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)",
            "http://[", "//[", "", "/a\nb", "x",
        ):  # fmt: skip
            answer = closed.post(f"/sign-in?to={quote(to, safe='')}", "password=open%2C+sesame")
            assert (answer.status, answer.headers["location"]) == (303, "/")

    def test_a_wrong_password_is_rejected_and_guessing_throttled(
        self, closed: PageClient, clock: ManualClock
    ) -> None:
        for _ in range(MAX_FAILURES):
            answer = closed.post("/sign-in", "password=guess")
            assert answer.status == 403
            assert "set-cookie" not in answer.headers
            assert "Wrong password" in answer.text
        assert closed.post("/sign-in", "password=open%2C+sesame").status == 429
        clock.now += WINDOW
        assert closed.post("/sign-in", "password=open%2C+sesame").status == 303

    def test_forged_and_expired_cookies_are_worthless(self, closed: PageClient, clock: ManualClock) -> None:
        for value in ("", "x", ".", "9999999999.", "9999999999.00", "é.é", "1.2.3", "٣.٣"):
            for sent in (quote(value), value.encode().decode("latin-1")):
                assert closed.request("/", Cookie=f"{SESSION_COOKIE}={sent}").status == 303
        cookie = sign_in(closed)
        clock.now += SESSION_LIFETIME - 1
        assert closed.request("/recent", Cookie=cookie).status == 200
        clock.now += 2
        assert closed.request("/health", Cookie=cookie).status == 303

    def test_signing_out_ends_only_this_session(self, closed: PageClient) -> None:
        cookie, other = sign_in(closed), sign_in(closed)
        answer = closed.post("/sign-out", "", Cookie=cookie)
        assert answer.headers["location"] == "/sign-in"
        assert answer.cookie == f'{SESSION_COOKIE}=""'
        assert closed.request("/health", Cookie=cookie).status == 303
        assert closed.request("/recent", Cookie=other).status == 200
        assert closed.post("/sign-out", "", Cookie=cookie).headers["location"] == "/sign-in"

    def test_no_secret_is_in_any_answer(self, closed: PageClient, redis_url: str) -> None:
        with closing(Archive(redis_url)) as store:
            write_play(store)
        cookie = sign_in(closed)
        for target in TARGETS:
            answer = closed.request(target, Cookie=cookie)
            exposed = answer.text + "".join(answer.headers.values())
            for secret in (*SECRETS.values(), cookie.partition("=")[2]):
                assert secret not in exposed, target

    def test_without_a_password_there_is_no_sign_in_page(self, page: PageClient) -> None:
        assert page.request("/sign-in?to=/recent").headers["location"] == "/recent"
        assert page.post("/sign-in", "password=x").headers["location"] == "/"
