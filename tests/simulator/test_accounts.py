from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from spotify_logger.simulator.accounts import (
    ACCESS_TOKEN_SECONDS,
    CODE_SECONDS,
    DEMO_CLIENT_ID,
    DEMO_CLIENT_SECRET,
    DEMO_REFRESH_TOKEN,
    DEMO_SCOPES,
    AppLogin,
    six_months_after,
)
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.service import Service
from spotify_logger.spotify.http import Request
from tests.examples import example

if TYPE_CHECKING:
    from spotify_logger.spotify.http import Response

T = 1_700_000_000.0
REDIRECT = "http://127.0.0.1:8888/callback"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
CONSENT = {
    "client_id": DEMO_CLIENT_ID,
    "response_type": "code",
    "redirect_uri": REDIRECT,
    "state": "a state & more",
    "scope": DEMO_SCOPES,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
REFRESH = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN}


@pytest.fixture
def service() -> Service:
    return Service(History(T).play(song("A", 200)).finish())


def basic(identity: str = DEMO_CLIENT_ID, secret: str = DEMO_CLIENT_SECRET) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{identity}:{secret}".encode()).decode()}


def authorize(service: Service, query: dict[str, str], now: float = T) -> Response:
    return service.handle(Request("GET", f"https://accounts.spotify.com/authorize?{urlencode(query)}"), now)


def code_of(service: Service, now: float = T, **changes: str) -> str:
    response = authorize(service, {**CONSENT, **changes}, now)
    return parse_qs(urlsplit(response.headers["location"]).query)["code"][0]


def ask(
    service: Service, form: dict[str, str], headers: dict[str, str] | None = None, now: float = T
) -> tuple[int, dict[str, object]]:
    url = "https://accounts.spotify.com/api/token"
    response = service.handle(Request("POST", url, headers or {}, form), now)
    return response.status, json.loads(response.body)


def exchange(code: str, **changes: str) -> dict[str, str]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    return {name: value for name, value in {**form, **changes}.items() if value}


def play(service: Service, access_token: object, now: float = T + 1) -> tuple[int, str]:
    headers = {"authorization": f"Bearer {access_token}"}
    response = service.handle(Request("GET", "https://api.spotify.com/v1/me/player", headers), now)
    return response.status, response.body.decode()


def test_consent_sends_the_browser_back_with_code_and_state(service: Service) -> None:
    response = authorize(service, CONSENT)
    assert response.status == 302
    location = response.headers["location"]
    assert location.startswith(f"{REDIRECT}?code=AQ")
    assert parse_qs(urlsplit(location).query)["state"] == [CONSENT["state"]]


@pytest.mark.parametrize("redirect", ["http://[::1]:9/x", "https://example.org/callback", "http://127.0.0.1"])
def test_redirects_that_spotify_allows(service: Service, redirect: str) -> None:
    assert authorize(service, {**CONSENT, "redirect_uri": redirect}).status == 302


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"client_id": "other"}, "INVALID_CLIENT: Invalid client"),
        ({"redirect_uri": "http://localhost:8888/callback"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": "http://example.org/"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": "http://[half"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": ""}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"response_type": "token"}, "response_type must be code"),
        ({"scope": "user-read-everything"}, "INVALID_SCOPE: Invalid scope"),
        ({"code_challenge_method": "plain"}, "code_challenge_method must be S256"),
    ],
)
def test_consent_that_is_refused(service: Service, changes: dict[str, str], says: str) -> None:
    response = authorize(service, {**CONSENT, **changes})
    assert (response.status, response.body.decode()) == (400, says)


@pytest.mark.parametrize(
    ("headers", "extra"),
    [
        (basic(), {}),
        ({}, {"client_id": DEMO_CLIENT_ID}),
        ({}, {"client_id": DEMO_CLIENT_ID, "client_secret": DEMO_CLIENT_SECRET}),
    ],
    ids=["basic", "PKCE alone", "secret in the form"],
)
def test_a_code_becomes_tokens_that_work(
    service: Service, headers: dict[str, str], extra: dict[str, str]
) -> None:
    status, body = ask(service, exchange(code_of(service), **extra), headers)
    assert status == 200
    assert set(body) == set(example("token/authorization_code.json"))
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, DEMO_SCOPES)
    assert play(service, body["access_token"])[0] == 200
    form = {"grant_type": "refresh_token", "refresh_token": str(body["refresh_token"]), **extra}
    assert ask(service, form, headers)[0] == 200


def test_a_code_without_a_challenge_needs_the_secret(service: Service) -> None:
    def code() -> str:
        query = {name: value for name, value in CONSENT.items() if not name.startswith("code_challenge")}
        location = authorize(service, query).headers["location"]
        return parse_qs(urlsplit(location).query)["code"][0]

    assert ask(service, exchange(code(), code_verifier=""), basic())[0] == 200
    status, body = ask(service, exchange(code(), client_id=DEMO_CLIENT_ID))
    assert (status, body["error"]) == (400, "invalid_client")


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"code": "made up"}, "invalid_grant", "Invalid authorization code"),
        ({"redirect_uri": "http://127.0.0.1:1/"}, "invalid_grant", "Invalid redirect URI"),
        ({"code_verifier": "w" * 50}, "invalid_grant", "code_verifier was incorrect"),
        ({"code_verifier": ""}, "invalid_request", "code_verifier must be supplied"),
        ({"grant_type": ""}, "unsupported_grant_type", "grant_type parameter is missing"),
        ({"grant_type": "password"}, "unsupported_grant_type",
         "grant_type must be client_credentials, authorization_code or refresh_token"),
    ],
)  # fmt: skip
def test_exchanges_that_are_refused(
    service: Service, changes: dict[str, str], error: str, description: str
) -> None:
    form = exchange(**{"code": code_of(service), **changes})
    assert ask(service, form, basic()) == (400, {"error": error, "error_description": description})


def test_a_code_works_once_and_for_ten_minutes(service: Service) -> None:
    code = code_of(service)
    assert ask(service, exchange(code), basic(), T + CODE_SECONDS)[0] == 200
    assert ask(service, exchange(code), basic(), T + CODE_SECONDS)[1]["error"] == "invalid_grant"
    late = code_of(service)
    answer = ask(service, exchange(late), basic(), T + CODE_SECONDS + 1)
    assert answer[1]["error_description"] == "Authorization code expired"


@pytest.mark.parametrize(
    ("headers", "form", "description"),
    [
        (basic(identity="other"), REFRESH, "Invalid client"),
        (basic(secret="other"), REFRESH, "Invalid client secret"),
        ({"Authorization": "Basic ###"}, REFRESH, "Invalid client"),
        ({}, REFRESH, "Invalid client"),
        ({}, {**REFRESH, "client_id": "other"}, "Invalid client"),
    ],
)
def test_clients_that_are_refused(
    service: Service, headers: dict[str, str], form: dict[str, str], description: str
) -> None:
    refusal = {"error": "invalid_client", "error_description": description}
    assert ask(service, form, headers) == (400, refusal)


def test_a_refresh_brings_no_new_refresh_token(service: Service) -> None:
    status, body = ask(service, REFRESH, basic())
    assert (status, set(body)) == (200, set(example("token/refresh.json")))
    again = ask(service, REFRESH, basic())[1]
    assert again["access_token"] != body["access_token"]


@pytest.mark.parametrize(
    ("token", "error", "description"),
    [
        ("", "invalid_request", "refresh_token must be supplied"),
        ("made up", "invalid_grant", "Invalid refresh token"),
    ],
)
def test_refreshes_that_are_refused(service: Service, token: str, error: str, description: str) -> None:
    refusal = {"error": error, "error_description": description}
    assert ask(service, {**REFRESH, "refresh_token": token}, basic()) == (400, refusal)


def test_with_rotation_the_old_refresh_token_is_dead() -> None:
    service = Service(History(T).finish(), rotating=True)
    successor = str(ask(service, REFRESH, basic())[1]["refresh_token"])
    assert ask(service, REFRESH, basic())[1]["error_description"] == "Refresh token revoked"
    assert ask(service, {**REFRESH, "refresh_token": successor}, basic())[0] == 200


def test_a_refresh_token_dies_six_months_after_the_consent_however_it_is_used(service: Service) -> None:
    end = six_months_after(T)
    for moment in (T + 86400 * 100, end - 1):
        assert ask(service, REFRESH, basic(), moment)[0] == 200
    status, body = ask(service, REFRESH, basic(), end)
    assert (status, body["error"], body["error_description"]) == (
        400,
        "invalid_grant",
        "Refresh token expired",
    )
    status, body = ask(service, exchange(code_of(service, end)), basic(), end)
    assert status == 200, "logging in again helps"
    form = {**REFRESH, "refresh_token": str(body["refresh_token"])}
    assert ask(service, form, basic(), end + 86400 * 170)[0] == 200


@pytest.mark.parametrize(
    ("consent", "dead"),
    [
        ("2026-01-05T10:00:00", "2026-07-05T10:00:00"),
        ("2026-08-31T10:00:00", "2027-02-28T10:00:00"),
        ("2026-12-31T23:59:59", "2027-06-30T23:59:59"),
    ],
)
def test_six_months(consent: str, dead: str) -> None:
    moments = [datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp() for stamp in (consent, dead)]
    assert six_months_after(moments[0]) == moments[1]


def test_an_access_token_lives_an_hour(service: Service) -> None:
    token = ask(service, REFRESH, basic())[1]["access_token"]
    assert play(service, token, T + ACCESS_TOKEN_SECONDS - 1)[0] != 401
    assert play(service, token, T + ACCESS_TOKEN_SECONDS) == (
        401,
        '{"error":{"status":401,"message":"The access token expired"}}',
    )


def test_the_scopes_are_those_of_the_consent(service: Service) -> None:
    code = code_of(service, scope="user-read-recently-played")
    token = ask(service, exchange(code), basic())[1]["access_token"]
    assert play(service, token) == (401, '{"error":{"status":401,"message":"Permissions missing"}}')


def test_an_app_of_ones_own_and_no_secrets_in_its_repr() -> None:
    login = AppLogin("an app", "a secret", "a token")
    service = Service(History(T).finish(), login=login)
    form = {"grant_type": "refresh_token", "refresh_token": "a token"}
    assert ask(service, form, basic("an app", "a secret"))[0] == 200
    assert ask(service, REFRESH, basic())[0] == 400
    assert "a secret" not in repr(login)
    assert "a token" not in repr(login)
