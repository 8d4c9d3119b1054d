from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest

from spotify_logger.core.play import BACKFILL, SKIPPED, TRACKDONE
from spotify_logger.queries import top
from spotify_logger.queries.question import Question
from spotify_logger.simulator.demo_catalog import HOSTILE, make_demo_catalog
from spotify_logger.simulator.logged_history import LoggedHistory, make_logged_history
from spotify_logger.simulator.name_parts import LONG_TITLE
from spotify_logger.storage.store import Store
from spotify_logger.transfer.verify.command import check

UNTIL = 1_795_700_000.0
DAYS = 60


@pytest.fixture(scope="module")
def past() -> LoggedHistory:
    return make_logged_history(4, DAYS, UNTIL)


def test_it_is_the_same_for_the_same_arguments(past: LoggedHistory) -> None:
    assert make_logged_history(4, DAYS, UNTIL) == past
    assert make_logged_history(5, DAYS, UNTIL) != past


def test_it_lies_where_it_should(past: LoggedHistory) -> None:
    seconds = [play.second for play in past.plays]
    assert seconds == sorted(set(seconds))
    assert UNTIL - (DAYS + 1) * 86_400 <= seconds[0] < UNTIL - (DAYS - 2) * 86_400
    assert past.plays[-1].ended_ms <= UNTIL * 1000


def test_somebody_has_listened(past: LoggedHistory) -> None:
    assert DAYS * 30 < len(past.plays) < DAYS * 150
    ends = Counter(play.end_reason for play in past.plays)
    assert ends[TRACKDONE] > ends[SKIPPED] > len(past.plays) / 20
    artists = Counter(str(play.fields.get("artists")) for play in past.plays)
    assert artists.most_common(1)[0][1] > 5 * sorted(artists.values())[len(artists) // 2]
    assert len({play.fields.get("device_name") for play in past.plays}) > 2
    assert any(play.item.key.startswith("episode:") for play in past.plays)


def test_nothing_could_be_seen_in_the_gaps_but_what_was_told_of_later(past: LoggedHistory) -> None:
    assert past.gaps
    for gap in past.gaps:
        inside = [play for play in past.plays if gap.begin <= play.second < gap.end]
        assert {play.source for play in inside} <= {BACKFILL}
    assert {play.source for play in past.plays} == {"live", BACKFILL}


def test_no_cover_is_asked_for(past: LoggedHistory) -> None:
    assert not any("cover" in play.item.catalog for play in past.plays)


def test_in_redis_it_is_as_the_logger_would_have_written_it(past: LoggedHistory, redis_url: str) -> None:
    with closing(Store(redis_url, "me:")) as store:
        past.write(store.archive())
        answer = check(store.archive(), UNTIL)
        assert answer.code == 0, answer.page
        told = [{name: str(value) for name, value in play.to_hash().items()} for play in past.plays]
        assert [fields for _, fields in store.recent(50)] == told[:-51:-1]
        assert store.gaps() == past.gaps
        best = top.top(store.archive(), Question(UNTIL), "tracks").data
        assert isinstance(best, dict)
        assert best["plays"] > 0


def test_the_music_has_names_of_its_own() -> None:
    catalog = make_demo_catalog(4)
    albums = {album[0].album: album for album in catalog.albums}
    tracks = [item for album in albums.values() for item in album]
    names = [item.name for item in tracks]
    assert len(names) == len(set(names)) > 1000
    assert {HOSTILE, LONG_TITLE} <= set(names)
    assert len({item.artists[0] for item in tracks}) > 100
    assert not any(character.isdigit() for name in set(names) - {LONG_TITLE} for character in name)
    again = make_demo_catalog(4)
    assert [item.uri for item in again.tracks] == [item.uri for item in catalog.tracks]
