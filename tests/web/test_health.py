"""The health page, and its status code for monitoring."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.times import to_iso
from spotify_logger.storage.store import Store
from tests.conftest import free_port, start_again, start_server
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


def tell(url: str, ago: float = 0.0, **more: str) -> None:
    """The logger has polled so many seconds ago, and was to do it again a minute later."""
    polled = time.time() - ago
    status = {
        "last_poll": to_iso(round(polled * 1000)),
        "next_poll": to_iso(round((polled + 60) * 1000)),
        "login_valid_until": to_iso(round(polled + 100 * DAY) * 1000),
        "state": "nothing plays",
        **more,
    }
    with closing(Store(url)) as store, store.batch() as batch:
        batch.write_status(status)


def login_of(text: str) -> str:
    found = re.search("<dt>Login</dt><dd>(.*?)</dd>", text)
    assert found is not None
    return found[1]


def test_redis_was_never_reachable(tmp_path: Path) -> None:
    with serve_page(settings_for(f"redis://127.0.0.1:{free_port()}", tmp_path)) as page:
        answer = page.request("/health")
    assert answer.status == 503
    assert "cannot be reached" in answer.text
    assert "Spotify login" in answer.text


def test_redis_goes_away_and_comes_back(tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")
    try:
        tell(server.url)
        with serve_page(settings_for(server.url, tmp_path)) as page:
            assert page.request("/health").status == 200
            server.stop()
            assert page.request("/health").status == 503
            assert page.request("/").status == 503
            start_again(server)
            tell(server.url)
            assert page.request("/health").status == 200
    finally:
        server.stop()


def test_all_is_well(page: PageClient, redis_url: str) -> None:
    tell(redis_url)
    answer = page.request("/health")
    assert answer.status == 200
    assert "The logger is running" in answer.text
    assert re.search("(99|100) days", login_of(answer.text))
    assert "Last report" not in answer.text
    assert "Nothing is playing" in page.request("/").text


def test_the_logger_never_ran(page: PageClient) -> None:
    answer = page.request("/health")
    assert answer.status == 503
    assert "never run" in answer.text
    assert "never run" in (home := page.request("/").text)
    assert "Nothing is playing" not in home


def test_the_logger_stopped(page: PageClient, redis_url: str) -> None:
    tell(redis_url, ago=1000)
    answer = page.request("/health")
    assert answer.status == 503
    assert "is not running" in answer.text
    assert "Last report" in answer.text
    home = page.request("/").text
    assert "Unknown since 2" in home
    assert "is not running" in home
    assert "Nothing is playing" not in home


@pytest.mark.parametrize("days", [100, -1])
def test_an_expired_login_has_no_days_left(page: PageClient, redis_url: str, days: int) -> None:
    until = to_iso(round(time.time() + days * DAY) * 1000)
    login = "needed" if days > 0 else "ok"
    tell(redis_url, login=login, login_valid_until=until)
    answer = page.request("/health")
    assert answer.status == 503
    assert "expired" in login_of(answer.text)
    assert "days" not in login_of(answer.text)
    assert "until somebody logs in" in answer.text
