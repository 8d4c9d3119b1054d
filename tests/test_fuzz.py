"""Fuzz all external input: no exception escapes, no play is invented, no control character is shown.

Every test feeds as many inputs as `INPUTS` says, the same ones each time.
"""

from __future__ import annotations

import io
import json
import math
import operator
import os
import sys
import unicodedata
from contextlib import suppress
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
from spotify_logger.queries import count, health, status, timeline
from spotify_logger.queries.question import Question
from spotify_logger.report import blocks, output
from spotify_logger.spotify import oauth
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.http import Response, parse_http_date
from spotify_logger.spotify.login import LoginAttempt, Prompt, parse_redirect
from spotify_logger.spotify.oauth import Token, TokenFile, retry_after, valid_until
from spotify_logger.spotify.quota import Quota
from spotify_logger.spotify.rate_limit import MAX_COOLDOWN, RATE_LIMIT_FILE, EndpointGroup, RateLimit
from spotify_logger.storage.store import Store, StoreError
from spotify_logger.system import atomic_file
from spotify_logger.system import log as journal
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError, TryLater
from tests.fuzz_corpus import (
    AUTH_FILES,
    CONFIDENTIAL,
    DATES,
    DOTENV_FILES,
    EPISODE,
    FAULTS,
    FOLLOWING,
    GRANTS,
    HISTORIES,
    HOLDS,
    LOGS,
    MEMORIES,
    NEWEST,
    NUMBERS,
    OLDER,
    PLAYERS,
    REDIRECTS,
    SAMPLE,
    SECOND,
    SECRET,
    SECRETIVE,
    START,
    STATUS,
    SUMMER,
    TOKENS,
    TRACK,
    Someone,
    as_hash,
    encoded,
    garbled,
    mutated,
    redis_texts,
    texts,
    values,
)
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.player_state import FieldValue, PlayerState
    from spotify_logger.spotify.http import Request

INPUTS = {
    "player bodies": 2500,
    "history bodies": 500,
    "answers and their headers": 900,
    "headers that tell the time": 1300,
    "token bodies": 800,
    "token files": 500,
    "rate limit files": 400,
    "auth.py": 1000,
    ".env and environment": 600,
    "redirected addresses": 1200,
    "lines of the index and of the status": 700,
    "restarts": 500,
    "Redis": 300,
}
"""The number of inputs per test."""
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""Multiplies the number of inputs; above 1, they differ in every run."""

TOKEN = Token("refresh-1", "access-1", SECOND + 3600.0, authorized_at=float(SECOND))


def test_there_are_enough_inputs() -> None:
    assert sum(INPUTS.values()) >= 10_000


def fuzz(target: str, inputs: st.SearchStrategy[Any], check: Callable[[Any], None], each: int = 1) -> None:
    """Check many inputs reproducibly; each example counts as several."""
    examples, ran = -(-INPUTS[target] * TIMES // each), 0

    @settings(
        max_examples=examples,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def once(given_: Any) -> None:  # noqa: ANN401 - each test has its own
        nonlocal ran
        ran += 1
        check(given_)

    once()
    assert ran >= examples


def outcome(ask: Callable[[], Any], *errors: type[Exception]) -> Any:  # noqa: ANN401
    """Return the result of a call, or its error if that is of an expected kind and safe to show."""
    try:
        return ask()
    except errors as error:
        is_a_line = len(str(error)) < 10_000 and is_shown_safely(str(error))
        return error if is_a_line else pytest.fail(f"no line to be shown: {error!r}")


def is_shown_safely(text: str, but: str = "") -> bool:
    """Return whether text has no control characters, except for the allowed ones."""
    if text.isprintable():
        return True
    return not any(unicodedata.category(c)[0] == "C" for c in set(text) - set(but))


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return a function for the new log lines; without secrets of other tests and without disk syncs."""
    monkeypatch.setattr(journal, "_secrets", set())
    monkeypatch.setattr(os, "fsync", lambda _: None)

    def read() -> str:
        text = capsys.readouterr().err
        assert is_shown_safely(text, but="\n")
        return text

    yield read
    read()


class Desk:
    """A client with its files, and services that answer every request alike."""

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
        self.answer = Response(204, {}, b"")
        self.start()

    def start(self) -> None:
        """Reset everything to the initial login."""
        (self.folder / RATE_LIMIT_FILE).unlink(missing_ok=True)
        token_file = TokenFile(self.folder / oauth.TOKEN_FILE)
        token_file.save(TOKEN)
        self.clock = VirtualClock(SECOND)
        rate_limit = RateLimit(self.folder / RATE_LIMIT_FILE, self.clock, "boot")
        self.spotify = Spotify(self.send, self.settings, token_file, self.clock, rate_limit)

    def send(self, request: Request) -> Response:
        self.clock.sleep(0.5)
        return self.answer


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# Players


def listening_to(bodies: Sequence[object]) -> st.SearchStrategy[list[tuple[float, bytes]]]:
    """Generate five states of few items, and the seconds before each."""
    odd = st.none() | st.sampled_from((True, *NUMBERS))
    told = st.builds(
        _told, mutated(bodies), odd | st.integers(0, 300_000), st.none() | odd, st.none() | texts
    )
    pauses = st.sampled_from((0.0, 0.25, 5.0, 30.0, 60.0, 700.0, 4000.0))
    return st.lists(st.tuples(pauses, encoded(told)), min_size=5, max_size=5)


def _told(body: Any, progress: object, duration: object, name: object) -> object:  # noqa: ANN401
    """Generate a body with some of its most important values replaced."""
    if not isinstance(body, dict):
        return body
    item, changes = body.get("item"), {"duration_ms": duration, "name": name}
    if isinstance(item, dict):
        body = {**body, "item": item | {key: value for key, value in changes.items() if value is not None}}
    return body if progress is None else {**body, "progress_ms": progress}


few = [[PLAYERS[0], body] for body in (*PLAYERS, *PLAYERS[:6])] + [[PLAYERS[1]], [PLAYERS[2]], PLAYERS]


def test_player_bodies(desk: Desk) -> None:
    def check(listening: Sequence[tuple[float, bytes]]) -> None:
        desk.start()
        watch, schedule = Watch(Tracker()), PollSchedule(5.0, 30.0)
        for pause, body in listening:
            desk.clock.sleep(pause)
            desk.answer = Response(200, {}, body)
            answer = outcome(desk.spotify.player_state, TryLater)
            if isinstance(answer, TryLater):
                continue
            playback = read_player_state(answer.body)
            watch.observe(answer.body, playback, round(1000 * answer.utc), round(1000 * answer.monotonic))
            assert 0 < schedule.wait_after(watch.tracker.outlook, answer.monotonic) <= MAX_IDLE_FACTOR * 30

    fuzz("player bodies", st.one_of(*map(listening_to, few)), check, each=5)


class Watch:
    """Checks the invariants of a tracker after every answer."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.plays: dict[int, Play] = {}

    def observe(self, body: object, player_state: PlayerState, stamp_ms: int, monotonic_ms: int) -> None:
        last = self.tracker.seen.last
        may_begin = can_be_played(body) and (player_state.playing or (last is not None and last.playing))
        changed = self.tracker.observe(player_state, stamp_ms, monotonic_ms)
        elapsed = 0 if last is None else self.tracker.seen.now - last.at
        if last is not None and last.progress_ms is None:
            elapsed = sys.maxsize  # who knows where it was? Heard it was for as long as it is open, at most
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


# Responses of any status, and their headers

date_bits = st.sampled_from(["+9999", "-2400", "0000", "99999", "GMT", "Feb", "31 ", *":,. -+9²"])
dates = garbled(DATES, date_bits) | garbled(DATES) | st.integers().map(str) | texts
headers = st.fixed_dictionaries({}, optional=dict.fromkeys(("date", "retry-after", "content-type"), dates))
statuses = st.sampled_from([200, 200, 202, 204, 400, 401, 403, 429, 429, 500]) | st.integers(100, 999)
responses = st.builds(
    Response, statuses, headers, encoded(mutated(FAULTS + GRANTS + PLAYERS)) | st.binary(max_size=9)
)


def test_answers_and_their_headers(desk: Desk) -> None:
    def check(given_: Sequence[Response]) -> None:
        desk.start()
        tracker = Tracker()
        for desk.answer in given_:
            answer = outcome(desk.spotify.player_state, TryLater, LoginNeeded, NotBefore)
            if isinstance(answer, NotBefore):
                assert 0 <= answer.seconds <= MAX_COOLDOWN
                desk.clock.sleep(answer.seconds)
            elif isinstance(answer, SpotifyLoggerError):
                desk.clock.sleep(1000.0)
            else:
                assert answer.body is None or isinstance(answer.body, dict)
                playback = read_player_state(answer.body)
                for play in tracker.observe(
                    playback, round(1000 * answer.utc), round(1000 * answer.monotonic)
                ):
                    check_play(play)
            assert math.isfinite(desk.clock.utc())
        saved = TokenFile(desk.folder / oauth.TOKEN_FILE).load()
        assert saved is not None
        desk.spotify.login_valid_until  # noqa: B018 - must not fail

    fuzz("answers and their headers", st.lists(responses, min_size=3, max_size=3), check, each=3)


def test_date_headers() -> None:
    def check(given_: Mapping[str, str]) -> None:
        date = parse_http_date(given_.get("date", ""))
        assert date is None or math.isfinite(date)
        asked = retry_after(given_, SECOND)
        assert asked is None or 0 <= asked <= 366 * 86400

    fuzz("headers that tell the time", st.fixed_dictionaries({"date": dates, "retry-after": dates}), check)


# Histories


def known(what: object, begin: int, end: int) -> Play:
    """Return a known play, from and until so many seconds before now."""
    item = read_item(what)
    assert item is not None
    return Play(
        SECOND - begin, item, (SECOND - begin) * 1000, (SECOND - end) * 1000, (begin - end) * 1000, "skipped"
    )


KNOWN = [known(EPISODE, 700, 600), known(TRACK, 400, 55)]


def test_history_bodies(desk: Desk) -> None:
    def check(given_: tuple[bytes, int]) -> None:
        body, seen = given_
        desk.answer = Response(200, {}, body)
        answer = outcome(desk.spotify.recently_played, TryLater)
        history = [] if isinstance(answer, TryLater) else read_recently_played(answer.body)
        for heard in history:
            assert heard.item.uri
            assert 0 <= heard.ended_ms < 2**53
            check_fields({**heard.fields, **heard.item.catalog})
        plays = backfill_plays(KNOWN[:seen], history, SECOND * 1000, [((SECOND - 500) * 1000, SECOND * 1000)])
        for play in plays:
            check_play(play)
            assert play.item.uri in {heard.item.uri for heard in history}
            assert play.ended_ms <= (SECOND + 60) * 1000

    inputs = st.tuples(encoded(mutated(HISTORIES * 2 + PLAYERS)), st.integers(0, len(KNOWN)))
    fuzz("history bodies", inputs, check)


# The login


def test_token_bodies(desk: Desk) -> None:
    secrets = [f"{SECRET}-{name}" for name in ("client", "refresh", "access", "code")]
    token = Token(secrets[1], secrets[2], authorized_at=float(SECOND))
    config.conceal(token.refresh_token)  # as the token file does

    def check(answer: Response) -> None:
        desk.answer = answer
        exchange = partial(oauth.exchange_code, desk.send, desk.settings, secrets[3], SECRET * 16, SECOND)
        refresh = partial(oauth.refresh, desk.send, desk.settings, token, SECOND)
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

    echoes = {
        "error": "invalid_grant",
        "error_description": f"{SECRET}-client does not like {SECRET}-refresh",
    }
    bodies = encoded(mutated([*GRANTS, echoes]) | mutated([*GRANTS, echoes]) | values)
    usual = st.sampled_from([200, 200, 200, 400, 401])
    fuzz("token bodies", st.builds(Response, usual | usual | statuses, headers, bodies), check)


def test_token_files(tmp_path: Path, log: Callable[[], str]) -> None:
    path, bad = tmp_path / "token.json", tmp_path / "token.json.bad"

    def check(content: bytes) -> None:
        journal._secrets.clear()
        bad.unlink(missing_ok=True)
        path.write_bytes(content)
        found = TokenFile(path).load()
        assert (found is None) == (
            "a new login is needed" in log() or len(content) > atomic_file.MAX_FILE_SIZE
        )
        assert found is None or config.is_visible_ascii(found.refresh_token)
        if found is not None:
            valid_until(found)
            assert is_shown_safely(found.scope + found.dead_reason)
        TokenFile(path).save(found or TOKEN)
        assert TokenFile(path).load() == (found or TOKEN)
        assert (bad.read_bytes() if bad.exists() else None) == (content if found is None else None)

    contents = encoded(mutated([*TOKENS, *GRANTS])) | encoded(values) | st.binary(max_size=200)
    fuzz("token files", contents | st.just(bytes(70_000)), check)


def test_rate_limit_files(tmp_path: Path) -> None:
    path = tmp_path / RATE_LIMIT_FILE

    def check(given_: tuple[bytes, str]) -> None:
        content, boot = given_
        path.write_bytes(content)
        clock = VirtualClock(SECOND)
        rate_limit = RateLimit(path, clock, boot)
        assert 1 <= rate_limit.slowdown() < math.inf
        for family in get_args(EndpointGroup):
            wait = outcome(partial(rate_limit.check, family), NotBefore)
            if wait is not None:
                assert 0 < wait.seconds <= MAX_COOLDOWN
                clock.sleep(MAX_COOLDOWN)
                rate_limit.check(family)
            assert 0 < rate_limit.start_cooldown(family, None, "quota").seconds <= MAX_COOLDOWN
            rate_limit.end_cooldown(family)
            rate_limit.check(family)

    contents = encoded(mutated(HOLDS)) | encoded(values) | st.binary(max_size=200)
    fuzz("rate limit files", st.tuples(contents, st.sampled_from(["boot", "another", ""])), check)


def test_redirected_addresses(desk: Desk) -> None:
    def check(address: str) -> None:
        redirect = parse_redirect(address)
        assert all(isinstance(text, str) for text in (redirect.state, redirect.code, redirect.error))
        assert is_shown_safely(redirect.error)
        assert repr(redirect) == f"Redirect(error={redirect.error!r})"
        screen = io.StringIO()
        attempt = LoginAttempt(desk.settings, Prompt(screen))
        attempt.take_line(address)
        _, answer = attempt.take_request(address)
        assert attempt.answer is None
        assert is_shown_safely(answer)
        assert is_shown_safely(screen.getvalue(), but="\n")

    bits = st.sampled_from(["?", "&", "=", "#", ";", "%", "%1b", "%0a", "code", "state", "error=", "&" * 50])
    fuzz("redirected addresses", garbled(REDIRECTS, bits | texts) | texts, check)


# The settings


def test_auth_file() -> None:
    def check(text: str) -> None:
        source = text.encode("utf-8", "surrogatepass")
        given_ = {"client_id": "new-id", "client_secret": 'it\'s "new" \\'}
        found = outcome(partial(auth_file.parse, source, "auth.py"), Misconfigured)
        filled = outcome(partial(auth_file.fill, source, "auth.py", given_), Misconfigured)
        assert SECRET not in str(found)
        if isinstance(found, Misconfigured) or isinstance(filled, Misconfigured):
            return
        assert found.keys() <= set(auth_file.NAMES)
        assert decode_source(filled.encode()) == filled
        again = auth_file.parse(filled.encode(), "auth.py")
        assert {name: value.text for name, value in again.items() if name in given_} == given_
        assert found.get("redirect_uri") == again.get("redirect_uri")

    python = st.sampled_from([*"'\"()\\\n=fb:# \t", '"""', "0x", "client_id", "if x:\n", "# coding: utf-7\n"])
    fuzz("auth.py", garbled(AUTH_FILES, python | texts) | texts, check)


def test_settings(tmp_path: Path) -> None:
    def check(given_: tuple[str, str, Mapping[str, str], bool]) -> None:
        dotenv, auth, environ, need_login = given_
        journal._secrets.clear()
        (tmp_path / ".env").write_bytes(dotenv.encode("utf-8", "surrogatepass"))
        (tmp_path / "auth.py").write_bytes(auth.encode("utf-8", "surrogatepass"))
        # Nothing is made outside of the test's own folder.
        place = {"STATE_DIR": str(tmp_path / "state")} if need_login else {}
        load = partial(
            config.load, tmp_path, {**environ, **place, "HOME": str(tmp_path)}, need_login=need_login
        )
        found = outcome(load, Misconfigured)
        if isinstance(found, Misconfigured):
            assert SECRET not in str(found)
            return
        open_ones = f"{found.client_id} {found.redirect_uri} {found.redis_prefix} {found.state_dir}"
        assert SECRET not in repr(found) or SECRET in f"{open_ones} {found.api_url} {found.accounts_url}"
        assert 0 < found.poll_min <= found.poll_max <= config.MAX_POLL_SECONDS
        assert found.state_dir.is_absolute()
        secrets = (found.client_secret, found.refresh_token, found.alert_url)
        assert SECRET not in journal.sanitize(" ".join(secret for secret in secrets if len(secret) > 3))

    bits = st.sampled_from([*"=\n'\"#\\$\r:@/", "${HOME}", "export ", "%1b"]) | texts
    names = st.sampled_from(
        [*setting_sources.DEFAULTS, *(f"{name}_FILE" for name in setting_sources.DEFAULTS)]
    )
    odd = st.dictionaries(names, texts | st.sampled_from(["5", "0.5"]), max_size=1)
    secret = st.dictionaries(st.sampled_from(SECRETIVE), garbled(CONFIDENTIAL, bits), max_size=2)
    inputs = st.tuples(
        garbled(DOTENV_FILES, bits),
        st.sampled_from(["", *AUTH_FILES[:2]]),
        st.builds(operator.or_, odd, secret),
        st.booleans(),
    )
    fuzz(".env and environment", inputs, check)


# Redis with foreign data

hashes = mutated([NEWEST, OLDER, STATUS]).map(as_hash)


def test_index_rows_and_status() -> None:
    def check(given_: tuple[dict[str, str], str, str, str]) -> None:
        fields, name, text, counts = given_
        row = read_row(name, text)
        assert row is None or (0 <= row[0] < 10**10 and " " not in row[1] and 0 <= row[2] < 10**12)
        second = second_of_key(name)
        assert second is None or 0 <= second < 10**10
        play = Play.from_hash(START, fields)
        assert play is None or (0 <= play.started_ms <= play.ended_ms and play.ms_played >= 0)
        if play is not None:
            play.to_hash()
            read_row(str(play.second), play.index)
            assert is_shown_safely(journal.sanitize(format_play(play)))
        assert is_shown_safely(journal.sanitize(format_title(fields)))
        assert all(is_shown_safely(problem) for problem in health.problems(fields, SECOND, 60))
        usage = Quota(counts)
        usage.add(5, SECOND)
        assert 5 <= usage.total(SECOND) < 24 * 10**9 + 5
        assert Quota(usage.to_text()).total(SECOND) <= usage.total(SECOND)

    names = garbled([f"{START}", f"listening:{START}", f"x:listening:{START}"])
    rows = garbled(["track:veridis 195000", "episode:pilot 5", "local:0123456789abcdef 1"])
    counts = garbled([STATUS["requests_by_hour"]], st.sampled_from([*":,0٣-", "9" * 10, "9" * 4400]))
    fuzz("lines of the index and of the status", st.tuples(hashes, names, rows, counts), check)


def check_restart(given_: tuple[Mapping[str, str], str, list[tuple[int, int]]]) -> None:
    """Restart from what Redis has, and continue with answers and the seconds before each."""
    kept, memory, steps = given_
    tracker = Tracker.restore(Play.from_hash(START, kept), memory)
    watch = Watch(tracker)
    if tracker.play is not None:
        watch.plays[START] = tracker.play
    now = SECOND
    for number, pause in steps:
        now += pause
        body = FOLLOWING[number]
        watch.observe(body, read_player_state(body), now * 1000, (now - SECOND) * 1000)


def test_restarts() -> None:
    memories = mutated(MEMORIES).map(json.dumps) | garbled([json.dumps(memory) for memory in MEMORIES])
    steps = st.tuples(st.integers(0, len(FOLLOWING) - 1), st.sampled_from((0, 5, 30, 700, 4000)))
    inputs = st.tuples(hashes, memories, st.lists(steps, min_size=1, max_size=4))
    fuzz("restarts", inputs, check_restart)


@pytest.mark.parametrize(
    "garbled_part",
    [
        {"answered": 2**53 - 1},
        {"answered": 10 * SECOND * 1000},
        {"last": {**SAMPLE, "at": 2**53 - 1}},
        {"last": {**SAMPLE, "at": 0}, "hidden": MEMORIES[0]["hidden"]},
        {"hidden": {"begun": 0, "ended": (SECOND - 4) * 1000}},
    ],
)
def test_tracker_json_with_moments_out_of_order(garbled_part: dict[str, object]) -> None:
    memory = json.dumps({**MEMORIES[1], **garbled_part})
    for steps in ([(0, 0)], [(1, 5)], [(2, 5)], [(0, 4000)], [(3, 5)]):
        check_restart((NEWEST, memory, steps))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal to which rich writes only text."""
    monkeypatch.setenv("TERM", "dumb")
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("plain_terminal")
def test_redis() -> None:
    def check(given_: tuple[Mapping[str, object], str, str, int]) -> None:
        keys, wanted, refuses, fails = given_
        link = Someone(keys, refuses, fails)
        store = Store("", utc=lambda: SUMMER, connect=lambda _: link)
        faces_of: tuple[Callable[[], blocks.Answer], ...] = (
            lambda: status.status(store, SUMMER, 60),
            lambda: status.now_playing(store, SUMMER, 60),
            lambda: timeline.recent(store, Question(SUMMER, limit=5)),
            lambda: count.count(store.archive(), Question(SUMMER), wanted),
        )
        for face in faces_of:
            with suppress(StoreError):
                check_shown(face())
        with suppress(StoreError):
            assert store.claim(SUMMER, "2006-05-07T11:06:40.000Z", "spotify:track:x") >= SUMMER
            with store.batch() as batch:
                batch.write_play(SUMMER, {"name": wanted}, "track:x 5")
                batch.write_status({"state": wanted})
                batch.clear_now_playing()

    inputs = st.tuples(
        mutated(LOGS),
        st.sampled_from(["daft punk", "veridis quo", "", "\x1b[31m"]) | redis_texts,
        st.sampled_from(["-", "-", "-", "listening", "plays:", "track", "spotify_logger", "now", "server"]),
        st.sampled_from((0, 0, 0, 1, 2, 5, 9)),
    )
    fuzz("Redis", inputs, check)


def check_shown(answer: blocks.Answer) -> None:
    """Render an answer in every format."""
    for out in (Terminal(), io.StringIO()):
        output.write_answer(answer, out)
        assert is_shown_safely(out.getvalue(), but="\n" if out.isatty() else "\n\t")
    out = Terminal()
    output.write_answer(answer, out, "json")
    assert is_shown_safely(out.getvalue(), but="\n")
    json.loads(out.getvalue())
    out = Terminal()
    output.write_answer(answer, out, "csv")
    assert is_shown_safely(out.getvalue(), but="\r\n")
