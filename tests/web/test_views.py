"""Every view in real browsers, whatever the log holds and however the logger is."""

from __future__ import annotations

import re
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import TRACKDONE
from spotify_logger.storage.bulk import Archive
from tests.browser import NARROW, BrowserPage, accessibility_report, browser_page, chromium
from tests.conftest import wait_until
from tests.firefox import firefox
from tests.web.log import ORDINARY, QUO, WEIRD, fill, write_play, write_status
from tests.web.page import page_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from playwright.sync_api import Browser

    from spotify_logger.storage.embedded_server import EmbeddedServer

    Window = tuple[int, int, Literal["dark", "light"]]

STATES: dict[str, dict[str, Any]] = {
    "empty log": {},
    "one play": {"days": 1, "per_day": 1},
    "one year": {"days": 365},
    "ten years": {"days": 3652, "per_day": 2},
    "weird titles": {"days": 365, "items": WEIRD},
    "two listeners": {"days": 40},
    "dead login": {"days": 40, "status": {"login": "needed"}},
    "dead logger": {"days": 40, "status": {"ago": 7200}},
    "Redis away": {},
    "no covers": {"days": 40},
}
"""What `fill` and `write_status` get."""
WELCOME = ("empty log", "/")  # instead of a notice
URGENT = ("empty log", "dead login", "dead logger", "Redis away")
LAST_MONTH = Zone().day(time.time()) - timedelta(days=30)
VIEWS = (
    "/", "/recent", "/recent?device=Kitchen", f"/day/{Zone().day(time.time() - 7200)}",
    "/top/tracks", "/top/artists?all=1&by=time", f"/top/devices?since={LAST_MONTH}", "/top/contexts",
    "/chart?per=day", "/clock", f"/calendar/{LAST_MONTH.year}", f"/year/{LAST_MONTH.year}", "/stats?all=1",
    f"/month/{LAST_MONTH:%Y-%m}", "/track?q=track:quo", "/track?q=track:sentence", "/artist?q=Daft+Punk",
    "/album?q=Discovery", "/show?q=A+Show", "/search?q=daft+punk", "/search", "/compare", "/health",
    "/settings", "/offline",
)  # fmt: skip
LISTS = re.compile(r"/$|/(recent|top)\b")  # of which the first row is in the upper half of a phone
COVER_HOST = "i.scdn.co"
COVER = f"https://{COVER_HOST}/image/ab67616d0000b273{'5' * 24}"
OF_COVERS = (COVER_HOST, "ERR_NAME_NOT_RESOLVED")  # in messages about them
COVER_ANSWER = {"content_type": "image/svg+xml", "body": "<svg xmlns='http://www.w3.org/2000/svg'/>"}
LAYOUT = (Path(__file__).parent / "layout.js").read_text()
WINDOWS: Sequence[Window] = (
    (NARROW, 640, "light"),
    (390, 844, "dark"),
    (1280, 900, "light"),
    (1920, 1080, "dark"),
    (390, 844, "light"),
    (1280, 900, "dark"),
    (1920, 1080, "light"),
)
MOST_SHIFT = 0.02
FIRST_BYTES, CHANGED_BYTES = 400_000, 60_000
"""Limits of the size of the first view: all of it, and what is sent again."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(f"--host-resolver-rules=MAP {COVER_HOST} ~NOTFOUND") as browser:
        yield browser


@pytest.fixture(scope="module", params=STATES)
def served(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The name of a state, and the URL of its page."""
    state = request.param
    database = f"{redis_server.url.rpartition('/')[0]}/{[*STATES].index(state) + 1}"
    url = "redis://127.0.0.1:1/0" if state == "Redis away" else database
    if STATES[state]:
        about = {"items": ORDINARY, "status": {}, **STATES[state]}
        status = about.pop("status")
        fill(url, **about)
        with closing(Archive(url)) as store, store.batch() as batch:
            batch.write_hash(QUO.key, {"cover": COVER})
            if status:
                write_status(store, **status)
    if state == "two listeners":
        with closing(Archive(url, "ben:", listener="ben")) as other:
            other.register_listener()
            write_play(other, QUO, int(time.time()) - 9000, end=TRACKDONE)
    with page_process(url, tmp_path_factory.mktemp("page")) as address:
        yield state, address


def test_every_view(browser: Browser, served: tuple[str, str]) -> None:
    (state, address), wrong = served, list[str]()
    with browser_page(browser, address) as window:
        if state != "no covers":
            window.page.route(f"https://{COVER_HOST}/**", lambda route: route.fulfill(**COVER_ANSWER))
        for number, view in enumerate(VIEWS, [*STATES].index(state)):
            windows = [WINDOWS[(number + step) % len(WINDOWS)] for step in range(len(WINDOWS))]
            wrong += [f"{view}: {each}" for each in problems(window, state, view, windows) if each]
    assert not wrong, "\n".join(wrong)


def problems(window: BrowserPage, state: str, view: str, windows: Iterable[Window]) -> Iterator[str]:
    """Yield what is wrong with a view, loaded in the first of some windows and then shown in all of them."""
    page, is_loaded = window.page, False
    for width, height, theme in windows:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=theme)
        if not is_loaded:
            window.open(view)
        found = page.evaluate(LAYOUT)
        yield from (f"{width}, {theme}: {each}" for each in found["problems"])
        if not is_loaded and found["shift"] > MOST_SHIFT:
            yield f"{width}: moved by {found['shift']}"
        if width == 1920 and found["width"] < 1700:
            yield f"only {found['width']} pixels wide"
        is_list = width == 390 and state not in URGENT and LISTS.match(view)
        if is_list and (found["first_row"] or 0) > height / 2:
            yield f"the first row is at {found['first_row']}"
        is_loaded = True
    if view == "/" or state in ("weird titles", "two listeners"):
        yield accessibility_report(page)
    if page.locator("h1").count() != 1 or not page.title().endswith(" · Spotify Logger"):
        yield f"titled {page.title()}"
    is_expected = state in URGENT and view not in ("/health", "/offline") and (state, view) != WELCOME
    if page.locator("aside.urgent").is_visible() != is_expected:
        yield "a notice too many, or none"
    expected = [*OF_COVERS, *([f"status of {found['status']}"] if found["status"] >= 400 else [])]
    yield from (each for each in window.problems if not any(text in each for text in expected))
    window.problems.clear()


@pytest.mark.parametrize("served", ["ten years"], indirect=True)
def test_the_first_view_is_small(browser: Browser, served: tuple[str, str]) -> None:
    sizes = "() => performance.getEntries().map((each) => each.transferSize || 0)"
    with browser_page(browser, served[1]) as window:
        view, *files = window.open("/").evaluate(sizes)
        assert 0 < view <= CHANGED_BYTES
        assert 0 < sum(files) <= FIRST_BYTES - view


@pytest.mark.parametrize("served", ["two listeners"], indirect=True)
def test_firefox_shows_every_view_and_deletes_a_play(served: tuple[str, str]) -> None:
    with firefox(COVER_HOST) as window:
        for view in VIEWS:
            window.open(served[1] + view)
            assert (view, window.problems()) == (view, [])
            assert window.run("return document.documentElement.scrollWidth <= innerWidth"), view
        window.fill("#find", "daft")
        window.shows("Discovery")
        ground = "return getComputedStyle(document.body).backgroundColor"
        before = window.run(ground)
        window.choose_theme(dark=True)
        wait_until(lambda: window.run(ground) != before)
        window.press("Recent")
        window.shows("Recent plays")
        before = window.text
        window.press("×")  # noqa: RUF001 - what the button shows
        window.shows("You can bring these plays back")
        window.press("Undo")
        window.open(f"{served[1]}/recent")
        assert window.text == before
