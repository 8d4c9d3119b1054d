"""Answers: their blocks, and how they are written for a terminal or a pipe, as JSON or CSV.

JSON and CSV are made of the fields of a result; how people see it is registered in `report.music`,
`report.periods` and `report.plays`. Foreign text never sends a control character to a terminal. Times are
local on screen and UTC in JSON and CSV.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import singledispatch
from importlib import import_module
from typing import Any, Literal, NamedTuple, TextIO, TypeAlias

from spotify_logger.core.day_sums import Session, Streak, Sums
from spotify_logger.core.periods import Period
from spotify_logger.core.times import seconds_of
from spotify_logger.queries.question import PLAYS, TIME, Amount, Question, measure
from spotify_logger.queries.sql import Unseen
from spotify_logger.report import words
from spotify_logger.report.words import Cell, Formatted, counted, formatted, heard
from spotify_logger.system.log import JOINERS, sanitize

Row = tuple[str, Cell]
CsvValue: TypeAlias = str | int | float | bool | None
CsvRow: TypeAlias = Mapping[str, CsvValue]  # the values by column name
# Excel treats full-width signs (from Japanese keyboards) like the ASCII ones, and skips leading blanks.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")  # noqa: RUF001 - these are meant
_STAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})\.[0-9]{3}Z")


class Table(NamedTuple):
    """A table; only a terminal shows the headings."""

    rows: Sequence[Sequence[Cell]]
    headings: Sequence[str] = ()
    right_aligned: Sequence[int] = ()  # columns
    flexible: int = 1  # the column that takes the width the others leave
    single_line: bool = False  # truncate cells that are too long, as if there were headings, not wrap them
    bars: Sequence[float] = ()  # the length of a bar behind each row, not negative, on a terminal


class Columns(NamedTuple):
    """Two tables, side by side if the terminal is wide enough, otherwise one below the other."""

    left: Table
    right: Table


class Chart(NamedTuple):
    """Rows of numbers that are not negative, which a terminal draws.

    "week" has a shaded cell for each hour, a row for each day from Monday; "year" one for each day of a year,
    and days without a row stay blank; "heights" is a bar for each row, labelled by a letter if it is narrow.
    """

    form: Literal["week", "year", "heights"]
    rows: Sequence[tuple[str, *tuple[int, ...]]]  # the label first; of a year, the date
    unit: str  # what is counted, such as "plays"


class Note(NamedTuple):
    """What is no part of the table that a pipe gets: it goes to standard error there."""

    block: "Block"


Block: TypeAlias = str | Formatted | Table | Columns | Chart | Note  # text is a paragraph


class Answer(NamedTuple):
    """The result of a command, in every output format."""

    data: object  # for JSON
    page: Sequence[Block]  # for people
    code: int = 0  # the exit code
    csv_rows: Sequence[CsvRow] = ()  # all with the same columns


# What charts show, and its size in plays or milliseconds.
UNITS = {PLAYS: (PLAYS, 1), TIME: ("minutes", words.MINUTE_MS)}
# Where the results of a module are shown; all others are in `report.music`.
RENDERERS = {"charts": "periods", "summary": "periods", "timeline": "plays", "status": "plays"}


@singledispatch
def blocks(result: object, question: Question) -> Sequence[Block]:
    """Return what people see of the result of a query."""
    raise NotImplementedError(type(result))


@singledispatch
def csv_rows(result: object) -> Sequence[CsvRow]:
    """Return the result of a query as CSV rows: by default those of its list, in all columns."""
    names = ("top", "week", "calendar", "periods", "lines")
    return next((list(map(to_json, getattr(result, name))) for name in names if hasattr(result, name)), [])


def columns(line: object, names: Iterable[str], **more: CsvValue) -> CsvRow:
    """Return some fields of a line as a CSV row, unless `more` has them; those of neither are None."""
    return {name: more.get(name, getattr(line, name, None)) for name in names}


@singledispatch
def to_json(value: object) -> Any:  # noqa: ANN401 - what JSON can hold
    """Return the result of a query, or a part of it, for JSON; `from_` becomes "from", a keyword."""
    if hasattr(value, "lines"):  # of plays, or of days
        return to_json(value.lines)
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
    renderer = RENDERERS.get(type(result).__module__.rpartition(".")[2], "music")
    import_module(f"spotify_logger.report.{renderer}")  # start-up time: one only
    amounts = ("plays", "shorter", "heard_ms", "periods")
    is_empty = renderer == "periods" and not any(getattr(result, name, None) for name in amounts)
    page = [nothing_played(question.period)] if is_empty else blocks(result, question)
    is_well = getattr(result, "well", getattr(result, "known", True))
    return Answer(to_json(result), page, int(not is_well), csv_rows(result))


def figures(result: object, question: Question, *rows: str | Row) -> Table:
    """Return a table of figures, without those that do not exist: fields by their names, and other rows."""
    named = (row if isinstance(row, tuple) else (row, _figure(result, question, row)) for row in rows)
    return Table([row for row in named if row[1] not in ("", None)])


def _figure(result: Any, question: Question, name: str) -> Cell:  # noqa: ANN401 - any result
    match name:
        case "period":
            return question.period.words
        case "heard":
            return heard(result.heard_ms)
        case "plays" if hasattr(result, "shorter"):  # on a terminal, how many do not count as well
            others = f"{result.plays:,} {question.rule_words}, {counted(result.shorter, 'other')}"
            return Formatted(others, str(result.plays))
        case "plays":
            return words.phrase(result.plays, question.rule_words)
    return cell(getattr(result, name.replace(" ", "_")), question)


def cell(value: object, question: Question) -> Cell:
    """Return a number, a time, a session, a streak or the sums of a day as a cell; None without one."""
    match value:
        case str():
            return words.format_time(question.zone, seconds_of(value))
        case Session(begin, ms):
            return words.filled("{} from {}", heard(ms), cell(begin, question))
        case Streak(days, begin):
            return words.phrase(counted(days, "day"), f"from {begin}") if days else None
        case Sums(_, when, plays, heard_ms):
            return words.filled("{}, {}, {}", str(when), heard(heard_ms), counted(plays, "play"))
    return value if isinstance(value, int) else None


def nothing_played(period: Period) -> Note:
    """Return the message for a period without plays."""
    if period.begin is None and period.end is None:
        return Note("Nothing has been logged yet.")
    return Note(f"No plays in this period ({period.words}).")


def gap_note(unseen: Unseen) -> list[Note]:
    """Return the note that marks figures as a minimum, in a list; an empty list without gaps."""
    verb, length = "was" if unseen.gaps == 1 else "were", words.exact_duration(unseen.seconds)
    note = f"At least: {counted(unseen.gaps, 'gap')} ({length}) {verb} not observed."
    return [Note(note)] if unseen.gaps else []


def amount(of: Amount, by: str) -> int | Formatted:
    """Return the plays or the time as a cell."""
    return heard(of.heard_ms) if by == TIME else of.plays


def bars(sums: Sequence[Sums], by: str) -> Table:
    """Return a bar chart of the amounts of units of time."""
    rows = [(str(each.when), amount(each, by)) for each in sums]
    return Table(rows, right_aligned=[1], bars=[measure(each, by) for each in sums])


def ranking(noun: str, by: str, lines: Iterable[tuple[str, Cell]]) -> Table:
    """Return a table of titles and amounts with their ranks."""
    headings = ("", noun, "heard" if by == TIME else PLAYS)
    return Table([(rank, *line) for rank, line in enumerate(lines, 1)], headings, [0, 2])


def write_answer(answer: Answer, out: TextIO, form: Literal["page", "json", "csv"] = "page") -> None:
    """Write an answer; a page for people on a terminal, or tab-separated in a pipe, with notes on stderr."""
    if form == "json":
        # ASCII output escapes everything that could change the state of a terminal or the text direction.
        print(json.dumps(answer.data, indent=2), file=out)
    elif form == "csv":
        write_csv(answer.csv_rows, out)
    elif out.isatty():
        from spotify_logger.report.terminal import render  # noqa: PLC0415 - rich is slow to import

        render(answer.page, out)
    else:
        for block in answer.page:
            target = sys.stderr if isinstance(block, Note) else out
            for line in _lines(block):
                print(*(sanitize(formatted(cell).for_programs) for cell in line), sep="\t", file=target)


def _lines(block: Block) -> Iterator[Sequence[Cell]]:
    """Yield the lines of a block for a pipe, as cells, without the headings of a table."""
    match block:
        case str() | Formatted():
            yield [block]
        case Note(noted):
            yield from _lines(noted)
        case Table(rows) | Chart(_, rows):
            yield from rows
        case Columns(left, right):
            yield from (*left.rows, *right.rows)


def to_cell(value: CsvValue) -> str | int | float:
    """Return a value as a cell that no spreadsheet evaluates as a formula and that is safe on a terminal.

    A text that starts with a sign like "=", or with blanks and apostrophes before one, gets an apostrophe in
    front. A time becomes "2026-11-22 18:00:00", which LibreOffice and Excel take for a date in any language.
    """
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return value
    if stamp := _STAMP.fullmatch(value):
        return " ".join(stamp.groups())
    if not value.isprintable():
        shown = (c if c.isprintable() or c in JOINERS else " " if c.isspace() else "�" for c in value)
        value = "".join(shown)
    return f"'{value}" if _FORMULA.match(value) else value


def from_cell(text: str) -> str:
    """Return the text of which `to_cell` made a cell, except for a time or a control character."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(rows: Iterable[CsvRow], out: TextIO) -> None:
    """Stream rows with the same columns as CSV (RFC 4180) in UTF-8, with a header line if there are any."""
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8")
    writer = csv.writer(out)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow(map(to_cell, row.values()))
