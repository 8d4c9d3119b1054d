"""Two machines that keep the same log, in virtual time; either may die at any moment."""

from __future__ import annotations

import random
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import TRACKDONE, Play
from spotify_logger.core.redis_keys import FENCE, LEASE, STATUS, play_key
from spotify_logger.daemon.failover import Failover
from spotify_logger.daemon.poller import Environment
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.habits import Habits
from spotify_logger.spotify.http import Response
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.lease import INVALID_LEASE_GRACE, LEASE_SECONDS
from spotify_logger.storage.store import Store
from tests.testbed.fake_redis import FakeRedis, FakeRedisClient
from tests.testbed.virtual_run import make_settings
from tests.testbed.virtual_time import VirtualWorld, make_virtual_world
from tests.testbed.year import recordings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spotify_logger.simulator.comparison import Comparison
    from spotify_logger.simulator.timeline import TruePlay
    from spotify_logger.spotify.http import Request
    from spotify_logger.storage.client import Command, Reply

RESTLESS = Habits(flip=0.3, early_skip=0.1, session=(3600, 7200))
"""The habits of a listener who seldom stops for an hour."""
MINUTE, HOUR = 60.0, 3600.0
SHORT_MS = 30_000
TAKEOVER = LEASE_SECONDS + 5
"""Seconds in which one machine takes over from another one that died."""


class MachineCrash(BaseException):
    """A machine dies here."""


class CuttableClient(FakeRedisClient):
    """The connection of a machine, which may be cut off from Redis while others are not."""

    def __init__(self, redis: FakeRedis, machine: FailoverMachine) -> None:
        super().__init__(redis)
        self._machine = machine

    def connect(self) -> int:
        self._check()
        return super().connect()

    def send(self, commands: Sequence[Command], server: object = None) -> list[Reply]:
        self._check()
        return super().send(commands, server)

    def _check(self) -> None:
        if self._machine.is_cut_off:
            self.close()
            raise StoreError("Redis at stand-in cannot be reached")


class FailoverMachine:
    """One of the two machines.

    Attributes:
        failover: What runs on it, while it does.
        due: When its next turn is due.
        polls: When it sent requests to Spotify.
        ends: When it ended.
        alerts: What it has sent to a person.
        crash_in: At how many more writes or requests it dies; 0 for never.
    """

    def __init__(self, name: str, world: VirtualWorld, redis: FakeRedis, folder: Path) -> None:
        self.name = name
        self.polls: list[float] = []
        self.ends: list[float] = []
        self.alerts: list[str] = []
        self.failover: Failover | None = None
        self.due = 0.0
        self.crash_in = 0
        self.is_cut_off = False
        self._world = world
        self._redis = redis
        settings = make_settings(folder / name, "redis://stand-in/0")
        self._settings = replace(settings, alert_url="https://alert.example/")
        self._settings.state_dir.mkdir(parents=True)

    def start(self) -> None:
        environment = Environment(
            self._world.clock,
            self._send,
            self._send_alert,
            random.Random(f"jitter of {self.name}").random,
            connect=lambda _: CuttableClient(self._redis, self),
        )
        self.failover = Failover(self._settings, environment, self.name)
        self.due, self.crash_in = self._world.clock.now, 0

    def stop(self) -> None:
        """End it in good order."""
        assert self.failover is not None
        self.failover.flush()
        self.kill()

    def kill(self) -> None:
        if self.failover is not None:
            self.ends.append(self._world.clock.now)
            self.failover.close()
        self.failover = None

    def turn(self) -> None:
        assert self.failover is not None
        clock = self._world.clock
        try:
            turn = self.failover.turn()
        except MachineCrash:
            self.kill()
            return
        self.due = clock.now + max(0.001, turn.due - clock.monotonic())

    def step(self) -> None:
        """Count a write or a request, and die if it is the one to die at."""
        self.crash_in -= 1
        if self.crash_in == 0:
            raise MachineCrash

    def _send_alert(self, request: Request) -> Response:
        self.alerts.append(request.text or "")
        return Response(200, {}, b"")

    def _send(self, request: Request) -> Response:
        self.step()
        self.polls.append(self._world.clock.now)
        response = self._world.send(request)
        self.step()
        return response


class MachinePair:
    """Both machines, their Redis, and the listener, five minutes before the first play."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.world = make_virtual_world(seed, 1, RESTLESS)
        self.first_sound = self.world.record.plays[0].started_at
        self.world.clock.sleep(self.first_sound - 5 * MINUTE - self.now)
        self.redis = FakeRedis(lambda: self.world.clock.now, self.world.clock.sleep, "aof")
        self.machines = [
            FailoverMachine(name, self.world, self.redis, folder) for name in ("attic", "cellar")
        ]
        self.working = self.machines[0]
        self._recordings = recordings(self.world.record)
        self.redis.before_send = self.redis.after_send = lambda _: self.working.step()

    def close(self) -> None:
        for machine in self.machines:
            machine.kill()

    @property
    def now(self) -> float:
        return self.world.clock.now

    def run_until(self, moment: float) -> None:
        while True:
            running = [machine for machine in self.machines if machine.failover is not None]
            following = min(running, key=lambda machine: machine.due, default=None)
            if following is None or following.due >= moment:
                break
            self.world.clock.sleep(following.due - self.now)
            self.working = following
            following.turn()
        self.world.clock.sleep(moment - self.now)

    def run(self, seconds: float) -> None:
        self.run_until(self.now + seconds)

    def logged(self) -> list[Play]:
        store = Store("", utc=lambda: self.now, connect=self.redis.client)
        seconds = [second for day in store.days() for second in store.index(day)]
        plays = [Play.from_hash(second, store.hash(play_key(second))) for second in seconds]
        return [play for play in plays if play is not None]

    def compare(self) -> Comparison:
        """Compare the log with what has begun; plays too short for the polling interval may be missing."""
        heard = [play for play in self.world.record.plays if play.started_at < self.now]
        truth = [replace(play, uri=self._recordings.get(play.uri, play.uri)) for play in heard]
        verdict = compare(truth, map(self._comparable, self.logged()))
        verdict.missed = [play for play in verdict.missed if self._can_be_seen(play)]
        return verdict

    def _can_be_seen(self, play: TruePlay) -> bool:
        return min(play.ms_played, (self.now - play.started_at) * 1000) >= SHORT_MS

    def _comparable(self, play: Play) -> Play:
        uri = self._recordings.get(play.item.uri, play.item.uri)
        return replace(play, item=replace(play.item, uri=uri))

    def next_whole_track(self) -> TruePlay:
        """Return the next track that is heard from its beginning to its end, and followed by another."""
        return next(
            play
            for play, following in pairwise(self.world.record.plays)
            if play.started_at > self.now
            and (play.kind, play.end_reason) == ("track", TRACKDONE)
            and 150_000 < play.ms_played <= play.duration_ms
            and following.started_at - play.started_at < play.ms_played / 1000 + 1
        )

    def assert_all_is_logged(self) -> None:
        verdict = self.compare()
        assert [*verdict.duplicates, *verdict.phantoms, *verdict.missed] == []

    def has_died_during(self, play: TruePlay) -> bool:
        """Return whether a machine ended between two polls that the play lies between, at least in part."""
        polls = sorted(moment for machine in self.machines for moment in machine.polls)
        ends = [moment for machine in self.machines for moment in machine.ends]
        unobserved = [(a, b) for a, b in pairwise(polls) if any(a <= moment <= b for moment in ends)]
        return any(a < play.ended_at and play.started_at < b for a, b in unobserved)

    def changes_without_an_end(self) -> list[tuple[float, float]]:
        """Return when one machine polled after the other one, which had not ended since its own poll."""
        polls = sorted((moment, machine.name) for machine in self.machines for moment in machine.polls)
        ends = {machine.name: machine.ends for machine in self.machines}
        return [
            (before, after)
            for (before, one), (after, other) in pairwise(polls)
            if one != other and not any(before <= moment <= after for moment in ends[one])
        ]

    def write(self, *commands: Command) -> list[Reply]:
        """Let somebody else write to Redis."""
        client = FakeRedisClient(self.redis)
        before, self.redis.before_send, self.redis.after_send = self.redis.before_send, None, None
        client.connect()
        replies = client.send(commands)
        self.redis.before_send = self.redis.after_send = before
        return replies

    def lease(self) -> str:
        return str(self.redis._keys.text(LEASE))

    def status(self) -> dict[str, str]:
        return Store("", connect=self.redis.client).hash(STATUS)


@pytest.fixture(params=[11, 12, 13])
def pair(memory_folder: Path, request: pytest.FixtureRequest) -> Iterator[MachinePair]:
    with closing(MachinePair(memory_folder, request.param)) as pair:
        yield pair


@pytest.fixture
def both(pair: MachinePair) -> tuple[FailoverMachine, FailoverMachine]:
    """One that is active for a minute of listening, and the other one, a standby."""
    attic, cellar = pair.machines
    attic.start()
    cellar.start()
    pair.run_until(pair.first_sound + MINUTE)
    return attic, cellar


Both = tuple[FailoverMachine, FailoverMachine]


class TestTakeover:
    def test_one_polls_until_it_dies_and_the_standby_continues_the_open_play(self, pair: MachinePair) -> None:
        attic, cellar = pair.machines
        attic.start()
        cellar.start()
        playing = pair.next_whole_track()
        pair.run_until(playing.started_at + MINUTE)
        assert attic.polls
        assert cellar.polls == []
        assert (pair.status()["machine"], pair.status()["fence"]) == ("attic", "1")
        attic.kill()
        died = pair.now
        pair.run_until(playing.ended_at + 30)
        assert 0 < cellar.polls[0] - died <= 30
        assert cellar.polls[0] < playing.ended_at
        found = [each.logged for each in pair.compare().pairs if each.truth.started_at == playing.started_at]
        assert len(found) == 1
        assert found[0].ms_played == pytest.approx(playing.ms_played, abs=2000)
        assert found[0].end_reason == "trackdone"
        assert (pair.status()["machine"], pair.status()["fence"]) == ("cellar", "2")
        before = len(attic.polls)
        attic.start()
        pair.run(HOUR / 2)
        assert len(attic.polls) == before
        assert pair.compare().duplicates == []

    def test_an_orderly_end_hands_over_at_once(self, pair: MachinePair, both: Both) -> None:
        attic, cellar = both
        attic.stop()
        stopped = pair.now
        pair.run(10)
        assert 0 < cellar.polls[0] - stopped <= 5.5

    def test_a_restart_on_the_same_machine_takes_no_wait(self, pair: MachinePair, both: Both) -> None:
        attic, cellar = both
        attic.kill()
        pair.run(2)
        attic.start()
        before = len(attic.polls)
        pair.run(MINUTE)
        assert len(attic.polls) > before
        assert cellar.polls == []


class TestRedisOutage:
    def test_the_active_one_goes_on_and_the_standby_does_not_start(
        self, pair: MachinePair, both: Both
    ) -> None:
        attic, cellar = both
        pair.redis.down = True
        before = len(attic.polls)
        pair.run(10 * MINUTE)
        for machine in both:
            machine.kill()
            machine.start()
        pair.run(10 * MINUTE)
        assert len(attic.polls) > before + 35
        pair.redis.down = False
        pair.run(10 * MINUTE)
        assert cellar.polls == []
        pair.assert_all_is_logged()

    @pytest.mark.parametrize("dies", [True, False])
    def test_redis_comes_back_without_the_lease(self, pair: MachinePair, both: Both, *, dies: bool) -> None:
        attic, cellar = both
        pair.redis.stop()
        pair.run(10 * MINUTE)
        if dies:
            attic.kill()
        pair.redis.restart()
        back = pair.now
        pair.run(20 * MINUTE)
        if dies:
            assert LEASE_SECONDS <= cellar.polls[0] - back <= LEASE_SECONDS + 16
        else:
            assert cellar.polls == []
        assert pair.compare().duplicates == []

    def test_plays_queued_on_a_dead_machine_arrive_when_it_is_back(
        self, pair: MachinePair, both: Both
    ) -> None:
        attic, cellar = both
        pair.redis.down = True
        pair.run(20 * MINUTE)
        attic.kill()
        pair.redis.down = False
        pair.run(10 * MINUTE)
        assert cellar.polls
        attic.start()
        pair.run(MINUTE)
        pair.assert_all_is_logged()

    def test_only_the_active_one_is_cut_off(self, pair: MachinePair, both: Both) -> None:
        """Both poll then, since neither can know; afterwards there is one log."""
        attic, cellar = both
        attic.is_cut_off = True
        pair.run(30 * MINUTE)
        assert cellar.polls
        assert attic.polls[-1] > pair.now - MINUTE
        attic.is_cut_off = False
        pair.run(MINUTE)
        last = attic.polls[-1]
        pair.run(HOUR / 2)
        assert attic.polls[-1] == last
        pair.assert_all_is_logged()


class TestInvalidLease:
    OTHER = "7 deadbeefdeadbeef oldpi"

    @pytest.mark.parametrize(
        "commands",
        [[("SET", LEASE, OTHER)], [("DEL", LEASE), ("HSET", LEASE, "holder", OTHER)]],
        ids=["no expiry", "another type"],
    )
    def test_it_is_taken_over_after_a_minute(
        self, pair: MachinePair, commands: list[Command], capsys: pytest.CaptureFixture[str]
    ) -> None:
        attic, cellar = pair.machines
        pair.write(*commands)
        attic.start()
        begun = pair.now
        pair.run_until(pair.first_sound + MINUTE)
        assert INVALID_LEASE_GRACE <= attic.polls[0] - begun <= INVALID_LEASE_GRACE + TAKEOVER
        assert "has taken over" in capsys.readouterr().err
        assert [text for text in attic.alerts if LEASE in text]

        cellar.start()
        pair.run(MINUTE)
        pair.write(*commands)
        written_at = pair.now
        pair.run(2 * MINUTE)
        assert max(attic.polls + cellar.polls) > written_at + MINUTE
        fence = pair.status()["fence"]
        pair.run(HOUR / 2)
        assert pair.status()["fence"] == fence
        assert len(pair.changes_without_an_end()) <= 1
        assert pair.compare().duplicates == []

    def test_why_it_cannot_be_taken_over_is_logged_once(
        self, pair: MachinePair, capsys: pytest.CaptureFixture[str]
    ) -> None:
        attic, _ = pair.machines
        pair.write(("SET", LEASE, "7 deadbeef elsewhere"), ("SET", FENCE, "not a number"))
        attic.start()
        pair.run(8 * MINUTE)
        assert attic.polls == []
        assert capsys.readouterr().err.count("integer") == 1

    def test_a_redis_that_refuses_its_commands_is_no_reason_not_to_log(
        self, pair: MachinePair, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A Redis user with the permissions that sufficed before there was a lease."""
        for command in ("EVAL", "INCR"):
            del pair.redis._commands[command]
        pair.machines[0].start()
        pair.run_until(pair.first_sound + MINUTE)
        assert capsys.readouterr().err.count("cannot tell whether another logger") == 1
        assert pair.logged()

    def test_it_stays_while_its_holder_writes(self, pair: MachinePair) -> None:
        attic, cellar = pair.machines
        attic.start()
        pair.run_until(pair.first_sound + MINUTE)
        cellar.start()
        for _ in range(30):
            pair.run(MINUTE / 3)
            pair.write(("SET", LEASE, pair.lease()))
        pair.redis.down = True  # nobody can write meanwhile
        pair.run(10 * MINUTE)
        pair.redis.down = False
        pair.run(10 * MINUTE)
        assert cellar.polls == []
        assert attic.polls[-1] > pair.now - MINUTE


def test_a_standby_alerts_once_per_silence_of_the_active_one(pair: MachinePair, both: Both) -> None:
    attic, cellar = both
    for alerts in (1, 2):
        attic.kill()
        renewed = ("SET", LEASE, pair.lease(), "PX", 60_000)
        for _ in range(30):
            pair.write(renewed)
            pair.run(MINUTE / 2)
        assert cellar.polls == []
        assert len(cellar.alerts) == alerts
        attic.start()
        pair.run(10 * MINUTE)
    assert all("The logger on cellar is on standby, but attic" in text for text in cellar.alerts)


@pytest.mark.parametrize("dies", [True, False], ids=["it dies", "Redis goes away"])
def test_the_log_of_the_other_is_read_again_if_that_breaks_off(
    pair: MachinePair, both: Both, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    """Otherwise the other machine's plays would be taken from `recently-played` once more."""
    attic, cellar = both
    attic.kill()
    pair.run(TAKEOVER)
    attic.start()
    pair.run(HOUR / 2)
    recent = Store.recent
    interruptions: list[int] = []

    def interrupted(store: Store, count: int) -> list[tuple[int, dict[str, str]]]:
        if pair.working is attic and count > 100 and not interruptions:
            interruptions.append(count)
            if dies:
                raise MachineCrash
            raise StoreError("Redis at stand-in cannot be reached")
        return recent(store, count)

    monkeypatch.setattr(Store, "recent", interrupted)
    cellar.kill()
    pair.run(TAKEOVER)
    assert interruptions
    if dies:
        attic.start()
    pair.run(30 * MINUTE)
    assert attic.failover is not None
    assert {play.second for play in pair.logged()} <= attic.failover.poller.outbox.keys()
    verdict = pair.compare()
    assert [*verdict.duplicates, *verdict.phantoms] == []


def test_a_machine_that_was_suspended_overwrites_nothing(pair: MachinePair, both: Both) -> None:
    """Between its poll and its write another logger takes over."""
    attic, cellar = both
    attic.due = pair.now
    send = pair.world.send
    suspended_at: list[float] = []

    def send_and_suspend(request: Request) -> Response:
        response = send(request)
        if not suspended_at and pair.working is attic:
            suspended_at.append(pair.now)
            attic.due = pair.now + 10 * HOUR
            pair.run_until(pair.now + 10 * MINUTE)
            pair.working = attic
        return response

    pair.world.send = send_and_suspend  # type: ignore[assignment]
    pair.run(MINUTE)
    assert cellar.polls[0] - suspended_at[0] <= TAKEOVER
    assert pair.status()["machine"] == "cellar"
    pair.run(HOUR / 2)
    assert pair.compare().duplicates == []
    assert attic.polls[-1] < suspended_at[0] + 11 * MINUTE


def test_what_an_earlier_holder_overwrote_is_written_again(pair: MachinePair, both: Both) -> None:
    """The fencing token in the status shows that it was there once more."""
    attic, _ = both
    playing = pair.next_whole_track()
    pair.run_until(playing.started_at + 20)
    attic.kill()
    pair.run_until(playing.started_at + 70)
    assert pair.status()["fence"] == "2"
    (key,) = pair.write(("GET", "now_playing"))
    pair.write(("HSET", str(key), "name", "stale"), ("HSET", STATUS, "fence", "1", "pid", "0"))
    pair.run(40)
    assert pair.write(("HGET", str(key), "name")) == [playing.name]
    assert pair.status()["fence"] == "2"
    assert pair.status()["pid"] != "0"


def test_machines_killed_in_turn_log_what_one_alone_does(memory_folder: Path) -> None:
    """No play is logged twice, and none is missing that somebody could see."""
    seed = 1
    chance = random.Random(f"pair {seed}")
    with ExitStack() as stack:
        pair = stack.enter_context(closing(MachinePair(memory_folder / "pair", seed)))
        for machine in pair.machines:
            machine.start()
        pair.run_until(pair.first_sound - MINUTE)
        while pair.now < pair.first_sound + 2 * HOUR:
            machine = pair.machines[len(pair.machines[0].ends + pair.machines[1].ends) % 2]
            pair.run(chance.uniform(1, 20) * MINUTE)
            if chance.random() < 0.2:
                pair.redis.down = True
                pair.run(chance.uniform(5, 300))
            if chance.random() < 0.3:
                machine.stop()
            else:
                machine.crash_in = chance.randint(1, 12)
                pair.run(20)
                machine.kill()
            pair.run(chance.uniform(1, 120))
            pair.redis.down = False
            machine.start()
        pair.run(HOUR / 2)
        verdict = pair.compare()
        assert [*verdict.duplicates, *verdict.phantoms] == []
        assert len(verdict.pairs) > 15
        alone = stack.enter_context(closing(MachinePair(memory_folder / "alone", seed)))
        alone.machines[0].start()
        alone.run_until(pair.now)
        missed_alone = alone.compare().missed
        missed = [play for play in verdict.missed if not pair.has_died_during(play)]
        assert [play for play in missed if play not in missed_alone] == []
        assert pair.changes_without_an_end() == []
