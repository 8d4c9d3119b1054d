"""When `recently-played` is asked, and what becomes of the answer; in virtual time, with a real outbox."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from spotify_logger.core.play import BACKFILL, STOPPED, TRACKDONE, UNKNOWN, Play
from spotify_logger.core.player_state import Item
from spotify_logger.core.times import to_iso
from spotify_logger.daemon.backfiller import BACKFILL_NOTE, FOLLOW_UP_DELAY, Backfiller
from spotify_logger.spotify.api import ApiResponse
from spotify_logger.storage.outbox import MAX_KEPT_PLAYS, Outbox
from spotify_logger.system.errors import LoginNeeded, NotBefore, SpotifyLoggerError, TryLater, Unreachable
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from spotify_logger.spotify.api import Spotify

T = 1_795_348_800.0  # 2026-11-22T12:00:00Z
MINUTE, HOUR = 60, 3600
TURN = 30
"""Seconds between two turns of the loop."""
DOWN = TryLater("Spotify answers 503")


class Service:
    """A Spotify that tells what was played, or fails; counts how often it is asked."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.body: dict[str, object] | None = {"items": []}
        self.error: SpotifyLoggerError | None = None
        self.asked: list[float] = []

    def recently_played(self) -> ApiResponse:
        self.asked.append(self._clock.now - T)
        if self.error is not None:
            raise self.error
        return ApiResponse(self.body, self._clock.monotonic(), self._clock.utc())


class OthersDid:
    """What others did to the log."""

    def __init__(self) -> None:
        self.plays: list[Play] = []
        self.stretches: dict[int, int] = {}

    def tombstones(self) -> dict[int, int]:
        return self.stretches

    def foreign_plays(self, since_ms: int) -> list[Play]:
        return [play for play in self.plays if play.started_ms >= since_ms]


class Bench:
    """A repairer, and what it works with."""

    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock(T)
        self.service = Service(self.clock)
        self.outbox = Outbox(path, self.clock.monotonic)
        self.log = OthersDid()
        self.start()

    def start(self) -> None:
        """Another process begins, with what the one before left on the disk."""
        self.backfiller = Backfiller(cast("Spotify", self.service), self.outbox, self.clock, self.log)

    def keep(self) -> None:
        """Bring the note to the disk, as the loop does every minute."""
        self.outbox.put([], self.backfiller.to_note())

    def fetch_if_due(
        self, open_play: Play | None = None, blind: Iterable[tuple[int, int]] = ()
    ) -> list[Play]:
        """A turn that may ask."""
        return self.backfiller.fetch_if_due(open_play, round(self.clock.utc() * 1000), list(blind))

    def live(self, seconds: float, *, listening: bool = False) -> None:
        """Turns of the loop, each of which may ask."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.fetch_if_due()
            self.clock.sleep(TURN)
            if listening:
                self.backfiller.on_listened(TURN * 1000)

    def tell(self, *items: tuple[str, float]) -> None:
        """Let Spotify tell of items: names and ends, in seconds since noon."""
        self.service.body = {"items": [entry(name, end) for name, end in items]}

    def put(self, *plays: Play) -> None:
        self.outbox.put(plays)

    @property
    def asked(self) -> list[float]:
        """When it was asked, in seconds since noon."""
        return self.service.asked


def entry(name: str, end: float) -> dict[str, object]:
    track = {"type": "track", "id": name, "uri": uri(name), "name": name, "duration_ms": 200_000}
    return {"track": track, "played_at": to_iso(round((T + end) * 1000)), "context": None}


def uri(name: str) -> str:
    return f"spotify:track:{name}"


def play(
    name: str, start: float, end: float, reason: str | None = TRACKDONE, *, playing: bool = True
) -> Play:
    begun, ended = round((T + start) * 1000), round((T + end) * 1000)
    item = Item(f"track:{name}", uri(name), 200_000, {"name": name})
    fields: dict[str, str | int] = {"id": name, "uri": uri(name), "type": "track", "duration_ms": 200_000}
    heard = min(ended - begun, 200_000)
    fields |= {"playing": int(playing), "progress_ms": heard}
    return Play(begun // 1000, item, begun, ended, heard, reason, fields=fields)


def names(plays: Iterable[Play]) -> list[tuple[str, float, str]]:
    return [(play.item.uri.rpartition(":")[2], play.ended_ms / 1000 - T, play.source) for play in plays]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "outbox.sqlite")
    yield bench
    bench.outbox.close()


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def starts(bench: Bench) -> None:
    bench.backfiller.on_start(round(bench.clock.utc() * 1000))


def starts_again(bench: Bench) -> None:
    bench.keep()
    bench.start()
    starts(bench)


def misses(bench: Bench) -> None:
    bench.backfiller.on_gap()


def starts_and_misses(bench: Bench) -> None:
    starts(bench)
    misses(bench)


def fails(bench: Bench) -> None:
    bench.service.error = DOWN


def recovers(bench: Bench) -> None:
    bench.service.error = None


PLANS: dict[str, tuple[list[tuple[float, Callable[[Bench], None]]], list[float]]] = {
    "nothing happens": ([], []),
    "a start": ([(0, starts)], [0]),
    "a start after a gap": ([(0, starts_and_misses)], [0, FOLLOW_UP_DELAY]),
    "a start within two minutes of the last question": ([(0, starts), (90, starts_again)], [0]),
    "a start two minutes after it": ([(0, starts), (120, starts_again)], [0, 120]),
    "a loop that starts every half minute": (
        [(0, starts), *((TURN * number, starts_again) for number in range(1, 21))],
        [0, 120, 240, 360, 480, 600],
    ),
    "a start within two minutes, but after a gap": (
        [(0, starts), (90, starts_again), (90, misses)],
        [0, 90, 90 + FOLLOW_UP_DELAY],
    ),
    "a gap": ([(600, misses)], [600, 600 + FOLLOW_UP_DELAY]),
    "two gaps": ([(600, misses), (1800, misses)], [600, 960, 1800, 2160]),
    "two gaps soon after each other": ([(600, misses), (690, misses)], [600, 690, 690 + FOLLOW_UP_DELAY]),
    "a gap of which the first question fails": (
        [(600, misses), (600, fails), (630, recovers)],
        [600, 600 + FOLLOW_UP_DELAY],
    ),
    "a gap of which both questions fail": ([(600, misses), (600, fails)], [600, 600 + FOLLOW_UP_DELAY]),
    "a start of which the question fails": ([(0, starts), (0, fails), (30, recovers)], [0, FOLLOW_UP_DELAY]),
    "a start of which both questions fail": ([(0, starts), (0, fails)], [0, FOLLOW_UP_DELAY]),
}


@pytest.mark.parametrize("name", PLANS)
def test_when_it_is_asked(bench: Bench, name: str) -> None:
    events, asked = PLANS[name]

    for second in range(0, HOUR, TURN):
        for at, event in events:
            if at == second:
                event(bench)
        bench.live(TURN)

    assert bench.asked == asked


class TestListening:
    def test_every_half_hour_of_listening(self, bench: Bench) -> None:
        bench.live(2 * HOUR + TURN, listening=True)

        assert bench.asked == [30 * MINUTE * number for number in range(1, 5)]

    def test_who_does_not_listen_needs_no_question(self, bench: Bench) -> None:
        bench.live(29 * MINUTE, listening=True)
        bench.live(5 * HOUR)
        assert bench.asked == []

        bench.live(MINUTE + TURN, listening=True)
        assert len(bench.asked) == 1

    def test_a_question_after_a_gap_serves_as_well(self, bench: Bench) -> None:
        bench.live(20 * MINUTE, listening=True)
        misses(bench)
        bench.live(HOUR, listening=True)

        first = 20 * MINUTE
        assert bench.asked == [first, first + FOLLOW_UP_DELAY, first + FOLLOW_UP_DELAY + 30 * MINUTE]

    def test_a_failing_endpoint_is_asked_every_ten_minutes_of_it(self, bench: Bench) -> None:
        bench.service.error = DOWN
        bench.live(HOUR + TURN, listening=True)
        assert bench.asked == [MINUTE * number for number in (30, 40, 50, 60)]

        bench.live(5 * HOUR)
        assert len(bench.asked) == 4

    def test_a_failing_endpoint_that_recovers(self, bench: Bench) -> None:
        bench.service.error = DOWN
        bench.live(35 * MINUTE, listening=True)
        bench.service.error = None
        bench.live(40 * MINUTE, listening=True)

        assert bench.asked == [MINUTE * number for number in (30, 40, 70)]

    def test_another_process_goes_on(self, bench: Bench) -> None:
        bench.live(20 * MINUTE, listening=True)
        bench.keep()
        bench.start()
        bench.live(20 * MINUTE, listening=True)

        assert bench.asked == [30 * MINUTE]


class TestNote:
    def test_there_and_back(self, bench: Bench) -> None:
        starts(bench)
        bench.live(10 * MINUTE, listening=True)
        bench.keep()
        note = bench.outbox.note(BACKFILL_NOTE)
        assert json.loads(note) == {"asked_ms": round(T * 1000), "listened_ms": 10 * MINUTE * 1000}

        bench.start()
        assert bench.backfiller.to_note() == {BACKFILL_NOTE: note}

    @pytest.mark.parametrize(
        "note",
        [
            "",
            "soon",
            "7",
            "null",
            "[]",
            "{}",
            '{"asked_ms": 5}',
            '{"asked_ms": "x", "listened_ms": 1}',
            '{"asked_ms": null, "listened_ms": null}',
            '{"asked_ms": 1e999, "listened_ms": 1}',
            '{"asked_ms": NaN, "listened_ms": 1}',
            '{"asked_ms": [], "listened_ms": {}}',
            "[" * 10_000,
        ],
    )
    def test_one_that_makes_no_sense_is_none(self, bench: Bench, note: str) -> None:
        bench.outbox.put([], {BACKFILL_NOTE: note})
        bench.start()
        assert json.loads(bench.backfiller.to_note()[BACKFILL_NOTE]) == {"asked_ms": 0, "listened_ms": 0}

        starts(bench)
        bench.live(MINUTE)
        assert bench.asked == [0]

    @pytest.mark.parametrize(("listened_ms", "asked"), [(-(10**9), [1800]), (10**30, [0, 1800])])
    def test_what_it_says_is_bounded(self, bench: Bench, listened_ms: int, asked: list[float]) -> None:
        bench.outbox.put([], {BACKFILL_NOTE: json.dumps({"asked_ms": 0, "listened_ms": listened_ms})})
        bench.start()
        bench.live(31 * MINUTE, listening=True)

        assert bench.asked == asked

    def test_a_question_of_the_future_holds_nobody_back(self, bench: Bench) -> None:
        note = json.dumps({"asked_ms": round((T + HOUR) * 1000), "listened_ms": 0})
        bench.outbox.put([], {BACKFILL_NOTE: note})
        bench.start()
        starts(bench)
        bench.live(MINUTE)

        assert bench.asked == [0]


class TestAnswer:
    def test_what_was_missed_is_found_once_and_told(
        self, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench.put(play("A", -1000, -800), play("D", -100, -50, TRACKDONE))
        bench.tell(("D", -50), ("C", -300), ("B", -500), ("A", -800))
        misses(bench)

        plays = bench.fetch_if_due()

        assert names(plays) == [("B", -500, BACKFILL), ("C", -300, BACKFILL)]
        assert logged(capsys) == ["recently played: B, 3:20 of 3:20", "recently played: C, 3:20 of 3:20"]
        bench.put(*plays)
        bench.clock.sleep(FOLLOW_UP_DELAY)
        assert bench.fetch_if_due() == []
        assert len(bench.asked) == 2

    def test_what_comes_late_is_found_by_the_second_question(self, bench: Bench) -> None:
        bench.tell(("A", -400))
        misses(bench)
        bench.put(*bench.fetch_if_due())

        bench.tell(("B", -200), ("A", -400))
        bench.clock.sleep(FOLLOW_UP_DELAY)
        assert names(bench.fetch_if_due()) == [("B", -200, BACKFILL)]

    def test_a_play_gets_the_end_that_nobody_saw(self, bench: Bench) -> None:
        bench.put(play("A", -1000, -900, UNKNOWN))
        bench.tell(("A", -800))
        misses(bench)

        plays = bench.fetch_if_due(play("B", -20, 0, None))
        assert names(plays) == [("A", -800, "live")]
        bench.put(*plays)
        assert names(bench.outbox.kept()) == [("A", -800, "live")]

    def test_the_open_play_is_taken_as_it_is_by_now(self, bench: Bench) -> None:
        """The disk has an older state of it, and Spotify may tell of it too early."""
        bench.put(play("A", -100, -90, None))
        bench.tell(("A", -10))
        misses(bench)

        assert bench.fetch_if_due(play("A", -100, -5, None)) == []

    def test_what_the_disk_calls_open_and_nobody_follows_is_no_play_to_go_by(self, bench: Bench) -> None:
        bench.put(play("A", -1000, -990, None))
        bench.tell(("A", -600))
        misses(bench)

        assert names(bench.fetch_if_due(play("B", -20, 0, None))) == [("A", -600, BACKFILL)]

    @pytest.mark.parametrize("is_blind", [False, True])
    def test_when_nobody_could_see_matters(self, bench: Bench, *, is_blind: bool) -> None:
        bench.put(play("A", -20_000, -19_900, STOPPED, playing=False))
        bench.tell(("A", -100))
        misses(bench)

        stretch = (round((T - 18_000) * 1000), round(T * 1000))
        assert len(bench.fetch_if_due(blind=[stretch] if is_blind else [])) == is_blind

    def test_a_play_that_was_paused_for_most_of_a_day_is_known(self, bench: Bench) -> None:
        bench.put(play("A", -23 * HOUR, -23 * HOUR + 100, STOPPED, playing=False))
        bench.tell(("A", -100))
        misses(bench)

        assert bench.fetch_if_due() == []

    def test_what_lies_before_all_that_is_known_is_left_alone(self, bench: Bench) -> None:
        """Whether it is known, nobody knows any more."""
        plays = [play("A", -300 * number, -300 * number + 200) for number in range(MAX_KEPT_PLAYS, 0, -1)]
        bench.put(*plays)
        keys = [row.key for row in bench.outbox.waiting(MAX_KEPT_PLAYS)]
        bench.outbox.mark_safe(keys[:-1])
        horizon = -300 * MAX_KEPT_PLAYS
        bench.tell(("B", horizon + 250), ("C", horizon - 1))
        misses(bench)
        assert names(bench.fetch_if_due()) == [("C", horizon - 1, BACKFILL), ("B", horizon + 250, BACKFILL)]

        bench.outbox.mark_safe(keys)
        misses(bench)
        assert names(bench.fetch_if_due()) == [("B", horizon + 250, BACKFILL)]

    def test_what_an_import_brought_is_not_found_again(self, bench: Bench) -> None:
        bench.log.plays = [replace(play("A", -601, -401), source="import")]
        bench.tell(("A", -400), ("B", -190))
        misses(bench)
        assert names(bench.fetch_if_due()) == [("B", -190, BACKFILL)]

    def test_what_was_forgotten_is_not_brought_back(self, bench: Bench) -> None:
        bench.put(play("C", -900, -700))
        bench.log.stretches = {int(T - 600): int(T - 400)}
        bench.tell(("A", -400.5), ("B", -190), ("C", -700))
        misses(bench)
        assert names(bench.fetch_if_due()) == [("B", -190, BACKFILL)]

    def test_nor_completed_nor_found_hours_later(
        self, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Spotify tells of a play when the player leaves it."""
        bench.put(play("A", -900, -800, UNKNOWN), play("B", -700, -600, STOPPED, playing=False))
        bench.outbox.mark_deleted([int(T - 900), int(T - 700)])
        bench.log.stretches = {int(T - 900): int(T - 800), int(T - 700): int(T - 600)}
        bench.tell(("A", -720), ("B", -100))
        misses(bench)
        assert bench.fetch_if_due() == []
        assert logged(capsys) == []

    @pytest.mark.parametrize("body", [None, {}, {"items": None}, {"items": [None, {"track": 7}]}])
    def test_one_that_makes_no_sense_adds_nothing_and_is_no_failure(
        self, bench: Bench, body: dict[str, object] | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench.service.body = body
        misses(bench)
        bench.live(HOUR)

        assert bench.asked == [0, FOLLOW_UP_DELAY]
        assert logged(capsys) == []


class TestFailure:
    @pytest.mark.parametrize(
        "error",
        [
            DOWN,
            Unreachable("no whole answer came in time"),
            NotBefore("Spotify's rate limit is reached", 600),
            LoginNeeded("this login may not see what plays: run `spotify-logger login`"),
        ],
    )
    def test_it_is_said_once_and_nothing_is_found(
        self, bench: Bench, error: SpotifyLoggerError, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench.service.error = error
        misses(bench)
        assert bench.fetch_if_due() == []
        bench.live(HOUR, listening=True)

        assert len(bench.asked) > 2
        words = f"cannot fetch recently played items ({error}); retrying later"
        assert logged(capsys) == [words]

    def test_another_one_is_said_and_so_is_the_same_after_an_answer(
        self, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        errors = [DOWN, TryLater("Spotify answers 500"), DOWN, None, DOWN]
        for error in errors:
            bench.service.error = error
            misses(bench)
            bench.fetch_if_due()

        assert [line.partition("(")[2].partition(")")[0] for line in logged(capsys)] == [
            str(error) for error in errors if error
        ]

    def test_what_it_could_not_learn_it_learns_later(self, bench: Bench) -> None:
        bench.tell(("A", -400))
        bench.service.error = DOWN
        misses(bench)
        assert bench.fetch_if_due() == []

        bench.service.error = None
        bench.clock.sleep(FOLLOW_UP_DELAY)
        assert names(bench.fetch_if_due()) == [("A", -400, BACKFILL)]


def test_a_state_that_redis_gave_back_without_names_is_known_by_its_id(bench: Bench) -> None:
    kept = play("A", -1000, -800)
    bench.outbox.adopt([(kept.second, replace(kept, item=replace(kept.item, catalog={})))])
    bench.tell(("A", -799.5))
    misses(bench)

    assert bench.fetch_if_due() == []
