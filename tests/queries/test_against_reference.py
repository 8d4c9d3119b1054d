"""Random logs in a real server: every answer equals that of the slow reference."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.queries import ranking, summary, top
from tests.random_logs import logs, question_from, write

if TYPE_CHECKING:
    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.random_logs import LogAndArguments


@settings(max_examples=25, deadline=None)
@given(case=logs(), number=st.integers(1, 30))
def test_figures_of_a_period(redis_server: EmbeddedServer, case: LogAndArguments, number: int) -> None:
    log, words = case
    question = question_from(log, words)
    with closing(write(redis_server, log)) as store:
        for kind in ranking.CHOICES:
            assert top.top(store, replace(question, limit=number), kind).data == log.top(kind, number)
        assert summary.stats(store, question).data == log.stats()
