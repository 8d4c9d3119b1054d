"""The notice on every view while the logger is not well, and the welcome of an empty log."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.times import to_iso
from spotify_logger.monitoring.status import status
from spotify_logger.storage.bulk import Archive
from spotify_logger.web import live
from tests.web.log import write_play, write_status
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.monitoring.status import Status

VIEWS = ("/", "/recent", "/top/tracks", "/chart", "/clock", "/calendar", "/year", "/search?q=quo")
DAY = 86_400


@pytest.fixture
def page(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageClient]:
    monkeypatch.setattr(live, "SHARED_SECONDS", 0.0)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


@pytest.fixture
def store(redis_url: str) -> Iterator[Archive]:
    with closing(Archive(redis_url)) as store:
        write_play(store)
        yield store


def notice(page: PageClient, view: str = "/top/tracks") -> str:
    """Return the notice on a view; "" without one."""
    return page.request(view).text.partition("<aside")[2].partition("</aside>")[0]


def days_ahead(days: float) -> str:
    return to_iso(round((time.time() + days * DAY) * 1000))


def test_a_dead_logger_is_on_every_view_until_it_is_back(page: PageClient, store: Archive) -> None:
    write_status(store, ago=7200, login="ok")
    for view in VIEWS:
        found = notice(page, view)
        assert "urgent" in found
        assert "is not running" in found
        assert "observed since" in found
        assert "/health/login" not in found
    write_status(store, login="ok")
    assert [notice(page, view) for view in VIEWS] == [""] * len(VIEWS)


def test_a_rate_limit_says_until_when(page: PageClient, store: Archive) -> None:
    write_status(
        store, ago=7200, next_in=10_000, state="rate limit; the next request is at 15:00", blind="429"
    )
    assert "the next request is at 15:00" in notice(page)


@pytest.mark.parametrize(
    ("login", "days", "is_urgent"), [("needed", 100, True), ("ok", -1, True), ("ok", 6.5, False)]
)
def test_a_login_that_ends_can_be_renewed(
    page: PageClient, store: Archive, login: str, days: float, *, is_urgent: bool
) -> None:
    write_status(store, login=login, login_valid_until=days_ahead(days))
    found = notice(page)
    assert 'action="/health/login"' in found
    assert ("urgent" in found) == is_urgent
    assert ("in 7 days" in found) != is_urgent


def test_a_login_that_lasts_is_no_news(page: PageClient, store: Archive) -> None:
    write_status(store, login="ok", login_valid_until=days_ahead(100))
    assert notice(page) == ""


def test_plays_that_pile_up_are_on_every_view(page: PageClient, store: Archive) -> None:
    write_status(store, outbox=5000)
    assert "5,000 plays are waiting" in notice(page)


def test_however_many_views_are_opened_the_state_is_read_once(redis_url: str, tmp_path: Path) -> None:
    reads = []

    def count(*arguments: Any) -> Status:  # noqa: ANN401 - of any function
        reads.append(arguments)
        return status(*arguments)

    with pytest.MonkeyPatch.context() as patch, serve_page(settings_for(redis_url, tmp_path)) as page:
        patch.setattr(live, "SHARED_SECONDS", 1000.0)
        patch.setattr("spotify_logger.web.live.status.status", count)
        for view in VIEWS:
            page.request(view)
    assert len(reads) == 1


def test_an_empty_log_says_how_to_fill_it(page: PageClient, redis_url: str) -> None:
    welcome = page.request("/").text
    assert "Welcome" in welcome
    assert "<aside" not in welcome
    for step in ("/health/login", "python run.py", "spotify-logger import"):
        assert step in welcome
    with closing(Archive(redis_url)) as store:
        write_status(store, login="ok")
        assert "Logged in" in page.request("/").text
        write_play(store)
    assert "Welcome" not in page.request("/").text
