"""The overview agrees with `stats` and `top` about the same period."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from spotify_logger.core.periods import Period, between
from spotify_logger.queries import summary, top
from spotify_logger.queries.index import Index
from spotify_logger.queries.sql import KINDS, Log
from spotify_logger.queries.summary import TOP_COUNT, overview
from spotify_logger.report.answers import to_json
from tests.indexed_log import IndexedLog, data_of
from tests.queries.items import DUET, QUO, SEXY


def test_it_says_what_stats_and_top_say(log: IndexedLog) -> None:
    log.to(QUO, "2025-11-22 23:59")  # a day too early
    log.to(QUO, "2025-11-23 00:00")
    log.to(SEXY, "2026-05-01 12:00", heard=100)
    log.to(DUET, "2026-05-02 12:00")
    log.to(QUO, "2026-11-20 23:00", heard=10)
    log.skipped(SEXY, "2026-11-22 18:00")
    log.gap("2026-11-01 00:00", "2026-11-01 02:00")
    period = between(log.second("2025-11-23 00:00"), None, "the last 12 months")
    with closing(Index(log.store)) as index:
        stats, top_lines = to_json(overview(Log(index.sync(), log.store), log.ask(period=period)))
    assert {"stats": stats, "top": top_lines} == expected(log, period)
    assert (stats["plays"], stats["unseen"]) == (3, {"gaps": 1, "seconds": 7200})


def expected(log: IndexedLog, period: Period) -> dict[str, object]:
    """Return what the commands say."""
    tops: dict[str, Any] = {
        kind: data_of(log.answer(top.top, kind, period=period, limit=TOP_COUNT))["top"] for kind in KINDS
    }
    shown = ("name", "artists", "plays", "heard_ms", "key")
    return {
        "stats": data_of(log.answer(summary.stats, period=period)),
        "top": {
            kind: [{name: line[name] for name in shown} | {"when": None} for line in tops[kind]]
            for kind in KINDS
        },
    }
