from __future__ import annotations

import base64
import hashlib
import json
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


def basic(client_id: str = DEMO_CLIENT_ID, secret: str = DEMO_CLIENT_SECRET) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def authorize(service: Service, query: dict[str, str], now: float = T) -> Response:
    return service.handle(Request("GET", f"https://accounts.spotify.com/authorize?{urlencode(query)}"), now)


def code_of(service: Service, now: float = T, **changes: str) -> str:
    response = authorize(service, {**CONSENT, **changes}, now)
    return parse_qs(urlsplit(response.headers["location"]).query)["code"][0]


def post_token(
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


def get_player(service: Service, access_token: object, now: float = T + 1) -> tuple[int, str]:
    headers = {"authorization": f"Bearer {access_token}"}
    response = service.handle(Request("GET", "https://api.spotify.com/v1/me/player", headers), now)
    return response.status, response.body.decode()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "other"}, "INVALID_CLIENT: Invalid client"),
        ({"redirect_uri": "http://localhost:8888/callback"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": "http://[half"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"response_type": "token"}, "response_type must be code"),
        ({"scope": "user-read-everything"}, "INVALID_SCOPE: Invalid scope"),
        ({"code_challenge_method": "plain"}, "code_challenge_method must be S256"),
    ],
)
def test_refused_consent(service: Service, changes: dict[str, str], error: str) -> None:
    response = authorize(service, {**CONSENT, **changes})
    assert (response.status, response.body.decode()) == (400, error)


@pytest.mark.parametrize(
    ("headers", "extra"),
    [(basic(), {}), ({}, {"client_id": DEMO_CLIENT_ID})],
    ids=["basic", "PKCE alone"],
)
def test_a_code_is_exchanged_for_valid_tokens(
    service: Service, headers: dict[str, str], extra: dict[str, str]
) -> None:
    status, body = post_token(service, exchange(code_of(service), **extra), headers)
    assert status == 200
    assert set(body) == set(example("token/authorization_code.json"))
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, DEMO_SCOPES)
    assert get_player(service, body["access_token"])[0] == 200
    form = {"grant_type": "refresh_token", "refresh_token": str(body["refresh_token"]), **extra}
    assert post_token(service, form, headers)[0] == 200


@pytest.mark.parametrize(
    ("headers", "changes", "error"),
    [
        (basic(), {"code": "made up"}, "invalid_grant"),
        (basic(), {"redirect_uri": "http://127.0.0.1:1/"}, "invalid_grant"),
        (basic(), {"code_verifier": "w" * 50}, "invalid_grant"),
        (basic(), {"code_verifier": ""}, "invalid_request"),
        (basic(), {"grant_type": ""}, "unsupported_grant_type"),
        (basic(), {"grant_type": "password"}, "unsupported_grant_type"),
        (basic(client_id="other"), REFRESH, "invalid_client"),
        (basic(secret="other"), REFRESH, "invalid_client"),
        ({"Authorization": "Basic ###"}, REFRESH, "invalid_client"),
        (basic(), {**REFRESH, "refresh_token": ""}, "invalid_request"),
        (basic(), {**REFRESH, "refresh_token": "made up"}, "invalid_grant"),
    ],
)
def test_refused_requests_of_tokens(
    service: Service, headers: dict[str, str], changes: dict[str, str], error: str
) -> None:
    status, body = post_token(service, exchange(**{"code": code_of(service), **changes}), headers)
    assert (status, body["error"]) == (400, error)


def test_a_code_is_valid_once_and_for_ten_minutes(service: Service) -> None:
    code = code_of(service)
    assert post_token(service, exchange(code), basic(), T + CODE_SECONDS)[0] == 200
    assert post_token(service, exchange(code), basic(), T + CODE_SECONDS)[1]["error"] == "invalid_grant"
    answer = post_token(service, exchange(code_of(service)), basic(), T + CODE_SECONDS + 1)
    assert answer[1]["error_description"] == "Authorization code expired"


def test_rotation_revokes_the_old_refresh_token() -> None:
    service = Service(History(T).finish(), rotating=True)
    successor = str(post_token(service, REFRESH, basic())[1]["refresh_token"])
    assert post_token(service, REFRESH, basic())[1]["error_description"] == "Refresh token revoked"
    assert post_token(service, {**REFRESH, "refresh_token": successor}, basic())[0] == 200


def test_a_refresh_token_expires_six_months_after_the_consent(service: Service) -> None:
    end = six_months_after(T)
    assert post_token(service, REFRESH, basic(), end - 1)[0] == 200
    status, body = post_token(service, REFRESH, basic(), end)
    expected = {"error": "invalid_grant", "error_description": "Refresh token expired"}
    assert (status, body) == (400, expected)
    status, body = post_token(service, exchange(code_of(service, end)), basic(), end)
    assert status == 200, "a new login helps"
    form = {**REFRESH, "refresh_token": str(body["refresh_token"])}
    assert post_token(service, form, basic(), end + 86400 * 170)[0] == 200


def test_a_refresh_returns_an_access_token_for_an_hour(service: Service) -> None:
    status, body = post_token(service, REFRESH, basic())
    assert (status, set(body)) == (200, set(example("token/refresh.json")))
    token = body["access_token"]
    assert post_token(service, REFRESH, basic())[1]["access_token"] != token
    assert get_player(service, token, T + ACCESS_TOKEN_SECONDS - 1)[0] != 401
    expected = '{"error":{"status":401,"message":"The access token expired"}}'
    assert get_player(service, token, T + ACCESS_TOKEN_SECONDS) == (401, expected)


def test_secrets_are_in_no_repr() -> None:
    assert "secret" not in repr(AppLogin("an app", "the secret", "the secret"))
