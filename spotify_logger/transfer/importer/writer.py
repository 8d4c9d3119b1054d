"""Write imported plays in bulk, in place of the worse accounts of them, and change nothing else.

The catalog is written first, then the play, then its index entry, so an indexed play is always complete,
even if the import is interrupted. Every write can be repeated.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import starmap

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.player_state import FieldValue
from spotify_logger.core.times import to_iso
from spotify_logger.storage.bulk import ITEM_KEYS, Archive
from spotify_logger.storage.client import Command
from spotify_logger.transfer.importer.dedup import NAMES, Candidate, RowStatus
from spotify_logger.transfer.importer.export_rows import ImportedPlay, OtherRecord, SkipReason

LAST_FIELD = "uri"  # the catalog field that is written last: if it exists, so do the others
MAX_ROWS_SHOWN = 10  # maximum number of malformed rows shown


class PlayWriter:
    """Writes what is decided about rows, items and gaps, and counts it; in a dry run, it writes nothing."""

    def __init__(self, archive: Archive, *, dry_run: bool = False) -> None:
        self._archive = archive
        self.dry_run = dry_run
        self._known_items: set[str] = set()
        self.results = Counter[RowStatus | SkipReason]()
        self.problems: list[tuple[str, int, str]] = []  # file, row from 1 on, and what is wrong with it
        self.is_complete = True  # whether all files could be read to their ends
        self.items, self.gaps = Counter[str](), Counter[str]()  # of our own exports, "new" and "known"
        self.loose_items: set[str] = set()  # which may have no play: of our own exports, or replaced plays

    def skip(self, why: SkipReason | str, file: str, number: int) -> None:
        """Count a skipped row; text says what is wrong with it."""
        reason = why if isinstance(why, SkipReason) else SkipReason.BAD
        self.results[reason] += 1
        if isinstance(why, str) and self.results[reason] <= MAX_ROWS_SHOWN:
            self.problems.append((file, number, why))

    def write(self, rows: Sequence[Candidate], lifted: Iterable[int] = ()) -> None:
        """Write new plays and better accounts with their items, and that the plays `lifted` may come back."""
        self.results.update(row.status for row in rows)
        if self.dry_run:
            return
        key, entries = self._archive.key, [row.entry for row in rows if row.is_written]
        items = {entry.play.item.key: entry.play.item.catalog for entry in entries if entry.play.item.catalog}
        commands: list[Command] = [("HSET", key(keys.TOMBSTONES), second, keys.RESTORED) for second in lifted]
        commands += self._additions(self._missing(items))
        for play, fields in ((row.named, row.entry.play.fields) for row in rows if row.named):
            additions = {name: fields[name] for name in NAMES if name in fields}
            commands += self._additions(dict.fromkeys((keys.play_key(play.second), play.item.key), additions))
            commands.append(self._archive.touch([str(keys.day_of(play.second))]))
        replaced = [play for row in rows for play in row.replaced]
        for play in replaced:
            commands.append(("HDEL", key(keys.index_key(keys.day_of(play.second))), play.second))
            commands.append(("DEL", key(keys.play_key(play.second))))
            self.loose_items.add(play.item.key)
        lines: dict[str, dict[str, FieldValue]] = defaultdict(dict)
        for second, entry in self._with_seconds(entries, {play.second for play in replaced}):
            stored = entry.stored_hash or entry.play.to_hash()
            commands.append(self._archive.hset(keys.play_key(second), stored))
            lines[keys.index_key(keys.day_of(second))][str(second)] = entry.play.index
        self._archive.write([*commands, *starmap(self._archive.hset, lines.items())])

    def write_others(self, records: Sequence[OtherRecord]) -> None:
        """Write the items and gaps that the log does not have, and hide what is hidden."""
        hashes = {record.key: record.fields for record in records}
        gaps = {record.gap_second: record for record in records if record.gap_second is not None}
        items = {key: hashes[key] for key in hashes if key.startswith(ITEM_KEYS)}
        missing = self._missing(items)
        found = self._archive.send([("HEXISTS", self._archive.key(keys.GAPS), second) for second in gaps])
        self.items.update(new=len(missing), known=len(items) - len(missing))
        self.gaps.update(new=found.count(0), known=len(gaps) - found.count(0))
        if not self.dry_run:
            self.loose_items.update(missing)
            lines = {str(second): keys.gap_value(second, gap.fields) for second, gap in gaps.items()}
            self._archive.write(self._additions({**hashes, keys.GAPS: lines}))

    def _with_seconds(
        self, entries: Iterable[ImportedPlay], free: Container[int]
    ) -> Iterator[tuple[int, ImportedPlay]]:
        """Yield the entries with the seconds that name them: those of their starts, or the next free ones.

        Plays of our own export keep theirs if they are free; `free` ones belong to plays that are replaced.
        """
        ordered = sorted(entries, key=lambda entry: (entry.stored_hash is None, entry.play.started_ms))
        names = (self._archive.key(keys.play_key(entry.play.second)) for entry in ordered)
        found, used = self._archive.send([("EXISTS", name) for name in names]), set[int]()
        for entry, exists in zip(ordered, found, strict=True):
            play, second = entry.play, entry.play.second
            if second in used or (exists and second not in free):
                started_at = to_iso(play.started_ms)
                second = self._archive.claim(second, started_at, play.item.uri, used.__contains__)
            used.add(second)
            yield second, entry

    def _missing(self, items: Mapping[str, Mapping[str, FieldValue]]) -> dict[str, Mapping[str, FieldValue]]:
        """Return the items that the catalog does not have."""
        unknown = [key for key in items if key not in self._known_items]
        found = self._archive.send([("HEXISTS", self._archive.key(key), LAST_FIELD) for key in unknown])
        self._known_items.update(unknown)
        # A key that holds something else is not ours, and stays.
        return {key: items[key] for key, is_there in zip(unknown, found, strict=True) if is_there == 0}

    def _additions(self, items: Mapping[str, Mapping[str, FieldValue]]) -> list[Command]:
        """Return commands that overwrite nothing that the logger writes at the same time."""
        return [
            ("HSETNX", self._archive.key(key), name, fields[name])
            for key, fields in items.items()
            for name in sorted(fields, key=LAST_FIELD.__eq__)
        ]
