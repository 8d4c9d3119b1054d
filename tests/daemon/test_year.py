"""Days in virtual time in which everything goes wrong; `benchmarks/year.py` does the same for a year."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import BACKFILL
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.simulator.accounts import DEMO_REFRESH_TOKEN
from spotify_logger.simulator.listener import DEFAULT_START
from tests.testbed.fault_schedule import (
    DAY,
    EXCLUSIVE,
    FAULT_KINDS,
    HOUR,
    MEMORY_LOSS,
    WRITES,
    ScheduledFault,
    make_fault_schedule,
)
from tests.testbed.year import YearFailure, YearSimulation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from spotify_logger.core.play import Play
    from tests.testbed.fake_redis import Persistence


@pytest.fixture(autouse=True)
def _utc(set_timezone: Callable[[str], None]) -> None:
    set_timezone("UTC")


@pytest.mark.parametrize(("seed", "persistence"), [(3, "rdb"), (6, "aof")])
def test_whatever_goes_wrong_no_play_is_lost_or_doubled(
    seed: int, persistence: Persistence, memory_folder: Path
) -> None:
    total = YearSimulation(seed, 1.5, memory_folder, 16.0, persistence, quiet_hours=8).run()
    assert (total.lost, total.doubled) == (0, 0)
    assert total.faults.total() > 15
    assert total.live > 0.5 * total.heard
    assert total.close > 0.95
    found = total.live + total.repaired
    assert found + total.in_gaps + total.in_blinks + total.merged == total.heard
    assert total.requests < 1.5 * 24 * 150


def test_a_crash_at_any_kind_of_write_is_survived(memory_folder: Path) -> None:
    simulation = YearSimulation(4, 0.5, memory_folder)
    simulation.schedule = [
        ScheduledFault(DEFAULT_START + HOUR * number, "crash at a write", 1.0, write, 1)
        for number, write in enumerate(WRITES, 1)
    ]
    simulation.run()
    assert simulation.crashes == list(WRITES)


class TestSimulation:
    """It notices what it is there to notice."""

    def failure(self, memory_folder: Path, seed: int = 102, days: float = 0.6) -> str:
        with pytest.raises(YearFailure, match=f"seed {seed}, at ") as failure:
            YearSimulation(seed, days, memory_folder, 24.0).run()
        return str(failure.value)

    def test_a_lost_play(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def add_some(self: Recorder, plays: Sequence[Play], memory: str = "") -> None:
            add(self, [play for play in plays if "Harbour" not in str(play.fields.get("name"))], memory)

        add = Recorder.add
        monkeypatch.setattr(Recorder, "add", add_some)
        assert "are lost" in self.failure(memory_folder)

    def test_a_doubled_play(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def add_twice(self: Recorder, plays: Sequence[Play], memory: str = "") -> None:
            again = [
                replace(play, started_ms=play.started_ms + 5, ended_ms=play.ended_ms + 5, source=BACKFILL)
                for play in plays
                if play.end_reason is not None
            ]
            add(self, [*plays, *again], memory)

        add = Recorder.add
        monkeypatch.setattr(Recorder, "add", add_twice)
        assert "were not heard, or not as often" in self.failure(memory_folder)

    def test_a_request_during_a_rate_limit(
        self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("spotify_logger.spotify.rate_limit.Cooldown.remaining", lambda *_: 0.0)
        assert "before its time" in self.failure(memory_folder, seed=101, days=3)

    def test_a_secret_in_the_log(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.daemon.poller.describe", lambda _: DEMO_REFRESH_TOKEN)
        monkeypatch.setattr("spotify_logger.system.log.add_secret", lambda _: None)
        monkeypatch.setattr("spotify_logger.system.log._secrets", set())
        assert "a secret is in the log" in self.failure(memory_folder)

    @pytest.mark.parametrize("part", ["storage.outbox.Outbox.waiting", "daemon.backfiller.backfill_plays"])
    def test_a_part_that_returns_nothing(
        self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch, part: str
    ) -> None:
        monkeypatch.setattr(f"spotify_logger.{part}", lambda *_: [])
        assert "are lost" in self.failure(memory_folder)


class TestFaultSchedule:
    def test_it_is_the_same_for_the_same_seed(self) -> None:
        assert make_fault_schedule(1, 0, 30 * DAY, 4) == make_fault_schedule(1, 0, 30 * DAY, 4)
        assert make_fault_schedule(1, 0, 30 * DAY, 4) != make_fault_schedule(2, 0, 30 * DAY, 4)

    def test_a_year_has_a_thousand_faults_of_all_kinds_in_order(self) -> None:
        faults = make_fault_schedule(1, 0, 365 * DAY, 4)
        assert len(faults) > 1000
        assert {fault.name for fault in faults} == set(FAULT_KINDS)
        assert all(fault.at >= 0 and fault.at + fault.seconds < 365 * DAY for fault in faults)
        assert faults == sorted(faults, key=lambda fault: fault.at)

    @pytest.mark.parametrize("seed", range(3))
    def test_nothing_that_takes_memory_away_comes_with_a_full_disk(self, seed: int) -> None:
        faults = make_fault_schedule(seed, 0, 365 * DAY, 8)
        for full in (fault for fault in faults if fault.name in EXCLUSIVE):
            assert not any(
                full.at - 60 < other.at + other.seconds and other.at < full.at + full.seconds + 60
                for other in faults
                if other.name in MEMORY_LOSS
            )
