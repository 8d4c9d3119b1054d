"""The play: one period of listening to one item, its Redis hash, and its description. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from spotify_logger.core.player_state import (
    ITEM_TYPES,
    NUMERIC_FIELDS,
    STATE_FIELDS,
    FieldValue,
    Item,
    catalog_key,
    is_spotify_id,
    whole_number,
)
from spotify_logger.core.redis_keys import END_REASONS, row_value
from spotify_logger.core.times import from_iso, to_iso

TRACKDONE, SKIPPED, STOPPED, UNKNOWN = END_REASONS
LIVE, BACKFILL, IMPORT = "live", "backfill", "import"  # its sources: the player, `recently-played`, a file
KEPT_FIELDS = STATE_FIELDS | {"logged_by"}  # and the other logger that an imported play is from
PLAY_FIELDS = KEPT_FIELDS | {"started_at", "ended_at", "ms_played", "end_reason", "source"}
NEAR_END_MS = 15_000  # crossfade and automix leave one this early (multi-scrobbler#108; recordings of 2026)


@dataclass(frozen=True, slots=True)
class Play:
    """One period of listening to one item; moments are in milliseconds since the epoch, UTC."""

    second: int  # whole seconds since the epoch that name its key; constant, and unique among plays
    item: Item
    started_ms: int
    ended_ms: int  # while the play is open, the last moment at which it advanced
    ms_played: int  # advancing progress only, never more than the time from start to end
    end_reason: str | None = None  # None while it is open
    source: str = LIVE
    fields: Mapping[str, FieldValue] = field(default_factory=dict)  # those from the last player state

    @classmethod
    def from_hash(
        cls, second: int, kept: Mapping[str, str], catalog: Mapping[str, FieldValue] | None = None
    ) -> Self | None:
        """Return the play that `to_hash` stored; None if the hash is not one of ours."""
        uri, item_type, identity = (kept.get(name, "") for name in ("uri", "type", "id"))
        if not uri or (identity and not (item_type in ITEM_TYPES and is_spotify_id(identity))):
            return None
        started, ended = from_iso(kept.get("started_at", "")), from_iso(kept.get("ended_at", ""))
        ms_played = whole_number(kept.get("ms_played"))
        if started is None or ended is None or ms_played is None or ms_played > ended - started:
            return None
        fields: dict[str, FieldValue] = {name: text for name, text in kept.items() if name in KEPT_FIELDS}
        for name in NUMERIC_FIELDS & fields.keys():
            fields[name] = whole_number(fields[name]) or 0
        duration_ms = whole_number(kept.get("duration_ms"))
        item = Item(catalog_key(item_type, identity, uri), uri, duration_ms, catalog or {})
        end_reason, source = kept.get("end_reason"), kept.get("source", LIVE)
        return cls(second, item, started, ended, ms_played, end_reason, source, fields)

    @property
    def index(self) -> str:
        """The value in the day's index: catalog key, milliseconds played, and end reason."""
        return row_value(self.item.key, self.ms_played, self.end_reason)

    def to_hash(self) -> dict[str, FieldValue]:
        """Return the fields of the hash `listening:<second>`."""
        return {
            **self.fields,
            "started_at": to_iso(self.started_ms),
            "ended_at": to_iso(self.ended_ms),
            "ms_played": self.ms_played,
            "source": self.source,
            **({} if self.end_reason is None else {"end_reason": self.end_reason}),
        }


def near_end_ms(duration_ms: int) -> int:
    """Return how long before its end an item counts as finished: `NEAR_END_MS`, less for very short items."""
    return min(NEAR_END_MS, duration_ms // 4)


def format_title(fields: Mapping[str, object]) -> str:
    """Return artist and title: "Daft Punk – Veridis Quo"; for an episode, show and title."""
    artist = fields.get("artists") or fields.get("album")
    name = str(fields.get("name") or fields.get("uri") or "untitled")
    return f"{artist} – {name}" if artist else name


def format_duration(milliseconds: int) -> str:
    """Format a duration as "5:45", or "1:01:01" from one hour on."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_play(play: Play) -> str:
    """Describe a play: "Daft Punk – Veridis Quo, 5:45 of 5:45, Kitchen"."""
    length = "" if play.item.duration_ms is None else f" of {format_duration(play.item.duration_ms)}"
    device = f", {play.fields['device_name']}" if play.fields.get("device_name") else ""
    return f"{format_title(play.fields)}, {format_duration(play.ms_played)}{length}{device}"
