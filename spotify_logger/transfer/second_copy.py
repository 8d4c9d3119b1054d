"""The second copy of the log: a file for each month in the state folder, with what `export` writes.

The supervisor runs this once a day. Only months that have changed are read, and only what differs is written:
the time of a file is the newest revision of its days. What Redis has lost stays in the copy, for `restore`.
"""

import gzip
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import TextIO

from spotify_logger.config.settings import Settings, load
from spotify_logger.core import redis_keys as keys
from spotify_logger.core.matching import identity
from spotify_logger.core.player_state import whole_number
from spotify_logger.monitoring.status import COPY_FOLDER
from spotify_logger.report.answers import Answer
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.outbox import known_log, log_trouble
from spotify_logger.system.atomic_file import replacing
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.export import JsonObject, LogPeriod, records
from spotify_logger.transfer.importer.command import decide_plays, import_history
from spotify_logger.transfer.importer.export_rows import ImportedPlay, read_record
from spotify_logger.transfer.importer.files import SourceFile, UnreadableFile
from spotify_logger.transfer.move import accept

FILE_NAME = "{:%Y-%m}.jsonl.gz"
MIN_FREE = 64 * 1024 * 1024  # bytes that stay free on the disk
SETTLING_MS = 60_000  # after which the writer of a revision has also written what it stands for
MAX_REVISION = 1 << 43  # milliseconds since the epoch that a file can have as its time
ANY_TIME_MS = 1 << 62  # accepts every play, even if this machine's clock is behind


def main() -> int:
    """Update the second copy of the listener in the settings; return 1 if something is wrong."""
    with suppress(OSError):
        os.nice(19)  # the lowest priority
    try:
        settings = load(Path.cwd(), os.environ)
        with closing(Archive(settings.redis_url, settings.redis_prefix)) as archive:
            trouble = update(archive, settings.state_dir)
    except SpotifyLoggerError as error:
        trouble = f"the second copy of the log cannot be updated: {error}"
    sys.stderr.write(trouble)
    return int(bool(trouble))


def update(archive: Archive, state_dir: Path) -> str:
    """Bring the copy up to date; return what Redis has lost, "" if nothing."""
    _refuse_another_log(archive, state_dir)
    folder, revisions = state_dir / COPY_FOLDER, archive.hash(keys.REVISIONS)
    months, lost = dict[date, int](), 0
    touched = filter(None, map(keys.read_date, revisions))
    emptied = {day for day in touched if (folder / FILE_NAME.format(day)).exists()}  # perhaps
    for day in emptied.union(archive.days()):
        month, revision = day.replace(day=1), whole_number(revisions.get(str(day))) or 0
        months[month] = min(max(revision, months.get(month, 0)), MAX_REVISION)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob(".[0-9]*.jsonl.gz.*"):  # by a process that was killed
            left.unlink()
        for month, revision in sorted(months.items()):
            path = folder / FILE_NAME.format(month)
            is_settled = revision < time.time() * 1000 - SETTLING_MS
            if not path.exists() or path.stat().st_mtime_ns // 10**6 != revision:
                lost += _copy_month(archive, month, path)
                if path.exists():
                    os.utime(path, ns=((revision - (not is_settled)) * 10**6,) * 2)
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write {folder} ({error.strerror})") from None
    plays = f"Redis at {archive.where} lacks {counted(lost, 'play')} of the second copy in {folder}"
    return f"{plays}: `spotify-logger restore` brings them back" if lost else ""


def restore(
    archive: Archive, settings: Settings, paths: Sequence[Path], screen: TextIO | None = None
) -> Answer:
    """Import the second copy, by default from the state folder, which then belongs to this log again."""
    _refuse_another_log(archive, settings.state_dir)
    folder = settings.state_dir / COPY_FOLDER
    if not paths and not os.access(folder, os.R_OK | os.X_OK):
        raise SpotifyLoggerError(
            f"there is no second copy in {folder} that you may read: name its files or their folder,"
            " or run this command as the user of the logger"
        )
    answer = import_history(archive, paths or [folder], screen=screen)
    if not paths and not answer.code and known_log(settings.state_dir):
        accept(archive, settings)
    return answer


def _refuse_another_log(archive: Archive, state_dir: Path) -> None:
    found = archive.log_id()
    if found and (trouble := log_trouble(archive.where, known_log(state_dir), found)):
        raise SpotifyLoggerError(trouble)


def _copy_month(archive: Archive, month: date, path: Path) -> int:
    """Write the file of a month if it changes, with the plays that Redis has lost; return how many."""
    begin, end = (keys.second_of_day(day) for day in (month, (month + timedelta(31)).replace(day=1)))
    rows = {_name(row): row for row in records(LogPeriod(archive, begin, end))}
    rows.pop(None, None)
    missing, copy = list[JsonObject](), SourceFile(str(path), path)
    try:
        if path.exists():
            with copy.open() as text:
                missing = [row for row in copy.rows(text) if isinstance(row, dict) and _name(row) not in rows]
    except UnreadableFile:
        bad = path.with_name(f"{path.name}.bad")
        path.replace(bad)
        sys.stderr.write(f"{path} is damaged: kept as {bad.name}, writing a new one\n")
    # A play is lost unless it was deleted, or has given way to a better account of it.
    plays = sorted(filter(None, map(_play, missing)), key=lambda entry: entry.play.started_ms)
    decided = chain.from_iterable(some for some, _ in decide_plays(archive, plays))
    lost_plays = {identity(each.entry.play): each.replaced for each in decided if each.is_written}
    for worse in chain.from_iterable(lost_plays.values()):
        rows.pop(identity(worse), None)
    lost = [row for row in missing if row.get("kind") == "gap" or _name(row) in lost_plays]
    items = {entry.play.item.key for entry in map(_play, (*rows.values(), *lost)) if entry}
    lost += [row for row in missing if row.get("key") in items]
    _write(path, [*rows.values(), *lost])
    return len(lost_plays)


def _name(row: JsonObject) -> object:
    """Return what tells a record from all others; None for what is left of a play."""
    entry = _play(row)
    if entry is not None:
        return identity(entry.play)
    kind = row.get("kind")
    return None if kind == "play" else (kind, row.get("key", row.get("second")))


def _play(row: JsonObject) -> ImportedPlay | None:
    found = read_record(row, ANY_TIME_MS)
    return found if isinstance(found, ImportedPlay) else None


def _write(path: Path, rows: Sequence[JsonObject]) -> None:
    """Replace a file if it has another content; raise SpotifyLoggerError if the disk is nearly full."""
    content = gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode(), mtime=0)
    if not rows:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != content:
        if shutil.disk_usage(path.parent).free < MIN_FREE + len(content):
            raise SpotifyLoggerError(f"the disk with {path.parent} is nearly full: free some space")
        with replacing(path) as out:
            out.buffer.write(content)


if __name__ == "__main__":
    sys.exit(main())
