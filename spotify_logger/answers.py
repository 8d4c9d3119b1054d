"""What the command answers about now: is the logger alive, what plays, what was played last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.faces import Answer, Table, local_time, span, utc_time
from spotify_logger.health import moment, problems
from spotify_logger.keyspace import play_key
from spotify_logger.playback import FLAGS, NUMBERS, whole_number
from spotify_logger.plays import from_iso, minutes, title
from spotify_logger.store import StoreError

if TYPE_CHECKING:
    from spotify_logger.store import Store

ENDINGS = {"trackdone": "finished", "skipped": "skipped", "stopped": "stopped", "unknown": "unknown"}

Play = tuple[int, Mapping[str, str]]
"""The second that names a play's key, and its hash."""


def status(store: Store, now: float, longest_pause: float) -> Answer:
    """Is the logger alive and well? Exit code 1 when it is not.

    Args:
        store: The log.
        now: Seconds since the epoch.
        longest_pause: Seconds between two polls at most.
    """
    try:
        fields, last, server = store.read_status(), store.latest_play(), store.version()
    except StoreError as error:
        data = {"well": False, "problems": [str(error)], "redis": None, "command_version": __version__}
        return Answer(data, [f"NOT WELL: {error}"], code=1)
    wrong = problems(fields, now, longest_pause)
    data = {
        "well": not wrong,
        "problems": wrong,
        "state": fields.get("state"),
        "last_poll": utc_time(moment(fields, "last_poll")),
        "next_poll": utc_time(moment(fields, "next_poll")),
        "last_play": None if last is None else play_data(last),
        "login_valid_until": utc_time(moment(fields, "login_valid_until")),
        "requests_24h": whole_number(fields.get("requests_24h")),
        "redis": {"address": store.where, "version": server},
        "version": fields.get("version"),
        "command_version": __version__,
        "pid": whole_number(fields.get("pid")),
    }
    return Answer(
        data, [_status_table(fields, last, wrong, now, f"{server} at {store.where}")], code=bool(wrong)
    )


def _status_table(
    fields: Mapping[str, str], last: Play | None, wrong: list[str], now: float, server: str
) -> Table:
    requests = whole_number(fields.get("requests_24h"))
    running = fields.get("version")
    rows = [
        ("health", "NOT WELL: " + "; ".join(wrong) if wrong else "well"),
        ("doing", fields.get("state", "")),
        ("last poll", _past(moment(fields, "last_poll"), now)),
        ("last play", "" if last is None else f"{local_time(last[0])} {title(last[1])}, {_heard(last[1])}"),
        ("login", _login(fields, now)),
        ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
        ("Redis", server),
        (
            "version",
            __version__ if running in (None, __version__) else f"{running} runs, this is {__version__}",
        ),
    ]
    return Table([row for row in rows if row[1]])


def now_playing(store: Store, now: float) -> Answer:
    """What plays at this moment, with the position that it should have reached by now."""
    second = store.now_playing()
    fields = None if second is None else store.play(second)
    if second is None or fields is None:
        return Answer({"now": None}, ["Nothing is playing."])
    position = _position(fields, now)
    data = {**play_data((second, fields)), "position_ms": position}
    length = whole_number(fields.get("duration_ms"))
    at = "" if position is None else minutes(position) + ("" if length is None else f"/{minutes(length)}")
    row = (_ending(fields, is_now=True), title(fields), at, fields.get("device_name", ""))
    return Answer({"now": data}, [Table([row], numbers=[2])])


def recent(store: Store, count: int) -> Answer:
    """The newest plays, newest first."""
    open_second = store.now_playing()
    plays = store.recent(count)
    if not plays:
        return Answer([], ["Nothing is logged yet."])
    rows = [
        (
            local_time(second),
            title(fields),
            _heard(fields),
            _ending(fields, is_now=second == open_second),
            fields.get("device_name", ""),
        )
        for second, fields in plays
    ]
    return Answer(
        [play_data(play) for play in plays], [Table(rows, ("when", "what", "heard", "ended", "device"), [2])]
    )


def play_data(play: Play) -> dict[str, object]:
    """A play for programs: its hash with numbers and flags as such, and its key."""
    second, fields = play
    data: dict[str, object] = {"key": play_key(second), **fields}
    for name in fields.keys() & (NUMBERS | {"ms_played"}):
        data[name] = whole_number(fields[name])
    for name in fields.keys() & FLAGS:
        data[name] = fields[name] == "1"
    return data


def _past(second: float | None, now: float) -> str:
    return "never" if second is None else f"{span(max(0.0, now - second))} ago, {local_time(second)}"


def _login(fields: Mapping[str, str], now: float) -> str:
    if fields.get("login") == "needed":
        return "needed"
    until = moment(fields, "login_valid_until")
    if until is None:
        return "nobody knows until when"
    return (
        f"valid for {span(until - now)}, until {local_time(until)}"
        if until > now
        else f"over since {local_time(until)}"
    )


def _heard(fields: Mapping[str, str]) -> str:
    """How much of it: "3:35/5:45"."""
    heard, length = whole_number(fields.get("ms_played")), whole_number(fields.get("duration_ms"))
    return ("?" if heard is None else minutes(heard)) + ("" if length is None else f"/{minutes(length)}")


def _ending(fields: Mapping[str, str], *, is_now: bool) -> str:
    if "end_reason" in fields:
        return ENDINGS.get(fields["end_reason"], fields["end_reason"])
    if not is_now:
        return "open"
    return "playing" if fields.get("playing") == "1" else "paused"


def _position(fields: Mapping[str, str], now: float) -> int | None:
    """Where in the item the player should be by now, in milliseconds; it was last heard at `ended_at`."""
    position, seen = whole_number(fields.get("progress_ms")), from_iso(fields.get("ended_at", ""))
    if position is None or seen is None or fields.get("playing") != "1":
        return position
    position += max(0, round(now * 1000) - seen)
    length = whole_number(fields.get("duration_ms"))
    return position if length is None else min(position, length)
