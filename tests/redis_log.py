"""A log in a real Redis, written as the logger writes it, to be inspected, damaged and compared."""

from __future__ import annotations

import redis

from spotify_logger.core.play import TRACKDONE, Play
from spotify_logger.core.player_state import Item
from spotify_logger.core.redis_keys import REVISIONS, UNDO
from spotify_logger.storage.bulk import Archive

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
NIGHT = {"from": "2026-11-22T01:00:00.250Z", "to": "2026-11-22T02:00:00.500Z", "reason": "offline"}
NIGHT_SECOND = 1_795_309_200
ITEM_FIELDS = ("uri", "type", "name", "artists", "album", "duration_ms")
"""The fields of the item in the hash of a play, besides the ID."""


def item(identity: str, /, key: str = "", **about: str | int | None) -> Item:
    """A track of three minutes and twenty seconds; fields that are None are unknown."""
    known: dict[str, str | int | None] = {
        "uri": f"spotify:track:{identity}",
        "type": "track",
        "name": identity,
        "artists": "Daft Punk",
        "artist_ids": "4tZ",
        "artist_list": None if "artists" in about else '[{"name": "Daft Punk", "id": "4tZ"}]',
        "album": "Discovery",
        "album_id": "2no",
        "isrc": f"FR{identity}",
        "duration_ms": 200_000,
        **about,
    }
    catalog = {field: value for field, value in known.items() if value is not None}
    duration = catalog.get("duration_ms")
    milliseconds = duration if isinstance(duration, int) else None
    return Item(key or f"{known['type']}:{identity}", str(known["uri"]), milliseconds, catalog)


def play(
    what: str | Item,
    start: float = 0,
    heard: float = 200,
    reason: str | None = TRACKDONE,
    *,
    source: str = "live",
    second: int | None = None,
    **fields: str | int,
) -> Play:
    """A play that starts `start` seconds after six o'clock."""
    played = item(what) if isinstance(what, str) else what
    begun, length = round((SECOND + start) * 1000), round(heard * 1000)
    item_fields = {name: played.catalog[name] for name in ITEM_FIELDS if name in played.catalog}
    if not played.key.startswith("local:"):
        item_fields["id"] = played.key.partition(":")[2]
    return Play(
        begun // 1000 if second is None else second,
        played,
        begun,
        begun + length,
        length,
        reason,
        source,
        {**item_fields, "device_name": "Desk", **fields},
    )


class RedisLog:
    """The log, and a second connection to the same server."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self.prefix = prefix
        self.store = Archive(url, prefix, utc=lambda: SECOND + 86_400.0)
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def begin(self) -> None:
        """Empty the server."""
        self.raw.flushall()
        self.store.close()

    def write(self, *plays: Play) -> None:
        with self.store.batch() as batch:
            for each in plays:
                batch.write_play(each.second, each.to_hash(), each.index)
                batch.write_hash(each.item.key, each.item.catalog)

    def write_gap(self) -> None:
        with self.store.batch() as batch:
            batch.write_gap(NIGHT_SECOND, NIGHT)

    def names(self) -> set[str]:
        """Return the keys without the prefix, and without those of revisions and of what can be undone."""
        names = {str(key).removeprefix(self.prefix) for key in self.raw.scan_iter(f"{self.prefix}*")}
        return names - {REVISIONS, UNDO}

    def kept(self, name: str) -> dict[str, str]:
        return {str(field): str(value) for field, value in self.raw.hgetall(self.prefix + name).items()}

    def everything(self) -> dict[str, dict[str, str]]:
        """Return all hashes."""
        return {name: self.kept(name) for name in self.names()}

    def dump(self) -> dict[str, object]:
        """Return a dump of every key on the server, of any type."""
        return {str(key): self.raw.dump(key) for key in self.raw.scan_iter()}

    def close(self) -> None:
        self.store.close()
        self.raw.close()
