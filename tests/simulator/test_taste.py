"""The made-up year, as somebody who looks at its charts would see it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.demo_catalog import make_demo_catalog
from spotify_logger.simulator.logged_history import make_logged_history

if TYPE_CHECKING:
    from spotify_logger.core.play import Play

UNTIL = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
MONTHS = [f"2026-{month:02}" for month in range(1, 12)]


@pytest.fixture(scope="module")
def plays() -> list[Play]:
    past = make_logged_history(4, 400, UNTIL)
    return [play for play in past.plays if play.item.key.startswith("track:")]


def day(play: Play) -> str:
    return datetime.fromtimestamp(play.second, UTC).date().isoformat()


def artist(play: Play) -> str:
    return str(play.fields["artists"]).partition(", ")[0]


def test_artists_have_seasons_and_phases_and_are_discovered(plays: list[Play]) -> None:
    by_month = {month: Counter(artist(play) for play in plays if day(play)[:7] == month) for month in MONTHS}
    winter = by_month["2026-01"] + by_month["2026-02"]
    summer = by_month["2026-07"] + by_month["2026-06"]
    both = winter + summer
    often = [name for name, count in both.items() if count >= 40]
    assert any(winter[name] > 4 * summer[name] for name in often)
    assert any(summer[name] > 4 * winter[name] for name in often)
    favourites = {counts.most_common(1)[0][0] for counts in by_month.values()}
    assert len(favourites) >= 5
    assert all(counts.most_common(1)[0][1] < counts.total() / 2 for counts in by_month.values())
    first = dict[str, str]()
    for play in plays:
        first.setdefault(artist(play), day(play)[:7])
    assert len(set(MONTHS) & set(first.values())) > 8


def test_the_holiday_has_its_own_device_and_hours(plays: list[Play]) -> None:
    holiday = [play for play in plays if "2026-08-03" <= day(play) <= "2026-08-16"]
    others = [play for play in plays if "2026-07-03" <= day(play) <= "2026-07-16"]

    def devices(some: list[Play]) -> set[str]:
        return {str(play.fields["device_name"]) for play in some if "device_name" in play.fields}

    def morning_share(some: list[Play]) -> float:
        return sum(datetime.fromtimestamp(play.second, UTC).hour < 10 for play in some) / len(some)

    assert devices(holiday) == {"Pocket", "Beach Speaker"}
    assert "Beach Speaker" not in devices(others)
    assert morning_share(holiday) < 0.15 < morning_share(others)


def test_some_artists_have_like_names() -> None:
    names = {album[0].artists[0] for album in make_demo_catalog(4).albums}
    assert names >= {"Amber Harbour", "Amber Harbor", "The Amber Harbour"}
