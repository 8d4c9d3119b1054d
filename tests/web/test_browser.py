"""The page in a real browser: layout, accessibility and keyboard."""

from __future__ import annotations

import re
import time
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.times import seconds_of
from spotify_logger.storage.bulk import Archive
from tests.browser import NARROW, WIDE, BrowserPage, accessibility_report, browser_page, chromium
from tests.conftest import start_server
from tests.exports import A, extended, write
from tests.indexed_log import CatalogItem
from tests.web.log import BAD, HOSTILE, ORDINARY, QUO, WEIRD, fill, write_play, write_status
from tests.web.page import page_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Route

TODAY = Zone().day(time.time())


class ServedLog(NamedTuple):
    """A log whose page is served."""

    store: Archive
    address: str

    def play(self, item: CatalogItem, **more: object) -> None:
        write_play(self.store, item, **more)  # type: ignore[arg-type]

    def stop(self, ago: float = 0.0) -> None:
        """Report that nothing played so many seconds ago, and that the next poll was due an hour later."""
        with self.store.batch() as batch:
            batch.clear_now_playing()
        write_status(self.store, ago, 3600)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedLog]:
    server = start_server(tmp_path_factory.mktemp("redis"))
    fill(server.url, 400, (*ORDINARY, *WEIRD))
    with (
        closing(Archive(server.url)) as store,
        page_process(server.url, tmp_path_factory.mktemp("page")) as address,
    ):
        yield ServedLog(store, address)
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def only_window(browser: Browser, served: ServedLog) -> Iterator[BrowserPage]:
    with browser_page(browser, served.address) as window:
        yield window


@pytest.fixture
def window(only_window: BrowserPage) -> Iterator[BrowserPage]:
    """A desktop window, in which no errors may occur."""
    only_window.page.set_viewport_size({"width": WIDE, "height": 900})
    yield only_window
    assert only_window.problems == []


def wait_for_text(page: Page, selector: str, wanted: str) -> None:
    page.wait_for_function(
        "([selector, wanted]) => document.querySelector(selector)?.innerText.includes(wanted)",
        arg=[selector, wanted],
    )


def test_pages_are_readable_without_scripts(browser: Browser, served: ServedLog) -> None:
    with browser_page(browser, served.address, script=False) as window:
        for view in ("/", "/chart", f"/calendar/{TODAY.year}", "/health"):
            assert len(window.open(view).inner_text("main")) > 100


def test_an_artist_is_hidden_and_shown_again(window: BrowserPage) -> None:
    page = window.open("/artist?q=Air")
    page.get_by_role("button", name="Hide from statistics").click()
    page.get_by_role("heading", name="Hidden from statistics").wait_for()
    assert accessibility_report(page) == ""
    assert "Sexy Boy" not in window.open("/top/tracks").locator("main").inner_text()
    page.goto(window.address + "/settings")
    page.get_by_role("listitem").filter(has_text="Air").get_by_role("button", name="Show again").click()
    page.get_by_text("Nothing is hidden").wait_for()
    assert "Sexy Boy" in window.open("/top/tracks").locator("main").inner_text()


@pytest.mark.parametrize("way", ["drop", "choose", "without scripts"])
def test_files_are_imported(browser: Browser, served: ServedLog, tmp_path: Path, way: str) -> None:
    rows = [extended(A, 600 * number + 86_400 * len(way), 100) for number in range(3)]
    path = write(tmp_path / "history.json", rows)
    with browser_page(browser, served.address, script=way != "without scripts") as window:
        page = window.open("/settings")
        if way == "drop":
            files = page.evaluate_handle(
                "text => { const data = new DataTransfer();"
                " data.items.add(new File([text], 'history.json')); return data; }",
                path.read_text(),
            )
            page.dispatch_event("#upload", "dragover", {"dataTransfer": files})
            page.dispatch_event("#upload", "drop", {"dataTransfer": files})
        else:
            page.get_by_label("Files").set_input_files(path)
            page.get_by_role("button", name="Import").click()
        page.get_by_text("Imported.", exact=True).wait_for()
        assert "3 rows in 1 file" in page.locator("pre").inner_text()
        assert window.overflow() <= 0
        assert window.problems == []
        if way == "drop":
            assert accessibility_report(page) == ""
        path = write(tmp_path / "wrong.json", [{"some": "thing"}])
        page.get_by_label("Files").set_input_files(path)
        page.get_by_role("button", name="Import").click()
        page.get_by_text("wrong.json: contains no plays in a known format").wait_for()


def test_settings_are_kept_by_this_browser_only(browser: Browser, served: ServedLog) -> None:
    with browser_page(browser, served.address) as window:
        page = window.open("/settings")
        page.get_by_label("Time zone").fill("Pacific/Auckland")
        page.get_by_label("Count plays").select_option("finished")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Times are in Pacific/Auckland. Plays heard to the end count.").wait_for()
        first = window.open("/recent").locator(".play time").first
        stamp, shown = first.get_attribute("datetime"), first.inner_text()
        local = Zone("Pacific/Auckland").local(seconds_of(stamp) or 0)
        assert shown == f"{local:%H:%M}"
        assert page.locator(".day-card h2 a").first.get_attribute("href") == f"/day/{local:%Y-%m-%d}"
        assert window.problems == []
    with browser_page(browser, served.address) as another:
        assert another.open("/settings").get_by_label("Time zone").input_value() == ""


@pytest.mark.parametrize("view", ["/search?q=air+", "/search?q=", "/track?q=", "/day/"])
def test_one_long_word_does_not_widen_the_page(browser: Browser, served: ServedLog, view: str) -> None:
    word = "x" * 190
    with browser_page(browser, served.address, width=NARROW) as window:
        assert word in window.open(view + word).locator("main").inner_text()
        assert window.overflow() <= 0


def test_a_play_is_deleted_and_brought_back_without_scripts(browser: Browser, served: ServedLog) -> None:
    with browser_page(browser, served.address, width=NARROW, script=False) as window:
        page = window.open("/recent")
        delete = page.locator("button.delete").first
        key = delete.get_attribute("value") or ""
        delete.click()
        undo = page.get_by_role("button", name="Undo")
        assert (undo.get_attribute("value"), served.store.hash(key)) == (key, {})
        assert window.overflow() <= 0
        undo.click()
        page.locator(f"button.delete[value='{key}']").wait_for()
        assert served.store.hash(key)["started_at"]
        assert window.problems == []


class TestNowPlayingCard:
    def test_shows_each_change(self, window: BrowserPage, served: ServedLog) -> None:
        served.stop()
        second = int(time.time()) - 60
        page = window.open("/")
        wait_for_text(page, "#now", "Nothing is playing")
        served.play(QUO, second=second)
        wait_for_text(page, "#now", "Veridis Quo")
        hrefs = "(found) => found.map((link) => link.getAttribute('href'))"
        led = page.locator("#now a").evaluate_all(hrefs)
        assert [link.partition("?")[0] for link in led] == ["/album", "/track", "/artist", "/recent"]
        assert window.open("/").locator("#now a").evaluate_all(hrefs) == led
        position = "() => Number(document.querySelector('main progress').value)"
        page.wait_for_function(f"(before) => ({position})() > before", arg=page.evaluate(position))
        served.play(QUO, second=second, playing=0)
        wait_for_text(page, "#now", "Paused")
        served.play(BAD, second=second + 1)
        wait_for_text(page, "#now", HOSTILE)
        served.stop()
        wait_for_text(page, "#now", "Nothing is playing")
        served.stop(ago=7200)
        wait_for_text(page, "#now", "Unknown since")

    def test_a_finished_play_appears_in_the_list_of_today(
        self, window: BrowserPage, served: ServedLog
    ) -> None:
        served.stop()
        page = window.open("/")
        served.play(CatalogItem("track:new", "Never heard before", ["Nobody"]), end_reason=TRACKDONE)
        wait_for_text(page, "main", "Never heard before")
        served.stop()


class TestChart:
    def changed_range(self, page: Page, before: str) -> str:
        """Wait until the chart shows another range, and return that."""
        page.wait_for_function(
            "(before) => document.getElementById('course-range').innerText !== before", arg=before
        )
        return page.inner_text("#course-range")

    @pytest.fixture
    def page(self, window: BrowserPage) -> Page:
        """The chart by day, zoomed to its last part."""
        page = window.open("/chart?per=day")
        page.wait_for_selector("#course-tools:not([hidden])")
        page.wait_for_function("() => !document.getElementById('course-range').innerText.includes(' by ')")
        return page

    def test_draws_bars_with_tooltips(self, window: BrowserPage) -> None:
        page = window.open("/chart?per=week")
        page.wait_for_function(
            "() => Chart.getChart('course')?.getDatasetMeta(0).data.some((bar) => bar.height > 50)"
        )
        page.locator("#course").hover()
        page.wait_for_function("() => Chart.getChart('course').tooltip.opacity > 0")

    def test_zooms_by_buttons_keys_wheel_and_mouse(self, page: Page) -> None:
        shown = page.inner_text("#course-range")
        for name in ("Zoom in", "Earlier", "All"):
            page.get_by_role("button", name=name).click()
            shown = self.changed_range(page, shown)
        page.focus("#course-box")
        for key in ("+", "ArrowLeft", "0"):
            page.keyboard.press(key)
            shown = self.changed_range(page, shown)
        box = page.locator("#course").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.wheel(0, -300)
        shown = self.changed_range(page, shown)
        page.mouse.move(box["x"] + box["width"] * 0.4, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
        page.mouse.up()
        self.changed_range(page, shown)

    def test_the_zoom_is_in_the_url_for_links_and_the_back_button(self, page: Page) -> None:
        whole = page.inner_text("#course-range")
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_url("**zoom=**")
        zoomed = page.inner_text("#course-range")
        page.get_by_role("button", name="Later").click()
        later = self.changed_range(page, zoomed)
        assert later.startswith(f"{shown_day(re.findall(r'zoom=([^.]+)', page.url)[0])} to ")
        page.go_back()
        assert self.changed_range(page, later) == zoomed
        page.reload()
        page.wait_for_function(
            "text => document.getElementById('course-range').innerText === text", arg=zoomed
        )
        assert f"zoom={page.url.partition('zoom=')[2]}" in str(
            page.get_by_role("link", name="per month").get_attribute("href")
        )
        page.go_back()
        assert self.changed_range(page, zoomed) == whole

    @pytest.mark.parametrize("per", ["day", "week", "month"])
    def test_a_click_on_a_bar_opens_its_period(self, window: BrowserPage, per: str) -> None:
        window.page.emulate_media(reduced_motion="reduce")  # bars do not move
        page = window.open(f"/chart?per={per}")
        bar = "Chart.getChart('course')?.getDatasetMeta(0).data.at(-4)"
        page.wait_for_function(f"() => {bar}?.x > 0")
        box = page.locator("#course").bounding_box()
        assert box is not None
        place = page.evaluate(f"() => [{bar}.x, {bar}.y + 5]")
        row = page.locator(".figures-table tbody a").nth(3)
        wanted = str(row.get_attribute("href"))
        page.mouse.click(box["x"] + place[0], box["y"] + place[1])
        page.wait_for_url("**/day/*" if per == "day" else "**/chart?since=*")
        opened = dict(re.findall(r"(since|until)=([^&]+)", page.url))
        if per == "day":
            assert page.url.endswith(wanted)
        elif per == "week":
            assert opened == dict(re.findall(r"(since|until)=([^&]+)", wanted))
        else:
            assert opened["since"] == wanted.partition("month=")[2].partition("&")[0] + "-01"
        page.emulate_media(reduced_motion="no-preference")


def shown_day(iso: str) -> str:
    return f"{date.fromisoformat(iso):%-d %b %Y}"


def test_the_sheet_and_the_search_field_of_a_phone_open_without_scripts(
    browser: Browser, served: ServedLog
) -> None:
    with browser_page(browser, served.address, width=390, height=844, script=False) as window:
        assert window.open("/recent?device=Kitchen").inner_text("h1") == "Plays · device Kitchen"
        page = window.open("/top/tracks")
        tops = "(found) => found.map((each) => each.getBoundingClientRect().top)"
        before = page.locator("#find, main").evaluate_all(tops)
        page.locator("#find").focus()
        assert page.locator("#find").evaluate("(input) => input.offsetWidth") > 195
        assert page.locator("#find, main").evaluate_all(tops) == before
        choice = page.get_by_role("link", name="last 30 days")
        assert not choice.is_visible()
        page.get_by_role("button", name="Period and filters").click()
        choice.click()
        page.wait_for_url("**since=**")
        page.get_by_text("More", exact=True).click()
        page.get_by_role("link", name="Calendar").click()
        page.wait_for_url("**/calendar")
        assert window.problems == []


class TestSearch:
    def test_suggestions_are_chosen_by_keyboard(self, window: BrowserPage) -> None:
        page = window.open("/recent")
        page.keyboard.press("/")
        page.keyboard.type("da")
        page.wait_for_selector(".found [role=option]")
        groups = page.eval_on_selector_all(".found [role=group]", "all => all.map((each) => each.ariaLabel)")
        assert groups == ["Tracks", "Artists", "Albums"]
        assert accessibility_report(page) == ""
        page.keyboard.press("ArrowUp")  # to the last one
        page.keyboard.press("ArrowUp")
        selected = page.locator(".found [aria-selected=true]")
        assert selected.inner_text().startswith("Daft Punk")
        active = page.get_attribute("input:focus", "aria-activedescendant")
        assert active == selected.get_attribute("id")
        page.keyboard.press("Escape")
        assert page.locator(".found:visible").count() == 0
        assert page.input_value("input:focus") == "da"
        page.keyboard.press("ArrowDown")
        page.wait_for_selector(".found [role=option]")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url("**/track?q=**")
        assert "Veridis Quo" in page.inner_text("h1")
        page.keyboard.press("Control+k")
        page.keyboard.type("veridis qou")
        page.wait_for_selector(".found [aria-label^='Did you mean']")
        page.keyboard.press("Enter")  # nothing is chosen: as without a script
        page.wait_for_url("**/search?q=veridis+qou")

    def test_only_the_latest_answer_is_shown(self, window: BrowserPage) -> None:
        page = window.open("/recent")
        held: list[Route] = []
        page.route("**/suggest?*", lambda route: held.append(route) if not held else route.continue_())
        page.keyboard.press("/")
        with page.expect_request("**/suggest?*"):
            page.keyboard.type("air")
        page.keyboard.press("Control+a")
        page.keyboard.type("script")
        wait_for_text(page, ".found", HOSTILE)
        held[0].continue_()
        page.wait_for_load_state("networkidle")
        assert HOSTILE in page.inner_text(".found")
        assert "Sexy Boy" not in page.inner_text(".found")
        page.unroute_all()


def test_the_period_of_the_first_view_is_remembered(browser: Browser, served: ServedLog) -> None:
    with browser_page(browser, served.address, script=False) as window:
        page = window.open("/")
        assert "Last 12 months" in page.inner_text("main")
        page.get_by_role("link", name="week", exact=True).click()
        assert "Last 7 days" in window.open("/").inner_text("main")
        assert page.locator(".activity a").count() in range(365, 374)
        page.locator(".activity a").last.click()
        assert page.inner_text("h1").endswith(f"{TODAY:%-d %b %Y}")
        assert window.problems == []
