from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from spotify_logger.storage.store import Store
from tests.web.log import write_play
from tests.web.page import serve_page, settings_for

if TYPE_CHECKING:
    from pathlib import Path


LINKS = {
    "veridis quo daft punk": ["/artist?q=Daft%20Punk"],
    "discovery: punk daft": ["/artist?q=Daft%20Punk", "/album?q=Discovery"],
    "daft": [],
}


def test_links_to_the_artists_and_albums_that_the_words_name(redis_url: str, tmp_path: Path) -> None:
    with closing(Store(redis_url)) as store:
        write_play(store)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        for text, links in LINKS.items():
            shown = page.request(f"/search?q={quote_plus(text)}").text
            assert "Veridis Quo" in shown.partition("<main")[2]
            assert re.findall(r"/(?:artist\?q=Daft%20Punk|album\?q=Discovery)", shown) == links
