from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.cli.commands import command_parser
from spotify_logger.cli.main import parse_args
from spotify_logger.core.play import TRACKDONE
from spotify_logger.queries import item_page
from spotify_logger.queries.sql import ALBUMS, ARTISTS, TRACKS
from spotify_logger.report.answers import Columns, Table
from tests.indexed_log import CatalogItem, IndexedLog, blocks, data_of, drawn, rows, texts

if TYPE_CHECKING:
    from spotify_logger.report.answers import Answer

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
REMASTERED = CatalogItem(
    "track:remastered", "Veridis Quo (2021)", ["Daft Punk"], "Discovery", "r", "gbduw0000061"
)
AERODYNAMIC = CatalogItem("track:aero", "Aérodynamic", ["Daft Punk"], "Discovery", "d", "GBDUW0000055")
COVER = CatalogItem("track:cover", "Veridis Quo", ["Łukasz"], "Nocturnes", "n")
DUET = CatalogItem("track:duet", "Duet", ["Air", "Daft Punk"], "Hits", "h", "FR2")
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Hits", "h", "FR3")
LIBRARY = (
    QUO,
    REMASTERED,
    AERODYNAMIC,
    COVER,
    CatalogItem("track:live", "Veridis Quo", ["Daft Punk"], "Alive", "a", "GBX"),
    CatalogItem("track:igor", "Igor's Theme", ["Tyler, The Creator"], "IGOR", "i", "FR1"),
    DUET,
    SEXY,
    CatalogItem("track:hit", "A Hit", ["Abba"], "Hits", "b", "FR4"),
    CatalogItem("track:shout", "Shout", ["AIR"], "Shouts", "s", "FR5"),
    CatalogItem("track:supply", "All Out of Love", ["Air Supply"], "Lost", "l", "FR6"),
    CatalogItem("episode:e", "Quo", ["Air"], "Discovery"),
)


def page(log: IndexedLog, kind: str, text: str, **more: object) -> Answer:
    return log.answer(item_page.page, kind, text, **more)


def found(answer: Answer) -> dict[str, Any]:
    """Return the JSON of the item that was found."""
    item = data_of(answer)["found"]
    assert isinstance(item, dict)
    return item


def candidates(answer: Answer) -> list[str]:
    lines: Any = data_of(answer)["candidates"]
    return [f"{line['artists']} – {line['name']}".removeprefix(" – ") for line in lines]


class TestItemSearch:
    @pytest.fixture(autouse=True)
    def history(self, log: IndexedLog) -> None:
        """Each of the library was played, the first ones more often."""
        log.all(
            (item, f"2026-{min(number, 10):02}-{time:02} {number:02}:00", 200, TRACKDONE)
            for number, item in enumerate(LIBRARY, 1)
            for time in range(1, max(2, 15 - number))
        )

    def page(self, log: IndexedLog, kind: str, text: str, **more: object) -> Answer:
        return page(log, kind, text, **({"year": 2026} | more))

    @pytest.mark.parametrize(
        ("kind", "text", "name"),
        [
            (ARTISTS, "daft PUNK", "Daft Punk"),
            (ARTISTS, "daft", "Daft Punk"),  # a part, but of one name alone
            (ARTISTS, "air", "Air"),  # the whole name, which is a part of another one
            (ALBUMS, "daft punk discovery", "Discovery"),
            (ALBUMS, "album:d", "Discovery"),
            (TRACKS, "aerodyn", "Aérodynamic"),
            (TRACKS, "punk aero", "Aérodynamic"),  # a part of both together
            (TRACKS, "veridis quo lukasz", "Veridis Quo"),  # the words of both in another order
            (TRACKS, "veridis quo (2021)", "Veridis Quo"),  # the same recording
        ],
    )
    def test_one_match(self, log: IndexedLog, kind: str, text: str, name: str) -> None:
        answer = self.page(log, kind, text)
        assert candidates(answer) == []
        assert found(answer)["name"] == name

    @pytest.mark.parametrize(
        ("kind", "text", "names"),
        [
            (ALBUMS, "hits", ["Air – Hits", "Abba – Hits"]),
            (TRACKS, "quo", ["Daft Punk – Veridis Quo", "Łukasz – Veridis Quo"]),  # no episode
        ],
    )
    def test_several_matches(self, log: IndexedLog, kind: str, text: str, names: list[str]) -> None:
        answer = self.page(log, kind, text)
        assert data_of(answer)["found"] is None
        assert set(names) <= set(candidates(answer))

    def test_advice_on_several_matches(self, log: IndexedLog, monkeypatch: pytest.MonkeyPatch) -> None:
        assert drawn(self.page(log, TRACKS, "Veridis", limit=2), monkeypatch) == [
            "3 tracks match “Veridis”:",
            "",
            "track                    plays",
            "Daft Punk – Veridis Quo     25",
            "Łukasz – Veridis Quo        10",
            "",
            "and 1 more track",
            "",
            "try  spotify-logger track track:quo",
        ]
        for kind, text in ((ARTISTS, "ai"), (ALBUMS, "hits"), (TRACKS, "veridis")):
            answer = self.page(log, kind, text)
            for command in rows(answer).values():
                options = parse_args(command_parser(), shlex.split(command)[1:])
                again = self.page(log, options.kind, options.text)
                assert (options.kind, found(again)["key"]) == (kind, answer.csv_rows[0]["key"])

    def test_no_match(self, log: IndexedLog) -> None:
        answer = self.page(log, ALBUMS, "diskovery")
        assert texts(answer) == ["No album is called “diskovery”. Did you mean “Discovery”?"]
        assert (data_of(answer)["found"], candidates(answer), answer.code) == (None, [], 1)
        assert texts(self.page(log, ALBUMS, "veridis quo")) == ["No album is called “veridis quo”."]
        answer = page(log, ALBUMS, "discovery", year=2025)
        assert ("not played" in "".join(texts(answer)), answer.code) == (True, 0)

    def test_others_of_the_same_name(self, log: IndexedLog) -> None:
        answer = self.page(log, TRACKS, "daft punk veridis quo")
        assert found(answer)["plays"] == 25
        assert found(answer)["others"] == [{"text": "track:live", "plays": 9}]
        table = blocks(answer)[-1]
        assert isinstance(table, Table)
        assert (table.headings[0], table.rows) == ("others with this name", [("track:live", 9)])


class TestItemFigures:
    def test_a_track(self, log: IndexedLog) -> None:
        log.to(SEXY, "2025-12-31 23:00")
        log.to(QUO, "2025-12-31 23:59:59")
        log.to(QUO, "2026-01-01 00:05")
        log.to(REMASTERED, "2026-01-01 00:10", 100, "unknown")
        log.skipped(QUO, "2026-01-01 00:15")
        log.skipped(SEXY, "2026-01-01 00:16")
        log.to(QUO, "2026-01-01 00:20")
        log.to(SEXY, "2026-01-01 00:25")
        log.to(QUO, "2026-01-01 00:30", 40, "skipped")
        log.to(DUET, "2026-01-01 00:35")
        log.to(QUO, "2026-01-01 00:40", 40, "open")
        log.gap("2026-06-02 12:00", "2026-06-02 14:00")
        answer = page(log, TRACKS, "daft punk veridis quo")
        assert rows(answer) == {
            "track": "Daft Punk – Veridis Quo",
            "plays": "6 of at least 30 s, 1 other",
            "heard": "13 min",
            "rank": "1 of 3 tracks, 66.7 % of all plays",
            "skips": "2 (33.3 %)",
            "first": "2025-12-31 23:59",
            "last": "2026-01-01 00:40",
            "most in a day": "5 on 2026-01-01",
            "most in a row": "4 from 2025-12-31 23:59",
        }
        ids = blocks(answer)[1]
        assert isinstance(ids, Table)
        assert ids.rows == [("track:quo on Discovery", 5), ("track:remastered on Discovery", 1)]
        assert blocks(answer)[-1] == "At least: 1 gap (2 h) was not observed."

    def test_an_artist(self, log: IndexedLog) -> None:
        for minute, item in enumerate((QUO, QUO, REMASTERED, AERODYNAMIC, DUET, SEXY)):
            log.to(item, f"2026-06-01 12:0{minute}")
        answer = page(log, ARTISTS, "daft punk", limit=2)
        labeled = rows(answer)
        assert labeled["plays"] == "5 of at least 30 s, 0 others"
        assert (labeled["tracks"], labeled["albums"]) == ("3", "2")
        columns = blocks(answer)[1]
        assert isinstance(columns, Columns)
        assert columns.left.rows == [(1, "Veridis Quo", 3), (2, "Duet", 1)]
        assert columns.right.rows == [(1, "Discovery", 4), (2, "Hits", 1)]

    def test_an_album_of_several_artists(self, log: IndexedLog) -> None:
        first = CatalogItem("track:one", "One", ["A"], "Now", "now")
        second = CatalogItem("track:two", "Two", ["B"], "Now", "now")
        for item, minute in ((second, 0), (first, 1), (second, 2)):
            log.to(item, f"2026-06-01 12:0{minute}")
        answer = page(log, ALBUMS, "now")
        assert rows(answer)["album"] == "various artists – Now"
        tracks = blocks(answer)[1]
        assert isinstance(tracks, Table)
        assert tracks.rows == [(1, "B – Two", 2), (2, "A – One", 1)]

    def test_by_time(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00", 60)
        log.to(QUO, "2026-06-01 12:10", 60)
        log.to(SEXY, "2026-06-01 12:20", 400)
        log.to(QUO, "2026-06-02 12:00", 250)
        answer = page(log, TRACKS, "veridis quo", by="time")
        labeled = rows(answer)
        assert labeled["rank"] == "2 of 2 tracks, 48.1 % of all time heard"
        assert labeled["most in a day"] == "4 min on 2026-06-02"

    def test_charts_by_year_or_by_month(self, log: IndexedLog) -> None:
        for moment in ("2024-12-31 23:59:59", "2026-03-31 23:59:59", "2026-05-01 00:00:00"):
            log.to(QUO, moment)

        def charts(**more: object) -> list[object]:
            shown = blocks(page(log, TRACKS, "veridis quo", **more))
            return [block.rows for block in shown if isinstance(block, Table) and block.bars]

        assert charts() == [[("2024", 1), ("2025", 0), ("2026", 2)]]
        assert charts(year=2026) == [[("2026-03", 1), ("2026-04", 0), ("2026-05", 1)]]

    def test_csv(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00")
        log.to(AERODYNAMIC, "2025-06-01 12:00")
        answer = page(log, ARTISTS, "daft punk")
        assert [(row["what"], row["rank"], row["name"], row["plays"]) for row in answer.csv_rows] == [
            ("artist", 1, "Daft Punk", 2),
            ("period", None, "2025", 1),
            ("period", None, "2026", 1),
            ("track", 1, "Aérodynamic", 1),
            ("track", 2, "Veridis Quo", 1),
            ("album", 1, "Discovery", 2),
        ]
