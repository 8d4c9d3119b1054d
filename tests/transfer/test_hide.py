"""What is hidden leaves the statistics and stays in the log."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.queries import sql
from spotify_logger.queries.charts import clock
from spotify_logger.queries.count import count
from spotify_logger.queries.index import Index
from spotify_logger.queries.summary import stats
from spotify_logger.queries.timeline import day, recent
from spotify_logger.queries.top import top
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.delete import forget, undo
from spotify_logger.transfer.export import LogPeriod, export_file, records
from spotify_logger.transfer.hide import hidden, hidden_things, hide
from spotify_logger.transfer.importer.command import import_history
from tests.indexed_log import CatalogItem, IndexedLog
from tests.queries.items import DUET, EPISODE, LOSER, QUO, QUO_AGAIN, SEXY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.report.answers import Answer

ITEMS = (QUO, QUO_AGAIN, SEXY, DUET, LOSER, EPISODE)


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    """A log with two plays of an artist's track under two IDs, and one of each other item."""
    log = IndexedLog(redis_url, Zone("Europe/Berlin"), "2026-11-22 19:00")
    for number, item in enumerate(ITEMS):
        log.play(item, f"2026-11-22 1{number}:00")
    yield log
    log.store.close()


def hide_in(log: IndexedLog, kind: str, text: str) -> Answer:
    with closing(Index(log.store)) as index:
        return index.ask(lambda asked: hide(asked, log.ask(), kind, text))


def ranked(log: IndexedLog, kind: str = sql.TRACKS) -> list[str]:
    answer = log.answer(top, kind)
    assert isinstance(answer.data, dict)
    return sorted(line["name"] for line in answer.data["top"])


@pytest.mark.parametrize(
    ("kind", "text", "key", "left"),
    [
        ("tracks", "veridis quo", "track:again", ["Duet", "Loser", "Sexy Boy"]),
        ("artists", "AIR", "artist:Air", ["Loser", "Veridis Quo"]),
        ("artists", "artist:Beck", "artist:Beck", ["Sexy Boy", "Veridis Quo"]),
        ("shows", "a show", "show:A Show", ["Duet", "Loser", "Sexy Boy", "Veridis Quo"]),
    ],
)
def test_hidden_plays_stay_in_the_log_and_leave_every_statistic(
    log: IndexedLog, kind: str, text: str, key: str, left: list[str]
) -> None:
    before = [log.answer(query).data for query in (stats, clock, recent)]
    assert hide_in(log, kind, text).data == {"hidden": [key]}
    assert ranked(log) == left
    counted = sum(item.name in left for item in ITEMS) + (kind != sql.SHOWS)
    figures = log.answer(stats).data
    assert isinstance(figures, dict)
    assert (figures["plays"], figures["sessions"]) == (counted, counted)
    assert log.answer(clock).data["plays"] == counted  # type: ignore[index]
    lines = log.answer(recent).data
    assert isinstance(lines, list)
    assert len(lines) == len(ITEMS)
    assert sum("hidden" in line for line in lines) == len(ITEMS) - counted
    today = log.answer(day, log.ask().today).data
    assert (today["plays"], len(today["timeline"])) == (counted, len(ITEMS))  # type: ignore[index]
    assert undo(log.store).data == {"plays": 0, "shown": key}
    assert [log.answer(query).data for query in (stats, clock, recent)] == before


def test_plays_to_come_are_hidden_too_and_others_are_not(log: IndexedLog) -> None:
    hide_in(log, "artists", "Air")
    log.play(SEXY, "2026-11-22 17:00")
    log.play(LOSER, "2026-11-22 18:00")
    assert ranked(log, sql.ARTISTS) == ["Beck", "Daft Punk"]
    sexy_boy = log.answer(count, "sexy boy")
    assert sexy_boy.data["plays"] == 0  # type: ignore[index]
    assert "hidden" in str(sexy_boy.page)
    assert log.answer(count, "loser").data["plays"] == 2  # type: ignore[index]


def test_a_name_that_means_several_hides_none(log: IndexedLog) -> None:
    log.play(LOSER._replace(key="track:other", artists=["Air"], isrc="OTHER"), "2026-11-22 18:00")
    answer = hide_in(log, "tracks", "Loser")
    assert (answer.code, hidden_things(log.store)) == (1, [])
    assert "track:other" in str(answer.page)
    assert hide_in(log, "tracks", "track:other").code == 0
    assert hide_in(log, "shows", "Daft Punk").code == 1
    assert [thing.title for thing in hidden_things(log.store)] == ["Air – Loser"]
    assert "track:other" in str(hidden(log.store, log.ask()).page)


def test_undo_takes_back_the_latest_of_what_was_hidden_and_deleted(log: IndexedLog) -> None:
    hide_in(log, "artists", "Air")
    forget(LogPeriod(log.store), "loser", log.ask().now + 60, None)
    answer = undo(log.store, "artist:Beck")
    assert (answer.code, "artist:Beck is not hidden" in str(answer.page)) == (1, True)
    assert undo(log.store).data == {"plays": 1}
    assert undo(log.store).data == {"plays": 0, "shown": "artist:Air"}
    assert undo(log.store).code == 1


def test_a_backup_has_what_is_hidden(log: IndexedLog, redis_url: str, tmp_path: Path) -> None:
    hide_in(log, "artists", "Air")
    export_file(LogPeriod(log.store), "jsonl", tmp_path / "log.zip")
    year = LogPeriod(log.store, end=log.second("2027-01-01"))
    assert "hidden" not in [record["kind"] for record in records(year)]
    with closing(Archive(redis_url, "restored:")) as other:
        answer = import_history(other, [tmp_path / "log.zip"])
        assert hidden_things(other) == hidden_things(log.store)
    assert answer.data["items"] == {"new": len(ITEMS), "known": 0}  # type: ignore[index]


def test_an_artist_without_an_id_is_hidden_by_name(log: IndexedLog) -> None:
    for number, name in enumerate(("Old Band", "OLD  BAND")):
        key = f"local:{number}"
        log.to(CatalogItem(key), f"2026-11-22 0{number}:00")
        log.store.write([("HSET", log.store.key(key), "name", f"Tape {number}", "artists", name)])
    assert hide_in(log, "artists", "Old Band").data == {"hidden": ["artist:old band"]}
    assert "Tape" not in str(ranked(log))
    assert undo(log.store, "artist:old band").code == 0
    assert "Tape" in str(ranked(log))
