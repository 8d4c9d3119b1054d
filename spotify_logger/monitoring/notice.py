"""What a person should know about the logger at first sight: what is wrong, and what soon will be."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from spotify_logger.core.times import local, seconds_of
from spotify_logger.monitoring.status import Status, unanswered
from spotify_logger.system.errors import LOGIN_ADVICE

DAY = 86_400
REMINDER_DAYS = 30  # before a login expires from which to remind of it, as the first alert does


class Notice(NamedTuple):
    """What to say about a logger, one line each; empty if all is well."""

    lines: Sequence[str]
    since: str | None  # when it stopped observing, if it did
    is_urgent: bool  # plays are being missed, or are at risk
    needs_login: bool  # now or soon


def notice(found: Status, now: float) -> Notice:
    """Return what to say about a logger `now`, in seconds since the epoch."""
    lines = [*found.problems]
    if found.blind_since and not lines:  # too short for a problem so far
        lines.append(unanswered(found.state or ""))
    is_urgent, days = bool(lines), days_of_login(found, now)
    if days is not None:
        until = local(seconds_of(found.login_valid_until or "") or 0)
        in_days = f"{days} day{'' if days == 1 else 's'}"
        lines.append(f"the Spotify login expires in {in_days}, on {until:%Y-%m-%d}: {LOGIN_ADVICE}")
    return Notice(lines, found.blind_since, is_urgent, days is not None or found.login == "needed")


def days_of_login(found: Status, now: float) -> int | None:
    """Return the days until the login expires, rounded up; None if they are many, none or unknown."""
    until = seconds_of(found.login_valid_until or "")
    days = 0 if until is None or found.login == "needed" else ceil((until - now) / DAY)
    return days if 0 < days <= REMINDER_DAYS else None
