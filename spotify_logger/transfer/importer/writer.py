"""Write imported plays in bulk, without changing anything that is there.

The catalog is written first, then the play, then its index entry: so an indexed play is always complete,
even if the import is interrupted. Every write can be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.matching import naming_seconds, next_free_second
from spotify_logger.core.redis_keys import GAPS, day_of, gap_key, index_key, play_key
from spotify_logger.core.times import to_iso
from spotify_logger.storage.client import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.storage.client import Command
    from spotify_logger.transfer.importer.export_rows import ImportedPlay
    from spotify_logger.transfer.importer.own_records import GapRecord, ItemRecord

SECONDS_PER_LOOKUP = 16
"""Seconds that are looked up together when one is taken."""
LAST_FIELD = "uri"
"""The catalog field that is written last: if it exists, so do the others."""


class PlayWriter:
    """Writes new plays, items and gaps.

    Args:
        archive: The log.
        dry_run: Whether to write nothing.

    Attributes:
        items: The keys of the items that `write_items` has written.
    """

    def __init__(self, archive: Archive, *, dry_run: bool = False) -> None:
        self._archive = archive
        self._dry_run = dry_run
        self._known_items: set[str] = set()
        self.items: set[str] = set()

    def write(self, entries: Sequence[ImportedPlay]) -> None:
        """Write plays, together with their catalog items and index entries."""
        if self._dry_run or not entries:
            return
        lines: dict[str, list[str | int]] = defaultdict(list)
        hashes: list[Command] = []
        for second, entry in _SecondAllocator(self._archive).allocate(entries):
            fields = entry.play.to_hash() if entry.stored_hash is None else entry.stored_hash
            hashes.append(("HSET", self._archive.key(play_key(second)), *chain.from_iterable(fields.items())))
            lines[self._archive.key(index_key(day_of(second)))] += (second, entry.play.index)
        items = {
            entry.play.item.key: entry.play.item.catalog for entry in entries if entry.stored_hash is None
        }
        index: list[Command] = [("HSET", key, *words) for key, words in lines.items()]
        self._archive.write([*self._missing(items)[1], *hashes, *index])

    def write_items(self, items: Iterable[ItemRecord]) -> dict[str, int]:
        """Write the items that the catalog does not have; return how many are "new" and "known"."""
        fields = {item.key: item.fields for item in items}
        missing, commands = self._missing(fields)
        if not self._dry_run:
            self._archive.write(commands)
            self.items.update(missing)
        return {"new": len(missing), "known": len(fields) - len(missing)}

    def write_gaps(self, gaps: Sequence[GapRecord]) -> dict[str, int]:
        """Write the gaps that are not recorded yet; return how many are "new" and "known"."""
        key = self._archive.key
        found = self._archive.send([("HEXISTS", key(GAPS), gap.second) for gap in gaps])
        new = [gap for gap, is_there in zip(gaps, found, strict=True) if is_there == 0]
        if not self._dry_run:
            hashes = (
                ("HSET", key(gap_key(gap.second)), *chain.from_iterable(gap.fields.items())) for gap in new
            )
            self._archive.write([*hashes, *(("HSET", key(GAPS), gap.second, gap.line) for gap in new)])
        return {"new": len(new), "known": len(gaps) - len(new)}

    def _missing(self, items: Mapping[str, Mapping[str, FieldValue]]) -> tuple[list[str], list[Command]]:
        """Return the keys of the items that the catalog does not have, and the commands that write them."""
        unknown = [key for key in items if key not in self._known_items]
        found = self._archive.send([("HEXISTS", self._archive.key(key), LAST_FIELD) for key in unknown])
        # A key that holds something else is not ours, and stays.
        missing = [key for key, is_there in zip(unknown, found, strict=True) if is_there == 0]
        self._known_items.update(unknown)
        return missing, list(
            chain.from_iterable(self._add_missing_fields(key, items[key]) for key in missing)
        )

    def _add_missing_fields(self, key: str, fields: Mapping[str, FieldValue]) -> Iterator[Command]:
        """Yield commands that overwrite nothing that the logger writes at the same time."""
        for name in sorted(fields, key=LAST_FIELD.__eq__):
            yield "HSETNX", self._archive.key(key), name, fields[name]


class _SecondAllocator:
    """Finds the seconds that name new plays: the one at which a play started, or the next free one."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._holders: dict[int, tuple[str, ...] | None] = {}

    def allocate(self, entries: Sequence[ImportedPlay]) -> list[tuple[int, ImportedPlay]]:
        """Return the entries with their seconds; plays of our own export keep theirs if they are free."""
        self._look_up([entry.play.second for entry in entries])
        ordered = sorted(entries, key=lambda entry: (entry.stored_hash is None, entry.play.started_ms))
        return [(self._claim(entry.play), entry) for entry in ordered]

    def _claim(self, play: Play) -> int:
        who = (to_iso(play.started_ms), play.item.uri)

        def is_taken(second: int) -> bool:
            if second not in naming_seconds(play.second):
                where = self._archive.where
                raise StoreError(f"Redis at {where} has no free key from {play_key(play.second)} on")
            if second not in self._holders:
                self._look_up(range(second, second + SECONDS_PER_LOOKUP))
            return self._holders[second] not in {None, who}

        second = next_free_second(play.second, is_taken)
        self._holders[second] = who
        return second

    def _look_up(self, seconds: Iterable[int]) -> None:
        """Look up which plays hold the keys, by start and URI."""
        unknown = [second for second in dict.fromkeys(seconds) if second not in self._holders]
        exist = self._archive.send([("EXISTS", self._archive.key(play_key(second))) for second in unknown])
        self._holders.update(dict.fromkeys(unknown))
        taken = [second for second, exists in zip(unknown, exist, strict=True) if exists]
        self._holders.update(self._archive.fields(taken, ["started_at", "uri"]))
