"""Show the result of `queries.compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.times import seconds_of
from spotify_logger.queries.compare import Comparison, SharedLine
from spotify_logger.queries.question import TIME
from spotify_logger.queries.status import UNNAMED
from spotify_logger.queries.tallies import ARTISTS, NOUNS, TRACKS
from spotify_logger.report.answers import blocks
from spotify_logger.report.blocks import Block, Note, Table
from spotify_logger.report.cells import Cell, heard
from spotify_logger.report.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.question import Question


@blocks.register(Comparison)
def _(result: Comparison, question: Question) -> list[Block]:
    names = [each.name or UNNAMED for each in result.listeners]
    figures: list[list[Cell]] = [
        ["plays", *(each.plays for each in result.listeners)],
        ["heard", *(heard(each.heard_ms) for each in result.listeners)],
        ["artists", *(each.artists for each in result.listeners)],
        ["tracks", *(each.tracks for each in result.listeners)],
    ]
    artists, tracks = counted(result.common.artists, "artist"), counted(result.common.tracks, "track")
    rows = [
        _row(line, NOUNS[kind], names, question)
        for kind, lines in ((ARTISTS, result.artists), (TRACKS, result.tracks))
        for line in lines
    ]
    page: list[Block] = [
        Note(Table(figures, [question.period.words, *names], right_aligned=[1, 2], flexible=0)),
        Note(f"In common: {artists}, {tracks}."),
    ]
    return [*page, Table(rows, ["", "", "", *names, "first"], [0, 3, 4], flexible=2)] if rows else page


def _row(line: SharedLine, noun: str, names: Sequence[str], question: Question) -> list[Cell]:
    amounts = [heard(each) for each in line.heard_ms] if question.by == TIME else line.plays
    left, right = (seconds_of(each or "") or 0 for each in line.first)
    first = "both" if left == right else names[left > right]
    return [line.rank, noun, line.name, *amounts, f"{first}, {question.zone.day(min(left, right))}"]
