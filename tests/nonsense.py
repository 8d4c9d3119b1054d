"""A log in a real Redis with good plays, and with data that no logger could have written."""

from __future__ import annotations

from typing import Any

from spotify_logger.core.redis_keys import day_of, index_key
from spotify_logger.core.times import to_iso

HUGE = str(10**30)
STAMPS = (
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999Z",
    "2026-02-30T00:00:00Z",
    "yesterday",
    "",
)
NUMBERS = (HUGE, f"-{HUGE}", "-1", "0", "1e9", "NaN", "٣", "", " 5")


def write_good(client: Any, now: int) -> None:  # noqa: ANN401 - redis-py's types are of little use
    """Write three plays, the last of them open, their items, a gap and a status."""
    for second, name in ((now - 90_000, "quo"), (now - 4000, "quo"), (now - 60, "amber")):
        end = "open" if name == "amber" else "trackdone"
        play = {
            "uri": f"spotify:track:{name}", "type": "track", "id": name, "name": f"The {name}",
            "artists": "Daft Punk", "album": "Discovery", "duration_ms": 300_000, "progress_ms": 50_000,
            "playing": 1, "source": "live", "device_name": "Kitchen", "ms_played": 50_000,
            "started_at": to_iso(second * 1000), "ended_at": to_iso((second + 50) * 1000),
        }  # fmt: skip
        client.hset(f"listening:{second}", mapping=play | ({} if end == "open" else {"end_reason": end}))
        client.hset(index_key(day_of(second)), str(second), f"track:{name} 50000 {end}")
        about = {"name": f"The {name}", "artists": "Daft Punk", "artist_ids": "d", "album": "Discovery"}
        client.hset(f"track:{name}", mapping=about | {"album_id": "x", "duration_ms": 300_000, "isrc": "FRZ"})
    client.hset("gaps", str(now - 9000), f"{now - 8000} offline")
    gap = {"from": to_iso((now - 9000) * 1000), "to": to_iso((now - 8000) * 1000), "reason": "offline"}
    client.hset(f"gap:{now - 9000}", mapping=gap)
    client.hset("spotify_logger:status", mapping={"state": "asking", "last_poll": to_iso(now * 1000)})
    client.set("now_playing", f"listening:{now - 60}")


def write_nonsense(client: Any, now: int) -> None:  # noqa: ANN401 - redis-py's types are of little use
    """Write impossible plays, index lines, gaps and items, and values of types that do not belong there."""
    plays: dict[int | str, dict[str, str]] = {}
    good = {"uri": "spotify:track:odd", "type": "track", "id": "odd", "name": "Odd", "source": "live"}
    stamp = to_iso(now * 1000)
    for number, text in enumerate(STAMPS):
        plays[now - 1000 - number] = good | {"started_at": text, "ended_at": stamp, "ms_played": "1"}
        plays[now - 1100 - number] = good | {"started_at": stamp, "ended_at": text, "ms_played": "1"}
    for number, text in enumerate(NUMBERS):
        fields = dict.fromkeys(
            ("ms_played", "duration_ms", "progress_ms", "device_volume", "timestamp"), text
        )
        plays[now - 1200 - number] = good | {"started_at": stamp, "ended_at": stamp, **fields, "playing": "1"}
    plays[now - 1300] = good | {"type": "\x1b[2J", "id": "\n", "end_reason": "\0", "artists": "<script>"}
    plays |= dict.fromkeys(("-5", "99999999999999", "9999999999", "0", "x", "", "1e9", "٣"), good)
    for second, play in plays.items():
        client.hset(f"listening:{second}", mapping=dict(play))
        if isinstance(second, int):
            client.hset(index_key(day_of(second)), str(second), "track:odd 50000 skipped")
    # Indexes of impossible days, and malformed rows of today.
    for day in ("0000-00-00", "9999-99-99", "9999-12-31", "0001-01-01", "x", ""):
        client.hset(f"plays:{day}", mapping={"1": "track:odd 1 skipped", "9999999999": "track:odd 1 skipped"})
    lines = {
        str(now - 2000): f"track:odd {HUGE} skipped", str(now - 2001): "track:odd -5 skipped",
        str(now - 2002): "track:odd 999999999999 trackdone", str(now - 2003): "", str(now - 2004): "x" * 5000,
        "-5": "track:odd 1 skipped", "99999999999999": "track:odd 1 skipped", "٣": "track:odd 1 skipped",
        str(now - 2005): "track:list 60000 trackdone", str(now - 2006): "episode:\x1b[2J 60000 trackdone",
    }  # fmt: skip
    client.hset(index_key(day_of(now)), mapping=lines)
    client.set(index_key(day_of(now - 3 * 86_400)), "a string")
    client.hset("gaps", mapping={
        "0": "9999999999 offline", "9999999999": "9999999999 offline", "5": "4 offline", "-1": "5 offline",
        str(now - 500): f"{HUGE} offline", str(now - 501): "x", str(now - 502): f"{now} \x1b[2J",
    })  # fmt: skip
    for second, fields in (("0", {"from": "x"}), (HUGE, {"to": STAMPS[0]}), ("5", {"reason": "\0"})):
        client.hset(f"gap:{second}", mapping=fields)
    client.hset("forgotten", mapping={"0": "9999999999", "5": "4", "-5": "x", HUGE: HUGE})
    # Malformed numbers in the catalog, and keys of other types.
    client.hset(
        "track:odd", mapping={"name": "\x1b[2J", "duration_ms": HUGE, "artist_ids": " " * 50, "isrc": "\0"}
    )
    client.rpush("track:list", "a", "b")
    client.set("episode:string", "a string")
    client.sadd("listening:1", "a set")
    client.set("gap:7", "a string")
    status = dict.fromkeys(("last_poll", "next_poll", "blind_since", "login_valid_until"), STAMPS[2])
    counts = dict.fromkeys(("requests_24h", "outbox", "pid"), HUGE)
    client.hset("spotify_logger:status", mapping=status | counts | {"last_play": "listening:99999999999999"})
    client.set("now_playing", "listening:99999999999999")


NOW_PLAYING = (
    "",
    "listening:",
    "listening:9999999999",
    "listening:1",
    "listening:x",
    "\x1b[2J",
)
