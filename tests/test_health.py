from __future__ import annotations

from datetime import UTC, datetime

import pytest

from spotify_logger.health import moment, problems

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp()
WELL = {
    "last_poll": "2026-11-22T17:59:45.000Z",
    "next_poll": "2026-11-22T18:00:15.000Z",
    "login_valid_until": "2027-05-14T10:00:00.000Z",
    "login": "ok",
}
RUNS_NO_MORE = "the logger does not run any more: start it, or look into its log"
NEVER_RAN = "the logger has never run here: start it with `python run.py`"
LOGIN_OVER = "the login is over: run `spotify-logger login`"
NO_ANSWER = "Spotify gives no answer, see what the logger says below"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"login_valid_until": ""}, []),
        ({"login_valid_until": "2026-11-22T17:59:59.000Z"}, [LOGIN_OVER]),
        ({"login": "needed"}, [LOGIN_OVER]),
        ({"next_poll": "2026-11-22T17:58:05.000Z"}, []),  # a slow turn
        ({"next_poll": "2026-11-22T17:57:59.000Z"}, [RUNS_NO_MORE]),
        ({"next_poll": "2026-11-21T17:57:59.000Z", "login": "needed"}, [RUNS_NO_MORE]),
        ({"next_poll": ""}, [NEVER_RAN]),
        ({"next_poll": "soon"}, [NEVER_RAN]),
        ({"next_poll": "9999-12-31T23:59:59.000Z"}, [NEVER_RAN]),
        ({"last_poll": "2026-11-22T17:44:05.000Z"}, []),  # an outage of a quarter of an hour
        ({"last_poll": "2026-11-22T17:43:59.000Z"}, [NO_ANSWER]),
        ({"last_poll": ""}, [NO_ANSWER]),
        ({"last_poll": "", "login": "needed"}, [LOGIN_OVER, NO_ANSWER]),
    ],
)
def test_what_is_wrong(changes: dict[str, str], found: list[str]) -> None:
    assert problems({**WELL, **changes}, NOW, longest_pause=60.0) == found


def test_nobody_wrote_a_status() -> None:
    assert problems({}, NOW, 60.0) == [NEVER_RAN]


@pytest.mark.parametrize("text", ["", "soon", "0001-01-01", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_what_is_no_time(text: str) -> None:
    assert moment({"last_poll": text}, "last_poll") is None


def test_a_time() -> None:
    assert moment({"last_poll": "2026-11-22T18:00:00.250Z"}, "last_poll") == NOW + 0.25
