from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.queries import year_review
from spotify_logger.report.blocks import Columns, Heading, Sparkline, Table
from tests.indexed_log import CatalogItem, IndexedLog, data_of, drawn
from tests.queries.items import DUET, EPISODE, QUO, QUO_AGAIN, SEXY

if TYPE_CHECKING:
    from spotify_logger.report.blocks import Answer


def review(log: IndexedLog, year: int = 2026, **more: object) -> Answer:
    return year_review.year(log.archive, log.ask(year=year, **more))


def highlights(answer: Answer) -> dict[str, tuple[str, str]]:
    """Return the last table."""
    table = answer.page[-1]
    assert isinstance(table, Table)
    return {what: (words, title) for what, words, title in table.rows}


def facts(answer: Answer) -> dict[str, str]:
    """Return the figures beside the albums."""
    columns = answer.page[3]
    assert isinstance(columns, Columns)
    return {name: value for name, value in columns.right.rows}  # noqa: C416 - not by type


def heading(answer: Answer) -> str:
    block = answer.page[0]
    assert isinstance(block, Heading)
    return block.text


class TestHighlights:
    def test_the_first_play_is_the_first_one_that_counts(self, log: IndexedLog) -> None:
        log.to(SEXY, "2025-12-31 23:59:59")
        log.skipped(SEXY, "2026-01-01 00:00")
        log.to(EPISODE, "2026-01-01 00:10")
        log.to(QUO, "2026-01-01 01:00")
        answer = review(log)
        assert highlights(answer)["first play"] == ("2026-01-01 00:10", "A Show – On Daft Punk")
        item = {"name": "On Daft Punk", "artists": "", "key": "episode:e"}
        when = {"plays": None, "heard_ms": None, "when": "2025-12-31T23:10:00.000Z"}
        assert data_of(answer)["first_play"] == item | when

    def test_the_most_repeated_track_counts_one_local_day_and_all_ids(self, log: IndexedLog) -> None:
        for moment in ("2026-06-01 00:10", "2026-06-01 23:50"):  # two days in UTC
            log.to(QUO, moment)
            log.to(QUO_AGAIN, f"{moment}:30")
        for day in (2, 4):  # the first of two equal days
            for minute in (0, 10, 20):
                log.to(SEXY, f"2026-06-0{day} 12:{minute:02}")
        for second in range(9):
            log.skipped(SEXY, f"2026-06-03 12:00:0{second}")
        answer = review(log)
        times, title = highlights(answer)["most repeated"]
        assert (times[0], times[-10:], title) == ("4", "2026-06-01", "Daft Punk – Veridis Quo")
        repeated: Any = data_of(answer)["most_repeated"]
        assert (repeated["plays"], repeated["when"], repeated["heard_ms"]) == (4, "2026-06-01", None)
        times, title = highlights(review(log, exact=True))["most repeated"]
        assert (times[0], times[-10:], title) == ("3", "2026-06-02", "Air – Sexy Boy")

    def test_late_night(self, log: IndexedLog) -> None:
        for moment in ("2026-06-01 00:00:00", "2026-06-02 04:59:59"):
            log.to(QUO, moment)
        for moment in ("2026-06-01 05:00", "2026-06-01 23:59:59"):
            log.to(DUET, moment, 9000)
        log.to(SEXY, "2026-06-01 02:00", 4000)
        assert highlights(review(log))["late night"] == ("2 plays", "Daft Punk – Veridis Quo")
        assert highlights(review(log, by="time"))["late night"] == ("1 h 6 min", "Air – Sexy Boy")


class TestDiscoveries:
    def test_what_was_never_played_before(self, log: IndexedLog) -> None:
        log.skipped(QUO, "2025-12-31 23:00")
        log.to(SEXY, "2024-06-01 12:00")
        for minute, item in enumerate((QUO_AGAIN, SEXY, DUET, DUET)):
            log.to(item, f"2026-06-01 12:0{minute}")
        log.skipped(CatalogItem("track:other", "Other", ["Other"]), "2026-06-03 12:00")
        answer = review(log)
        assert facts(answer)["new"] == "1 track, 1 artist"  # the other one was skipped, Air was known
        assert highlights(answer)["discovery"] == ("2 plays", "Air, Beck – Duet")
        assert (data_of(answer)["new_tracks"], data_of(answer)["new_artists"]) == (1, 1)
        assert facts(review(log, exact=True))["new"] == "2 tracks, 1 artist"

    @pytest.mark.parametrize(("earlier", "words"), [(None, None), ("2025-06-01", "0 tracks, 0 artists")])
    def test_no_discoveries(self, log: IndexedLog, earlier: str | None, words: str | None) -> None:
        """Either nothing is new, or everything is: in the first year."""
        log.to(SEXY, "2026-06-01 12:00")
        if earlier:
            log.to(SEXY, f"{earlier} 12:00")
        answer = review(log)
        assert facts(answer).get("new") == words
        assert "discovery" not in highlights(answer)
        assert data_of(answer)["new_tracks"] == (0 if earlier else None)


class TestYear:
    def test_heading(self, log: IndexedLog) -> None:
        log.to(SEXY, "2025-12-31 23:59:59", 90 * 60)
        assert heading(review(log, 2025)) == "2025: 1 h 30 min, 1 play of at least 30 s"
        log.skipped(SEXY, "2026-01-01 00:00")
        assert heading(review(log)) == "2026 so far: 5 s, 0 plays of at least 30 s"
        log.gap("2026-01-01 12:00", "2026-01-01 14:00")
        assert heading(review(log)) == "2026 so far: at least 5 s, 0 plays of at least 30 s"
        assert facts(review(log))["unseen"] == "2 h in 1 gap"
        log.now = "2027-01-01 00:00"
        assert heading(review(log)) == "2026: at least 5 s, 0 plays of at least 30 s"
        assert data_of(review(log))["over"] is True

    def test_months(self, log: IndexedLog) -> None:
        log.to(SEXY, "2026-01-31 23:59:59", 7200)
        log.to(SEXY, "2026-02-01 00:00", 3599)
        log.skipped(SEXY, "2026-11-01 00:00")
        answer = review(log)
        line = answer.page[1]
        assert isinstance(line, Sparkline)
        assert (line.unit, line.values) == ("minutes", [120, 59, *[0] * 9, 0])
        months: Any = data_of(answer)["months"]
        assert months[1] == {"month": "2026-02", "plays": 1, "heard_ms": 3_599_000}
        log.to(SEXY, "2026-03-01 00:00", 36_000)
        line = review(log).page[1]
        assert isinstance(line, Sparkline)
        assert (line.unit, line.values[:4]) == ("hours", [2, 0, 10, 0])

    def test_the_best_of_each_kind(self, log: IndexedLog) -> None:
        for minute, item in enumerate((QUO, QUO_AGAIN, QUO, SEXY, DUET, EPISODE)):
            log.to(item, f"2026-06-01 12:0{minute}")
        answer = review(log)
        best: Any = data_of(answer)["top"]
        assert {kind: [(each["name"], each["plays"]) for each in lines] for kind, lines in best.items()} == {
            "tracks": [("Veridis Quo", 3), ("Duet", 1), ("Sexy Boy", 1)],
            "artists": [("Daft Punk", 3), ("Air", 2), ("Beck", 1)],
            "albums": [("Discovery", 2), ("Deluxe", 1), ("Hits", 1), ("Moon Safari", 1)],
            "shows": [("A Show", 1)],
        }
        assert highlights(answer)["shows"] == ("", "A Show (1 play)")
        tracks = answer.page[2]
        assert isinstance(tracks, Columns)
        assert tracks.left.rows[0] == ("1", "Daft Punk – Veridis Quo", "3")
        assert tracks.right.rows[0] == ("1", "Daft Punk", "3")

    def test_facts(self, log: IndexedLog) -> None:
        for day in ("2026-02-27", "2026-02-28", "2026-03-01", "2026-11-22"):
            log.to(QUO, f"{day} 12:00")
        log.to(SEXY, "2026-05-05 23:00", 3 * 3600)
        answer = review(log)
        assert facts(answer) == {
            "days": "5 with plays",
            "streak": "3 days from 2026-02-27",
            "session": "3 h, 2026-05-05",
            "busiest": "3 h, 2026-05-05",
        }
        assert data_of(answer)["longest_session"] == {"from": "2026-05-05T21:00:00.000Z", "ms": 10_800_000}

    def test_without_plays(self, log: IndexedLog) -> None:
        log.to(QUO, "2025-06-01 12:00")
        answer = review(log)
        assert answer.page == ["Nothing was played: 2026."]
        assert (data_of(answer)["plays"], answer.csv_rows) == (0, ())

    def test_json_and_csv(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00")
        answer = review(log)
        assert json.loads(json.dumps(answer.data)) == answer.data
        names = {tuple(row) for row in answer.csv_rows}
        assert names == {("what", "rank", "name", "artists", "plays", "heard_ms", "when", "key")}
        rows = [(row["what"], row["rank"], row["name"]) for row in answer.csv_rows if row["what"] != "month"]
        assert rows == [
            ("year", None, "2026"),
            ("track", 1, "Veridis Quo"),
            ("artist", 1, "Daft Punk"),
            ("album", 1, "Discovery"),
            ("first play", None, "Veridis Quo"),
        ]


@pytest.mark.parametrize("by", ["plays", "time"])
def test_a_full_review_fits_on_a_screen(log: IndexedLog, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    plays = []
    for number in range(8):
        name = f"An Orchestra of Very Many Players With a Very Long Name Indeed {number}"
        item = CatalogItem(f"track:{number}", name, [name], name, f"l{number}", f"I{number}")
        show = CatalogItem(f"episode:{number}", name, [], name)
        for month in range(1, 12):
            plays += [
                (item, f"2026-{month:02}-01 0{number}:00", 100_000, "trackdone"),
                (show, f"2026-{month:02}-01 0{number}:30", 200, "trackdone"),
                (item, f"2026-{month:02}-01 1{number}:00", 200, "trackdone"),
            ]
    log.all(plays)
    log.to(CatalogItem("track:1"), "2025-06-01 12:00")
    log.gap("2026-06-03 12:00", "2026-06-05 12:00")
    answer = review(log, by=by)
    best: Any = data_of(answer)["top"]
    assert len(best["tracks"]) == 5
    lines = drawn(answer, monkeypatch)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    piped = ["\t".join(line) for block in answer.page if not isinstance(block, str) for line in block.lines()]
    assert sum("Indeed" in line for line in piped) >= 15 + 5
    assert all("…" not in line for line in piped)
