"""`spotify-logger check`: compare index, catalog and plays, and rebuild the index from the plays.

Plays and gaps are the truth, and are never changed here. All keys are scanned in batches; only a number is
kept in memory for each play.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.queries.phrases import format_time
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted
from spotify_logger.transfer.delete.selection import day_of_index_key
from spotify_logger.transfer.verify.findings import FindingKind, Findings
from spotify_logger.transfer.verify.other_keys import CatalogAndGapCheck
from spotify_logger.transfer.verify.plays import PlayCheck

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.confirmation import Confirmation

_LIKE_OURS = re.compile(r"(listening|gap):-?(0|[1-9][0-9]*)|plays:[0-9]{4}-[0-9]{2}-[0-9]{2}")
ITEMS = ("track:", "episode:", "local:")
NOUNS = {"plays": "play", "days": "day", "items": "item", "gaps": "gap", "forgotten": "deleted play"}


def check(
    archive: Archive, now: float, confirmation: Confirmation | None = None, *, repair: bool = False
) -> Answer:
    """Check that plays, index, catalog and gaps of a log agree.

    Args:
        archive: The log.
        now: Seconds since the epoch.
        confirmation: How to ask for consent to delete index entries of plays that are gone, of which they are
            the last trace; None to delete them without asking.
        repair: Whether to rebuild index and catalog from the plays. Plays are never changed.

    Returns:
        The problems; exit code 1 if there are any, or any left after the repair.

    Raises:
        StoreError: Redis went away, or refused something. Running it again completes it.
    """
    findings = Findings()
    plays = PlayCheck(archive, findings, repair=repair)
    rest = CatalogAndGapCheck(archive, findings, now, repair=repair)
    plays.check_index()
    items: set[str] = set()
    gaps: set[int] = set()
    for names in archive.scan("*"):
        plays.check_plays(_seconds(names, "listening:"))
        gaps.update(_seconds(names, "gap:"))
        items.update(name for name in names if name.startswith(ITEMS))
        for name in filter(_is_impossible, names):
            findings.add(FindingKind.STRANGE, name)
    if plays.lost:
        findings.why_kept = archive.persistence().eviction
        if repair and not findings.why_kept:
            findings.why_kept = _refusal(plays.lost, confirmation)
        if findings.why_kept:
            items -= set(plays.lost.values()) - plays.items.keys()
        elif repair:
            plays.delete_lost()
    rest.check_catalog(plays.items, items, plays.is_indexed)
    rest.check_gaps(gaps)
    rest.check_tombstones()
    return _answer(findings, repair=repair)


def _refusal(seconds: Collection[int], confirmation: Confirmation | None) -> str:
    """Return why index entries of plays that are gone may not be deleted, or "" if they may."""
    if confirmation is None:
        return ""
    if not confirmation.is_possible:
        return "there is no terminal to ask on; --yes skips the question"
    first, last = (format_time(confirmation.zone, second) for second in (min(seconds), max(seconds)))
    gone = counted(len(seconds), "play")
    question = f"Permanently delete all that is left of {gone}, {first} to {last}: the index entries?"
    return "" if confirmation.is_given(question) else "--repair asks before it deletes them"


def _seconds(names: Iterable[str], kind: str) -> list[int]:
    """Return the seconds of the keys with a prefix."""
    digits = (name.removeprefix(kind) for name in names if name.startswith(kind))
    seconds = ((text, second_of_key(f"listening:{text}")) for text in digits)
    return [second for text, second in seconds if second is not None and str(second) == text]


def _is_impossible(name: str) -> bool:
    """Return whether a key looks like one of ours, but has an impossible second or day."""
    if not _LIKE_OURS.fullmatch(name):
        return False
    kind = name.partition(":")[0]
    return day_of_index_key(name) is None if kind == "plays" else not _seconds([name], f"{kind}:")


def _answer(findings: Findings, *, repair: bool) -> Answer:
    is_healthy = findings.is_healthy(repaired=repair)
    found = [kind for kind in FindingKind if findings.counts[kind]]
    seen = ", ".join(
        counted(findings.seen[name], noun) for name, noun in NOUNS.items() if findings.seen[name]
    )
    page: list[str | Table] = [
        f"{seen or 'nothing is logged yet'}: {_outcome(is_healthy=is_healthy, repair=repair)}"
    ]
    if found:
        rows = [_row(findings, kind, repair=repair) for kind in found]
        page.append(Table(rows, ("", "what", "", "examples"), right_aligned=[0], flexible=3))
    if findings.why_kept:
        page.append(f"Index entries without a play are kept: {findings.why_kept}.")
    data = {
        "well": is_healthy,
        "repaired": repair,
        "seen": {name: findings.seen[name] for name in NOUNS},
        "found": {
            kind.name.lower(): {"count": findings.counts[kind], "first": findings.examples[kind]}
            for kind in found
        },
    }
    return Answer(data, page, code=not is_healthy)


def _outcome(*, is_healthy: bool, repair: bool) -> str:
    if is_healthy:
        return "no problems left" if repair else "no problems"
    return (
        "the rest is for you to decide"
        if repair
        else "there are problems; --repair fixes those marked as repairable"
    )


def _row(findings: Findings, kind: FindingKind, *, repair: bool) -> tuple[str, str, str, str]:
    action = "not repairable" if not findings.is_repairable(kind) else "repaired" if repair else "repairable"
    return f"{findings.counts[kind]:,}", kind.value, action, ", ".join(findings.examples[kind])
