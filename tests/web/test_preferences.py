"""What a browser chooses for the page: its views follow, those of others and programs do not."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.storage.bulk import Archive
from tests.web.log import QUO, write_play
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MACHINE = "the logger’s time zone"  # noqa: RUF001 - an apostrophe
SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    with closing(Archive(redis_url)) as store, serve_page(settings_for(redis_url, tmp_path)) as page:
        write_play(store, QUO, SECOND, end="trackdone", ms_played=20_000)
        yield page


def choose(page: PageClient, form: str) -> str:
    """Save the settings, and return the cookies that a browser sends from then on."""
    answer = page.post("/settings", form)
    assert (answer.status, answer.headers["location"]) == (303, "/settings")
    return answer.cookie


def test_views_follow_the_zone_and_the_threshold_of_the_browser(page: PageClient) -> None:
    cookie = choose(page, "tz=Asia%2FTokyo&min=10s")
    for path, own, others in (
        ("/recent", 'id="day-2026-11-23"', f'id="day-{Zone().day(SECOND)}"'),
        ("/recent", ">03:00<", f">{Zone().local(SECOND):%H:%M}<"),
        ("/top/tracks?all=1", "Veridis Quo", "</main>"),
        ("/day/2026-11-23", "1 play, 20 s", "No plays on this day"),
        ("/settings", 'value="Asia/Tokyo"', 'value=""'),
        ("/", "Plays of at least 10 s count", "Plays of at least 30 s count"),
        ("/", "Times are in Asia/Tokyo", MACHINE),
    ):
        with_cookie, without = page.request(path, Cookie=cookie).text, page.request(path).text
        assert (own in with_cookie, others in without) == (True, True), path
        assert own not in without, path
    stats = "/api/v1/stats"
    assert page.request(stats, Cookie=cookie).body == page.request(stats).body
    assert json.loads(page.request(f"{stats}?min=10s").body)["plays"] == 1
    assert "Veridis Quo" not in page.request("/top/tracks?all=1&min=30s", Cookie=cookie).text
    reset = choose(page, "tz=&min=")
    assert MACHINE in page.request("/", Cookie=reset).text


@pytest.mark.parametrize("path", ["/", "/today", "/day/2026-11-22", "/suggest?q=quo"])
def test_views_without_a_period_ignore_one(page: PageClient, path: str) -> None:
    for query in ("year=x", "year=2025", "since=2026-12&until=2026"):
        assert page.request(f"{path}{'&' if '?' in path else '?'}{query}").text == page.request(path).text


@pytest.mark.parametrize("form", ["tz=Mars/Olympus", "tz=../../etc/passwd", "min=-1", "min=" + "9" * 99])
def test_what_makes_no_sense_is_refused_in_a_form_and_ignored_in_a_cookie(
    page: PageClient, form: str
) -> None:
    assert page.post("/settings", form).status == 400
    assert page.request("/recent", Cookie=f"spotify_logger_{form}").text == page.request("/recent").text
    assert page.post("/settings", "tz=UTC", Origin="http://evil.example").status == 403
