from __future__ import annotations

from typing import Any

import pytest

from spotify_logger.queries import top
from spotify_logger.report.answers import Answer, Table
from tests.indexed_log import IndexedLog, data_of, table_rows, texts
from tests.queries.items import DUET, EPISODE, LIVE, LOSER, QUO


@pytest.fixture
def history(log: IndexedLog) -> IndexedLog:
    log.to(LOSER, "2025-06-01 12:00", 150)
    log.to(QUO, "2025-06-01 12:05", 20)  # too short to count
    log.to(QUO, "2026-11-21 23:50", 345)
    log.to(LIVE, "2026-11-21 23:56", 300)
    log.to(LIVE, "2026-11-22 00:30", 360)
    log.skipped(DUET, "2026-11-22 00:36")
    log.to(DUET, "2026-11-22 10:00", 240)
    log.to(LOSER, "2026-11-22 10:04", 60)
    log.to(EPISODE, "2026-11-22 10:30", 3600)
    return log


def best(log: IndexedLog, kind: str, **more: object) -> Answer:
    return log.answer(top.top, kind, **more)


def headings(answer: Answer) -> list[str]:
    (table,) = [block for block in answer.page if isinstance(block, Table)]
    return list(table.headings)


def test_tracks_of_a_year(history: IndexedLog) -> None:
    history.gap("2025-12-31 23:00", "2026-01-01 02:00")
    answer = best(history, "tracks", year=2026)
    assert headings(answer) == ["", "track", "plays", "heard", "share", "2025"]
    assert table_rows(answer) == [
        ["1", "Daft Punk – Veridis Quo (Live)", "3", "16 min", "60.0 %", "new"],
        ["2", "Air, Beck – Duet", "1", "4 min", "20.0 %", "new"],
        ["3", "Beck – Loser", "1", "60 s", "20.0 %", "="],
    ]
    summary = "2026: 5 plays of at least 30 s, of 3 tracks; 21 min heard in all"
    assert texts(answer) == [summary, "At least: 1 gap (2 h) was not observed."]
    assert answer.csv_rows == data_of(answer)["top"]


def test_by_time(history: IndexedLog) -> None:
    assert [row[1:] for row in table_rows(best(history, "tracks", year=2026, by="time"))] == [
        ["Daft Punk – Veridis Quo (Live)", "3", "16 min", "76.7 %", "+16 min"],
        ["Air, Beck – Duet", "1", "4 min", "18.7 %", "new"],
        ["Beck – Loser", "1", "60 s", "4.6 %", "-1 min"],
    ]


def test_all_time_is_compared_with_nothing(history: IndexedLog) -> None:
    answer = best(history, "artists", limit=1)
    assert headings(answer) == ["", "artist", "plays", "heard", "share"]
    assert table_rows(answer) == [["1", "Daft Punk", "3", "17 min", "50.0 %"]]
    assert texts(answer) == ["all time: 6 plays of at least 30 s, of 3 artists; 24 min heard in all"]


def test_an_item_without_counted_plays_does_not_lower_the_earlier_rank(log: IndexedLog) -> None:
    short = [QUO._replace(key=f"track:{key}", name=key, isrc="") for key in ("first", "last")]
    for hour, item in enumerate((short[0], QUO, QUO, LOSER, short[1])):
        log.to(item, f"2025-06-01 {10 + hour}:00", 20 if item in short else 200)
        log.to(item, f"2026-06-01 {10 + hour}:00")
    lines: Any = data_of(best(log, "artists", year=2026))["top"]
    assert [(line["name"], line["rank_before"]) for line in lines] == [("Daft Punk", 1), ("Beck", 2)]


def test_nothing_of_the_kind(log: IndexedLog) -> None:
    log.to(QUO, "2026-11-22 10:00", 20)
    answer = best(log, "shows", year=2026)
    assert "No show" in "".join(texts(answer))
    assert (data_of(answer)["plays"], data_of(answer)["heard_ms"]) == (0, 0)


def test_shows_have_their_own_sums(history: IndexedLog) -> None:
    assert table_rows(best(history, "shows")) == [["1", "A Show", "1", "1 h", "100.0 %"]]


@pytest.mark.parametrize(
    ("uri", "title"),
    [
        ("spotify:album:d", "Daft Punk – Discovery"),
        ("spotify:album:h", "various artists – Hits"),
        ("spotify:artist:Beck", "Beck"),
        ("spotify:album:other", "https://open.spotify.com/album/other"),
        ("spotify:user:me:playlist:p", "https://open.spotify.com/user/me/playlist/p"),
        ("spotify:user:me:collection", "Liked Songs"),
        ("", "unknown"),
    ],
)
def test_contexts_by_name(log: IndexedLog, uri: str, title: str) -> None:
    log.to(LOSER, "2026-11-20 10:00")
    log.to(LOSER._replace(key="track:air", artists=["Air"]), "2026-11-20 11:00")
    log.play(QUO, "2026-11-22 10:00", context_uri=uri)
    answer = best(log, "contexts", period=log.between("2026-11-22", "2026-11-23"))
    assert table_rows(answer)[0][1] == title
    lines: Any = data_of(answer)["top"]
    assert lines[0]["key"] == (uri or "unknown")
