"""Shows `top` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.queries.question import TIME, Question
from spotify_logger.queries.tallies import NOUNS
from spotify_logger.queries.top import RankedLine, Top
from spotify_logger.report.answers import blocks, csv_rows, to_json
from spotify_logger.report.blocks import Block, Note, Table
from spotify_logger.report.cells import Cell, change, heard, heard_change, share
from spotify_logger.report.phrases import gap_note
from spotify_logger.report.words import counted, listening_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.report.csv_output import CsvRow


@blocks.register(Top)
def _(result: Top, question: Question) -> Sequence[Block]:
    noun, period = NOUNS[result.kind], question.period
    if not result.top:
        return [Note(f"No {noun} has plays {question.rule_words}: {period.words}.")]
    whole = result.heard_ms if result.by == TIME else result.plays
    before = [period.previous.words] if period.previous else []
    table = Table(
        [_row(line, result.by, whole) for line in result.top],
        ["", noun, "plays", "heard", "share", *before],
        [0, 2, 3, 4, 5],
    )
    total = f"{period.words}: {counted(result.plays, 'play')} {question.rule_words}"
    in_all = f"{total}, of {counted(result.number, noun)}; {listening_time(result.heard_ms)} heard in all"
    return [table, Note(in_all), *gap_note(result.unseen)]


@csv_rows.register(Top)
def _(result: Top) -> Sequence[CsvRow]:
    rows: list[CsvRow] = to_json(result)["top"]
    return rows


def _row(line: RankedLine, by: str, whole: int) -> list[Cell]:
    measure = line.heard_ms if by == TIME else line.plays
    row: list[Cell] = [line.rank, line.title, line.plays, heard(line.heard_ms), share(measure, whole)]
    if line.plays_before is None or line.heard_ms_before is None:
        return row
    if by == TIME:
        return [*row, heard_change(line.heard_ms, line.heard_ms_before)]
    return [*row, change(line.plays, line.plays_before)]
