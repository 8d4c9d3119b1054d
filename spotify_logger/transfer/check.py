"""`spotify-logger check`: compare index, catalog and plays, and rebuild the index from the plays.

Plays and gaps are the source of truth, and are never changed here, unless they have lost fields. All keys
are scanned in batches; only a number is kept in memory for each play.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import ARTIST_FIELDS, CatalogEntry, tell_apart
from spotify_logger.core.matching import MINUTE_MS, SAME_END_MS, naming_seconds
from spotify_logger.core.play import BACKFILL, LIVE, PLAY_FIELDS, Play
from spotify_logger.core.player_state import encode_artists, whole_number
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.report.answers import Answer
from spotify_logger.report.progress import progress_bar
from spotify_logger.report.words import counted, format_time
from spotify_logger.storage.bulk import DAYS_PER_BATCH, ITEM_KEYS, Archive
from spotify_logger.storage.client import Command
from spotify_logger.storage.store import HASHES_PER_BATCH, ITEMS_PER_BATCH
from spotify_logger.transfer.delete import (
    Confirmation,
    day_of_index_key,
    indexed_days,
    item_hashes,
    remove_items,
)
from spotify_logger.transfer.findings import LOST_KINDS, FindingKind, Findings
from spotify_logger.transfer.second_copy import kept_plays

if TYPE_CHECKING:
    from spotify_logger.report.progress import Progress

RECENT_SECONDS = 30 * keys.ONE_DAY  # plays that the logger writes during the check started since then
CATALOG_FIELDS = ("uri", "type", "name", "artists", "album", "duration_ms")  # which a play's hash has, too
INDEXED_FIELDS = ("uri", "type", "id", "started_at", "ended_at", "ms_played", "end_reason", "source")
"""The fields of a play that its index entry depends on."""
MAX_TRIES = 3  # how many times an index entry is written if the logger changes the play meanwhile
_SECOND_KEY = re.compile(r"(listening|gap):(-?(?:0|[1-9][0-9]*))")
_DAY_KEY = re.compile(r"plays:[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check(  # noqa: PLR0913 - most of them say how to repair
    archive: Archive,
    now: float,
    confirmation: Confirmation | None = None,
    state_dir: Path | None = None,
    *,
    repair: bool = False,
    screen: TextIO | None = None,
) -> Answer:
    """Check that plays, index, catalog and gaps of a log agree, and repair index and catalog on request.

    Plays that are gone, or have lost fields, come back from the state folder, or from index and catalog. What
    is left of the others is deleted with consent only, or without asking if `confirmation` is None. The exit
    code is 1 if there are problems, or any left after the repair. The progress is shown on the screen if it
    is a terminal.
    """
    findings = Findings(repair=repair)
    plays = PlayCheck(archive, findings)
    with progress_bar(screen) as progress:
        plays.check_index(progress)
        items, gaps = _scan(archive, findings, plays, progress)
    if repair:
        plays.restore_lost(state_dir)
    if plays.lost:
        findings.why_kept = archive.eviction()
        if repair and not findings.why_kept and confirmation is not None:
            ends = (format_time(confirmation.zone, second) for second in (min(plays.lost), max(plays.lost)))
            left = f"all that is left of {counted(len(plays.lost), 'play')}, {' to '.join(ends)}"
            findings.why_kept = confirmation.refusal(f"Permanently delete {left}?")
        if findings.why_kept:
            items -= set(plays.lost.values()) - plays.items.keys()
        elif repair:
            plays.delete_lost()
    _check_catalog(archive, findings, plays, items, now)
    _check_artists(archive, findings, sorted(plays.items))
    _check_gaps(archive, findings, sorted(gaps))
    tombstones = sorted(archive.tombstones())
    findings.seen["forgotten"] += len(tombstones)
    for second, (started_at,) in archive.fields(tombstones, ["started_at"]):
        if started_at:
            findings.add(FindingKind.BACK, keys.play_key(second))
    if repair:  # readers do not know what people have changed with redis-cli
        touched = {*map(str, plays.days), *archive.hash(keys.REVISIONS), keys.CATALOG}
        archive.write([archive.touch(sorted(touched))])
    return findings.answer()


def _scan(
    archive: Archive, findings: Findings, plays: "PlayCheck", progress: "Progress"
) -> tuple[set[str], set[int]]:
    """Check that all plays are in the index; return the keys of all items and the seconds of all gaps."""
    items: set[str] = set()
    gaps: set[int] = set()
    done = 0
    for names in archive.scan("*"):
        items.update(name for name in names if name.startswith(ITEM_KEYS))
        found: dict[str, list[int]] = {"listening": [], "gap": []}
        for name in names:
            key = _SECOND_KEY.fullmatch(name)
            second = None if key is None else keys.second_of_key(f"listening:{key[2]}")
            if key is not None and second is not None:
                found[key[1]].append(second)
            elif key is not None or (_DAY_KEY.fullmatch(name) and day_of_index_key(name) is None):
                findings.add(FindingKind.STRANGE, name)
        gaps.update(found["gap"])
        plays.check_plays(found["listening"])
        done += len(found["listening"])
        progress("checking the plays", done, len(plays.seen))
    return items, gaps


PlayFinding = tuple[FindingKind, Play | None, str]
"""A problem with a play or its index entry, with both of them, as far as they exist."""


class PlayCheck:
    """Compares plays and index, and corrects the index on request.

    A difference is reported only if reading both again confirms it, because the open play changes all the
    time.
    """

    def __init__(self, archive: Archive, findings: Findings) -> None:
        self._archive = archive
        self._findings = findings
        self._until_ms = 0  # when the previous play ended; the start of a backfilled one is an estimate
        self.seen: set[int] = set()  # the seconds of all plays and index entries
        self.items: dict[str, int] = {}  # of all plays, each with the second of one of them
        self.days: list[date] = []  # that have an index
        self._foreign_days: set[date] = set()  # whose keys hold something else than an index
        self.lost: dict[int, str] = {}  # the seconds of plays that are gone, or not whole, and their items

    def check_index(self, progress: "Progress") -> None:
        """Check the index, day by day."""
        self.days = indexed_days(self._archive)
        for days in batched(self.days, DAYS_PER_BATCH):
            lines = self._read_days(days)
            different = []
            for second, values in self._archive.fields(sorted(lines), INDEXED_FIELDS):
                play = _read(second, values)
                if play is None or lines[second] != play.index:
                    different.append(second)
                if play is not None:
                    self._register(play)
                    self._check_overlap(play)
            self.seen.update(lines)
            self._report(self._inspect(different))
            progress("checking the index", self._findings.seen["days"], len(self.days))

    def check_plays(self, seconds: Iterable[int]) -> None:
        """Check that some of the plays are in the index; called until all plays have been checked."""
        findings = self._inspect([second for second in seconds if second not in self.seen])
        self.seen.update(findings)
        for _, play, _ in findings.values():
            if play is not None:
                self._register(play)
        self._report(findings)

    def restore_lost(self, state_dir: Path | None) -> None:
        """Write the lost plays that are known from elsewhere, unless they were deleted."""
        wanted = self.lost.keys() - self._archive.tombstones().keys()
        kept = kept_plays(state_dir, wanted) if state_dir and wanted else {}
        for seconds in batched(wanted, HASHES_PER_BATCH):
            items = self._archive.hashes(self.lost[second] for second in seconds)
            lines = self._archive.index_lines(seconds)
            with self._archive.batch() as batch:
                for (second, held), item in zip(self._archive.plays(seconds), items, strict=True):
                    whole = Play.from_hash(second, held) or Play.from_hash(second, kept.get(second, {}))
                    play = whole or _rebuild(second, held, lines.get(second, ""), item)
                    if play is not None:
                        batch.write_play(second, play.to_hash(), play.index)
                        self._register(play)
                        del self.lost[second]

    def delete_lost(self) -> None:
        """Delete what is left of the plays that are still lost."""
        for seconds in batched(self.lost, HASHES_PER_BATCH):
            lost = [second for second, (kind, *_) in self._inspect(seconds).items() if kind in LOST_KINDS]
            self._archive.write([("HDEL", self._index(second), second) for second in lost])
            self._archive.write([("DEL", self._archive.key(keys.play_key(second))) for second in lost])

    def _index(self, second: int) -> str:
        return self._archive.key(keys.index_key(keys.day_of(second)))

    def _read_days(self, days: Sequence[date]) -> dict[int, str]:
        """Return the entries of some days by second; those with an impossible second are findings."""
        self._findings.seen["days"] += len(days)
        lines: dict[int, str] = {}
        for day, found in zip(days, self._archive.hashes(map(keys.index_key, days)), strict=True):
            wrong = []
            if not found and _is_foreign(self._archive, keys.index_key(day)):
                self._findings.add(FindingKind.STRANGE, keys.index_key(day))
                self._foreign_days.add(day)
            for name, line in found.items():
                second = keys.second_of_key(f"listening:{name}")
                is_second = second is not None and str(second) == name
                if second is not None and is_second and keys.day_of(second) == day:
                    lines[second] = line
                else:
                    kind = FindingKind.ASTRAY if is_second else FindingKind.INVALID
                    self._findings.add(kind, f"{keys.index_key(day)} {name}")
                    wrong.append(name)
            if wrong and self._findings.repair:
                self._archive.write([("HDEL", self._archive.key(keys.index_key(day)), *wrong)])
        return lines

    def _register(self, play: Play) -> None:
        self._findings.seen["plays"] += 1
        self.items[play.item.key] = play.second
        if play.second not in naming_seconds(play.started_ms // 1000):
            self._findings.add(FindingKind.MISNAMED, keys.play_key(play.second))

    def _check_overlap(self, play: Play) -> None:
        if play.source != BACKFILL:
            tolerance_ms = SAME_END_MS if play.source == LIVE else MINUTE_MS
            if play.started_ms < self._until_ms - tolerance_ms:
                self._findings.add(FindingKind.OVERLAPPING, keys.play_key(play.second))
            self._until_ms = max(self._until_ms, play.ended_ms)

    def _inspect(self, seconds: Sequence[int]) -> dict[int, PlayFinding]:
        """Return the problems of plays and their index entries, which are read together."""
        found: dict[int, PlayFinding] = {}
        commands: list[Command] = []
        for second in seconds:
            key = self._archive.key(keys.play_key(second))
            commands += (("HMGET", key, *INDEXED_FIELDS), ("EXISTS", key), ("HKEYS", key))
            commands.append(("HGET", self._index(second), second))
        replies = iter(self._archive.send(commands))
        for second, values, exists, names, line in zip(seconds, *[replies] * 4, strict=True):
            play = None if values is None else _read(second, values)
            kind = _compare(play, line, names or [], exists=bool(exists))
            if kind is not None:
                found[second] = kind, play, line or ""
        return found

    def _report(self, findings: Mapping[int, PlayFinding]) -> None:
        findings = {
            second: found
            for second, found in findings.items()
            if found[0] is FindingKind.STRANGE or keys.day_of(second) not in self._foreign_days
        }
        for second, (kind, _, line) in findings.items():
            is_of_play = kind in {FindingKind.UNLISTED, FindingKind.INCOMPLETE, FindingKind.STRANGE}
            entry = f"{keys.index_key(keys.day_of(second))} {second}"
            self._findings.add(kind, keys.play_key(second) if is_of_play else entry)
            if kind in LOST_KINDS:
                self.lost[second] = line.partition(" ")[0]
        for _ in range(MAX_TRIES if findings and self._findings.repair else 0):
            plays = [(second, play) for second, (_, play, _) in findings.items() if play is not None]
            self._archive.write([("HSET", self._index(second), second, play.index) for second, play in plays])
            findings = self._inspect([second for second, _ in plays])


def _is_foreign(archive: Archive, name: str) -> bool:
    """Return whether a key of which no hash could be read exists."""
    return archive.send([("EXISTS", archive.key(name))]) == [1] and not archive.hash(name)


def _compare(
    play: Play | None, line: str | None, names: Collection[str], *, exists: bool
) -> FindingKind | None:
    """Return what is wrong with a play and its index entry.

    `names` are those of the fields under its key; `exists` says whether that holds anything.
    """
    if play is None and names and PLAY_FIELDS.issuperset(names):
        return FindingKind.INCOMPLETE
    if play is None:
        lost = None if line is None else FindingKind.LOST
        return FindingKind.STRANGE if exists else lost
    if line is None:
        return FindingKind.UNLISTED
    if line == play.index:
        return None
    return FindingKind.OLD_FORM if line == play.index.rpartition(" ")[0] else FindingKind.DIFFERENT


def _read(second: int, values: Iterable[str | None]) -> Play | None:
    present = {name: value for name, value in zip(INDEXED_FIELDS, values, strict=True) if value}
    return Play.from_hash(second, present)


def _rebuild(second: int, held: Mapping[str, str], line: str, item: Mapping[str, str]) -> Play | None:
    """Return a play from what is left of it, its line in the index, and its item; None if it cannot be."""
    row = keys.read_row(str(second), line)
    if row is None or not held:
        return None
    _, key, ms_played, end = row
    started_ms = from_iso(held.get("started_at", "")) or second * 1000
    ms_played = whole_number(held.get("ms_played")) or ms_played
    fields = {name: item[name] for name in CATALOG_FIELDS if name in item}
    fields |= {} if key.startswith("local:") else {"id": key.partition(":")[2]}
    fields |= {} if end == keys.OPEN else {"end_reason": end}
    fields |= {"started_at": to_iso(started_ms), "ended_at": to_iso(started_ms + ms_played)}
    return Play.from_hash(second, {**fields, "ms_played": str(ms_played), **held})


def _check_catalog(
    archive: Archive, findings: Findings, plays: PlayCheck, known: set[str], now: float
) -> None:
    """Check that the catalog, with the keys `known`, holds exactly the items that are played."""
    findings.seen["items"] += len(plays.items)
    for batch in batched(sorted(plays.items.keys() - known), HASHES_PER_BATCH):
        found = archive.send([("EXISTS", archive.key(key)) for key in batch])
        missing = [key for key, exists in zip(batch, found, strict=True) if not exists]
        for key in missing:
            findings.add(FindingKind.UNKNOWN_ITEM, key)
        if findings.repair:
            hashes = archive.hashes(keys.play_key(plays.items[key]) for key in missing)
            fields = ([(name, play[name]) for name in CATALOG_FIELDS if name in play] for play in hashes)
            both = zip(map(archive.key, missing), fields, strict=True)
            archive.write([("HSET", key, *chain.from_iterable(some)) for key, some in both if some])
    unused = known - plays.items.keys()
    if unused:
        # The logger may have written plays since the index was read.
        for rows in archive.rows(int(now) - RECENT_SECONDS):
            lines = zip(rows.seconds, rows.items, strict=True)
            unused.difference_update(item for second, item in lines if second not in plays.seen)
    for batch in batched(sorted(unused), HASHES_PER_BATCH):
        items = item_hashes(archive, batch)
        for key in items:
            findings.add(FindingKind.UNUSED_ITEM, key)
        if findings.repair:
            remove_items(archive, items, now)


def _check_artists(archive: Archive, findings: Findings, items: Sequence[str]) -> None:
    """Check that the catalog has the artists of items as a list, and add those that can be told apart."""
    read = archive.catalog(items, ARTIST_FIELDS)
    entries = {key: CatalogEntry(**dict(zip(ARTIST_FIELDS, values, strict=True))) for key, values in read}
    found, doubtful = tell_apart(entries)
    lists: dict[str, str] = {}
    for key, entry in entries.items():
        # Without IDs there is only one name: the album's artist of an export.
        if found[key] and entry.artist_ids and not entry.artist_list:
            is_doubtful = key in doubtful
            findings.add(FindingKind.DOUBTFUL_ARTISTS if is_doubtful else FindingKind.JOINED_ARTISTS, key)
            lists[key] = "" if is_doubtful else encode_artists(found[key])
    if findings.repair:
        for batch in batched(lists.items(), ITEMS_PER_BATCH):
            archive.write([("HSETNX", archive.key(key), "artist_list", text) for key, text in batch if text])


def _check_gaps(archive: Archive, findings: Findings, seconds: Sequence[int]) -> None:
    """Check that gaps, which begin at `seconds`, and their index agree."""
    findings.seen["gaps"] += len(seconds)
    first = _find_wrong_gaps(archive, seconds)
    # A gap that is still open may have grown meanwhile.
    recheck = _find_wrong_gaps(archive, seconds) if first else {}
    key, commands = archive.key(keys.GAPS), list[Command]()
    if first and _is_foreign(archive, keys.GAPS):
        findings.add(FindingKind.STRANGE, keys.GAPS)
        return
    for name in sorted(recheck.keys() & first.keys()):
        line = recheck[name]
        if line is None:
            findings.add(FindingKind.STRANGE, f"gap:{name}")
        elif line:
            findings.add(FindingKind.UNLISTED_GAP, f"gap:{name}")
            commands.append(("HSET", key, name, line))
        else:
            findings.add(FindingKind.LOST_GAP, f"{keys.GAPS} {name}")
            commands.append(("HDEL", key, name))
    if findings.repair:
        archive.write(commands)


def _find_wrong_gaps(archive: Archive, seconds: Sequence[int]) -> dict[str, str | None]:
    """Return the correct entries of wrong ones: "" without a gap, None if its hash is that of no gap."""
    hashes = zip(seconds, archive.hashes(map(keys.gap_key, seconds)), strict=True)
    wanted = {str(second): keys.gap_value(second, fields) or None for second, fields in hashes}
    lines = archive.hash(keys.GAPS)
    lost = dict.fromkeys(lines.keys() - wanted.keys(), "")
    return lost | {name: line for name, line in wanted.items() if line is None or line != lines.get(name)}
