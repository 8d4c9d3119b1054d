"""`spotify-logger check`: compare index, catalog and plays, and rebuild the index from the plays.

Plays and gaps are the source of truth, and are never changed here. All keys are scanned in batches; only a
number is kept in memory for each play.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import ARTIST_FIELDS, CatalogEntry, tell_apart
from spotify_logger.core.player_state import encode_artists
from spotify_logger.core.redis_keys import GAPS, ONE_DAY, gap_key, gap_value, play_key, second_of_key
from spotify_logger.report.words import counted, format_time
from spotify_logger.storage.store import HASHES_PER_BATCH, ITEMS_PER_BATCH
from spotify_logger.transfer.confirmation import NO_TERMINAL
from spotify_logger.transfer.delete.plays import catalog_hashes, day_of_index_key, remove_items
from spotify_logger.transfer.verify.findings import FindingKind, Findings
from spotify_logger.transfer.verify.plays import PlayCheck

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.confirmation import Confirmation

RECENT_SECONDS = 30 * ONE_DAY
"""Plays that the logger writes during the check started at most this many seconds before it."""
CATALOG_FIELDS = ("uri", "type", "name", "artists", "album", "duration_ms")
"""The catalog fields that a play's hash has, too."""
_ITEM_KEYS = ("track:", "episode:", "local:")
_SECOND_KEY = re.compile(r"(listening|gap):(-?(?:0|[1-9][0-9]*))")
_DAY_KEY = re.compile(r"plays:[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check(
    archive: Archive, now: float, confirmation: Confirmation | None = None, *, repair: bool = False
) -> Answer:
    """Check that plays, index, catalog and gaps of a log agree, and repair index and catalog on request.

    Index entries are the last trace of plays that are gone. They are deleted with consent only, or without
    asking if `confirmation` is None. The exit code is 1 if there are problems, or any left after the repair.

    Raises:
        StoreError: Redis went away, or refused something. Running it again completes it.
    """
    findings = Findings(repair=repair)
    plays = PlayCheck(archive, findings)
    plays.check_index()
    items: set[str] = set()
    gaps: set[int] = set()
    for names in archive.scan("*"):
        items.update(name for name in names if name.startswith(_ITEM_KEYS))
        gaps.update(_seconds(names, "gap", findings))
        plays.check_plays(_seconds(names, "listening", findings))
        for name in names:
            if _DAY_KEY.fullmatch(name) and day_of_index_key(name) is None:
                findings.add(FindingKind.STRANGE, name)
    if plays.lost:
        findings.why_kept = archive.persistence().eviction
        if repair and not findings.why_kept:
            findings.why_kept = _refusal(plays.lost, confirmation)
        if findings.why_kept:
            items -= set(plays.lost.values()) - plays.items.keys()
        elif repair:
            plays.delete_lost()
    _check_catalog(archive, findings, plays, items, now)
    _check_artists(archive, findings, sorted(plays.items))
    _check_gaps(archive, findings, sorted(gaps))
    _check_tombstones(archive, findings)
    return findings.answer()


def _seconds(names: Sequence[str], kind: str, findings: Findings) -> list[int]:
    """Return the seconds in the keys of a kind, and note those that are impossible."""
    seconds = []
    for name in names:
        key = _SECOND_KEY.fullmatch(name)
        if key is not None and key[1] == kind:
            second = second_of_key(f"listening:{key[2]}")
            if second is None:
                findings.add(FindingKind.STRANGE, name)
            else:
                seconds.append(second)
    return seconds


def _refusal(seconds: Collection[int], confirmation: Confirmation | None) -> str:
    """Return why index entries of plays that are gone may not be deleted, or "" if they may."""
    if confirmation is None:
        return ""
    if not confirmation.is_possible:
        return NO_TERMINAL
    first, last = (format_time(confirmation.zone, second) for second in (min(seconds), max(seconds)))
    gone = counted(len(seconds), "play")
    question = f"Permanently delete all that is left of {gone}, {first} to {last}: the index entries?"
    return "" if confirmation.is_given(question) else "you chose to keep them"


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
            _add_to_catalog(archive, {key: plays.items[key] for key in missing})
    unused = known - plays.items.keys()
    if unused:
        # The logger may have written plays since the index was read.
        days = archive.rows(int(now) - RECENT_SECONDS)
        lines = (line for rows in days for line in zip(rows.seconds, rows.items, strict=True))
        unused.difference_update(item for second, item in lines if not plays.is_indexed(second))
    for batch in batched(sorted(unused), HASHES_PER_BATCH):
        items = catalog_hashes(archive, batch)
        for key in items:
            findings.add(FindingKind.UNUSED_ITEM, key)
        if findings.repair:
            remove_items(archive, items, now)


def _add_to_catalog(archive: Archive, played: Mapping[str, int]) -> None:
    """Add items from the plays that the seconds name."""
    hashes = zip(played, archive.hashes(map(play_key, played.values())), strict=True)
    found = {key: [(name, play[name]) for name in CATALOG_FIELDS if name in play] for key, play in hashes}
    archive.write(
        [("HSET", archive.key(key), *chain.from_iterable(fields)) for key, fields in found.items() if fields]
    )


def _check_artists(archive: Archive, findings: Findings, items: Sequence[str]) -> None:
    """Check that the catalog has the artists of items as a list, and add those that can be told apart."""
    read = archive.catalog(items, ARTIST_FIELDS)
    entries = {key: CatalogEntry(**dict(zip(ARTIST_FIELDS, values, strict=True))) for key, values in read}
    found, doubtful = tell_apart(entries)
    # Without IDs there is only one name: the album's artist of an export.
    joined = [
        key for key, entry in entries.items() if found[key] and entry.artist_ids and not entry.artist_list
    ]
    for key in joined:
        kind = FindingKind.DOUBTFUL_ARTISTS if key in doubtful else FindingKind.JOINED_ARTISTS
        findings.add(kind, key)
    lists = {key: encode_artists(found[key]) for key in joined if key not in doubtful}
    if findings.repair:
        for batch in batched(lists.items(), ITEMS_PER_BATCH):
            archive.write([("HSETNX", archive.key(key), "artist_list", text) for key, text in batch if text])


def _check_gaps(archive: Archive, findings: Findings, seconds: Sequence[int]) -> None:
    """Check that gaps, which begin at `seconds`, and their index agree."""
    findings.seen["gaps"] += len(seconds)
    first = _find_wrong_gaps(archive, seconds)
    # A gap that is still open may have grown meanwhile.
    recheck = _find_wrong_gaps(archive, seconds) if first else {}
    wrong = {name: found for name, found in recheck.items() if name in first}
    for name, (kind, _) in wrong.items():
        findings.add(kind, f"{GAPS} {name}" if kind is FindingKind.LOST_GAP else f"gap:{name}")
    if findings.repair:
        key = archive.key(GAPS)
        lines = [("HSET", key, name, line) for name, (_, line) in wrong.items() if line]
        lost = [("HDEL", key, name) for name, (kind, _) in wrong.items() if kind is FindingKind.LOST_GAP]
        archive.write([*lines, *lost])


def _find_wrong_gaps(archive: Archive, seconds: Sequence[int]) -> dict[str, tuple[FindingKind, str]]:
    """Return the problems by index field, each with the correct entry."""
    hashes = zip(seconds, archive.hashes(map(gap_key, seconds)), strict=True)
    wanted = {str(second): gap_value(second, fields) for second, fields in hashes}
    lines = archive.hash(GAPS)
    wrong = {name: (FindingKind.LOST_GAP, "") for name in lines if name not in wanted}
    for name, line in wanted.items():
        if not line:
            wrong[name] = (FindingKind.STRANGE, "")
        elif lines.get(name) != line:
            wrong[name] = (FindingKind.UNLISTED_GAP, line)
    return wrong


def _check_tombstones(archive: Archive, findings: Findings) -> None:
    """Check that no deleted play is back."""
    seconds = sorted(archive.tombstones())
    findings.seen["forgotten"] += len(seconds)
    for second, (started_at,) in archive.fields(seconds, ["started_at"]):
        if started_at:
            findings.add(FindingKind.BACK, play_key(second))
