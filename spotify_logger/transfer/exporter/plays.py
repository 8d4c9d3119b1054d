"""Read plays in batches, for every export format."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.batched import batched
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.storage.bulk import Archive

PLAYS_PER_BATCH = 500
"""Plays read per pipeline, about half a megabyte."""
NUMERIC_FIELDS = INTEGER_FIELDS | BOOLEAN_FIELDS | {"ms_played"}
"""The fields that hold numbers."""


class StoredPlay(NamedTuple):
    """A play as stored in Redis.

    Attributes:
        second: The second that names it.
        item: The key of its catalog item.
        fields: Its hash, or the requested fields of it.
    """

    second: int
    item: str
    fields: Mapping[str, str]


def read_plays(
    archive: Archive, begin: int, end: int | None, names: Sequence[str] | None = None
) -> Iterator[list[StoredPlay]]:
    """Yield batches of the indexed plays, in chronological order.

    Args:
        archive: The log.
        begin: The first second of the period in which they started.
        end: The second after the last one; None for no limit.
        names: The fields to read; None for all, which is slower.
    """
    lines = (line for day in archive.rows(begin, end) for line in zip(day.seconds, day.items, strict=True))
    for batch in batched(lines, PLAYS_PER_BATCH):
        seconds = [second for second, _ in batch]
        hashes = archive.plays(seconds) if names is None else _some(archive, seconds, names)
        both = zip(batch, hashes, strict=True)
        yield [StoredPlay(second, item, fields) for (second, item), (_, fields) in both if fields]


def read_plays_with_catalog(
    archive: Archive, begin: int, end: int | None, names: Sequence[str], of_items: Sequence[str]
) -> Iterator[tuple[StoredPlay, dict[str, str]]]:
    """Yield plays completed from the catalog, because backfilled plays may lack item fields.

    Args:
        archive: The log.
        begin: The first second of the period in which they started.
        end: The second after the last one; None for no limit.
        names: The fields of the play to read.
        of_items: The catalog fields to read.
    """
    for batch in read_plays(archive, begin, end, names):
        items = _known(archive, batch, of_items)
        yield from ((play, {**items[play.item], **play.fields}) for play in batch)


def _some(
    archive: Archive, seconds: Sequence[int], names: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    for second, values in archive.fields(seconds, names):
        yield second, {name: value for name, value in zip(names, values, strict=True) if value}


def as_values(fields: Mapping[str, str]) -> dict[str, FieldValue]:
    """Convert numeric fields to numbers where `str` restores the text exactly."""
    return {name: as_value(text) if name in NUMERIC_FIELDS else text for name, text in fields.items()}


def as_value(text: str) -> FieldValue:
    """Return the number if `str` restores the text exactly, else the text."""
    number = whole_number(text)
    return text if number is None or str(number) != text else number


def _known(archive: Archive, kept: Sequence[StoredPlay], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the requested catalog fields of the plays' items, by item key."""
    keys = dict.fromkeys(play.item for play in kept)
    return {
        key: {name: value for name, value in zip(names, values, strict=True) if value}
        for key, values in archive.catalog(keys, names)
    }
