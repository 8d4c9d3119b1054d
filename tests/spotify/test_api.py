from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from spotify_logger.config import settings
from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.http import Response
from spotify_logger.spotify.oauth import Token, TokenFile, valid_until
from spotify_logger.spotify.rate_limit import RateLimit
from spotify_logger.system.errors import LoginNeeded, NotBefore, SpotifyLoggerError, TryLater, Unreachable
from tests.conftest import date_header
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Request

    ScriptedAnswer = Response | TryLater | Callable[[], Response]

NOON = 1_795_348_800.0
HOUR = 3600.0
LATENCY = 0.2
TOKEN = Token("refresh-1", "access-1", authorized_at=NOON, account="me")
NEW_LOGIN = Token("refresh-9", "access-9", authorized_at=NOON + 9, account="me")


class ScriptedSpotify:
    """The API and the accounts service; each has a queue of answers, and one for when the queue is empty."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.api: list[ScriptedAnswer] = []
        self.accounts: list[ScriptedAnswer] = []
        self.always: dict[str, ScriptedAnswer] = {}
        self.requests: list[Request] = []
        self.latency = LATENCY

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.clock.sleep(self.latency)
        service = str(urlsplit(request.url).hostname).removesuffix(".test")
        queue = self.api if service == "api" else self.accounts
        answer = queue.pop(0) if queue else self.always[service]
        if isinstance(answer, TryLater):
            raise answer
        return answer if isinstance(answer, Response) else answer()

    @property
    def order(self) -> str:
        """A letter for each request: "p" for the API, "t" for the token endpoint."""
        return "".join("p" if "api.test" in request.url else "t" for request in self.requests)

    @property
    def last_authorization(self) -> str:
        return self.requests[-1].headers["Authorization"]


class ScriptedClient:
    """A client with a token file, connected to scripted services."""

    def __init__(self, folder: Path, token: Token | None = TOKEN, ahead: float = 0.0) -> None:
        environ = {
            "HOME": str(folder),
            "STATE_DIR": str(folder),
            "SPOTIFY_CLIENT_ID": "app",
            "SPOTIFY_API_URL": "https://api.test",
            "SPOTIFY_ACCOUNTS_URL": "https://accounts.test",
        }
        self.settings = settings.load(folder, environ)
        self.folder = folder
        self.clock = VirtualClock(NOON, ahead)
        self.script = ScriptedSpotify(self.clock)
        self.path = folder / TOKEN_FILE
        if token is not None:
            self.log_in(token)
        self.spotify = self.start()

    def start(self, settings: Settings | None = None) -> Spotify:
        """Start the client, or restart it with nothing but what it has kept."""
        limits = self.folder / "limits.json"
        kept = limits.read_text() if limits.exists() else ""
        rate_limit = RateLimit(kept, limits.write_text, self.clock)
        self.spotify = Spotify(self.script, settings or self.settings, self.clock, rate_limit)
        return self.spotify

    def log_in(self, token: Token) -> None:
        """Write a login, as another process does."""
        TokenFile(self.path).save(token)

    @property
    def saved(self) -> Token:
        token = TokenFile(self.path).load()
        assert token is not None
        return token

    def poll(self) -> object:
        """Return the body of the player state, or the error."""
        try:
            return self.spotify.player_state().body
        except SpotifyLoggerError as error:
            return error


@pytest.fixture
def client(tmp_path: Path) -> ScriptedClient:
    return ScriptedClient(tmp_path)


def respond(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers or {}, content)


def api_error(status: int, message: str) -> Response:
    return respond(status, {"error": {"status": status, "message": message}})


def dated(answer: Response, date: float) -> Response:
    return replace(answer, headers={"date": date_header(date)})


PLAYING = respond(200, {"is_playing": True})
PROFILE = respond(200, {"id": "me", "type": "user"})
PLAYING_BODY = {"is_playing": True}
NOTHING = respond(204)
EXPIRED = api_error(401, "The access token expired")
MALFORMED = api_error(400, "Only valid bearer authentication supported")
MISSING_SCOPE = api_error(401, "Permissions missing")
PREMIUM_LAPSED = respond(403, b"Active premium subscription required for the owner of the app.")
RENEWED = respond(200, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 3600})
ROTATED = respond(200, {"access_token": "access-2", "refresh_token": "refresh-2", "expires_in": 3600})
REVOKED = respond(400, {"error": "invalid_grant", "error_description": "Refresh token revoked"})
UNKNOWN_CLIENT = respond(400, {"error": "invalid_client", "error_description": "Invalid client secret"})
HTML = b"<!DOCTYPE html><html><head><title>502</title></head></html>"
UNREACHABLE = Unreachable("api.test: connection refused")


def test_player_state_includes_episodes(client: ScriptedClient) -> None:
    client.script.api = [PLAYING]
    assert client.poll() == PLAYING_BODY
    request = client.script.requests[0]
    assert request.method == "GET"
    assert request.url == "https://api.test/v1/me/player?additional_types=track,episode"
    assert request.headers["Authorization"] == "Bearer access-1"
    assert client.spotify.requests == 1


def test_recently_played_asks_for_as_much_as_there_is(client: ScriptedClient) -> None:
    client.script.always = {"api": respond(200, {"items": []})}
    assert client.spotify.recently_played().body == {"items": []}
    url = "https://api.test/v1/me/player/recently-played?limit=50"
    assert [request.url for request in client.script.requests] == [url]


def test_success_may_have_no_body(client: ScriptedClient) -> None:
    client.script.api = [respond(204, b"{"), respond(202, b" \r\n"), respond(202, {"a": 1})]
    assert [client.poll(), client.poll(), client.poll()] == [None, None, {"a": 1}]


ERRORS: dict[str, tuple[ScriptedAnswer, type[SpotifyLoggerError], str]] = {
    "200 with a list": (respond(200, b"[1]"), TryLater, "200 without a JSON object"),
    "200 with NaN": (respond(200, b'{"progress_ms": NaN}'), TryLater, "200 without a JSON object"),
    "202 with nonsense": (respond(202, b"{"), TryLater, "202 without a JSON object"),
    "bad request": (api_error(400, "Invalid market"), TryLater, "400 (Invalid market)"),
    "error of another shape": (respond(503, {"error": "x"}), TryLater, '503 ({"error": "x"})'),
    "missing scope": (MISSING_SCOPE, LoginNeeded, "(Permissions missing): run `spotify-logger login`"),
    "forbidden": (PREMIUM_LAPSED, LoginNeeded, "(Active premium subscription required"),
    "forbidden, in HTML": (respond(403, HTML), LoginNeeded, "refuses this account or app"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_any_other_answer_is_an_error_that_keeps_the_login(client: ScriptedClient, name: str) -> None:
    answer, kind, word = ERRORS[name]
    before = client.path.read_bytes()
    client.script.api = [answer]
    error = client.poll()
    assert type(error) is kind
    assert word in str(error)
    assert "<" not in str(error)
    assert client.spotify.requests == 1
    assert client.path.read_bytes() == before


def test_error_text_is_printable_bounded_and_without_secrets(client: ScriptedClient) -> None:
    text = "\x1b[2J\u202eaccess-1 and refresh-1 " + "x" * 5000
    for answer in (respond(500, text.encode()), api_error(500, text)):
        client.script.api = [answer]
        message = str(client.poll())
        assert "access-1" not in message
        assert "refresh-1" not in message
        assert message.isprintable()
        assert len(message) < 250


RENEWED_TOKEN = replace(TOKEN, access_token="access-2")
RENEWALS: dict[str, tuple[list[ScriptedAnswer], ScriptedAnswer, str, object, Token]] = {
    "expired": ([EXPIRED, PLAYING], RENEWED, "ptp", PLAYING_BODY, RENEWED_TOKEN),
    "401 without a body": ([respond(401), NOTHING], RENEWED, "ptp", None, RENEWED_TOKEN),
    "malformed twice": ([MALFORMED, MALFORMED], RENEWED, "ptp", TryLater, RENEWED_TOKEN),
    "token endpoint down": ([EXPIRED], respond(503), "pt", TryLater, TOKEN),
}


@pytest.mark.parametrize("name", RENEWALS)
def test_refused_access_token_is_renewed_once(client: ScriptedClient, name: str) -> None:
    api, renewal, order, expected, token = RENEWALS[name]
    client.script.api, client.script.accounts = [*api], [renewal]
    result = client.poll()
    assert (type(result) if isinstance(expected, type) else result) == expected
    assert (client.script.order, client.spotify.requests) == (order, len(order))
    assert client.saved == token


def test_new_refresh_token_is_saved_before_the_access_token_is_used(client: ScriptedClient) -> None:
    def answer() -> Response:
        assert client.saved.refresh_token == "refresh-2"
        return PLAYING

    client.script.api, client.script.accounts = [EXPIRED, answer], [ROTATED]
    assert client.poll() == PLAYING_BODY
    assert client.script.last_authorization == "Bearer access-2"


def test_without_a_login_nothing_is_sent_until_there_is_one(tmp_path: Path) -> None:
    client = ScriptedClient(tmp_path, None)
    error = client.poll()
    assert isinstance(error, LoginNeeded)
    assert "run `spotify-logger login`" in str(error)
    assert (client.spotify.requests, valid_until(client.spotify.token)) == (0, None)
    client.log_in(TOKEN)
    client.script.api = [PLAYING]
    assert client.poll() == PLAYING_BODY
    assert valid_until(client.spotify.token) is not None


def test_refresh_token_from_the_settings_is_used_without_a_file(tmp_path: Path) -> None:
    client = ScriptedClient(tmp_path, None)
    client.start(replace(client.settings, refresh_token="refresh-0"))
    client.script.api, client.script.accounts = [PROFILE, PLAYING], [RENEWED]
    assert client.poll() == PLAYING_BODY
    assert client.script.order == "tpp"
    assert (client.saved.refresh_token, client.saved.authorized_at) == ("refresh-0", None)


@pytest.mark.parametrize(
    ("profile", "account"),
    [
        (PROFILE, "me"),
        (respond(200, {"id": 1}), ""),
        (respond(403, {"id": "me"}), ""),
        (Unreachable("no route"), ""),
    ],
)
def test_the_account_of_an_old_token_file_is_asked_for_with_each_access_token(
    tmp_path: Path, profile: ScriptedAnswer, account: str
) -> None:
    client = ScriptedClient(tmp_path, replace(TOKEN, account=""))
    client.spotify.owner = "me"
    client.script.api, client.script.accounts = [profile, PLAYING, PLAYING], [ROTATED]
    assert [client.poll(), client.poll()] == [PLAYING_BODY, PLAYING_BODY]
    assert (client.script.order, client.script.requests[0].url) == ("ppp", "https://api.test/v1/me")
    assert (client.spotify.token, client.saved.account) == (client.saved, account)
    client.script.api = [EXPIRED, *([] if account else [PROFILE]), PLAYING]
    assert client.poll() == PLAYING_BODY
    assert (client.saved.account, client.saved.refresh_token) == ("me", "refresh-2")


def test_a_rate_limit_for_the_account_is_one_for_the_player(tmp_path: Path) -> None:
    client = ScriptedClient(tmp_path, replace(TOKEN, account=""))
    client.script.api = [respond(429, headers={"retry-after": "100"})]
    assert isinstance(client.poll(), NotBefore)
    assert isinstance(client.poll(), NotBefore)
    assert client.script.order == "p"


def test_nothing_is_asked_with_the_login_of_another_account(tmp_path: Path) -> None:
    client = ScriptedClient(tmp_path, replace(TOKEN, account=""))
    client.spotify.owner = "somebody else"
    client.script.api = [PROFILE]
    for _ in range(2):
        error = client.poll()
        assert isinstance(error, LoginNeeded)
        assert "account me" in str(error)
    assert client.script.order == "p"
    client.log_in(replace(NEW_LOGIN, account="somebody else"))
    client.script.api = [PLAYING]
    assert client.poll() == PLAYING_BODY


def test_lasting_401_leads_to_ever_fewer_renewals_and_ends_by_itself(client: ScriptedClient) -> None:
    client.script.always = {"api": EXPIRED, "accounts": RENEWED}
    for _ in range(6 * 60):
        assert isinstance(client.poll(), TryLater)
        client.clock.sleep(60 - 2 * LATENCY)
    assert client.script.order.count("t") < 14
    client.script.api = [PLAYING, EXPIRED, PLAYING]
    assert [client.poll(), client.poll()] == [PLAYING_BODY, PLAYING_BODY]


def test_the_api_is_spared_while_the_token_endpoint_is_down(client: ScriptedClient) -> None:
    client.script.api = [EXPIRED]
    client.script.always = {"accounts": respond(503)}
    for _ in range(20):
        assert isinstance(client.poll(), TryLater)
        client.clock.sleep(60)
    assert client.script.order == "p" + 20 * "t"
    client.script.always = {"accounts": RENEWED, "api": PLAYING}
    assert client.poll() == PLAYING_BODY


def test_revoked_login_is_kept_and_retried_once_an_hour_until_it_works(client: ScriptedClient) -> None:
    client.script.api = [EXPIRED]
    client.script.always = {"accounts": REVOKED}
    for minute in range(5 * 60):
        error = client.poll()
        assert isinstance(error, LoginNeeded)
        assert "invalid_grant: Refresh token revoked" in str(error) == client.saved.dead_reason
        client.clock.sleep(60)
        if minute % 7 == 0:
            client.start()
    assert client.script.order == "p" + 5 * "t"
    assert replace(client.saved, dead_reason="", asked_at=None) == TOKEN
    client.script.always = {"accounts": RENEWED, "api": PLAYING}
    assert client.poll() == PLAYING_BODY
    assert (client.saved.dead_reason, client.saved.asked_at) == ("", None)


def test_corrected_client_secret_is_tried_at_the_next_start(client: ScriptedClient) -> None:
    client.script.api, client.script.accounts = [EXPIRED, PLAYING], [UNKNOWN_CLIENT, RENEWED]
    assert isinstance(client.poll(), LoginNeeded)
    assert "SPOTIFY_CLIENT_ID" in str(client.poll())
    assert client.script.order == "pt"
    client.start()
    assert client.poll() == PLAYING_BODY


@pytest.mark.parametrize("refusal", [MISSING_SCOPE, EXPIRED], ids=["missing scope", "revoked"])
def test_new_login_is_used_at_once(client: ScriptedClient, refusal: Response) -> None:
    client.script.api, client.script.accounts = [refusal, PLAYING], [REVOKED]
    assert isinstance(client.poll(), LoginNeeded)
    client.log_in(NEW_LOGIN)
    assert client.poll() == PLAYING_BODY
    assert client.script.last_authorization == "Bearer access-9"


@pytest.mark.parametrize(
    ("other", "answer", "expected"),
    [
        pytest.param(NEW_LOGIN, ROTATED, NEW_LOGIN, id="new login, rotated"),
        pytest.param(NEW_LOGIN, REVOKED, NEW_LOGIN, id="new login, revoked"),
        pytest.param(replace(TOKEN, scope="changed"), RENEWED, RENEWED_TOKEN, id="same login"),
    ],
)
def test_login_saved_during_a_renewal_wins_if_it_is_new(
    client: ScriptedClient, other: Token, answer: Response, expected: Token
) -> None:
    def log_in_meanwhile() -> Response:
        client.log_in(other)
        return answer

    client.script.api, client.script.accounts = [EXPIRED, PLAYING], [log_in_meanwhile]
    assert client.poll() == PLAYING_BODY
    assert client.script.last_authorization == f"Bearer {expected.access_token}"
    assert client.saved.refresh_token == expected.refresh_token


def test_failing_disk_costs_one_warning_and_no_login(
    client: ScriptedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.script.always = {"api": PLAYING}
    client.poll()
    client.path.parent.rename(client.path.parent.with_name("elsewhere"))
    client.script.api, client.script.accounts = [EXPIRED], [ROTATED]
    for _ in range(3):
        assert client.poll() == PLAYING_BODY
    assert capsys.readouterr().err.count("cannot be saved") == 1
    client.path.parent.mkdir()
    client.script.api, client.script.accounts = [EXPIRED], [ROTATED]
    assert client.poll() == PLAYING_BODY
    assert client.saved.refresh_token == "refresh-2"


def test_known_login_outlives_an_invalid_file(client: ScriptedClient) -> None:
    client.script.always = {"api": PLAYING}
    client.poll()
    client.path.write_text("{")
    assert client.poll() == PLAYING_BODY
    assert client.path.read_text() == "{"


@pytest.mark.parametrize("refusal", [MISSING_SCOPE, PREMIUM_LAPSED], ids=["scope", "premium"])
def test_refusal_is_repeated_without_a_request_and_retried_ever_more_rarely(
    client: ScriptedClient, refusal: Response
) -> None:
    client.script.always = {"api": refusal}
    minutes = []
    for second in range(0, 3600, 5):
        before = client.spotify.requests
        assert isinstance(client.poll(), LoginNeeded)
        if client.spotify.requests > before:
            minutes.append(second // 60)
        client.clock.sleep(5)
    assert minutes == [0, 1, 3, 7, 15, 25, 35, 45, 55]
    client.clock.sleep(600)
    client.script.api = [PLAYING]
    assert client.poll() == PLAYING_BODY


def test_refusal_is_limited_to_its_endpoint(client: ScriptedClient) -> None:
    client.script.api = [MISSING_SCOPE, PLAYING]
    with pytest.raises(LoginNeeded):
        client.spotify.recently_played()
    assert client.poll() == PLAYING_BODY
    with pytest.raises(LoginNeeded):
        client.spotify.recently_played()
    assert client.script.order == "pp"


LIMITED = b'{"error": {"status": 429, "message": "API rate limit exceeded"}}'
QUOTA = b'{"error": {"status": 429, "message": "Too many requests", "reason": "QUOTA_EXCEEDED"}}'
LIMITS: dict[str, tuple[Mapping[str, str], bytes, float]] = {
    "seconds": ({"retry-after": "15"}, LIMITED, 16),
    "more than two days": ({"retry-after": "9" * 400}, LIMITED, 48 * HOUR),
    "date": ({"retry-after": date_header(NOON + 60)}, LIMITED, 61 - LATENCY),
    "no header": ({}, b"Too many requests", 60),
    "quota, no header": ({}, QUOTA, HOUR),
}


@pytest.mark.parametrize("name", LIMITS)
def test_nothing_is_sent_during_a_cooldown_even_after_a_restart(client: ScriptedClient, name: str) -> None:
    headers, body, seconds = LIMITS[name]
    client.script.api = [respond(429, body, headers)]
    limit = client.poll()
    assert isinstance(limit, NotBefore)
    assert ("quota" if body == QUOTA else "rate limit") in str(limit)
    assert limit.seconds == pytest.approx(seconds)
    client.clock.sleep(seconds / 2)
    client.poll()
    client.start()
    client.clock.sleep(seconds / 2 - 0.1)
    assert isinstance(client.poll(), NotBefore)
    assert client.script.order == "p"
    assert client.saved == TOKEN
    client.clock.sleep(0.2)
    client.script.api = [PLAYING]
    assert client.poll() == PLAYING_BODY


def test_only_a_success_ends_the_growth_of_cooldowns_even_across_restarts(client: ScriptedClient) -> None:
    waits = []
    for answers in ([], [respond(500)], [PLAYING]):
        client.script.api = [*answers, respond(429)]
        while client.script.api:
            limit = client.poll()
        assert isinstance(limit, NotBefore)
        waits.append(limit.seconds)
        client.clock.sleep(limit.seconds)
        client.start()
    assert waits == [60, 120, 60]
    assert client.spotify._rate_limit.slowdown() == 4


def test_limit_of_the_token_endpoint_does_not_stop_the_api(client: ScriptedClient) -> None:
    client.script.api, client.script.accounts = [EXPIRED], [respond(429, b"", {"retry-after": "300"})]
    limit = client.poll()
    assert isinstance(limit, NotBefore)
    assert limit.seconds == pytest.approx(301)
    assert "accounts service" in str(limit)
    client.log_in(NEW_LOGIN)
    client.script.api = [PLAYING, EXPIRED]
    assert client.poll() == PLAYING_BODY
    assert isinstance(client.poll(), NotBefore)
    assert client.script.order == "ptpp"


def test_time_of_an_answer_is_the_middle_of_its_request(client: ScriptedClient) -> None:
    client.script.latency = 3
    client.script.api = [PLAYING]
    answer = client.spotify.player_state()
    assert (answer.monotonic, answer.utc) == (1.5, NOON + 1.5)


@pytest.mark.parametrize(
    ("answer", "latency", "ahead", "is_corrected", "is_known"),
    [
        pytest.param(dated(NOTHING, NOON), LATENCY, -1e8, True, True, id="years late"),
        pytest.param(dated(PREMIUM_LAPSED, NOON), LATENCY, 50, True, True, id="refusal"),
        # The server may have read its clock at any moment of a slow request.
        pytest.param(dated(PLAYING, NOON + 9), 9, 1, False, True, id="slow, dated at its end"),
        pytest.param(dated(PLAYING, NOON), 9, -5, False, True, id="slow, dated at its start"),
        pytest.param(dated(PLAYING, NOON), 9, 8, True, True, id="slow, but clearly ahead"),
        pytest.param(dated(PLAYING, NOON + 9), 9, -5, True, True, id="slow, but clearly late"),
        pytest.param(dated(PLAYING, 0), LATENCY, 50, False, False, id="1970"),
        pytest.param(UNREACHABLE, LATENCY, 50, False, False, id="no answer"),
    ],
)
def test_which_answers_set_the_clock(
    tmp_path: Path,
    answer: ScriptedAnswer,
    latency: float,
    ahead: float,
    *,
    is_corrected: bool,
    is_known: bool,
) -> None:
    client = ScriptedClient(tmp_path, ahead=ahead)
    client.script.latency = latency
    client.script.api = [answer, UNREACHABLE]
    assert not client.spotify.is_time_known
    for _ in range(2):
        client.poll()
        assert client.spotify.is_time_known is is_known
    still_ahead = client.clock.utc() - client.clock.now
    assert (still_ahead != pytest.approx(ahead)) == is_corrected
    assert abs(still_ahead) <= abs(ahead)
    assert not client.start().is_time_known
