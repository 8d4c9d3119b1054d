from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from spotify_logger.queries import count as counting
from spotify_logger.report.terminal import render
from tests.indexed_log import CatalogItem, IndexedLog, data_of, rows, table_rows, texts

if TYPE_CHECKING:
    from spotify_logger.report.answers import Answer

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
    return log.answer(counting.count, text)


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
        ("daft", ["Veridis Quo", "Aérodynamic", "On Daft Punk"]),
        ("lukasz swiatek", ["Veridis Quo (Piano)"]),
        ("tyler the creator", ["Veridis Quo (Piano)"]),
        ("variation-10, gould", ["Variation 10"]),  # the beginnings of words, in any order
        ("veridis quo daft punk", ["Veridis Quo"]),
        ("Daft Punk – Veridis Quo", ["Veridis Quo"]),
        ("discovery daft punk", ["Veridis Quo", "Aérodynamic"]),  # a whole album and its artist
        ("aerodynamic - 2021 remaster", ["Aérodynamic"]),
        ("track:a", ["Aérodynamic"]),
        ("spotify:track:a", ["Aérodynamic"]),
        ("daft veridis nothing", []),
        (".*", []),
    ],
)
def test_what_matches(log: IndexedLog, text: str, names: list[str]) -> None:
    answer = count(log, text)
    tracks = data_of(answer)["tracks"]
    assert isinstance(tracks, list)
    assert sorted(track["name"] for track in tracks) == sorted(names)
    assert answer.code == (0 if names else 1)


def test_an_item_without_a_catalog_entry(log: IndexedLog) -> None:
    log.to(CatalogItem("track:gone"), "2026-11-22 18:00")
    assert data_of(count(log, "track:gone"))["plays"] == 1


def test_an_album_counts_on_itself_only(log: IndexedLog) -> None:
    assert data_of(count(log, "discovery"))["heard_ms"] == 329_999
    assert data_of(count(log, "nocturnes"))["plays"] == 1


def test_editions_are_counted_together(log: IndexedLog) -> None:
    remaster = CatalogItem("track:r", "Veridis Quo - 2021 Remaster", ["Daft Punk"], "Discovery", "", "GB2021")
    log.to(remaster, "2026-11-22 18:00", 100)
    for text in ("veridis quo", "veridis quo daft punk"):
        answer = count(log, text)
        assert (rows(answer)["what"], rows(answer)["plays"]) == ("Daft Punk – Veridis Quo", "3")
        assert table_rows(answer)[-3:] == [
            ["Veridis Quo", "Discovery (Deluxe)", "1", "5:45"],
            ["Veridis Quo", "Discovery", "1", "3:49"],
            ["Veridis Quo - 2021 Remaster", "Discovery", "1", "1:40"],
        ]
    assert rows(count(log, "quo 2021"))["plays"] == "1"


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("veridid qou", "Did you mean “Daft Punk – Veridis Quo” or “Łukasz Świątek, Tyler, The Creator"),
        ("dfat pnuk", "Did you mean “Daft Punk”"),
        ("veridis quo nirvana", "Did you mean “Daft Punk – Veridis Quo”"),
        ("goldburg", "Did you mean “Goldberg Variations”?"),
    ],
)
def test_nothing_matches_but_something_is_close(log: IndexedLog, text: str, question: str) -> None:
    answer = count(log, text)
    assert answer.code == 1
    assert texts(answer)[0].startswith(f"Nothing matches “{text}”. {question}")


def test_what_is_close_is_shortened(log: IndexedLog) -> None:
    log.to(CatalogItem("track:l", f"Supercalifragilistic {'long ' * 50}", ["Daft Punk"]), "2026-11-22 18:00")
    assert "Supercalifragilistic long" in (question := texts(count(log, "superkalifragilistic"))[0])
    assert len(question) < 150


@pytest.mark.parametrize(
    "text", ["!!!", "%", "a\0b", "\udcff", "word " * 2000, " ".join(map(str, range(2000)))]
)
def test_any_text_may_be_asked_for(log: IndexedLog, text: str) -> None:
    assert count(log, text).code == 1


def test_not_played_in_the_period(log: IndexedLog) -> None:
    answer = log.answer(counting.count, "veridis quo", year=2025)
    assert (answer.code, "not played" in "".join(texts(answer))) == (0, True)
    assert data_of(answer)["known"]


def test_gaps_since_the_first_play(log: IndexedLog) -> None:
    log.to(AERODYNAMIC, "2026-10-13 18:00", 5)
    log.gap("2026-10-13 17:00", "2026-10-13 18:10")
    log.gap("2026-11-22 11:00", "2026-11-22 13:00")
    answer = count(log, "nothing like it")
    assert texts(answer) == ["Nothing matches “nothing like it”."]
    assert data_of(answer)["unseen"] == {"gaps": 2, "seconds": 7800}
    assert texts(count(log, "aerodynamic")) == ["At least: 2 gaps (2 h 10 min) were not observed."]


def test_more_tracks_than_lines_on_a_terminal(log: IndexedLog) -> None:
    answer = log.answer(counting.count, "variation", limit=1)
    render(answer.page, screen := io.StringIO())
    assert "1 more track" in screen.getvalue()
