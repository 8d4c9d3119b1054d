"""What `status` and `now` say; what they say of a Redis that rejects writes is in `test_redis_refuses`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger import __version__
from spotify_logger.core.periods import Zone
from spotify_logger.core.play import SKIPPED
from spotify_logger.core.redis_keys import OPEN, STANDBY
from spotify_logger.core.times import to_iso
from spotify_logger.monitoring import status
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import FORGETS
from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE, Outbox
from spotify_logger.system.errors import LOGIN_ADVICE
from tests.indexed_log import CatalogItem, IndexedLog, data_of, rows, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spotify_logger.report.answers import Answer

QUO = CatalogItem("track:v", "Veridis Quo", ["Daft Punk"], "Discovery")
WELL = {
    "last_poll": "2026-11-22T18:03:08.000Z",
    "next_poll": "2026-11-22T18:03:38.000Z",
    "login_valid_until": "2027-05-14T10:00:00.000Z",
    "state": "playing Daft Punk – Veridis Quo, Kitchen",
    "requests_24h": "1234",
    "polls": '{"ok": 1200, "offline": 3}',
    "outbox": "0",
    "outbox_trouble": "",
    "persistence": "append-only file",
    "version": __version__,
    "pid": "77",
}
AN_HOUR_AGO = "2026-11-22T17:03:38.000Z"
NOWHERE = Path("/nowhere")  # a state folder that is not there


@pytest.fixture(autouse=True)
def _timezone(set_timezone: Callable[[str], None]) -> None:
    set_timezone("CET-1")


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    log = IndexedLog(redis_url, Zone("Europe/Berlin"), "2026-11-22 19:03:20")
    yield log
    log.store.close()


def write_status(log: IndexedLog, changes: dict[str, str]) -> None:
    with log.store.batch() as batch:
        batch.write_status({**WELL, **changes})


def play_now(log: IndexedLog, **fields: str | int) -> int:
    second = log.play(QUO, "2026-11-22 19:00", 200, OPEN, **fields)
    with log.store.batch() as batch:
        batch.set_now_playing(second, 90)
    return second


class TestStatusCommand:
    def status(self, log: IndexedLog, **changes: str) -> Answer:
        write_status(log, changes)
        return log.shown(status.status(log.store, log.second(log.now), 60, NOWHERE))

    def test_all_is_well(self, log: IndexedLog) -> None:
        second = play_now(log)
        answer = self.status(log)
        assert answer.code == 0
        assert rows(answer) == {
            "health": "well",
            "doing": "playing Daft Punk – Veridis Quo, Kitchen",
            "last poll": "12 s ago, 2026-11-22 19:03",
            "last play": "2026-11-22 19:00 Daft Punk – Veridis Quo, 3:20/5:45",
            "login": "valid for 172 days, until 2027-05-14 11:00",
            "requests": "1,234 in 24 hours",
            "Redis": f"{log.store.version()} at {log.store.where}, append-only file",
            "version": __version__,
        }
        data: dict[str, Any] = data_of(answer)
        assert data.pop("last_play")["key"] == f"listening:{second}"
        redis_data = {"address": log.store.where, "version": log.store.version()}
        assert data == {
            "well": True,
            "problems": [],
            "state": "playing Daft Punk – Veridis Quo, Kitchen",
            "last_poll": "2026-11-22T18:03:08.000Z",
            "next_poll": "2026-11-22T18:03:38.000Z",
            "blind_since": None,
            "blind_reason": None,
            "gaps_30_days": [],
            "login": None,
            "login_valid_until": "2027-05-14T10:00:00.000Z",
            "requests_24h": 1234,
            "polls": {"ok": 1200, "offline": 3},
            "forwarding": [],
            "outbox": 0,
            "outbox_trouble": "",
            "disk_trouble": None,
            "clock_offset": None,
            "copied_until": None,
            "redis": {
                **redis_data,
                "persistence": "append-only file",
                **dict.fromkeys(("restored_plays", "restored_at", "restored_why")),
            },
            "machine": None,
            "standby": None,
            "running_here": None,
            "version": __version__,
            "command_version": __version__,
            "pid": 77,
        }

    def test_a_problem_comes_first(self, log: IndexedLog) -> None:
        answer = self.status(log, next_poll=AN_HOUR_AGO, version="0.0.1")
        assert answer.code == 1
        name, words = next(iter(rows(answer).items()))
        assert name == "health"
        assert words.startswith("NOT WELL: the logger is not running")
        assert rows(answer)["did last"] == WELL["state"]
        assert rows(answer)["version"] == f"0.0.1 is running, this command is {__version__}"

    def test_another_logger_on_standby(self, log: IndexedLog, redis_url: str) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.set(STANDBY, "0123456789abcdef cellar")
        answer = self.status(log, machine="attic")
        assert rows(answer)["machine"] == "attic; cellar is on standby"
        answer = self.status(log, machine="attic", next_poll=AN_HOUR_AGO)
        assert data_of(answer)["standby"] == "cellar"
        assert "cellar is on standby" in rows(answer)["health"]

    def test_an_empty_log(self, log: IndexedLog) -> None:
        answer = log.shown(status.status(log.store, log.second(log.now), 60, NOWHERE))
        assert answer.code == 1
        assert list(rows(answer)) == ["health", "last poll", "login", "Redis", "version"]
        assert (rows(answer)["last poll"], rows(answer)["login"]) == ("never", "unknown")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"login": "needed"}, "needed"),
            ({"login_valid_until": "2026-11-20T10:00:00.000Z"}, "expired on 2026-11-20 11:00"),
        ],
    )
    def test_a_new_login_is_needed(self, log: IndexedLog, changes: dict[str, str], words: str) -> None:
        answer = self.status(log, **changes)
        assert (answer.code, rows(answer)["login"], data_of(answer)["login"]) == (1, words, "needed")

    def test_redis_cannot_be_reached(self, log: IndexedLog) -> None:
        answer = log.shown(status.status(Archive("redis://127.0.0.1:1"), log.second(log.now), 60, NOWHERE))
        assert answer.code == 1
        (line,) = texts(answer)
        assert line.startswith("NOT WELL: Redis at 127.0.0.1:1 cannot be reached (Connection refused)")
        expected = {"well": False, "problems": [line.removeprefix("NOT WELL: ")], "redis": None}
        assert data_of(answer).items() >= {**expected, "login_valid_until": None}.items()
        assert data_of(answer).keys() == data_of(self.status(log)).keys()

    @pytest.mark.parametrize(
        ("found", "words"),
        [("1111 2222", ""), (None, "lacks the log"), ("", "lacks the log"), ("3333", "another")],
    )
    def test_a_redis_without_the_log_of_the_state_folder(
        self, log: IndexedLog, tmp_path: Path, found: str | None, words: str
    ) -> None:
        outbox = Outbox(tmp_path / OUTBOX_FILE, lambda: 0.0)
        outbox.set_note(LOG_ID_NOTE, "2222")
        outbox.close()
        write_status(log, {} if found is None else {"log_id": found})
        well = status.status(log.store, log.second(log.now), 60, tmp_path)
        assert (well.well, len(well.problems)) == (not words, int(bool(words)))
        assert all(words in problem and "spotify-logger move" in problem for problem in well.problems)

    def test_a_second_copy_is_mentioned_once_it_is_old(self, log: IndexedLog, tmp_path: Path) -> None:
        begun = play_now(log)
        write_status(log, {})
        path = tmp_path / "plays" / "2026-11.jsonl.gz"
        path.parent.mkdir()
        path.touch()
        for days, shown in ((2, None), (4, "nothing since 2026-11-18 19:00: see the logger's log")):
            os.utime(path, (begun - days * 86_400,) * 2)
            found = status.status(log.store, log.second(log.now), 60, tmp_path)
            assert (found.well, rows(log.shown(found)).get("copy")) == (True, shown)

    def test_gaps_of_thirty_days(self, log: IndexedLog) -> None:
        log.gap("2026-10-12 19:03:20", "2026-10-23 19:03:19")  # ended earlier
        log.gap("2026-10-13 19:03:20", "2026-10-23 20:53:20", "not running")  # began earlier
        log.gap("2026-11-22 10:00", "2026-11-22 11:50")
        answer = self.status(log)
        assert answer.code == 0
        assert rows(answer)["gaps"] == (
            "2 in 30 days, 2 h 40 min in all; the last 2026-11-22 10:00 to 11:50, offline"
        )
        gaps: Any = data_of(answer)["gaps_30_days"]
        bounds = {"from": "2026-11-22T09:00:00.000Z", "to": "2026-11-22T10:50:00.000Z"}
        assert gaps[1:] == [{**bounds, "reason": "offline"}]

    def test_the_current_gap(self, log: IndexedLog) -> None:
        last_poll = to_iso(log.second("2026-11-22 18:48") * 1000)
        log.gap("2026-11-22 10:00", "2026-11-22 11:00", "suspended")
        log.gap("2026-11-22 18:48", "2026-11-22 18:55", "Spotify down")  # the logger records it meanwhile
        answer = self.status(log, last_poll=last_poll)
        assert rows(answer)["no data"] == "since 2026-11-22 18:48, Spotify down"
        data: dict[str, Any] = data_of(answer)
        assert (data["blind_since"], len(data["gaps_30_days"])) == (last_poll, 1)

    @pytest.mark.parametrize(
        ("outbox", "words"),
        [
            ("1", "1 play not yet in Redis"),
            ("1000", "1,000 plays not yet in Redis"),
            ("many", None),
        ],
    )
    def test_waiting_plays(self, log: IndexedLog, outbox: str, words: str | None) -> None:
        answer = self.status(log, outbox=outbox)
        assert (answer.code, rows(answer).get("outbox")) == (0, words)

    def test_a_redis_that_is_not_saved_to_disk(self, log: IndexedLog) -> None:
        answer = self.status(log, persistence=FORGETS)
        assert answer.code == 1
        assert rows(answer)["health"].startswith("NOT WELL: this Redis loses everything when it restarts")
        assert rows(answer)["Redis"].endswith(", not saved to disk")

    @pytest.mark.parametrize("text", ["\x1b[31m" + "9" * 50, "9999-12-31T23:59:59Z"])
    def test_a_malformed_status(self, log: IndexedLog, text: str) -> None:
        assert self.status(log, **dict.fromkeys(WELL, text)).code == 1


NOTHING_PLAYS = {"now": None, "unknown_since": None, "problem": None}


class TestNowCommand:
    def now(self, log: IndexedLog, after: int = 0) -> Answer:
        now = log.second(log.now) + after
        return log.shown(status.now_playing(log.store, now, 60, NOWHERE), now)

    def assert_unknown(self, answer: Answer, since: str | None, why: str) -> None:
        data: dict[str, Any] = data_of(answer)
        assert (answer.code, data["now"], data["unknown_since"]) == (1, None, since)
        assert why in data["problem"]
        assert why in texts(answer)[0]

    def test_nothing(self, log: IndexedLog) -> None:
        log.play(QUO, "2026-11-22 19:00", 200, SKIPPED)
        write_status(log, {})
        answer = self.now(log)
        assert (answer.code, answer.data, answer.page) == (0, NOTHING_PLAYS, ["Nothing is playing."])

    @pytest.mark.parametrize(("after", "why"), [(65, "late"), (300, "is not running")])
    def test_the_logger_is_gone(self, log: IndexedLog, after: int, why: str) -> None:
        play_now(log)
        write_status(log, {})
        self.assert_unknown(self.now(log, after), WELL["last_poll"], why)

    def test_the_logger_was_stopped(self, log: IndexedLog) -> None:
        play_now(log)
        write_status(log, {"state": "stopped", "next_poll": ""})
        self.assert_unknown(self.now(log), WELL["last_poll"], "is not running")

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"blind": "offline"}, "offline"),
            ({"blind": "login dead", "login": "needed"}, "login has expired"),
            (
                {"blind": "login dead", "login": "needed", "state": f"other account: {LOGIN_ADVICE}"},
                "other account",
            ),
            ({"last_poll": "2026-11-22T17:50:00.000Z"}, "not answering"),  # as 0.5.0 writes it
        ],
    )
    def test_spotify_does_not_answer(self, log: IndexedLog, changes: dict[str, str], why: str) -> None:
        last_poll = changes.get("last_poll", "2026-11-22T18:01:08.000Z")
        write_status(log, {"last_poll": last_poll, **changes})
        self.assert_unknown(self.now(log), last_poll or None, why)

    @pytest.mark.parametrize(
        ("changes", "after", "state", "position"),
        [
            ({}, 25, "playing", "3:45/5:45"),
            ({}, -600, "playing", "3:20/5:45"),  # this machine's clock is behind
            ({"playing": 0}, 25, "paused", "3:20/5:45"),
            ({"progress_ms": ""}, 25, "playing", ""),
        ],
    )
    def test_the_position_advances(
        self, log: IndexedLog, changes: dict[str, str | int], after: int, state: str, position: str
    ) -> None:
        play_now(log, **changes)
        answer = self.now(log, after)
        data: Any = data_of(answer)
        assert (data["now"]["name"], data["now"]["playing"]) == ("Veridis Quo", state == "playing")
        (table,) = answer.page
        assert table.rows == [(state, "Daft Punk – Veridis Quo", position, "Kitchen")]  # type: ignore[union-attr]
