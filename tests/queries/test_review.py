from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.queries import summary
from spotify_logger.report.answers import Chart, Columns, Table
from tests.indexed_log import CatalogItem, IndexedLog, blocks, data_of, drawn, for_people, texts
from tests.queries.items import DUET, EPISODE, LOSER, QUO, QUO_AGAIN, SEXY

if TYPE_CHECKING:
    import pytest

    from spotify_logger.report.answers import Answer


def review(log: IndexedLog, year: int = 2026, **more: object) -> Answer:
    return log.answer(summary.review, year=year, **more)


def highlights(answer: Answer) -> dict[str, tuple[str, str]]:
    """Return the last table."""
    table = blocks(answer)[-1]
    assert isinstance(table, Table)
    return {what: (words, title) for what, words, title in (map(for_people, row) for row in table.rows)}


def facts(answer: Answer) -> dict[str, str]:
    """Return the figures beside the albums."""
    columns = blocks(answer)[3]
    assert isinstance(columns, Columns)
    return {str(name): for_people(value) for name, value in columns.right.rows}


def heading(answer: Answer) -> str:
    block = blocks(answer)[0]
    assert isinstance(block, str)
    return block


def test_a_year(log: IndexedLog) -> None:
    log.to(SEXY, "2025-12-31 23:59:59")
    log.skipped(SEXY, "2026-01-01 00:00")
    log.to(EPISODE, "2026-01-01 00:10")
    for day in ("2026-02-28", "2026-03-01"):
        log.to(SEXY, f"{day} 12:00")
        log.to(DUET, f"{day} 05:00", 3 * 3600)  # which is not late at night
    for moment in ("2026-06-01 00:10", "2026-06-01 23:50"):  # two days in UTC
        log.to(QUO, moment)
        log.to(QUO_AGAIN, f"{moment}:30")
    log.to(LOSER, "2026-06-02 04:59:59", 4000)
    answer = review(log)
    found = highlights(answer)
    assert found.pop("most repeated")[0].endswith(" 2026-06-01")
    assert found == {
        "first play": ("2026-01-01 00:10", "A Show – On Daft Punk"),
        "late night": ("2 plays", "Daft Punk – Veridis Quo"),
        "discovery": ("4 plays", "Daft Punk – Veridis Quo"),
        "shows": ("", "A Show (1)"),
    }
    assert facts(answer) == {
        "new": "3 tracks, 2 artists",
        "days": "5 with plays",
        "streak": "2 days from 2026-02-28",
        "session": "3 h, 2026-02-28",
        "busiest": "3 h 3 min, 2026-02-28",
    }
    months, tracks = blocks(answer)[1], blocks(answer)[2]
    assert isinstance(months, Chart)
    assert (months.unit, months.rows[:3]) == ("minutes", [("Jan", 3), ("Feb", 183), ("Mar", 183)])
    assert isinstance(tracks, Columns)
    assert tracks.left.rows[0] == (1, "Daft Punk – Veridis Quo", 4)
    assert tracks.right.rows[0] == (1, "Air", 4)


def test_no_discoveries(log: IndexedLog) -> None:
    """In the first year everything is new, then nothing."""
    log.to(SEXY, "2026-06-01 12:00")
    assert "new" not in facts(review(log))
    log.to(SEXY, "2025-06-01 12:00")
    answer = review(log)
    assert facts(answer)["new"] == "0 tracks, 0 artists"
    assert not {"discovery", "most repeated"} & highlights(answer).keys()


def test_heading(log: IndexedLog) -> None:
    log.to(SEXY, "2025-12-31 23:59:59", 90 * 60)
    assert heading(review(log, 2025)) == "2025: 1 h 30 min, 1 play of at least 30 s"
    assert "No plays" in "".join(texts(review(log)))
    assert (data_of(review(log))["plays"], review(log).csv_rows) == (0, ())
    log.skipped(SEXY, "2026-01-01 00:00")
    assert heading(review(log)) == "2026 so far: 5 s, 0 plays of at least 30 s"
    log.gap("2026-01-01 12:00", "2026-01-01 14:00")
    assert heading(review(log)) == "2026 so far: at least 5 s, 0 plays of at least 30 s"
    assert facts(review(log))["missing"] == "2 h in 1 gap"
    log.now = "2027-01-01 00:00"
    assert heading(review(log)) == "2026: at least 5 s, 0 plays of at least 30 s"


def test_csv(log: IndexedLog) -> None:
    log.to(QUO, "2026-06-01 12:00")
    answer = review(log)
    rows = [(row["what"], row["rank"], row["name"]) for row in answer.csv_rows if row["what"] != "month"]
    assert answer.csv_rows[0]["artists"] is None
    assert rows == [
        ("year", None, "2026"),
        ("track", 1, "Veridis Quo"),
        ("artist", 1, "Daft Punk"),
        ("album", 1, "Discovery"),
        ("first play", None, "Veridis Quo"),
    ]
    assert answer.csv_rows[0]["artists"] is None


def test_a_full_review_fits_on_a_screen(log: IndexedLog, monkeypatch: pytest.MonkeyPatch) -> None:
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
    answer = review(log, by="time")
    lines = drawn(answer, monkeypatch)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_the_most_repeated_track_need_not_be_among_those_that_were_played_most(log: IndexedLog) -> None:
    def repeated() -> tuple[str, str, str]:
        words, title = highlights(review(log))["most repeated"]
        times, _, day = words.split()
        return times, day, title

    often = [CatalogItem(f"track:{number}", f"Song {number}", ("Air",)) for number in range(25)]
    for day in range(1, 6):
        for number, item in enumerate(often):
            log.to(item, f"2026-05-{day:02} 08:{number:02}")
    for minute in (10, 20):
        log.to(LOSER, f"2026-04-02 12:{minute}")
    assert repeated() == ("2", "2026-04-02", "Beck – Loser")
    for minute in (10, 20):  # as often, but later
        log.to(often[0], f"2026-05-07 12:{minute}")
    assert repeated() == ("2", "2026-04-02", "Beck – Loser")
    log.to(often[0], "2026-05-07 13:00")
    assert repeated() == ("3", "2026-05-07", "Air – Song 0")
