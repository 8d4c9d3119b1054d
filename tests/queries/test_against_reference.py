"""Random logs in a real server: every answer equals that of the slow reference."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.queries import item_page, summary, top
from spotify_logger.queries.index import Index
from spotify_logger.queries.question import TIME
from spotify_logger.queries.sql import ARTISTS, CHOICES, TRACKS
from spotify_logger.report.answers import to_json
from tests.random_logs import logs, question_from, write

if TYPE_CHECKING:
    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.random_logs import LogAndArguments


@settings(max_examples=25, deadline=None)
@given(case=logs(), number=st.integers(1, 30))
def test_figures_of_a_period(redis_server: EmbeddedServer, case: LogAndArguments, number: int) -> None:
    log, words = case
    question = question_from(log, words)
    with closing(write(redis_server, log)) as store, closing(Index(store)) as index:
        found = index.sync()
        for kind in CHOICES:
            whole = to_json(top.top(found, replace(question, limit=1000), kind))
            expected: Any = log.top(kind)
            measure = "heard_ms" if question.by == TIME else "plays"
            assert [line[measure] for line in whole["top"]] == [line[measure] for line in expected["top"]]
            first = to_json(top.top(found, replace(question, limit=number), kind))
            assert first == {**whole, "top": whole["top"][:number]}
            assert whole.pop("compared_with") == (question.period.previous and question.period.previous.words)
            for line in whole["top"]:  # ties may have any order
                assert bool(line.pop("rank_before")) == bool(line["plays_before"])
                assert line.pop("text")
            assert without_ties(whole) == without_ties(expected)
        assert to_json(summary.stats(found, question)) == log.stats()


@settings(max_examples=25, deadline=None)
@given(case=logs())
def test_figures_of_every_track_and_artist(redis_server: EmbeddedServer, case: LogAndArguments) -> None:
    log, words = case
    question = question_from(log, words)
    tracks = {(log.track(play.item), play.item.key) for play in log.inside if play.item.is_music}
    artists = {(name, name) for play in log.inside for name in log.things(ARTISTS, play)}
    with closing(write(redis_server, log)) as store, closing(Index(store)) as index:
        found = index.sync()
        for kind, things in ((TRACKS, tracks), (ARTISTS, artists)):
            for thing, text in things:
                data = to_json(item_page.page(found, question, kind, str(text)))["found"]
                expected = log.item(kind, thing)
                assert {name: data[name] for name in expected} == expected


def without_ties(ranking: dict[str, Any]) -> dict[str, Any]:
    """Return a ranking without the order of equals, and which of equal items names a track."""
    arbitrary = {"rank", "key"} | ({"name", "artists"} if ranking["kind"] == "tracks" else set())
    lines = [{name: line[name] for name in line.keys() - arbitrary} for line in ranking["top"]]
    return {**ranking, "top": sorted(lines, key=lambda line: sorted(line.items()).__repr__())}
