"""Read all rows, sort their plays in a temporary SQLite table, and write those that are not logged yet."""

import pickle
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain

from spotify_logger.core.matching_exports import LEAST_LISTEN_MS, SourceKind
from spotify_logger.core.play import Play
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.dedup import CONTEXT_MS, Deduplicator
from spotify_logger.transfer.importer.export_rows import ImportedPlay, OtherRecord, SkippedRow
from spotify_logger.transfer.importer.file_rows import UnreadableFile
from spotify_logger.transfer.importer.files import SourceFile
from spotify_logger.transfer.importer.formats import read_row, user_of
from spotify_logger.transfer.importer.writer import PlayWriter

ROWS_PER_BATCH = 1000  # rows after which the progress is reported, and records that are not plays are written
PLAYS_PER_BATCH = 1000  # plays after which a silence ends a batch; after twice as many it ends anyway
SILENCE_MS = 120_000  # milliseconds of silence that separate rows which have nothing to do with each other
LONG_SILENCE_MS = 2 * CONTEXT_MS  # after which a new batch begins: the plays in between are not read
LONGEST_LISTEN_MS = 900_000  # milliseconds for which a listen of another logger may have gone on

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE plays (started_ms INTEGER NOT NULL, logged_by TEXT, play BLOB NOT NULL);
    CREATE INDEX plays_by_start ON plays (started_ms);
    CREATE INDEX plays_by_logger ON plays (logged_by, started_ms) WHERE logged_by IS NOT NULL;
"""
_FIELDS = (  # of a logged play, as far as matching needs them
    *("uri", "type", "id", "name", "artists", "album", "duration_ms", "device_name", "shuffle_state"),
    *("logged_by", "playing", "started_at", "ended_at", "ms_played", "end_reason", "source"),
)


@contextmanager
def temporary_table() -> Iterator[sqlite3.Connection]:
    """Open an empty table in a file without a name, which is gone at the end."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_SCHEMA)
            yield database
    except sqlite3.Error as error:
        raise SpotifyLoggerError(
            f"cannot sort the rows in a temporary file: {error} (set TMPDIR to use another folder)"
        ) from None


def read_files(
    sources: Iterable[SourceFile], database: sqlite3.Connection, writer: PlayWriter, *, private: bool = False
) -> Iterator[int]:
    """Put the plays into the table, write other records, and yield the number of bytes read so far."""
    now_ms, before = int(time.time() * 1000), 0
    for source in sources:
        number = 0
        others: list[OtherRecord] = []
        try:
            with source.open() as text:
                for number, row in enumerate(source.rows(text), 1):
                    if user_of(row) not in {"", source.user}:
                        continue
                    found = read_row(row, now_ms, private=private)
                    if isinstance(found, ImportedPlay):
                        writer.summary.plays += 1
                        logger = found.play.fields.get("logged_by")
                        values = (found.play.started_ms, logger, pickle.dumps(found))
                        database.execute("INSERT INTO plays VALUES (?, ?, ?)", values)
                    elif isinstance(found, SkippedRow):
                        writer.summary.skip(found.reason, (source.name, number, found.detail))
                    else:
                        others.append(found)
                    if number % ROWS_PER_BATCH == 0:
                        writer.write_others(others)
                        others.clear()
                        yield before + min(text.buffer.tell(), source.size)  # that of gzip is a smaller one
        except UnreadableFile as error:
            writer.summary.broken.append((source.name, number + 1, str(error)))
        writer.write_others(others)
        before += source.size
        yield before


def sorted_plays(database: sqlite3.Connection) -> Iterator[ImportedPlay]:
    """Yield the plays by start, and those with the same start in the order of their rows.

    A listen of another logger, whose end is only assumed, ends when the next one of that logger begins.
    """
    query = """SELECT play, (SELECT min(started_ms) FROM plays AS later
            WHERE later.logged_by = plays.logged_by AND later.started_ms > plays.started_ms)
        FROM plays ORDER BY started_ms, rowid"""
    for pickled, until_ms in database.execute(query):
        entry: ImportedPlay = pickle.loads(pickled)  # noqa: S301 - from `read_files`; nobody else can open it
        play = entry.play
        if until_ms is not None and play.started_ms + LEAST_LISTEN_MS <= until_ms < play.ended_ms:
            play = replace(play, ended_ms=until_ms, ms_played=until_ms - play.started_ms)
        yield entry._replace(play=play)


def import_plays(
    archive: Archive, entries: Iterable[ImportedPlay], writer: PlayWriter, *, restore: bool = False
) -> Iterator[int]:
    """Write the new plays and the better accounts, given in order of their starts; yield how many are done.

    Deleted plays stay away, unless `restore` is set: then their tombstones are lifted.
    """
    deduplicator, done = Deduplicator(archive.tombstones().items(), restore=restore), 0
    for batch in _batches(entries):
        begin_ms, end_ms = batch[0].play.started_ms, max(entry.play.ended_ms for entry in batch)
        known = _logged_plays(archive, (begin_ms - CONTEXT_MS) // 1000, (end_ms + CONTEXT_MS) // 1000)
        keys = {play.item.key for play in (*known, *(entry.play for entry in batch))} if known else ()
        isrcs = {key: isrc for key, (isrc,) in archive.catalog(keys, ["isrc"]) if isrc}
        decisions = deduplicator.decide(batch, known, isrcs)
        writer.write(decisions, deduplicator.lifted)
        done += len(batch)
        yield done


def _batches(entries: Iterable[ImportedPlay]) -> Iterator[list[ImportedPlay]]:
    """Batch the plays: what follows a silence does not depend on what came before."""
    batch: list[ImportedPlay] = []
    until_ms = 0
    for entry in entries:
        silence_ms, size = entry.play.started_ms - until_ms, len(batch)
        is_full = size >= PLAYS_PER_BATCH and (silence_ms > SILENCE_MS or size >= 2 * PLAYS_PER_BATCH)
        if batch and (is_full or silence_ms > LONG_SILENCE_MS):
            yield batch
            batch = []
        batch.append(entry)
        # The length of a listen is only assumed; without this, most would be followed by a silence.
        longest_ms = LONGEST_LISTEN_MS if entry.kind is SourceKind.LISTEN else 0
        until_ms = max(until_ms, entry.play.started_ms + longest_ms, entry.play.ended_ms)
    if batch:
        yield batch


def _logged_plays(archive: Archive, begin: int, end: int) -> list[Play]:
    seconds = chain.from_iterable(rows.seconds for rows in archive.rows(begin, end))
    found = (
        Play.from_hash(second, {name: value for name, value in zip(_FIELDS, values, strict=True) if value})
        for second, values in archive.fields(seconds, _FIELDS)
    )
    return [play for play in found if play is not None]
