"""Whether the logger is well, judged by the status that it leaves in Redis. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.journal import clean
from spotify_logger.persistence import Persistence
from spotify_logger.playback import whole_number
from spotify_logger.plays import from_iso
from spotify_logger.sight import BLIND_MS, GAP_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

LATE = 120.0
"""Seconds after the announced turn at which a loop that lives has been heard of: a turn takes 90 at most."""
SILENCE = 900.0
"""Seconds without an answer from Spotify, beyond the longest pause, that are no passing trouble any more."""
LATEST = 2**33
"""Seconds since the epoch; what is later than the year 2242 is no time but garbage."""
MOST_WAITING = 1000
"""Plays that may wait for Redis: more than a day has. Where Redis never says that it has made them safe, a
day's plays wait all the time."""
FORGETS = Persistence(saves=False).words
"""What the status says of a Redis that keeps nothing on its disk."""
LOGIN_ADVICE = "run `spotify-logger login`"


def moment(status: Mapping[str, str], name: str) -> float | None:
    """A time of the status in seconds since the epoch; None when it is not there, or no time of ours."""
    stamp_ms = from_iso(status.get(name, ""))
    return stamp_ms / 1000 if stamp_ms is not None and 0 <= stamp_ms < LATEST * 1000 else None


def problems(status: Mapping[str, str], now: float, longest_pause: float) -> list[str]:
    """What is wrong, and what to do; nothing when all is well.

    Args:
        status: The fields of the status hash.
        now: Seconds since the epoch.
        longest_pause: Seconds between two polls at most.
    """
    due, answered = moment(status, "next_poll"), moment(status, "last_poll")
    if due is None:
        return ["the logger has never run here: start it with `python run.py`"]
    if now > due + LATE:
        return ["the logger does not run any more: start it, or look into its log"]
    found = []
    until = moment(status, "login_valid_until")
    if status.get("login") == "needed" or (until is not None and until < now):
        found.append(f"the login is over: {LOGIN_ADVICE}")
    if answered is None or now > answered + longest_pause + SILENCE:
        found.append("Spotify gives no answer, see what the logger says below")
    return found + _at_risk(status)


def blind_since(status: Mapping[str, str], now: float, longest_pause: float) -> float | None:
    """Since when nothing can be seen, in seconds since the epoch; None while something can, or nobody knows.

    Args:
        status: The fields of the status hash.
        now: Seconds since the epoch.
        longest_pause: Seconds between two polls at most.
    """
    answered = moment(status, "last_poll")
    patience = max(GAP_MS / 1000, longest_pause + BLIND_MS / 1000)
    return answered if answered is not None and now > answered + patience else None


def _at_risk(status: Mapping[str, str]) -> list[str]:
    """Why plays that were found might be lost."""
    found = []
    if trouble := clean(status.get("outbox_trouble", "")):
        found.append(f"{trouble} (until it can, plays wait in memory alone)")
    if trouble := clean(status.get("redis_trouble", "")):
        found.append(trouble)
    waiting = whole_number(status.get("outbox")) or 0
    if waiting > MOST_WAITING:
        found.append(f"{waiting:,} plays wait until Redis has made them safe: look into the log, and its own")
    if status.get("persistence") == FORGETS:
        found.append(
            "this Redis forgets everything with its next restart: set `appendonly yes` in its settings"
        )
    return found
