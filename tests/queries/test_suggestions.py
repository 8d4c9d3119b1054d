from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.queries.index import Index
from spotify_logger.queries.item_page import suggestions
from tests.indexed_log import CatalogItem
from tests.queries.items import DUET, EPISODE, LOSER, QUO, QUO_AGAIN

if TYPE_CHECKING:
    from tests.indexed_log import IndexedLog

VERDI = CatalogItem("track:verdi", "Veridis Quotidian", ["Daft Punk"], "Veridis", "v", "X1")
PLAYS = ((QUO, 2), (QUO_AGAIN, 1), (VERDI, 4), (DUET, 2), (LOSER, 1), (EPISODE, 1))
DAFT = "Daft Punk – "


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("veridis q", {"tracks": [(f"{DAFT}Veridis Quotidian", 4), (f"{DAFT}Veridis Quo", 3)]}),
        ("veridis quo", {"tracks": [(f"{DAFT}Veridis Quo", 3), (f"{DAFT}Veridis Quotidian", 4)]}),
        ("loser", {"tracks": [("Beck – Loser", 1)]}),
        ("a sh", {"shows": [("A Show", 1)]}),
        (
            "beck",  # with those who are credited beside them
            {
                "tracks": [("Air, Beck – Duet", 2), ("Beck – Loser", 1)],
                "artists": [("Beck", 3)],
                "albums": [("various artists – Hits", 3)],
            },
        ),
        ("verdis qou", {}),
    ],
)
def test_of_each_kind_the_closest_and_most_played_come_first(
    log: IndexedLog, text: str, wanted: dict[str, list[tuple[str, int]]]
) -> None:
    log.all(
        (item, log.second("2026-11-20 12:00") + 600 * minute + 60 * number, 200.0, "trackdone")
        for number, (item, plays) in enumerate(PLAYS)
        for minute in range(plays)
    )
    with closing(Index(log.store)) as index:
        suggested = suggestions(index.sync(), log.ask(), text)
    found = {kind: [(line.title, line.plays) for line in lines] for kind, lines in suggested.found.items()}
    assert {kind: lines for kind, lines in found.items() if lines} == wanted
    assert suggested.close == ([] if wanted else [f"{DAFT}Veridis Quo", f"{DAFT}Veridis Quotidian"])
