"""Answer `compare`: the artists and tracks that two listeners share, how often, and who heard them first.

Plays are counted in the period. Who was first is decided over all time up to its end: someone who has known
a track for years is first in every year.
"""

from __future__ import annotations

from itertools import compress, product
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.queries.phrases import asked_data, item_title
from spotify_logger.queries.ranking import (
    ARTISTS,
    NOUNS,
    TRACKS,
    RankedItem,
    amount_words,
    amounts_data,
    groups_of,
    ranked,
)
from spotify_logger.queries.reader import PlayReader
from spotify_logger.queries.status import UNNAMED
from spotify_logger.queries.top import totals
from spotify_logger.report.blocks import Answer, Block, Heading, Table
from spotify_logger.report.words import counted, listening_time, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import Archive

KINDS = (ARTISTS, TRACKS)


class ListenerPlays(NamedTuple):
    """What one of the two listeners heard, by kind and group (see `RankedItem`).

    Attributes:
        data: The totals of the period, for JSON.
        things: Artists and tracks.
        firsts: The second of the first play that counts over all time.
    """

    data: dict[str, Any]
    things: dict[str, dict[Hashable, RankedItem]]
    firsts: dict[str, dict[Hashable, int]]


class SharedItem(NamedTuple):
    """What both listeners heard: how much each did, and the second it first did, even before the period."""

    name: str
    pair: tuple[RankedItem, RankedItem]
    firsts: tuple[int, int]


def compare(archives: Sequence[Archive], names: Sequence[str], question: Question) -> Answer:
    """Compare two listeners by their logs and names; "" is the name of the listener without one."""
    readers = [PlayReader(archive, question) for archive in archives]
    heard = [_heard(reader) for reader in readers]
    entries: dict[str, CatalogEntry] = {}
    for reader, (tallies, firsts) in zip(readers, heard, strict=True):
        entries |= reader.entries([*(firsts.keys() - tallies.ms_played.keys()), *tallies.ms_played])
    groups = {kind: groups_of(kind, entries, exact=question.exact) for kind in KINDS}
    both = [_grouped(name, *each, groups, question.by) for name, each in zip(names, heard, strict=True)]
    listeners = [each.data for each in both]
    shown = [name or UNNAMED for name in names]
    figures = [
        ("plays", *(f"{each['plays']:,}" for each in listeners)),
        ("heard", *(listening_time(each["heard_ms"]) for each in listeners)),
        *((kind, *(f"{each[kind]:,}" for each in listeners)) for kind in KINDS),
    ]
    page: list[Block] = [Table(figures, [question.period.words, *shown], right_aligned=[1, 2], flexible=0)]
    numbers, lists = {}, {}
    for kind in KINDS:
        common = _common(both, kind, entries, question.by)
        numbers[kind] = len(common)
        best = list(enumerate(common[: question.limit], 1))
        lists[kind] = [_line(place, each) for place, each in best]
        page.append(Heading(f"{counted(len(common), NOUNS[kind])} in common"))
        if common:
            rows = [_row(place, each, shown, question) for place, each in best]
            page.append(Table(rows, ["", NOUNS[kind], *shown, "first"], right_aligned=[0, 2, 3]))
    return Answer({**asked_data(question), "listeners": listeners, "common": numbers, **lists}, page)


def _heard(reader: PlayReader) -> tuple[ItemCounts, dict[str, int]]:
    """Return plays and time in the period, and the second of the first play over all time, by item."""
    tallies, firsts = ItemCounts(), dict[str, int]()
    begin = reader.question.period.begin
    if begin is not None:
        for rows, counts in reader.days(Period(end=begin)):
            _note_firsts(firsts, rows, counts)
    for rows, counts in reader.days():
        tallies.add(rows, counts)
        _note_firsts(firsts, rows, counts)
    return tallies, firsts


def _grouped(
    name: str,
    tallies: ItemCounts,
    firsts: Mapping[str, int],
    groups: Mapping[str, Mapping[str, Sequence[Hashable]]],
    by: str,
) -> ListenerPlays:
    things = {kind: {each.group: each for each in ranked(tallies, groups[kind], by)} for kind in KINDS}
    by_group: dict[str, dict[Hashable, int]] = {kind: {} for kind in KINDS}
    for kind, (key, second) in product(KINDS, firsts.items()):
        for group in groups[kind].get(key, ()):
            by_group[kind].setdefault(group, second)
    numbers = {kind: len(things[kind]) for kind in KINDS}
    return ListenerPlays({"name": name, **amounts_data(*totals(tallies)), **numbers}, things, by_group)


def _note_firsts(firsts: dict[str, int], rows: PlayRows, counts: Sequence[bool]) -> None:
    """Record the first counting play of each item; days and then items are in chronological order."""
    for item, second in zip(compress(rows.items, counts), compress(rows.seconds, counts), strict=True):
        firsts.setdefault(item, second)


def _common(
    both: Sequence[ListenerPlays], kind: str, entries: Mapping[str, CatalogEntry], by: str
) -> list[SharedItem]:
    """Return what both played, ranked by the lower of the two measures."""
    one, other = both
    found = []
    for group, ours in one.things[kind].items():
        theirs = other.things[kind].get(group)
        if theirs is not None:
            name = str(group) if kind == ARTISTS else item_title(ours.keys[0], entries.get(ours.keys[0]))
            firsts = one.firsts[kind][group], other.firsts[kind][group]
            found.append(SharedItem(name, (ours, theirs), firsts))

    def order(each: SharedItem) -> tuple[int, int, str]:
        measures = [one.measure(by) for one in each.pair]
        return -min(measures), -sum(measures), each.name

    return sorted(found, key=order)


def _row(place: int, each: SharedItem, names: Sequence[str], question: Question) -> Sequence[str]:
    amounts = [amount_words(one.plays, one.ms_played, question.by) for one in each.pair]
    left, right = each.firsts
    first = "both" if left == right else names[left > right]
    return str(place), each.name, *amounts, f"{first}, {question.zone.day(min(each.firsts))}"


def _line(place: int, each: SharedItem) -> dict[str, object]:
    return {
        "rank": place,
        "name": each.name,
        "plays": [one.plays for one in each.pair],
        "heard_ms": [one.ms_played for one in each.pair],
        "first": [utc_time(second) for second in each.firsts],
        "key": each.pair[0].keys[0],
    }
