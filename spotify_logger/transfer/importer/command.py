"""`spotify-logger import`: import the exports of Spotify, of other loggers, and our own.

An interrupted import can be run again and continues where it stopped.
"""

from __future__ import annotations

import re
import time
from array import array
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TextIO

from spotify_logger.report.progress import progress_bar
from spotify_logger.storage.client import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete.plays import remove_items
from spotify_logger.transfer.importer.files import find_sources
from spotify_logger.transfer.importer.ingest import import_plays, read_files, sorted_plays, temporary_table
from spotify_logger.transfer.importer.legacy_samples import plays_of, read_sample
from spotify_logger.transfer.importer.report import import_answer, samples_answer
from spotify_logger.transfer.importer.writer import PlayWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from spotify_logger.core.player_state import PlayerState
    from spotify_logger.report.blocks import Answer
    from spotify_logger.report.progress import Progress
    from spotify_logger.storage.bulk import Archive

SAMPLE_KEYS = "activity:*"
_SAMPLE = re.compile(r"activity:([0-9]{1,10})")


class ImportOptions(NamedTuple):
    """What an import takes and does.

    Attributes:
        users: Whose files are read, of those that name a user; if empty, they may only name one.
        private: Whether private sessions are imported, too.
        dry_run: Whether nothing is written.
        restore: Whether deleted plays are imported again.
    """

    users: Collection[str] = ()
    private: bool = False
    dry_run: bool = False
    restore: bool = False


DEFAULTS = ImportOptions()


def import_history(
    archive: Archive,
    paths: Sequence[Path],
    options: ImportOptions = DEFAULTS,
    screen: TextIO | None = None,
) -> Answer:
    """Import the plays, items and gaps in files, folders and zips.

    Progress is shown on `screen` if that is a terminal. The exit code is 1 if a file could not be read
    completely.

    Raises:
        SpotifyLoggerError: There is nothing to import, or no space for a temporary file.
        StoreError: Redis went away. What was imported so far is kept.
    """
    found = find_sources(paths, options.users)
    if not found.sources and not found.refused:
        raise SpotifyLoggerError(
            "nothing to import: no file holds plays (name the zip or the folder that Spotify sent you)"
        )
    writer = PlayWriter(archive, dry_run=options.dry_run)
    summary, size = writer.summary, sum(source.size for source in found.sources)
    with _import_on(screen) as progress, temporary_table() as database:
        for done in read_files(found.sources, database, writer, private=options.private):
            progress("reading", done, size)
        for _ in import_plays(archive, sorted_plays(database), writer, restore=options.restore):
            progress("importing", summary.statuses.total(), summary.plays)
        if writer.loose_items:
            # Items whose plays were deleted before, or replaced now, may not be used any more.
            now = time.time()
            remove_items(archive, writer.loose_items - archive.items_before(int(now)), now)
    return import_answer(summary, found, dry_run=options.dry_run)


def import_samples(archive: Archive, *, dry_run: bool = False, screen: TextIO | None = None) -> Answer:
    """Import plays from the samples that the script of 2019 left in the same Redis; the samples are kept.

    Raises:
        SpotifyLoggerError: There are no samples.
        StoreError: Redis went away. What was imported so far is kept.
    """
    writer = PlayWriter(archive, dry_run=dry_run)
    is_empty: Counter[bool] = Counter()
    with _import_on(screen) as progress:
        seconds = _sample_seconds(archive)
        if not seconds:
            raise SpotifyLoggerError(
                f"Redis at {archive.where} has no samples: no key {SAMPLE_KEYS} (check REDIS_PREFIX)"
            )
        plays = plays_of(_read_samples(archive, seconds, is_empty))
        for _ in import_plays(archive, plays, writer):
            progress("importing", is_empty.total(), len(seconds))
    return samples_answer(writer.summary, len(seconds), is_empty[True], dry_run=dry_run)


def _sample_seconds(archive: Archive) -> Sequence[int]:
    """Return the seconds of all samples in chronological order; there may be a million a year."""
    found = (match for names in archive.scan(SAMPLE_KEYS) for match in map(_SAMPLE.fullmatch, names))
    return array("q", sorted({int(match[1]) for match in found if match is not None}))


def _read_samples(
    archive: Archive, seconds: Sequence[int], is_empty: Counter[bool]
) -> Iterator[tuple[int, PlayerState]]:
    """Yield the second and the player state of each sample, and count those without an item."""
    names = (f"activity:{second}" for second in seconds)
    for second, fields in zip(seconds, archive.hashes(names), strict=True):
        state = read_sample(fields)
        is_empty[state.item is None] += 1
        yield second, state


@contextmanager
def _import_on(screen: TextIO | None) -> Iterator[Progress]:
    """Show a progress bar if the screen is a terminal, and add to a StoreError that the import can go on."""
    try:
        with progress_bar(screen) as progress:
            yield progress
    except StoreError as error:
        words = f"{error}; what has been imported is kept: run the import again to continue"
        raise StoreError(words, error.refused, error.codes) from None
