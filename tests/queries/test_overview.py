"""The overview agrees with `stats` and `top` about the same period, whatever has changed since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.periods import Zone, between
from spotify_logger.core.redis_keys import day_of, index_key
from spotify_logger.queries import charts, summary, top
from spotify_logger.queries.overview import KINDS, MAX_AGE, TOP_COUNT, Overview
from tests.indexed_log import IndexedLog, data_of
from tests.queries.items import DUET, LOSER, QUO, QUO_AGAIN, SEXY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.queries.question import Question

BERLIN = Zone("Europe/Berlin")
NOW = "2026-11-22 19:00"


class OverviewLog(IndexedLog):
    """A log with an overview of it, and a monotonic clock."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.monotonic = 0.0
        self.overview = Overview(lambda: self.monotonic)

    @property
    def question(self) -> Question:
        return self.ask(period=between(self.second("2025-11-23 00:00"), None, "the last 12 months"))

    def data(self) -> dict[str, object]:
        return self.overview.data(self.store, self.question)

    def expected(self) -> dict[str, object]:
        """Return what the commands say."""
        question = replace(self.question, limit=TOP_COUNT)
        stats = data_of(summary.stats(self.store, question))
        names = ["from", "plays", "shorter", "heard_ms", "skips", "skip_rate", "days", "unseen"]
        names += ["longest_streak", "current_streak", "busiest_day", *KINDS]
        shown = ("name", "artists", "plays", "heard_ms", "key")
        tops: dict[str, Any] = {kind: data_of(top.top(self.store, question, kind))["top"] for kind in KINDS}
        return {
            **{name: stats[name] for name in names},
            "top": {kind: [{name: line[name] for name in shown} for line in tops[kind]] for kind in KINDS},
            "weeks": data_of(charts.course(self.store, question, "week"))["periods"],
        }

    def past(self) -> object:
        """Return the figures of the past: the same object until they are computed again."""
        return self.overview._past_figures


@pytest.fixture
def log(redis_url: str) -> Iterator[OverviewLog]:
    log = OverviewLog(redis_url, BERLIN, NOW)
    log.to(QUO, "2025-11-22 23:59")  # a day too early
    log.to(QUO, "2025-11-23 00:00")
    log.to(SEXY, "2026-05-01 12:00", heard=100)
    log.to(DUET, "2026-05-02 12:00")
    log.to(QUO, "2026-11-20 23:00", heard=10)
    log.skipped(SEXY, "2026-11-22 18:00")
    yield log
    log.store.close()


def test_it_says_what_stats_and_top_say(log: OverviewLog) -> None:
    log.gap("2026-11-01 00:00", "2026-11-01 02:00")
    overview = log.data()
    assert overview == log.expected()
    assert (overview["plays"], overview["unseen"]) == (3, {"gaps": 1, "seconds": 7200})
    with_short_plays = replace(log.question, threshold=0)
    assert log.overview.data(log.store, with_short_plays)["plays"] == 5


def test_plays_of_today_change_without_summing_up_the_past_again(log: OverviewLog) -> None:
    log.data()
    past, second = log.past(), log.second("2026-11-22 18:30")
    log.to(LOSER, second)  # which makes "Hits" an album of several artists
    assert log.data() == log.expected()
    log.store.write([("HDEL", index_key(day_of(second)), str(second))])
    assert log.data() == log.expected()
    assert log.past() is past


def test_plays_of_earlier_days_are_included(log: OverviewLog) -> None:
    log.data()
    log.to(QUO_AGAIN, "2026-11-19 12:00")
    assert log.data() == log.expected()
    log.to(QUO, "2026-11-20 23:00", heard=7200)  # a play that lasts for days has ended
    assert log.data() == log.expected()


def test_old_plays_rewritten_in_place_are_included_after_a_while(log: OverviewLog) -> None:
    log.data()
    log.to(QUO, "2025-11-23 00:00", heard=30)
    assert log.data() != log.expected()
    log.monotonic += MAX_AGE
    assert log.data() == log.expected()


def test_the_next_day(log: OverviewLog) -> None:
    log.data()
    past = log.past()
    log.now = "2026-11-23 01:00"
    assert log.data() == log.expected()
    assert log.past() is not past
