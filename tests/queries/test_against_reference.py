"""Random logs in a real server: every answer equals that of the slow reference."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spotify_logger.core import periods
from spotify_logger.queries import count, heatmaps, item_page, summary, timeline, top, year_review
from spotify_logger.report.words import counted
from tests import reference
from tests.random_logs import DAY, FAMILIES, logs, question_from, write
from tests.reference import ReferencePeriod

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.random_logs import LogAndArguments
    from tests.reference import ReferenceItem

TEXTS = (
    "veridis quo",
    "quo",
    "DISCOVERY",
    "air",
    "hits",
    "tyler, the creator",
    "a show",
    "nothing",
    "hits punk daft",
    "boy-air",
    "tyler air",
)
"""Parts and whole names; titles that are albums, artists with commas, words in another order."""
ITEMS = sorted({item for family in FAMILIES for item in family}, key=lambda item: item.key)
examples = settings(max_examples=50, deadline=None)


@examples
@given(case=logs(), number=st.integers(1, 30), text=st.sampled_from(TEXTS), is_old=st.booleans())
def test_figures_of_a_period(
    redis_server: EmbeddedServer, case: LogAndArguments, number: int, text: str, *, is_old: bool
) -> None:
    log, words = case
    question = question_from(log, words)
    with closing(write(redis_server, log, is_old=is_old)) as store:
        archive = store.archive()
        for kind in top.CHOICES:
            assert top.top(archive, replace(question, limit=number), kind).data == log.top(kind, number)
        assert summary.stats(archive, question).data == log.stats()
        assert heatmaps.clock(archive, question).data == log.clock()
        answer = count.count(archive, question, text)
        assert answer.data == log.count(text)
    left_out = log.left_out(text)
    line = f"Not counted: {counted(left_out, 'track')} matching less closely."
    assert [line] * bool(left_out) == [block for block in answer.page if str(block).startswith("Not counted")]


@examples
@given(case=logs(), data=st.data())
def test_days(redis_server: EmbeddedServer, case: LogAndArguments, data: st.DataObject) -> None:
    log, words = case
    seconds = st.sampled_from([play.second for play in log.plays] or [log.now])
    day = reference.day_of(data.draw(seconds) + data.draw(st.sampled_from((0, 0, -86_400, 3600))), log.zone)
    now = data.draw(seconds) + data.draw(st.sampled_from((0, 365 * DAY, 365 * DAY + 3600, 731 * DAY)))
    later = replace(
        log,
        plays=[play for play in log.plays if play.second <= now],
        exact=False,
        period=ReferencePeriod(),
        now=now,
    )
    with closing(write(redis_server, log)) as store:
        found: Any = timeline.day(store, question_from(log, words), day).data
    found["timeline"] = [line.get("key", line.get("gap")) for line in found["timeline"]]
    assert found == log.day(day)
    with closing(write(redis_server, later)) as store:
        memories = timeline.on_this_day(store, replace(question_from(later, words), exact=False))
    assert memories.data == later.on_this_day()


@examples
@given(case=logs())
def test_a_year(redis_server: EmbeddedServer, case: LogAndArguments) -> None:
    log, words = case
    second = log.plays[-5].second if log.plays[4:] else log.now
    year = reference.day_of(second, log.zone).year
    question = question_from(log, words)
    question = replace(question, period=periods.year(question.zone, year))
    log = log.on(reference.year(year, log.zone))
    with closing(write(redis_server, log)) as store:
        archive = store.archive()
        assert heatmaps.calendar(archive, question).data == log.calendar(year)
        assert year_review.year(archive, question).data == log.review(year)


@examples
@given(case=logs(), kind=st.sampled_from(("artists", "albums", "tracks")), data=st.data())
def test_an_item_page(
    redis_server: EmbeddedServer, case: LogAndArguments, kind: str, data: st.DataObject
) -> None:
    log, words = case
    item = data.draw(st.sampled_from([play.item for play in log.plays] or ITEMS))
    text = {
        "artists": (item.credited or ["Nobody"])[-1],
        "albums": f"album:{item.album_id}",
        "tracks": item.key,
    }[kind]
    assume(kind != "albums" or item.album_id)  # else its name may be that of several
    log = log.alone()
    same: dict[str, Callable[[ReferenceItem], bool]] = {
        "artists": lambda other: text in other.credited,
        "albums": lambda other: other.album_id == item.album_id,
        "tracks": lambda other: other == item,
    }
    own = [play for play in log.inside if same[kind](play.item)]
    things = [thing for play in own for thing in log.things(kind, play) if kind != "artists" or thing == text]
    with closing(write(redis_server, log)) as store:
        question = replace(question_from(log, words), limit=4)
        answer: Any = item_page.page(store.archive(), question, kind, text).data
    if not things:
        assert answer["found"] is None or kind == "artists"
        return
    assert answer["candidates"] == []
    assert answer["found"] == log.item_page(kind, things[0], 4)
    assert answer["unseen"] == log.unseen()
