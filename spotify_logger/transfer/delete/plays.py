"""Delete plays, and leave tombstones so that neither backfill nor import restores them.

The writes are ordered so that another run completes an interrupted one: first the tombstone, then the play's
hash, then its catalog item if no other play uses it, and last its index entry, by which it can be found until
then.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.play import Play
from spotify_logger.core.play_rows import PlayRows, read_day
from spotify_logger.core.redis_keys import (
    FIRST_DAY,
    TOMBSTONES,
    day_of,
    index_key,
    play_key,
    read_row,
    read_tombstone,
)
from spotify_logger.transfer.delete.catalog import remove_items
from spotify_logger.transfer.delete.selection import indexed_days, open_plays

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.storage.bulk import Archive

PLAYS_PER_BATCH = 200
"""Plays deleted per pipeline."""


@dataclass(slots=True)
class Deletion:
    """The result of a deletion.

    Attributes:
        plays: Plays deleted.
        items: Catalog items deleted with them.
        has_open_play: Whether the play in progress was selected and kept.
        unrecognized: Keys that were kept because they do not hold plays.
    """

    plays: int = 0
    items: int = 0
    has_open_play: bool = False
    unrecognized: list[str] = field(default_factory=list)


def delete(archive: Archive, seconds: Sequence[int], now: float) -> Deletion:
    """Delete plays.

    Args:
        archive: The log.
        seconds: The seconds that name the plays.
        now: Seconds since the epoch.

    Raises:
        StoreError: Redis went away, or refused something. Running it again completes it.
    """
    return _Deleter(archive, now).of(seconds)


class _Deleter:
    def __init__(self, archive: Archive, now: float) -> None:
        self._archive = archive
        self._now = now
        self._deleted: set[int] = set()
        self._items: set[str] = set()  # of deleted plays
        self._still_used: set[str] = set()  # of plays that remain
        self._deletion = Deletion()

    def of(self, seconds: Sequence[int]) -> Deletion:
        still_open = open_plays(self._archive, self._now)
        self._deletion.has_open_play = not still_open.isdisjoint(seconds)
        for batch in batched((second for second in seconds if second not in still_open), PLAYS_PER_BATCH):
            self._delete(batch)
        self._scan_index()
        unused = self._items - self._still_used
        self._deletion.items = remove_items(self._archive, unused, self._now, excluded=self._deleted)
        self._delete_index_entries()
        self._deletion.plays = len(self._deleted)
        return self._deletion

    def _delete(self, seconds: Sequence[int]) -> None:
        """Write tombstones, then delete the plays' hashes."""
        plays = self._plays(seconds)
        ends = {second: -(-play.ended_ms // 1000) for second, play in plays.items()}
        ends |= self._lines([second for second in seconds if second not in plays])
        self._items.update(play.item.key for play in plays.values())
        self._deleted.update(ends)
        tombstones = ((second, max(second, end)) for second, end in ends.items())
        if ends:
            self._archive.write([("HSET", self._archive.key(TOMBSTONES), *chain.from_iterable(tombstones))])
        self._archive.send([("DEL", self._archive.key(play_key(second))) for second in plays])

    def _plays(self, seconds: Iterable[int]) -> dict[int, Play]:
        found = {}
        for second, fields in self._archive.plays(seconds):
            play = Play.from_hash(second, fields)
            if play is not None:
                found[second] = play
        return found

    def _lines(self, seconds: Sequence[int]) -> dict[int, int]:
        """Return the ends of plays that exist only in the index; other values at their keys are kept."""
        key, ends = self._archive.key, {}
        exist = self._archive.send([("EXISTS", key(play_key(second))) for second in seconds])
        lines = self._archive.send([("HGET", key(index_key(day_of(second))), second) for second in seconds])
        for second, exists, line in zip(seconds, exist, lines, strict=True):
            row = read_row(str(second), str(line))
            if exists:
                self._deletion.unrecognized.append(play_key(second))
            elif row is not None:
                ends[second] = second + -(-row[2] // 1000)
        return ends

    def _scan_index(self) -> None:
        """Find the items in use, and plays that an interrupted run left in the index."""
        (lines,) = self._archive.hashes([TOMBSTONES])
        forgotten = {int(second) for second, _ in filter(None, map(read_tombstone, lines, lines.values()))}
        left: dict[int, str] = {}
        for rows in self._index():
            for second, item in zip(rows.seconds, rows.items, strict=True):
                if second in self._deleted:
                    self._items.add(item)
                elif second in forgotten:
                    left[second] = item
                else:
                    self._still_used.add(item)
        self._resume(left)

    def _index(self) -> Iterator[PlayRows]:
        """Yield the whole index, days of wrong clocks included: they may hold the only use of an item."""
        yield from self._archive.rows()
        today = day_of(int(self._now))
        out_of_range = [day for day in indexed_days(self._archive) if not FIRST_DAY <= day <= today]
        yield from map(read_day, self._archive.hashes(map(index_key, out_of_range)))

    def _resume(self, left: Mapping[int, str]) -> None:
        for second, (started_at,) in self._archive.fields(left, ["started_at"]):
            if started_at:  # it was imported again since
                self._still_used.add(left[second])
            else:
                self._items.add(left[second])
                self._deleted.add(second)

    def _delete_index_entries(self) -> None:
        days: dict[str, list[int]] = defaultdict(list)
        for second in sorted(self._deleted):
            days[self._archive.key(index_key(day_of(second)))].append(second)
        for batch in batched(days.items(), PLAYS_PER_BATCH):
            self._archive.send([("HDEL", key, *seconds) for key, seconds in batch])
