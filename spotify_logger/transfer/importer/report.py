"""Count the rows of an import by result, and report the counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted
from spotify_logger.transfer.importer.export_rows import SkippedRow, SkipReason
from spotify_logger.transfer.importer.pairing import RowStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.transfer.importer.files import FoundFiles

MAX_ROWS_SHOWN = 10
"""Malformed rows shown at most."""


@dataclass
class ImportSummary:
    """The counts of an import.

    Attributes:
        rows: The number of rows read, including malformed ones.
        skipped: The number of skipped rows, by reason.
        statuses: The number of other rows, by status.
        bad: The first malformed rows: the file, the number of the row, and what is wrong with it.
        broken: Files that could not be read completely: the file, the number of the row, and the error.
        items: The number of catalog items from our own exports that are "new", and "known" already.
        gaps: The same for gaps.
    """

    rows: int = 0
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    statuses: Counter[RowStatus] = field(default_factory=Counter)
    bad: list[tuple[str, int, str]] = field(default_factory=list)
    broken: list[tuple[str, int, str]] = field(default_factory=list)
    items: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)

    def skip(self, skipped: SkippedRow, name: str, number: int) -> None:
        """Count a skipped row.

        Args:
            skipped: The row.
            name: The file.
            number: The number of the row in the file, counted from 1.
        """
        self.skipped[skipped.reason] += 1
        if skipped.reason is SkipReason.BAD and len(self.bad) < MAX_ROWS_SHOWN:
            self.bad.append((name, number, skipped.detail))


def import_answer(summary: ImportSummary, found: FoundFiles, *, dry_run: bool) -> Answer:
    """Return the answer of an import; exit code 1 if anything could not be read completely.

    Args:
        summary: The counts.
        found: The files.
        dry_run: Whether nothing was written.
    """
    head = f"{counted(summary.rows, 'row')} in {counted(len(found.sources), 'file')}"
    page = _page(head, summary, dry_run=dry_run)
    page += [Table(rows, flexible=0) for rows in [[(line,) for line in _notes(summary, found)]] if rows]
    return Answer(_data(summary, found, dry_run=dry_run), page, 1 if summary.broken or found.refused else 0)


def samples_answer(summary: ImportSummary, samples: int, empty: int, *, dry_run: bool) -> Answer:
    """Return the answer of an import of samples.

    Args:
        summary: The counts.
        samples: The number of samples read.
        empty: The number of samples without an item.
        dry_run: Whether nothing was written.
    """
    plays = summary.statuses.total()
    head = f"{counted(plays, 'play')} in {counted(samples, 'sample')}, {empty:,} of which name no item"
    statuses = {status.name.lower(): summary.statuses[status] for status in RowStatus}
    data = {"dry_run": dry_run, "samples": samples, "empty": empty, "plays": plays, **statuses}
    return Answer(data, _page(head, summary, dry_run=dry_run))


def _page(head: str, summary: ImportSummary, *, dry_run: bool) -> list[str | Table]:
    figures = [(f"{number:,}", name) for name, number in _figures(summary) if number]
    page: list[str | Table] = [f"{head}; nothing was written (--dry-run)" if dry_run else head]
    return [*page, Table(figures, right_aligned=(0,))] if figures else page


def _figures(summary: ImportSummary) -> Iterator[tuple[str, int]]:
    """Yield what to count and the count: rows by result, then other records."""
    yield from ((status.value, summary.statuses[status]) for status in RowStatus)
    yield from ((why.value, summary.skipped[why]) for why in SkipReason)
    for what, counts in (("catalog items", summary.items), ("gaps", summary.gaps)):
        yield f"{what}, new", counts["new"]
        yield f"{what}, already known", counts["known"]


def _notes(summary: ImportSummary, found: FoundFiles) -> Iterator[str]:
    """Yield notes about what could not be read, and what was skipped."""
    yield from (f"{name}, row {number:,}: {words}" for name, number, words in summary.bad)
    more = summary.skipped[SkipReason.BAD] - len(summary.bad)
    if more:
        yield f"{counted(more, 'more row')} not understood"
    yield from (f"{name}, row {number:,}: {words}" for name, number, words in summary.broken)
    yield from (f"{name}: {words}" for name, words in found.refused)
    if found.videos:
        yield f"{counted(found.videos, 'file')} about videos skipped: only listening is imported"
    if found.others:
        yield f"{counted(found.others, 'other file')} skipped"


def _data(summary: ImportSummary, found: FoundFiles, *, dry_run: bool) -> dict[str, object]:
    problems = [
        {"file": name, "row": number, "problem": words}
        for name, number, words in summary.bad + summary.broken
    ]
    return {
        "dry_run": dry_run,
        "files": [source.name for source in found.sources],
        "rows": summary.rows,
        **{status.name.lower(): summary.statuses[status] for status in RowStatus},
        **{why.name.lower(): summary.skipped[why] for why in SkipReason},
        "items": {"new": summary.items["new"], "known": summary.items["known"]},
        "gaps": {"new": summary.gaps["new"], "known": summary.gaps["known"]},
        "problems": problems,
        "refused": [{"file": name, "problem": words} for name, words in found.refused],
        "passed_over": {"videos": found.videos, "others": found.others},
    }
