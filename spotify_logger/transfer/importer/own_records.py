"""Read the records of our own export, as `export` writes them. Pure.

There is one record per line, or all of them in an array. A catalog item comes before its first play:

    {"kind": "item", "key": "track:<id>", "fields": {...}}
    {"kind": "play", "second": 1795377734, "fields": {...}}
    {"kind": "gap", "second": 1795377734, "fields": {"from": ..., "to": ..., "reason": ...}}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.matching import naming_seconds
from spotify_logger.core.matching_exports import kind_of
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import redis_convert, whole_number
from spotify_logger.core.redis_keys import gap_value
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkippedRow, is_plausible, malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"(track|episode|local):\S{1,200}")


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """A catalog item.

    Attributes:
        key: Its key.
        fields: The whole hash.
    """

    key: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GapRecord:
    """A recorded gap.

    Attributes:
        second: When it began, in seconds since the epoch, UTC.
        line: Its entry in the index of gaps.
        fields: The whole hash.
    """

    second: int
    line: str
    fields: Mapping[str, str]


ParsedRecord = ImportedPlay | ItemRecord | GapRecord | SkippedRow


def read_record(record: Mapping[str, object], now_ms: int) -> ParsedRecord:
    """Read a record.

    Args:
        record: The record, decoded from JSON.
        now_ms: Now, in milliseconds since the epoch, UTC.
    """
    fields = _fields(record.get("fields"))
    if fields is None:
        return malformed("has no fields, or fields that are not text")
    match record.get("kind"):
        case "item":
            key = (_fields({"key": record.get("key")}) or {}).get("key", "")
            return (
                ItemRecord(key, fields)
                if _KEY.fullmatch(key)
                else malformed("its key is not a key of the catalog")
            )
        case "play":
            return _play(whole_number(record.get("second")), fields, now_ms)
        case "gap":
            return _gap(whole_number(record.get("second")), fields)
        case _:
            return malformed("its kind is not item, play or gap")


def _fields(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict) or not value:
        return None
    fields = {name: str(text) for name, text in redis_convert(value).items()}
    return fields if len(fields) == len(value) else None


def _play(second: int | None, fields: Mapping[str, str], now_ms: int) -> ParsedRecord:
    play = None if second is None else Play.from_hash(second, fields)
    if play is None or not is_plausible(play.started_ms, now_ms):
        return malformed("its fields do not describe a play")
    if play.second not in naming_seconds(play.started_ms // 1000):
        return malformed("its second is not the second at which it started")
    return ImportedPlay(play, kind_of(play), play.ended_ms, fields)


def _gap(second: int | None, fields: Mapping[str, str]) -> ParsedRecord:
    value = "" if second is None else gap_value(second, fields)
    if second is None or not value:
        return malformed("its fields do not describe a gap")
    return GapRecord(second, value, fields)
