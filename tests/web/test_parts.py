"""Static files, covers, day segments, text fitting, the year image and the links of a search."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.periods import Zone
from spotify_logger.queries.timeline import Timeline
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web import templating
from spotify_logger.web.templating import Assets, Templates, item_links
from spotify_logger.web.views.pictures import ELLIPSIS, fit_text
from spotify_logger.web.views.plays import HEARD, SKIPPED_PLAY, UNOBSERVED, Segment, day_segments
from tests.web.log import write_play
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.queries.timeline import Line

LARGE = "https://i.scdn.co/image/ab67616d0000b273" + "5" * 24


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


class TestAssets:
    def test_referenced_files_exist_and_are_cached_forever(self, page: PageClient) -> None:
        named = set()
        for target in ("/", "/chart", "/calendar", "/year", "/month", "/stats", "/top/tracks", "/health"):
            named |= set(re.findall(r'"(/static/[^"]+)"', page.request(target).text))
        assert len(named) > 5
        for address in named:
            answer = page.request(address)
            assert answer.status == 200
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            plain = page.request(address, Accept_Encoding="identity")
            assert "content-encoding" not in plain.headers
            assert plain.body == answer.body

    def test_nothing_else_is_served(self, page: PageClient) -> None:
        (folder,) = set(re.findall(r"/static/\w+/", page.request("/").text))
        for name in ("nothing.js", "..%2Fapp.py", "%2e%2e", "page.css%00", "../page.css", ""):
            assert page.request(f"{folder}{name}").status == 404
        assert page.request("/static/000000000000/page.css").status == 404

    def test_a_changed_file_has_another_url(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(templating, "STATIC_FILES", tmp_path)
        paths = []
        for text in ("a", "b"):
            (tmp_path / "page.css").write_text(text)
            paths.append(Assets().path)
        assert paths[0] != paths[1]

    def test_the_chart_library_is_in_the_web_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(templating, "CHART_PACKAGE", "no_such_package")
        with pytest.raises(Misconfigured, match=r"pip install 'spotify-logger\[web\]'"):
            Assets()


class TestCovers:
    def test_uses_only_spotify_covers_in_the_needed_size(self, redis_url: str) -> None:
        covers = {
            "track:a": LARGE,
            "track:b": "https://evil.example/image/x",
            "track:c": f"{LARGE}?x=1",
            "track:d": "https://i.scdn.co/image/abc",
        }
        with closing(Archive(redis_url)) as store:
            with store.batch() as batch:
                for key, cover in covers.items():
                    batch.write_hash(key, {"cover": cover})
            middle = LARGE.replace("0000b273", "00001e02")
            found = item_links(store, [*covers, "track:unknown"], covers=True)
            assert found.covers == {"track:a": middle, "track:d": "https://i.scdn.co/image/abc"}
            small_cover = Templates(Assets(), {})._environment.filters["small_cover"]
            assert small_cover(middle) == LARGE.replace("0000b273", "00004851")
            assert item_links(store, covers, covers=False).covers == {}


def test_the_segments_of_a_day_follow_local_time_and_are_cut_at_midnight() -> None:
    # Berlin is one hour ahead of UTC until clocks go forward at two, and then two hours.
    lines: list[Line] = [
        {"gap": {"from": "2026-03-28T21:00:00.000Z", "to": "2026-03-29T00:00:00.000Z", "reason": "off"}},
        {"started_at": "2026-03-29T02:00:00.000Z", "ended_at": "2026-03-29T02:01:00.000Z",
         "end_reason": "skipped", "name": "Quo"},
        {"name": "Quo"},
        {"started_at": "2026-03-29T21:58:00.000Z", "ended_at": "2026-03-29T22:03:00.000Z",
         "end_reason": "trackdone", "name": "Quo"},
    ]  # fmt: skip
    gap, skip, heard = day_segments(Zone("Europe/Berlin"), date(2026, 3, 29), Timeline(lines, ""))
    assert gap[:3] == (UNOBSERVED, 0, 60)
    assert skip == Segment(SKIPPED_PLAY, 240, 1, "04:00 to 04:01: Quo")
    assert heard[:3] == (HEARD, 1438, 2)


@settings(max_examples=50)
@given(text=st.text(), width=st.floats(1, 2000), font_size=st.floats(5, 100))
def test_a_fitted_text_is_never_longer_and_valid_xml(text: str, width: float, font_size: float) -> None:
    element = ET.Element("text")
    element.text = fit_text(text, width, font_size)
    assert len(element.text) <= len(text) + 1
    ET.fromstring(ET.tostring(element))
    assert fit_text("Veridis Quo " * 20, 200, 20).endswith(ELLIPSIS)


def test_a_search_links_to_the_artists_and_albums_that_the_words_name(
    page: PageClient, redis_url: str
) -> None:
    with closing(Archive(redis_url)) as store:
        write_play(store)
    shown = page.request("/search?q=discovery:+punk+daft").text
    assert "Veridis Quo" in shown.partition("<main")[2]
    links = re.findall(r"/(?:artist\?q=Daft%20Punk|album\?q=Discovery)", shown)
    assert links == ["/artist?q=Daft%20Punk", "/album?q=Discovery"]
    assert "/artist?q=Daft%20Punk" not in page.request("/search?q=daft").text
    shown = page.request("/search?q=dfat+pnuk").text
    assert "Never" not in shown
    assert '<a href="/search?q=Daft%20Punk"><bdi>Daft Punk</bdi></a>' in shown
    shown = page.request("/artist?q=dfat+pnuk").text
    assert '<a href="/artist?q=Daft%20Punk"><bdi>Daft Punk</bdi></a>' in shown
