"""Fuzz all external input: no exception escapes, no play is invented, no secret is shown.

A hostile Redis is shown with every command in `tests/cli/test_hostile_commands.py`.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_logger.config import settings as config
from spotify_logger.config.sources import DEFAULTS, TOKEN_FILE
from spotify_logger.core.backfill import backfill_plays, read_recently_played
from spotify_logger.core.observations import JITTER_MS
from spotify_logger.core.play import PLAY_FIELDS, Play, format_play
from spotify_logger.core.player_state import (
    ITEM_TYPES,
    MAX_ITEM_MS,
    MAX_TEXT_LENGTH,
    dict_get,
    read_item,
    read_player_state,
)
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR, PollSchedule
from spotify_logger.core.redis_keys import read_row
from spotify_logger.core.tracker import Tracker
from spotify_logger.spotify import login, oauth
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.http import Response
from spotify_logger.spotify.oauth import Token, TokenFile, valid_until
from spotify_logger.spotify.rate_limit import MAX_COOLDOWN, RateLimit
from spotify_logger.system import log as journal
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError, TryLater
from tests import fuzz_corpus as corpus
from tests.fuzz_corpus import PLAYERS, SECOND, SECRET, TRACK, encoded, mutated, texts, values
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.player_state import FieldValue, PlayerState
    from spotify_logger.spotify.http import Request

    Check = Callable[..., None]


def fuzz(examples: int, **inputs: st.SearchStrategy[Any]) -> Callable[[Check], Check]:
    """Run a test with that many examples, the same ones each time."""
    run = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda check: run(given(**inputs)(check))


def outcome(call: Callable[[], Any], *errors: type[Exception]) -> Any:  # noqa: ANN401
    """Return the result of a call, or its error if that is of an expected kind and safe to show."""
    try:
        return call()
    except errors as error:
        is_a_line = len(str(error)) < 10_000 and is_shown_safely(str(error))
        return error if is_a_line else pytest.fail(f"no line to be shown: {error!r}")


def is_shown_safely(text: str, allowed: str = "") -> bool:
    """Return whether text has no control characters, except for the allowed ones."""
    return not any(unicodedata.category(character)[0] == "C" for character in set(text) - set(allowed))


@pytest.fixture(autouse=True)
def _journal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check the log lines; without secrets of other tests and without disk syncs."""
    monkeypatch.setattr(journal, "_secrets", set())
    monkeypatch.setattr(os, "fsync", lambda _: None)
    yield
    assert is_shown_safely(capsys.readouterr().err, allowed="\n")


class FuzzedSpotify:
    """A Spotify that gives every request the same response."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        urls = {"SPOTIFY_API_URL": "https://api.test", "SPOTIFY_ACCOUNTS_URL": "https://accounts.test"}
        app = {"SPOTIFY_CLIENT_ID": "app", "SPOTIFY_CLIENT_SECRET": f"{SECRET}-client"}
        self.settings = config.load(folder, {"STATE_DIR": str(folder), **app, **urls})
        self.response = Response(204, {}, b"")
        self.clock = VirtualClock(SECOND)

    def client(self) -> Spotify:
        """Return a client that has just logged in."""
        TokenFile(self.folder / TOKEN_FILE).save(Token("refresh-1", "access-1", authorized_at=float(SECOND)))
        self.clock = VirtualClock(SECOND)
        rate_limit = RateLimit("", lambda _: None, self.clock)
        return Spotify(self.send, self.settings, self.clock, rate_limit)

    def send(self, request: Request) -> Response:
        self.clock.sleep(0.5)
        return self.response


@pytest.fixture
def spotify(tmp_path: Path) -> FuzzedSpotify:
    return FuzzedSpotify(tmp_path)


# Player states


class PlayChecker:
    """Checks the invariants of a tracker after every answer."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.plays: dict[int, Play] = {}

    def observe(self, body: object, stamp_ms: int, monotonic_ms: int) -> None:
        player_state, last = read_player_state(body), self.tracker.seen.last
        check_fields(player_state.fields)
        may_begin = can_be_played(body) and (player_state.playing or last.playing)
        changed = self.tracker.observe(player_state, stamp_ms, monotonic_ms)
        elapsed = self.tracker.seen.now - last.at if last.at else 0
        if last.at and last.progress_ms is None:
            elapsed = sys.maxsize  # its position was unknown: it was played since it began, at most
        for play in changed:
            check_play(play)
            if play.second in self.plays:
                self._check_change(self.plays[play.second], play, elapsed)
            else:
                assert may_begin
                self._check_opening(play, player_state)
            assert play.ended_ms <= stamp_ms
            self.plays[play.second] = play
        assert isinstance(json.loads(self.tracker.serialize()), dict)

    def _check_opening(self, play: Play, player_state: PlayerState) -> None:
        """Check a new play: of the reported item, no longer than its position, and after all others."""
        assert player_state.item == play.item
        # Without a position it may have played up to its length; an episode may play at half its speed.
        position = play.item.duration_ms if player_state.progress_ms is None else player_state.progress_ms
        is_slow = player_state.playing and play.item.key.startswith("episode:")
        assert is_slow or position is None or play.ms_played <= min(position, MAX_ITEM_MS)
        assert all(before.end_reason and before.ended_ms <= play.started_ms for before in self.plays.values())

    def _check_change(self, before: Play, play: Play, elapsed: int) -> None:
        """Check that a play never gets shorter, and grows by no more than the time that passed."""
        assert before.end_reason is None
        assert (before.item, before.started_ms) == (play.item, play.started_ms)
        assert before.ended_ms <= play.ended_ms
        assert 0 <= play.ms_played - before.ms_played <= elapsed + JITTER_MS


def check_play(play: Play) -> None:
    """Check the invariants of a play and its hash, and that it can be read back."""
    assert 0 <= play.ms_played <= play.ended_ms - play.started_ms
    assert play.end_reason in {None, "trackdone", "skipped", "stopped", "unknown"}
    fields = play.to_hash()
    assert fields.keys() <= PLAY_FIELDS
    check_fields({**fields, **play.item.catalog})
    row = (play.second, play.item.key, play.ms_played, play.end_reason or "open")
    assert read_row(str(play.second), play.index) == row
    again = Play.from_hash(play.second, corpus.as_hash(fields))
    assert again is not None
    assert corpus.as_hash(again.to_hash()) == corpus.as_hash(fields)
    assert is_shown_safely(journal.sanitize(format_play(play)))


def check_fields(fields: Mapping[str, FieldValue]) -> None:
    for value in fields.values():
        assert type(value) in {str, int}
        assert len(str(value).encode()) <= 4 * MAX_TEXT_LENGTH


def can_be_played(body: object) -> bool:
    """Return whether a body contains an item that can make a play."""
    identity, uri = dict_get(body, "item.id"), dict_get(body, "item.uri")
    is_known = isinstance(identity, str) and identity != ""
    is_local = isinstance(uri, str) and uri.startswith("spotify:local:")
    return (
        dict_get(body, "item.type") in ITEM_TYPES
        and dict_get(body, "currently_playing_type") != "ad"
        and dict_get(body, "device.is_private_session") is not True
        and (is_known or is_local)
    )


def player_responses(bodies: Sequence[object]) -> st.SearchStrategy[list[tuple[float, Response]]]:
    """Generate five answers, most of them states of few items, and the seconds before each."""
    odd = st.none() | st.sampled_from((True, *corpus.NUMBERS))
    body = st.builds(
        _with_values, mutated(bodies), odd | st.integers(0, 300_000), st.none() | odd, st.none() | texts
    )
    pauses = st.sampled_from((0.0, 0.25, 5.0, 30.0, 60.0, 700.0, 4000.0))
    state = st.builds(Response, st.just(200), st.just({}), encoded(body))
    return st.lists(st.tuples(pauses, st.one_of(*[state] * 9, odd_responses)), min_size=5, max_size=5)


def _with_values(body: Any, progress: object, duration: object, name: object) -> object:  # noqa: ANN401
    """Return a body with some of its most important values replaced."""
    if not isinstance(body, dict):
        return body
    item, changes = body.get("item"), {"duration_ms": duration, "name": name}
    if isinstance(item, dict):
        body = {**body, "item": item | {key: value for key, value in changes.items() if value is not None}}
    return body if progress is None else {**body, "progress_ms": progress}


few_items = [
    *[[PLAYERS[0], body] for body in (*PLAYERS, *PLAYERS[:6])],
    [PLAYERS[1]],
    [PLAYERS[2]],
    PLAYERS,
]


DATES = ("Sun, 22 Nov 2026 12:00:05 GMT", "Sun, 22 Nov 9999 13:00:00 -2400", "31 Feb 26 12:00", "3600", "-1")
dates = st.sampled_from(DATES) | st.integers().map(str) | texts
failures = st.sampled_from([400, 401, 403, 429, 429, 500]) | st.integers(300, 999)
errors = encoded(mutated(corpus.ERRORS + corpus.GRANTS))
odd_responses = st.builds(Response, failures, st.fixed_dictionaries({"retry-after": dates}), errors)


@fuzz(80, answers=st.one_of(*map(player_responses, few_items)))
def test_player_states(spotify: FuzzedSpotify, answers: Sequence[tuple[float, Response]]) -> None:
    client, checker, schedule = spotify.client(), PlayChecker(Tracker()), PollSchedule(5.0, 30.0)
    for pause, spotify.response in answers:
        spotify.clock.sleep(pause)
        answer = outcome(client.player_state, TryLater, LoginNeeded, NotBefore)
        if isinstance(answer, NotBefore):
            assert 0 <= answer.seconds <= MAX_COOLDOWN
            spotify.clock.sleep(answer.seconds)
        elif not isinstance(answer, SpotifyLoggerError):
            checker.observe(answer.body, round(1000 * answer.utc), round(1000 * answer.monotonic))
            assert 0 < schedule.wait_after(checker.tracker.seen, answer.monotonic) <= MAX_IDLE_FACTOR * 30
    valid_until(client.token)  # must not fail


def tracker_before_the_restart() -> Tracker:
    """Return a tracker that has seen an episode and then, until a moment ago, a track."""
    tracker = Tracker()
    for ago, item, progress in ((300, corpus.EPISODE, 61_000), (200, TRACK, 1000), (5, TRACK, 196_000)):
        body = corpus.player(item, progress_ms=progress, timestamp=(SECOND - 200) * 1000)
        tracker.observe(read_player_state(body), (SECOND - ago) * 1000, (1000 - ago) * 1000)
    return tracker


BEFORE = tracker_before_the_restart()
NEWEST = BEFORE.play or pytest.fail("nothing was played")
AFTER: tuple[dict[str, object], ...] = (
    corpus.player(TRACK, progress_ms=200_000),
    corpus.player(TRACK, progress_ms=230_000, is_playing=False),
    corpus.player(TRACK, progress_ms=1_000),
    corpus.player(corpus.EPISODE, currently_playing_type="episode"),
    {},
)


@fuzz(
    100,
    newest_play=mutated([corpus.as_hash(NEWEST.to_hash())]).map(corpus.as_hash),
    memory=mutated([json.loads(BEFORE.serialize())]).map(json.dumps),
    answers=st.lists(
        st.tuples(st.sampled_from(AFTER), st.sampled_from((0, 5, 30, 700, 4000))), min_size=1, max_size=4
    ),
)
def test_restart_from_what_redis_has(
    newest_play: Mapping[str, str], memory: str, answers: Sequence[tuple[object, int]]
) -> None:
    tracker = Tracker(Play.from_hash(NEWEST.second, newest_play), memory)
    checker = PlayChecker(tracker)
    if tracker.play is not None:
        check_play(tracker.play)
        checker.plays[NEWEST.second] = tracker.play
    now = SECOND
    for body, pause in answers:
        now += pause
        checker.observe(body, now * 1000, (1000 + now - SECOND) * 1000)


def play_of(item_body: object, begin: int, end: int) -> Play:
    """Return a play, from and until so many seconds before now."""
    item = read_item(item_body) or pytest.fail("no item")
    started, ended = (SECOND - begin) * 1000, (SECOND - end) * 1000
    return Play(SECOND - begin, item, started, ended, ended - started, "skipped")


LOGGED = [play_of(corpus.EPISODE, 700, 600), play_of(TRACK, 400, 55)]


@fuzz(100, body=encoded(mutated(corpus.HISTORIES * 2 + PLAYERS)), logged=st.integers(0, len(LOGGED)))
def test_recently_played(spotify: FuzzedSpotify, body: bytes, logged: int) -> None:
    spotify.response = Response(200, {}, body)
    answer = outcome(spotify.client().recently_played, TryLater)
    history = [] if isinstance(answer, TryLater) else read_recently_played(answer.body)
    for heard in history:
        assert heard.item.uri
        assert 0 <= heard.ended_ms < 2**53
        check_fields({**heard.fields, **heard.item.catalog})
    gap = ((SECOND - 500) * 1000, SECOND * 1000)
    for play in backfill_plays(LOGGED[:logged], history, SECOND * 1000, [gap]):
        check_play(play)
        assert play.item.uri in {heard.item.uri for heard in history}
        assert play.ended_ms <= (SECOND + 60) * 1000


# The login

ECHO = {"error": "invalid_grant", "error_description": f"{SECRET}-client does not like {SECRET}-refresh"}
headers = st.fixed_dictionaries({}, optional=dict.fromkeys(("date", "retry-after"), dates))
usual_statuses = st.sampled_from([200, 200, 200, 400, 401])


@fuzz(
    100,
    response=st.builds(
        Response,
        usual_statuses | usual_statuses | failures,
        headers,
        encoded(mutated([*corpus.GRANTS, ECHO]) | values),
    ),
)
def test_responses_with_tokens(spotify: FuzzedSpotify, response: Response) -> None:
    secrets = [f"{SECRET}-{name}" for name in ("client", "refresh", "access", "code")]
    token = Token(secrets[1], secrets[2], authorized_at=float(SECOND))
    journal.add_secret(token.refresh_token)  # as the token file does
    spotify.response = response
    send, options = spotify.send, spotify.settings
    form = {"grant_type": "authorization_code", "code": secrets[3], "code_verifier": SECRET * 16}
    exchange = partial(oauth.request_token, send, options, form, Token(""), SECOND)
    refresh = partial(oauth.request_token, send, options, {}, token, SECOND)
    for found in (
        outcome(exchange, LoginNeeded, TryLater, NotBefore, Misconfigured),
        outcome(refresh, LoginNeeded, TryLater, NotBefore, Misconfigured),
    ):
        if isinstance(found, Token):
            assert config.is_visible_ascii(found.access_token)
            assert config.is_visible_ascii(found.refresh_token)
            assert found.authorized_at is not None
            assert 1.6e9 < found.authorized_at < 4.1e9
            assert is_shown_safely(found.scope)
        else:
            assert not any(secret in str(found) for secret in secrets)
            assert 0 <= getattr(found, "seconds", 0.0) <= 366 * 86400


# What the user's files and lines say

blank = st.just("")
lines = st.text("ab=\"'\\\n\r #$\0ä{(", max_size=40) | texts
urls = st.builds("{}://{}".format, st.sampled_from(["https", "redis", "redis+sentinel", "unix"]), texts)
setting_names = st.sampled_from([*DEFAULTS, *(f"{name}_FILE" for name in DEFAULTS)])


@fuzz(
    100,
    environ=st.dictionaries(setting_names, texts | urls, max_size=2),
    dotenv=blank | lines,
    auth=blank | lines,
)
def test_settings(tmp_path: Path, environ: Mapping[str, str], dotenv: str, auth: str) -> None:
    kept = (
        f"SPOTIFY_CLIENT_ID=abc\nREDIS_URL='redis://me:{SECRET}@h:6379/0'\nSPOTIFY_CLIENT_SECRET={SECRET}\n"
    )
    (tmp_path / ".env").write_bytes((kept + dotenv).encode("utf-8", "surrogatepass"))
    (tmp_path / "auth.py").write_bytes(f"client_secret = '{SECRET}'\n{auth}".encode("utf-8", "surrogatepass"))
    environ = {**environ, "STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    found = outcome(partial(config.load, tmp_path, environ), Misconfigured)
    assert SECRET not in (str(found) if isinstance(found, Misconfigured) else repr(found))


@fuzz(100, content=encoded(mutated([{"refresh_token": "a", "authorized_at": 1.0, "scope": "x"}]) | values))
def test_token_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token.json"
    path.write_bytes(content)
    token = TokenFile(path).load()
    if token is not None:
        oauth.valid_until(token)
        TokenFile(path).save(token)
        assert TokenFile(path).load() == token


@fuzz(100, address=texts | st.text("?&=#%:/[]codestaerr1\ud800\x1b", max_size=60))
def test_redirected_addresses(tmp_path: Path, address: str) -> None:
    lines: list[str] = []
    attempt = login.LoginAttempt(config.load(tmp_path, {}, need_login=False), lines.append)
    attempt.take_line(address)
    assert attempt.answer == {}
    assert all(map(is_shown_safely, lines))
