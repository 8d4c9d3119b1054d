"""Fuzz all external input: no exception escapes, no play is invented, no control character is shown."""

from __future__ import annotations

import io
import json
import math
import operator
import os
import sys
import unicodedata
from functools import partial
from importlib.util import decode_source
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_logger.config import auth_file
from spotify_logger.config import settings as config
from spotify_logger.config import sources as setting_sources
from spotify_logger.core.backfill import backfill_plays, read_recently_played
from spotify_logger.core.display import format_play, format_title
from spotify_logger.core.observations import JITTER_MS
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import (
    ITEM_TYPES,
    MAX_ITEM_MS,
    MAX_TEXT_LENGTH,
    dict_get,
    read_item,
    read_player_state,
)
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR, PollSchedule
from spotify_logger.core.redis_keys import PLAY_FIELDS, read_row, second_of_key
from spotify_logger.core.tracker import Tracker
from spotify_logger.queries import health
from spotify_logger.spotify import oauth
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.http import Response, parse_http_date
from spotify_logger.spotify.login import LoginAttempt, Prompt, parse_redirect
from spotify_logger.spotify.oauth import Token, TokenFile, retry_after, valid_until
from spotify_logger.spotify.quota import Quota
from spotify_logger.spotify.rate_limit import MAX_COOLDOWN, RATE_LIMIT_FILE, EndpointGroup, RateLimit
from spotify_logger.system import atomic_file
from spotify_logger.system import log as journal
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError, TryLater
from tests.fuzz_corpus import (
    AUTH_FILES,
    CONFIDENTIAL,
    COOLDOWNS,
    DATES,
    DOTENV_FILES,
    EPISODE,
    ERRORS,
    GRANTS,
    HISTORIES,
    NEWEST,
    NUMBERS,
    OLDER,
    PLAYERS,
    REDIRECTS,
    SECOND,
    SECRET,
    SECRETIVE,
    START,
    STATES_AFTER_RESTART,
    STATUS,
    TOKENS,
    TRACK,
    TRACKER_STATES,
    as_hash,
    encoded,
    garbled,
    mutated,
    texts,
    values,
)
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.player_state import FieldValue, PlayerState
    from spotify_logger.spotify.http import Request

    Check = Callable[..., None]

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""Multiplies the number of inputs; above 1, they differ in every run."""
TOKEN = Token("refresh-1", "access-1", SECOND + 3600.0, authorized_at=float(SECOND))


def fuzz(examples: int, **inputs: st.SearchStrategy[Any]) -> Callable[[Check], Check]:
    """Run a test with that many examples, the same ones each time."""
    run = settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
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
def log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return a function for the new log lines; without secrets of other tests and without disk syncs."""
    monkeypatch.setattr(journal, "_secrets", set())
    monkeypatch.setattr(os, "fsync", lambda _: None)

    def read() -> str:
        text = capsys.readouterr().err
        assert is_shown_safely(text, allowed="\n")
        return text

    yield read
    read()


class FuzzedSpotify:
    """A client with its files, and a Spotify that gives every request the same response."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = config.load(
            folder,
            {
                "STATE_DIR": str(folder),
                "SPOTIFY_CLIENT_ID": "app",
                "SPOTIFY_CLIENT_SECRET": f"{SECRET}-client",
                "SPOTIFY_API_URL": "https://api.test",
                "SPOTIFY_ACCOUNTS_URL": "https://accounts.test",
            },
        )
        self.response = Response(204, {}, b"")
        self.log_in()

    def log_in(self) -> None:
        """Reset everything to the initial login."""
        (self.folder / RATE_LIMIT_FILE).unlink(missing_ok=True)
        token_file = TokenFile(self.folder / oauth.TOKEN_FILE)
        token_file.save(TOKEN)
        self.clock = VirtualClock(SECOND)
        rate_limit = RateLimit(self.folder / RATE_LIMIT_FILE, self.clock, "boot")
        self.client = Spotify(self.send, self.settings, token_file, self.clock, rate_limit)

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
        may_begin = can_be_played(body) and (player_state.playing or (last is not None and last.playing))
        changed = self.tracker.observe(player_state, stamp_ms, monotonic_ms)
        elapsed = 0 if last is None else self.tracker.seen.now - last.at
        if last is not None and last.progress_ms is None:
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
        assert play.ms_played <= min(player_state.progress_ms or 0, MAX_ITEM_MS)
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
    again = Play.from_hash(play.second, as_hash(fields))
    assert again is not None
    assert as_hash(again.to_hash()) == as_hash(fields)
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


def player_bodies(bodies: Sequence[object]) -> st.SearchStrategy[list[tuple[float, bytes]]]:
    """Generate five states of few items, and the seconds before each."""
    odd = st.none() | st.sampled_from((True, *NUMBERS))
    body = st.builds(
        _with_values, mutated(bodies), odd | st.integers(0, 300_000), st.none() | odd, st.none() | texts
    )
    pauses = st.sampled_from((0.0, 0.25, 5.0, 30.0, 60.0, 700.0, 4000.0))
    return st.lists(st.tuples(pauses, encoded(body)), min_size=5, max_size=5)


def _with_values(body: Any, progress: object, duration: object, name: object) -> object:  # noqa: ANN401
    """Return a body with some of its most important values replaced."""
    if not isinstance(body, dict):
        return body
    item, changes = body.get("item"), {"duration_ms": duration, "name": name}
    if isinstance(item, dict):
        body = {**body, "item": item | {key: value for key, value in changes.items() if value is not None}}
    return body if progress is None else {**body, "progress_ms": progress}


few_items = [[PLAYERS[0], body] for body in (*PLAYERS, *PLAYERS[:6])] + [[PLAYERS[1]], [PLAYERS[2]], PLAYERS]


@fuzz(250, answers=st.one_of(*map(player_bodies, few_items)))
def test_player_bodies(spotify: FuzzedSpotify, answers: Sequence[tuple[float, bytes]]) -> None:
    spotify.log_in()
    checker, schedule = PlayChecker(Tracker()), PollSchedule(5.0, 30.0)
    for pause, body in answers:
        spotify.clock.sleep(pause)
        spotify.response = Response(200, {}, body)
        answer = outcome(spotify.client.player_state, TryLater)
        if isinstance(answer, TryLater):
            continue
        checker.observe(answer.body, round(1000 * answer.utc), round(1000 * answer.monotonic))
        assert 0 < schedule.wait_after(checker.tracker.outlook, answer.monotonic) <= MAX_IDLE_FACTOR * 30


hashes = mutated([NEWEST, OLDER, STATUS]).map(as_hash)
steps = st.tuples(st.sampled_from(STATES_AFTER_RESTART), st.sampled_from((0, 5, 30, 700, 4000)))


@fuzz(
    250,
    newest_play=hashes,
    state=mutated(TRACKER_STATES).map(json.dumps) | garbled([json.dumps(state) for state in TRACKER_STATES]),
    answers=st.lists(steps, min_size=1, max_size=4),
)
def test_restart_from_what_redis_has(
    newest_play: Mapping[str, str], state: str, answers: Sequence[tuple[object, int]]
) -> None:
    tracker = Tracker.restore(Play.from_hash(START, newest_play), state)
    checker = PlayChecker(tracker)
    if tracker.play is not None:
        checker.plays[START] = tracker.play
    now = SECOND
    for body, pause in answers:
        now += pause
        checker.observe(body, now * 1000, (now - SECOND) * 1000)


# Responses of any status, and their headers

date_bits = st.sampled_from(["+9999", "-2400", "0000", "99999", "GMT", "Feb", "31 ", *":,. -+9²"])
dates = garbled(DATES, date_bits) | garbled(DATES) | st.integers().map(str) | texts
headers = st.fixed_dictionaries({}, optional=dict.fromkeys(("date", "retry-after", "content-type"), dates))
statuses = st.sampled_from([200, 200, 202, 204, 400, 401, 403, 429, 429, 500]) | st.integers(100, 999)
responses = st.builds(
    Response, statuses, headers, encoded(mutated(ERRORS + GRANTS + PLAYERS)) | st.binary(max_size=9)
)


@fuzz(100, given_responses=st.lists(responses, min_size=3, max_size=3))
def test_responses(spotify: FuzzedSpotify, given_responses: Sequence[Response]) -> None:
    spotify.log_in()
    checker = PlayChecker(Tracker())
    for spotify.response in given_responses:
        answer = outcome(spotify.client.player_state, TryLater, LoginNeeded, NotBefore)
        if isinstance(answer, NotBefore):
            assert 0 <= answer.seconds <= MAX_COOLDOWN
            spotify.clock.sleep(answer.seconds)
        elif isinstance(answer, SpotifyLoggerError):
            spotify.clock.sleep(1000.0)
        else:
            assert answer.body is None or isinstance(answer.body, dict)
            checker.observe(answer.body, round(1000 * answer.utc), round(1000 * answer.monotonic))
        assert math.isfinite(spotify.clock.utc())
    assert TokenFile(spotify.folder / oauth.TOKEN_FILE).load() is not None
    spotify.client.login_valid_until  # noqa: B018 - must not fail


@fuzz(400, date=dates, delay=dates)
def test_headers_that_tell_the_time(date: str, delay: str) -> None:
    second = parse_http_date(date)
    assert second is None or math.isfinite(second)
    seconds = retry_after({"date": date, "retry-after": delay}, SECOND)
    assert seconds is None or 0 <= seconds <= 366 * 86400


def play_of(item_body: object, begin: int, end: int) -> Play:
    """Return a play, from and until so many seconds before now."""
    item = read_item(item_body)
    assert item is not None
    started, ended = (SECOND - begin) * 1000, (SECOND - end) * 1000
    return Play(SECOND - begin, item, started, ended, ended - started, "skipped")


LOGGED = [play_of(EPISODE, 700, 600), play_of(TRACK, 400, 55)]


@fuzz(300, body=encoded(mutated(HISTORIES * 2 + PLAYERS)), logged=st.integers(0, len(LOGGED)))
def test_recently_played(spotify: FuzzedSpotify, body: bytes, logged: int) -> None:
    spotify.response = Response(200, {}, body)
    answer = outcome(spotify.client.recently_played, TryLater)
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
usual_statuses = st.sampled_from([200, 200, 200, 400, 401])


@fuzz(
    200,
    response=st.builds(
        Response,
        usual_statuses | usual_statuses | statuses,
        headers,
        encoded(mutated([*GRANTS, ECHO]) | values),
    ),
)
def test_responses_with_tokens(spotify: FuzzedSpotify, response: Response) -> None:
    secrets = [f"{SECRET}-{name}" for name in ("client", "refresh", "access", "code")]
    token = Token(secrets[1], secrets[2], authorized_at=float(SECOND))
    config.conceal(token.refresh_token)  # as the token file does
    spotify.response = response
    send, options = spotify.send, spotify.settings
    exchange = partial(oauth.exchange_code, send, options, secrets[3], SECRET * 16, SECOND)
    refresh = partial(oauth.refresh, send, options, token, SECOND)
    for found in (
        outcome(exchange, LoginNeeded, TryLater, NotBefore, Misconfigured),
        outcome(refresh, LoginNeeded, TryLater, NotBefore),
    ):
        if isinstance(found, Token):
            assert config.is_visible_ascii(found.access_token)
            assert config.is_visible_ascii(found.refresh_token)
            assert 1.6e9 < found.expires_at <= 4.1e9 + 86400
            assert found.authorized_at is not None
            assert 1.6e9 < found.authorized_at < 4.1e9
            assert is_shown_safely(found.scope)
        else:
            assert not any(secret in str(found) for secret in secrets)
            assert 0 <= getattr(found, "seconds", 0.0) <= 366 * 86400


@fuzz(
    150,
    content=encoded(mutated([*TOKENS, *GRANTS]) | values) | st.binary(max_size=200) | st.just(bytes(70_000)),
)
def test_token_files(tmp_path: Path, log: Callable[[], str], content: bytes) -> None:
    path, bad = tmp_path / "token.json", tmp_path / "token.json.bad"
    journal._secrets.clear()
    bad.unlink(missing_ok=True)
    path.write_bytes(content)
    found = TokenFile(path).load()
    is_refused = "a new login is needed" in log() or len(content) > atomic_file.MAX_FILE_SIZE
    assert (found is None) == is_refused
    if found is not None:
        assert config.is_visible_ascii(found.refresh_token)
        valid_until(found)
        assert is_shown_safely(found.scope + found.dead_reason)
    TokenFile(path).save(found or TOKEN)
    assert TokenFile(path).load() == (found or TOKEN)
    assert (bad.read_bytes() if bad.exists() else None) == (content if found is None else None)


@fuzz(
    100,
    content=encoded(mutated(COOLDOWNS) | values) | st.binary(max_size=200),
    boot=st.sampled_from(["boot", "another", ""]),
)
def test_rate_limit_files(tmp_path: Path, content: bytes, boot: str) -> None:
    path, clock = tmp_path / RATE_LIMIT_FILE, VirtualClock(SECOND)
    path.write_bytes(content)
    rate_limit = RateLimit(path, clock, boot)
    assert 1 <= rate_limit.slowdown() < math.inf
    for group in get_args(EndpointGroup):
        wait = outcome(partial(rate_limit.check, group), NotBefore)
        if wait is not None:
            assert 0 < wait.seconds <= MAX_COOLDOWN
            clock.sleep(MAX_COOLDOWN)
            rate_limit.check(group)
        assert 0 < rate_limit.start_cooldown(group, None, "quota").seconds <= MAX_COOLDOWN
        rate_limit.end_cooldown(group)
        rate_limit.check(group)


url_bits = st.sampled_from(["?", "&", "=", "#", ";", "%", "%1b", "%0a", "code", "state", "error=", "&" * 50])


@fuzz(300, address=garbled(REDIRECTS, url_bits | texts) | texts)
def test_redirected_addresses(spotify: FuzzedSpotify, address: str) -> None:
    redirect = parse_redirect(address)
    assert all(isinstance(text, str) for text in (redirect.state, redirect.code, redirect.error))
    assert is_shown_safely(redirect.error)
    assert repr(redirect) == f"Redirect(error={redirect.error!r})"
    screen = io.StringIO()
    attempt = LoginAttempt(spotify.settings, Prompt(screen))
    attempt.take_line(address)
    _, answer = attempt.take_request(address)
    assert attempt.answer is None
    assert is_shown_safely(answer)
    assert is_shown_safely(screen.getvalue(), allowed="\n")


# The settings

python_bits = st.sampled_from(
    [*"'\"()\\\n=fb:# \t", '"""', "0x", "client_id", "if x:\n", "# coding: utf-7\n"]
)


@fuzz(300, text=garbled(AUTH_FILES, python_bits | texts) | texts)
def test_auth_file(text: str) -> None:
    source = text.encode("utf-8", "surrogatepass")
    new = {"client_id": "new-id", "client_secret": 'it\'s "new" \\'}
    found = outcome(partial(auth_file.parse, source, "auth.py"), Misconfigured)
    filled = outcome(partial(auth_file.fill, source, "auth.py", new), Misconfigured)
    assert SECRET not in str(found)
    if isinstance(found, Misconfigured) or isinstance(filled, Misconfigured):
        return
    assert found.keys() <= set(auth_file.NAMES)
    assert decode_source(filled.encode()) == filled
    again = auth_file.parse(filled.encode(), "auth.py")
    assert {name: value.text for name, value in again.items() if name in new} == new
    assert found.get("redirect_uri") == again.get("redirect_uri")


dotenv_bits = st.sampled_from([*"=\n'\"#\\$\r:@/", "${HOME}", "export ", "%1b"]) | texts
setting_names = st.sampled_from(
    [*setting_sources.DEFAULTS, *(f"{name}_FILE" for name in setting_sources.DEFAULTS)]
)
odd_setting = st.dictionaries(setting_names, texts | st.sampled_from(["5", "0.5"]), max_size=1)
secret_settings = st.dictionaries(st.sampled_from(SECRETIVE), garbled(CONFIDENTIAL, dotenv_bits), max_size=2)


@fuzz(
    200,
    dotenv=garbled(DOTENV_FILES, dotenv_bits),
    auth=st.sampled_from(["", *AUTH_FILES[:2]]),
    environ=st.builds(operator.or_, odd_setting, secret_settings),
    need_login=st.booleans(),
)
def test_settings(
    tmp_path: Path, dotenv: str, auth: str, environ: Mapping[str, str], *, need_login: bool
) -> None:
    journal._secrets.clear()
    (tmp_path / ".env").write_bytes(dotenv.encode("utf-8", "surrogatepass"))
    (tmp_path / "auth.py").write_bytes(auth.encode("utf-8", "surrogatepass"))
    # Nothing is made outside of the test's own folder.
    state_dir = {"STATE_DIR": str(tmp_path / "state")} if need_login else {}
    environ = {**environ, **state_dir, "HOME": str(tmp_path)}
    found = outcome(partial(config.load, tmp_path, environ, need_login=need_login), Misconfigured)
    if isinstance(found, Misconfigured):
        assert SECRET not in str(found)
        return
    public = f"{found.client_id} {found.redirect_uri} {found.redis_prefix} {found.state_dir}"
    assert SECRET not in repr(found) or SECRET in f"{public} {found.api_url} {found.accounts_url}"
    assert 0 < found.poll_min <= found.poll_max <= config.MAX_POLL_SECONDS
    assert found.state_dir.is_absolute()
    secrets = (found.client_secret, found.refresh_token, found.alert_url)
    assert SECRET not in journal.sanitize(" ".join(secret for secret in secrets if len(secret) > 3))


# Redis with foreign data; `tests/cli/test_hostile_commands.py` shows it with every command


@fuzz(
    200,
    fields=hashes,
    name=garbled([f"{START}", f"listening:{START}", f"x:listening:{START}"]),
    text=garbled(["track:veridis 195000", "episode:pilot 5", "local:0123456789abcdef 1"]),
    requests=garbled([STATUS["requests_by_hour"]], st.sampled_from([*":,0٣-", "9" * 10, "9" * 4400])),
)
def test_index_rows_and_status(fields: dict[str, str], name: str, text: str, requests: str) -> None:
    row = read_row(name, text)
    assert row is None or (0 <= row[0] < 10**10 and " " not in row[1] and 0 <= row[2] < 10**12)
    second = second_of_key(name)
    assert second is None or 0 <= second < 10**10
    play = Play.from_hash(START, fields)
    if play is not None:
        assert 0 <= play.started_ms <= play.ended_ms
        assert play.ms_played >= 0
        play.to_hash()
        read_row(str(play.second), play.index)
        assert is_shown_safely(journal.sanitize(format_play(play)))
    assert is_shown_safely(journal.sanitize(format_title(fields)))
    assert all(is_shown_safely(problem) for problem in health.problems(fields, SECOND, 60))
    quota = Quota(requests)
    quota.add(5, SECOND)
    assert 5 <= quota.total(SECOND) < 24 * 10**9 + 5
    assert Quota(quota.to_text()).total(SECOND) <= quota.total(SECOND)
