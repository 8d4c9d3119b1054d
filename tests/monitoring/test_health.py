from __future__ import annotations

from datetime import UTC, datetime

import pytest

from spotify_logger.monitoring.status import Evidence, problems, unobserved_since
from spotify_logger.storage.client import APPEND_ONLY_FILE, FORGETS, SNAPSHOTS

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp()
WELL = {
    "last_poll": "2026-11-22T17:59:45.000Z",
    "next_poll": "2026-11-22T18:00:15.000Z",
    "login_valid_until": "2027-05-14T10:00:00.000Z",
    "login": "ok",
    "outbox": "0",
    "outbox_trouble": "",
    "persistence": APPEND_ONLY_FILE,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"login_valid_until": "2026-11-22T17:59:59.000Z"}, ["login"]),
        ({"login": "needed"}, ["login"]),
        ({"next_poll": "2026-11-22T17:58:05.000Z"}, []),  # a slow turn
        (
            {"next_poll": "2026-11-22T17:57:59.000Z", "login": "needed", "outbox_trouble": "x"},
            ["not running"],
        ),
        ({"next_poll": ""}, ["never run"]),
        ({"next_poll": "soon", "outbox_trouble": "x"}, ["never run"]),
        ({"last_poll": "2026-11-22T17:44:05.000Z"}, []),  # an outage of a quarter of an hour
        ({"last_poll": "2026-11-22T17:43:59.000Z"}, ["not answering"]),
        ({"last_poll": "", "login": "needed"}, ["login", "not answering"]),
        ({"persistence": ""}, []),
        ({"persistence": SNAPSHOTS}, []),
        ({"persistence": FORGETS}, ["appendonly"]),
        ({"outbox_trouble": "a\nb\x1b[31m"}, ["a b\ufffd[31m (until that is fixed"]),
        ({"redis_trouble": "no\x1b"}, ["no\ufffd"]),
        ({"outbox": "1000"}, []),  # after an outage, or where Redis never confirms that plays are on disk
        ({"outbox": "1001"}, ["1,001 plays are waiting"]),
        ({"outbox": "many"}, []),
    ],
)
def test_problems(changes: dict[str, str], words: list[str]) -> None:
    found = problems({**WELL, **changes}, NOW, 60.0, Evidence())
    assert len(found) == len(words)
    assert all(word in problem for word, problem in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("after_last_poll", "max_poll_interval", "is_unobserved"),
    [
        (300, 60, False),  # no gap is recorded of that either
        (661, 600, True),
        (-900, 60, False),  # this machine's clock is behind
    ],
)
def test_unobserved_since_the_last_poll(
    after_last_poll: int, max_poll_interval: float, *, is_unobserved: bool
) -> None:
    last_poll = NOW - 15
    found = unobserved_since(WELL, last_poll + after_last_poll, max_poll_interval)
    assert found == (last_poll if is_unobserved else None)


def test_a_malformed_time_is_unknown() -> None:
    for text in ("", "soon", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"):
        assert unobserved_since({**WELL, "last_poll": text}, NOW, 60.0) is None
