from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger.core.periods import month, parse_month, year
from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.times import utc_time
from spotify_logger.queries.index import Index
from spotify_logger.queries.milestones import milestones
from spotify_logger.queries.sql import ANY, ARTISTS, TRACKS
from tests.queries.items import DUET, QUO, SEXY

if TYPE_CHECKING:
    from spotify_logger.core.periods import Period
    from tests.indexed_log import IndexedLog

HOUR = 3600


def reached(log: IndexedLog, period: Period) -> list[tuple[str, str, int, str]]:
    """Return the milestones of a period: when, kind, number and name."""
    with closing(Index(log.store)) as index:
        found = milestones(index.sync(), log.ask(period=period))
    return [(each.when, each.kind, each.number, each.name) for each in found]


def test_they_are_the_plays_that_count_with_round_numbers_whenever_the_earlier_ones_were(
    log: IndexedLog,
) -> None:
    begin = log.second("2025-12-01 00:00")
    items = [(QUO, 200.0), (SEXY, 5.0), (DUET, 60.0)]
    plays = [(*items[number % 3], begin + HOUR * number) for number in range(1600)]
    log.all((item, second, heard, TRACKDONE) for item, heard, second in plays)
    counting = [(item, second) for item, _, second in plays if item is not SEXY]
    of = {(TRACKS, each.name): [play for play in counting if play[0] is each] for each in (QUO, DUET)}
    for name in ("Daft Punk", "Air", "Beck"):
        of[ARTISTS, name] = [play for play in counting if name in play[0].artists]
    wanted = [(utc_time(those[99][1]), kind, 100, name) for (kind, name), those in of.items()]
    wanted.append((utc_time(counting[999][1]), ANY, 1000, counting[999][0].name))
    everything = [*reached(log, year(log.zone, 2025)), *reached(log, year(log.zone, 2026))]
    assert sorted(everything) == sorted(wanted, key=str)
    by_month = (
        reached(log, month(log.zone, parse_month(each))) for each in ("2025-12", "2026-01", "2026-02")
    )
    assert [each for those in by_month for each in those] == everything
    log.all((SEXY, log.second(f"{of} 10:00"), 60.0, TRACKDONE) for of in ("2027-01-01", "2030-05-06"))
    assert [*reached(log, year(log.zone, 2025)), *reached(log, year(log.zone, 2026))] == everything
