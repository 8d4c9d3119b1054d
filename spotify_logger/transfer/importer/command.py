"""`spotify-logger import`: import Spotify's exports and our own.

An interrupted import can be run again and continues where it stopped.
"""

from __future__ import annotations

import re
import time
from array import array
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from spotify_logger.storage.client import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete.catalog import remove_items
from spotify_logger.transfer.importer.files import find_sources
from spotify_logger.transfer.importer.ingest import Importer
from spotify_logger.transfer.importer.legacy_samples import plays_of, read_sample
from spotify_logger.transfer.importer.pairing import RowStatus
from spotify_logger.transfer.importer.progress import progress_on
from spotify_logger.transfer.importer.report import ImportSummary, import_answer, samples_answer
from spotify_logger.transfer.importer.row_table import RowTable, temporary_table
from spotify_logger.transfer.importer.writer import PlayWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spotify_logger.core.player_state import PlayerState
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.importer.files import SourceFile
    from spotify_logger.transfer.importer.progress import Progress

SAMPLE_KEYS = "activity:*"
"""The pattern of the keys of samples."""
_SAMPLE = re.compile(r"activity:([0-9]{1,10})")


def import_history(
    archive: Archive,
    paths: Sequence[Path],
    *,
    private: bool = False,
    dry_run: bool = False,
    screen: TextIO | None = None,
) -> Answer:
    """Import the plays, items and gaps in files.

    Args:
        archive: The log.
        paths: Files, folders and zips.
        private: Whether to import private sessions too.
        dry_run: Write nothing, only report what would be imported.
        screen: Where progress is shown, if it is a terminal.

    Returns:
        The result; exit code 1 if a file could not be read completely.

    Raises:
        SpotifyLoggerError: There is nothing to import, or no space for a temporary file.
        StoreError: Redis went away. What was imported so far is kept.
    """
    found = find_sources(paths)
    if not found.sources and not found.refused:
        names = "Streaming_History_Audio_*.json, endsong_*.json or StreamingHistory*.json"
        raise SpotifyLoggerError(f"nothing to import: Spotify's files are called {names}")
    summary, writer = ImportSummary(), PlayWriter(archive, dry_run=dry_run)
    with suggest_rerun(), progress_on(screen) as progress, temporary_table() as database:
        rows = RowTable(database, int(time.time() * 1000), summary, writer, private=private)
        _read_files(rows, found.sources, progress)
        done = 0
        for number in Importer(archive, summary, writer).import_plays(rows.sorted_plays()):
            done += number
            progress("importing", done, rows.plays)
        if summary.statuses[RowStatus.FORGOTTEN]:
            # Items whose plays were deleted before are not used any more.
            now = time.time()
            remove_items(archive, writer.items - archive.items_before(int(now)), now)
    return import_answer(summary, found, dry_run=dry_run)


def import_samples(archive: Archive, *, dry_run: bool = False, screen: TextIO | None = None) -> Answer:
    """Import plays from the samples that the script of 2019 left in the same Redis; the samples are kept.

    Args:
        archive: The log, and the samples.
        dry_run: Write nothing, only report what would be imported.
        screen: Where progress is shown, if it is a terminal.

    Raises:
        SpotifyLoggerError: There are no samples.
        StoreError: Redis went away. What was imported so far is kept.
    """
    summary, samples = ImportSummary(), _Samples(archive)
    writer = PlayWriter(archive, dry_run=dry_run)
    with suggest_rerun(), progress_on(screen) as progress:
        total = samples.find()
        if not total:
            raise SpotifyLoggerError(
                f"Redis at {archive.where} has no samples: no key {SAMPLE_KEYS} (REDIS_PREFIX?)"
            )
        for _ in Importer(archive, summary, writer).import_plays(plays_of(samples.read())):
            progress("importing", samples.done, total)
    return samples_answer(summary, total, samples.empty, dry_run=dry_run)


class _Samples:
    """Reads the samples in chronological order; only their seconds are kept in memory.

    Attributes:
        done: The number of samples read.
        empty: The number of samples without an item.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._seconds = array("q")
        self.done = self.empty = 0

    def find(self) -> int:
        """Find the samples, and return their number."""
        found = (
            match for names in self._archive.scan(SAMPLE_KEYS) for match in map(_SAMPLE.fullmatch, names)
        )
        seconds = array("q", (int(match[1]) for match in found if match is not None))
        # A key may be found more than once.
        self._seconds = array("q", (second for second, _ in groupby(sorted(seconds))))
        return len(self._seconds)

    def read(self) -> Iterator[tuple[int, PlayerState]]:
        """Yield the second since the epoch and the player state of each sample."""
        names = (f"activity:{second}" for second in self._seconds)
        for second, fields in zip(self._seconds, self._archive.hashes(names), strict=True):
            state = read_sample(fields)
            self.done += 1
            self.empty += state.item is None
            yield second, state


def _read_files(rows: RowTable, sources: Sequence[SourceFile], progress: Progress) -> None:
    before, size = 0, sum(source.size for source in sources)
    for source in sources:
        for offset in rows.add(source):
            progress("reading", before + offset, size)
        before += source.size
        progress("reading", before, size)


@contextmanager
def suggest_rerun() -> Iterator[None]:
    """Add to a StoreError that the import can be continued.

    Raises:
        StoreError: The one that was raised in the block, with the advice.
    """
    try:
        yield
    except StoreError as error:
        words = f"{error}; what has been imported is kept: run the import again to continue"
        raise StoreError(words, error.refused, error.codes) from None
