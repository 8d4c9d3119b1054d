"""Tells whether a Redis has the log that a state folder belongs to: both know its ID."""


def log_trouble(where: str, expected: str, found: str | None) -> str:
    """Return why the Redis at `where` does not have the log, and what to do; "" if it has.

    `expected` is the ID in the state folder, "" if it is new; `found` has those in Redis.
    """
    if expected in (found or "").split() or (not expected and found != ""):
        return ""
    if found:
        return (
            f"Redis at {where} has the log of another logger: correct REDIS_URL, or set REDIS_PREFIX;"
            " `spotify-logger move --accept` joins that log"
        )
    return (
        f"Redis at {where} lacks the log that was kept so far: it is another server, or was emptied."
        " `spotify-logger move` brings the log here, `spotify-logger restore` brings back its second copy,"
        " and `spotify-logger move --accept` goes on without it"
    )
