from __future__ import annotations

import base64
import json
from email.utils import parsedate_to_datetime

import pytest

from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import Fault
from spotify_logger.simulator.history import History
from spotify_logger.simulator.service import PLAYER_PATH, RECENTLY_PATH, Service
from spotify_logger.spotify.http import Request, Response
from tests.examples import example

T = 1_700_000_000.0
PLAYER = f"https://api.spotify.com{PLAYER_PATH}?additional_types=track,episode"
RECENTLY = f"https://api.spotify.com{RECENTLY_PATH}"
BASIC = base64.b64encode(f"{DEMO_CLIENT_ID}:{DEMO_CLIENT_SECRET}".encode()).decode()


@pytest.fixture
def service() -> Service:
    history = History(T).play(song("A", 200)).play(song("B", 300)).gone(600)
    return Service(history.finish(), seed=1)


def refresh(service: Service, now: float = T) -> Response:
    form = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN}
    url, headers = "https://accounts.spotify.com/api/token", {"Authorization": f"Basic {BASIC}"}
    return service.handle(Request("POST", url, headers, form), now)


def get(service: Service, url: str, now: float, access_token: str = "") -> Response:
    token = access_token or json.loads(refresh(service, now).body)["access_token"]
    return service.handle(Request("GET", url, {"Authorization": f"Bearer {token}"}), now)


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "No token provided"),
        ({"Authorization": "Basic abc"}, 400, "Only valid bearer authentication supported"),
        ({"Authorization": "Bearer made-up"}, 401, "Invalid access token"),
    ],
)
def test_requests_without_a_valid_token(
    service: Service, headers: dict[str, str], status: int, message: str
) -> None:
    for url in (PLAYER, RECENTLY):
        response = service.handle(Request("GET", url, headers), T)
        assert response.status == status
        assert json.loads(response.body) == {"error": {"status": status, "message": message}}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?limit=50&after=0", 200),
        ("?limit=51", 400),
        ("?limit=many", 400),
        ("?after=1&before=2", 400),
    ],
)
def test_queries_of_recently_played(service: Service, query: str, status: int) -> None:
    assert get(service, RECENTLY + query, T + 5000).status == status


def test_every_response_has_a_date(service: Service) -> None:
    requests = Request("GET", PLAYER), Request("GET", "/nowhere")
    responses = [service.handle(request, T + 250.9) for request in requests]
    responses += [get(service, PLAYER, T + 250.9), refresh(service, T + 250.9)]
    for name in ("error_503", "rate_limit", "nothing", "html"):
        service.faults.add(Fault(name, requests=1), T)
        responses.append(get(service, PLAYER, T + 250.9))
    dates = {parsedate_to_datetime(response.headers["date"]).timestamp() for response in responses}
    assert dates == {T + 250}


class TestServiceFaults:
    @pytest.mark.parametrize(
        ("name", "real"),
        [
            ("expired", "401_expired.json"),
            ("permissions_missing", "401_permissions_missing.json"),
            ("not_registered", "403_not_registered.txt"),
            ("rate_limit", "429_rate_limit.json"),
            ("quota_exceeded", "429_quota_exceeded.json"),
            ("error_500", "500_says_502.json"),
            ("error_503", "503_plain.txt"),
        ],
    )
    def test_errors_are_like_real_ones(self, service: Service, name: str, real: str) -> None:
        service.faults.add(Fault(name, requests=1), T)
        response = get(service, PLAYER, T + 1)
        body = response.body.decode()
        assert response.status == int(real[:3])
        assert (json.loads(body) if real.endswith(".json") else body) == example(f"errors/{real}")

    @pytest.mark.parametrize(
        ("name", "value", "retry_after"),
        [
            ("rate_limit", None, "30"),
            ("rate_limit_date", 7, "Tue, 14 Nov 2023 22:13:28 GMT"),
            ("rate_limit_bare", None, None),
            ("rate_limit_text", 19056, "19056"),
            ("quota_exceeded", 49861, "49861"),
        ],
    )
    def test_rate_limits(
        self, service: Service, name: str, value: float | None, retry_after: str | None
    ) -> None:
        service.faults.add(Fault(name, value=value), T)
        response = get(service, PLAYER, T + 1)
        assert (response.status, response.headers.get("retry-after")) == (429, retry_after)
        assert (name == "rate_limit_text") == (response.body == b"Too many requests")

    def test_stale_responses_repeat_the_last_true_one(self, service: Service) -> None:
        true = get(service, PLAYER, T + 190).body
        service.faults.add(Fault("stale", seconds=3600), T + 200)
        assert {get(service, PLAYER, T + moment).body for moment in (210, 900, 3000)} == {true}
        assert get(service, PLAYER, T + 3801).status == 204

    def test_a_denied_consent(self, service: Service) -> None:
        query = f"client_id={DEMO_CLIENT_ID}&response_type=code&redirect_uri=http://127.0.0.1:1/c&state=x%26y"
        service.faults.add(Fault("access_denied", requests=1), T)
        response = service.handle(Request("GET", f"/authorize?{query}"), T)
        assert response.headers["location"] == "http://127.0.0.1:1/c?error=access_denied&state=x%26y"
        service.faults.add(Fault("access_denied", requests=1), T)
        assert service.handle(Request("GET", "/authorize"), T).status == 400

    def test_a_fault_is_limited_to_requests_time_and_path(self, service: Service) -> None:
        service.faults.add(Fault("error_502", requests=2), T)
        service.faults.add(Fault("error_503", seconds=10, path=RECENTLY_PATH), T)
        requests = [(PLAYER, 1), (RECENTLY, 2), (RECENTLY, 3), (PLAYER, 3), (RECENTLY, 11)]
        token = json.loads(refresh(service).body)["access_token"]
        assert [get(service, url, T + at, token).status for url, at in requests] == [502, 502, 503, 200, 200]
        assert service.faults.names == []
