"""Delete plays, and leave tombstones so that neither backfill nor import restores them.

The writes are ordered so that another run completes an interrupted one: first the tombstone, then the play's
hash, then its catalog item if no other play uses it, and last its index entry, by which it can be found until
then.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.play import Play
from spotify_logger.core.play_rows import read_day
from spotify_logger.core.redis_keys import ONE_DAY, OPEN, TOMBSTONES, day_of, index_key, play_key, read_row

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from spotify_logger.storage.bulk import Archive

KEYS_PER_BATCH = 200
"""Plays, or catalog items, deleted per pipeline."""


class Deletion:
    """Deletes plays.

    Attributes:
        deleted: The seconds of the plays deleted.
        items: The number of catalog items deleted with them.
        has_open_play: Whether the play in progress was selected and kept.
        unrecognized: Keys that were kept because they do not hold plays.
    """

    def __init__(self, archive: Archive, now: float) -> None:
        self._archive = archive
        self._now = now
        self._items: set[str] = set()  # of deleted plays
        self._still_used: set[str] = set()  # of plays that remain
        self.deleted: set[int] = set()
        self.items = 0
        self.has_open_play = False
        self.unrecognized: list[str] = []

    def delete(self, seconds: Sequence[int]) -> None:
        """Delete the plays that `seconds` name; after a StoreError, running it again completes it."""
        still_open = open_plays(self._archive, self._now)
        self.has_open_play |= not still_open.isdisjoint(seconds)
        for batch in batched((second for second in seconds if second not in still_open), KEYS_PER_BATCH):
            self._delete_hashes(batch)
        self._scan_index()
        self.items = remove_items(self._archive, self._items - self._still_used, self._now, self.deleted)
        self._delete_index_entries()

    def _delete_hashes(self, seconds: Sequence[int]) -> None:
        """Write tombstones, then delete the plays' hashes."""
        found = {second: Play.from_hash(second, fields) for second, fields in self._archive.plays(seconds)}
        plays = {second: play for second, play in found.items() if play is not None}
        ends = {second: -(-play.ended_ms // 1000) for second, play in plays.items()}
        ends |= self._ends_in_index([second for second in seconds if second not in plays])
        self._items.update(play.item.key for play in plays.values())
        self.deleted.update(ends)
        tombstones = ((second, max(second, end)) for second, end in ends.items())
        if ends:
            self._archive.write([("HSET", self._archive.key(TOMBSTONES), *chain.from_iterable(tombstones))])
        self._archive.send([("DEL", self._archive.key(play_key(second))) for second in plays])

    def _ends_in_index(self, seconds: Sequence[int]) -> dict[int, int]:
        """Return the ends of plays that exist only in the index; other values at their keys are kept."""
        exist = self._archive.send([("EXISTS", self._archive.key(play_key(second))) for second in seconds])
        kept = [second for second, exists in zip(seconds, exist, strict=True) if exists]
        self.unrecognized += map(play_key, kept)
        lines = self._archive.index_lines([second for second in seconds if second not in kept])
        rows = (read_row(str(second), line) for second, line in lines.items())
        return {row[0]: row[0] + -(-row[2] // 1000) for row in rows if row is not None}

    def _scan_index(self) -> None:
        """Find the items in use, on days of wrong clocks too, and plays that an interrupted run left."""
        tombstones = self._archive.tombstones()
        left: dict[int, str] = {}
        for rows in map(read_day, self._archive.hashes(map(index_key, indexed_days(self._archive)))):
            for second, item in zip(rows.seconds, rows.items, strict=True):
                if second in self.deleted:
                    self._items.add(item)
                elif second in tombstones:
                    left[second] = item
                else:
                    self._still_used.add(item)
        for second, (started_at,) in self._archive.fields(left, ["started_at"]):
            if started_at:  # it was imported again since
                self._still_used.add(left[second])
            else:
                self._items.add(left[second])
                self.deleted.add(second)

    def _delete_index_entries(self) -> None:
        days: dict[str, list[int]] = defaultdict(list)
        for second in sorted(self.deleted):
            days[self._archive.key(index_key(day_of(second)))].append(second)
        for batch in batched(days.items(), KEYS_PER_BATCH):
            self._archive.write([("HDEL", key, *seconds) for key, seconds in batch])


def open_plays(archive: Archive, now: float) -> set[int]:
    """Return the seconds of plays in progress; normally there is at most one.

    A running logger keeps writing its open play, so deleting it would be futile. A play that began more than
    a day before `now` is no longer in progress.
    """
    newest = None
    for rows in archive.rows(int(now) - ONE_DAY):
        newest = rows.seconds[-1] if rows.ends[-1] == OPEN else None
    return {second for second in (archive.now_playing(), newest) if second is not None}


def indexed_days(archive: Archive) -> list[date]:
    """Return all UTC days that have an index, in ascending order, those of wrong clocks included."""
    names = {name for names in archive.scan("plays:*") for name in names}
    return sorted(day for day in map(day_of_index_key, names) if day is not None)


def day_of_index_key(name: str) -> date | None:
    """Return the day of an index key; None if it is not an index key."""
    try:
        day = date.fromisoformat(name.removeprefix("plays:"))
    except ValueError:
        return None
    return day if index_key(day) == name else None


def remove_items(archive: Archive, keys: Iterable[str], now: float, excluded: Container[int] = ()) -> int:
    """Delete items from the catalog, and return their number; keys that hold anything else are left alone.

    An item whose play began meanwhile is restored: the logger may just have started it. Plays whose
    seconds are `excluded` do not count as a use.
    """
    removed = 0
    for batch in batched(sorted(keys), KEYS_PER_BATCH):
        items = catalog_hashes(archive, batch)
        archive.send([("DEL", archive.key(key)) for key in items])
        days = archive.rows(int(now) - ONE_DAY)
        lines = (line for rows in days for line in zip(rows.seconds, rows.items, strict=True))
        back = items.keys() & {item for second, item in lines if second not in excluded}
        archive.write(
            [("HSET", archive.key(key), *chain.from_iterable(items[key].items())) for key in sorted(back)]
        )
        removed += len(items) - len(back)
    return removed


def catalog_hashes(archive: Archive, keys: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return the catalog hashes at `keys`, leaving out keys that hold anything else."""
    hashes = zip(keys, archive.hashes(keys), strict=True)
    return {key: fields for key, fields in hashes if "uri" in fields}
