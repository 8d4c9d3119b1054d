from __future__ import annotations

import base64
import hashlib
import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from spotify_logger.config.settings import load
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import DEFAULT_START, listen
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import login, oauth
from spotify_logger.spotify.http import Request, Response
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError, TryLater
from tests.conftest import date_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send

NOW = DEFAULT_START + 100.0
VERIFIER = "v" * 64
HISTORY = listen(1, 0.1)
TOKEN = Token("refresh-1", "access-1", login.SCOPES, NOW - 50.0)


@pytest.fixture(autouse=True)
def concealed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The secrets that are concealed in the log, forgotten after each test."""
    concealed: set[str] = set()
    monkeypatch.setattr(log, "_secrets", concealed)
    return concealed


@pytest.fixture
def app(tmp_path: Path) -> Settings:
    environ = {
        "STATE_DIR": str(tmp_path / "state"),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_ACCOUNTS_URL": "https://accounts.example",
    }
    return load(tmp_path, environ)


class RecordedAccounts:
    """The simulated accounts service in this process, and the requests to it."""

    def __init__(self) -> None:
        self.service = Service(HISTORY)
        self.requests: list[Request] = []
        self.now = NOW

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.service.handle(request, self.now)

    def consent(self, app: Settings) -> str:
        """Agree, and return the code."""
        request = Request("GET", login.authorize_url(app, "state", VERIFIER))
        response = self.service.handle(request, self.now)
        return parse_qs(urlsplit(response.headers["location"]).query)["code"][0]


def answering(status: int, body: object, headers: Mapping[str, str] | None = None) -> Send:
    """Return a server with one answer to everything."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: Response(status, headers or {}, content)


def exchange_code(send: Send, app: Settings, code: str, now: float) -> Token:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": app.redirect_uri}
    return oauth.request_token(send, app, {**form, "code_verifier": VERIFIER}, Token(""), now)


def test_authorize_url_has_the_challenge_but_no_secret(app: Settings) -> None:
    url = login.authorize_url(app, "a state", VERIFIER)
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    assert url.startswith("https://accounts.example/authorize?")
    assert {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} == {
        "client_id": DEMO_CLIENT_ID,
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1:8888/callback",
        "state": "a state",
        "scope": "user-read-playback-state user-read-recently-played",
        "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "show_dialog": "true",
    }
    assert VERIFIER not in url
    assert DEMO_CLIENT_SECRET not in url


@pytest.mark.parametrize("secret", [DEMO_CLIENT_SECRET, ""], ids=["secret", "no secret"])
def test_code_becomes_a_token_that_can_be_refreshed(app: Settings, secret: str) -> None:
    app, accounts = replace(app, client_secret=secret), RecordedAccounts()
    token = exchange_code(accounts, app, accounts.consent(app), NOW)
    assert (token.authorized_at, token.scope) == (NOW, login.SCOPES)
    accounts.now += 10
    later = oauth.request_token(accounts, app, {}, token, NOW + 10)
    assert later == replace(token, access_token=later.access_token)
    assert later.access_token != token.access_token
    for request in accounts.requests:
        assert (request.method, request.url) == ("POST", "https://accounts.example/api/token")
        assert request.form
        assert ("Authorization" in request.headers) == bool(secret)
        assert ("client_id" in request.form) == (not secret)
    assert accounts.requests[0].form
    assert accounts.requests[0].form["code_verifier"] == VERIFIER


@pytest.mark.parametrize(
    ("date", "ahead", "expected"),
    [
        pytest.param(date_header(NOW), -86400, NOW, id="a day behind"),
        pytest.param(date_header(NOW), 2.5, NOW, id="a little ahead"),
        pytest.param(date_header(NOW), 0.75, NOW + 0.75, id="right, and finer than the date"),
        pytest.param("today", 86400, NOW + 86400, id="invalid"),
        pytest.param(date_header(4.2e9), 86400, NOW + 86400, id="implausible"),
    ],
)
def test_plausible_date_of_the_answer_corrects_the_time(
    app: Settings, date: str, ahead: float, expected: float
) -> None:
    body = {"access_token": "access-2", "refresh_token": "refresh-2"}
    send = answering(200, body, {"date": date})
    token = exchange_code(send, app, "code", NOW + ahead)
    assert token.authorized_at == expected
    refreshed = oauth.request_token(send, app, {}, TOKEN, NOW + ahead)
    assert refreshed.authorized_at == TOKEN.authorized_at


GRANT = {"error": "invalid_grant", "error_description": "Refresh token revoked"}


@pytest.mark.parametrize(
    ("status", "body", "error", "word"),
    [
        (400, GRANT, LoginNeeded, "invalid_grant: Refresh token revoked"),
        (401, {"error": "invalid_client"}, Misconfigured, "invalid_client"),
        (400, {"error": "invalid_grant", "error_description": ["x"]}, LoginNeeded, "invalid_grant"),
        (400, {"error": "invalid_request"}, TryLater, r"400 \(invalid_request\)"),
        (500, GRANT, TryLater, "500"),
        (503, b"<!DOCTYPE html><html></html>", TryLater, "503"),
        (200, GRANT, TryLater, "without a token"),
        (200, {"access_token": "two\r\nlines"}, TryLater, "without a token"),
    ],
)
def test_only_invalid_grant_and_invalid_client_need_a_person(
    app: Settings, status: int, body: object, error: type[SpotifyLoggerError], word: str
) -> None:
    with pytest.raises(error, match=word):
        oauth.request_token(answering(status, body), app, {}, TOKEN, NOW)


@pytest.mark.parametrize(
    ("more", "refresh_token", "scope"),
    [
        ({}, "refresh-1", login.SCOPES),
        ({"refresh_token": "refresh-2", "scope": "a b"}, "refresh-2", "a b"),
        ({"refresh_token": None, "scope": None}, "refresh-1", login.SCOPES),
        ({"refresh_token": "", "scope": ["a"]}, "refresh-1", login.SCOPES),
        ({"refresh_token": "a b", "scope": "a\x1b[2Jb"}, "refresh-1", "a�[2Jb"),
    ],
)
def test_missing_or_invalid_fields_of_a_token_have_defaults(
    app: Settings, more: dict[str, object], refresh_token: str, scope: str
) -> None:
    token = oauth.request_token(answering(200, {"access_token": "access-2", **more}), app, {}, TOKEN, NOW)
    assert token == Token(refresh_token, "access-2", scope, TOKEN.authorized_at)


def test_login_without_a_refresh_token_is_an_error(app: Settings) -> None:
    with pytest.raises(TryLater, match="without a token"):
        exchange_code(answering(200, {"access_token": "access-2"}), app, "code", NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 60.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "9" * 5000}, 366 * 86400.0),
        ({"retry-after": date_header(NOW + 90)}, 90.0),
        ({"retry-after": date_header(5090), "date": date_header(5000)}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 01:01:30 -0000", "date": date_header(3600)}, 90.0),
    ],
)
def test_rate_limit_tells_how_long_to_wait_in_any_time_zone(
    app: Settings, headers: dict[str, str], seconds: float, set_timezone: Callable[[str], None]
) -> None:
    set_timezone("Asia/Tokyo")
    with pytest.raises(NotBefore) as caught:
        oauth.request_token(answering(429, b"Too many requests", headers), app, {}, TOKEN, NOW)
    assert caught.value.seconds == seconds


@pytest.mark.parametrize(
    ("consent", "end"),
    [
        ("2026-08-31T00:00:00", "2027-02-28T00:00:00"),
        ("2027-08-31T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_login_ends_six_calendar_months_after_the_consent(consent: str, end: str) -> None:
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (consent, end)]
    assert oauth.valid_until(replace(TOKEN, authorized_at=moments[0])) == moments[1]
    for unknown in (None, -1, 1e300):
        assert oauth.valid_until(Token("refresh-1", authorized_at=unknown)) is None


def test_tokens_are_not_in_the_repr() -> None:
    assert "refresh-1" not in repr(TOKEN)
    assert "access-1" not in repr(TOKEN)


def test_saved_token_is_private_and_concealed_in_the_next_process(
    tmp_path: Path, concealed: set[str]
) -> None:
    path = tmp_path / "token.json"
    token = replace(TOKEN, dead_reason='it "died" ✓', asked_at=NOW)
    TokenFile(path).save(token)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "refresh-1" in concealed
    concealed.clear()
    assert TokenFile(path).load() == token
    assert "refresh-1" in concealed
    assert list(tmp_path.iterdir()) == [path]


def test_changes_by_another_process_are_noticed(tmp_path: Path) -> None:
    daemon, other = TokenFile(tmp_path / "token.json"), TokenFile(tmp_path / "token.json")
    assert daemon.load() is None
    assert not daemon.changed()
    other.save(TOKEN)
    assert (daemon.changed(), other.changed()) == (True, False)
    assert daemon.load() == TOKEN
    assert not daemon.changed()
    daemon.save(replace(TOKEN, access_token="access-2"))
    assert (daemon.changed(), other.changed()) == (False, True)
    (tmp_path / "token.json").unlink()
    assert daemon.changed()


@pytest.mark.parametrize("content", [b'{"refresh_token": "abc', b"{}", b"\xff", b"x" * 70_000])
def test_invalid_file_costs_one_warning_until_there_is_another(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token.json"
    path.write_bytes(content)
    token_file = TokenFile(path)
    assert token_file.load() is None
    token_file.changed()
    assert capsys.readouterr().err.count("token.json") == 1
    assert path.read_bytes() == content
    token_file.save(TOKEN)
    assert TokenFile(path).load() == TOKEN


def test_invalid_fields_beside_a_refresh_token_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    fields = {"refresh_token": "refresh-1", "access_token": 1, "unknown": "x", "scope": 5}
    times = {"authorized_at": 10**400, "asked_at": True}
    path.write_text(json.dumps({**fields, **times, "dead_reason": "a\x1bb"}))
    assert TokenFile(path).load() == Token("refresh-1", dead_reason="a�b")
