"""Two machines that keep the same log, in virtual time; either may die at any moment."""

from __future__ import annotations

import random
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import FENCE, LEASE, STATUS
from spotify_logger.daemon.wiring import Environment, build_failover
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.habits import Habits
from spotify_logger.spotify.http import Response
from spotify_logger.storage.connection import StoreError
from spotify_logger.storage.lease import INVALID_LEASE_GRACE, LEASE_SECONDS
from spotify_logger.storage.store import Store
from tests.testbed.fake_redis import FakeRedis, FakeRedisLink
from tests.testbed.virtual_run import make_settings
from tests.testbed.virtual_time import VirtualWorld, make_virtual_world
from tests.testbed.year import recordings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spotify_logger.daemon.failover import Failover
    from spotify_logger.simulator.comparison import Comparison
    from spotify_logger.simulator.timeline import TruePlay
    from spotify_logger.spotify.http import Request
    from spotify_logger.storage.connection import Command, Reply

HASTY = Habits(flip=0.3, early_skip=0.1, session=(3600, 7200))
MINUTE, HOUR = 60.0, 3600.0
SHORT_MS = 30_000
MOMENT = LEASE_SECONDS + 5
"""Seconds in which one takes over from another one that died."""


class Crash(BaseException):
    """A machine dies here."""


class Line(FakeRedisLink):
    """The connection of a machine, which may be cut off from Redis while others are not."""

    def __init__(self, redis: FakeRedis, machine: Machine) -> None:
        super().__init__(redis)
        self._machine = machine

    def connect(self) -> int:
        self._look()
        return super().connect()

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        self._look()
        return super().send(commands)

    def _look(self) -> None:
        if self._machine.is_cut_off:
            self.close()
            raise StoreError("Redis at stand-in cannot be reached")


class Machine:
    """One of the two.

    Attributes:
        duty: What runs on it, while it does.
        due: When its next turn is.
        asked: When it asked Spotify.
        died: When it ended.
        alerts: What it has told a person.
    """

    def __init__(self, name: str, world: VirtualWorld, redis: FakeRedis, folder: Path) -> None:
        self.name = name
        self.asked: list[float] = []
        self.died: list[float] = []
        self.alerts: list[str] = []
        self.failover: Failover | None = None
        self.due = 0.0
        self.dies_in = 0
        self.is_cut_off = False
        self._world = world
        self._redis = redis
        settings = make_settings(folder / name, "redis://stand-in/0")
        self._settings = replace(settings, alert_url="https://alert.example/")
        self._settings.state_dir.mkdir()

    def start(self) -> None:
        around = Environment(self._world.clock, self._send, self._tell, "boot", connect=self._link)
        self.failover = build_failover(self._settings, around, self.name)
        self.due, self.dies_in = self._world.clock.now, 0

    def stop(self) -> None:
        """End it in good order."""
        assert self.failover is not None
        self.failover.flush()
        self.kill()

    def kill(self) -> None:
        if self.failover is not None:
            self.died.append(self._world.clock.now)
            self.failover.close()
        self.failover = None

    def turn(self) -> None:
        assert self.failover is not None
        clock = self._world.clock
        try:
            turn = self.failover.turn()
        except Crash:
            self.kill()
            return
        self.due = clock.now + max(0.001, turn.due - clock.monotonic())

    def step(self) -> None:
        """Something is written or sent: if it was to die about now, it does."""
        self.dies_in -= 1
        if self.dies_in == 0:
            raise Crash

    def _tell(self, request: Request) -> Response:
        self.alerts.append(request.text or "")
        return Response(200, {}, b"")

    def _link(self, _: str) -> Line:
        return Line(self._redis, self)

    def _send(self, request: Request) -> Response:
        self.step()
        self.asked.append(self._world.clock.now)
        response = self._world.send(request)
        self.step()
        return response


@dataclass
class Pair:
    """Both machines, their Redis, and the listener."""

    folder: Path
    seed: int = 11
    days: float = 1
    machines: list[Machine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = make_virtual_world(self.seed, self.days, HASTY)
        # The night before is silent.
        self.world.clock.sleep(self.first_sound() - 5 * MINUTE - self.now)
        self.redis = FakeRedis(lambda: self.world.clock.now, self.world.clock.sleep, "aof")
        self.machines = [Machine(name, self.world, self.redis, self.folder) for name in ("attic", "cellar")]
        self._working = self.machines[0]
        self._pressings = recordings(self.world.record)
        self.redis.before_send = self.redis.after_send = lambda _: self._working.step()

    def close(self) -> None:
        for machine in self.machines:
            machine.kill()

    @property
    def now(self) -> float:
        return self.world.clock.now

    def until(self, moment: float) -> None:
        """Let whoever lives work until then."""
        while True:
            alive = [machine for machine in self.machines if machine.failover is not None]
            following = min(alive, key=lambda machine: machine.due, default=None)
            if following is None or following.due >= moment:
                break
            self.world.clock.sleep(following.due - self.now)
            self._working = following
            following.turn()
        self.world.clock.sleep(moment - self.now)

    def goes_on(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def first_sound(self) -> float:
        """When the listener begins to hear something, and seldom stops for an hour."""
        return self.world.record.plays[0].started_at

    def logged(self) -> list[Play]:
        store = Store("", utc=lambda: self.now, connect=self.redis.link)
        seconds = [second for day in store.days() for second in store.index(day)]
        plays = [Play.from_hash(second, store.play(second) or {}) for second in seconds]
        return [play for play in plays if play is not None]

    def verdict(self) -> Comparison:
        """What was logged of what has begun; what was too short for the pace is not held against it."""
        heard = [play for play in self.world.record.plays if play.started_at < self.now]
        verdict = compare([self._recorded(play) for play in heard], map(self._recorded_as, self.logged()))
        verdict.missed = [play for play in verdict.missed if play.ms_played >= SHORT_MS]
        return verdict

    def _recorded(self, play: TruePlay) -> TruePlay:
        """A play with the uri that stands for all pressings of what was recorded."""
        return replace(play, uri=self._pressings.get(play.uri, play.uri))

    def _recorded_as(self, play: Play) -> Play:
        uri = self._pressings.get(play.item.uri, play.item.uri)
        return replace(play, item=replace(play.item, uri=uri))

    def was_missed_by_a_death(self, play: TruePlay) -> bool:
        """Whether a machine ended between two questions that a play lies between, at least in part."""
        asked = sorted(moment for machine in self.machines for moment in machine.asked)
        died = [moment for machine in self.machines for moment in machine.died]
        silent = [(a, b) for a, b in pairwise(asked) if any(a <= moment <= b for moment in died)]
        return any(a < play.ended_at and play.started_at < b for a, b in silent)

    def changes_without_a_death(self) -> list[tuple[float, float]]:
        """When one machine asked after the other one, which had not died since it asked itself."""
        asked = sorted((moment, machine.name) for machine in self.machines for moment in machine.asked)
        died = {machine.name: machine.died for machine in self.machines}
        return [
            (before, after)
            for (before, one), (after, other) in pairwise(asked)
            if one != other and not any(before <= moment <= after for moment in died[one])
        ]

    def plant(self, *commands: Command) -> None:
        """Let somebody else write to Redis."""
        link = FakeRedisLink(self.redis)
        before, self.redis.before_send, self.redis.after_send = self.redis.before_send, None, None
        link.connect()
        link.send(commands)
        self.redis.before_send = self.redis.after_send = before

    def status(self) -> dict[str, str]:
        return Store("", connect=self.redis.link).read_status()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pair(tmp_path: Path, stack: ExitStack) -> Pair:
    return stack.enter_context(closing(Pair(tmp_path)))


@pytest.fixture
def both(pair: Pair) -> tuple[Machine, Machine]:
    """One at work for a minute of listening, and the other one standing by."""
    attic, cellar = pair.machines
    attic.start()
    cellar.start()
    pair.until(pair.first_sound() + MINUTE)
    return attic, cellar


def test_one_asks_and_the_other_stands_by(pair: Pair) -> None:
    attic, cellar = pair.machines
    attic.start()
    pair.until(pair.first_sound() - MINUTE)
    cellar.start()
    pair.goes_on(HOUR)
    assert len(attic.asked) > 200
    assert cellar.asked == []
    assert pair.status()["machine"] == "attic"
    assert pair.status()["fence"] == "1"


def test_the_other_need_not_have_waited_for_long(pair: Pair) -> None:
    attic, cellar = pair.machines
    attic.start()
    pair.until(pair.first_sound() + MINUTE)
    cellar.start()
    pair.goes_on(6)
    attic.kill()
    died = pair.now
    pair.goes_on(MINUTE)
    assert 0 < cellar.asked[0] - died <= 30


def test_the_other_takes_over_and_continues_the_open_play(pair: Pair) -> None:
    attic, cellar = pair.machines
    attic.start()
    cellar.start()
    playing = next(play for play in pair.world.record.plays if play.ms_played > 150_000)
    pair.until(playing.started_at + 60)
    attic.kill()
    died = pair.now
    pair.until(playing.ended_at + 30)
    assert 0 < cellar.asked[0] - died <= 30
    assert cellar.asked[0] < playing.ended_at
    found = [each.logged for each in pair.verdict().pairs if each.truth.started_at == playing.started_at]
    assert len(found) == 1
    assert found[0].ms_played == pytest.approx(playing.ms_played, abs=2000)
    assert found[0].end_reason == "trackdone"
    assert pair.status()["machine"] == "cellar"
    assert pair.status()["fence"] == "2"


def test_who_leaves_in_good_order_is_followed_at_once(pair: Pair, both: tuple[Machine, Machine]) -> None:
    attic, cellar = both
    attic.stop()
    left = pair.now
    pair.goes_on(10)
    assert 0 < cellar.asked[0] - left <= 5.5


def test_who_comes_back_stands_by(pair: Pair, both: tuple[Machine, Machine]) -> None:
    attic, _ = both
    attic.kill()
    pair.goes_on(MOMENT)
    before = len(attic.asked)
    attic.start()
    pair.goes_on(HOUR)
    assert len(attic.asked) == before
    assert pair.verdict().duplicates == []


def test_a_restart_on_the_same_machine_needs_no_wait(pair: Pair, both: tuple[Machine, Machine]) -> None:
    attic, cellar = both
    attic.kill()
    pair.goes_on(2)
    attic.start()
    before = len(attic.asked)
    pair.goes_on(MINUTE)
    assert len(attic.asked) > before
    assert cellar.asked == []


class TestRedisAway:
    def test_the_holder_goes_on_and_the_other_does_not_start(
        self, pair: Pair, both: tuple[Machine, Machine]
    ) -> None:
        attic, cellar = both
        pair.redis.down = True
        before = len(attic.asked)
        pair.goes_on(HOUR)
        assert len(attic.asked) - before > 150
        pair.redis.down = False
        pair.goes_on(10 * MINUTE)
        assert cellar.asked == []
        assert pair.verdict().missed == []

    @pytest.mark.parametrize("dies", [True, False])
    def test_it_comes_back_with_less_than_it_had(
        self, pair: Pair, both: tuple[Machine, Machine], *, dies: bool
    ) -> None:
        """The lease is gone, and everything else: who had it gets it again, if he lives."""
        attic, cellar = both
        pair.redis.stop()
        pair.goes_on(10 * MINUTE)
        if dies:
            attic.kill()
        pair.redis.restart()
        back = pair.now
        pair.goes_on(2 * MINUTE)
        if dies:
            assert LEASE_SECONDS <= cellar.asked[0] - back <= LEASE_SECONDS + 16
        else:
            assert cellar.asked == []
        pair.goes_on(HOUR)
        assert pair.verdict().duplicates == []

    def test_who_stood_by_does_not_start_after_a_restart_either(
        self, pair: Pair, both: tuple[Machine, Machine]
    ) -> None:
        attic, cellar = both
        pair.redis.down = True
        for machine in pair.machines:
            machine.kill()
            machine.start()
        before = len(attic.asked)
        pair.goes_on(10 * MINUTE)
        assert len(attic.asked) > before + 20
        assert cellar.asked == []

    def test_plays_that_waited_on_the_dead_one_are_brought_when_it_is_back(
        self, pair: Pair, both: tuple[Machine, Machine]
    ) -> None:
        attic, cellar = both
        pair.redis.down = True
        pair.goes_on(40 * MINUTE)
        attic.kill()
        pair.redis.down = False
        pair.goes_on(10 * MINUTE)
        assert cellar.asked
        attic.start()
        pair.goes_on(MINUTE)
        verdict = pair.verdict()
        assert [*verdict.duplicates, *verdict.phantoms, *verdict.missed] == []


def test_a_redis_that_refuses_the_lease_is_no_reason_not_to_log(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user of Redis with the rights of before."""
    attic, _ = pair.machines
    for command in ("EVAL", "INCR"):
        del pair.redis._commands[command]
    attic.start()
    pair.until(pair.first_sound() + MINUTE)
    assert len(attic.asked) > 10
    lines = capsys.readouterr().err.splitlines()
    assert sum("cannot tell whether another logger" in line for line in lines) == 1
    assert pair.logged()


OLD = "7 deadbeefdeadbeef oldpi"
VOID: dict[str, list[Command]] = {
    "without an end": [("SET", LEASE, OLD)],
    "far beyond any": [("SET", LEASE, OLD, "PX", 30 * 86_400_000)],
    "no lease": [("SET", LEASE, "x")],
    "no lease, with an end": [("SET", LEASE, "", "PX", 86_400_000)],
    "another type": [("DEL", LEASE), ("HSET", LEASE, "holder", OLD)],
}


class TestVoidLease:
    @pytest.mark.parametrize("planted", VOID.values(), ids=VOID)
    def test_it_is_taken_over_after_a_minute(
        self, pair: Pair, planted: list[Command], capsys: pytest.CaptureFixture[str]
    ) -> None:
        attic, _ = pair.machines
        pair.plant(*planted)
        attic.start()
        begun = pair.now
        pair.until(pair.first_sound() + MINUTE)
        assert INVALID_LEASE_GRACE <= attic.asked[0] - begun <= INVALID_LEASE_GRACE + MOMENT
        assert "has taken over" in capsys.readouterr().err
        assert [text for text in attic.alerts if LEASE in text]

    @pytest.mark.parametrize("planted", VOID.values(), ids=VOID)
    def test_one_that_is_put_in_the_place_of_ours(
        self, pair: Pair, both: tuple[Machine, Machine], planted: list[Command]
    ) -> None:
        pair.plant(*planted)
        planted_at = pair.now
        pair.goes_on(2 * MINUTE)
        assert max(moment for machine in both for moment in machine.asked) > planted_at + MINUTE
        fence = int(pair.status()["fence"])
        pair.goes_on(HOUR)
        assert int(pair.status()["fence"]) == fence
        assert len(pair.changes_without_a_death()) <= 1
        assert pair.verdict().duplicates == []

    def test_why_it_cannot_be_taken_over_is_said(
        self, pair: Pair, capsys: pytest.CaptureFixture[str]
    ) -> None:
        attic, _ = pair.machines
        pair.plant(("SET", LEASE, "7 deadbeef elsewhere"), ("SET", FENCE, "not a number"))
        attic.start()
        pair.until(pair.first_sound() + 3 * MINUTE)
        assert attic.asked == []
        said = [line for line in capsys.readouterr().err.splitlines() if "integer" in line]
        assert len(said) == 1

    def test_it_stands_while_its_holder_writes(self, pair: Pair) -> None:
        attic, cellar = pair.machines
        attic.start()
        pair.until(pair.first_sound() + MINUTE)
        cellar.start()
        for _ in range(30):
            pair.goes_on(MINUTE / 3)
            holder = pair.redis._keys.text(LEASE)
            pair.plant(("SET", LEASE, str(holder)))
        assert cellar.asked == []

    def test_redis_that_was_away_is_no_reason(self, pair: Pair, both: tuple[Machine, Machine]) -> None:
        """Nobody could write meanwhile."""
        attic, cellar = both
        pair.plant(("SET", LEASE, str(pair.redis._keys.text(LEASE))))
        pair.redis.down = True
        pair.goes_on(10 * MINUTE)
        pair.redis.down = False
        pair.goes_on(10 * MINUTE)
        assert cellar.asked == []
        assert attic.asked[-1] > pair.now - MINUTE


def test_who_stands_by_for_one_that_writes_nothing_says_so(pair: Pair, both: tuple[Machine, Machine]) -> None:
    attic, cellar = both
    attic.kill()
    renewed = ("SET", LEASE, str(pair.redis._keys.text(LEASE)), "PX", 60_000)
    for _ in range(60):
        pair.plant(renewed)
        pair.goes_on(MINUTE / 2)
    assert cellar.asked == []
    assert [text for text in cellar.alerts if "standing by" in text and "attic" in text] == cellar.alerts
    assert len(cellar.alerts) == 1
    attic.start()
    pair.goes_on(10 * MINUTE)
    attic.kill()
    for _ in range(30):
        pair.plant(renewed)
        pair.goes_on(MINUTE / 2)
    assert len(cellar.alerts) == 2


def test_only_the_one_on_duty_is_cut_off_from_redis(pair: Pair) -> None:
    """Both ask then, and neither can know; when it is over there is one log."""
    attic, cellar = pair.machines
    attic.start()
    cellar.start()
    pair.until(pair.first_sound() + 2 * MINUTE)
    attic.is_cut_off = True
    pair.goes_on(40 * MINUTE)
    assert cellar.asked
    assert attic.asked[-1] > pair.now - MINUTE
    attic.is_cut_off = False
    pair.goes_on(MINUTE)
    stepped_back = attic.asked[-1]
    pair.goes_on(HOUR)
    assert attic.asked[-1] == stepped_back
    verdict = pair.verdict()
    assert [*verdict.duplicates, *verdict.phantoms, *verdict.missed] == []


@pytest.mark.parametrize("dies", [True, False], ids=["it dies", "Redis goes away"])
def test_what_the_other_wrote_is_learned_even_if_that_breaks_off(
    pair: Pair, both: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    """Else what Spotify tells of the other one's plays would be taken for plays that nobody saw."""
    attic, cellar = both
    attic.kill()
    pair.goes_on(MOMENT)
    attic.start()
    pair.goes_on(HOUR)
    recent = Store.recent
    broken: list[int] = []

    def breaks_off(store: Store, count: int) -> list[tuple[int, dict[str, str]]]:
        if pair._working is attic and count > 100 and not broken:
            broken.append(count)
            if dies:
                raise Crash
            raise StoreError("Redis at stand-in cannot be reached")
        return recent(store, count)

    monkeypatch.setattr(Store, "recent", breaks_off)
    cellar.kill()
    pair.goes_on(MOMENT)
    assert broken
    if dies:
        attic.start()
    pair.goes_on(30 * MINUTE)
    assert attic.failover is not None
    ours = attic.failover.logger.outbox.keys()
    assert {play.second for play in pair.logged()} <= ours
    verdict = pair.verdict()
    assert [*verdict.duplicates, *verdict.phantoms] == []


def test_one_that_was_asleep_writes_over_nothing(pair: Pair) -> None:
    """It sleeps between its question and its write, which another logger has made its own meanwhile."""
    attic, cellar = pair.machines
    attic.start()
    cellar.start()
    pair.until(pair.first_sound() + 5 * MINUTE)
    attic.due = pair.now
    send = pair.world.send
    slept: list[float] = []

    def slow(request: Request) -> Response:
        response = send(request)
        if not slept and pair._working is attic:
            slept.append(pair.now)
            # What the others do meanwhile.
            attic.due = pair.now + 10 * HOUR
            pair.until(pair.now + 10 * MINUTE)
            pair._working = attic
        return response

    pair.world.send = slow  # type: ignore[assignment]
    pair.goes_on(MINUTE)
    assert slept
    assert cellar.asked[0] - slept[0] <= MOMENT
    assert pair.status()["machine"] == "cellar"
    pair.goes_on(HOUR)
    assert pair.verdict().duplicates == []
    assert attic.asked[-1] < slept[0] + 11 * MINUTE


def test_what_an_earlier_holder_wrote_over_is_written_again(pair: Pair) -> None:
    """The fencing number in the status shows that it was there once more."""
    attic, cellar = pair.machines
    attic.start()
    cellar.start()
    playing = next(play for play in pair.world.record.plays if play.ms_played > 150_000)
    pair.until(playing.started_at + 20)
    attic.kill()
    pair.until(playing.started_at + 70)
    assert pair.status()["fence"] == "2"
    link = pair.redis.link()
    link.connect()
    key = str(link.send([("GET", "now_playing")])[0])
    stale: list[Command] = [("HSET", key, "name", "stale"), ("HSET", STATUS, "fence", "1", "pid", "0")]
    link.send(stale)
    pair.goes_on(40)
    assert link.send([("HGET", key, "name")]) == [playing.name]
    assert pair.status()["fence"] == "2"
    assert pair.status()["pid"] != "0"


@pytest.mark.parametrize("seed", range(2))
def test_killed_in_turn_at_random(tmp_path: Path, stack: ExitStack, seed: int) -> None:
    """The plays are those of one machine that never dies: none twice, none lost that somebody could see."""
    chance = random.Random(f"pair {seed}")
    pair = stack.enter_context(closing(Pair(tmp_path, seed)))
    for machine in pair.machines:
        machine.start()
    pair.until(pair.first_sound() - MINUTE)
    for number in range(1000):
        pair.goes_on(chance.uniform(1, 30) * MINUTE)
        if pair.now > pair.world.record.start + 14 * HOUR:
            break
        if chance.random() < 0.2:
            pair.redis.down = True
            pair.goes_on(chance.uniform(5, 300))
        machine = pair.machines[number % 2]
        if chance.random() < 0.3:
            machine.stop()
        else:
            machine.dies_in = chance.randint(1, 12)
            pair.goes_on(20)
            machine.kill()
        pair.goes_on(chance.uniform(1, 120))
        pair.redis.down = False
        machine.start()
    pair.goes_on(HOUR)
    verdict = pair.verdict()
    assert [*verdict.duplicates, *verdict.phantoms] == []
    assert len(verdict.pairs) > 40
    (tmp_path / "alone").mkdir()
    alone = stack.enter_context(closing(Pair(tmp_path / "alone", seed)))
    alone.machines[0].start()
    alone.until(pair.now)
    missed = [play for play in verdict.missed if not pair.was_missed_by_a_death(play)]
    assert [play for play in missed if play not in alone.verdict().missed] == []
    assert pair.changes_without_a_death() == []
