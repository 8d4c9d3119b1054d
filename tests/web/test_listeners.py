"""Several listeners: each has a log of their own, and two can be compared."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.demo_catalog import make_demo_catalog
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.storage.store import Store
from tests.conftest import free_port
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("anna", "ben")


def begin(url: str, name: str, seed: int) -> None:
    """A log of four days."""
    store = Store(url, f"{name}:" if name else "", listener=name)
    store.register_listener()
    make_logged_history(seed, 4, time.time() - 3600, make_demo_catalog(5)).write(store.archive())
    with store.batch() as batch:
        batch.write_status({"state": f"{name or 'somebody'} hears nothing"})
    store.close()


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    for seed, name in enumerate(NAMES):
        begin(redis_url, name, seed)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


def chosen(page: PageClient, name: str) -> str:
    """The cookie that a browser gets for its choice."""
    answer = page.post("/listener", f"listener={name}")
    assert answer.status == 303
    return str(answer.headers["set-cookie"]).partition(";")[0]


def test_shows_the_first_listener_until_another_is_chosen(page: PageClient) -> None:
    assert "anna hears nothing" in page.request("/health").text
    assert "<title>Health · anna · Spotify Logger</title>" in page.request("/health").text
    cookie = chosen(page, "ben")
    assert "ben hears nothing" in page.request("/health", Cookie=cookie).text
    assert "anna hears nothing" in page.request("/health", Cookie=chosen(page, "anna")).text


def test_each_view_shows_the_chosen_listener(page: PageClient) -> None:
    cookie = chosen(page, "ben")
    for view in ("/", "/recent", "/top/tracks", "/chart", "/clock"):
        anna, ben = page.request(view), page.request(view, Cookie=cookie)
        assert (anna.status, ben.status) == (200, 200)
        assert anna.text != ben.text


def test_rejects_an_unknown_listener(page: PageClient) -> None:
    assert page.post("/listener", "listener=zoe").status == 400
    assert "anna hears nothing" in page.request("/health", Cookie="spotify_logger_listener=zoe").text


def test_requests_of_an_open_page_keep_its_listener(page: PageClient) -> None:
    anna, cookie = page.request("/today").text, chosen(page, "ben")
    assert page.request("/today", Cookie=cookie).text != anna
    assert page.request("/today?listener=anna", Cookie=cookie).text == anna
    assert 'data-listener="?listener=anna"' in page.request("/health").text
    assert page.request("/live?listener=zoe", Cookie=cookie).status == 400


def test_a_login_belongs_to_the_listener_of_its_page(redis_url: str, tmp_path: Path) -> None:
    for seed, name in enumerate(("", *NAMES)):
        begin(redis_url, name, seed)
    app = {
        "SPOTIFY_CLIENT_ID": "x",
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
    }
    with serve_page(settings_for(redis_url, tmp_path, **app)) as page:
        assert 'action="/health/login?listener=-"' in page.request("/health").text
        cookie = chosen(page, "ben")
        answer = page.post("/health/login?listener=-", "", Cookie=cookie)
        assert answer.headers["location"] == "/health?listener=-#login"

        def waits(query: str) -> bool:
            return bool(json.loads(page.request(f"/health/login{query}", Cookie=cookie).text)["waiting"])

        assert [waits(query) for query in ("?listener=-", "?listener=anna", "")] == [True, False, False]


def test_rejects_a_cross_site_choice(page: PageClient) -> None:
    assert page.request("/listener", "POST", b"listener=ben", Origin="http://evil.example").status == 403


def test_compares_two_listeners(page: PageClient) -> None:
    text = page.request("/compare").text
    assert "<h1>anna and ben" in text
    assert "artists in common" in text
    assert "anna, <a href=" in text
    assert "ben, <a href=" in text
    assert "<h1>ben and anna" in page.request("/compare?with=anna&by=time", Cookie=chosen(page, "ben")).text


def test_finds_a_new_listener(page: PageClient, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spotify_logger.web.listeners.NAMES_CACHE_SECONDS", 0.0)
    page.request("/health")
    begin(redis_url, "", 7)
    text = page.request("/health").text
    assert "somebody hears nothing" in text
    assert "(no name)" in text
    assert 'href="/compare?with=ben"' in page.request("/compare").text


def test_a_single_listener_has_no_choice(redis_url: str, tmp_path: Path) -> None:
    begin(redis_url, "", 1)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        text = page.request("/").text
        assert "/listener" not in text
        assert "/compare" not in text
        assert "listener=" not in page.request("/health").text
        assert page.request("/compare").status == 400


def test_a_listener_without_a_log(redis_url: str, tmp_path: Path) -> None:
    with serve_page(settings_for(redis_url, tmp_path, LISTENER="anna")) as page:
        assert page.request("/").status == 200


def test_redis_is_away(tmp_path: Path) -> None:
    with serve_page(settings_for("redis://127.0.0.1:1", tmp_path)) as page:
        assert page.request("/").status == 503
