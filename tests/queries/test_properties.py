"""Random logs in a real server: every answer has to be what the slow reference makes of them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.queries import count, summary, timeline, top
from spotify_logger.report.words import counted
from tests import reference
from tests.logs import DAY, logs, question_from, write
from tests.reference import Period

if TYPE_CHECKING:
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.logs import LogAndArguments
    from tests.reference import Data

TEXTS = (
    "veridis quo",
    "quo",
    "DISCOVERY",
    "air",
    "daft punk",
    "hits",
    "tyler, the creator",
    "a show",
    "nothing",
    "quo veridis",
    "hits punk daft",
    "boy-air",
    "tyler air",
)
"""Short ones, long ones; titles that are albums, artists with commas; words in another order."""


def data_of(answer: Answer) -> Data:
    assert isinstance(answer.data, dict)
    return answer.data


examples = settings(max_examples=40, deadline=None)


@examples
@given(case=logs(), number=st.integers(1, 30), is_old=st.booleans())
def test_top(redis_server: EmbeddedServer, case: LogAndArguments, number: int, *, is_old: bool) -> None:
    log, words = case
    with closing(write(redis_server, log, is_old=is_old)) as store:
        question = question_from(log, [*words, "-n", str(number)])
        for kind in top.CHOICES:
            assert data_of(top.top(store.archive(), question, kind)) == log.top(kind, number)


@examples
@given(case=logs(), text=st.sampled_from(TEXTS))
def test_count(redis_server: EmbeddedServer, case: LogAndArguments, text: str) -> None:
    log, words = case
    with closing(write(redis_server, log)) as store:
        answer = count.count(store.archive(), question_from(log, words), text)
        assert data_of(answer) == log.count(text)
    left_out = [line for line in answer.page if isinstance(line, str) and line.startswith("Not counted: ")]
    number = log.left_out(text)
    assert left_out == [f"Not counted: {counted(number, 'track')} matching less closely."] * bool(number)


@examples
@given(case=logs(), is_old=st.booleans())
def test_stats(redis_server: EmbeddedServer, case: LogAndArguments, *, is_old: bool) -> None:
    log, words = case
    with closing(write(redis_server, log, is_old=is_old)) as store:
        assert data_of(summary.stats(store.archive(), question_from(log, words))) == log.stats()


@examples
@given(case=logs(), data=st.data())
def test_a_day(redis_server: EmbeddedServer, case: LogAndArguments, data: st.DataObject) -> None:
    log, words = case
    seconds = [play.second for play in log.plays] or [log.now]
    which = reference.day_of(
        data.draw(st.sampled_from(seconds)) + data.draw(st.sampled_from((0, 0, -86_400, 3600))), log.zone
    )
    with closing(write(redis_server, log)) as store:
        found = data_of(timeline.day(store, question_from(log, words), which))
    lines: list[Data] = found["timeline"]  # type: ignore[assignment]
    found["timeline"] = [line.get("key", line.get("gap")) for line in lines]
    assert found == log.day(which)


@examples
@given(case=logs(), data=st.data())
def test_on_this_day(redis_server: EmbeddedServer, case: LogAndArguments, data: st.DataObject) -> None:
    log, words = case
    now = data.draw(st.sampled_from([play.second for play in log.plays] or [log.now]))
    now += data.draw(st.sampled_from((0, 365 * DAY, 365 * DAY, 730 * DAY))) + data.draw(
        st.sampled_from((0, 0, DAY, 3600))
    )
    plays = [play for play in log.plays if play.second <= now]
    log = replace(log, plays=plays, exact=False, period=Period(), now=now)
    with closing(write(redis_server, log)) as store:
        found = timeline.on_this_day(store, replace(question_from(log, words), exact=False))
    assert found.data == log.on_this_day()
