"""Entries on their way into the log: in the order of time, and held against what is there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.transfer.importer.dedup import APART_MS, REACH_MS, Merger, forgotten_stretches
from spotify_logger.transfer.importer.pairing import Known, Verdict, known_play
from spotify_logger.transfer.importer.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.importer.export_rows import Entry
    from spotify_logger.transfer.importer.report import Tally

TOGETHER = 1000
"""Entries that are decided about and written together, and the most in a stretch without a pause."""
FAR_MS = 2 * REACH_MS
"""Where nothing was heard for so long, what is known of the time between is not looked at."""

_NAMES = (
    *("uri", "type", "id", "name", "artists", "album", "duration_ms", "device_name", "playing"),
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
)
"""What has to be known of a play to tell whether a row is about it."""


class Intake:
    """Takes in what is new.

    Args:
        archive: The log.
        tally: Where it is counted.
        dry_run: Only count.
    """

    def __init__(self, archive: Archive, tally: Tally, *, dry_run: bool = False) -> None:
        self._archive = archive
        self._tally = tally
        self._writer = Writer(archive, dry_run=dry_run)
        (lines,) = archive.hashes([TOMBSTONES])
        self._merger = Merger(forgotten_stretches(lines))

    def take(self, entries: Iterable[Entry]) -> Iterator[int]:
        """Take entries in.

        Args:
            entries: In the order of the plays' starts.

        Yields:
            How many came in since the last time.
        """
        for stretches in _batches(_stretches(entries)):
            new = []
            for entry, verdict in self._decided(stretches):
                self._tally.verdicts[verdict] += 1
                if verdict is Verdict.NEW:
                    new.append(entry)
            self._writer.write(new)
            yield sum(map(len, stretches))

    def _decided(self, stretches: Sequence[Sequence[Entry]]) -> Iterator[tuple[Entry, Verdict]]:
        known = self._known(stretches[0][0].play.started_ms, max(map(_end_ms, stretches)))
        begins = [play.evidence.begin_ms for play in known]
        isrcs = self._isrcs(entry.play for entry in chain.from_iterable(stretches)) if known else {}
        for stretch in stretches:
            first = bisect_left(begins, stretch[0].play.started_ms - REACH_MS)
            last = bisect_right(begins, _end_ms(stretch) + REACH_MS)
            yield from self._merger.decide(stretch, known[first:last], isrcs)

    def _known(self, begin_ms: int, end_ms: int) -> list[Known]:
        """The plays of the log that a stretch of time may be about, in the order of their starts."""
        begin, end = (begin_ms - REACH_MS) // 1000, (end_ms + REACH_MS) // 1000
        seconds = chain.from_iterable(rows.seconds for rows in self._archive.rows(begin, end))
        found = [
            Play.from_hash(second, {name: value for name, value in zip(_NAMES, values, strict=True) if value})
            for second, values in self._archive.fields(seconds, _NAMES)
        ]
        plays = [play for play in found if play is not None]
        isrcs = self._isrcs(plays)
        return sorted(
            (known_play(play, isrcs.get(play.item.key, "")) for play in plays),
            key=lambda known: known.evidence.begin_ms,
        )

    def _isrcs(self, plays: Iterable[Play]) -> dict[str, str]:
        keys = dict.fromkeys(play.item.key for play in plays)
        return {key: isrc for key, (isrc,) in self._archive.catalog(keys, ["isrc"]) if isrc}


def _stretches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut where nothing was heard for a while."""
    stretch: list[Entry] = []
    until_ms = 0
    for entry in entries:
        is_apart = entry.play.started_ms > until_ms + APART_MS
        if stretch and (is_apart or len(stretch) >= TOGETHER):
            yield stretch
            stretch, until_ms = [], 0
        stretch.append(entry)
        until_ms = max(until_ms, entry.play.ended_ms)
    if stretch:
        yield stretch


def _batches(stretches: Iterable[list[Entry]]) -> Iterator[list[list[Entry]]]:
    """Put stretches together, as long as they are not far from each other."""
    batch: list[list[Entry]] = []
    for stretch in stretches:
        is_far = bool(batch) and stretch[0].play.started_ms > _end_ms(batch[-1]) + FAR_MS
        if batch and (is_far or sum(map(len, batch)) + len(stretch) > TOGETHER):
            yield batch
            batch = []
        batch.append(stretch)
    if batch:
        yield batch


def _end_ms(stretch: Sequence[Entry]) -> int:
    return max(entry.play.ended_ms for entry in stretch)
