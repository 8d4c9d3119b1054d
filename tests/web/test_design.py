"""Covers and the color of what plays, and the page as an app: installed, and offline."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import TRACKDONE
from spotify_logger.storage.bulk import Archive
from tests.browser import BrowserPage, browser_page, chromium
from tests.indexed_log import CatalogItem
from tests.web.log import QUO, write_play, write_status
from tests.web.page import page_process, served_url, start_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Route

COVER = "https://i.scdn.co/image/ab67616d0000b273" + "5" * 24
SINGLE = CatalogItem("track:single", "A Single", ["Daft Punk"], "A Single", "single", "XX9")
ORANGE = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><path d='M0 0h9v9H0z' fill='#f80'/></svg>"
)
CORS = {"access-control-allow-origin": "*"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def window(browser: Browser, redis_url: str, tmp_path: Path) -> Iterator[BrowserPage]:
    """A window on a page on which a track with a cover plays, and its artist was played before."""
    now = int(time.time())
    with closing(Archive(redis_url)) as store:
        write_play(store, SINGLE, now - 9000, end=TRACKDONE)
        for number in range(3):
            write_play(store, QUO, now - 8000 + 1000 * number, end=TRACKDONE)
        write_play(store, QUO)
        with store.batch() as batch:
            batch.write_hash(QUO.key, {"cover": COVER})
        write_status(store, next_in=3600)
    with page_process(redis_url, tmp_path) as address, browser_page(browser, address, worker=True) as window:
        yield window


class TestCovers:
    def test_a_letter_is_shown_for_a_cover_that_does_not_load(
        self, browser: Browser, window: BrowserPage
    ) -> None:
        with browser_page(browser, window.address, script=False) as without_scripts:
            page = without_scripts.page
            page.route("https://i.scdn.co/**", lambda route: route.abort())
            without_scripts.open("/")
            cover = page.locator(".now .cover")
            assert cover.inner_text() == "V"
            assert cover.locator("img").count() == 1
            shown = cover.screenshot()
            cover.locator("img").evaluate("image => image.remove()")
            assert cover.screenshot() == shown

    def test_the_card_takes_the_color_of_a_cover_that_may_be_read(self, window: BrowserPage) -> None:
        self.serve_covers(window, CORS)
        page = window.open("/")
        page.wait_for_selector("#now.tinted")
        hue = float(page.evaluate("() => document.getElementById('now').style.getPropertyValue('--hue')"))
        assert 20 < hue < 45
        self.serve_covers(window, {"access-control-allow-origin": "https://music.example"})
        page = window.open("/")
        page.wait_for_function("() => document.querySelector('.now .cover img').naturalWidth > 0")
        assert page.locator("#now.tinted").count() == 0

    def test_an_artist_has_the_cover_of_the_album_played_most(self, window: BrowserPage) -> None:
        self.serve_covers(window, CORS)
        for view in ("/", "/top/artists", "/year", "/artist?q=daft+punk"):
            page = window.open(view)
            images = page.locator("main :is(.item-header, li:has(a[href*='/artist'].name)) .cover img")
            assert str(images.first.get_attribute("src")).startswith("https://i.scdn.co/"), view

    @staticmethod
    def serve_covers(window: BrowserPage, headers: dict[str, str]) -> None:
        def answer(route: Route) -> None:
            route.fulfill(content_type="image/svg+xml", body=ORANGE, headers=headers)

        window.page.unroute_all()
        window.page.route("https://i.scdn.co/**", answer)


def test_the_page_can_be_installed(window: BrowserPage) -> None:
    page = window.open("/")
    page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
    tools = page.context.new_cdp_session(page)
    manifest = tools.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert '"display": "standalone"' in manifest["data"]
    found = tools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each for each in found if each["errorId"] != "in-incognito"] == []  # as all windows of tests are


def test_a_page_of_its_own_is_shown_until_the_server_is_back(
    browser: Browser, redis_url: str, tmp_path: Path
) -> None:
    with start_page(redis_url, tmp_path) as process:
        address = served_url(process)
        with browser_page(browser, address, worker=True) as window:
            page = window.open("/health")
            page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
            process.terminate()
            process.wait()
            window.open("/recent")
            assert "Cannot reach the server" in page.inner_text("main")
            assert (
                page.evaluate("() => getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"
            )
            arguments = ("--port", address.rpartition(":")[2])
            with start_page(redis_url, tmp_path, *arguments) as again:
                served_url(again)
                page.get_by_role("heading", name="Recent plays").wait_for()
                again.terminate()
            # Nothing of the log is kept.
            kept = page.evaluate(
                """async () => {
                    const found = await Promise.all((await caches.keys()).map((name) => caches.open(name)));
                    const requests = (await Promise.all(found.map((each) => each.keys()))).flat();
                    return requests.map((request) => new URL(request.url).pathname);
                }"""
            )
            assert {path for path in kept if not path.startswith("/static/")} == {"/offline"}
