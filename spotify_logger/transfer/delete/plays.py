"""Plays deleted, so that nothing of them is left and nobody brings them back.

The order of the writes is such that the next run ends what one has begun, wherever it was ended: first it is
noted from when to when a play lasted, then the play goes, then its item, if no other play needs it, and last
its line in the index, by which it is found until then.
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
from spotify_logger.transfer.delete.selection import all_days, open_plays

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.storage.bulk import Archive

TOGETHER = 200
"""Plays that are deleted in one go."""


@dataclass(slots=True)
class Gone:
    """What came of it.

    Attributes:
        plays: How many plays are forgotten.
        items: How many items the catalogue has no more.
        is_open: Whether one was left because it is not over.
        strange: Keys that were left because what lies there is no play.
    """

    plays: int = 0
    items: int = 0
    is_open: bool = False
    strange: list[str] = field(default_factory=list)


def delete(archive: Archive, seconds: Sequence[int], now: float) -> Gone:
    """Forget plays.

    Args:
        archive: The log.
        seconds: They name the plays.
        now: Seconds since the epoch.

    Raises:
        StoreError: Redis went away, or refused something. Done again, it comes to its end.
    """
    return _Deletion(archive, now).of(seconds)


class _Deletion:
    def __init__(self, archive: Archive, now: float) -> None:
        self._archive = archive
        self._now = now
        self._going: set[int] = set()
        self._items: set[str] = set()  # of what goes
        self._used: set[str] = set()  # of what stays
        self._gone = Gone()

    def of(self, seconds: Sequence[int]) -> Gone:
        still_open = open_plays(self._archive, self._now)
        self._gone.is_open = not still_open.isdisjoint(seconds)
        for portion in batched((second for second in seconds if second not in still_open), TOGETHER):
            self._delete(portion)
        self._look_through_index()
        unused = self._items - self._used
        self._gone.items = remove_items(self._archive, unused, self._now, besides=self._going)
        self._delete_lines()
        self._gone.plays = len(self._going)
        return self._gone

    def _delete(self, seconds: Sequence[int]) -> None:
        """Note from when to when plays lasted, and delete their hashes."""
        plays = self._plays(seconds)
        ends = {second: -(-play.ended_ms // 1000) for second, play in plays.items()}
        ends |= self._lines([second for second in seconds if second not in plays])
        self._items.update(play.item.key for play in plays.values())
        self._going.update(ends)
        noted = ((second, max(second, end)) for second, end in ends.items())
        if ends:
            self._archive.write([("HSET", self._archive.key(TOMBSTONES), *chain.from_iterable(noted))])
        self._archive.send([("DEL", self._archive.key(play_key(second))) for second in plays])

    def _plays(self, seconds: Iterable[int]) -> dict[int, Play]:
        found = {}
        for second, fields in self._archive.plays(seconds):
            play = Play.from_hash(second, fields)
            if play is not None:
                found[second] = play
        return found

    def _lines(self, seconds: Sequence[int]) -> dict[int, int]:
        """When plays ended of which there is only a line; what lies in their place is not touched."""
        key, ends = self._archive.key, {}
        exist = self._archive.send([("EXISTS", key(play_key(second))) for second in seconds])
        lines = self._archive.send([("HGET", key(index_key(day_of(second))), second) for second in seconds])
        for second, exists, line in zip(seconds, exist, lines, strict=True):
            row = read_row(str(second), str(line))
            if exists:
                self._gone.strange.append(play_key(second))
            elif row is not None:
                ends[second] = second + -(-row[2] // 1000)
        return ends

    def _look_through_index(self) -> None:
        """See which items go, and which are used; and take up what another run has left undone."""
        (lines,) = self._archive.hashes([TOMBSTONES])
        forgotten = {int(second) for second, _ in filter(None, map(read_tombstone, lines, lines.values()))}
        left: dict[int, str] = {}
        for rows in self._index():
            for second, item in zip(rows.seconds, rows.items, strict=True):
                if second in self._going:
                    self._items.add(item)
                elif second in forgotten:
                    left[second] = item
                else:
                    self._used.add(item)
        self._take_up(left)

    def _index(self) -> Iterator[PlayRows]:
        """All that the index has, the days of wrong clocks included: an item may be used there alone."""
        yield from self._archive.rows()
        today = day_of(int(self._now))
        odd = [day for day in all_days(self._archive) if not FIRST_DAY <= day <= today]
        yield from map(read_day, self._archive.hashes(map(index_key, odd)))

    def _take_up(self, left: Mapping[int, str]) -> None:
        for second, (started_at,) in self._archive.fields(left, ["started_at"]):
            if started_at:  # it was taken in again since
                self._used.add(left[second])
            else:
                self._items.add(left[second])
                self._going.add(second)

    def _delete_lines(self) -> None:
        days: dict[str, list[int]] = defaultdict(list)
        for second in sorted(self._going):
            days[self._archive.key(index_key(day_of(second)))].append(second)
        for portion in batched(days.items(), TOGETHER):
            self._archive.send([("HDEL", key, *seconds) for key, seconds in portion])
