"""Convert between stamps in milliseconds, ISO 8601 text and local time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MAX_STAMP_MS = 2**43
"""Milliseconds since the epoch, in the year 2248; what is later is no time but garbage."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_iso(stamp_ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601, UTC, with milliseconds: "2026-11-22T18:00:00.000Z"."""
    moment = EPOCH + timedelta(milliseconds=stamp_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def local(second: float) -> datetime:
    """What the machine's clocks show at a second since the epoch (without the zone).

    The calendar of many a 32-bit system ends in 2038. What lies beyond is shown as UTC there.
    """
    try:
        return datetime.fromtimestamp(second)  # noqa: DTZ006 - the machine's clocks
    except OverflowError:
        return (EPOCH + timedelta(seconds=second)).replace(tzinfo=None)


def second_of_local(moment: datetime) -> float:
    """The reverse of `local`: the second since the epoch at which the machine's clocks show a moment."""
    try:
        return moment.timestamp()
    except OverflowError:
        return moment.replace(tzinfo=UTC).timestamp()


def from_iso(text: str) -> int | None:
    """The reverse of `to_iso`, for whatever text lies there; None when it is no such moment."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def seconds_of(text: str) -> float | None:
    """Return an ISO 8601 stamp in seconds since the epoch; None for what is none, or no time of ours."""
    stamp_ms = from_iso(text)
    return stamp_ms / 1000 if stamp_ms is not None and 0 <= stamp_ms < MAX_STAMP_MS else None
