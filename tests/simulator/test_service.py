from __future__ import annotations

import base64
import json
from email.utils import parsedate_to_datetime

import pytest

from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN, AppLogin
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import NAMES, Fault, WireFault
from spotify_logger.simulator.history import History
from spotify_logger.simulator.service import PLAYER_PATH, RECENTLY_PATH, Service
from spotify_logger.spotify.http import Request, Response
from tests.examples import example

T = 1_700_000_000.0
PLAYER = f"https://api.spotify.com{PLAYER_PATH}?additional_types=track,episode"
RECENTLY = f"https://api.spotify.com{RECENTLY_PATH}"
TOKEN = "https://accounts.spotify.com/api/token"
BASIC = base64.b64encode(f"{DEMO_CLIENT_ID}:{DEMO_CLIENT_SECRET}".encode()).decode()
REFRESH = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN}


@pytest.fixture
def service() -> Service:
    history = History(T).play(song("A", 200)).play(song("B", 300)).gone(600)
    return Service(history.finish(), seed=1)


def refresh(service: Service, now: float = T) -> Response:
    return service.handle(Request("POST", TOKEN, {"Authorization": f"Basic {BASIC}"}, REFRESH), now)


def token(service: Service, now: float = T) -> str:
    access_token = json.loads(refresh(service, now).body)["access_token"]
    assert isinstance(access_token, str)
    return access_token


def get(service: Service, url: str, now: float, access_token: str | None = None) -> Response:
    bearer = token(service, now) if access_token is None else access_token
    return service.handle(Request("GET", url, {"Authorization": f"Bearer {bearer}"}), now)


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "No token provided"),
        ({"Authorization": "Basic abc"}, 400, "Only valid bearer authentication supported"),
        ({"Authorization": "Bearer made-up"}, 401, "Invalid access token"),
    ],
)
@pytest.mark.parametrize("url", [PLAYER, RECENTLY])
def test_who_may_ask(service: Service, url: str, headers: dict[str, str], status: int, message: str) -> None:
    response = service.handle(Request("GET", url, headers), T)
    assert (response.status, json.loads(response.body)) == (
        status,
        {"error": {"status": status, "message": message}},
    )


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [("user-read-playback-state", PLAYER, RECENTLY), ("user-read-recently-played", RECENTLY, PLAYER)],
)
def test_each_endpoint_has_its_scope(scope: str, allowed: str, refused: str) -> None:
    service = Service(History(T).play(song("A", 200)).finish(), login=AppLogin(scopes=scope))
    assert get(service, allowed, T + 1).status == 200
    response = get(service, refused, T + 1)
    assert (response.status, b"Permissions missing" in response.body) == (401, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/me"), ("GET", "/api/token"), ("POST", "/authorize"), ("PUT", PLAYER_PATH), ("GET", "/")],
)
def test_there_is_nothing_else(service: Service, method: str, path: str) -> None:
    assert service.handle(Request(method, f"https://api.spotify.com{path}"), T).status == 404


def test_the_player_says_what_plays_and_204_when_nothing_does(service: Service) -> None:
    playing = get(service, PLAYER, T + 250)
    assert playing.status == 200
    assert playing.headers["content-type"].startswith("application/json")
    assert json.loads(playing.body)["item"]["name"] == "B"
    silent = get(service, PLAYER, T + 600)
    assert (silent.status, silent.body) == (204, b"")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?limit=1", 200),
        ("?limit=50&after=0", 200),
        ("?before=1", 200),
        ("?limit=0", 400),
        ("?limit=51", 400),
        ("?limit=many", 400),
        ("?after=1&before=2", 400),
        ("?after=", 400),
    ],
)
def test_questions_about_the_past(service: Service, query: str, status: int) -> None:
    assert get(service, RECENTLY + query, T + 5000).status == status


def test_twenty_items_unless_told_otherwise() -> None:
    history = History(T)
    for _ in range(30):
        history.play(song("A", 100))
    service = Service(history.finish())
    body = json.loads(get(service, RECENTLY, T + 5000).body)
    assert (body["limit"], len(body["items"])) == (20, 20)


def test_every_answer_is_dated(service: Service) -> None:
    responses = [
        get(service, PLAYER, T + 250.9),
        service.handle(Request("GET", PLAYER), T + 250.9),
        service.handle(Request("GET", "/nowhere"), T + 250.9),
        refresh(service, T + 250.9),
    ]
    for name in ("error_503", "rate_limit", "nothing", "html"):
        service.faults.add(Fault(name, requests=1), T)
        responses.append(get(service, PLAYER, T + 250.9))
    assert {parsedate_to_datetime(response.headers["date"]).timestamp() for response in responses} == {
        T + 250
    }


def test_requests_are_counted_by_what_came_of_them(service: Service) -> None:
    get(service, PLAYER, T + 1)
    get(service, PLAYER, T + 600)
    get(service, PLAYER, T + 600, "made-up")
    service.faults.add(Fault("reset", requests=1), T)
    with pytest.raises(WireFault):
        get(service, PLAYER, T + 1)
    assert service.requests == {
        (PLAYER_PATH, "200"): 1,
        (PLAYER_PATH, "204"): 1,
        (PLAYER_PATH, "401"): 1,
        (PLAYER_PATH, "reset"): 1,
        ("/api/token", "200"): 3,
    }


def test_the_same_seed_answers_the_same() -> None:
    record = History(T).play(song("A", 200)).finish()
    bodies = [
        [get(Service(record, seed=seed), PLAYER, T + moment).body for moment in range(1, 100, 7)]
        for seed in (1, 1, 2)
    ]
    assert bodies[0] == bodies[1] != bodies[2]


ERRORS = [
    ("premium_required", 403, "Active premium subscription required for the owner of the app."),
    ("error_502", 502, '{"error":{"status":502,"message":"Bad gateway."}}'),
    ("html", 503, "<!DOCTYPE html>"),
    ("html_200", 200, "<!DOCTYPE html>"),
    ("empty", 200, ""),
    ("list", 200, "[1,2,3]"),
    ("string", 200, '"nothing"'),
    ("number", 200, "42"),
    ("nothing", 204, ""),
]


@pytest.mark.parametrize(("name", "status", "begins"), ERRORS)
def test_faults_of_the_answer(service: Service, name: str, status: int, begins: str) -> None:
    service.faults.add(Fault(name, requests=1), T)
    response = get(service, PLAYER, T + 1)
    assert response.status == status
    assert response.body.decode().startswith(begins)
    assert bool(response.body) == bool(begins)
    assert get(service, PLAYER, T + 2).status == 200, "it is over after one request"


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
def test_faults_say_what_spotify_says(service: Service, name: str, real: str) -> None:
    service.faults.add(Fault(name, requests=1), T)
    response = get(service, PLAYER, T + 1)
    said = response.body.decode()
    assert response.status == int(real[:3])
    assert (json.loads(said) if real.endswith(".json") else said) == example(f"errors/{real}")


@pytest.mark.parametrize(
    ("name", "value", "retry_after", "reason"),
    [
        ("rate_limit", 7, "7", None),
        ("rate_limit", None, "30", None),
        ("rate_limit_date", 7, "Tue, 14 Nov 2023 22:13:28 GMT", None),
        ("rate_limit_bare", None, None, None),
        ("rate_limit_text", 19056, "19056", None),
        ("quota_exceeded", 49861, "49861", "QUOTA_EXCEEDED"),
    ],
)
def test_limits(
    service: Service, name: str, value: float | None, retry_after: str | None, reason: str | None
) -> None:
    service.faults.add(Fault(name, value=value), T)
    response = get(service, PLAYER, T + 1)
    assert response.status == 429
    assert response.headers.get("retry-after") == retry_after
    if name == "rate_limit_text":
        assert response.body == b"Too many requests"
    else:
        assert json.loads(response.body)["error"].get("reason") == reason


def test_a_limit_that_ends_counts_down(service: Service) -> None:
    service.faults.add(Fault("rate_limit", seconds=60), T)
    waits = [get(service, PLAYER, T + moment).headers.get("retry-after") for moment in (0, 18.5, 59, 60)]
    assert waits == ["60", "42", "1", None]


def test_bodies_of_another_shape(service: Service) -> None:
    def body(name: str) -> dict[str, object]:
        service.faults.add(Fault(name, requests=1), T)
        answer = json.loads(get(service, PLAYER, T + 100).body)
        assert isinstance(answer, dict)
        return answer

    assert "progress_ms" not in body("no_progress")
    assert body("beyond_end")["progress_ms"] == 290_000
    assert body("unknown")["currently_playing_type"] == "unknown"
    assert isinstance(body("item_list")["item"], list)
    service.faults.add(Fault("truncated", requests=1), T)
    with pytest.raises(json.JSONDecodeError):
        json.loads(get(service, PLAYER, T + 100).body)
    service.faults.add(Fault("huge", requests=1), T)
    assert len(get(service, PLAYER, T + 100).body) > 2 * 1024 * 1024


def test_what_has_no_body_cannot_be_reshaped(service: Service) -> None:
    service.faults.add(Fault("no_progress"), T)
    assert get(service, PLAYER, T + 700).status == 204


def test_a_stale_answer_is_the_last_true_one(service: Service) -> None:
    true = get(service, PLAYER, T + 190).body
    service.faults.add(Fault("stale", seconds=3600), T + 200)
    assert {get(service, PLAYER, T + moment).body for moment in (210, 900, 3000)} == {true}
    assert get(service, PLAYER, T + 3801).status == 204


@pytest.mark.parametrize("name", ["invalid_grant", "invalid_client"])
def test_false_refusals_of_the_token_endpoint(service: Service, name: str) -> None:
    service.faults.add(Fault(name, requests=1), T)
    response = refresh(service)
    assert (response.status, json.loads(response.body)) == (400, example(f"token/{name}.json"))
    assert refresh(service).status == 200


@pytest.mark.parametrize("name", ["error_503", "html"])
def test_an_unwell_token_endpoint(service: Service, name: str) -> None:
    service.faults.add(Fault(name, "/api/token", seconds=60), T)
    assert refresh(service, T + 59).status == 503
    assert refresh(service, T + 60).status == 200


def test_a_listener_who_says_no(service: Service) -> None:
    service.faults.add(Fault("access_denied", requests=1), T)
    url = f"/authorize?client_id={DEMO_CLIENT_ID}&response_type=code&redirect_uri=http://127.0.0.1:1/c&state=x%26y"
    assert (
        service.handle(Request("GET", url), T).headers["location"]
        == "http://127.0.0.1:1/c?error=access_denied&state=x%26y"
    )
    service.faults.add(Fault("access_denied", requests=1), T)
    assert service.handle(Request("GET", "/authorize"), T).status == 400


def test_a_fault_strikes_as_long_as_it_was_told_and_where(service: Service) -> None:
    service.faults.add(Fault("error_502", requests=2), T)
    service.faults.add(Fault("error_503", seconds=10, path=RECENTLY_PATH), T)
    bearer = token(service)
    answers = [
        get(service, url, T + moment, bearer).status
        for url, moment in [(PLAYER, 1), (RECENTLY, 2), (RECENTLY, 3), (PLAYER, 3), (RECENTLY, 11)]
    ]
    assert answers == [502, 502, 503, 200, 200]
    assert service.faults.names == []


def test_a_fault_may_strike_now_and_then(service: Service) -> None:
    service.faults.add(Fault("error_502", probability=0.2), T)
    bearer = token(service)
    struck = sum(get(service, PLAYER, T + moment / 10, bearer).status == 502 for moment in range(1000))
    assert 150 < struck < 250
    service.faults.clear()
    assert get(service, PLAYER, T + 100, bearer).status == 200


@pytest.mark.parametrize(
    ("name", "seconds", "answered"),
    [
        ("reset", 1.0, False),
        ("hang", 60.0, False),
        ("cut", 1.0, True),
        ("slow", 5.0, True),
        ("drip", 1.0, True),
        ("drip_headers", 1.0, True),
    ],
)
def test_faults_of_the_wire_are_handed_to_who_holds_it(
    service: Service, name: str, seconds: float, *, answered: bool
) -> None:
    service.faults.add(Fault(name), T)
    with pytest.raises(WireFault) as caught:
        get(service, PLAYER, T + 1)
    assert (caught.value.name, caught.value.seconds) == (name, seconds)
    assert (caught.value.response is not None) == answered
    if caught.value.response is not None:
        assert caught.value.response.status == 200
        assert "date" in caught.value.response.headers


def test_there_is_no_fault_of_another_name() -> None:
    with pytest.raises(ValueError, match="no such fault: earthquake"):
        Fault("earthquake")
    assert all(Fault(name).name == name for name in NAMES)
