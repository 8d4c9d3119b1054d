"""The overview agrees with `stats` and `top` about the same period, whatever has changed since."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.periods import Zone, between
from spotify_logger.core.play import SKIPPED, TRACKDONE
from spotify_logger.core.redis_keys import day_of, index_key
from spotify_logger.queries import history_chart, summary, top
from spotify_logger.queries.overview import KINDS, MAX_AGE, TOP_COUNT, Overview
from spotify_logger.storage.bulk import RECENT_DAYS
from tests.listened import CatalogItem, IndexedLog, data_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.queries.question import Question
    from spotify_logger.storage.embedded_server import EmbeddedServer

BERLIN = Zone("Europe/Berlin")
NOW = "2026-11-22 19:00"
DAY = 86_400
QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
QUO_AGAIN = CatalogItem(
    "track:again", "Veridis Quo", ["Daft Punk"], "Discovery (Deluxe)", "e", "gbduw0000061"
)
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Moon Safari", "m", "FRZ")
DUET = CatalogItem("track:duet", "Duet", ["Air", "Beck"], "Hits", "h", "FRY")
HIT = CatalogItem("track:hit", "Another Hit", ["Nobody"], "Hits", "h", "FRX")
FILE = CatalogItem("local:f", "A file", ["Air"])
EPISODE = CatalogItem("episode:e", "On Daft Punk", [], "A Show")
ITEMS = (QUO, QUO_AGAIN, SEXY, DUET, HIT, FILE, EPISODE)


def question_of(log: IndexedLog) -> Question:
    midnight = log.second("2025-11-23 00:00")
    return log.ask(period=between(midnight, None, "the last 12 months"))


def expected(log: IndexedLog) -> dict[str, object]:
    """What the answers of the command say."""
    question = replace(question_of(log), limit=TOP_COUNT)
    stats = data_of(summary.stats(log.archive, question))
    names = ["from", "plays", "shorter", "heard_ms", "skips", "skip_rate", "days", "unseen"]
    names += ["longest_streak", "current_streak", "busiest_day", *KINDS]
    tops: dict[str, Any] = {kind: data_of(top.top(log.archive, question, kind))["top"] for kind in KINDS}
    shown = ("name", "artists", "plays", "heard_ms", "key")
    weeks = data_of(history_chart.course(log.archive, question, "week"))["periods"]
    return {
        **{name: stats[name] for name in names},
        "top": {
            kind: [{name: line[name] for name in shown} for line in lines] for kind, lines in tops.items()
        },
        "weeks": weeks,
    }


class Overviewed(IndexedLog):
    """A log with an overview of it, that knows what time it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.monotonic = 0.0
        self.overview = Overview(lambda: self.monotonic)

    def data(self) -> dict[str, object]:
        return self.overview.data(self.archive, question_of(self))

    def past(self) -> object:
        """What was added up of the past: the same object as long as it was not made anew."""
        return self.overview._past_figures


@pytest.fixture
def log(redis_url: str) -> Iterator[Overviewed]:
    with closing(redis.Redis.from_url(redis_url)):
        log = Overviewed(redis_url, BERLIN, NOW)
        log.to(QUO, "2025-11-22 23:59")  # a day too early
        log.to(QUO, "2025-11-23 00:00")
        log.to(SEXY, "2026-05-01 12:00", heard=100)
        log.to(DUET, "2026-05-02 12:00")
        log.skipped(SEXY, "2026-11-22 18:00")
        yield log
        log.store.close()


def test_it_says_what_stats_and_top_say(log: Overviewed) -> None:
    overview = log.data()
    assert overview == expected(log)
    assert overview["plays"] == 3


def test_an_empty_log(redis_url: str) -> None:
    log = Overviewed(redis_url, BERLIN, NOW)
    overview = log.data()
    assert overview["plays"] == 0
    assert overview["weeks"] == []
    assert overview["top"] == {kind: [] for kind in KINDS}
    log.store.close()


def test_todays_plays_are_added_without_summing_up_the_past_again(log: Overviewed) -> None:
    log.data()
    past = log.past()
    log.to(HIT, "2026-11-22 18:30")  # which makes "Hits" an album of many artists
    assert log.data() == expected(log)
    assert log.past() is past


def test_a_play_of_today_that_is_deleted_disappears(log: Overviewed) -> None:
    log.to(HIT, "2026-11-22 18:30")
    log.data()
    log.archive.write(
        [("HDEL", index_key(day_of(log.second("2026-11-22 18:30"))), str(log.second("2026-11-22 18:30")))]
    )
    assert log.data() == expected(log)


@pytest.mark.parametrize("moment", ["2025-11-23 08:00", "2026-05-01 13:00", "2026-11-19 12:00"])
def test_a_backfilled_play_is_included(log: Overviewed, moment: str) -> None:
    log.data()
    log.to(QUO_AGAIN, moment)
    assert log.data() == expected(log)


def test_a_play_that_lasts_for_days_is_included_when_it_ends(log: Overviewed) -> None:
    log.to(QUO, "2026-11-20 23:00", heard=10)
    log.data()
    log.to(QUO, "2026-11-20 23:00", heard=7200)  # the same play, with more of it
    assert log.data() == expected(log)


def test_plays_rewritten_in_place_are_included_after_a_while(log: Overviewed) -> None:
    log.data()
    log.to(QUO, "2025-11-23 00:00", heard=30)
    assert log.data() != expected(log)
    log.monotonic += MAX_AGE
    assert log.data() == expected(log)


def test_the_next_day_the_past_has_one_day_more(log: Overviewed) -> None:
    log.data()
    past = log.past()
    log.now = "2026-11-23 01:00"
    assert log.data() == expected(log)
    assert log.past() is not past


def test_another_question_is_another_one(log: Overviewed) -> None:
    log.data()
    whole = replace(question_of(log), threshold=0)
    assert log.overview.data(log.archive, whole)["plays"] == 4


def test_gaps_are_included(log: Overviewed) -> None:
    log.data()
    log.gap("2026-11-01 00:00", "2026-11-01 02:00")
    assert log.data()["unseen"] == {"gaps": 1, "seconds": 7200}


moments = st.integers(0, 380 * DAY)
lengths = st.sampled_from((0, 10, 29.999, 30, 200))
plays = st.tuples(st.sampled_from(ITEMS), moments, lengths, st.sampled_from((TRACKDONE, SKIPPED)))


@settings(max_examples=25)
@given(
    batches=st.lists(st.lists(plays, max_size=12), min_size=1, max_size=4), days=st.lists(st.integers(0, 3))
)
def test_whatever_comes_it_says_what_stats_and_top_say(
    redis_server: EmbeddedServer, batches: list[list[tuple[CatalogItem, int, float, str]]], days: list[int]
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    log = Overviewed(redis_server.url, BERLIN, NOW)
    last = BERLIN.local(log.second(NOW))
    seen: set[int] = set()
    with closing(log.store):
        for number, batch in enumerate(batches):
            now = last + timedelta(days=sum(days[:number]))
            log.now = f"{now:%Y-%m-%d %H:%M}"
            # A play is never rewritten when it is no longer young: new seconds only.
            fresh = [play for play in batch if play[1] not in seen and not seen.add(play[1])]  # type: ignore[func-returns-value]
            log.all((item, log.second(NOW) - ago, heard, end) for item, ago, heard, end in fresh)
            assert log.data() == expected(log)


def test_days_that_still_change_are_read_each_time() -> None:
    assert RECENT_DAYS >= 2  # a play that begins before midnight ends after it, and is corrected afterwards
