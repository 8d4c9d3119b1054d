"""The health page, and its status code for monitoring."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.times import to_iso
from spotify_logger.storage.bulk import Archive
from tests.conftest import start_again, start_server
from tests.simulated_login import login_settings
from tests.web.log import write_status
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


@pytest.fixture
def store(redis_url: str) -> Iterator[Archive]:
    with closing(Archive(redis_url)) as store:
        yield store


def test_redis_goes_away_and_comes_back(tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")
    with serve_page(settings_for(server.url, tmp_path)) as page, closing(Archive(server.url)) as store:
        write_status(store)
        assert page.request("/health").status == 200
        server.stop()
        answer = page.request("/health")
        assert answer.status == 503
        assert "cannot be reached" in answer.text
        assert "Spotify login" in answer.text
        assert page.request("/").status == 503
        start_again(server)
        with closing(Archive(server.url)) as again:
            write_status(again)
        assert page.request("/health").status == 200
        server.stop()


def test_the_logger_has_never_run_then_runs_and_then_stops(page: PageClient, store: Archive) -> None:
    answer = page.request("/health")
    assert answer.status == 503
    assert "never run" in answer.text
    write_status(
        store, state="nothing plays", login_valid_until=to_iso(round(time.time() + 100 * DAY) * 1000)
    )
    answer = page.request("/health")
    assert answer.status == 200
    assert "The logger is running" in answer.text
    assert re.search("<dt>Login</dt><dd>.*(99|100) days", answer.text)
    assert "Nothing is playing" in page.request("/").text
    write_status(store, ago=1000, state="nothing plays")
    answer = page.request("/health")
    assert answer.status == 503
    assert "is not running" in answer.text
    home = page.request("/").text
    assert re.search(r"Unknown since \d+ \w+ 2", home)
    assert "Nothing is playing" not in home


def test_a_page_that_waits_for_the_login_is_answered_without_an_error(redis_url: str, tmp_path: Path) -> None:
    with serve_page(settings_for(redis_url, tmp_path, **login_settings("http://127.0.0.1:1"))) as page:
        page.post("/health/login", "")
        assert page.request("/health").status == 503
        answer = page.request("/health/login")  # again and again, and consoles show each error
        assert answer.status == 200
        assert json.loads(answer.text) == {"waiting": True, "done": False, "lines": []}


@pytest.mark.parametrize(("days", "login"), [(100, "needed"), (-1, "ok")])
def test_an_expired_login_has_no_days_left(page: PageClient, store: Archive, days: int, login: str) -> None:
    write_status(store, login=login, login_valid_until=to_iso(round(time.time() + days * DAY) * 1000))
    answer = page.request("/health")
    assert answer.status == 503
    assert re.search("<dt>Login</dt><dd>(?:(?!days).)*expired(?:(?!days).)*</dd>", answer.text)
    assert "until somebody logs in" in answer.text
