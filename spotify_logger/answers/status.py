"""What the command answers about now: is the logger alive and well, and what plays."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from spotify_logger import __version__
from spotify_logger.answers.timeline import Play, ending, heard_words, play_data
from spotify_logger.faces import DAY, Answer, Table, counted, local_time, span, utc_time
from spotify_logger.gaps import Gap, gap_data, gaps_words, since
from spotify_logger.health import FORGETS, blind_since, moment, problems
from spotify_logger.playback import whole_number
from spotify_logger.plays import from_iso, minutes, title
from spotify_logger.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.config import Settings

UNNAMED = "(no name)"
"""What the listener is called who has none."""
DAYS = 30
"""Days of which the status tells the gaps."""


def status(store: Store, now: float, longest_pause: float) -> Answer:
    """Is the logger alive and well? Exit code 1 when it is not.

    Args:
        store: The log.
        now: Seconds since the epoch.
        longest_pause: Seconds between two polls at most.
    """
    try:
        about = store.where, store.version(), store.standby(), store.gaps()
        found = _Found(store.read_status(), store.latest_play(), *about)
    except StoreError as error:
        data = {"well": False, "problems": [str(error)], "redis": None, "command_version": __version__}
        return Answer(data, [f"NOT WELL: {error}"], code=1)
    wrong = problems(found.fields, now, longest_pause)
    blind = blind_since(found.fields, now, longest_pause)
    data = {"well": not wrong, "problems": wrong, **_status_data(found, blind, now)}
    health = ("health", "NOT WELL: " + "; ".join(wrong) if wrong else "well")
    rows = [health, *_status_rows(found, blind, now)]
    return Answer(data, [Table([row for row in rows if row[1]])], code=bool(wrong))


def statuses(settings: Settings, now: float) -> Answer:
    """Are the loggers of all listeners alive and well? Exit code 1 when one is not.

    Args:
        settings: Of any of them.
        now: Seconds since the epoch.
    """
    with closing(Store(settings.redis_url, settings.redis_prefix, listener=settings.listener)) as store:
        try:
            names = store.listeners()
        except StoreError:
            return status(store, now, 2 * settings.poll_max)
    if not names:
        return Answer({"listeners": []}, ["No logger has written here yet."], code=1)
    told = {}
    for name in names:
        with closing(Store(settings.redis_url, settings.of(name).redis_prefix)) as store:
            told[name] = status(store, now, 2 * settings.poll_max)
    return Answer(
        {"listeners": [{"name": name, **_of(answer)} for name, answer in told.items()]},
        [Table([_line(name, _of(answer)) for name, answer in told.items()], wide=2)],
        code=max(answer.code for answer in told.values()),
    )


def _of(answer: Answer) -> Mapping[str, Any]:
    data: Any = answer.data
    return cast("Mapping[str, Any]", data)


def _line(name: str, data: Mapping[str, Any]) -> tuple[str, str, str]:
    wrong = "; ".join(data["problems"])
    return name or UNNAMED, "well" if data["well"] else "NOT WELL", wrong or data["state"] or ""


@dataclass(frozen=True, slots=True)
class _Found:
    """What Redis knows of the logger: its status, the last play, the gaps; and which server that is.

    Attributes:
        standby: The machine of another logger, which waits to take over; "" where there is none.
    """

    fields: Mapping[str, str]
    last: Play | None
    where: str
    server: str
    standby: str
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
        "machine": fields.get("machine"),
        "standby": found.standby or None,
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
        (
            "last play",
            "" if last is None else f"{local_time(last[0])} {title(last[1])}, {heard_words(last[1])}",
        ),
        ("gaps", gaps_words(found.lately(blind, now), DAYS, now - DAYS * DAY)),
        ("login", _login(fields, now)),
        ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
        ("outbox", f"{counted(waiting, 'play')}, not yet safe in Redis" if waiting else ""),
        (
            "machine",
            f"{fields.get('machine', '?')}; {found.standby} stands by" if found.standby else "",
        ),
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
    row = (ending(fields, is_now=True), title(fields), at, fields.get("device_name", ""))
    return Answer({"now": data}, [Table([row], numbers=[2])])


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


def _position(fields: Mapping[str, str], now: float) -> int | None:
    """Where in the item the player should be by now, in milliseconds; it was last heard at `ended_at`."""
    position, seen = whole_number(fields.get("progress_ms")), from_iso(fields.get("ended_at", ""))
    if position is None or seen is None or fields.get("playing") != "1":
        return position
    position += max(0, round(now * 1000) - seen)
    length = whole_number(fields.get("duration_ms"))
    return position if length is None else min(position, length)
