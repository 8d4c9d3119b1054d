"""Check that plays and index agree, in both directions."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.batched import batched
from spotify_logger.core.matching import MINUTE_MS, SAME_END_MS, naming_seconds
from spotify_logger.core.play import BACKFILL, LIVE, Play
from spotify_logger.core.redis_keys import day_of, index_key, play_key, second_of_key
from spotify_logger.storage.bulk import DAYS_PER_BATCH
from spotify_logger.storage.store import HASHES_PER_BATCH
from spotify_logger.transfer.delete.plays import indexed_days
from spotify_logger.transfer.verify.findings import FindingKind, Findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.storage.client import Command

PLAY_FIELDS = ("uri", "type", "id", "started_at", "ended_at", "ms_played", "end_reason", "source")
"""The fields of a play that its index entry depends on."""
MAX_TRIES = 3
"""How many times an index entry is written if the logger changes the play meanwhile."""


class PlayFinding(NamedTuple):
    """A problem with a play or its index entry; either may be missing."""

    kind: FindingKind
    play: Play | None
    line: str | None


class PlayCheck:
    """Compares plays and index, and corrects the index on request.

    A difference is reported only if reading both again confirms it, because the open play changes all the
    time.

    Attributes:
        items: The keys of the items of all plays, each with the second of one of the plays.
        lost: The seconds of index entries whose plays are gone, with the keys of their items.
    """

    def __init__(self, archive: Archive, findings: Findings) -> None:
        self._archive = archive
        self._findings = findings
        self._indexed = array("q")  # the seconds of all index entries, ascending
        self._unlisted: set[int] = set()
        self._until_ms = 0  # when the previous play ended; the start of a backfilled one is an estimate
        self.items: dict[str, int] = {}
        self.lost: dict[int, str] = {}

    def check_index(self) -> None:
        """Check the index, day by day."""
        for days in batched(indexed_days(self._archive), DAYS_PER_BATCH):
            self._compare_with_plays(self._read_days(days))

    def check_plays(self, seconds: Iterable[int]) -> None:
        """Check that some of the plays are in the index; called until all plays have been checked."""
        new = [second for second in seconds if not self.is_indexed(second) and second not in self._unlisted]
        findings = self._inspect(new)
        self._unlisted.update(findings)
        for finding in findings.values():
            if finding.play is not None:
                self._register(finding.play)
        self._report(findings)

    def delete_lost(self) -> None:
        """Delete the index entries whose plays are still gone."""
        for seconds in batched(self.lost, HASHES_PER_BATCH):
            findings = self._inspect(seconds).items()
            gone = [second for second, finding in findings if finding.kind is FindingKind.LOST]
            self._archive.write(
                [("HDEL", self._archive.key(index_key(day_of(second))), second) for second in gone]
            )

    def is_indexed(self, second: int) -> bool:
        """Return whether a play was in the index when that was read."""
        place = bisect_left(self._indexed, second)
        return place < len(self._indexed) and self._indexed[place] == second

    def _read_days(self, days: Sequence[date]) -> dict[int, str]:
        """Return the entries of some days by second; those with an impossible second are findings."""
        self._findings.seen["days"] += len(days)
        lines: dict[int, str] = {}
        for day, found in zip(days, self._archive.hashes(map(index_key, days)), strict=True):
            wrong = []
            for name, line in found.items():
                second = second_of_key(f"listening:{name}")
                is_second = second is not None and str(second) == name
                if second is not None and is_second and day_of(second) == day:
                    lines[second] = line
                else:
                    kind = FindingKind.ASTRAY if is_second else FindingKind.LOST
                    self._findings.add(kind, f"{index_key(day)} {name}")
                    wrong.append(name)
            if wrong and self._findings.repair:
                self._archive.write([("HDEL", self._archive.key(index_key(day)), *wrong)])
        return lines

    def _compare_with_plays(self, lines: Mapping[int, str]) -> None:
        different = []
        seconds = sorted(lines)
        for second, values in self._archive.fields(seconds, PLAY_FIELDS):
            play = _read(second, values)
            if play is None or lines[second] != play.index:
                different.append(second)
            if play is not None:
                self._register(play)
                self._check_overlap(play)
        self._indexed.extend(seconds)
        self._report(self._inspect(different))

    def _register(self, play: Play) -> None:
        self._findings.seen["plays"] += 1
        self.items[play.item.key] = play.second
        if play.second not in naming_seconds(play.started_ms // 1000):
            self._findings.add(FindingKind.MISNAMED, play_key(play.second))

    def _check_overlap(self, play: Play) -> None:
        if play.source != BACKFILL:
            tolerance_ms = SAME_END_MS if play.source == LIVE else MINUTE_MS
            if play.started_ms < self._until_ms - tolerance_ms:
                self._findings.add(FindingKind.OVERLAPPING, play_key(play.second))
            self._until_ms = max(self._until_ms, play.ended_ms)

    def _inspect(self, seconds: Sequence[int]) -> dict[int, PlayFinding]:
        """Return the problems of plays and their index entries, which are read together."""
        key, found = self._archive.key, {}
        commands: list[Command] = []
        for second in seconds:
            commands.append(("HMGET", key(play_key(second)), *PLAY_FIELDS))
            commands.append(("EXISTS", key(play_key(second))))
            commands.append(("HGET", key(index_key(day_of(second))), second))
        replies = iter(self._archive.send(commands))
        for second, values, exists, line in zip(seconds, replies, replies, replies, strict=True):
            play = None if values is None else _read(second, values)
            kind = _compare(play, line, exists=bool(exists))
            if kind is not None:
                found[second] = PlayFinding(kind, play, line)
        return found

    def _report(self, findings: Mapping[int, PlayFinding]) -> None:
        for second, finding in findings.items():
            is_of_play = finding.kind in {FindingKind.UNLISTED, FindingKind.STRANGE}
            entry = f"{index_key(day_of(second))} {second}"
            self._findings.add(finding.kind, play_key(second) if is_of_play else entry)
            if finding.kind is FindingKind.LOST:
                self.lost[second] = (finding.line or "").partition(" ")[0]
        if self._findings.repair:
            self._repair_index(findings)

    def _repair_index(self, findings: Mapping[int, PlayFinding]) -> None:
        for _ in range(MAX_TRIES):
            commands: list[Command] = [
                ("HSET", self._archive.key(index_key(day_of(second))), second, finding.play.index)
                for second, finding in findings.items()
                if finding.play is not None
            ]
            if not commands:
                return
            self._archive.write(commands)
            findings = self._inspect(list(findings))


def _compare(play: Play | None, line: str | None, *, exists: bool) -> FindingKind | None:
    """Return what is wrong with a play and its index entry; `exists` says whether its key holds anything."""
    if play is None:
        lost = None if line is None else FindingKind.LOST
        return FindingKind.STRANGE if exists else lost
    if line is None:
        return FindingKind.UNLISTED
    if line == play.index:
        return None
    return FindingKind.OLD_FORM if line == play.index.rpartition(" ")[0] else FindingKind.DIFFERENT


def _read(second: int, values: Iterable[str | None]) -> Play | None:
    present = {name: value for name, value in zip(PLAY_FIELDS, values, strict=True) if value}
    return Play.from_hash(second, present)
