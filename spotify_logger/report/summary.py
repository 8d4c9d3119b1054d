"""Shows `stats` as a table of figures; those about days are part of other answers, too."""

from __future__ import annotations

from dataclasses import astuple, is_dataclass
from typing import TYPE_CHECKING

from spotify_logger.queries.summary import Stats
from spotify_logger.report.answers import blocks, csv_rows, to_json
from spotify_logger.report.blocks import Block, Table
from spotify_logger.report.cells import Cell, filled, heard, phrase
from spotify_logger.report.phrases import format_iso, gap_note, nothing_played
from spotify_logger.report.words import percentage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.charts import Calendar
    from spotify_logger.queries.figures import Streak
    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import CsvRow

    Row = tuple[str, Cell]


@blocks.register(Stats)
def _(result: Stats, question: Question) -> Sequence[Block]:
    if not result.plays and not result.shorter:
        return [nothing_played(question.period)]
    tracks, artists = (
        filled("{}, {} of them new", number, new) if result.from_ else number
        for number, new in ((result.tracks, result.new_tracks), (result.artists, result.new_artists))
    )
    session, longest = result.longest_session, None
    if session:
        longest = filled("{} from {}", heard(session.ms), format_iso(question.zone, session.from_))
    rate = "–" if result.skip_rate is None else percentage(result.skip_rate, 1)
    rows: list[Row] = [
        ("period", question.period.words),
        ("plays", phrase(result.plays, f"{question.rule_words},", result.shorter, _others(result.shorter))),
        ("heard", heard(result.heard_ms)),
        ("tracks", tracks),
        ("artists", artists),
        ("albums", result.albums),
        ("shows", result.shows or None),
        ("skips", phrase(result.skips, f"({rate})")),
        ("sessions", result.sessions),
        ("longest session", longest),
        *day_rows(result),
    ]
    return [figures(rows), *gap_note(result.unseen)]


@csv_rows.register(Stats)
def _(result: Stats) -> Sequence[CsvRow]:
    names = to_json(result)
    values = (getattr(result, name, getattr(result, f"{name}_", None)) for name in names)
    return [{"figure": name, "value": _flat(value)} for name, value in zip(names, values, strict=True)]


def figures(rows: Sequence[Row]) -> Table:
    """Return a table of figures, without those that do not exist."""
    return Table([row for row in rows if row[1] is not None])


def day_rows(result: Stats | Calendar, of: str = "") -> list[Row]:
    """Return how the plays spread over the days; `of` follows the number of days, like "of 366"."""
    busiest = None
    if day := result.busiest_day:
        plays = "play" if day.plays == 1 else "plays"
        busiest = filled(f"{day.day}, {{}}, {{}} {plays}", heard(day.heard_ms), day.plays)
    return [
        ("days", phrase(result.days, f"{of} with plays".lstrip())),
        ("longest streak", _streak(result.longest_streak)),
        ("current streak", _streak(result.current_streak)),
        ("busiest day", busiest),
    ]


def _streak(streak: Streak) -> Cell:
    days = "day" if streak.days == 1 else "days"
    return phrase(streak.days, f"{days} from {streak.from_}") if streak.days else None


def _others(number: int) -> str:
    return "other" if number == 1 else "others"


def _flat(value: object) -> str | int | float | None:
    """Return a value as a CSV cell; the parts of an object are joined by spaces."""
    if is_dataclass(value) and not isinstance(value, type):
        return " ".join(map(str, astuple(value)))
    return value if isinstance(value, str | int | float) else None
