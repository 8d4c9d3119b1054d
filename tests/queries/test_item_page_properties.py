"""Random logs again: the pictures, the year in review, and the pages of artists, albums and tracks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spotify_logger.core import periods
from spotify_logger.queries import heatmaps, item_page, year_review
from tests import reference, reference_pages
from tests.logs import FAMILIES, logs, question_from, write
from tests.reference_pages import ReferencePage, alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.logs import LogAndArguments
    from tests.reference import Data, ReferenceItem, ReferenceLog

examples = settings(max_examples=30, deadline=None)
ITEMS = sorted({item for family in FAMILIES for item in family}, key=lambda item: item.key)


@examples
@given(case=logs())
def test_clock(redis_server: EmbeddedServer, case: LogAndArguments) -> None:
    log, words = case
    with closing(write(redis_server, log)) as store:
        assert heatmaps.clock(store.archive(), question_from(log, words)).data == reference_pages.clock(log)


def of_a_year(
    server: EmbeddedServer, case: LogAndArguments, answer: Callable[[Archive, Question], Answer]
) -> tuple[object, ReferenceLog, int]:
    """What is answered about the year of the last play but four, and the log of that year."""
    log, words = case
    second = log.plays[-5].second if log.plays[4:] else log.now
    year = reference.day_of(second, log.zone).year
    question = question_from(log, words)
    with closing(write(server, log)) as store:
        found = answer(store.archive(), replace(question, period=periods.year(question.zone, year)))
    return found.data, log.on(reference.year(year, log.zone)), year


@examples
@given(case=logs())
def test_calendar(redis_server: EmbeddedServer, case: LogAndArguments) -> None:
    found, log, year = of_a_year(redis_server, case, heatmaps.calendar)
    assert found == reference_pages.calendar(log, year)


@examples
@given(case=logs())
def test_year(redis_server: EmbeddedServer, case: LogAndArguments) -> None:
    found, log, year = of_a_year(redis_server, case, year_review.year)
    assert found == reference_pages.review(log, year)


@examples
@given(case=logs(), kind=st.sampled_from(("artists", "albums", "tracks")), data=st.data())
def test_page(redis_server: EmbeddedServer, case: LogAndArguments, kind: str, data: st.DataObject) -> None:
    log, words = case
    item = data.draw(st.sampled_from([play.item for play in log.plays] or ITEMS))
    text = {
        "artists": (item.known().credited or ["Nobody"])[-1],
        "albums": f"album:{item.album_id}",
        "tracks": item.key,
    }[kind]
    assume(kind != "albums" or item.album_id)  # else its name may be that of several
    log = alone(log)
    same: dict[str, Callable[[ReferenceItem], bool]] = {
        "artists": lambda other: text in other.credited,
        "albums": lambda other: other.known().album_id == item.album_id,
        "tracks": lambda other: other == item,
    }
    own = [play for play in log.inside if same[kind](play.item)]
    things = [thing for play in own for thing in log.things(kind, play) if kind != "artists" or thing == text]
    with closing(write(redis_server, log)) as store:
        answer: Data = item_page.page(
            store.archive(), replace(question_from(log, words), limit=4), kind, text
        ).data  # type: ignore[assignment]
    if not things:
        assert answer["found"] is None or kind == "artists"
        return
    assert answer["candidates"] == []
    assert answer["found"] == ReferencePage(log, kind, things[0]).data(4)
    assert answer["unseen"] == log.unseen()
