"""Pictures to share: whatever the names are, they are valid, in their own font, and nothing is cut off."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest

from spotify_logger.core.periods import Zone
from tests.browser import browser_page, chromium
from tests.conftest import start_server
from tests.indexed_log import CatalogItem, IndexedLog
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = (
    "W" * 180,
    "<script>alert('&')</script>" * 6,
    "漢字かな交じりの長い題名" * 15,
    "🎉👩‍👩‍👧‍👦🌊" * 30,
    "أغنية طويلة جدا عن الليل والبحر " * 6,
    "Ћирилица Ωμέγα Łódź ÆØÅ " * 8,
    "\u202e\x0b\ud7ff",
    " ",
    "Short",
)
PERIODS = {
    "year": "/year/2025",
    "month": "/month/2025-09",
    "top": "/top/tracks",
    "albums": "/top/albums",
    "devices": "/top/devices",
}
TEXTS = """() => [...document.querySelectorAll("text")].map((text) => {
    const { x, width } = text.getBBox();
    return [text.getAttribute("y"), x, x + width, text.textContent];
})"""

DIFFERENCE = """async (sources) => {
    const [first, second] = await Promise.all(sources.map(async (source) => {
        const image = new Image();
        image.src = source;
        await image.decode();
        const canvas = new OffscreenCanvas(540, 675).getContext("2d");
        canvas.drawImage(image, 0, 0, 540, 675);
        return canvas.getImageData(0, 0, 540, 675).data;
    }));
    return first.reduce((sum, value, index) => sum + Math.abs(value - second[index]), 0);
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    server, folder = start_server(tmp_path_factory.mktemp("redis")), tmp_path_factory.mktemp("page")
    log = IndexedLog(server.url, Zone(), "2026-11-22 19:00")
    for number, name in enumerate(NAMES):
        item = CatalogItem(f"track:{number}", name, [name], name, f"album{number}", f"X{number}")
        for play in range(len(NAMES) - number):
            log.play(item, f"2025-09-{number + 1:02} {play + 10}:00", device_name=name)
    log.store.close()
    with serve_page(settings_for(server.url, folder)) as page:
        yield page
    server.stop()


@pytest.mark.parametrize("view", PERIODS.values(), ids=PERIODS)
def test_no_text_is_cut_off_or_covers_another_one(page: PageClient, view: str) -> None:
    query = "?since=2025-01-01&until=2026-10-31" if view.startswith("/top") else ""
    answer = page.request(f"{view}/image.svg{query}")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    tags = {element.tag.partition("}")[2] for element in ET.fromstring(answer.text).iter()}
    assert "script" not in tags
    with (
        chromium() as browser,
        browser_page(browser, f"http://127.0.0.1:{page.port}", width=1080, height=1350) as window,
    ):
        image = window.open(f"{view}/image.svg{query}")
        assert image.evaluate("() => document.fonts.load('30px Inter').then((fonts) => fonts.length)") == 1
        texts = image.evaluate(TEXTS)
        assert len(texts) > 20
        assert any("…" in text for *_, text in texts)
        for line, begin, end, text in texts:
            assert 0 < begin <= end < 1030, text
            others = [each for each in texts if each[0] == line and each[1] >= begin and each[3] != text]
            assert all(end <= each[1] for each in others), text
        assert window.problems == []


@pytest.mark.parametrize("view", ["/year/2025", "/month/2025-09", "/top/tracks?since=2025-01-01"])
def test_a_picture_is_saved_as_png_in_its_own_font(page: PageClient, view: str) -> None:
    with chromium() as browser, browser_page(browser, f"http://127.0.0.1:{page.port}") as window:
        shown = window.open(view)
        address = shown.get_attribute("#save", "href")
        with shown.expect_download() as saving:
            shown.get_by_role("link", name="Save picture").click()
        assert saving.value.suggested_filename.endswith(".png")
        picture = saving.value.path().read_bytes()
        assert int.from_bytes(picture[16:20]) >= 1080
        assert window.problems == []
        svg = page.request(address or "").text
        shown.goto("about:blank")  # whose policy allows these images
        png = f"data:image/png;base64,{b64encode(picture).decode()}"
        same, other = (
            shown.evaluate(DIFFERENCE, [png, f"data:image/svg+xml,{quote(text)}"])
            for text in (svg, re.sub("<style>.*</style>", "", svg))
        )
        assert same < other / 5
