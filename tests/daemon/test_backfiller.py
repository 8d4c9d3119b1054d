"""When `recently-played` is fetched, and which plays come of it; in virtual time, with a real outbox."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from spotify_logger.core.play import BACKFILL, STOPPED, UNKNOWN, Play
from spotify_logger.core.times import to_iso
from spotify_logger.daemon.backfiller import FOLLOW_UP_DELAY, Backfiller
from spotify_logger.spotify.api import ApiResponse
from spotify_logger.storage.outbox import MAX_KEPT_PLAYS, Outbox
from spotify_logger.system.errors import LoginNeeded, SpotifyLoggerError, TryLater
from tests.redis_log import SECOND, item, play
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from spotify_logger.daemon.recorder import Recorder
    from spotify_logger.spotify.api import Spotify

T = SECOND
MINUTE, HOUR = 60, 3600
TURN = 30
"""Seconds between two turns of the loop."""
UNAVAILABLE = TryLater("Spotify answers 503")


class FakeRecentlyPlayed:
    """Answers with a body, or fails; notes when it was fetched, in seconds since six o'clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.body: dict[str, object] = {"items": []}
        self.error: SpotifyLoggerError | None = None
        self.fetches: list[float] = []

    def recently_played(self) -> ApiResponse:
        self.fetches.append(self._clock.now - T)
        if self.error is not None:
            raise self.error
        return ApiResponse(self.body, self._clock.monotonic(), self._clock.utc())


class FakeLogView:
    """What others have changed in the log."""

    def __init__(self) -> None:
        self.plays: list[Play] = []
        self.deleted: dict[int, int] = {}

    def tombstones(self) -> dict[int, int]:
        return self.deleted

    def foreign_plays(self, since_ms: int) -> list[Play]:
        return [play for play in self.plays if play.started_ms >= since_ms]


class BackfillHarness:
    """A backfiller with its clock, its outbox and a fake Spotify."""

    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock(T)
        self.spotify = FakeRecentlyPlayed(self.clock)
        self.outbox = Outbox(path, self.clock.monotonic)
        self.log = FakeLogView()
        self.load()

    def load(self) -> None:
        spotify, recorder = cast("Spotify", self.spotify), cast("Recorder", self.log)
        self.backfiller = Backfiller(spotify, self.outbox, self.clock, recorder)

    def start(self) -> None:
        self.backfiller.on_start(round(self.clock.utc() * 1000))

    def restart(self) -> None:
        self.outbox.put([], self.backfiller.to_note())
        self.load()
        self.start()

    def miss(self) -> None:
        self.backfiller.on_gap()

    def fail(self) -> None:
        self.spotify.error = UNAVAILABLE

    def fetch(self, open_play: Play | None = None) -> list[Play]:
        """Fetch after a gap."""
        self.miss()
        return self.fetch_if_due(open_play)

    def fetch_if_due(self, open_play: Play | None = None) -> list[Play]:
        return self.backfiller.fetch_if_due(open_play, [])

    def run(self, seconds: float, *, listening: bool = False) -> None:
        for _ in range(round(seconds / TURN)):
            self.fetch_if_due()
            self.clock.sleep(TURN)
            if listening:
                self.backfiller.listened_ms += TURN * 1000

    def answer(self, *items: tuple[str, float]) -> None:
        """Let Spotify answer with items: names and ends, in seconds since six o'clock."""
        items_played = []
        for name, end in items:
            track = {"type": "track", "id": name, "uri": f"spotify:track:{name}", "name": name}
            played_at = to_iso(round((T + end) * 1000))
            items_played.append({"track": {**track, "duration_ms": 200_000}, "played_at": played_at})
        self.spotify.body = {"items": items_played}


def names(plays: Iterable[Play]) -> list[tuple[str, float, str]]:
    return [(play.item.uri.rpartition(":")[2], play.ended_ms / 1000 - T, play.source) for play in plays]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[BackfillHarness]:
    harness = BackfillHarness(tmp_path / "outbox.sqlite")
    yield harness
    harness.outbox.close()


start, restart = BackfillHarness.start, BackfillHarness.restart
miss, fail = BackfillHarness.miss, BackfillHarness.fail
SCHEDULES: dict[str, tuple[list[tuple[float, Callable[[BackfillHarness], None]]], list[float]]] = {
    "start after a gap": ([(0, start), (0, miss)], [0, FOLLOW_UP_DELAY]),
    "restart every half minute": (
        [(0, start), *((TURN * number, restart) for number in range(1, 9))],
        [0, 120, 240, 240 + FOLLOW_UP_DELAY],
    ),
    "restart within two minutes, but after a gap": (
        [(0, start), (90, restart), (90, miss)],
        [0, 90, 90 + FOLLOW_UP_DELAY],
    ),
    "both requests after the start fail": ([(0, start), (0, fail)], [0, FOLLOW_UP_DELAY]),
}


class TestSchedule:
    @pytest.mark.parametrize("name", SCHEDULES)
    def test_starts_and_gaps_are_followed_by_requests(self, harness: BackfillHarness, name: str) -> None:
        events, fetches = SCHEDULES[name]
        for second in range(0, HOUR, TURN):
            for at, event in events:
                if at == second:
                    event(harness)
            harness.run(TURN)
        assert harness.spotify.fetches == fetches

    def test_half_hours_of_listening_are_followed_by_a_request_that_is_retried(
        self, harness: BackfillHarness
    ) -> None:
        harness.run(20 * MINUTE, listening=True)
        harness.run(5 * HOUR)
        harness.fail()
        harness.run(17 * MINUTE, listening=True)
        harness.spotify.error = None
        harness.run(40 * MINUTE, listening=True)
        assert [second // MINUTE for second in harness.spotify.fetches] == [330, 340, 370]


class TestAnswer:
    def test_missed_plays_are_found_once_and_logged(
        self, harness: BackfillHarness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        harness.outbox.put([play("A", -1000), play("D", -100, 50)])
        harness.answer(("D", -50), ("C", -300), ("B", -500), ("A", -800))
        plays = harness.fetch()
        assert names(plays) == [("B", -500, BACKFILL), ("C", -300, BACKFILL)]
        assert "recently played: B, 3:20 of 3:20" in capsys.readouterr().err
        harness.outbox.put(plays)
        harness.answer(("E", -10), ("D", -50), ("C", -300), ("B", -500), ("A", -800))
        harness.clock.sleep(FOLLOW_UP_DELAY)
        assert names(harness.fetch_if_due()) == [("E", -10, BACKFILL)], "reported late"

    def test_only_the_play_in_progress_is_known_while_it_is_open(self, harness: BackfillHarness) -> None:
        harness.outbox.put([play("A", -1000, 10, None), play("B", -100, 10, None)])
        harness.answer(("A", -600), ("B", -10))
        found = harness.fetch(play("B", -100, 95, None))
        assert names(found) == [("A", -600, BACKFILL)], "A was left open by a crash"

    def test_a_play_paused_long_ago_is_found_again_after_an_unobserved_span(
        self, harness: BackfillHarness
    ) -> None:
        harness.outbox.put([play("A", -23 * HOUR, 100, STOPPED, playing=0, progress_ms=100_000)])
        harness.answer(("A", -100))
        assert harness.fetch() == []
        harness.miss()
        span = (round((T - 5 * HOUR) * 1000), round(T * 1000))
        assert len(harness.backfiller.fetch_if_due(None, [span])) == 1
        harness.log.plays = [play("A", -4 * HOUR, 100, source="import")]
        harness.miss()
        assert harness.backfiller.fetch_if_due(None, [span]) == [], "an export says nothing of the pause"

    def test_items_older_than_all_known_plays_are_ignored(self, harness: BackfillHarness) -> None:
        harness.outbox.put([play("A", -300 * number) for number in range(MAX_KEPT_PLAYS, 0, -1)])
        keys = [row.key for row in harness.outbox.waiting(MAX_KEPT_PLAYS)]
        harness.outbox.mark(keys[:-1])
        horizon = -300 * MAX_KEPT_PLAYS
        harness.answer(("B", horizon + 250), ("C", horizon - 1))
        assert [name for name, *_ in names(harness.fetch())] == ["C", "B"]
        harness.outbox.mark(keys)
        assert [name for name, *_ in names(harness.fetch())] == ["B"]

    def test_plays_written_by_others_are_not_found_again_unless_they_are_worse_accounts(
        self, harness: BackfillHarness
    ) -> None:
        local = item("B", "local:b", uri="spotify:local:B", artists=None, duration_ms=None)
        less = {"uri": local.uri, "name": "B"}
        from_account_data = replace(play(local, -390, source="import"), fields=less)
        harness.log.plays = [play("A", -601, source="import"), from_account_data]
        from_redis = play("C", -1000)
        harness.outbox.adopt(
            [(from_redis.second, replace(from_redis, item=replace(from_redis.item, catalog={})))]
        )
        harness.answer(("A", -400), ("B", -190), ("C", -799.5))
        assert names(harness.fetch()) == [("B", -190, BACKFILL)]

    def test_deleted_plays_stay_away(self, harness: BackfillHarness) -> None:
        """Spotify may report them hours later, when the player moves on."""
        going_on = play("B", -900, 100, UNKNOWN, playing=1, progress_ms=100_000)
        paused = play("C", -700, 100, STOPPED, playing=0, progress_ms=100_000)
        harness.outbox.put([going_on, paused])
        harness.outbox.mark_deleted([int(T - 900), int(T - 700)])
        harness.log.deleted = {int(T - 500): int(T - 400), int(T - 900): int(T - 800)}
        harness.log.deleted[int(T - 700)] = int(T - 600)
        harness.answer(("A", -400.5), ("B", -720), ("C", -100))
        assert harness.fetch() == []

    def test_each_failure_is_logged_once_until_the_next_answer(
        self, harness: BackfillHarness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        login = LoginNeeded("run `spotify-logger login`")
        for error in [UNAVAILABLE, UNAVAILABLE, login, None, UNAVAILABLE]:
            harness.spotify.error = error
            harness.fetch()
        lines = [line for line in capsys.readouterr().err.splitlines() if "cannot fetch" in line]
        assert [str(login) in line for line in lines] == [False, True, False]
