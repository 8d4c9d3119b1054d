from __future__ import annotations

import base64
import hashlib
import json
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_logger.config.settings import is_visible_ascii, load
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import DEFAULT_START, listen
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import oauth
from spotify_logger.spotify.http import Request, Response
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError, TryLater
from tests.conftest import date_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send

NOW = DEFAULT_START + 100.0
VERIFIER = "v" * 64
RECORD = listen(1, 0.1)
TOKEN = Token("refresh-1", "access-1", NOW, oauth.SCOPES, NOW - 50.0)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is concealed, forgotten after each test."""
    concealed: set[str] = set()
    monkeypatch.setattr(log, "_secrets", concealed)
    return concealed


@pytest.fixture
def app(tmp_path: Path) -> Settings:
    environ = {
        "HOME": str(tmp_path),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_ACCOUNTS_URL": "https://accounts.example",
    }
    return load(tmp_path, environ)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Accounts:
    """The simulator's accounts service in this process, and what it was sent."""

    def __init__(self, *, rotating: bool = False) -> None:
        self.service = Service(RECORD, rotating=rotating)
        self.requests: list[Request] = []
        self.now = NOW

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.service.handle(request, self.now)

    def consent(self, url: str) -> str:
        """Agree at this address, and return the code."""
        response = self.service.handle(Request("GET", url), self.now)
        return parse_qs(urlsplit(response.headers["location"]).query)["code"][0]


def answering(status: int, body: object, headers: Mapping[str, str] | None = None) -> Send:
    """A server that says the same whatever it is asked."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(request: Request) -> Response:
        return Response(status, headers or {}, content)

    return send


def test_the_address_asks_for_what_is_needed_and_hides_the_verifier(app: Settings) -> None:
    url = oauth.authorize_url(app, "a state", VERIFIER)
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


@pytest.mark.parametrize("secret", [DEMO_CLIENT_SECRET, ""])
def test_a_code_becomes_a_token_that_can_be_refreshed(app: Settings, secret: str) -> None:
    app, accounts = replace(app, client_secret=secret), Accounts()
    code = accounts.consent(oauth.authorize_url(app, "state", VERIFIER))
    token = oauth.exchange_code(accounts, app, code, VERIFIER, NOW)
    assert (token.authorized_at, token.expires_at, token.scope) == (NOW, NOW + 3600, oauth.SCOPES)
    accounts.now += 10
    later = oauth.refresh(accounts, app, token, NOW + 10)
    assert later == replace(token, access_token=later.access_token, expires_at=NOW + 3610)
    assert later.access_token != token.access_token
    for request in accounts.requests:
        assert (request.method, request.url) == ("POST", "https://accounts.example/api/token")
        assert request.form
        assert ("Authorization" in request.headers) == bool(secret)
        assert ("client_id" in request.form) == (not secret)
    assert accounts.requests[0].form
    assert accounts.requests[0].form["code_verifier"] == VERIFIER


def test_a_new_refresh_token_replaces_the_old_one_and_the_consent_stays_as_old_as_it_is(
    app: Settings,
) -> None:
    accounts = Accounts(rotating=True)
    code = accounts.consent(oauth.authorize_url(app, "state", VERIFIER))
    token = oauth.exchange_code(accounts, app, code, VERIFIER, NOW)
    later = oauth.refresh(accounts, app, token, NOW + 10)
    assert later.refresh_token != token.refresh_token
    assert later.authorized_at == NOW
    with pytest.raises(LoginNeeded, match=r"\(invalid_grant: Refresh token revoked\)"):
        oauth.refresh(accounts, app, token, NOW + 20)


def test_a_refresh_that_works_brings_the_dead_back(app: Settings) -> None:
    dead = replace(TOKEN, dead_at=NOW, dead_reason="revoked", asked_at=NOW)
    alive = oauth.refresh(answering(200, {"access_token": "access-2"}), app, dead, NOW)
    assert alive == replace(TOKEN, access_token="access-2", expires_at=NOW + 3600)


@pytest.mark.parametrize(
    ("verifier", "code", "message"),
    [
        ("w" * 64, None, "code_verifier was incorrect"),
        (VERIFIER, "AQ-not-a-code", "Invalid authorization code"),
    ],
)
def test_a_code_that_is_not_taken_needs_another_login(
    app: Settings, verifier: str, code: str | None, message: str
) -> None:
    accounts = Accounts()
    given = accounts.consent(oauth.authorize_url(app, "state", VERIFIER))
    with pytest.raises(LoginNeeded, match=message):
        oauth.exchange_code(accounts, app, code or given, verifier, NOW)


def test_a_client_that_spotify_does_not_know_is_a_setting_to_correct(app: Settings) -> None:
    accounts = Accounts()
    code = accounts.consent(oauth.authorize_url(app, "state", VERIFIER))
    wrong = replace(app, client_secret="wrong-secret")
    message = (
        r"\(invalid_client: Invalid client secret\): correct SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET"
    )
    with pytest.raises(Misconfigured, match=message):
        oauth.exchange_code(accounts, wrong, code, VERIFIER, NOW)
    with pytest.raises(LoginNeeded, match=message):
        oauth.refresh(accounts, wrong, TOKEN, NOW)


# The time: a machine's clock may be wrong, and the answer's `Date` is not

GIVEN = {"access_token": "access-2", "refresh_token": "refresh-2", "expires_in": 60}
DATE = date_header(NOW)


def logged_in(app: Settings, now: float, date: str | None) -> Token:
    """The token of a login, and that of a refresh, which must agree on the time."""
    send = answering(200, GIVEN, {} if date is None else {"date": date})
    token = oauth.exchange_code(send, app, "code", VERIFIER, now)
    assert token.authorized_at == token.expires_at - 60
    refreshed = oauth.refresh(send, app, TOKEN, now)
    assert (refreshed.authorized_at, refreshed.expires_at) == (TOKEN.authorized_at, token.expires_at)
    return token


@pytest.mark.parametrize(
    "now", [60.0, NOW - 86400, NOW - 2.5, NOW + 2.5, NOW + 86400, NOW + 5e8], ids=lambda now: f"{now - NOW:+}"
)
def test_a_login_on_a_machine_with_a_wrong_clock_is_as_old_as_spotify_says(app: Settings, now: float) -> None:
    token = logged_in(app, now, DATE)
    assert token.authorized_at == NOW
    assert oauth.valid_until(token) == oauth.valid_until(replace(TOKEN, authorized_at=NOW))


@pytest.mark.parametrize("now", [NOW - 2, NOW - 0.25, NOW, NOW + 0.75, NOW + 2])
def test_a_clock_that_is_right_knows_it_better_than_whole_seconds_do(app: Settings, now: float) -> None:
    assert logged_in(app, now, DATE).authorized_at == now


@pytest.mark.parametrize("now", [NOW, NOW + 86400])
@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "today",
        "\x00" * 50,
        "Thu, 01 Jan 1970 00:00:00 GMT",
        date_header(1.59e9),
        date_header(4.2e9),
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2400",
        "Sun, 42 Nov 2026 18:00:00 GMT",
        "9" * 5000,
    ],
)
def test_without_a_date_that_makes_sense_the_machine_is_believed(
    app: Settings, now: float, date: str | None
) -> None:
    assert logged_in(app, now, date).authorized_at == now


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DATE, NOW),
        (date_header(1.7e9), 1.7e9),
        (date_header(4.09e9), 4.09e9),
        ("Fri, 13 Sep 2019 12:00:00 GMT", None),
        ("Thu, 01 Jan 2100 00:00:00 GMT", None),
        ("soon", None),
    ],
)
def test_what_a_date_may_say(text: str, expected: float | None) -> None:
    assert oauth.server_time({"date": text}) == expected
    assert oauth.server_time({"Date": text}) is None, "names are in lower case"
    assert oauth.server_time({}) is None


GRANT = {"error": "invalid_grant", "error_description": "Refresh token revoked"}
ANSWERS: list[tuple[int, object, type[SpotifyLoggerError], str]] = [
    (400, GRANT, LoginNeeded, "invalid_grant: Refresh token revoked"),
    (401, {"error": "invalid_client"}, LoginNeeded, r"\(invalid_client\)"),
    (400, {"error": "invalid_grant", "error_description": ["x"]}, LoginNeeded, r"\(invalid_grant\)"),
    (400, {"error": "invalid_request"}, TryLater, r"answers 400 \(invalid_request\)"),
    (400, {"error": {"status": 400, "message": "no"}}, TryLater, r"answers 400 \(no reason given\)"),
    (400, b"invalid_grant", TryLater, "answers 400"),
    (403, b"User not registered in the Developer Dashboard", TryLater, "answers 403"),
    (500, GRANT, TryLater, "answers 500"),
    (503, b"upstream connect error or disconnect/reset before headers", TryLater, "answers 503"),
    (503, b"<!DOCTYPE html><html></html>", TryLater, "answers 503"),
    (302, b"", TryLater, "answers 302"),
    (204, b"", TryLater, "answers 204"),
    (200, b"", TryLater, "200 without a token"),
    (200, b"\xff\xfe", TryLater, "200 without a token"),
    (200, b"[" * 50_000, TryLater, "200 without a token"),
    (200, b"1" * 5_000, TryLater, "200 without a token"),
    (200, GRANT, TryLater, "200 without a token"),
    (200, [], TryLater, "200 without a token"),
    (200, "access_token", TryLater, "200 without a token"),
    (200, {"access_token": ""}, TryLater, "200 without a token"),
    (200, {"access_token": None}, TryLater, "200 without a token"),
    (200, {"access_token": ["x"]}, TryLater, "200 without a token"),
    (200, {"access_token": "two\r\nlines"}, TryLater, "200 without a token"),
]


@pytest.mark.parametrize(("status", "body", "error", "message"), ANSWERS)
def test_only_two_answers_need_a_person(
    app: Settings, status: int, body: object, error: type[SpotifyLoggerError], message: str
) -> None:
    with pytest.raises(error, match=message):
        oauth.refresh(answering(status, body), app, TOKEN, NOW)


@pytest.mark.parametrize(
    ("more", "lifetime", "refresh_token", "scope"),
    [
        ({}, 3600.0, "refresh-1", oauth.SCOPES),
        ({"expires_in": 60, "refresh_token": "refresh-2", "scope": "a b"}, 60.0, "refresh-2", "a b"),
        ({"expires_in": 10**9, "refresh_token": None, "scope": None}, 86400.0, "refresh-1", oauth.SCOPES),
        ({"expires_in": -5, "refresh_token": "", "scope": ["a"]}, 3600.0, "refresh-1", oauth.SCOPES),
        ({"expires_in": "60", "refresh_token": "a b", "scope": "a\x1b[2Jb"}, 3600.0, "refresh-1", "a�[2Jb"),
        ({"expires_in": True, "refresh_token": 12, "scope": ""}, 3600.0, "refresh-1", ""),
        ({"expires_in": 10**400, "refresh_token": ["x"], "scope": ""}, 3600.0, "refresh-1", ""),
        ({"expires_in": float("nan")}, 3600.0, "refresh-1", oauth.SCOPES),
    ],
)
def test_what_a_good_answer_leaves_out_or_gets_wrong_is_made_up_for(
    app: Settings, more: dict[str, object], lifetime: float, refresh_token: str, scope: str
) -> None:
    token = oauth.refresh(answering(200, {"access_token": "access-2", **more}), app, TOKEN, NOW)
    assert token == Token(refresh_token, "access-2", NOW + lifetime, scope, TOKEN.authorized_at)


def test_a_login_without_a_refresh_token_is_none(app: Settings) -> None:
    with pytest.raises(TryLater, match="no refresh token"):
        oauth.exchange_code(answering(200, {"access_token": "access-2"}), app, "code", VERIFIER, NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 60.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-7"}, 60.0),
        ({"retry-after": "soon"}, 60.0),
        ({"retry-after": "nan"}, 60.0),
        ({"retry-after": "١٢"}, 60.0),
        ({"retry-after": "9" * 5000}, 366 * 86400.0),
        ({"retry-after": date_header(NOW + 90)}, 90.0),
        ({"retry-after": date_header(NOW - 90)}, 0.0),
        ({"retry-after": date_header(5090), "date": date_header(5000)}, 90.0),
        ({"retry-after": date_header(NOW + 90), "date": "today"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 01:01:30 -0000", "date": date_header(3600)}, 90.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2400"}, 60.0),
    ],
)
def test_a_rate_limit_is_a_time_to_wait(
    app: Settings, headers: dict[str, str], seconds: float, far_from_greenwich: None
) -> None:
    with pytest.raises(NotBefore, match="asks to wait") as caught:
        oauth.refresh(answering(429, b"Too many requests", headers), app, TOKEN, NOW)
    assert caught.value.seconds == seconds


@pytest.mark.parametrize(
    ("consent", "end"),
    [
        ("2026-07-20T10:30:00", "2027-01-20T10:30:00"),
        ("2026-08-31T00:00:00", "2027-02-28T00:00:00"),
        ("2027-08-31T00:00:00", "2028-02-29T00:00:00"),
        ("2026-12-31T23:59:59", "2027-06-30T23:59:59"),
        ("2026-06-30T12:00:00", "2026-12-30T12:00:00"),
    ],
)
def test_a_login_ends_six_calendar_months_after_the_consent(consent: str, end: str) -> None:
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (consent, end)]
    assert oauth.valid_until(replace(TOKEN, authorized_at=moments[0])) == moments[1]


def test_nobody_knows_when_a_login_of_unknown_age_ends() -> None:
    assert oauth.valid_until(Token("refresh-1")) is None


@pytest.mark.parametrize(
    ("scope", "missing"),
    [
        (oauth.SCOPES, []),
        ("", []),
        (f"more {oauth.SCOPES} and-more", []),
        ("user-read-playback-state", ["user-read-recently-played"]),
        ("other", ["user-read-playback-state", "user-read-recently-played"]),
    ],
)
def test_scopes_that_were_not_given_are_named(scope: str, missing: list[str]) -> None:
    assert oauth.missing_scopes(replace(TOKEN, scope=scope)) == missing


def test_a_token_of_the_settings_starts_a_machine(app: Settings) -> None:
    assert oauth.token_from_settings(app) is None
    assert oauth.token_from_settings(replace(app, refresh_token="refresh-9")) == Token("refresh-9")


def test_no_secret_is_in_the_repr() -> None:
    assert "refresh-1" not in repr(TOKEN)
    assert "access-1" not in repr(TOKEN)


def test_what_is_saved_is_loaded_by_the_next_process(tmp_path: Path, secrets: set[str]) -> None:
    path = tmp_path / "token.json"
    token = replace(TOKEN, dead_at=NOW, dead_reason='it "died" ✓', asked_at=NOW + 1)
    TokenFile(path).save(token)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "refresh-1" in secrets
    secrets.clear()
    assert TokenFile(path).load() == token
    assert "refresh-1" in secrets
    assert list(tmp_path.iterdir()) == [path]


def test_what_another_process_saves_is_noticed(tmp_path: Path) -> None:
    daemon, login = TokenFile(tmp_path / "token.json"), TokenFile(tmp_path / "token.json")
    assert daemon.load() is None
    assert not daemon.changed()
    login.save(TOKEN)
    assert not login.changed()
    assert daemon.changed()
    assert daemon.load() == TOKEN
    assert not daemon.changed()
    daemon.save(replace(TOKEN, access_token="access-2"))
    assert not daemon.changed()
    assert login.changed()
    (tmp_path / "token.json").unlink()
    assert daemon.changed()


GARBAGE = [
    b"",
    b"\0\0\0\0",
    b'{"refresh_token": "abc',
    b"[]",
    b"null",
    b"{}",
    b'{"refresh_token": ""}',
    b"\xff\xfe\x00",
]
GARBAGE += [b'{"refresh_token": "a b"}', b'{"refresh_token": ["a"]}', b"[" * 60_000, b"x" * 70_000]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_a_file_without_a_token_is_warned_about_once_and_never_erased(
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
    assert (tmp_path / "token.json.bad").read_bytes() == content
    token_file.save(replace(TOKEN, refresh_token="refresh-2"))
    assert (tmp_path / "token.json.bad").read_bytes() == content


def test_a_folder_in_the_way_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    path.mkdir()
    token_file = TokenFile(path)
    assert token_file.load() is None
    assert not token_file.changed()
    token_file.save(TOKEN)
    assert token_file.load() == TOKEN


def test_what_is_odd_beside_a_refresh_token_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    odd = {
        "access_token": 1,
        "expires_at": "x",
        "scope": 5,
        "authorized_at": 1e300,
        "dead_at": -1,
        "asked_at": True,
    }
    path.write_text(json.dumps({"refresh_token": "refresh-1", "dead_reason": "a\x1bb", **odd}))
    assert TokenFile(path).load() == Token("refresh-1", dead_reason="a�b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from([*Token.__dataclass_fields__, "expires_in", "error", "error_description"])
SHAPES = st.dictionaries(
    FIELDS, JSON | st.sampled_from(["invalid_grant", "invalid_client", "abcdef"]), max_size=8
)
BODIES = st.binary(max_size=50) | (JSON | SHAPES).map(lambda value: json.dumps(value).encode())
STATUSES = st.sampled_from([200, 400, 401, 429, 500]) | st.integers(100, 599)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=30))
MANY = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@MANY
@given(STATUSES, HEADERS, BODIES)
def test_any_answer_ends_in_a_token_or_in_one_of_the_errors(
    app: Settings, status: int, headers: dict[str, str], body: bytes
) -> None:
    send = answering(status, body, headers)
    for ask in (
        partial(oauth.refresh, send, app, TOKEN, NOW),
        partial(oauth.exchange_code, send, app, "code", VERIFIER, NOW),
    ):
        try:
            token = ask()
        except (TryLater, NotBefore, LoginNeeded, Misconfigured) as error:
            line = str(error)
        else:
            line = token.scope
            assert is_visible_ascii(token.refresh_token)
            assert is_visible_ascii(token.access_token)
            told = oauth.server_time(headers)
            assert NOW < token.expires_at <= NOW + 86400 or told is not None
        assert line.isprintable()


@settings(MANY, max_examples=200)
@given(BODIES)
def test_any_file_is_a_token_or_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token.json"
    path.write_bytes(content)
    token = TokenFile(path).load()
    if token is not None:
        oauth.valid_until(token)
        TokenFile(path).save(token)
        assert TokenFile(path).load() == token
