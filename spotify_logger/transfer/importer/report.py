"""What came of an import, counted so that it adds up; and how that is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted
from spotify_logger.transfer.importer.export_rows import Left, Why
from spotify_logger.transfer.importer.pairing import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.transfer.importer.files import Found

SHOWN = 10
"""Rows that could not be understood are shown up to so many."""


@dataclass
class Things:
    """Of what comes beside the plays: how much was new, and how much is there already."""

    new: int = 0
    known: int = 0

    def __add__(self, other: Things) -> Things:
        return Things(self.new + other.new, self.known + other.known)


@dataclass
class Tally:
    """The figures of an import.

    Attributes:
        rows: Rows that were read, those that were not understood included.
        left: How many rows were left out, and why.
        verdicts: What the others are.
        bad: The first rows that were not understood: file, number of the row, what is wrong with it.
        broken: Files that could not be read to their end: file, number of the row, what is wrong.
        items: Items of the catalogue in exports of this program.
        gaps: Gaps in them.
    """

    rows: int = 0
    left: Counter[Why] = field(default_factory=Counter)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    bad: list[tuple[str, int, str]] = field(default_factory=list)
    broken: list[tuple[str, int, str]] = field(default_factory=list)
    items: Things = field(default_factory=Things)
    gaps: Things = field(default_factory=Things)

    def leave(self, left: Left, name: str, number: int) -> None:
        """Count a row that is left out.

        Args:
            left: Why.
            name: The file.
            number: Which row of it, the first one being 1.
        """
        self.left[left.why] += 1
        if left.why is Why.BAD and len(self.bad) < SHOWN:
            self.bad.append((name, number, left.words))


def told(tally: Tally, found: Found, *, dry_run: bool) -> Answer:
    """The answer to the command; exit code 1 if there is anything that could not be read to its end.

    Args:
        tally: The figures.
        found: The files.
        dry_run: Whether nothing was written.
    """
    head = f"{counted(tally.rows, 'row')} in {counted(len(found.sources), 'file')}"
    figures = [(f"{number:,}", name) for name, number in _figures(tally) if number]
    page: list[str | Table] = [f"{head}; nothing was written (--dry-run)" if dry_run else head]
    page += [Table(rows, numbers=(0,)) for rows in [figures] if rows]
    page += [Table(rows, wide=0) for rows in [[(line,) for line in _notes(tally, found)]] if rows]
    return Answer(_data(tally, found, dry_run=dry_run), page, 1 if tally.broken or found.refused else 0)


def told_of_samples(tally: Tally, samples: int, empty: int, *, dry_run: bool) -> Answer:
    """The answer to the command that makes plays of samples.

    Args:
        tally: The figures.
        samples: How many samples were read.
        empty: How many of them told of nothing.
        dry_run: Whether nothing was written.
    """
    plays = tally.verdicts.total()
    head = f"{counted(plays, 'play')} in {counted(samples, 'sample')}, {empty:,} of which tell of nothing"
    figures = [(f"{number:,}", name) for name, number in _figures(tally) if number]
    page: list[str | Table] = [f"{head}; nothing was written (--dry-run)" if dry_run else head]
    page += [Table(rows, numbers=(0,)) for rows in [figures] if rows]
    verdicts = {verdict.name.lower(): tally.verdicts[verdict] for verdict in Verdict}
    return Answer({"dry_run": dry_run, "samples": samples, "empty": empty, "plays": plays, **verdicts}, page)


def _figures(tally: Tally) -> Iterator[tuple[str, int]]:
    """All the rows, by what became of them, and then what else there was."""
    yield from ((verdict.value, tally.verdicts[verdict]) for verdict in Verdict)
    yield from ((why.value, tally.left[why]) for why in Why)
    yield "items of the catalogue, new", tally.items.new
    yield "items of the catalogue, known", tally.items.known
    yield "gaps, new", tally.gaps.new
    yield "gaps, known", tally.gaps.known


def _notes(tally: Tally, found: Found) -> Iterator[str]:
    """What could not be read, and what was not looked at."""
    yield from (f"{name}, row {number:,}: {words}" for name, number, words in tally.bad)
    more = tally.left[Why.BAD] - len(tally.bad)
    if more:
        yield f"{counted(more, 'more row')} not understood"
    yield from (f"{name}, row {number:,}: {words}" for name, number, words in tally.broken)
    yield from (f"{name}: {words}" for name, words in found.refused)
    if found.videos:
        yield f"{counted(found.videos, 'file')} about videos passed over: what was watched is no play"
    if found.others:
        yield f"{counted(found.others, 'other file')} passed over"


def _data(tally: Tally, found: Found, *, dry_run: bool) -> dict[str, object]:
    problems = [
        {"file": name, "row": number, "problem": words} for name, number, words in tally.bad + tally.broken
    ]
    return {
        "dry_run": dry_run,
        "files": [source.name for source in found.sources],
        "rows": tally.rows,
        **{verdict.name.lower(): tally.verdicts[verdict] for verdict in Verdict},
        **{why.name.lower(): tally.left[why] for why in Why},
        "items": {"new": tally.items.new, "known": tally.items.known},
        "gaps": {"new": tally.gaps.new, "known": tally.gaps.known},
        "problems": problems,
        "refused": [{"file": name, "problem": words} for name, words in found.refused],
        "passed_over": {"videos": found.videos, "others": found.others},
    }
