"""Several listeners: each has a log of their own, and two can be compared."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.storage.bulk import Archive
from tests.indexed_log import CatalogItem
from tests.simulated_login import login_settings
from tests.web.log import QUO, write_play
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def add_listener(url: str, name: str) -> None:
    """Write a log of two plays: of a track that everybody plays, and of one that nobody else does."""
    with closing(Archive(url, f"{name}:" if name else "", listener=name)) as store:
        store.register_listener()
        write_play(store, QUO, 1_795_370_400, end="trackdone")
        write_play(store, CatalogItem(f"track:{name}", f"Song of {name}", [name or "Somebody"]))
        with store.batch() as batch:
            batch.write_status({"state": f"{name or 'somebody'} is idle"})


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    for name in ("anna", "ben"):
        add_listener(redis_url, name)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


def choose(page: PageClient, name: str) -> str:
    """Choose a listener and return the cookie that remembers the choice."""
    answer = page.post("/listener", f"listener={name}")
    assert answer.status == 303
    return answer.cookie


def test_shows_the_first_listener_until_another_is_chosen(page: PageClient) -> None:
    health = page.request("/health").text
    assert "anna is idle" in health
    assert "<title>Health · anna · Spotify Logger</title>" in health
    cookie = choose(page, "ben")
    assert "ben is idle" in page.request("/health", Cookie=cookie).text
    assert "anna is idle" in page.request("/health", Cookie=choose(page, "anna")).text
    for view in ("/", "/recent", "/top/tracks"):
        assert "Song of anna" in page.request(view).text
        text = page.request(view, Cookie=cookie).text
        assert "Song of ben" in text
        assert "Song of anna" not in text


def test_rejects_an_unknown_listener_and_a_cross_site_choice(page: PageClient) -> None:
    assert page.post("/listener", "listener=zoe").status == 400
    assert "anna is idle" in page.request("/health", Cookie="spotify_logger_listener=zoe").text
    assert page.request("/listener", "POST", b"listener=ben", Origin="http://evil.example").status == 403


def test_requests_of_an_open_page_keep_its_listener(page: PageClient) -> None:
    cookie = choose(page, "ben")
    assert "Song of ben" in page.request("/today", Cookie=cookie).text
    assert "Song of anna" in page.request("/today?listener=anna", Cookie=cookie).text
    assert 'data-listener="?listener=anna"' in page.request("/health").text
    refused = page.request("/live?listener=zoe", Cookie=cookie)
    assert refused.status == 400
    assert "no listener called zoe has a log here; listeners: anna, ben" in refused.text


def test_a_login_belongs_to_the_listener_of_its_page(redis_url: str, tmp_path: Path) -> None:
    for name in ("", "anna", "ben"):
        add_listener(redis_url, name)
    with serve_page(settings_for(redis_url, tmp_path, **login_settings("http://127.0.0.1:1"))) as page:
        assert 'action="/health/login?listener=-"' in page.request("/health").text
        cookie = choose(page, "ben")
        answer = page.post("/health/login?listener=-", "", Cookie=cookie)
        assert answer.headers["location"] == "/health?listener=-#login"
        waiting = [
            json.loads(page.request(f"/health/login{query}", Cookie=cookie).text)["waiting"]
            for query in ("?listener=-", "?listener=anna", "")
        ]
        assert waiting == [True, False, False]


def test_finds_a_new_listener(page: PageClient, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spotify_logger.web.live.SHARED_SECONDS", 0.0)
    page.request("/health")
    add_listener(redis_url, "")
    text = page.request("/health").text
    assert "somebody is idle" in text
    assert "(no name)" in text
    assert 'href="/compare?with=ben"' in page.request("/compare").text


def test_a_single_listener_has_no_choice(redis_url: str, tmp_path: Path) -> None:
    add_listener(redis_url, "")
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        text = page.request("/").text
        assert "/listener" not in text
        assert "/compare" not in text
        assert "listener=" not in page.request("/health").text
        answer = page.request("/compare")
        assert (answer.status, "Only one listener" in answer.text) == (200, True)
