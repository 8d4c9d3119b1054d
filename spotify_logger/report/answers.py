"""Turn the result of a query into an answer: JSON and CSV from its fields, and blocks for people.

How results are shown is registered in `report.music`, `report.periods` and `report.plays`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from importlib import import_module
from typing import TYPE_CHECKING, Any

from spotify_logger.core.day_sums import Sums
from spotify_logger.queries.question import PLAYS, TIME, Amount, measure
from spotify_logger.report.blocks import Answer, Block, Note, Table
from spotify_logger.report.words import Formatted, counted, exact_duration, heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.core.periods import Period
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.sql import Unseen
    from spotify_logger.report.blocks import CsvRow
    from spotify_logger.report.words import Cell

    Row = tuple[str, Cell]

RENDERERS = {"charts": "periods", "summary": "periods", "timeline": "plays", "status": "plays"}
"""Where the results of a module are shown; all others are in `report.music`."""


@singledispatch
def blocks(result: object, question: Question) -> Sequence[Block]:
    """Return what people see of the result of a query."""
    raise NotImplementedError(type(result))


@singledispatch
def csv_rows(result: object) -> Sequence[CsvRow]:
    """Return the result of a query as CSV rows: by default those of its list, in all columns."""
    names = ("top", "week", "calendar", "periods")
    return next((list(map(to_json, getattr(result, name))) for name in names if hasattr(result, name)), [])


def columns(line: object, names: Iterable[str]) -> dict[str, Any]:
    """Return some fields of a line as a CSV row; those that it does not have are None."""
    return {name: getattr(line, name, None) for name in names}


@singledispatch
def to_json(value: object) -> Any:  # noqa: ANN401 - what JSON can hold
    """Return the result of a query, or a part of it, for JSON; `from_` becomes "from", a keyword."""
    match value:
        case Sums(unit, when, plays, heard_ms):
            return {unit: when, "plays": plays, "heard_ms": heard_ms}
        case Mapping():
            return {name: to_json(each) for name, each in value.items()}
        case list() | tuple():
            return [to_json(each) for each in value]
    if is_dataclass(value):
        return {each.name.removesuffix("_"): to_json(getattr(value, each.name)) for each in fields(value)}
    return value


def to_answer(result: object, question: Question) -> Answer:
    """Return the answer of a command to a question."""
    module = type(result).__module__.rpartition(".")[2]
    import_module(f"spotify_logger.report.{RENDERERS.get(module, 'music')}")  # start-up time: one only
    code = getattr(result, "exit_code", int(not getattr(result, "known", True)))
    return Answer(to_json(result), blocks(result, question), code, csv_rows(result))


def figures(rows: Iterable[Row]) -> Table:
    """Return a table of figures, without those that do not exist."""
    return Table([row for row in rows if row[1] not in ("", None)])


def nothing_played(period: Period) -> Note:
    """Return the message for a period without plays."""
    if period.begin is None and period.end is None:
        return Note("Nothing has been logged yet.")
    return Note(f"No plays in this period ({period.words}).")


def gap_note(unseen: Unseen) -> list[Note]:
    """Return the note that marks figures as a minimum, in a list; an empty list without gaps."""
    verb, length = "was" if unseen.gaps == 1 else "were", exact_duration(unseen.seconds)
    note = f"At least: {counted(unseen.gaps, 'gap')} ({length}) {verb} not observed."
    return [Note(note)] if unseen.gaps else []


def amount(of: Amount, by: str) -> int | Formatted:
    """Return the plays or the time as a cell."""
    return heard(of.heard_ms) if by == TIME else of.plays


def plays_and_others(plays: int, shorter: int, question: Question) -> Formatted:
    """Return the plays that count, and on a terminal how many do not."""
    others = f"{plays:,} {question.rule_words}, {counted(shorter, 'other')}"
    return Formatted(others, str(plays))


def bars(sums: Sequence[Sums], by: str) -> Table:
    """Return a bar chart of the amounts of units of time."""
    rows = [(str(each.when), amount(each, by)) for each in sums]
    return Table(rows, right_aligned=[1], bars=[measure(each, by) for each in sums])


def ranking(noun: str, by: str, lines: Iterable[tuple[str, Cell]]) -> Table:
    """Return a table of titles and amounts with their ranks."""
    headings = ("", noun, "heard" if by == TIME else PLAYS)
    return Table([(rank, *line) for rank, line in enumerate(lines, 1)], headings, [0, 2])
