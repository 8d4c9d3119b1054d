from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import BACKFILL, LIVE, SKIPPED, TRACKDONE
from spotify_logger.queries import top
from spotify_logger.queries.index import Index
from spotify_logger.queries.question import Question
from spotify_logger.simulator.demo_catalog import make_demo_catalog
from spotify_logger.simulator.logged_history import LoggedHistory, make_logged_history
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.check import check

if TYPE_CHECKING:
    from spotify_logger.simulator.catalog import Catalog

UNTIL = 1_795_700_000.0
DAYS = 60


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return make_demo_catalog(4)


@pytest.fixture(scope="module")
def past(catalog: Catalog) -> LoggedHistory:
    return make_logged_history(4, DAYS, UNTIL, catalog)


def test_it_fills_its_days_with_typical_listening(past: LoggedHistory) -> None:
    seconds = [play.second for play in past.plays]
    assert seconds == sorted(set(seconds))
    assert UNTIL - (DAYS + 1) * 86_400 <= seconds[0] < UNTIL - (DAYS - 2) * 86_400
    assert past.plays[-1].ended_ms <= UNTIL * 1000
    assert DAYS * 30 < len(past.plays) < DAYS * 150
    ends = Counter(play.end_reason for play in past.plays)
    assert ends[TRACKDONE] > ends[SKIPPED] > len(past.plays) / 20
    artists = Counter(str(play.fields.get("artists")) for play in past.plays)
    assert artists.most_common(1)[0][1] > 5 * sorted(artists.values())[len(artists) // 2]
    assert len({play.fields.get("device_name") for play in past.plays}) > 2
    assert any(play.item.key.startswith("episode:") for play in past.plays)
    covers = [str(play.item.catalog["cover"]) for play in past.plays if "album_id" in play.item.catalog]
    assert all(re.fullmatch(r"/covers/\w+\.svg", cover) for cover in covers)


def test_plays_in_gaps_were_backfilled(past: LoggedHistory) -> None:
    assert past.gaps
    for gap in past.gaps:
        assert {play.source for play in past.plays if gap.begin <= play.second < gap.end} <= {BACKFILL}
    assert {play.source for play in past.plays} == {LIVE, BACKFILL}


def test_it_is_written_as_the_logger_writes(past: LoggedHistory, redis_url: str) -> None:
    with closing(Archive(redis_url, "me:")) as store:
        past.write(store)
        answer = check(store, UNTIL)
        assert answer.code == 0, answer.page
        newest = [
            {name: str(value) for name, value in play.to_hash().items()} for play in past.plays[:-51:-1]
        ]
        assert [fields for _, fields in store.recent(50)] == newest
        assert store.gaps() == past.gaps
        with closing(Index(store)) as index:
            assert top.top(index.sync(), Question(UNTIL), "tracks").plays > 0
