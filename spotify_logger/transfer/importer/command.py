"""`spotify-logger import`: import the exports of Spotify, of other loggers, and our own."""

import re
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from spotify_logger.core.player_state import PlayerState
from spotify_logger.report.answers import Answer, Block, Table
from spotify_logger.report.progress import progress_bar
from spotify_logger.report.words import Cell, Formatted, count_cell, filled, phrase
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete import remove_items
from spotify_logger.transfer.importer.dedup import RowStatus
from spotify_logger.transfer.importer.export_rows import SkipReason
from spotify_logger.transfer.importer.files import FoundFiles, find_sources
from spotify_logger.transfer.importer.ingest import import_plays, read_files, sorted_plays, temporary_table
from spotify_logger.transfer.importer.legacy_samples import plays_of, read_sample
from spotify_logger.transfer.importer.writer import ImportSummary, PlayWriter

if TYPE_CHECKING:
    from spotify_logger.report.progress import Progress

RESULTS = (*RowStatus, *SkipReason)
SAMPLE_KEYS = "activity:*"  # a million a year
_SAMPLE = re.compile(r"activity:([0-9]{1,10})")


class ImportOptions(NamedTuple):
    """What an import takes and does."""

    users: Collection[str] = ()  # whose files are read, of those that name a user; or they may only name one
    private: bool = False
    dry_run: bool = False
    restore: bool = False  # deleted plays, too


DEFAULTS = ImportOptions()


def import_history(
    archive: Archive,
    paths: Sequence[Path],
    options: ImportOptions = DEFAULTS,
    screen: "TextIO | Progress | None" = None,
) -> Answer:
    """Import the plays, items and gaps in files, folders and zips, and show the progress on a terminal.

    An interrupted import can be run again, and continues where it stopped.
    """
    found = find_sources(paths, options.users)
    if not found.sources and not found.refused:
        raise SpotifyLoggerError("nothing to import: no file has plays (name Spotify's zip or its folder)")
    writer = PlayWriter(archive, dry_run=options.dry_run)
    summary, size = writer.summary, sum(source.size for source in found.sources)
    with _import_on(screen) as progress, temporary_table() as database:
        for done in read_files(found.sources, database, writer, private=options.private):
            progress("reading", done, size)
        for done in import_plays(archive, sorted_plays(database), writer, restore=options.restore):
            progress("importing", done, summary.plays)
        if writer.loose_items:
            # Items whose plays were deleted before, or replaced now, may not be used any more.
            now = time.time()
            remove_items(archive, writer.loose_items - archive.items_before(int(now)), now)
    return _answer(summary, found, dry_run=options.dry_run)


def import_samples(archive: Archive, *, dry_run: bool = False, screen: TextIO | None = None) -> Answer:
    """Import plays from the samples that the script of 2019 left in the same Redis; the samples are kept."""
    writer, is_empty = PlayWriter(archive, dry_run=dry_run), list[bool]()
    with _import_on(screen) as progress:
        found = (match for names in archive.scan(SAMPLE_KEYS) for match in map(_SAMPLE.fullmatch, names))
        seconds = array("q", sorted({int(match[1]) for match in found if match is not None}))
        if not seconds:
            raise SpotifyLoggerError(
                f"Redis at {archive.where} has no samples: no key {SAMPLE_KEYS} (check REDIS_PREFIX)"
            )
        plays = plays_of(_read_samples(archive, seconds, is_empty))
        for _ in import_plays(archive, plays, writer):
            progress("importing", len(is_empty), len(seconds))
    results, samples, empty = writer.summary.results, len(seconds), sum(is_empty)
    counts = count_cell(results.total(), "play"), count_cell(samples, "sample"), empty
    head = filled("{} in {}, {} of which name no item", *counts)
    page = _page(head, writer.summary, dry_run=dry_run)
    data = {"dry_run": dry_run, "samples": samples, "empty": empty, "plays": results.total()}
    return Answer({**data, **{status.name.lower(): results[status] for status in RowStatus}}, page)


def _read_samples(
    archive: Archive, seconds: Sequence[int], is_empty: list[bool]
) -> Iterator[tuple[int, PlayerState]]:
    """Yield the second and the player state of each sample, and note whether it names no item."""
    names = (f"activity:{second}" for second in seconds)
    for second, fields in zip(seconds, archive.hashes(names), strict=True):
        state = read_sample(fields)
        is_empty.append(state.item is None)
        yield second, state


@contextmanager
def _import_on(screen: "TextIO | Progress | None") -> Iterator[Callable[[str, int, int], object]]:
    """Show a progress bar if the screen is a terminal, and add to a StoreError that the import can go on."""
    try:
        with progress_bar(screen) as progress:
            yield progress
    except StoreError as error:
        words = f"{error}; what has been imported is kept: run the import again to continue"
        raise StoreError(words, error.refused, error.codes) from None


def _answer(summary: ImportSummary, found: FoundFiles, *, dry_run: bool) -> Answer:
    """Return the answer of an import; exit code 1 if anything could not be read completely."""
    results, problems = summary.results, summary.bad + summary.broken
    notes: list[Cell] = [filled("{}, row {}: {}", *problem) for problem in problems]
    if more := results[SkipReason.BAD] - len(summary.bad):
        notes.append(phrase(count_cell(more, "more row"), "not understood"))
    notes += [f"{name}: {words}" for name, words in found.refused]
    if found.other_users:
        notes.append(phrase(count_cell(found.other_users, "file"), "of other users skipped"))
    if found.others:
        notes.append(phrase(count_cell(found.others, "other file"), "skipped"))
    head = phrase(count_cell(results.total(), "row"), "in", count_cell(len(found.sources), "file"))
    page = _page(head, summary, dry_run=dry_run)
    if notes:
        page.append(Table([(note,) for note in notes], flexible=0))
    data = {
        "dry_run": dry_run,
        "files": [source.name for source in found.sources],
        "rows": results.total(),
        **{result.name.lower(): results[result] for result in RESULTS},
        "items": {"new": summary.items["new"], "known": summary.items["known"]},
        "gaps": {"new": summary.gaps["new"], "known": summary.gaps["known"]},
        "problems": [{"file": name, "row": number, "problem": words} for name, number, words in problems],
        "refused": [{"file": name, "problem": words} for name, words in found.refused],
        "passed_over": {
            "videos": results[SkipReason.VIDEO],
            "others": found.others,
            "other_users": found.other_users,
        },
    }
    return Answer(data, page, 1 if summary.broken or found.refused else 0)


def _page(head: Formatted, summary: ImportSummary, *, dry_run: bool) -> list[Block]:
    counts = {result.value: summary.results[result] for result in RESULTS}
    for what, found in (("catalog items", summary.items), ("gaps", summary.gaps)):
        counts |= {f"{what}, new": found["new"], f"{what}, already known": found["known"]}
    figures = [(number, name) for name, number in counts.items() if number]
    page: list[Block] = [filled("{}; nothing was written (--dry-run)", head) if dry_run else head]
    return [*page, Table(figures, right_aligned=(0,))] if figures else page
