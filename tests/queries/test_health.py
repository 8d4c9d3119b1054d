from __future__ import annotations

from datetime import UTC, datetime

import pytest

from spotify_logger.queries.health import problems, status_time, unobserved_since
from spotify_logger.storage.durability import Persistence

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp()
WELL = {
    "last_poll": "2026-11-22T17:59:45.000Z",
    "next_poll": "2026-11-22T18:00:15.000Z",
    "login_valid_until": "2027-05-14T10:00:00.000Z",
    "login": "ok",
    "outbox": "0",
    "outbox_trouble": "",
    "persistence": Persistence(aof=True).words,
}
RUNS_NO_MORE = "the logger is not running: start it, or check its log"
NEVER_RAN = "the logger has never run here: start it with `python run.py`"
LOGIN_EXPIRED = "the login has expired: run `spotify-logger login`"
NO_ANSWER = "Spotify is not answering: see the state of the logger below"
FORGETS = "this Redis loses everything when it restarts: set `appendonly yes` in redis.conf"
DISK_FULL = "/x/outbox.sqlite cannot be written: disk is full"
IN_MEMORY = f"{DISK_FULL} (until that is fixed, plays are kept in memory only)"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"login_valid_until": ""}, []),
        ({"login_valid_until": "2026-11-22T17:59:59.000Z"}, [LOGIN_EXPIRED]),
        ({"login": "needed"}, [LOGIN_EXPIRED]),
        ({"next_poll": "2026-11-22T17:58:05.000Z"}, []),  # a slow turn
        ({"next_poll": "2026-11-22T17:57:59.000Z"}, [RUNS_NO_MORE]),
        ({"next_poll": "2026-11-21T17:57:59.000Z", "login": "needed"}, [RUNS_NO_MORE]),
        ({"next_poll": ""}, [NEVER_RAN]),
        ({"next_poll": "soon"}, [NEVER_RAN]),
        ({"next_poll": "9999-12-31T23:59:59.000Z"}, [NEVER_RAN]),
        ({"last_poll": "2026-11-22T17:44:05.000Z"}, []),  # an outage of a quarter of an hour
        ({"last_poll": "2026-11-22T17:43:59.000Z"}, [NO_ANSWER]),
        ({"last_poll": ""}, [NO_ANSWER]),
        ({"last_poll": "", "login": "needed"}, [LOGIN_EXPIRED, NO_ANSWER]),
        ({"persistence": ""}, []),
        ({"persistence": Persistence().words}, []),  # it does not say
        ({"persistence": Persistence(saves=True).words}, []),
        ({"persistence": Persistence(saves=False).words}, [FORGETS]),
        ({"outbox_trouble": DISK_FULL}, [IN_MEMORY]),
        (
            {"outbox_trouble": "a\nb\x1b[31m"},
            ["a b\ufffd[31m (until that is fixed, plays are kept in memory only)"],
        ),
        ({"outbox": "1000"}, []),  # after an outage, or where Redis never says that plays are safe
        (
            {"outbox": "1001"},
            ["1,001 plays are waiting to be stored safely: check the logs of the logger and of Redis"],
        ),
        ({"outbox": "-5"}, []),
        ({"outbox": "many"}, []),
        ({"next_poll": "", "outbox_trouble": DISK_FULL}, [NEVER_RAN]),
        ({"next_poll": "2026-11-22T17:57:59.000Z", "outbox_trouble": DISK_FULL}, [RUNS_NO_MORE]),
    ],
)
def test_what_is_wrong(changes: dict[str, str], found: list[str]) -> None:
    assert problems({**WELL, **changes}, NOW, max_poll_interval=60.0) == found


def test_nobody_wrote_a_status() -> None:
    assert problems({}, NOW, 60.0) == [NEVER_RAN]


@pytest.mark.parametrize(
    ("ago", "max_poll_interval", "is_blind"),
    [
        (15, 60, False),
        (300, 60, False),  # no gap is recorded of that either
        (301, 60, True),
        (301, 600, False),  # it is not asked more often
        (660, 600, False),
        (661, 600, True),
        (-900, 60, False),  # this machine's clock is behind
    ],
)
def test_since_when_nothing_can_be_seen(ago: int, max_poll_interval: float, is_blind: bool) -> None:  # noqa: FBT001 - a table
    answered = NOW - 15
    assert unobserved_since(WELL, answered + ago, max_poll_interval) == (answered if is_blind else None)


@pytest.mark.parametrize("text", ["", "soon", "9999-12-31T23:59:59Z"])
def test_nobody_knows_since_when(text: str) -> None:
    assert unobserved_since({**WELL, "last_poll": text}, NOW, 60.0) is None


@pytest.mark.parametrize("text", ["", "soon", "0001-01-01", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_what_is_no_time(text: str) -> None:
    assert status_time({"last_poll": text}, "last_poll") is None


def test_a_time() -> None:
    assert status_time({"last_poll": "2026-11-22T18:00:00.250Z"}, "last_poll") == NOW + 0.25
