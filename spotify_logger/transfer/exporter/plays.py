"""The plays of a stretch, some of them at a time, as every kind of export reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.batched import batched
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.storage.bulk import Archive

PLAYS_PER_BATCH = 500
"""Plays that are read in one go; so many are half a megabyte."""
NUMERIC_FIELDS = INTEGER_FIELDS | BOOLEAN_FIELDS | {"ms_played"}
"""The fields that hold numbers."""


class StoredPlay(NamedTuple):
    """A play as the log has it.

    Attributes:
        second: What names it.
        item: Its key in the catalogue.
        fields: Its hash, or what is wanted of it.
    """

    second: int
    item: str
    fields: Mapping[str, str]


def read_plays(
    archive: Archive, begin: int, end: int | None, names: Sequence[str] | None = None
) -> Iterator[list[StoredPlay]]:
    """The plays that the index knows, in the order of time.

    Args:
        archive: The log.
        begin: The first second of the stretch in which they started.
        end: The second after its last one; None for all that there is.
        names: The fields that are wanted, which is quicker; None for all.
    """
    lines = (line for day in archive.rows(begin, end) for line in zip(day.seconds, day.items, strict=True))
    for portion in batched(lines, PLAYS_PER_BATCH):
        seconds = [second for second, _ in portion]
        hashes = archive.plays(seconds) if names is None else _some(archive, seconds, names)
        read_plays_with_catalog = zip(portion, hashes, strict=True)
        yield [
            StoredPlay(second, item, fields)
            for (second, item), (_, fields) in read_plays_with_catalog
            if fields
        ]


def read_plays_with_catalog(
    archive: Archive, begin: int, end: int | None, names: Sequence[str], of_items: Sequence[str]
) -> Iterator[tuple[StoredPlay, dict[str, str]]]:
    """Plays with what the catalogue knows better: those that were learned of later may have little of it.

    Args:
        archive: The log.
        begin: See `plays`, as `end` and `names`.
        end: The second after the stretch.
        names: The fields of the play that are wanted.
        of_items: Those of the catalogue.
    """
    for portion in read_plays(archive, begin, end, names):
        items = _known(archive, portion, of_items)
        yield from ((play, {**items[play.item], **play.fields}) for play in portion)


def _some(
    archive: Archive, seconds: Sequence[int], names: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    for second, values in archive.fields(seconds, names):
        yield second, {name: value for name, value in zip(names, values, strict=True) if value}


def as_values(fields: Mapping[str, str]) -> dict[str, FieldValue]:
    """Fields with numbers as such, where that loses nothing: `str` brings every text back."""
    return {name: as_value(text) if name in NUMERIC_FIELDS else text for name, text in fields.items()}


def as_value(text: str) -> FieldValue:
    """A number, where the text is one as it is written here."""
    number = whole_number(text)
    return text if number is None or str(number) != text else number


def _known(archive: Archive, kept: Sequence[StoredPlay], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the catalogue tells of the items of plays: by its key, the fields that it has of these."""
    keys = dict.fromkeys(play.item for play in kept)
    return {
        key: {name: value for name, value in zip(names, values, strict=True) if value}
        for key, values in archive.catalog(keys, names)
    }
