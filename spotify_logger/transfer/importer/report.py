"""Count the rows of an import by result, and report the counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted
from spotify_logger.transfer.importer.dedup import RowStatus
from spotify_logger.transfer.importer.export_rows import SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.transfer.importer.files import FoundFiles

MAX_ROWS_SHOWN = 10
"""Maximum number of malformed rows shown."""

Problem = tuple[str, int, str]
"""The file, the number of the row, counted from 1, and what is wrong with it."""


@dataclass
class ImportSummary:
    """The counts of an import.

    Attributes:
        plays: Rows that hold a play; other rows are `skipped`.
        statuses: Plays that are decided.
        bad: The first malformed rows.
        broken: The rows at which files could not be read any further.
        items: How many catalog items from our own exports are "new", and how many "known"; so for `gaps`.
    """

    plays: int = 0
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    statuses: Counter[RowStatus] = field(default_factory=Counter)
    bad: list[Problem] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)
    items: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: SkipReason, problem: Problem) -> None:
        """Count a skipped row."""
        self.skipped[reason] += 1
        if reason is SkipReason.BAD and len(self.bad) < MAX_ROWS_SHOWN:
            self.bad.append(problem)


def import_answer(summary: ImportSummary, found: FoundFiles, *, dry_run: bool) -> Answer:
    """Return the answer of an import; exit code 1 if anything could not be read completely."""
    rows = summary.plays + summary.skipped.total()
    page = _page(f"{counted(rows, 'row')} in {counted(len(found.sources), 'file')}", summary, dry_run=dry_run)
    if notes := [(line,) for line in _notes(summary, found)]:
        page.append(Table(notes, flexible=0))
    problems = summary.bad + summary.broken
    data = {
        "dry_run": dry_run,
        "files": [source.name for source in found.sources],
        "rows": rows,
        **{status.name.lower(): summary.statuses[status] for status in RowStatus},
        **{why.name.lower(): summary.skipped[why] for why in SkipReason},
        "items": {"new": summary.items["new"], "known": summary.items["known"]},
        "gaps": {"new": summary.gaps["new"], "known": summary.gaps["known"]},
        "problems": [{"file": name, "row": number, "problem": words} for name, number, words in problems],
        "refused": [{"file": name, "problem": words} for name, words in found.refused],
        "passed_over": {
            "videos": summary.skipped[SkipReason.VIDEO],
            "others": found.others,
            "other_users": found.other_users,
        },
    }
    return Answer(data, page, 1 if summary.broken or found.refused else 0)


def samples_answer(summary: ImportSummary, samples: int, empty: int, *, dry_run: bool) -> Answer:
    """Return the answer of an import of samples, of which some are empty: they name no item."""
    plays = summary.statuses.total()
    head = f"{counted(plays, 'play')} in {counted(samples, 'sample')}, {empty:,} of which name no item"
    statuses = {status.name.lower(): summary.statuses[status] for status in RowStatus}
    data = {"dry_run": dry_run, "samples": samples, "empty": empty, "plays": plays, **statuses}
    return Answer(data, _page(head, summary, dry_run=dry_run))


def _page(head: str, summary: ImportSummary, *, dry_run: bool) -> list[str | Table]:
    counts = {status.value: summary.statuses[status] for status in RowStatus}
    counts |= {why.value: summary.skipped[why] for why in SkipReason}
    for what, found in (("catalog items", summary.items), ("gaps", summary.gaps)):
        counts |= {f"{what}, new": found["new"], f"{what}, already known": found["known"]}
    figures = [(f"{number:,}", name) for name, number in counts.items() if number]
    page: list[str | Table] = [f"{head}; nothing was written (--dry-run)" if dry_run else head]
    return [*page, Table(figures, right_aligned=(0,))] if figures else page


def _notes(summary: ImportSummary, found: FoundFiles) -> Iterator[str]:
    """Yield notes about what could not be read, and what was skipped."""
    yield from (f"{name}, row {number:,}: {words}" for name, number, words in summary.bad)
    more = summary.skipped[SkipReason.BAD] - len(summary.bad)
    if more:
        yield f"{counted(more, 'more row')} not understood"
    yield from (f"{name}, row {number:,}: {words}" for name, number, words in summary.broken)
    yield from (f"{name}: {words}" for name, words in found.refused)
    if found.other_users:
        yield f"{counted(found.other_users, 'file')} of other users skipped"
    if found.others:
        yield f"{counted(found.others, 'other file')} skipped"
