from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from spotify_logger.config import settings
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.http import Response
from spotify_logger.spotify.oauth import TOKEN_FILE, Token, TokenFile
from spotify_logger.spotify.rate_limit import RATE_LIMIT_FILE, RateLimit
from spotify_logger.system.errors import LoginNeeded, NotBefore, SpotifyLoggerError, TryLater, Unreachable
from tests.conftest import date_header
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Request

    Scripted = Response | TryLater | Callable[[], Response]

NOON = 1_795_348_800.0
HOUR = 3600.0
LATENCY = 0.2
TOKEN = Token("refresh-1", "access-1", NOON + HOUR, authorized_at=NOON)


class Script:
    """Answers in the order of two lists, one for each service; a call is answered by what it returns."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.api: list[Scripted] = []
        self.accounts: list[Scripted] = []
        self.always: dict[str, Scripted] = {}
        self.asked: list[Request] = []
        self.latency = LATENCY

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        self.clock.sleep(self.latency)
        service = str(urlsplit(request.url).hostname).removesuffix(".test")
        queue = self.api if service == "api" else self.accounts
        answer = queue.pop(0) if queue else self.always[service]
        if isinstance(answer, TryLater):
            raise answer
        return answer if isinstance(answer, Response) else answer()

    @property
    def services(self) -> str:
        """Who was asked, a letter for each request: "p" for the API, "t" for the token endpoint."""
        return "".join("p" if "api.test" in request.url else "t" for request in self.asked)


class Bench:
    """A client, its login in a file, and the services it asks."""

    def __init__(self, folder: Path, token: Token | None = TOKEN) -> None:
        environ = {
            "HOME": str(folder),
            "STATE_DIR": str(folder),
            "SPOTIFY_CLIENT_ID": "app",
            "SPOTIFY_API_URL": "https://api.test",
            "SPOTIFY_ACCOUNTS_URL": "https://accounts.test",
        }
        self.settings = settings.load(folder, environ)
        self.folder = folder
        self.clock = VirtualClock(NOON)
        self.script = Script(self.clock)
        self.path = folder / TOKEN_FILE
        if token is not None:
            self.log_in(token)
        self.spotify = self.start()

    def start(self, settings: Settings | None = None) -> Spotify:
        """Start the client, again if there was one; its memory is lost, its files are not."""
        rate_limit = RateLimit(self.folder / RATE_LIMIT_FILE, self.clock, "boot")
        token_file = TokenFile(self.path)
        self.spotify = Spotify(self.script, settings or self.settings, token_file, self.clock, rate_limit)
        return self.spotify

    def log_in(self, token: Token) -> None:
        """Do what another process does: write a login."""
        TokenFile(self.path).save(token)

    @property
    def saved(self) -> Token:
        token = TokenFile(self.path).load()
        assert token is not None
        return token

    def result(self) -> object:
        """What came of a poll: the body, or the error."""
        try:
            return self.spotify.player_state().body
        except SpotifyLoggerError as error:
            return error


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def says(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers or {}, content)


def error(status: int, message: str, **more: str) -> Response:
    return says(status, {"error": {"status": status, "message": message, **more}})


PLAYING = says(200, {"is_playing": True})
NOTHING = says(204)
EXPIRED = error(401, "The access token expired")
SCOPELESS = error(401, "Permissions missing")
LAPSED = says(403, b"Active premium subscription required for the owner of the app.")
RENEWED = says(200, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 3600})
ROTATED = says(200, {"access_token": "access-2", "refresh_token": "refresh-2", "expires_in": 3600})
REVOKED = says(400, {"error": "invalid_grant", "error_description": "Refresh token revoked"})
UNKNOWN = says(400, {"error": "invalid_client", "error_description": "Invalid client secret"})
HTML = b"<!DOCTYPE html><html><head><title>502</title></head></html>"


# What is asked


def test_the_player_is_asked_for_tracks_and_episodes(bench: Bench) -> None:
    bench.script.api = [PLAYING]
    assert bench.spotify.player_state().body == {"is_playing": True}
    request = bench.script.asked[0]
    assert (request.method, request.url) == (
        "GET",
        "https://api.test/v1/me/player?additional_types=track,episode",
    )
    assert request.headers["Authorization"] == "Bearer access-1"
    assert bench.spotify.requests == 1


@pytest.mark.parametrize(
    ("after_ms", "query"),
    [(None, {"limit": ["50"]}), (1_795_348_800_123, {"limit": ["50"], "after": ["1795348800123"]})],
)
def test_recently_played_is_asked_for_all_there_is(
    bench: Bench, after_ms: int | None, query: dict[str, list[str]]
) -> None:
    bench.script.api = [says(200, {"items": []})]
    assert bench.spotify.recently_played(after_ms=after_ms).body == {"items": []}
    url = urlsplit(bench.script.asked[0].url)
    assert (url.path, parse_qs(url.query)) == ("/v1/me/player/recently-played", query)


# Every answer has a place: one request, and the login stays as it is

ANSWERS: dict[str, tuple[Scripted, object]] = {
    "a player": (says(200, {"item": None}), {"item": None}),
    "a player, with a byte order mark": (says(200, b'\xef\xbb\xbf{"a": 1}'), {"a": 1}),
    "a name twice": (says(200, b'{"a": 1, "a": 2}'), {"a": 2}),
    "nothing": (NOTHING, None),
    "nothing, with a body": (says(204, b"{"), None),
    "accepted": (says(202), None),
    "accepted, blank": (says(202, b" \r\n"), None),
    "accepted, with a player": (says(202, {"a": 1}), {"a": 1}),
    "accepted, with nonsense": (says(202, b"{"), TryLater("Spotify answers 202 without a JSON object")),
    **{
        f"200 with {name}": (says(200, body), TryLater("Spotify answers 200 without a JSON object"))
        for name, body in {
            "no body": b"",
            "a list": b"[1]",
            "a string": b'"a"',
            "a number": b"1",
            "null": b"null",
            "html": HTML,
            "half": b'{"item": {"na',
            "two": b"{}{}",
            "no text": b"\xff\xfe\x00\xd8",
            "zeros": bytes(1000),
            "depth": b'{"a":' * 200_000,
            "NaN": b'{"progress_ms": NaN}',
            "infinity": b'{"progress_ms": -Infinity}',
            "a number of many digits": b'{"progress_ms": 1' + b"0" * 10_000 + b"}",
        }.items()
    },
    "a redirect": (says(302, b"", {"location": "https://x.test"}), TryLater("Spotify answers 302")),
    "another protocol": (says(101), TryLater("Spotify answers 101")),
    "a bad request": (error(400, "Invalid market"), TryLater("Spotify answers 400 (Invalid market)")),
    "not found": (error(404, "Service not found"), TryLater("Spotify answers 404 (Service not found)")),
    "not allowed": (says(405), TryLater("Spotify answers 405")),
    "gone": (says(410, b"gone"), TryLater("Spotify answers 410 (gone)")),
    "a teapot": (says(418, HTML), TryLater("Spotify answers 418")),
    "500 that says 502": (
        error(502, "Backend respond with 500"),
        TryLater("Spotify answers 502 (Backend respond with 500)"),
    ),
    "502 in html": (says(502, b"\n " + HTML), TryLater("Spotify answers 502")),
    "503 in text": (
        says(503, b"upstream connect error or disconnect/reset before headers"),
        TryLater("Spotify answers 503 (upstream connect error or disconnect/reset before headers)"),
    ),
    "503 in an odd shape": (says(503, {"error": "x"}), TryLater('Spotify answers 503 ({"error": "x"})')),
    "503 with a fault that is no text": (
        says(503, b'{"error": {"message": 7}}'),
        TryLater('Spotify answers 503 ({"error": {"message": 7}})'),
    ),
    "599": (says(599), TryLater("Spotify answers 599")),
    "999": (says(999), TryLater("Spotify answers 999")),
    "no answer": (
        Unreachable("api.test: connection refused"),
        Unreachable("api.test: connection refused"),
    ),
    "a scope is missing": (
        SCOPELESS,
        LoginNeeded("this login may not see what plays (Permissions missing): run `spotify-logger login`"),
    ),
    "not registered": (
        says(403, b"User not registered in the Developer Dashboard"),
        LoginNeeded("Spotify refuses this account or app (User not registered in the Developer Dashboard)"),
    ),
    "forbidden": (says(403, HTML), LoginNeeded("Spotify refuses this account or app")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_a_place(bench: Bench, name: str) -> None:
    answer, expected = ANSWERS[name]
    before = bench.path.read_bytes()
    bench.script.api = [answer]
    result = bench.result()
    if isinstance(expected, Exception):
        assert (type(result), str(result)) == (type(expected), str(expected))
    else:
        assert result == expected
    assert bench.spotify.requests == 1
    assert bench.path.read_bytes() == before


def test_what_a_server_says_is_clean_bounded_and_tells_no_secret(bench: Bench) -> None:
    said = "\x1b[2J\u202eaccess-1 and refresh-1 " + "x" * 5000
    for body in (said.encode(), json.dumps({"error": {"message": said}}).encode()):
        bench.script.api = [says(500, body)]
        words = str(bench.result())
        assert "access-1" not in words
        assert "refresh-1" not in words
        assert words.isprintable()
        assert len(words) < 250


# The login: (answers of the API, of the token endpoint) -> (who was asked, result, login in the file)

DEAD = replace(TOKEN, dead_at=NOON - 5, dead_reason="Spotify does not take it", asked_at=NOON - 5)

LOGINS: dict[str, tuple[list[Scripted], list[Scripted], str, object, Token]] = {
    "expired, renewed": (
        [EXPIRED, PLAYING],
        [RENEWED],
        "ptp",
        {"is_playing": True},
        replace(TOKEN, access_token="access-2"),
    ),
    "expired, renewed with a new refresh token": (
        [EXPIRED, PLAYING],
        [ROTATED],
        "ptp",
        {"is_playing": True},
        replace(TOKEN, access_token="access-2", refresh_token="refresh-2"),
    ),
    "unknown access token": (
        [error(401, "Invalid access token"), NOTHING],
        [RENEWED],
        "ptp",
        None,
        replace(TOKEN, access_token="access-2"),
    ),
    "401 without a word": (
        [says(401), NOTHING],
        [RENEWED],
        "ptp",
        None,
        replace(TOKEN, access_token="access-2"),
    ),
    "a garbled access token": (
        [error(400, "Only valid bearer authentication supported"), NOTHING],
        [RENEWED],
        "ptp",
        None,
        replace(TOKEN, access_token="access-2"),
    ),
    "a garbled access token, twice": (
        [error(400, "Only valid bearer authentication supported")] * 2,
        [RENEWED],
        "ptp",
        TryLater("Spotify answers 400 (Only valid bearer authentication supported)"),
        replace(TOKEN, access_token="access-2"),
    ),
    "401 twice": (
        [EXPIRED, EXPIRED],
        [RENEWED],
        "ptp",
        TryLater("Spotify answers 401 (The access token expired)"),
        replace(TOKEN, access_token="access-2"),
    ),
    "the token endpoint is down": (
        [EXPIRED],
        [says(503, b"upstream connect error")],
        "pt",
        TryLater("Spotify's accounts service answers 503 (no reason given)"),
        TOKEN,
    ),
    "the token endpoint says nonsense": (
        [EXPIRED],
        [says(200, HTML)],
        "pt",
        TryLater("Spotify's accounts service answers 200 without a token"),
        TOKEN,
    ),
    "the token endpoint is silent": (
        [EXPIRED],
        [Unreachable("accounts.test: no answer within 10 s")],
        "pt",
        Unreachable("accounts.test: no answer within 10 s"),
        TOKEN,
    ),
}


@pytest.mark.parametrize("name", LOGINS)
def test_a_refused_access_token(bench: Bench, name: str) -> None:
    bench.script.api, bench.script.accounts, services, expected, token = LOGINS[name]
    bench.script.api, bench.script.accounts = list(bench.script.api), list(bench.script.accounts)
    result = bench.result()
    if isinstance(expected, Exception):
        assert (type(result), str(result)) == (type(expected), str(expected))
    else:
        assert result == expected
    assert (bench.script.services, bench.spotify.requests) == (services, len(services))
    saved = bench.saved
    assert replace(saved, expires_at=token.expires_at) == token


def test_a_revoked_login_is_marked_and_kept(bench: Bench) -> None:
    bench.script.api, bench.script.accounts = [EXPIRED], [REVOKED]
    first, second = bench.result(), bench.result()
    assert isinstance(first, LoginNeeded)
    assert isinstance(second, LoginNeeded)
    assert str(first) == str(second) == bench.saved.dead_reason
    assert "invalid_grant: Refresh token revoked" in str(first)
    saved = bench.saved
    assert saved.dead_at == saved.asked_at == pytest.approx(NOON + 2 * LATENCY)
    assert replace(saved, dead_at=None, dead_reason="", asked_at=None) == TOKEN
    assert bench.script.services == "pt"


def test_a_new_refresh_token_is_safe_before_the_access_token_is_used(bench: Bench) -> None:
    seen: list[Token] = []

    def look() -> Response:
        seen.append(bench.saved)
        return PLAYING

    bench.script.api, bench.script.accounts = [EXPIRED, look], [ROTATED]
    bench.result()
    assert seen[0].refresh_token == "refresh-2"
    assert bench.script.asked[-1].headers["Authorization"] == "Bearer access-2"


def test_nobody_is_logged_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None)
    assert str(bench.result()) == "nobody is logged in: run `spotify-logger login`"
    assert bench.spotify.requests == 0
    assert bench.spotify.login_valid_until is None
    bench.log_in(TOKEN)
    bench.script.api = [PLAYING]
    assert bench.result() == {"is_playing": True}
    assert bench.spotify.login_valid_until is not None


def test_a_refresh_token_of_the_settings_starts_a_machine_without_a_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None)
    bench.start(replace(bench.settings, refresh_token="refresh-0"))
    bench.script.api, bench.script.accounts = [PLAYING], [RENEWED]
    assert bench.result() == {"is_playing": True}
    assert bench.script.services == "tp"
    assert bench.saved.refresh_token == "refresh-0"
    assert bench.saved.authorized_at is None


def test_a_lasting_401_leads_to_ever_fewer_refreshes_and_ends_by_itself(bench: Bench) -> None:
    bench.script.always = {"api": EXPIRED, "accounts": RENEWED}
    for _ in range(6 * 60):
        assert isinstance(bench.result(), TryLater)
        bench.clock.sleep(60 - 2 * LATENCY)
    assert bench.script.services.count("t") < 14
    bench.script.always = {"api": PLAYING}
    bench.result()
    bench.script.always = {"api": EXPIRED, "accounts": RENEWED}
    bench.script.api = [EXPIRED, PLAYING]
    assert bench.result() == {"is_playing": True}


def test_while_the_token_endpoint_is_down_the_api_is_spared_and_it_goes_on_at_once(bench: Bench) -> None:
    bench.script.api = [EXPIRED]
    bench.script.always = {"accounts": says(503)}
    for _ in range(20):
        assert isinstance(bench.result(), TryLater)
        bench.clock.sleep(60)
    assert bench.script.services == "p" + 20 * "t"
    bench.script.always = {"accounts": RENEWED, "api": PLAYING}
    assert bench.result() == {"is_playing": True}


def test_a_dead_login_is_kept_and_tried_once_an_hour_whatever_restarts(bench: Bench) -> None:
    bench.script.api = [EXPIRED]
    bench.script.always = {"accounts": REVOKED}
    for minute in range(5 * 60):
        assert isinstance(bench.result(), LoginNeeded)
        bench.clock.sleep(60)
        if minute % 7 == 0:
            bench.start()
    assert bench.script.services == "p" + 5 * "t"
    assert bench.saved.refresh_token == "refresh-1"
    assert bench.saved.dead_at == pytest.approx(NOON, abs=1)


def test_a_login_that_was_refused_by_mistake_comes_back(bench: Bench) -> None:
    bench.script.api, bench.script.accounts = [EXPIRED, PLAYING], [REVOKED, RENEWED]
    assert isinstance(bench.result(), LoginNeeded)
    bench.clock.sleep(HOUR)
    assert bench.result() == {"is_playing": True}
    saved = bench.saved
    assert (saved.dead_at, saved.dead_reason, saved.asked_at) == (None, "", None)


def test_a_dead_login_rests_also_when_the_try_got_no_answer(bench: Bench) -> None:
    bench.script.api, bench.script.accounts = [EXPIRED], [REVOKED, says(503)]
    assert isinstance(bench.result(), LoginNeeded)
    bench.clock.sleep(HOUR)
    assert isinstance(bench.result(), TryLater)
    assert isinstance(bench.result(), LoginNeeded)
    assert bench.script.services == "ptt"


def test_a_stamp_from_a_clock_that_was_wrong_does_not_silence_a_dead_login(bench: Bench) -> None:
    bench.log_in(replace(DEAD, asked_at=NOON + 1e9))
    bench.script.accounts, bench.script.api = [RENEWED], [PLAYING]
    assert bench.result() == {"is_playing": True}


def test_a_corrected_client_is_tried_as_soon_as_it_starts(bench: Bench) -> None:
    bench.script.api, bench.script.accounts = [EXPIRED, PLAYING], [UNKNOWN, RENEWED]
    assert isinstance(bench.result(), LoginNeeded)
    assert "SPOTIFY_CLIENT_ID" in str(bench.result())
    assert bench.script.services == "pt"
    bench.start()
    assert bench.result() == {"is_playing": True}


FRESH = Token("refresh-9", "access-9", NOON, authorized_at=NOON + 9)


def test_a_new_login_is_taken_at_once(bench: Bench) -> None:
    bench.script.api, bench.script.accounts = [EXPIRED, PLAYING], [REVOKED]
    assert isinstance(bench.result(), LoginNeeded)
    bench.log_in(FRESH)
    assert bench.result() == {"is_playing": True}
    assert bench.script.asked[-1].headers["Authorization"] == "Bearer access-9"


@pytest.mark.parametrize("answer", [RENEWED, ROTATED, REVOKED])
def test_a_login_in_the_midst_of_a_refresh_is_not_written_over(bench: Bench, answer: Response) -> None:
    def meanwhile() -> Response:
        bench.log_in(FRESH)
        return answer

    bench.script.api, bench.script.accounts = [EXPIRED, PLAYING], [meanwhile]
    assert bench.result() == {"is_playing": True}
    assert bench.script.asked[-1].headers["Authorization"] == "Bearer access-9"
    assert bench.saved == FRESH


def test_the_same_login_written_in_the_midst_of_a_refresh_is_no_new_one(bench: Bench) -> None:
    def meanwhile() -> Response:
        bench.log_in(replace(TOKEN, scope="changed"))
        return ROTATED

    bench.script.api, bench.script.accounts = [EXPIRED, PLAYING], [meanwhile]
    assert bench.result() == {"is_playing": True}
    assert bench.saved.refresh_token == "refresh-2"


def test_a_disk_that_refuses_costs_one_warning_and_no_login(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = bench.path.parent.with_name("elsewhere")
    bench.script.always = {"api": PLAYING}
    bench.result()
    bench.path.parent.rename(hidden)
    bench.script.api, bench.script.accounts = [EXPIRED], [ROTATED]
    for _ in range(3):
        assert bench.result() == {"is_playing": True}
    assert capsys.readouterr().err.count("cannot be saved") == 1
    bench.path.parent.mkdir()
    assert bench.result() == {"is_playing": True}
    assert bench.saved.refresh_token == "refresh-2"
    assert bench.script.services.count("t") == 1


@pytest.mark.parametrize("garbage", ["", "{", "[]", '{"access_token": "x"}'])
def test_a_file_that_makes_no_sense_costs_no_login(bench: Bench, garbage: str) -> None:
    bench.script.always = {"api": PLAYING}
    bench.result()
    bench.path.write_text(garbage)
    assert bench.result() == {"is_playing": True}
    assert bench.path.read_text() == garbage


# Refusals that only a person ends


@pytest.mark.parametrize("refusal", [SCOPELESS, LAPSED])
def test_a_refusal_is_repeated_without_asking_and_tried_again_ever_more_rarely(
    bench: Bench, refusal: Response
) -> None:
    bench.script.always = {"api": refusal}
    asked = []
    for second in range(0, 3600, 5):
        before = bench.spotify.requests
        assert isinstance(bench.result(), LoginNeeded)
        if bench.spotify.requests > before:
            asked.append(second // 60)
        bench.clock.sleep(5)
    assert asked == [0, 1, 3, 7, 15, 25, 35, 45, 55]
    bench.clock.sleep(600)
    bench.script.api = [PLAYING, refusal, PLAYING]
    assert bench.result() == {"is_playing": True}
    assert isinstance(bench.result(), LoginNeeded)
    bench.clock.sleep(60)
    assert bench.result() == {"is_playing": True}


def test_a_refusal_ends_with_a_new_login(bench: Bench) -> None:
    bench.script.api = [SCOPELESS, PLAYING]
    assert isinstance(bench.result(), LoginNeeded)
    bench.log_in(FRESH)
    assert bench.result() == {"is_playing": True}


def test_a_refusal_holds_for_the_endpoint_that_refused(bench: Bench) -> None:
    bench.script.api = [SCOPELESS, PLAYING]
    with pytest.raises(LoginNeeded):
        bench.spotify.recently_played()
    assert bench.result() == {"is_playing": True}
    with pytest.raises(LoginNeeded):
        bench.spotify.recently_played()
    assert bench.script.services == "pp"


# Limits

LIMITED = b'{"error": {"status": 429, "message": "API rate limit exceeded"}}'
QUOTA = b'{"error": {"status": 429, "message": "Too many requests", "reason": "QUOTA_EXCEEDED"}}'
IN_A_MINUTE = date_header(NOON + 60)
LIMITS: dict[str, tuple[Mapping[str, str], bytes, float]] = {
    "seconds": ({"retry-after": "15"}, LIMITED, 16),
    "seconds with blanks and parts": ({"retry-after": " 2.5 "}, LIMITED, 3.5),
    "none": ({"retry-after": "0"}, LIMITED, 1),
    "a day": ({"retry-after": "86400"}, LIMITED, 86401),
    "more than two days": ({"retry-after": "9" * 400}, LIMITED, 48 * HOUR),
    "a date": ({"retry-after": IN_A_MINUTE}, LIMITED, 61 - LATENCY),
    "a date, by a server whose clock is wrong": (
        {"retry-after": date_header(1e6 + 60), "date": date_header(1e6)},
        LIMITED,
        61,
    ),
    "no header": ({}, LIMITED, 60),
    "no header, in text": ({}, b"Too many requests", 60),
    "garbage": ({"retry-after": "soon"}, LIMITED, 60),
    "less than nothing": ({"retry-after": "-5"}, LIMITED, 60),
    "quota": ({"retry-after": "49861"}, QUOTA, 49862),
    "quota, no header": ({}, QUOTA, HOUR),
}


@pytest.mark.parametrize("name", LIMITS)
def test_nothing_is_sent_before_a_limit_is_over(bench: Bench, name: str) -> None:
    headers, body, seconds = LIMITS[name]
    before = bench.path.read_bytes()
    bench.script.api = [says(429, body, headers)]
    limit = bench.result()
    assert isinstance(limit, NotBefore)
    assert str(limit) == (
        "Spotify's daily quota is used up" if body == QUOTA else "Spotify's rate limit is reached"
    )
    assert limit.seconds == pytest.approx(seconds)
    bench.clock.sleep(seconds / 2)
    bench.result()
    bench.start()
    bench.clock.sleep(seconds / 2 - 0.1)
    assert isinstance(bench.result(), NotBefore)
    assert bench.script.services == "p"
    assert bench.path.read_bytes() == before
    bench.clock.sleep(0.2)
    bench.script.api = [PLAYING]
    assert bench.result() == {"is_playing": True}


def test_an_answer_that_is_no_limit_ends_the_growth_of_the_waits(bench: Bench) -> None:
    waits = []
    for answers in ([], [says(500)], [PLAYING]):
        bench.script.api = [*answers, says(429)]
        while bench.script.api:
            limit = bench.result()
        assert isinstance(limit, NotBefore)
        waits.append(limit.seconds)
        bench.clock.sleep(limit.seconds)
    assert waits == [60, 120, 60]


def test_repeated_limits_slow_the_pace_for_hours(bench: Bench) -> None:
    bench.script.always = {"api": says(429, LIMITED, {"retry-after": "9"})}
    seen = [bench.spotify.slowdown]
    for _ in range(3):
        limit = bench.result()
        assert isinstance(limit, NotBefore)
        bench.clock.sleep(limit.seconds)
        seen.append(bench.spotify.slowdown)
    bench.script.always = {"api": PLAYING}
    bench.result()
    seen.append(bench.start().slowdown)
    bench.clock.sleep(7 * HOUR)
    seen.append(bench.spotify.slowdown)
    assert seen == [1, 1, 2, 4, 4, 1]


def test_repeated_limits_of_the_token_endpoint_grow_until_it_answers(bench: Bench) -> None:
    waits = []
    bench.script.api = [EXPIRED, PLAYING, EXPIRED]
    limited = says(429, b"", {"retry-after": "300"})
    bench.script.accounts = [limited, limited, RENEWED, limited]
    while bench.script.accounts:
        result = bench.result()
        if isinstance(result, NotBefore):
            waits.append(round(result.seconds))
            bench.clock.sleep(result.seconds)
    assert waits == [301, 302, 301]


def test_a_limit_of_the_token_endpoint_does_not_stop_the_api(bench: Bench) -> None:
    bench.script.api, bench.script.accounts = [EXPIRED], [says(429, b"", {"retry-after": "300"}), RENEWED]
    for _ in range(2):
        limit = bench.result()
        assert isinstance(limit, NotBefore)
        assert limit.seconds == pytest.approx(301)
        assert str(limit) == "Spotify's accounts service asks to wait"
    bench.log_in(FRESH)
    bench.script.api = [PLAYING, EXPIRED]
    assert bench.result() == {"is_playing": True}
    assert isinstance(bench.result(), NotBefore)
    assert bench.script.services == "ptpp"


# Time


def dated(answer: Response, date: float) -> Response:
    return replace(answer, headers={"date": date_header(date)})


def test_an_answer_is_of_the_middle_of_its_request(bench: Bench) -> None:
    bench.script.latency = 3
    bench.script.api = [PLAYING]
    answer = bench.spotify.player_state()
    assert (answer.monotonic, answer.utc) == (1.5, NOON + 1.5)


@pytest.mark.parametrize("answer", [PLAYING, NOTHING])
@pytest.mark.parametrize("ahead", [-1e8, -86400, -3, 3, 86400, 1e8])
def test_a_wrong_clock_is_corrected_before_the_first_stamp(
    bench: Bench, answer: Response, ahead: float
) -> None:
    bench.clock = bench.script.clock = VirtualClock(NOON, ahead)
    bench.script.api = [dated(answer, NOON)]
    assert bench.start().player_state().utc == pytest.approx(NOON, abs=1)


@pytest.mark.parametrize(
    ("answer", "latency", "ahead", "corrected"),
    [
        (dated(says(500), NOON), LATENCY, 50, True),  # errors tell the time too
        (dated(says(403), NOON), LATENCY, 50, True),
        (dated(says(429), NOON), LATENCY, 50, True),
        (dated(PLAYING, NOON + 9), 9, 1, False),  # at the end of a slow answer: or is the clock right?
        (dated(PLAYING, NOON), 9, -5, False),
        (dated(PLAYING, NOON), 9, 8, True),  # it cannot be
        (dated(PLAYING, NOON + 9), 9, -5, True),
        (dated(PLAYING, 0), LATENCY, 50, False),
        (dated(PLAYING, 7e9), LATENCY, 50, False),
        (says(200, {}, {"date": "today"}), LATENCY, 50, False),
        (says(200, {}), LATENCY, 50, False),
    ],
)
def test_which_answers_tell_the_time(
    bench: Bench, answer: Response, latency: float, ahead: float, *, corrected: bool
) -> None:
    bench.clock = bench.script.clock = VirtualClock(NOON, ahead)
    bench.script.latency = latency
    bench.script.api = [answer]
    bench.start()
    bench.result()
    still_ahead = bench.clock.utc() - bench.clock.now
    assert (still_ahead != pytest.approx(ahead)) == corrected
    assert abs(still_ahead) <= abs(ahead)


@pytest.mark.parametrize(
    ("answer", "latency", "known"),
    [
        (dated(PLAYING, NOON), LATENCY, True),
        (dated(NOTHING, NOON), LATENCY, True),
        (dated(says(500), NOON), LATENCY, True),
        (dated(says(200, HTML), NOON), LATENCY, True),
        (dated(LAPSED, NOON), LATENCY, True),
        (dated(says(429), NOON), LATENCY, True),
        (dated(PLAYING, NOON), 9, True),
        (dated(PLAYING, 1.59e9), LATENCY, False),
        (dated(PLAYING, 4.2e9), LATENCY, False),
        (says(200, {}, {"date": "today"}), LATENCY, False),
        (PLAYING, LATENCY, False),
        (Unreachable("api.test: connection refused"), LATENCY, False),
    ],
)
def test_the_time_is_known_once_an_answer_has_told_it(
    bench: Bench, answer: Scripted, latency: float, *, known: bool
) -> None:
    bench.script.latency = latency
    bench.script.api = [answer, Unreachable("api.test: connection refused")]
    assert not bench.spotify.is_time_known
    bench.result()
    assert bench.spotify.is_time_known is known
    bench.result()
    assert bench.spotify.is_time_known is known
    assert not bench.start().is_time_known


@pytest.mark.parametrize("ahead", [-1e8, -86400, 86400, 1e8])
def test_the_token_endpoint_tells_the_time_too(bench: Bench, ahead: float) -> None:
    bench.clock = bench.script.clock = VirtualClock(NOON, ahead)
    bench.log_in(replace(TOKEN, access_token=""))
    bench.script.accounts, bench.script.api = [dated(RENEWED, NOON)], [PLAYING]
    answer = bench.start().player_state()
    assert bench.spotify.is_time_known
    assert answer.utc == pytest.approx(bench.clock.now, abs=1)
    assert bench.saved.expires_at == pytest.approx(NOON + HOUR, abs=1)


@pytest.mark.parametrize("ahead", [-1e8, -86400, 86400, 1e8])
def test_a_wrong_clock_says_nothing_of_when_a_login_died_or_a_wait_began(bench: Bench, ahead: float) -> None:
    bench.clock = bench.script.clock = VirtualClock(NOON, ahead)
    bench.log_in(replace(TOKEN, access_token=""))
    bench.script.accounts = [dated(says(429), NOON), REVOKED]
    bench.start()
    assert isinstance(bench.result(), NotBefore)
    assert json.loads((bench.folder / RATE_LIMIT_FILE).read_text())["accounts"]["utc"] == pytest.approx(
        NOON, abs=1
    )
    bench.clock.sleep(61)
    assert isinstance(bench.result(), LoginNeeded)
    assert bench.saved.dead_at == pytest.approx(NOON + 61, abs=1)


# Whatever comes


@effort(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([200, 204, 301, 400, 401, 403, 404, 429, 500, 503, 999]),
            st.binary(max_size=40)
            | st.sampled_from([LIMITED, QUOTA, HTML, EXPIRED.body, SCOPELESS.body, ROTATED.body]),
            st.dictionaries(st.sampled_from(["date", "retry-after", "location"]), st.text(max_size=30)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_answer_escapes_and_no_login_is_lost(
    tmp_path: Path, answers: list[tuple[int, bytes, dict[str, str]]]
) -> None:
    bench = Bench(tmp_path)
    (tmp_path / RATE_LIMIT_FILE).unlink(missing_ok=True)
    bench.start()
    for status, body, headers in answers:
        bench.script.always = dict.fromkeys(["api", "accounts"], says(status, body, headers))
        result = bench.result()
        assert result is None or isinstance(result, dict | TryLater | NotBefore | LoginNeeded)
        bench.clock.sleep(1000)
    assert bench.saved.refresh_token in {"refresh-1", "refresh-2"}
