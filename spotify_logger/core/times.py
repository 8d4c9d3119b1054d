"""Convert between stamps in milliseconds, ISO 8601 text and local time."""

from datetime import UTC, datetime, timedelta

MAX_STAMP_MS = 10**13  # in the year 2286, what the ten digits of a key can say; later is invalid
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_iso(stamp_ms: int) -> str:
    """Format milliseconds since the epoch as ISO 8601 in UTC: "2026-11-22T18:00:00.000Z"."""
    moment = EPOCH + timedelta(milliseconds=stamp_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_time(second: float | None) -> str | None:
    """Format a time in UTC, for JSON and CSV: "2026-11-22T18:00:00.000Z"; None stays None."""
    return None if second is None else to_iso(round(second * 1000))


def from_iso(text: str) -> int | None:
    """Parse ISO 8601 into milliseconds since the epoch; None if the text is invalid or out of range."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return in_range((moment - EPOCH) // timedelta(milliseconds=1))


def seconds_of(text: str | None) -> float | None:
    """Parse ISO 8601 into seconds since the epoch; None if there is no valid text, or it is out of range."""
    stamp_ms = from_iso(text or "")
    return None if stamp_ms is None else stamp_ms / 1000


def local(second: float) -> datetime:
    """Return the local time of the machine at a second since the epoch, as a naive datetime."""
    try:
        return datetime.fromtimestamp(second)  # noqa: DTZ006 - local time
    except OverflowError:  # many 32-bit systems cannot convert times after 2038: in UTC
        return (EPOCH + timedelta(seconds=second)).replace(tzinfo=None)


def in_range(stamp_ms: int | None) -> int | None:
    """Return milliseconds since the epoch; None if they are negative or beyond `MAX_STAMP_MS`."""
    return stamp_ms if stamp_ms is not None and 0 <= stamp_ms < MAX_STAMP_MS else None
