"""`spotify-logger import`: import the exports of Spotify, of other loggers, and our own.

The plays of all rows are sorted in a temporary SQLite table; then those are written that are not logged yet.
"""

import pickle
import re
import sqlite3
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TextIO

from spotify_logger.core.matching_exports import LEAST_LISTEN_MS
from spotify_logger.core.play import PLAY_FIELDS, Play
from spotify_logger.core.player_state import PlayerState
from spotify_logger.core.redis_keys import play_key
from spotify_logger.report.answers import Answer, Block, Table
from spotify_logger.report.progress import Progress, progress_bar
from spotify_logger.report.words import Cell, Formatted, counted, filled, phrase
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete import remove_unused
from spotify_logger.transfer.importer.dedup import CONTEXT_MS, Candidate, Deduplicator, RowStatus
from spotify_logger.transfer.importer.export_rows import ImportedPlay, OtherRecord, SkipReason
from spotify_logger.transfer.importer.files import FoundFiles, SourceFile, UnreadableFile, find_sources
from spotify_logger.transfer.importer.formats import read_row, user_of
from spotify_logger.transfer.importer.legacy_samples import plays_of, read_sample
from spotify_logger.transfer.importer.writer import MAX_ROWS_SHOWN, PlayWriter

RESULTS = (*RowStatus, *SkipReason)
SAMPLE_KEYS = "activity:*"  # a million a year
_SAMPLE = re.compile(r"activity:([0-9]{1,10})")
ROWS_PER_BATCH = 1000  # rows after which the progress is reported, and records that are not plays are written
PLAYS_PER_BATCH = 1000  # plays after which a silence ends a batch; after twice as many it ends anyway
SILENCE_MS = 300_000  # separates rows that have nothing to do with each other, though listens have no ends
_NEEDLESS = {"explicit", "repeat_state", "context_uri", "timestamp", "progress_ms"}
# Those of a logged play that matching needs: each one more takes time.
_FIELDS = sorted(PLAY_FIELDS - _NEEDLESS - {"device_type", "device_volume"})

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE plays (started_ms INTEGER NOT NULL, logged_by TEXT, play BLOB NOT NULL);
    CREATE INDEX plays_by_start ON plays (started_ms);
    CREATE INDEX plays_by_logger ON plays (logged_by, started_ms) WHERE logged_by IS NOT NULL;
"""


class ImportOptions(NamedTuple):
    """What an import takes and does."""

    users: Collection[str] = ()  # whose files are read, of those that name a user; or they may only name one
    private: bool = False
    dry_run: bool = False
    restore: bool = False  # deleted plays, too


def import_history(
    archive: Archive,
    paths: Sequence[Path],
    options: ImportOptions | None = None,
    screen: TextIO | Progress | None = None,
) -> Answer:
    """Import plays, items and gaps from files, folders and zips; another run continues an interrupted one."""
    options = options or ImportOptions()
    found = find_sources(paths, options.users)
    if not found.sources and not found.refused:
        raise SpotifyLoggerError("nothing to import: no file has plays (name Spotify's zip or its folder)")
    writer, imported = PlayWriter(archive, dry_run=options.dry_run), 0
    size = sum(source.size for source in found.sources)
    # A file without a name, which is gone at the end.
    with _import_on(screen) as progress, closing(sqlite3.connect("", isolation_level=None)) as database:
        database.executescript(_SCHEMA)
        for done in _read_files(found.sources, database, writer, options):
            progress("reading", done, size)
        for rows, lifted in decide_plays(archive, _sorted_plays(database), restore=options.restore):
            writer.write(rows, lifted)
            imported += len(rows)
            progress("importing", imported, database.total_changes)
        if writer.loose_items:
            # Items whose plays were deleted before, or replaced now, may not be used any more.
            remove_unused(archive, writer.loose_items, time.time())
    return _answer(writer, found)


def import_samples(archive: Archive, *, dry_run: bool = False, screen: TextIO | None = None) -> Answer:
    """Import plays from the samples that the script of 2019 left in the same Redis; the samples are kept."""
    writer, done, empty = PlayWriter(archive, dry_run=dry_run), 0, 0
    found = (match for names in archive.scan(SAMPLE_KEYS) for match in map(_SAMPLE.fullmatch, names))
    with _import_on(screen) as progress:
        seconds = array("q", sorted({int(match[1]) for match in found if match is not None}))

        def samples() -> Iterator[tuple[int, PlayerState]]:
            nonlocal done, empty
            hashes = archive.hashes(f"activity:{second}" for second in seconds)
            for done, state in enumerate(map(read_sample, hashes), 1):
                empty += state.item is None
                yield seconds[done - 1], state

        if not seconds:
            raise SpotifyLoggerError(f"no samples {SAMPLE_KEYS} at {archive.where} (check REDIS_PREFIX)")
        for plays, lifted in decide_plays(archive, plays_of(samples())):
            writer.write(plays, lifted)
            progress("importing", done, len(seconds))
    results = writer.results
    counts = counted(results.total(), "play"), counted(len(seconds), "sample"), empty
    head = filled("{} in {}, {} of which name no item", *counts)
    data = {"dry_run": dry_run, "samples": len(seconds), "empty": empty, "plays": results.total()}
    data |= {status.name.lower(): results[status] for status in RowStatus}
    return Answer(data, _page(head, writer))


@contextmanager
def _import_on(screen: TextIO | Progress | None) -> Iterator[Progress]:
    """Show a progress bar if the screen is a terminal, and add to a StoreError that the import can go on."""
    try:
        with progress_bar(screen) as progress:
            yield progress
    except StoreError as error:
        words = f"{error}; what has been imported is kept: run the import again to continue"
        raise StoreError(words, error.refused, error.codes) from None
    except sqlite3.Error as error:
        raise SpotifyLoggerError(
            f"cannot sort the rows in a temporary file: {error} (set TMPDIR to use another folder)"
        ) from None


def _read_files(
    sources: Iterable[SourceFile], database: sqlite3.Connection, writer: PlayWriter, options: ImportOptions
) -> Iterator[int]:
    """Put the plays into the table, write other records, and yield the number of bytes read so far."""
    now_ms, before, private = int(time.time() * 1000), 0, options.private
    for source in sources:
        number, users = 0, {"", *(options.users or source.users)}
        others: list[OtherRecord] = []
        try:
            with source.open() as text:
                for number, row in enumerate(source.rows(text), 1):
                    is_wanted = user_of(row) in users
                    found = read_row(row, now_ms, private=private) if is_wanted else SkipReason.FOREIGN
                    if isinstance(found, ImportedPlay):
                        logger = found.play.fields.get("logged_by")
                        values = (found.play.started_ms, logger, pickle.dumps(found))
                        database.execute("INSERT INTO plays VALUES (?, ?, ?)", values)
                    elif isinstance(found, OtherRecord):
                        others.append(found)
                    else:
                        writer.skip(found, source.name, number)
                    if number % ROWS_PER_BATCH == 0:
                        writer.write_others(others)
                        others.clear()
                        yield before + min(text.buffer.tell(), source.size)  # that of gzip is a smaller one
        except UnreadableFile as error:
            writer.is_complete = False
            writer.problems.append((source.name, number + 1, str(error)))
        writer.write_others(others)
        before += source.size
        yield before


def _sorted_plays(database: sqlite3.Connection) -> Iterator[ImportedPlay]:
    """Yield the plays by start, and those with the same start in the order of their rows.

    A listen of another logger, whose end is only assumed, ends when the next one of that logger begins.
    """
    query = """SELECT play, (SELECT min(started_ms) FROM plays AS later
            WHERE later.logged_by = plays.logged_by AND later.started_ms > plays.started_ms)
        FROM plays ORDER BY started_ms, rowid"""
    for pickled, until_ms in database.execute(query):
        entry: ImportedPlay = pickle.loads(pickled)  # noqa: S301 - from `_read_files`; nobody else can open it
        play = entry.play
        if until_ms is not None and play.started_ms + LEAST_LISTEN_MS <= until_ms < play.ended_ms:
            play = replace(play, ended_ms=until_ms, ms_played=until_ms - play.started_ms)
        yield entry._replace(play=play)


def decide_plays(
    archive: Archive, entries: Iterable[ImportedPlay], *, restore: bool = False
) -> Iterator[tuple[list[Candidate], set[int]]]:
    """Yield what to do with plays, given in order of their starts, and which tombstones to lift.

    Each batch has to be written before the next one. Deleted plays stay away, unless `restore` is set.
    """
    deduplicator = Deduplicator(archive.tombstones().items(), restore=restore)
    for batch in _batches(entries):
        begin_ms, end_ms = batch[0].play.started_ms, max(entry.play.ended_ms for entry in batch)
        rows = archive.rows((begin_ms - CONTEXT_MS) // 1000, (end_ms + CONTEXT_MS) // 1000)
        seconds = [second for second, *_ in rows]
        hashes = archive.fields(map(play_key, seconds), _FIELDS)
        known = list(filter(None, map(Play.from_hash, seconds, hashes)))
        keys = {play.item.key for play in (*known, *(entry.play for entry in batch))} if known else ()
        isrcs = {key: isrc for key, (isrc,) in archive.catalog(keys, ["isrc"]) if isrc}
        yield deduplicator.decide(batch, known, isrcs)


def _batches(entries: Iterable[ImportedPlay]) -> Iterator[list[ImportedPlay]]:
    """Batch the plays: what follows a silence does not depend on what came before."""
    batch: list[ImportedPlay] = []
    until_ms = 0
    for entry in entries:
        silence_ms, size = entry.play.started_ms - until_ms, len(batch)
        is_full = size >= PLAYS_PER_BATCH and (silence_ms > SILENCE_MS or size >= 2 * PLAYS_PER_BATCH)
        if batch and (is_full or silence_ms > 2 * CONTEXT_MS):  # the plays in between are not read
            yield batch
            batch = []
        batch.append(entry)
        until_ms = max(until_ms, entry.play.ended_ms)
    if batch:
        yield batch


def _answer(writer: PlayWriter, found: FoundFiles) -> Answer:
    """Return the answer of an import; exit code 1 if anything could not be read completely."""
    results, problems = writer.results, writer.problems
    notes: list[Cell] = [filled("{}, row {}: {}", *problem) for problem in problems]
    if (more := results[SkipReason.BAD] - MAX_ROWS_SHOWN) > 0:
        notes.append(phrase(counted(more, "more row"), "not understood"))
    notes += [f"{name}: {words}" for name, words in found.refused]
    if found.other_users:
        notes.append(phrase(counted(found.other_users, "file"), "of other users skipped"))
    if found.others:
        notes.append(phrase(counted(found.others, "other file"), "skipped"))
    head = phrase(counted(results.total(), "row"), "in", counted(len(found.sources), "file"))
    page = _page(head, writer)
    if notes:
        page.append(Table([(note,) for note in notes], flexible=0))
    data = {
        "dry_run": writer.dry_run,
        "files": [source.name for source in found.sources],
        "rows": results.total(),
        **{result.name.lower(): results[result] for result in RESULTS},
        "items": {"new": writer.items["new"], "known": writer.items["known"]},
        "gaps": {"new": writer.gaps["new"], "known": writer.gaps["known"]},
        "problems": [{"file": name, "row": number, "problem": words} for name, number, words in problems],
        "refused": [{"file": name, "problem": words} for name, words in found.refused],
        "passed_over": {
            "videos": results[SkipReason.VIDEO],
            "others": found.others,
            "other_users": found.other_users,
        },
    }
    return Answer(data, page, int(bool(found.refused) or not writer.is_complete))


def _page(head: Formatted, writer: PlayWriter) -> list[Block]:
    counts = {result.value: writer.results[result] for result in RESULTS}
    for what, found in (("catalog items", writer.items), ("gaps", writer.gaps)):
        counts |= {f"{what}, new": found["new"], f"{what}, already known": found["known"]}
    figures = [(number, name) for name, number in counts.items() if number]
    page: list[Block] = [filled("{}; nothing was written (--dry-run)", head) if writer.dry_run else head]
    return [*page, Table(figures, right_aligned=(0,))] if figures else page
