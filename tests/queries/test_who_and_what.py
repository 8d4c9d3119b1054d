"""Artists and recordings are the same in every answer, however Spotify sent them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.queries import compare, count, item_page, summary, top
from spotify_logger.queries.index import Index
from spotify_logger.queries.sql import ARTISTS, TRACKS
from tests.indexed_log import CatalogItem, IndexedLog, data_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SOLO = CatalogItem("track:solo", "Solo", ["Tyler, The Creator"], "Record")
DUET = CatalogItem("track:duet", "Duet", ["Tyler, The Creator", "Kali Uchis"], "Record")
NIGHTS = CatalogItem("track:nights", "Nights", ["Kali Uchis"], "Record", isrc="US1")
ACCOUNT = CatalogItem("local:nights", "nights", ["Kali Uchis"])
EXTENDED = CatalogItem("track:older", "Nights", ["Kali Uchis"], "Record")
OTHER = CatalogItem("track:other", "Others", ["Kali Uchis"])
WITHOUT_LIST = ("artist_list",)
WITHOUT_IDS = ("artist_list", "artist_ids")


def to(log: IndexedLog, item: CatalogItem, moment: str, without: tuple[str, ...] = (), **more: str) -> None:
    """Add a play, and a catalog entry as earlier versions or imports have written it."""
    log.to(item, moment)
    if without:
        log.store.write([("HDEL", log.store.key(item.key), *without)])
    if more:
        texts = [text for pair in more.items() for text in pair]
        log.store.write([("HSET", log.store.key(item.key), *texts)])


def plays(log: IndexedLog, kind: str, **more: object) -> Mapping[str, int]:
    rows: Any = data_of(log.answer(top.top, kind, **more))["top"]
    return {row["name"]: row["plays"] for row in rows}


@pytest.mark.parametrize("without", [(), WITHOUT_LIST])
def test_every_artist_has_all_plays(log: IndexedLog, without: tuple[str, ...]) -> None:
    to(log, DUET, "2026-11-22 10:00", without)
    to(log, SOLO, "2026-11-22 11:00", WITHOUT_IDS)
    to(log, SOLO, "2026-11-22 12:00", without)
    to(log, SOLO._replace(key="track:export"), "2026-11-22 13:00", WITHOUT_IDS)
    to(log, NIGHTS, "2026-11-22 14:00", without)
    assert plays(log, ARTISTS) == {"Tyler, The Creator": 4, "Kali Uchis": 2}
    assert data_of(log.answer(count.count, "kali uchis"))["plays"] == 2
    assert data_of(log.answer(count.count, "tyler, the creator"))["plays"] == 4
    found: Any = data_of(log.answer(item_page.page, ARTISTS, "tyler, the creator"))["found"]
    assert (found["name"], found["plays"], found["last"]) == (
        "Tyler, The Creator",
        4,
        "2026-11-22T12:00:00.000Z",
    )
    found = data_of(log.answer(item_page.page, TRACKS, "duet"))["found"]
    assert found["artist_names"] == ["Tyler, The Creator", "Kali Uchis"]


def test_an_artist_with_a_new_name(log: IndexedLog) -> None:
    old, new = ["Kanye West"], ["Ye"]
    to(log, CatalogItem("track:1", "One", old), "2026-11-20 10:00", artist_list='[{"name": "Ye", "id": "y"}]')
    to(log, CatalogItem("track:2", "Two", old), "2026-11-21 10:00", WITHOUT_LIST, artist_ids="y")
    to(log, CatalogItem("track:1", "One", new), "2026-11-22 10:00", WITHOUT_LIST, artist_ids="y")
    to(log, CatalogItem("track:3", "Three", new), "2026-11-22 11:00")  # a namesake
    assert plays(log, ARTISTS, limit=1) == {"Ye": 3}
    for text, expected in (("kanye west", 3), ("artist:Ye", 1), ("spotify:artist:y", 3)):
        found: Any = data_of(log.answer(item_page.page, ARTISTS, text))["found"]
        assert (found["name"], found["plays"]) == ("Ye", expected)
    assert data_of(log.answer(count.count, "ye"))["plays"] == 4


def test_a_recording_has_one_line_and_one_rank(log: IndexedLog) -> None:
    to(log, ACCOUNT, "2026-11-20 10:00", WITHOUT_IDS)
    to(log, EXTENDED, "2026-11-21 10:00", WITHOUT_IDS)
    to(log, NIGHTS, "2026-11-22 10:00")
    to(log, NIGHTS, "2026-11-22 10:10")
    to(log, OTHER, "2026-11-22 11:00")
    assert plays(log, TRACKS) == {"Nights": 4, "Others": 1}
    tracks: Any = data_of(log.answer(count.count, "nights"))["tracks"]
    assert [(each["plays"], each["rank"], len(each["keys"])) for each in tracks] == [(4, 1, 3)]
    tracks = data_of(log.answer(count.count, "nights", exact=True))["tracks"]
    assert [each["plays"] for each in tracks] == [2, 1, 1]
    assert data_of(log.answer(top.top, TRACKS, exact=True))["number"] == 4


def test_what_is_new_is_decided_by_all_entries(log: IndexedLog) -> None:
    to(log, ACCOUNT, "2025-11-20 10:00", WITHOUT_IDS)
    to(log, NIGHTS, "2026-11-22 10:00")
    for answer in (log.answer(summary.stats, year=2026), log.answer(summary.review, year=2026)):
        assert (data_of(answer)["new_tracks"], data_of(answer)["new_artists"]) == (0, 0)


def test_two_listeners_share_what_one_of_them_has_imported(log: IndexedLog) -> None:
    to(log, NIGHTS, "2026-11-22 10:00")
    other = IndexedLog(log.url, log.zone, log.now, "other:")
    to(other, ACCOUNT, "2026-11-22 12:00", WITHOUT_IDS)
    with closing(Index(log.store)) as ours, closing(Index(other.store)) as theirs:
        logs = [ours.sync(), theirs.sync()]
        found = compare.compare(logs, ["", "other"], log.ask())
    other.store.close()
    assert found.common == {"artists": 1, "tracks": 1}
