"""Whether catalogue, gaps, and what was forgotten are as the plays and gaps want it."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import GAPS, TOMBSTONES, gap_key, play_key, read_gap, read_tombstone
from spotify_logger.core.times import from_iso
from spotify_logger.storage.bulk import HASHES_PER_BATCH, ONE_DAY
from spotify_logger.transfer.delete.catalog import ours, remove_items
from spotify_logger.transfer.verify.findings import Findings, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spotify_logger.storage.bulk import Archive

LATELY = 30 * ONE_DAY
"""Seconds before the check in which plays began that the logger may have written while it went on."""
TOLD = ("uri", "type", "name", "artists", "album", "duration_ms")
"""What a play tells of its item."""


class RestCheck:
    """Holds everything else against the plays and gaps.

    Args:
        archive: The log.
        findings: What is found.
        now: Seconds since the epoch.
        repair: Whether to make it right.
    """

    def __init__(self, archive: Archive, findings: Findings, now: float, *, repair: bool) -> None:
        self._archive = archive
        self._findings = findings
        self._now = now
        self._repair = repair

    # The catalogue

    def look_at_catalog(
        self, played: Mapping[str, int], known: set[str], is_indexed: Callable[[int], bool]
    ) -> None:
        """See whether the catalogue has what is played, and nothing else.

        Args:
            played: The items that are played, by the key of each a second that names a play of it.
            known: The keys of the catalogue.
            is_indexed: Tells of a play whether it was in the index when that was looked at.
        """
        self._findings.seen["items"] += len(played)
        for portion in batched(sorted(played.keys() - known), HASHES_PER_BATCH):
            self._look_for_unknown({key: played[key] for key in portion})
        unused = known - played.keys()
        if unused:
            lines = (
                line
                for rows in self._archive.rows(int(self._now) - LATELY)
                for line in zip(rows.seconds, rows.items, strict=True)
            )
            self._look_at_unused(unused.difference(item for second, item in lines if not is_indexed(second)))

    def _look_for_unknown(self, played: Mapping[str, int]) -> None:
        found = self._archive.send([("EXISTS", self._archive.key(key)) for key in played])
        unknown = [key for key, exists in zip(played, found, strict=True) if not exists]
        for key in unknown:
            self._findings.add(Kind.UNKNOWN_ITEM, key)
        if self._repair:
            plays = self._archive.hashes(play_key(played[key]) for key in unknown)
            told = zip(unknown, map(_told, plays), strict=True)
            self._archive.write([("HSET", self._archive.key(key), *fields) for key, fields in told if fields])

    def _look_at_unused(self, keys: Iterable[str]) -> None:
        for portion in batched(sorted(keys), HASHES_PER_BATCH):
            unused = ours(self._archive, portion)
            for key in unused:
                self._findings.add(Kind.UNUSED_ITEM, key)
            if self._repair:
                remove_items(self._archive, unused, self._now)

    # The gaps

    def look_at_gaps(self, seconds: Iterable[int]) -> None:
        """See whether gaps and their index tell the same.

        Args:
            seconds: Where gaps begin, all that there are.
        """
        seconds = sorted(set(seconds))
        self._findings.seen["gaps"] += len(seconds)
        first = self._gaps_amiss(seconds)
        again = self._gaps_amiss(seconds) if first else {}  # one that lasts may have grown in between
        amiss = {name: found for name, found in again.items() if name in first}
        for name, (kind, _) in amiss.items():
            self._findings.add(kind, f"{GAPS} {name}" if kind is Kind.LOST_GAP else f"gap:{name}")
        if self._repair:
            self._mend_gaps(amiss)

    def _gaps_amiss(self, seconds: list[int]) -> dict[str, tuple[Kind, str]]:
        """What is wrong, by the name of the line, and the line that is right."""
        hashes = zip(seconds, self._archive.hashes(map(gap_key, seconds)), strict=True)
        wanted = {str(second): _gap_line(second, fields) for second, fields in hashes}
        (lines,) = self._archive.hashes([GAPS])
        amiss = {name: (Kind.LOST_GAP, "") for name in lines if name not in wanted}
        for name, line in wanted.items():
            if not line:
                amiss[name] = (Kind.STRANGE, "")
            elif lines.get(name) != line:
                amiss[name] = (Kind.UNLISTED_GAP, line)
        return amiss

    def _mend_gaps(self, amiss: Mapping[str, tuple[Kind, str]]) -> None:
        key = self._archive.key(GAPS)
        lines = [("HSET", key, name, line) for name, (_, line) in amiss.items() if line]
        lost = [("HDEL", key, name) for name, (kind, _) in amiss.items() if kind is Kind.LOST_GAP]
        self._archive.write([*lines, *lost])

    # What was forgotten

    def look_at_forgotten(self) -> None:
        """See whether any play is there that was forgotten."""
        (lines,) = self._archive.hashes([TOMBSTONES])
        seconds = [int(second) for second, _ in filter(None, map(read_tombstone, lines, lines.values()))]
        self._findings.seen["forgotten"] += len(seconds)
        for second, (started_at,) in self._archive.fields(sorted(seconds), ["started_at"]):
            if started_at:
                self._findings.add(Kind.BACK, play_key(second))


def _told(fields: Mapping[str, str]) -> list[str]:
    """The catalogue's fields, as far as a play tells them: names and values by turns."""
    return list(chain.from_iterable((name, fields[name]) for name in TOLD if name in fields))


def _gap_line(second: int, fields: Mapping[str, str]) -> str:
    """The line of a gap; "" where it is none."""
    ended_ms = from_iso(fields.get("to", ""))
    line = "" if ended_ms is None else f"{-(-ended_ms // 1000)} {fields.get('reason', '')}"
    return "" if read_gap(str(second), line) is None else line
