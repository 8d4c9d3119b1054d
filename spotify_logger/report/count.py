"""Show the result of `queries.count`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.queries.count import Count
from spotify_logger.report.answers import blocks, csv_rows
from spotify_logger.report.blocks import Block, Note, Table
from spotify_logger.report.cells import Cell, duration, phrase
from spotify_logger.report.phrases import did_you_mean, format_iso, gap_note
from spotify_logger.report.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.count import CountedTrack
    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import CsvRow

CSV_FIELDS = (
    "name", "artists", "album", "plays", "shorter", "skips", "heard_ms", "first", "last", "rank",
)  # fmt: skip


@blocks.register(Count)
def _(result: Count, question: Question) -> list[Block]:
    tracks = result.tracks
    if not result.known:
        return [Note(did_you_mean(f"Nothing matches “{result.text}”.", result.close))]
    if not tracks:
        return [Note(f"“{result.text}” was not played: {question.period.words}.")]
    rank = tracks[0].rank if len(tracks) == 1 else None
    rows: list[tuple[str, Cell]] = [
        ("what", result.song.title if result.song else phrase(len(tracks), "tracks")),
        ("plays", result.plays),
        ("shorter", result.shorter),
        ("skipped", result.skips),
        ("heard", duration(result.heard_ms)),
        ("rank", None if rank is None else phrase(rank, "of", result.ranked, "tracks")),
        ("first", format_iso(question.zone, result.first)),
        ("last", format_iso(question.zone, result.last)),
    ]
    page: list[Block] = [Table([row for row in rows if row[1] not in ("", None)])]
    page += _editions(tracks) if result.song else _list(tracks, question.limit)
    if result.less_close:
        page.append(Note(f"Not counted: {counted(result.less_close, 'track')} matching less closely."))
    return [*page, *gap_note(result.unseen)]


def _editions(tracks: Sequence[CountedTrack]) -> list[Block]:
    """Return which editions of a song were counted together, if there are several."""
    sums: dict[tuple[str, str], list[int]] = {}
    for edition in (edition for track in tracks for edition in track.editions):
        amounts = sums.setdefault((edition.name, edition.album), [0, 0])
        amounts[0] += edition.plays
        amounts[1] += edition.heard_ms
    if len(sums) == 1:
        return []
    rows = [(*names, plays, duration(heard_ms)) for names, (plays, heard_ms) in sums.items()]
    return [Note(Table(rows, ("counted together", "album", "plays", "heard"), [2, 3], flexible=0))]


def _list(tracks: Sequence[CountedTrack], number: int) -> list[Block]:
    rows = [
        (track.title, track.plays, duration(track.heard_ms), track.rank, track.album)
        for track in tracks[:number]
    ]
    more = [Note(f"and {counted(len(tracks) - number, 'more track')}")] if len(tracks) > number else []
    return [Note(Table(rows, ("track", "plays", "heard", "rank", "album"), [1, 2, 3], flexible=0)), *more]


@csv_rows.register(Count)
def _(result: Count) -> list[CsvRow]:
    return [
        {**{name: getattr(track, name) for name in CSV_FIELDS}, "key": track.keys[0]}
        for track in result.tracks
    ]
