from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from spotify_logger.simulator.demo_covers import draw_cover


def test_each_album_has_its_own_drawing_in_few_colours_that_loads_nothing() -> None:
    covers = {album: draw_cover(album) for album in map(str, range(60))}
    assert len(set(covers.values())) == len(covers)
    for album, cover in covers.items():
        assert draw_cover(album) == cover
        assert 2 <= len(set(re.findall(r"#[0-9a-f]{6}", cover))) <= 3
        assert not re.search(r"href|url\(|<script", cover)
        assert ET.fromstring(cover).tag == "{http://www.w3.org/2000/svg}svg"
