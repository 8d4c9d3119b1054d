"""Write imported plays in bulk, in place of the worse accounts of them, and change nothing else.

The catalog is written first, then the play, then its index entry, so an indexed play is always complete,
even if the import is interrupted. Every write can be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import (
    GAPS,
    RESTORED,
    REVISIONS,
    TOMBSTONES,
    day_of,
    gap_key,
    index_key,
    play_key,
)
from spotify_logger.core.times import to_iso
from spotify_logger.transfer.importer.dedup import NAMES
from spotify_logger.transfer.importer.export_rows import GapRecord, ItemRecord
from spotify_logger.transfer.importer.report import ImportSummary

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.storage.client import Command
    from spotify_logger.transfer.importer.export_rows import ImportedPlay

LAST_FIELD = "uri"
"""The catalog field that is written last: if it exists, so do the others."""


class PlayWriter:
    """Writes new plays, items and gaps; in a dry run, nothing.

    Attributes:
        summary: Counts the items and gaps here; the caller adds the other counts.
        loose_items: The keys of the items that may have no play: of our own exports, and of replaced plays.
    """

    def __init__(self, archive: Archive, *, dry_run: bool = False) -> None:
        self._archive = archive
        self._dry_run = dry_run
        self._known_items: set[str] = set()
        self.summary = ImportSummary()
        self.loose_items: set[str] = set()

    def write(
        self,
        entries: Sequence[ImportedPlay],
        replaced: Sequence[Play] = (),
        named: Sequence[tuple[Play, Mapping[str, FieldValue]]] = (),
    ) -> None:
        """Write plays, together with their catalog items and index entries.

        Args:
            entries: The plays.
            replaced: Logged plays to delete, because there is a better account of them.
            named: Logged plays, and the fields that they get where they lack them.
        """
        if self._dry_run or not (entries or replaced or named):
            return
        key, items = self._archive.key, [entry.play.item for entry in entries if entry.stored_hash is None]
        commands = self._additions(self._missing({item.key: item.catalog for item in items}))
        for play, fields in named:
            additions = {name: fields[name] for name in NAMES if name in fields}
            commands += self._additions(dict.fromkeys((play_key(play.second), play.item.key), additions))
            commands.append(("HSET", key(REVISIONS), str(day_of(play.second)), self._archive.revision()))
        for play in replaced:
            commands.append(("HDEL", key(index_key(day_of(play.second))), play.second))
            commands.append(("DEL", key(play_key(play.second))))
            self.loose_items.add(play.item.key)
        lines: dict[str, list[str | int]] = defaultdict(list)
        for second, entry in self._named(entries, {play.second for play in replaced}):
            stored = entry.stored_hash or entry.play.to_hash()
            commands.append(("HSET", key(play_key(second)), *chain.from_iterable(stored.items())))
            lines[key(index_key(day_of(second)))] += (second, entry.play.index)
        self._archive.write([*commands, *(("HSET", name, *words) for name, words in lines.items())])

    def lift(self, tombstones: Iterable[int]) -> None:
        """Note that deleted plays, by the seconds that named them, may come back."""
        key = self._archive.key(TOMBSTONES)
        if not self._dry_run:
            self._archive.write([("HSET", key, second, RESTORED) for second in tombstones])

    def write_others(self, records: Sequence[ItemRecord | GapRecord]) -> None:
        """Write the items and gaps that the log does not have."""
        if not records:
            return
        key = self._archive.key
        items = {record.key: record.fields for record in records if isinstance(record, ItemRecord)}
        gaps = [record for record in records if isinstance(record, GapRecord)]
        missing = self._missing(items)
        found = self._archive.send([("HEXISTS", key(GAPS), gap.second) for gap in gaps])
        new = [gap for gap, is_there in zip(gaps, found, strict=True) if is_there == 0]
        self.summary.items.update(new=len(missing), known=len(items) - len(missing))
        self.summary.gaps.update(new=len(new), known=len(gaps) - len(new))
        if not self._dry_run:
            self.loose_items.update(missing)
            hashes = [
                ("HSET", key(gap_key(gap.second)), *chain.from_iterable(gap.fields.items())) for gap in new
            ]
            index = [("HSET", key(GAPS), gap.second, gap.line) for gap in new]
            self._archive.write([*self._additions(items), *hashes, *index])

    def _named(
        self, entries: Sequence[ImportedPlay], free: Container[int]
    ) -> Iterator[tuple[int, ImportedPlay]]:
        """Yield the entries with the seconds that name them: those of their starts, or the next free ones.

        Plays of our own export keep theirs if they are free; `free` ones belong to plays that are replaced.
        """
        ordered = sorted(entries, key=lambda entry: (entry.stored_hash is None, entry.play.started_ms))
        found = self._archive.send(
            [("EXISTS", self._archive.key(play_key(entry.play.second))) for entry in ordered]
        )
        used: set[int] = set()
        for entry, exists in zip(ordered, found, strict=True):
            play = entry.play
            second = play.second
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
