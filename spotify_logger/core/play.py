"""The play: one period of listening to one item, and its Redis hash. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spotify_logger.core.player_state import (
    BOOLEAN_FIELDS,
    FIELD_PATHS,
    INTEGER_FIELDS,
    ITEM_FIELDS,
    ITEM_TYPES,
    FieldValue,
    Item,
    catalog_key,
    is_spotify_id,
    whole_number,
)
from spotify_logger.core.redis_keys import row_value
from spotify_logger.core.times import from_iso, to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACKDONE = "trackdone"
SKIPPED = "skipped"
STOPPED = "stopped"
UNKNOWN = "unknown"

LIVE = "live"
"""The `source` of a play that was polled."""
BACKFILL = "backfill"
"""The `source` of a play that `recently-played` reported."""
IMPORT = "import"
"""The `source` of a play from a Spotify export, or from the script of 2019."""

NEAR_END_MS = 15_000
"""Crossfade and automix leave a track up to this long before its end, its duration unadjusted
(multi-scrobbler#108, and gaps of 15 to 23 s in recordings of 2026)."""


@dataclass(frozen=True, slots=True)
class Play:
    """One period of listening to one item.

    Attributes:
        second: Whole seconds since the epoch that name its key; constant, and unique among plays.
        item: The item that was played.
        started_ms: The start, in milliseconds since the epoch, UTC.
        ended_ms: The end; while the play is open, the last moment at which it advanced.
        ms_played: Milliseconds played: advancing progress only, never more than the time from start to end.
        end_reason: "trackdone", "skipped", "stopped" or "unknown"; None while it is open.
        source: "live", "backfill" or "import".
        fields: The fields of its hash that come from the last player state.
    """

    second: int
    item: Item
    started_ms: int
    ended_ms: int
    ms_played: int
    end_reason: str | None = None
    source: str = "live"
    fields: Mapping[str, FieldValue] = field(default_factory=dict)

    @classmethod
    def from_hash(cls, second: int, kept: Mapping[str, str]) -> Play | None:
        """Return the play that `to_hash` stored; None if the hash is not one of ours."""
        item = _item_from_hash(kept)
        started, ended = from_iso(kept.get("started_at", "")), from_iso(kept.get("ended_at", ""))
        ms_played = whole_number(kept.get("ms_played"))
        if item is None or started is None or ended is None or ms_played is None:
            return None
        if ms_played > ended - started:
            return None
        fields: dict[str, FieldValue] = {
            name: text for name, text in kept.items() if name in ITEM_FIELDS or name in FIELD_PATHS
        }
        for name in (INTEGER_FIELDS | BOOLEAN_FIELDS) & fields.keys():
            fields[name] = whole_number(fields[name]) or 0
        return cls(
            second,
            item,
            started,
            ended,
            ms_played,
            kept.get("end_reason"),
            kept.get("source", "live"),
            fields,
        )

    @property
    def index(self) -> str:
        """The value in the day's index: catalog key, milliseconds played, and end reason."""
        return row_value(self.item.key, self.ms_played, self.end_reason)

    def to_hash(self) -> dict[str, FieldValue]:
        """Return the fields of the hash `listening:<second>`."""
        found = {
            **self.fields,
            "started_at": to_iso(self.started_ms),
            "ended_at": to_iso(self.ended_ms),
            "ms_played": self.ms_played,
            "source": self.source,
        }
        return found if self.end_reason is None else {**found, "end_reason": self.end_reason}


def near_end_ms(duration_ms: int) -> int:
    """Return how long before its end an item counts as finished: `NEAR_END_MS`, less for very short items."""
    return min(NEAR_END_MS, duration_ms // 4)


def _item_from_hash(kept: Mapping[str, str]) -> Item | None:
    uri, item_type, identity = (kept.get(name, "") for name in ("uri", "type", "id"))
    if not uri or (identity and not (item_type in ITEM_TYPES and is_spotify_id(identity))):
        return None
    key = catalog_key(item_type, identity, uri)
    return Item(key, uri, whole_number(kept.get("duration_ms")), {})
