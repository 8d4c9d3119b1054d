from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.queries import count as counting
from tests.indexed_log import CatalogItem, IndexedLog, data_of, rows, table_rows, texts

if TYPE_CHECKING:
    from spotify_logger.report.blocks import Answer

VERIDIS = CatalogItem("track:v", "Veridis Quo", ["Daft Punk"], "Discovery", "", "GBDUW0000061")
DELUXE = CatalogItem("track:w", "Veridis Quo", ["Daft Punk"], "Discovery (Deluxe)", "", "GBDUW0000061")
AERODYNAMIC = CatalogItem("track:a", "Aérodynamic", ["Daft Punk"], "Discovery", "", "GBDUW0000055")
COVER = CatalogItem("track:c", "Veridis Quo (Piano)", ["Łukasz Świątek", "Tyler, The Creator"], "Nocturnes")
VARIATION_1 = CatalogItem("track:1", "Variation 1", ["Glenn Gould"], "Goldberg Variations")
VARIATION_10 = CatalogItem("track:10", "Variation 10", ["Glenn Gould"], "Goldberg Variations")
EPISODE = CatalogItem("episode:e", "On Daft Punk", [], "A Show")


@pytest.fixture(autouse=True)
def history(log: IndexedLog) -> None:
    log.to(DELUXE, "2026-10-13 19:00", 345)
    log.to(EPISODE, "2026-11-22 18:00", 1800)
    log.to(VARIATION_10, "2026-11-22 18:20", 60)
    log.to(VARIATION_10, "2026-11-22 18:27", 60)
    log.to(VARIATION_1, "2026-11-22 18:33", 50)
    log.to(COVER, "2026-11-22 18:40", 100)
    log.to(AERODYNAMIC, "2026-11-22 18:47", 100)
    log.to(VERIDIS, "2026-11-22 18:53", 29.999, "skipped")
    log.to(VERIDIS, "2026-11-22 18:59", 200)


def count(log: IndexedLog, text: str) -> Answer:
    return counting.count(log.store, log.ask(), text)


def test_one_recording_under_two_ids(log: IndexedLog) -> None:
    answer = count(log, "veridis QUO")
    assert rows(answer) == {
        "what": "Daft Punk – Veridis Quo",
        "plays": "2",
        "shorter": "1",
        "skipped": "1",
        "heard": "9:34",
        "rank": "1 of 5 tracks",
        "first": "2026-10-13 19:00",
        "last": "2026-11-22 18:59",
    }
    assert texts(answer) == ["Not counted: 1 track matching less closely."]


def test_several_tracks_are_listed_by_plays(log: IndexedLog) -> None:
    answer = count(log, "goldberg variations")
    shown = rows(answer)
    assert [shown[name] for name in ("what", "plays", "heard")] == ["2 tracks", "3", "2:50"]
    assert (shown["first"], shown["last"]) == ("2026-11-22 18:20", "2026-11-22 18:33")
    assert table_rows(answer)[-2:] == [
        ["Glenn Gould – Variation 10", "2", "2:00", "1", "Goldberg Variations"],
        ["Glenn Gould – Variation 1", "1", "0:50", "3", "Goldberg Variations"],
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Variation 1", ["Variation 1"]),  # a whole title
        ("variation", ["Variation 10", "Variation 1"]),
        ("daft punk", ["Veridis Quo", "Aérodynamic"]),  # a whole artist
        ("daft", ["On Daft Punk", "Veridis Quo", "Aérodynamic"]),
        ("lukasz swiatek", ["Veridis Quo (Piano)"]),
        ("variation-10, gould", ["Variation 10"]),  # the beginnings of words, in any order
        ("daft veridis nothing", []),
        (".*", []),
    ],
)
def test_what_matches(log: IndexedLog, text: str, names: list[str]) -> None:
    tracks = data_of(count(log, text))["tracks"]
    assert isinstance(tracks, list)
    assert sorted(track["name"] for track in tracks) == sorted(names)


def test_gaps_since_the_first_play(log: IndexedLog) -> None:
    log.to(AERODYNAMIC, "2026-10-13 18:00", 5)
    log.gap("2026-10-13 17:00", "2026-10-13 18:10")
    log.gap("2026-11-22 11:00", "2026-11-22 13:00")
    answer = count(log, "nothing like it")
    assert answer.page == ["No play matches “nothing like it”."]
    assert data_of(answer)["unseen"] == {"gaps": 2, "seconds": 7800}
    assert texts(count(log, "aerodynamic")) == ["At least: 2 gaps (2 h 10 min) were not observed."]
