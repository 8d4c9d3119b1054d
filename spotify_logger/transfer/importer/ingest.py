"""Read all rows, sort their plays in a temporary SQLite table, and write those that are not logged yet."""

from __future__ import annotations

import pickle
import sqlite3
import time
from bisect import bisect_left, bisect_right
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from spotify_logger.core.matching import identity
from spotify_logger.core.matching_exports import SourceKind, evidence_of, was_deleted
from spotify_logger.core.play import Play
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.dedup import CONTEXT_MS, Deduplicator, known_play
from spotify_logger.transfer.importer.export_rows import GapRecord, ImportedPlay, ItemRecord, SkippedRow
from spotify_logger.transfer.importer.formats import read_row
from spotify_logger.transfer.importer.json_rows import UnreadableFile
from spotify_logger.transfer.importer.other_loggers import LEAST_LISTEN_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spotify_logger.core.matching import Identity
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.importer.dedup import Candidate
    from spotify_logger.transfer.importer.files import SourceFile
    from spotify_logger.transfer.importer.writer import PlayWriter

ROWS_PER_BATCH = 1000
"""Rows after which the progress is reported, and records that are not plays are written."""
PLAYS_PER_BATCH = 1000
"""Plays that are decided and written together; also the largest group."""
GROUP_GAP_MS = 120_000
"""Milliseconds of silence that separate groups of rows, which are decided independently."""
LONGEST_LISTEN_MS = 900_000
"""Milliseconds for which a listen of another logger may have gone on."""
MAX_GAP_IN_BATCH_MS = 2 * CONTEXT_MS
"""Milliseconds of silence after which a new batch begins, so that the plays in between are not read."""

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE plays (started_ms INTEGER NOT NULL, play BLOB NOT NULL);
    CREATE INDEX plays_by_start ON plays (started_ms);
"""
_FIELDS = (
    *("uri", "type", "id", "name", "artists", "album", "duration_ms", "device_name", "shuffle_state"),
    *("logged_by", "playing", "started_at", "ended_at", "ms_played", "end_reason", "source"),
)
"""The fields of a logged play that matching needs."""


@contextmanager
def temporary_table() -> Iterator[sqlite3.Connection]:
    """Open an empty table in a file without a name: SQLite deletes it at once, and its disk space at the end.

    Raises:
        SpotifyLoggerError: The disk is full, for example.
    """
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
        others: list[ItemRecord | GapRecord] = []
        try:
            with source.open() as text:
                for number, row in enumerate(source.rows(text), 1):
                    found = read_row(row, now_ms, private=private)
                    if isinstance(found, ImportedPlay):
                        writer.summary.plays += 1
                        values = (found.play.started_ms, pickle.dumps(found))
                        database.execute("INSERT INTO plays VALUES (?, ?)", values)
                    elif isinstance(found, SkippedRow):
                        writer.summary.skip(found.reason, (source.name, number, found.detail))
                    else:
                        others.append(found)
                    if number % ROWS_PER_BATCH == 0:
                        writer.write_others(others)
                        others.clear()
                        yield before + text.buffer.tell()
        except UnreadableFile as error:
            writer.summary.broken.append((source.name, number + 1, str(error)))
        writer.write_others(others)
        before += source.size
        yield before


def sorted_plays(database: sqlite3.Connection) -> Iterator[ImportedPlay]:
    """Yield the plays by start, and those with the same start in the order of their rows.

    A listen of another logger, whose end is only assumed, ends when the next play begins.
    """
    rows = database.execute("SELECT play FROM plays ORDER BY started_ms, rowid")
    plays = (pickle.loads(play) for (play,) in rows)  # noqa: S301 - from `read_files`; nobody else can open it
    for entry, following in pairwise(chain(plays, [None])):
        play = entry.play
        if following is not None and entry.kind is SourceKind.LISTEN:
            until_ms = following.play.started_ms
            if play.started_ms + LEAST_LISTEN_MS <= until_ms < play.ended_ms:
                play = replace(play, ended_ms=until_ms, ms_played=until_ms - play.started_ms)
        yield entry._replace(play=play)


def import_plays(
    archive: Archive, entries: Iterable[ImportedPlay], writer: PlayWriter, *, restore: bool = False
) -> Iterator[None]:
    """Write the new plays and the better accounts, given in order of their starts; yield after each batch.

    Deleted plays stay away, unless `restore` is set: then their tombstones are lifted.
    """
    tombstones = sorted(archive.tombstones().items())
    deduplicator = Deduplicator([] if restore else tombstones)
    for groups in _batches(_groups(entries)):
        known = _known(archive, groups[0][0].play.started_ms, max(map(_end_ms, groups)))
        begins = [play.evidence.begin_ms for play in known]
        isrcs = _isrcs(archive, (entry.play for entry in chain.from_iterable(groups))) if known else {}
        new: dict[Identity, ImportedPlay] = {}
        replaced, named = [], []
        if restore:
            writer.lift(_deleted(tombstones, chain.from_iterable(groups)))
        for group in groups:
            first = bisect_left(begins, group[0].play.started_ms - CONTEXT_MS)
            last = bisect_right(begins, _end_ms(group) + CONTEXT_MS)
            for decision in deduplicator.decide(group, known[first:last], isrcs):
                writer.summary.statuses[decision.status] += 1
                replaced += [play for play in decision.replaced if new.pop(identity(play), None) is None]
                if decision.is_written:
                    new[identity(decision.entry.play)] = decision.entry
                if decision.named is not None:
                    named.append((decision.named, decision.entry.play.fields))
        writer.write(list(new.values()), replaced, named)
        yield


def _deleted(tombstones: Sequence[tuple[int, int]], entries: Iterable[ImportedPlay]) -> set[int]:
    """Return the seconds of the tombstones that keep any of the plays away."""
    found: set[int] = set()
    for entry in entries:
        row = evidence_of(entry.play, entry.kind, entry.reported_end_ms)
        first = bisect_left(tombstones, ((row.begin_ms - CONTEXT_MS) // 1000, 0))
        last = bisect_right(tombstones, (row.end_ms // 1000 + 1, 0))
        found.update(
            second for second, end in tombstones[first:last] if was_deleted(row, second * 1000, end * 1000)
        )
    return found


def _known(archive: Archive, begin_ms: int, end_ms: int) -> list[Candidate]:
    """Return the logged plays around a span of time, by start."""
    begin, end = (begin_ms - CONTEXT_MS) // 1000, (end_ms + CONTEXT_MS) // 1000
    seconds = chain.from_iterable(rows.seconds for rows in archive.rows(begin, end))
    found = [
        Play.from_hash(second, {name: value for name, value in zip(_FIELDS, values, strict=True) if value})
        for second, values in archive.fields(seconds, _FIELDS)
    ]
    plays = [play for play in found if play is not None]
    isrcs = _isrcs(archive, plays)
    known = [known_play(play, isrcs.get(play.item.key, "")) for play in plays]
    return sorted(known, key=lambda each: each.evidence.begin_ms)


def _isrcs(archive: Archive, plays: Iterable[Play]) -> dict[str, str]:
    keys = dict.fromkeys(play.item.key for play in plays)
    return {key: isrc for key, (isrc,) in archive.catalog(keys, ["isrc"]) if isrc}


def _groups(entries: Iterable[ImportedPlay]) -> Iterator[list[ImportedPlay]]:
    """Group the plays that no silence separates, up to `PLAYS_PER_BATCH`."""
    group: list[ImportedPlay] = []
    until_ms = 0
    for entry in entries:
        is_apart = entry.play.started_ms > until_ms + GROUP_GAP_MS
        if group and (is_apart or len(group) >= PLAYS_PER_BATCH):
            yield group
            group, until_ms = [], 0
        group.append(entry)
        # The length of a listen is only assumed; without this, most would be a group of their own.
        longest_ms = LONGEST_LISTEN_MS if entry.kind is SourceKind.LISTEN else 0
        until_ms = max(until_ms, entry.play.started_ms + longest_ms, entry.play.ended_ms)
    if group:
        yield group


def _batches(groups: Iterable[list[ImportedPlay]]) -> Iterator[list[list[ImportedPlay]]]:
    """Batch groups that are not far apart, up to `PLAYS_PER_BATCH` plays."""
    batch: list[list[ImportedPlay]] = []
    for group in groups:
        is_far = bool(batch) and group[0].play.started_ms > _end_ms(batch[-1]) + MAX_GAP_IN_BATCH_MS
        if batch and (is_far or sum(map(len, batch)) + len(group) > PLAYS_PER_BATCH):
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _end_ms(group: Sequence[ImportedPlay]) -> int:
    return max(entry.play.ended_ms for entry in group)
