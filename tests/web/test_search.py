"""The search page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

from spotify_logger.storage.store import Store
from tests.web.page import serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.page import PageClient

VERIDIS = {"name": "Veridis Quo", "artists": "Daft Punk", "album": "Discovery"}


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    store = Store(redis_url)
    with store.batch() as batch:
        batch.write_play(1_700_000_000, {"uri": "spotify:track:v", "ms_played": 200_000}, "track:v 200000")
        batch.write_catalog("track:v", VERIDIS)
    store.close()
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("daft punk", ["/artist?q=Daft%20Punk"]),
        ("veridis quo daft punk", ["/artist?q=Daft%20Punk"]),
        ("discovery: punk daft", ["/artist?q=Daft%20Punk", "/album?q=Discovery"]),
        ("daft", []),
    ],
)
def test_words_in_any_order_and_the_pages_of_what_they_name(
    page: PageClient, text: str, links: list[str]
) -> None:
    shown = page.request(f"/search?q={quote_plus(text)}").text
    assert "Veridis Quo" in shown.partition("<main")[2]
    assert [link for link in ("/artist?q=Daft%20Punk", "/album?q=Discovery") if link in shown] == links
