"""Check catalog, gaps and tombstones against the plays."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import (
    GAPS,
    ONE_DAY,
    TOMBSTONES,
    gap_key,
    gap_value,
    play_key,
    read_tombstone,
)
from spotify_logger.storage.store import HASHES_PER_BATCH
from spotify_logger.transfer.delete.catalog import catalog_hashes, remove_items
from spotify_logger.transfer.verify.findings import FindingKind, Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spotify_logger.storage.bulk import Archive

RECENT_SECONDS = 30 * ONE_DAY
"""Seconds before the check within which the logger may write plays during it."""
CATALOG_FIELDS = ("uri", "type", "name", "artists", "album", "duration_ms")
"""The catalog fields that a play's hash has, too."""


class CatalogAndGapCheck:
    """Checks catalog, gaps and tombstones.

    Args:
        archive: The log.
        findings: Where problems are added.
        now: Seconds since the epoch.
        repair: Whether to repair them.
    """

    def __init__(self, archive: Archive, findings: Findings, now: float, *, repair: bool) -> None:
        self._archive = archive
        self._findings = findings
        self._now = now
        self._repair = repair

    # The catalog

    def check_catalog(
        self, played: Mapping[str, int], known: set[str], is_indexed: Callable[[int], bool]
    ) -> None:
        """Check that the catalog holds exactly the items that are played.

        Args:
            played: The keys of the items of all plays, each with the second of one of the plays.
            known: The keys of the catalog.
            is_indexed: Returns whether a play was in the index when that was read.
        """
        self._findings.seen["items"] += len(played)
        for batch in batched(sorted(played.keys() - known), HASHES_PER_BATCH):
            self._check_missing({key: played[key] for key in batch})
        unused = known - played.keys()
        if unused:
            lines = (
                line
                for rows in self._archive.rows(int(self._now) - RECENT_SECONDS)
                for line in zip(rows.seconds, rows.items, strict=True)
            )
            self._check_unused(unused.difference(item for second, item in lines if not is_indexed(second)))

    def _check_missing(self, played: Mapping[str, int]) -> None:
        found = self._archive.send([("EXISTS", self._archive.key(key)) for key in played])
        unknown = [key for key, exists in zip(played, found, strict=True) if not exists]
        for key in unknown:
            self._findings.add(FindingKind.UNKNOWN_ITEM, key)
        if self._repair:
            plays = self._archive.hashes(play_key(played[key]) for key in unknown)
            additions = zip(unknown, map(_catalog_fields, plays), strict=True)
            self._archive.write(
                [("HSET", self._archive.key(key), *fields) for key, fields in additions if fields]
            )

    def _check_unused(self, keys: Iterable[str]) -> None:
        for batch in batched(sorted(keys), HASHES_PER_BATCH):
            unused = catalog_hashes(self._archive, batch)
            for key in unused:
                self._findings.add(FindingKind.UNUSED_ITEM, key)
            if self._repair:
                remove_items(self._archive, unused, self._now)

    # The gaps

    def check_gaps(self, seconds: Iterable[int]) -> None:
        """Check that gaps and their index agree.

        Args:
            seconds: The seconds of all gap hashes.
        """
        seconds = sorted(set(seconds))
        self._findings.seen["gaps"] += len(seconds)
        first = self._find_wrong_gaps(seconds)
        recheck = (
            self._find_wrong_gaps(seconds) if first else {}
        )  # a gap that is still open may have grown in between
        wrong = {name: found for name, found in recheck.items() if name in first}
        for name, (kind, _) in wrong.items():
            self._findings.add(kind, f"{GAPS} {name}" if kind is FindingKind.LOST_GAP else f"gap:{name}")
        if self._repair:
            self._repair_gaps(wrong)

    def _find_wrong_gaps(self, seconds: list[int]) -> dict[str, tuple[FindingKind, str]]:
        """Return the problems by index field, each with the correct entry."""
        hashes = zip(seconds, self._archive.hashes(map(gap_key, seconds)), strict=True)
        wanted = {str(second): gap_value(second, fields) for second, fields in hashes}
        (lines,) = self._archive.hashes([GAPS])
        wrong = {name: (FindingKind.LOST_GAP, "") for name in lines if name not in wanted}
        for name, line in wanted.items():
            if not line:
                wrong[name] = (FindingKind.STRANGE, "")
            elif lines.get(name) != line:
                wrong[name] = (FindingKind.UNLISTED_GAP, line)
        return wrong

    def _repair_gaps(self, wrong: Mapping[str, tuple[FindingKind, str]]) -> None:
        key = self._archive.key(GAPS)
        lines = [("HSET", key, name, line) for name, (_, line) in wrong.items() if line]
        lost = [("HDEL", key, name) for name, (kind, _) in wrong.items() if kind is FindingKind.LOST_GAP]
        self._archive.write([*lines, *lost])

    # Tombstones

    def check_tombstones(self) -> None:
        """Check that no deleted play is back."""
        (lines,) = self._archive.hashes([TOMBSTONES])
        seconds = [int(second) for second, _ in filter(None, map(read_tombstone, lines, lines.values()))]
        self._findings.seen["forgotten"] += len(seconds)
        for second, (started_at,) in self._archive.fields(sorted(seconds), ["started_at"]):
            if started_at:
                self._findings.add(FindingKind.BACK, play_key(second))


def _catalog_fields(fields: Mapping[str, str]) -> list[str]:
    """Return the names and values of the catalog fields in a play's hash, alternating."""
    return list(chain.from_iterable((name, fields[name]) for name in CATALOG_FIELDS if name in fields))
