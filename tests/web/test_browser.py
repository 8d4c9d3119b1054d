"""The page in a real browser: layout, accessibility and keyboard."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import SKIPPED, TRACKDONE
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.storage.store import Store
from spotify_logger.web.listeners import LISTENER_COOKIE
from tests.browser import NARROW, BrowserPage, browser_page, chromium, skip_or_fail
from tests.conftest import free_port, start_server, wait_until
from tests.indexed_log import CatalogItem, IndexedLog
from tests.web.page import page_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from spotify_logger.storage.embedded_server import EmbeddedServer

HOSTILE = """<script>document.title="caught"</script><img src=x onerror="alert('caught')">"""
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
AERO = CatalogItem("track:aero", "Aerodynamic", ["Daft Punk"], "Discovery", "d", "GBDUW0000062")
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Moon Safari", "m", "FRZ")
BAD = CatalogItem("track:bad", HOSTILE, [HOSTILE], HOSTILE, "bad", "XX1")
FAR = CatalogItem("track:far", LONG, [LONG], LONG, "far", "XX2")
RIGHT = CatalogItem("track:right", "\u202eطائر الليل", ["فيروز"], "ليل 🌙", "right", "XX3")  # noqa: RUF001 - Arabic
EPISODE = CatalogItem("episode:e", "On Daft Punk", [], "A Show")
ITEMS = (QUO, AERO, SEXY, BAD, FAR, RIGHT, EPISODE)
TODAY = Zone().day(time.time())

VIEWS = (
    "/",
    "/recent",
    f"/day/{TODAY - timedelta(days=1)}",
    "/top/tracks",
    "/top/artists?all=1&by=time",
    "/top/shows",
    "/chart?per=day",
    "/chart?per=month&all=1&by=plays",
    "/clock",
    f"/calendar/{(TODAY - timedelta(days=30)).year}",
    f"/year/{(TODAY - timedelta(days=30)).year}",
    "/track?q=track:quo",
    "/track?q=track:far",
    "/artist?q=Daft+Punk",
    "/album?q=Discovery",
    "/search?q=veridis+quo",
    "/search?q=nothing+of+it",
    "/compare?with=ben",
    "/health",
)


class Served:
    """A page that is served, and the log behind it.

    Attributes:
        address: Where, without a slash at the end.
        url: Where its Redis is.
        store: Writes plays.
    """

    def __init__(self, address: str, url: str) -> None:
        self.address = address
        self.url = url
        self.store = Store(url)

    def play(self, item: CatalogItem, **more: object) -> None:
        """Something plays now, and has done so for a minute."""
        now = time.time()
        second = int(now) - 60
        fields: dict[str, Any] = {
            "id": item.key.partition(":")[2],
            "type": "track",
            "uri": f"spotify:{item.key}",
            "name": item.name,
            "artists": ", ".join(item.artists),
            "album": item.album,
            "duration_ms": 345_000,
            "progress_ms": 60_000,
            "playing": 1,
            "device_name": "Kitchen",
            "started_at": to_iso(second * 1000),
            "ended_at": to_iso(round(now * 1000)),
            "ms_played": 60_000,
            "source": "live",
            **more,
        }
        with self.store.batch() as batch:
            batch.write_play(second, fields, f"{item.key} 60000 open")
            batch.set_now_playing(second, 600)

    def stop(self) -> None:
        self.poll(0)

    def poll(self, ago: float) -> None:
        """The logger has seen so many seconds ago that nothing plays, and was to look again an hour later."""
        polled = time.time() - ago
        with self.store.batch() as batch:
            batch.clear_now_playing()
            batch.write_status(
                {
                    "last_poll": to_iso(round(polled * 1000)),
                    "next_poll": to_iso(round((polled + 3600) * 1000)),
                }
            )


def fill(url: str) -> None:
    """A year of plays, of all kinds, with gaps, and a logger that is well."""
    zone = Zone()
    log = IndexedLog(url, zone, f"{zone.local(time.time()):%Y-%m-%d %H:%M}")
    now = int(time.time())
    plays = []
    for day in range(400):
        for number in range(4):
            item = ITEMS[(day * (number + 3) + number) % len(ITEMS)]
            is_skip = (day + number) % 5 == 0
            second = now - 7200 - 86_400 * day - 600 * number
            plays.append((item, second, 12 if is_skip else 200, SKIPPED if is_skip else TRACKDONE))
    log.all(plays)
    with log.store.batch() as batch:
        for item, second, heard, end in plays[:200]:
            kind, _, identity = item.key.partition(":")
            fields: dict[str, Any] = {
                "id": identity,
                "type": kind,
                "uri": f"spotify:{item.key}",
                "name": item.name,
                "artists": ", ".join(item.artists),
                "album": item.album,
                "duration_ms": 240_000,
                "device_name": "Kitchen",
                "started_at": to_iso(second * 1000),
                "ended_at": to_iso((second + int(heard)) * 1000),
                "ms_played": round(heard * 1000),
                "end_reason": end,
                "source": "live",
            }
            batch.write_play(second, fields, f"{item.key} {round(heard * 1000)} {end}")
        gap = {
            "from": to_iso((now - 90_000) * 1000),
            "to": to_iso((now - 87_000) * 1000),
            "reason": "offline",
        }
        batch.write_gap(now - 90_000, gap)
        batch.write_status(
            {
                "last_poll": to_iso(now * 1000),
                "next_poll": to_iso((now + 3600) * 1000),
                "login_valid_until": to_iso((now + 86_400 * 100) * 1000),
                "state": "nothing plays",
                "requests_24h": 2000,
                "outbox": 0,
                "version": "0",
            }
        )
    log.store.close()
    other = Store(url, "ben:", listener="ben")
    other.register_listener()
    make_logged_history(1, 5, time.time() - 3600).write(other.archive())
    other.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = start_server(tmp_path_factory.mktemp("redis"))
    fill(server.url)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def served(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page_process(server.url, tmp_path_factory.mktemp("page")) as address:
        served = Served(address, server.url)
        yield served
        served.store.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def window(browser: Browser, served: Served) -> Iterator[BrowserPage]:
    """A desktop window, in which no errors may occur."""
    with browser_page(browser, served.address) as window:
        yield window
        assert window.problems == []


def text(page: Page, selector: str = "main") -> str:
    return page.inner_text(selector)


def shown_text(page: Page, selector: str, wanted: str) -> None:
    """Wait until something says so."""
    page.wait_for_function(
        "([selector, wanted]) => document.querySelector(selector)?.innerText.includes(wanted)",
        arg=[selector, wanted],
    )


SHIFT = """() => new Promise((resolve) => {
    let sum = 0;
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
        .observe({ type: "layout-shift", buffered: true });
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(sum), 50)));
})"""
"""By how much something moved while the page loaded, as browsers measure it."""


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_loads_without_errors_fits_and_is_accessible(window: BrowserPage, view: str) -> None:
    page = window.open(view)
    assert page.locator("h1").count() == 1
    assert page.title().endswith(" · Spotify Logger")
    assert page.evaluate(SHIFT) < 0.02
    assert window.overflow() <= 0
    assert complaints(page) == ""
    page.set_viewport_size({"width": NARROW, "height": 640})
    page.emulate_media(color_scheme="dark")
    assert window.overflow() <= 0  # what is wider than a telephone is in a box that scrolls
    assert complaints(page) == ""


def complaints(page: Page) -> str:
    """What an accessibility checker finds."""
    try:
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - not for every machine
    except ImportError:
        skip_or_fail("no axe on this machine: pip install axe-playwright-python")
    found = Axe().run(page)
    return found.generate_report() if found.violations_count else ""


@pytest.mark.parametrize("view", ["/", "/chart", f"/calendar/{TODAY.year}", "/health", "/search?q=a"])
def test_pages_are_readable_without_scripts(browser: Browser, served: Served, view: str) -> None:
    with browser_page(browser, served.address, script=False) as window:
        assert len(window.open(view).inner_text("main")) > 100


def test_a_hostile_title_stays_text(window: BrowserPage) -> None:
    for view in (
        "/",
        "/recent",
        "/top/tracks?all=1",
        "/top/artists?all=1",
        "/track?q=track:bad",
        "/search?q=script",
    ):
        page = window.open(view)
        assert HOSTILE in page.inner_text("body")
        assert page.locator("main script:not([type])").count() == 0
        assert page.locator("img[src=x]").count() == 0
    page = window.open(f"/artist?q={'%3Cscript%3E'}")
    assert "<script>" in page.inner_text("main")


class TestNow:
    def test_updates_what_is_playing(self, window: BrowserPage, served: Served) -> None:
        served.stop()
        page = window.open("/")
        shown_text(page, "main", "Nothing is playing")
        served.play(QUO)
        shown_text(page, "main", "Veridis Quo")
        shown_text(page, "main", "Kitchen")
        served.play(QUO, playing=0)
        shown_text(page, "main", "aused")
        served.play(BAD)
        shown_text(page, "main", HOSTILE)
        served.stop()
        shown_text(page, "main", "Nothing is playing")

    def test_shows_that_the_logger_stopped_and_came_back(self, window: BrowserPage, served: Served) -> None:
        served.stop()
        page = window.open("/")
        shown_text(page, "#now", "Nothing is playing")
        served.poll(7200)
        shown_text(page, "#now", "Unknown since")
        shown_text(page, "#now", "is not running")
        page = window.open("/")
        shown_text(page, "#now", "Unknown since")
        served.play(QUO)
        served.stop()
        shown_text(page, "#now", "Nothing is playing")

    def test_an_open_page_stays_with_its_listener_when_another_window_chooses_one(
        self, window: BrowserPage, served: Served
    ) -> None:
        page = window.open("/")
        page.context.add_cookies([{"name": LISTENER_COOKIE, "value": "ben", "url": served.address}])
        page.evaluate("() => { dispatchEvent(new Event('pagehide')); }")
        page.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')); }")
        served.play(QUO)
        shown_text(page, "#now", "Veridis Quo")
        served.stop()

    def test_position_advances_locally(self, window: BrowserPage, served: Served) -> None:
        served.play(QUO)
        page = window.open("/")
        read = "() => Number(document.querySelector('main progress').value)"
        before = page.evaluate(read)
        page.wait_for_function(f"(before) => ({read})() > before", arg=before)
        served.stop()

    def test_a_finished_play_appears_in_the_list_of_today(self, window: BrowserPage, served: Served) -> None:
        served.stop()
        page = window.open("/")
        shown_text(page, "main", "Nothing is playing")
        unheard = CatalogItem("track:unheard", "Never heard before", ["Nobody"])
        served.play(unheard, end_reason="trackdone")
        shown_text(page, "main", "Never heard before")
        second = served.store.latest_play()
        assert second is not None
        served.stop()


class TestSearch:
    def test_counts_plays(self, window: BrowserPage, served: Served) -> None:
        page = window.open("/")
        page.keyboard.press("Tab")
        page.get_by_role("searchbox").first.fill("veridis quo")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=veridis+quo")
        (plays,) = re.findall(r"([\d,]+) times", text(page, ".answer-words"))
        done = subprocess.run(
            [sys.executable, "-m", "spotify_logger", "count", "--json", "veridis quo"],
            env={**os.environ, "REDIS_URL": served.url},
            capture_output=True,
            check=True,
        )
        assert int(plays.replace(",", "")) == json.loads(done.stdout)["plays"] > 0

    def test_results_link_to_item_pages(self, window: BrowserPage) -> None:
        page = window.open("/search?q=veridis+quo")
        page.locator("main a", has_text="Veridis Quo").first.click()
        page.wait_for_url("**/track?q=*")
        assert "Veridis Quo" in page.inner_text("h1")
        page.locator("main a", has_text="Daft Punk").first.click()
        page.wait_for_url("**/artist?q=*")
        assert page.inner_text("h1") == "Daft Punk"


class TestChart:
    # The share of pixels that are painted; they are read once, for browsers complain of who does it again.
    MARKS = """() => {
        const canvas = document.getElementById("course");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let marks = 0;
        for (let at = 3; at < pixels.length; at += 4) marks += pixels[at] > 200;
        return marks / (pixels.length / 4);
    }"""

    DRAWN = "() => Chart.getChart('course')?.getDatasetMeta(0).data.some((bar) => bar.height > 50)"

    def test_draws_the_chart(self, window: BrowserPage) -> None:
        page = window.open("/chart?per=week")
        page.wait_for_function(self.DRAWN)
        assert page.evaluate(self.MARKS) > 0.1

    def range(self, page: Page) -> str:
        return page.inner_text("#course-range")

    def changed(self, page: Page, before: str) -> str:
        page.wait_for_function(
            "(before) => document.getElementById('course-range').innerText !== before", arg=before
        )
        return self.range(page)

    def test_zooms_by_buttons(self, window: BrowserPage) -> None:
        page = window.open("/chart?per=day")
        page.wait_for_selector("#course-tools:not([hidden])")
        page.wait_for_function("() => !document.getElementById('course-range').innerText.includes(' by ')")
        whole = self.range(page)
        page.get_by_role("button", name="Zoom in").click()
        part = self.changed(page, whole)
        page.get_by_role("button", name="Earlier").click()
        self.changed(page, part)
        page.get_by_role("button", name="All").click()
        page.wait_for_function(
            "(whole) => document.getElementById('course-range').innerText === whole", arg=whole
        )

    def test_zooms_by_keys_wheel_and_mouse(self, window: BrowserPage) -> None:
        page = window.open("/chart?per=day")
        page.wait_for_function("() => !document.getElementById('course-range').innerText.includes(' by ')")
        shown = self.range(page)
        page.focus("#course-box")
        for key in ("+", "ArrowLeft", "0"):
            page.keyboard.press(key)
            shown = self.changed(page, shown)
        box = page.locator("#course").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.wheel(0, -300)
        shown = self.changed(page, shown)
        page.mouse.move(box["x"] + box["width"] * 0.4, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
        page.mouse.up()
        self.changed(page, shown)

    def test_shows_a_tooltip(self, window: BrowserPage) -> None:
        page = window.open("/chart?per=week")
        page.wait_for_function(self.DRAWN)
        page.locator("#course").hover()
        page.wait_for_function("() => Chart.getChart('course').tooltip.opacity > 0")
        tooltip = page.evaluate(
            "() => Chart.getChart('course').tooltip.body.flatMap((part) => part.lines).join(' ')"
        )
        assert "play" in tooltip


class TestCalendar:
    def test_arrows_move_from_day_to_day(self, window: BrowserPage) -> None:
        day = TODAY - timedelta(days=30)
        page = window.open(f"/calendar/{day.year}")
        link = page.locator(f"a[href='/day/{day}']").first
        link.focus()
        page.keyboard.press("ArrowRight")
        focused = page.evaluate("() => document.activeElement.getAttribute('href')")
        assert focused not in (None, f"/day/{day}")
        page.keyboard.press("Enter")
        page.wait_for_url("**/day/*")

    def test_tab_skips_most_days(self, window: BrowserPage) -> None:
        page = window.open(f"/calendar/{(TODAY - timedelta(days=30)).year}")
        assert page.locator("a[href^='/day/']:not([tabindex='-1'])").count() < 30


def test_a_year_is_saved_as_an_image(window: BrowserPage) -> None:
    year = (TODAY - timedelta(days=30)).year
    page = window.open(f"/year/{year}")
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save as image").or_(
            page.get_by_role("button", name="Save as image")
        ).click()
    assert saving.value.suggested_filename == f"spotify-{year}.png"
    image = saving.value.path().read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(image[16:20]) >= 1080
    assert len(image) > 20_000


class TestKeyboard:
    def test_skip_link_leads_to_the_content(self, window: BrowserPage) -> None:
        page = window.open("/top/tracks")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.innerText") == "Skip to content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.getElementById('main').contains(document.activeElement)")

    def test_focus_is_visible(self, window: BrowserPage) -> None:
        page = window.open("/")
        outline = (
            "() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle; }"
        )
        for _ in range(12):
            page.keyboard.press("Tab")
            assert page.evaluate(outline) != "none"


def test_renews_an_expired_login(browser: Browser, tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")
    accounts = SimulatorServer(Service(listen(1, 0.1)))
    thread = threading.Thread(target=accounts.serve_forever, args=(0.01,))
    thread.start()
    now = time.time()
    with closing(Store(server.url)) as store, store.batch() as batch:
        batch.write_status(
            {
                "last_poll": to_iso(round(now * 1000)),
                "next_poll": to_iso(round(now + 600) * 1000),
                "login": "needed",
            }
        )
    more = {
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
        "SPOTIFY_ACCOUNTS_URL": accounts.url,
    }
    try:
        with page_process(server.url, tmp_path, **more) as address, browser_page(browser, address) as window:
            page = window.open("/health")
            shown_text(page, "main", "the login has expired")
            page.get_by_role("button", name="Log in with Spotify").click()
            with page.expect_popup() as opening:
                page.get_by_role("link", name="Open Spotify").click()
            shown_text(opening.value, "body", "The answer has arrived")
            shown_text(page, "#login", "You are logged in")
            assert (tmp_path / "token.json").exists()
            assert [
                problem for problem in window.problems if "503" not in problem
            ] == []  # it needs attention
    finally:
        accounts.shutdown()
        thread.join()
        accounts.server_close()
        server.stop()


def test_recovers_when_redis_comes_back(browser: Browser, tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")
    fill(server.url)
    with page_process(server.url, tmp_path) as address, browser_page(browser, address) as window:
        server.stop()
        page = window.open("/")
        assert "cannot be reached" in text(page)
        assert window.open("/health").locator("h1").count() == 1
        server.start()
        wait_until(lambda: "cannot be reached" not in text(window.open("/recent")))
        server.stop()
