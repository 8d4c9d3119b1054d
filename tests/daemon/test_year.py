"""Weeks in virtual time in which everything goes wrong; `benchmarks/year.py` does the same for a year."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import BACKFILL
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.simulator.accounts import DEMO_REFRESH_TOKEN
from tests.testbed import year
from tests.testbed.fault_schedule import DAY, EXCLUSIVE, FAULT_KINDS, MEMORY_LOSS, make_fault_schedule
from tests.testbed.year import SimulatedCrash, YearFailure, YearSimulation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spotify_logger.core.play import Play
    from tests.testbed.fake_redis import Persistence

DAYS = 7
SEEDS = (98, 101, 104)
KEEPING: tuple[Persistence, ...] = ("aof", "aof", "aof", "aof", "rdb")


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_goes_wrong_no_play_is_lost_or_doubled(seed: int, memory_folder: Path) -> None:
    total = YearSimulation(seed, DAYS, memory_folder, 5.0, KEEPING[seed % len(KEEPING)]).live()
    assert (total.lost, total.doubled) == (0, 0)
    assert total.faults.total() > DAYS
    assert total.live > 0.5 * total.heard
    assert total.close > 0.95
    found = total.live + total.repaired
    assert found + total.in_gaps + total.in_blinks + total.merged == total.heard
    assert total.requests < DAYS * 24 * 150


class TestTheLifeItself:
    """What it is to notice, it notices."""

    def live(self, memory_folder: Path, seed: int = 102, days: int = 1) -> str:
        with pytest.raises(YearFailure) as wrong:
            YearSimulation(seed, days, memory_folder, 24.0).live()
        assert f"seed {seed}, at " in str(wrong.value)
        return str(wrong.value)

    def test_a_play_that_is_lost(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def forgetful(self: Recorder, plays: Sequence[Play], memory: str) -> None:
            honest(self, [play for play in plays if "Harbour" not in str(play.fields.get("name"))], memory)

        honest = Recorder.add
        monkeypatch.setattr(Recorder, "add", forgetful)
        words = self.live(memory_folder)
        assert "are lost" in words or "neither Redis nor the outbox" in words

    def test_a_play_that_is_told_twice(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def doubling(self: Recorder, plays: Sequence[Play], memory: str) -> None:
            again = [
                replace(play, started_ms=play.started_ms + 5, ended_ms=play.ended_ms + 5, source=BACKFILL)
                for play in plays
                if play.end_reason is not None
            ]
            honest(self, [*plays, *again], memory)

        honest = Recorder.add
        monkeypatch.setattr(Recorder, "add", doubling)
        assert "were not heard, or not as often" in self.live(memory_folder)

    def test_a_request_before_its_time(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.spotify.rate_limit.Cooldown.remaining", lambda *_: 0.0)
        assert "before its time" in self.live(memory_folder, 101, 3)

    def test_a_secret_in_the_log(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.daemon.poller.describe", lambda _: DEMO_REFRESH_TOKEN)
        monkeypatch.setattr("spotify_logger.system.log.add_secret", lambda _: None)
        monkeypatch.setattr("spotify_logger.system.log._secrets", set())
        assert "a secret is in the log" in self.live(memory_folder)

    def test_an_outbox_that_keeps_nothing(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.storage.outbox.Outbox.waiting", lambda *_: [])
        words = self.live(memory_folder)
        assert "are lost" in words or "outside of any gap" in words

    def test_repair_that_brings_nothing(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.daemon.backfiller.backfill_plays", lambda *_: [])
        assert "are lost" in self.live(memory_folder)

    def test_gaps_that_are_not_recorded(self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.core.coverage.GAP_MS", 1e12)
        monkeypatch.setattr("spotify_logger.daemon.backfiller.backfill_plays", lambda *_: [])
        assert "are lost" in self.live(memory_folder)

    def test_crashes_do_happen_at_every_kind_of_write(
        self, memory_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        crashes: list[str] = []

        class Noted(SimulatedCrash):
            def __init__(self) -> None:
                super().__init__()
                crashes.append(life.struck)

        monkeypatch.setattr(year, "SimulatedCrash", Noted)
        seen: set[str] = set()
        for seed in SEEDS:
            of_seed = memory_folder / str(seed)
            of_seed.mkdir()
            life = YearSimulation(seed, 2.5, of_seed, 24.0)
            life.live()
            seen |= set(crashes)
            if len(seen) == 6:  # every one
                break
        assert seen == {
            "redis before",
            "redis after",
            "disk before",
            "disk after",
            "file before",
            "file after",
        }


class TestMishaps:
    def test_the_same_for_the_same_seed(self) -> None:
        assert make_fault_schedule(1, 0, 30 * DAY, 4) == make_fault_schedule(1, 0, 30 * DAY, 4)
        assert make_fault_schedule(1, 0, 30 * DAY, 4) != make_fault_schedule(2, 0, 30 * DAY, 4)

    def test_a_thousand_a_year_of_every_kind_and_all_of_them_over_in_the_end(self) -> None:
        faults = make_fault_schedule(1, 0, 365 * DAY, 4)
        assert len(faults) > 1000
        assert {fault.name for fault in faults} == set(FAULT_KINDS)
        assert all(fault.at >= 0 and fault.at + fault.seconds < 365 * DAY for fault in faults)
        assert faults == sorted(faults, key=lambda fault: fault.at)

    def test_nothing_that_takes_memory_away_comes_with_a_full_disk(self) -> None:
        for seed in range(20):
            faults = make_fault_schedule(seed, 0, 60 * DAY, 8)
            full = [fault for fault in faults if fault.name in EXCLUSIVE]
            others = [fault for fault in faults if fault.name in MEMORY_LOSS]
            for disk in full:
                assert not [
                    other
                    for other in others
                    if disk.at - 60 < other.at + other.seconds and other.at < disk.at + disk.seconds + 60
                ]
