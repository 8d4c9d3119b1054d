"""What the command answers about now: is the logger alive, what plays, what was played last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.backfill import BACKFILL
from spotify_logger.faces import DAY, Answer, Table, counted, local_time, span, utc_time
from spotify_logger.gaps import Gap, gap_data, gap_words, gaps_words, since
from spotify_logger.health import FORGETS, blind_since, moment, problems
from spotify_logger.keyspace import play_key
from spotify_logger.playback import FLAGS, NUMBERS, whole_number
from spotify_logger.plays import from_iso, minutes, title
from spotify_logger.store import StoreError

if TYPE_CHECKING:
    from spotify_logger.store import Store

DAYS = 30
"""Days of which the status tells the gaps."""
FOUND_LATER = "found later"
"""How a play ended that nobody saw: there is only a guess."""
ENDINGS = {"trackdone": "finished", "skipped": "skipped", "stopped": "stopped", "unknown": "unknown"}

Play = tuple[int, Mapping[str, str]]
"""The second that names a play's key, and its hash."""
Row = tuple[str, str, str, str, str]
"""When it began, what it was, how much of it was heard, how it ended, and on which device."""


def status(store: Store, now: float, longest_pause: float) -> Answer:
    """Is the logger alive and well? Exit code 1 when it is not.

    Args:
        store: The log.
        now: Seconds since the epoch.
        longest_pause: Seconds between two polls at most.
    """
    try:
        found = _Found(store.read_status(), store.latest_play(), store.where, store.version(), store.gaps())
    except StoreError as error:
        data = {"well": False, "problems": [str(error)], "redis": None, "command_version": __version__}
        return Answer(data, [f"NOT WELL: {error}"], code=1)
    wrong = problems(found.fields, now, longest_pause)
    blind = blind_since(found.fields, now, longest_pause)
    data = {"well": not wrong, "problems": wrong, **_status_data(found, blind, now)}
    health = ("health", "NOT WELL: " + "; ".join(wrong) if wrong else "well")
    rows = [health, *_status_rows(found, blind, now)]
    return Answer(data, [Table([row for row in rows if row[1]])], code=bool(wrong))


@dataclass(frozen=True, slots=True)
class _Found:
    """What Redis knows of the logger: its status, the last play, the gaps; and which server that is."""

    fields: Mapping[str, str]
    last: Play | None
    where: str
    server: str
    gaps: list[Gap]

    def lately(self, blind: float | None, now: float) -> list[Gap]:
        """The gaps of the last days, without the one that is under way if nothing can be seen."""
        gaps = since(self.gaps, now - DAYS * DAY)
        return [gap for gap in gaps if blind is None or gap[0] < int(blind)]

    def why_blind(self, blind: float) -> str:
        """Why nothing can be seen, where the logger has said so."""
        return next((f", {reason}" for begin, _, reason in self.gaps if begin >= int(blind)), "")


def _status_data(found: _Found, blind: float | None, now: float) -> dict[str, object]:
    fields = found.fields
    return {
        "state": fields.get("state"),
        "last_poll": utc_time(moment(fields, "last_poll")),
        "next_poll": utc_time(moment(fields, "next_poll")),
        "blind_since": utc_time(blind),
        "last_play": None if found.last is None else play_data(found.last),
        f"gaps_{DAYS}_days": [gap_data(gap) for gap in found.lately(blind, now)],
        "login_valid_until": utc_time(moment(fields, "login_valid_until")),
        "requests_24h": whole_number(fields.get("requests_24h")),
        "outbox": whole_number(fields.get("outbox")),
        "outbox_trouble": fields.get("outbox_trouble"),
        "redis": {
            "address": found.where,
            "version": found.server,
            "persistence": fields.get("persistence"),
        },
        "version": fields.get("version"),
        "command_version": __version__,
        "pid": whole_number(fields.get("pid")),
    }


def _status_rows(found: _Found, blind: float | None, now: float) -> list[tuple[str, str]]:
    fields, last = found.fields, found.last
    requests = whole_number(fields.get("requests_24h"))
    waiting = whole_number(fields.get("outbox")) or 0
    running = fields.get("version")
    return [
        ("doing", fields.get("state", "")),
        ("last poll", _past(moment(fields, "last_poll"), now)),
        ("blind", "" if blind is None else f"since {local_time(blind)}{found.why_blind(blind)}"),
        ("last play", "" if last is None else f"{local_time(last[0])} {title(last[1])}, {_heard(last[1])}"),
        ("gaps", gaps_words(found.lately(blind, now), DAYS, now - DAYS * DAY)),
        ("login", _login(fields, now)),
        ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
        ("outbox", f"{counted(waiting, 'play')}, not yet safe in Redis" if waiting else ""),
        ("Redis", f"{found.server} at {found.where}{_kept_in(fields)}"),
        (
            "version",
            __version__ if running in (None, __version__) else f"{running} runs, this is {__version__}",
        ),
    ]


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
    """The newest plays, newest first, and the gaps between them and since."""
    open_second = store.now_playing()
    plays = store.recent(count)
    if not plays:
        return Answer([], ["Nothing is logged yet."])
    gaps = since(store.gaps(), plays[-1][0])
    lines: list[tuple[int, Row, object]] = [
        *((gap[0], _gap_row(gap), {"gap": gap_data(gap)}) for gap in gaps),
        *((play[0], _play_row(play, open_second), play_data(play)) for play in plays),
    ]
    lines.sort(key=itemgetter(0), reverse=True)
    rows = [row for _, row, _ in lines]
    return Answer(
        [data for *_, data in lines], [Table(rows, ("when", "what", "heard", "ended", "device"), [2])]
    )


def _play_row(play: Play, open_second: int | None) -> Row:
    second, fields = play
    ended = _ending(fields, is_now=second == open_second)
    return local_time(second), title(fields), _heard(fields), ended, fields.get("device_name", "")


def _gap_row(gap: Gap) -> Row:
    return local_time(gap[0]), gap_words(gap), "", "gap", ""


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


def _kept_in(fields: Mapping[str, str]) -> str:
    """How Redis keeps what it is given, as the logger has seen it."""
    kept = fields.get("persistence", "")
    return ", nothing on its disk" if kept == FORGETS else kept and f", {kept}"


def _heard(fields: Mapping[str, str]) -> str:
    """How much of it: "3:35/5:45"."""
    heard, length = whole_number(fields.get("ms_played")), whole_number(fields.get("duration_ms"))
    return ("?" if heard is None else minutes(heard)) + ("" if length is None else f"/{minutes(length)}")


def _ending(fields: Mapping[str, str], *, is_now: bool) -> str:
    if fields.get("source") == BACKFILL:
        return FOUND_LATER
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
