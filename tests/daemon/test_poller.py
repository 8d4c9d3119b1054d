"""The poll loop in virtual time: real parts and a real Redis, and a simulated Spotify."""

from __future__ import annotations

import json
import os
import random
import re
import time
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis

from spotify_logger import __version__
from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.core import redis_keys
from spotify_logger.core.player_state import NO_STATE, PlayerState, read_player_state
from spotify_logger.core.times import from_iso
from spotify_logger.daemon import poller
from spotify_logger.daemon.backfiller import LAST_ANSWER_NOTE
from spotify_logger.daemon.poller import SAVE_INTERVAL, DaemonTimings, Turn, describe
from spotify_logger.simulator.accounts import DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.faults import NAMES, TOKEN_PATH, Fault
from spotify_logger.simulator.history import History
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.spotify.rate_limit import OLD_RATE_LIMIT_FILE, RATE_LIMIT_NOTE
from spotify_logger.storage.outbox import LOG_ID_NOTE
from spotify_logger.system.clock import boot_id
from tests.conftest import start_again
from tests.testbed.virtual_run import FixedSchedule, VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spotify_logger.core.poll_schedule import PollSchedule
    from spotify_logger.spotify.http import Request, Response
    from spotify_logger.storage.embedded_server import EmbeddedServer

T = 1_795_348_800.0  # 2026-11-22T12:00:00Z
PLAYER = "/v1/me/player"
INVALID_LOGIN = {"invalid_grant", "invalid_client"}
"""The faults after which only a login, or an hour, helps."""
RATE_LIMITS = {"rate_limit", "rate_limit_date", "rate_limit_text", "quota_exceeded"}


class PollerRig:
    """A logger in a simulated world, its requests, and another connection to its Redis."""

    def __init__(
        self, world: VirtualWorld, folder: Path, url: str, schedule: PollSchedule | None = None
    ) -> None:
        self.world = world
        self.requests: list[tuple[float, str]] = []
        self.token_file = TokenFile(folder / TOKEN_FILE)
        self.virtual_run = VirtualRun(world, make_settings(folder, url), schedule, send=self.send)
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def send(self, request: Request) -> Response:
        """Send a request, and record when and to which path."""
        self.requests.append((self.world.clock.now, urlsplit(request.url).path))
        return self.world.send(request)

    def turn(self) -> Turn:
        """One turn of the loop, and the sleep after it."""
        turn = self.virtual_run.poller.turn()
        self.world.clock.sleep(turn.due - self.world.clock.monotonic())
        return turn

    def run(self, until: float) -> list[Turn]:
        """Let it run until so many seconds after the beginning of the history."""
        turns = []
        while self.world.clock.now < T + until:
            turns.append(self.turn())
        return turns

    def run_to_end(self) -> None:
        """Let it run to the end of the history, and assert that every play is logged once, as it was."""
        self.run(self.world.record.end - T + 60)
        result = compare(self.world.record.plays, self.virtual_run.plays())
        assert [result.missed, result.duplicates, result.phantoms] == [[], [], []]
        for pair in result.pairs:
            assert pair.start_error_ms <= 1000
            assert pair.played_error_ms <= 5000
            assert pair.logged.end_reason == pair.truth.end_reason

    def fault(self, name: str, **how: object) -> None:
        """Switch a fault on, now."""
        self.world.service.faults.add(Fault(name, **how), self.world.clock.now)  # type: ignore[arg-type]

    def token(self) -> Token:
        token = self.token_file.load()
        assert token is not None
        return token

    def status(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.raw.hgetall("spotify_logger:status").items()}

    def requests_since(self, moment: float, path: str = "/") -> list[float]:
        """Return when requests were sent from a moment of the true time on."""
        return [at for at, where in self.requests if at >= moment and where.startswith(path)]

    def close(self) -> None:
        self.virtual_run.close()
        self.raw.close()


def one_long_track(length: float = 700) -> VirtualWorld:
    """One track that lasts, from a minute after the beginning on; one after it, and an advertisement."""
    return VirtualWorld.of(History(T).gone(60).play(song("A", length)).play(song("B", 100)).ad(120).finish())


@pytest.fixture
def make_rig(redis_url: str, memory_folder: Path) -> Iterator[Callable[..., PollerRig]]:
    rigs: list[PollerRig] = []

    def make(
        world: VirtualWorld | None = None,
        url: str = redis_url,
        schedule: PollSchedule | None = None,
        folder: Path = memory_folder,
    ) -> PollerRig:
        rigs.append(PollerRig(world or one_long_track(), folder, url, schedule))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture(autouse=True)
def _few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for plays in 2026 only: twenty empty years take a tenth of a second, each time."""
    monkeypatch.setattr(redis_keys, "FIRST_DAY", date(2026, 1, 1))


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of the log since the last call, without the time."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def test_restarts_at_any_turn_change_nothing(make_rig: Callable[..., PollerRig]) -> None:
    record = History(T)
    for number in range(8):
        record.play(song(str(number), 240), 60 if number % 3 == 0 else None)
    rig = make_rig(VirtualWorld.of(record.ad(120).finish()))
    chance = random.Random(1)
    while rig.world.clock.now < rig.world.record.end:
        rig.turn()
        if chance.random() < 0.2:
            rig.virtual_run.start()
    rig.run_to_end()


def test_the_last_answer_is_saved_when_a_play_begins_and_two_minutes_later(
    make_rig: Callable[..., PollerRig],
) -> None:
    rig = make_rig(VirtualWorld.of(History(T).play(song("A", 100)).play(song("B", 300)).finish()))
    saved = []
    for moment in (112, 210, 250):
        rig.run(moment)
        saved.append(int(rig.virtual_run.poller.outbox.note(LAST_ANSWER_NOTE)) / 1000 - T)
    begin, same, later = saved
    assert 100 <= begin == same < 112
    assert begin + SAVE_INTERVAL <= later


def test_while_nothing_plays_the_last_answer_is_saved_every_quarter_of_an_hour(
    make_rig: Callable[..., PollerRig],
) -> None:
    rig = make_rig(VirtualWorld.of(History(T).play(song("A", 100)).gone(5000).finish()))
    saved = set()
    for moment in range(200, 5000, 100):
        rig.run(moment)
        saved.add(rig.virtual_run.poller.outbox.note(LAST_ANSWER_NOTE))
    assert 5 <= len(saved) <= 7


class TestFaults:
    @pytest.mark.parametrize("path", [None, TOKEN_PATH], ids=["API", "accounts"])
    def test_a_minute_of_any_fault_ends_no_play_and_no_login(
        self, make_rig: Callable[..., PollerRig], path: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = sorted(NAMES - INVALID_LOGIN, key=lambda name: ("rate_limit" in name, name))
        rig = make_rig(one_long_track(200 * (len(names) + 1)))
        rig.run(120)
        for number, name in enumerate(names, 1):
            if path == TOKEN_PATH:
                rig.fault("expired", requests=1)
            began = rig.world.clock.now
            rig.fault(name, path=path, seconds=60)
            turns = rig.run(120 + 200 * number)
            waits = [turn.due - earlier.due for earlier, turn in pairwise(turns) if not turn.ok]
            assert max(waits, default=0.0) <= DaemonTimings().max_wait + 1, name
            if name in RATE_LIMITS and path is None:
                assert rig.requests_since(began, PLAYER)[1] - began >= 60, name
            assert rig.token().refresh_token == DEMO_REFRESH_TOKEN, name
            assert not rig.token().dead_reason, name
            assert rig.status()["login"] == "ok", name
        assert [line for line in log_lines(capsys) if line.startswith("The Band of A")] == []
        rig.run_to_end()

    def test_the_wait_grows_with_each_failure(
        self, make_rig: Callable[..., PollerRig], capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig = make_rig(one_long_track(900))
        rig.run(120)
        log_lines(capsys)
        rig.fault("error_503", seconds=600)
        turns = rig.run(780)
        waits = [later - earlier for earlier, later in pairwise(rig.requests_since(T + 120, PLAYER))]
        assert len(turns) < 30
        assert waits[0] <= waits[2] <= waits[4]
        assert 30 <= max(waits) <= 61
        assert [turn.ok for turn in turns[:3]] == [False] * 3
        assert turns[-1].ok
        down, back, gap = log_lines(capsys)
        assert "503" in down
        assert back == "Spotify answers again: playing The Band of A – A, Desk"
        assert gap.startswith("not observed: 2026-11-22T12:0")
        assert gap.endswith(" (Spotify down); recorded as a gap")
        rig.fault("error_503", requests=1)
        first, second = rig.turn(), rig.turn()
        assert [first.ok, second.ok] == [False, True]
        assert rig.requests[-1][0] - rig.requests[-2][0] <= 5.3


def test_nothing_is_sent_during_a_rate_limit_by_any_process(
    make_rig: Callable[..., PollerRig], memory_folder: Path
) -> None:
    rig = make_rig(one_long_track(12_000))
    rig.run(120)
    rig.fault("quota_exceeded", requests=1, value=10_000)
    limited, began = rig.turn(), rig.requests[-1][0]
    assert not limited.ok
    reason, until = limited.words.split("; the next request is at ")
    assert "quota" in reason
    announced = time.mktime(time.strptime(until, "%Y-%m-%d %H:%M"))
    assert began + 9_940 <= announced <= began + 10_002
    turns = []
    while rig.requests[-1][0] == began:
        turns.append(rig.turn())
        if len(turns) == 100:  # as version 0.5 has kept it
            outbox = rig.virtual_run.poller.outbox
            (memory_folder / OLD_RATE_LIMIT_FILE).write_text(outbox.note(RATE_LIMIT_NOTE))
            outbox.set_note(RATE_LIMIT_NOTE, "")
        if len(turns) % 50 == 0:
            rig.virtual_run.start()
    assert rig.requests[-1][0] >= began + 10_000
    assert len(turns) >= 160
    assert {turn.words for turn in turns[:-1]} == {limited.words}
    assert rig.status()["login"] == "ok"
    rig.run_to_end()


class TestLogin:
    def test_an_invalid_one_is_tried_once_an_hour_and_a_new_one_used_at_once(
        self, make_rig: Callable[..., PollerRig], capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig = make_rig(one_long_track(5000))
        rig.run(120)
        rig.fault("expired", requests=1)
        rig.fault("invalid_grant")
        log_lines(capsys)
        turns = rig.run(4500)
        tried = rig.requests_since(T + 120, TOKEN_PATH)
        assert len(tried) == 2
        assert tried[1] - tried[0] >= 3600
        assert len(rig.requests_since(T + 120, PLAYER)) == 1
        assert {turn.ok for turn in turns} == {False}
        assert rig.status()["login"] == "needed"
        assert rig.token().refresh_token == DEMO_REFRESH_TOKEN
        assert len(log_lines(capsys)) == 1

        rig.world.service.faults.clear()
        rig.token_file.save(Token(DEMO_REFRESH_TOKEN, authorized_at=rig.world.clock.now))
        replaced = rig.world.clock.now
        assert rig.turn().ok
        assert rig.requests_since(replaced, PLAYER)[0] <= replaced + DaemonTimings().login_check_interval
        assert rig.status()["login"] == "ok"
        back, gap = log_lines(capsys)
        assert back == "Spotify answers again: playing The Band of A – A, Desk"
        assert gap.endswith(" (login dead); recorded as a gap")
        rig.run_to_end()

    def test_of_another_account_is_refused_until_the_right_one_is_there(
        self, make_rig: Callable[..., PollerRig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig = make_rig()
        rig.run(90)
        # With another state folder, and a new login.
        other, rig.world.service.account = make_rig(rig.world, folder=tmp_path), "somebody-else"
        log_lines(capsys)
        asked = rig.world.service.requests[PLAYER, "200"]
        turns = other.run(200)
        assert rig.world.service.requests[PLAYER, "200"] == asked
        assert {turn.ok for turn in turns} == {False}
        assert rig.status()["login"] == "needed"
        (line,) = log_lines(capsys)
        assert "somebody-else" in line
        other.token_file.save(replace(other.token(), account="listener-of-the-demo"))
        assert other.turn().ok
        assert rig.status()["login"] == "ok"

    def test_of_another_account_is_accepted_after_the_log_got_it(
        self, make_rig: Callable[..., PollerRig]
    ) -> None:
        rig = make_rig()
        rig.raw.hset("spotify_logger:status", "account", "somebody-else")
        assert not rig.turn().ok
        rig.raw.hset("spotify_logger:status", "account", "listener-of-the-demo")
        assert rig.turn().ok

    def test_of_another_account_is_refused_also_before_redis_is_there(
        self, make_rig: Callable[..., PollerRig]
    ) -> None:
        rig = make_rig()
        rig.run(90)
        rig.token_file.save(replace(rig.token(), account="somebody-else"))
        asked = rig.world.service.requests[PLAYER, "200"]
        turn = make_rig(rig.world, "redis://127.0.0.1:1/0").turn()
        assert "somebody-else" in turn.words
        assert rig.world.service.requests[PLAYER, "200"] == asked

    def test_a_timeout_says_nothing_about_it(self, make_rig: Callable[..., PollerRig]) -> None:
        rig = make_rig()
        rig.fault("invalid_grant", requests=1)
        rig.turn()
        rig.fault("reset", path=TOKEN_PATH)
        rig.run(3700)
        assert rig.requests_since(T + 3600, TOKEN_PATH)
        assert rig.status()["login"] == "needed"

    def test_nobody_is_logged_in(self, make_rig: Callable[..., PollerRig]) -> None:
        rig = make_rig()
        rig.virtual_run._settings = replace(rig.virtual_run._settings, refresh_token="")
        rig.virtual_run.start()
        turn = rig.virtual_run.poller.turn()
        assert not turn.ok
        assert "spotify-logger login" in turn.words
        assert turn.due - rig.world.clock.monotonic() == DaemonTimings().login_check_interval
        assert rig.requests == []


class TestRedisIsAway:
    def test_at_the_start_spotify_is_polled_and_then_the_play_continued(
        self, make_rig: Callable[..., PollerRig], server: EmbeddedServer
    ) -> None:
        rig = make_rig(url=server.url)
        rig.run(300)
        requests = int(rig.status()["requests_24h"])
        second = rig.status()["last_play"]
        server.stop()
        rig.virtual_run.start()
        turns = rig.run(500)
        assert len(turns) > 5
        assert {turn.ok for turn in turns} == {False}
        assert all(turn.words.startswith("Redis at 127.0.0.1:") for turn in turns)
        start_again(server)
        rig.run(600)
        assert rig.status()["last_play"] == second
        # Those of the last minute before were only in its memory.
        assert -3 <= int(rig.status()["requests_24h"]) - requests - rig.virtual_run.spotify.requests <= 0
        rig.run_to_end()

    def test_few_answers_are_kept_until_it_is_known_where_to_continue(
        self, make_rig: Callable[..., PollerRig], server: EmbeddedServer
    ) -> None:
        server.stop()
        rig = make_rig(url=server.url)
        rig.run(rig.world.record.end - T)
        assert len(rig.virtual_run.poller._pending) <= poller.MAX_PENDING_ANSWERS
        start_again(server)
        rig.run(rig.world.record.end - T + 120)
        rig.run_to_end()


class TestStatus:
    def test_while_something_plays(self, make_rig: Callable[..., PollerRig]) -> None:
        rig = make_rig()
        rig.token_file.save(Token(DEMO_REFRESH_TOKEN, authorized_at=T - 86_400))
        rig.run(300)
        before = rig.world.clock.now
        turn = rig.virtual_run.poller.turn()
        polled = rig.world.clock.now
        status = rig.status()
        tracker, polls = status.pop("tracker"), json.loads(status.pop("polls"))
        assert 0 < polls.pop("ok") <= len(rig.requests)
        assert polls == {}
        last_poll, next_poll = (seconds(status.pop(name)) for name in ("last_poll", "next_poll"))
        (start,) = (play.started_at for play in rig.world.record.heard_by(polled))
        assert '"uri": "spotify:track:' in tracker
        assert before <= last_poll <= polled
        assert next_poll == pytest.approx(T + turn.due, abs=0.01)
        assert status == {
            "log_id": rig.virtual_run.poller.outbox.note(LOG_ID_NOTE),
            "pid": str(os.getpid()),
            "version": __version__,
            "login": "ok",
            "blind": "",
            "login_valid_until": "2027-05-21T12:00:00.000Z",
            "forwarding": "",
            "state": "playing The Band of A – A, Desk",
            "account": "listener-of-the-demo",
            "last_play": f"listening:{int(start)}",
            "requests_24h": str(len(rig.requests)),
            "requests_by_hour": f"{int(T) // 3600}:{len(rig.requests)}",
            "outbox": "0",
            "outbox_trouble": "",
            "disk_trouble": "",
            "clock": f"{boot_id()} {T:.0f}",
            "redis_trouble": "",
            "persistence": "append-only file",
        }
        assert turn.ok
        assert turn.words == status["state"]
        assert rig.raw.get("now_playing") == f"listening:{int(start)}"

    def test_a_failure_keeps_the_time_of_the_last_answer(self, make_rig: Callable[..., PollerRig]) -> None:
        rig = make_rig()
        rig.run(300)
        last_poll = rig.status()["last_poll"]
        rig.fault("reset")
        turn = rig.virtual_run.poller.turn()
        status = rig.status()
        assert status["blind"] == "offline"
        assert json.loads(status["polls"])["offline"] == 1
        assert status["last_poll"] == last_poll
        assert status["login_valid_until"] == ""
        assert seconds(status["next_poll"]) == pytest.approx(T + turn.due, abs=0.01)
        assert status["state"] == turn.words
        assert status["login"] == "ok"
        assert status["requests_24h"] == str(len(rig.requests))

    def test_requests_are_counted_over_restarts_and_forgotten_after_a_day(
        self, make_rig: Callable[..., PollerRig]
    ) -> None:
        rig = make_rig(VirtualWorld.of(History(T).gone(40 * 3600).finish()), schedule=FixedSchedule(600))
        for hour in (4, 8, 12, 16, 20):
            rig.run(hour * 3600)
            rig.virtual_run.start()
        rig.turn()
        assert rig.status()["requests_24h"] == str(len(rig.requests))
        rig.run(36.5 * 3600)
        assert rig.status()["requests_24h"] == str(len(rig.requests_since(T + 13 * 3600)))

    def test_the_end_of_a_play_is_logged_and_ends_now_playing(
        self, make_rig: Callable[..., PollerRig], capsys: pytest.CaptureFixture[str]
    ) -> None:
        history = History(T).play(song("A", 200), 100).ad(60).play(song("B", 200)).gone(2400).finish()
        rig = make_rig(VirtualWorld.of(history))
        rig.run(90)
        assert rig.raw.get("now_playing") is not None
        rig.run(150)
        assert rig.raw.get("now_playing") is None
        turns = rig.run(200)
        assert rig.raw.get("now_playing") == f"listening:{int(T) + 160}"
        turns += rig.run(2600)
        assert len(turns) > 50
        first, skipped, lost, completed = log_lines(capsys)
        assert first == "Spotify answers: playing The Band of A – A, Desk"
        assert re.fullmatch(r"The Band of A – A, 1:\d\d of 3:20, Desk", skipped)
        assert re.fullmatch(r"The Band of B – B, [23]:\d\d of 3:20, Desk", lost), "silence hid its end"
        assert re.fullmatch(r"recently played: The Band of B – B, 3:(19|20) of 3:20, Desk", completed)


def seconds(text: str) -> float:
    stamp_ms = from_iso(text)
    assert stamp_ms is not None
    return stamp_ms / 1000


PLAYING = {
    "device": {"name": "Kitchen", "is_private_session": False},
    "item": {"type": "track", "id": "1", "uri": "spotify:track:1", "name": "Veridis Quo"},
    "currently_playing_type": "track",
    "is_playing": True,
    "progress_ms": 5,
}


@pytest.mark.parametrize(
    ("player_state", "words"),
    [
        (NO_STATE, "nothing is playing"),
        (PlayerState(private=True), "private session, not logged"),
        (PlayerState(is_advertisement=True), "an advertisement is playing"),
        (read_player_state(PLAYING), "playing Veridis Quo, Kitchen"),
        (read_player_state({**PLAYING, "is_playing": False, "device": None}), "paused Veridis Quo"),
        (
            read_player_state({**PLAYING, "device": {"is_private_session": True}}),
            "private session, not logged",
        ),
    ],
)
def test_the_player_state_is_described(player_state: PlayerState, words: str) -> None:
    assert describe(player_state) == words
