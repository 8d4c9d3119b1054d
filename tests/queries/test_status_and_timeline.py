from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger import __version__
from spotify_logger.core.redis_keys import GAPS, STANDBY, row_value
from spotify_logger.core.times import to_iso
from spotify_logger.queries import count as counting
from spotify_logger.queries import status, timeline
from spotify_logger.queries.question import Question
from spotify_logger.report.blocks import Table
from spotify_logger.storage.durability import Persistence
from spotify_logger.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.report.blocks import Answer

NOW = datetime(2026, 11, 22, 18, 3, 20, tzinfo=UTC).timestamp()


def recent(store: Store, number: int) -> Answer:
    return timeline.recent(store, Question(NOW, limit=number))


def count(store: Store, text: str) -> Answer:
    return counting.count(store.archive(), Question(NOW), text)


START = int(NOW) - 200
VERIDIS = ("track:v", "Veridis Quo", "Daft Punk", "Discovery", "GBDUW0000061")
VERIDIS_DELUXE = ("track:w", "Veridis Quo", "Daft Punk", "Discovery (Deluxe)", "GBDUW0000061")
AERODYNAMIC = ("track:a", "Aérodynamic", "Daft Punk", "Discovery", "GBDUW0000055")
COVER = ("track:c", "Veridis Quo (Piano)", "Łukasz Świątek, Tyler, The Creator", "Nocturnes", "")
VARIATION_1 = ("track:1", "Variation 1", "Glenn Gould", "Goldberg Variations", "")
VARIATION_10 = ("track:10", "Variation 10", "Glenn Gould", "Goldberg Variations", "")
EPISODE = ("episode:e", "On Daft Punk", "", "A Show", "")

Item = tuple[str, str, str, str, str]


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour east of Greenwich."""
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store(redis_url, utc=lambda: NOW)
    yield store
    store.close()


def put(store: Store, item: Item, second: int, ms_played: int, **more: str | int) -> None:
    """Log a play as the poller does."""
    key, name, artists, album, isrc = item
    about = {"name": name, "artists": artists, "album": album}
    fields: dict[str, str | int] = {
        **{field: text for field, text in about.items() if text},
        "uri": f"spotify:{key}",
        "duration_ms": 345000,
        "started_at": to_iso(second * 1000),
        "ended_at": to_iso(second * 1000 + ms_played),
        "ms_played": ms_played,
        "device_name": "Kitchen",
        "playing": 1,
        "progress_ms": ms_played,
    }
    with store.batch() as batch:
        end = more.get("end_reason")
        batch.write_play(second, {**fields, **more}, row_value(key, ms_played, str(end) if end else None))
        batch.write_catalog(key, {**about, "isrc": isrc})


def put_open(store: Store, **more: str | int) -> None:
    put(store, VERIDIS, START, 200_000, **more)
    with store.batch() as batch:
        batch.set_now_playing(START, 90)


def put_gap(store: Store, begin: int, end: int, reason: str = "offline") -> None:
    with store.batch() as batch:
        batch.write_gap(begin, {"from": to_iso(begin * 1000), "to": to_iso(end * 1000), "reason": reason})


def rows(answer: Answer) -> list[tuple[str, ...]]:
    """All cells of the answer's tables, and its lines."""
    found: list[tuple[str, ...]] = []
    for block in answer.page:
        found += [tuple(row) for row in block.rows] if isinstance(block, Table) else [(str(block),)]
    return found


def named(answer: Answer) -> dict[str, str]:
    """The values of a table of names and values."""
    return {name: value for name, value in rows(answer)}  # noqa: C416 - its rows have two cells, but not by type


WELL = {
    "last_poll": "2026-11-22T18:03:08.000Z",
    "next_poll": "2026-11-22T18:03:38.000Z",
    "login_valid_until": "2027-05-14T10:00:00.000Z",
    "state": "playing Daft Punk – Veridis Quo, Kitchen",
    "requests_24h": "1234",
    "outbox": "0",
    "outbox_trouble": "",
    "persistence": "append-only file",
    "version": __version__,
    "pid": "77",
}
KNOWN = {"now": None, "unknown_since": None, "problem": None}
DAY, HOUR, MINUTE = 86_400, 3600, 60
LAST_POLL = int(NOW) - 12


class TestStatus:
    def status(self, store: Store, **changes: str) -> Answer:
        with store.batch() as batch:
            batch.write_status({**WELL, **changes})
        return status.status(store, NOW, max_poll_interval=60)

    def test_all_is_well(self, store: Store) -> None:
        put_open(store)
        answer = self.status(store)
        assert answer.code == 0
        assert rows(answer) == [
            ("health", "well"),
            ("doing", "playing Daft Punk – Veridis Quo, Kitchen"),
            ("last poll", "12 s ago, 2026-11-22 19:03"),
            ("last play", "2026-11-22 19:00 Daft Punk – Veridis Quo, 3:20/5:45"),
            ("login", "valid for 172 days, until 2027-05-14 11:00"),
            ("requests", "1,234 in 24 hours"),
            ("Redis", f"{store.version()} at {store.where}, append-only file"),
            ("version", __version__),
        ]

    def test_for_programs(self, store: Store) -> None:
        put_open(store)
        data = self.status(store).data
        assert isinstance(data, dict)
        assert data.pop("last_play")["key"] == f"listening:{START}"
        assert data == {
            "well": True,
            "problems": [],
            "state": "playing Daft Punk – Veridis Quo, Kitchen",
            "last_poll": "2026-11-22T18:03:08.000Z",
            "next_poll": "2026-11-22T18:03:38.000Z",
            "blind_since": None,
            "gaps_30_days": [],
            "login": None,
            "login_valid_until": "2027-05-14T10:00:00.000Z",
            "requests_24h": 1234,
            "outbox": 0,
            "outbox_trouble": "",
            "redis": {
                "address": store.where,
                "version": store.version(),
                "persistence": "append-only file",
            },
            "machine": None,
            "standby": None,
            "running_here": None,
            "version": __version__,
            "command_version": __version__,
            "pid": 77,
        }

    def test_what_is_wrong_comes_first(self, store: Store) -> None:
        answer = self.status(store, next_poll="2026-11-22T17:03:38.000Z", login="needed", version="0.0.1")
        assert answer.code == 1
        assert rows(answer)[0] == (
            "health",
            "NOT WELL: the logger is not running: start it, or check its log",
        )
        assert rows(answer)[-1] == ("version", f"0.0.1 is running, this command is {__version__}")

    def test_another_machine_stands_by(self, store: Store, redis_url: str) -> None:
        with store.batch() as batch:
            batch.write_status({"machine": "attic", "fence": 3})
        with redis.Redis.from_url(redis_url) as client:
            client.set(STANDBY, "0123456789abcdef cellar")
        assert named(self.status(store))["machine"] == "attic; cellar is on standby"
        assert self.status(store).data["standby"] == "cellar"  # type: ignore[index]

    def test_an_empty_log(self, store: Store) -> None:
        answer = status.status(store, NOW, 60)
        assert answer.code == 1
        assert [name for name, _ in rows(answer)] == ["health", "last poll", "login", "Redis", "version"]
        assert rows(answer)[1:3] == [("last poll", "never"), ("login", "unknown")]

    def test_an_expired_login(self, store: Store) -> None:
        answer = self.status(store, login_valid_until="2026-11-20T10:00:00.000Z")
        assert answer.code == 1
        assert ("login", "expired on 2026-11-20 11:00") in rows(answer)

    def test_redis_is_away(self) -> None:
        answer = status.status(Store("redis://127.0.0.1:1"), NOW, 60)
        assert answer.code == 1
        (line,) = rows(answer)
        assert line[0].startswith("NOT WELL: Redis at 127.0.0.1:1 cannot be reached (Connection refused)")
        data = answer.data
        assert isinstance(data, dict)
        known = {"well": False, "problems": [line[0].removeprefix("NOT WELL: ")], "redis": None}
        assert data.items() >= {**known, "command_version": __version__, "login_valid_until": None}.items()

    def test_the_fields_are_the_same_when_redis_is_away(self, store: Store) -> None:
        away = status.status(Store("redis://127.0.0.1:1"), NOW, 60).data
        there = self.status(store).data
        assert isinstance(away, dict)
        assert isinstance(there, dict)
        assert away.keys() == there.keys()

    @pytest.mark.parametrize(
        "changes", [{"login": "needed"}, {"login_valid_until": "2026-11-20T10:00:00.000Z"}]
    )
    def test_a_login_that_is_needed(self, store: Store, changes: dict[str, str]) -> None:
        answer = self.status(store, **changes)
        assert answer.data["login"] == "needed"  # type: ignore[index]
        assert "days" not in named(answer)["login"]

    def test_another_logger_stands_by_for_one_that_is_silent(self, store: Store, redis_url: str) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.set(STANDBY, "0123456789abcdef cellar")
        answer = self.status(store, next_poll="2026-11-22T17:03:38.000Z", machine="attic")
        assert answer.code == 1
        assert "cellar is on standby" in rows(answer)[0][1]
        assert named(answer)["machine"] == "cellar is on standby"

    def test_gaps_of_thirty_days(self, store: Store) -> None:
        put_gap(store, int(NOW) - 41 * DAY, int(NOW) - 30 * DAY - 1)
        put_gap(store, int(NOW) - 40 * DAY, int(NOW) - 30 * DAY + 50 * MINUTE, "not running")
        assert named(self.status(store))["gaps"] == (
            "1 in 30 days, 50 min in all; the last 2026-10-13 19:03 to 2026-10-23 19:53, not running"
        )
        put_gap(store, START - 9 * HOUR, START - 7 * HOUR - 10 * MINUTE)
        answer = self.status(store)
        assert answer.code == 0
        assert named(answer)["gaps"] == (
            "2 in 30 days, 2 h 40 min in all; the last 2026-11-22 10:00 to 11:50, offline"
        )
        data = answer.data
        assert isinstance(data, dict)
        assert data["gaps_30_days"] == [
            {
                "from": "2026-10-13T18:03:20.000Z",
                "to": "2026-10-23T18:53:20.000Z",
                "reason": "not running",
            },
            {"from": "2026-11-22T09:00:00.000Z", "to": "2026-11-22T10:50:00.000Z", "reason": "offline"},
        ]

    @pytest.mark.parametrize("after", [300, -600])
    def test_a_passing_silence_is_no_gap(self, store: Store, after: int) -> None:
        with store.batch() as batch:
            batch.write_status(WELL)
        answer = status.status(store, LAST_POLL + after, 60)
        assert "blind" not in named(answer)

    def test_a_gap_that_is_under_way(self, store: Store) -> None:
        last_poll = to_iso((LAST_POLL - 900) * 1000)
        put_gap(store, START - 9 * HOUR, START - 8 * HOUR, "suspended")
        answer = self.status(store, last_poll=last_poll)
        assert named(answer)["blind"] == "since 2026-11-22 18:48"
        put_gap(store, LAST_POLL - 900, LAST_POLL - 500, "Spotify down")  # the logger says how far it has got
        answer = self.status(store, last_poll=last_poll)
        shown = named(answer)
        assert shown["blind"] == "since 2026-11-22 18:48, Spotify down"
        assert shown["gaps"] == "1 in 30 days, 1 h in all; the last 2026-11-22 10:00 to 11:00, suspended"
        data = answer.data
        assert isinstance(data, dict)
        assert data["blind_since"] == last_poll
        assert [gap["reason"] for gap in data["gaps_30_days"]] == ["suspended"]

    def test_a_gap_ends_with_the_next_answer(self, store: Store) -> None:
        put_gap(store, LAST_POLL - 900, LAST_POLL + 1)  # its end is rounded up
        shown = named(self.status(store))
        assert "blind" not in shown
        assert shown["gaps"].startswith("1 in 30 days, 15 min in all")

    @pytest.mark.parametrize(
        ("outbox", "shown"),
        [
            ("0", None),
            ("1", "1 play not yet safely stored in Redis"),
            ("1000", "1,000 plays not yet safely stored in Redis"),
            ("many", None),
        ],
    )
    def test_plays_that_wait(self, store: Store, outbox: str, shown: str | None) -> None:
        answer = self.status(store, outbox=outbox)
        assert answer.code == 0
        assert named(answer).get("outbox") == shown

    def test_a_redis_that_forgets(self, store: Store) -> None:
        answer = self.status(store, persistence=Persistence(saves=False).words)
        assert answer.code == 1
        assert rows(answer)[0][1].startswith("NOT WELL: this Redis loses everything when it restarts")
        assert named(answer)["Redis"] == f"{store.version()} at {store.where}, not saved to disk"

    @pytest.mark.parametrize("persistence", [Persistence().words, Persistence(aof=True).words])
    def test_a_redis_that_does_not(self, store: Store, persistence: str) -> None:
        answer = self.status(store, persistence=persistence)
        assert answer.code == 0
        assert named(answer)["Redis"].endswith(f", {persistence}")

    def test_a_disk_that_refuses(self, store: Store) -> None:
        answer = self.status(store, outbox_trouble="/x/outbox.sqlite: \x1b[31m disk full")
        assert answer.code == 1
        assert rows(answer)[0] == (
            "health",
            (
                "NOT WELL: /x/outbox.sqlite: \ufffd[31m disk full "
                "(until that is fixed, plays are kept in memory only)"
            ),
        )

    def test_garbage(self, store: Store) -> None:
        garbage = dict.fromkeys(WELL, "\x1b[31m" + "9" * 50)
        assert self.status(store, **garbage).code == 1
        assert self.status(store, **dict.fromkeys(WELL, "9999-12-31T23:59:59Z")).code == 1


class TestNow:
    def test_nothing(self, store: Store) -> None:
        put(store, VERIDIS, START, 200_000, end_reason="skipped")
        self.write_status(store)
        answer = status.now_playing(store, NOW, 60)
        assert (answer.code, answer.data, rows(answer)) == (0, KNOWN, [("Nothing is playing.",)])

    @staticmethod
    def write_status(store: Store, **changes: str) -> None:
        with store.batch() as batch:
            batch.write_status({**WELL, **changes})

    def assert_unknown(self, answer: Answer, since: str | None, why: str) -> None:
        data = answer.data
        assert isinstance(data, dict)
        assert (answer.code, data["now"], data["unknown_since"]) == (1, None, since)
        assert why in data["problem"]
        assert why in rows(answer)[0][0]

    def test_the_logger_never_ran(self, store: Store) -> None:
        self.assert_unknown(status.now_playing(store, NOW, 60), None, "never run")

    @pytest.mark.parametrize(("after", "why"), [(65, "late"), (300, "is not running")])
    @pytest.mark.parametrize("shown", [False, True])
    def test_the_logger_is_gone(self, store: Store, after: int, why: str, *, shown: bool) -> None:
        """Also where the key of what plays has lost its expiry."""
        if shown:
            put_open(store)
        self.write_status(store)
        self.assert_unknown(status.now_playing(store, NOW + after, 60), WELL["last_poll"], why)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"blind": "offline"}, "offline"),
            ({"blind": "login dead", "login": "needed"}, "login has expired"),
            ({"last_poll": "2026-11-22T17:50:00.000Z"}, "not answering"),  # as 0.5.0 writes it
            ({"last_poll": ""}, "not answering"),
        ],
    )
    def test_spotify_does_not_answer_the_logger(
        self, store: Store, changes: dict[str, str], why: str
    ) -> None:
        seen = changes.get("last_poll", "2026-11-22T18:01:08.000Z")
        self.write_status(store, **{"last_poll": seen, **changes})
        self.assert_unknown(status.now_playing(store, NOW, 60), seen or None, why)

    def test_one_unanswered_poll_is_no_outage(self, store: Store) -> None:
        self.write_status(store, blind="Spotify down")
        assert status.now_playing(store, NOW, 60).code == 0

    @pytest.mark.parametrize(
        ("changes", "after", "state", "position"),
        [
            ({}, 0, "playing", "3:20/5:45"),
            ({}, 25, "playing", "3:45/5:45"),
            ({}, 600, "playing", "5:45/5:45"),
            ({}, -600, "playing", "3:20/5:45"),  # this machine's clock is behind
            ({"playing": 0}, 25, "paused", "3:20/5:45"),
            ({"duration_ms": "long"}, 25, "playing", "3:45"),
            ({"progress_ms": ""}, 25, "playing", ""),
            ({"ended_at": ""}, 25, "playing", "3:20/5:45"),
        ],
    )
    def test_the_position_goes_on(
        self, store: Store, changes: dict[str, str | int], after: int, state: str, position: str
    ) -> None:
        put_open(store, **changes)
        answer = status.now_playing(store, NOW + after, 60)
        assert rows(answer) == [(state, "Daft Punk – Veridis Quo", position, "Kitchen")]

    def test_for_programs(self, store: Store) -> None:
        put_open(store, explicit=0)
        assert status.now_playing(store, NOW + 5, 60).data == {
            "now": {
                "key": f"listening:{START}",
                "name": "Veridis Quo",
                "artists": "Daft Punk",
                "album": "Discovery",
                "uri": "spotify:track:v",
                "duration_ms": 345000,
                "started_at": "2026-11-22T18:00:00.000Z",
                "ended_at": "2026-11-22T18:03:20.000Z",
                "ms_played": 200000,
                "device_name": "Kitchen",
                "playing": True,
                "explicit": False,
                "progress_ms": 200000,
                "position_ms": 205000,
            },
            "unknown_since": None,
            "problem": None,
        }

    def test_a_key_that_leads_nowhere(self, store: Store) -> None:
        with store.batch() as batch:
            batch.set_now_playing(START, 90)
            batch.write_status(WELL)
        assert status.now_playing(store, NOW, 60).data == KNOWN


class TestRecent:
    def test_newest_first_with_what_became_of_them(self, store: Store) -> None:
        put_open(store)
        put(store, AERODYNAMIC, START - 300, 12_000, end_reason="skipped")
        put(store, VERIDIS, START - 700, 345_000, end_reason="trackdone", device_name="")
        put(store, VERIDIS, START - 86_400, 1_000, end_reason="stopped")
        put(store, VERIDIS, START - 86_401, 1_000, end_reason="unknown")
        put(store, EPISODE, START - 86_402, 3_700_000, duration_ms="?")
        put(store, VERIDIS, START - 86_403, 1_000, end_reason="eaten")
        assert rows(recent(store, 7)) == [
            ("2026-11-22 19:00", "Daft Punk – Veridis Quo", "3:20/5:45", "playing", "Kitchen"),
            ("2026-11-22 18:55", "Daft Punk – Aérodynamic", "0:12/5:45", "skipped", "Kitchen"),
            ("2026-11-22 18:48", "Daft Punk – Veridis Quo", "5:45/5:45", "finished", ""),
            ("2026-11-21 19:00", "Daft Punk – Veridis Quo", "0:01/5:45", "stopped", "Kitchen"),
            ("2026-11-21 18:59", "Daft Punk – Veridis Quo", "0:01/5:45", "unknown", "Kitchen"),
            ("2026-11-21 18:59", "A Show – On Daft Punk", "1:01:40", "open", "Kitchen"),
            ("2026-11-21 18:59", "Daft Punk – Veridis Quo", "0:01/5:45", "eaten", "Kitchen"),
        ]
        assert len(rows(recent(store, 2))) == 2

    def test_for_programs(self, store: Store) -> None:
        put(store, VERIDIS, START, 200_000, end_reason="skipped", device_volume="loud", shuffle_state=1)
        data = recent(store, 9).data
        assert isinstance(data, list)
        (play,) = data
        assert play["key"] == f"listening:{START}"
        assert play["ms_played"] == 200_000
        assert play["shuffle_state"] is True
        assert play["device_volume"] is None

    def test_a_paused_play(self, store: Store) -> None:
        put_open(store, playing=0)
        assert rows(recent(store, 1))[0][3] == "paused"

    def test_what_was_found_later(self, store: Store) -> None:
        put(store, VERIDIS, START, 200_000, end_reason="trackdone", source="backfill")
        put(store, VERIDIS, START - 400, 200_000, end_reason="unknown", source="backfill")
        put(store, VERIDIS, START - 800, 200_000, end_reason="trackdone", source="live")
        answer = recent(store, 9)
        assert [row[3] for row in rows(answer)] == ["found later", "found later", "finished"]
        assert isinstance(answer.data, list)
        assert [play["source"] for play in answer.data] == ["backfill", "backfill", "live"]

    def test_gaps_stand_between_the_plays(self, store: Store) -> None:
        put_open(store)
        put_gap(store, START - HOUR, START - 100)
        put(store, AERODYNAMIC, START - 2 * HOUR, 212_000, end_reason="trackdone")
        put_gap(store, START - 3 * HOUR, START - 2 * HOUR + 1, "rate limited")
        put_gap(store, START - 4 * HOUR, START - 2 * HOUR, "before all that is shown")
        put(store, VERIDIS, START - 5 * HOUR, 345_000, end_reason="trackdone")
        answer = recent(store, 2)
        assert rows(answer) == [
            ("2026-11-22 19:00", "Daft Punk – Veridis Quo", "3:20/5:45", "playing", "Kitchen"),
            ("2026-11-22 18:00", "(offline for 58 min)", "", "gap", ""),
            ("2026-11-22 17:00", "Daft Punk – Aérodynamic", "3:32/5:45", "finished", "Kitchen"),
            ("2026-11-22 16:00", "(rate limited for 1 h)", "", "gap", ""),
        ]
        data = answer.data
        assert isinstance(data, list)
        assert [play.get("name") for play in data] == ["Veridis Quo", None, "Aérodynamic", None]
        assert data[1] == {
            "gap": {
                "from": "2026-11-22T17:00:00.000Z",
                "to": "2026-11-22T17:58:20.000Z",
                "reason": "offline",
            }
        }

    def test_a_gap_that_is_not_over_comes_first(self, store: Store) -> None:
        put(store, VERIDIS, START, 200_000, end_reason="unknown")
        put_gap(store, START, START + HOUR, "login dead")
        assert [row[3] for row in rows(recent(store, 9))] == ["gap", "unknown"]

    def test_garbage_in_the_place_of_gaps(self, store: Store, redis_url: str) -> None:
        put_open(store)
        hostile = f"{START + 600} \x1b[31moffline"
        with redis.Redis.from_url(redis_url) as client:
            client.hset(GAPS, mapping={START: hostile, "soon": f"{START} offline", START - 9: "offline"})
            assert len(rows(recent(store, 9))) == 1
            client.delete(GAPS)
            client.set(GAPS, "another type")
            assert len(rows(recent(store, 9))) == 1

    def test_an_empty_log(self, store: Store) -> None:
        put_gap(store, START, START + HOUR)
        answer = recent(store, 9)
        assert (answer.code, answer.data, rows(answer)) == (0, [], [("Nothing has been logged yet.",)])

    def test_a_play_whose_hash_is_gone(self, store: Store) -> None:
        with store.batch() as batch:
            batch.write_play(START, {}, "track:v 1000")
        assert rows(recent(store, 9)) == [("2026-11-22 19:00", "untitled", "?", "open", "")]


class TestCount:
    @pytest.fixture(autouse=True)
    def history(self, store: Store) -> None:
        put(store, VERIDIS, START, 200_000)
        put(store, VERIDIS, START - 400, 29_999, end_reason="skipped")
        put(store, VERIDIS_DELUXE, START - 40 * 86_400, 345_000)
        put(store, AERODYNAMIC, START - 800, 100_000)
        put(store, COVER, START - 1200, 100_000)
        put(store, VARIATION_1, START - 1600, 50_000)
        put(store, VARIATION_10, START - 2000, 60_000)
        put(store, VARIATION_10, START - 2400, 60_000)
        put(store, EPISODE, START - 3600, 1_800_000)

    def found(self, store: Store, text: str) -> list[str]:
        data = count(store, text).data
        assert isinstance(data, dict)
        return [track["name"] for track in data["tracks"]]

    def test_one_recording_under_two_ids(self, store: Store) -> None:
        assert rows(count(store, "veridis QUO")) == [
            ("what", "Daft Punk – Veridis Quo"),
            ("plays", "2"),
            ("shorter", "1"),
            ("skipped", "1"),
            ("heard", "9:34"),
            ("rank", "1 of 5 tracks"),
            ("first", "2026-10-13 19:00"),
            ("last", "2026-11-22 19:00"),
            ("Not counted: 1 track matching less closely.",),
        ]

    def test_for_programs(self, store: Store) -> None:
        sums = {
            "plays": 2,
            "shorter": 1,
            "skips": 1,
            "heard_ms": 574_999,
            "first": "2026-10-13T18:00:00.000Z",
            "last": "2026-11-22T18:00:00.000Z",
        }
        named = {"name": "Veridis Quo", "artists": "Daft Punk", "album": "Discovery (Deluxe)"}
        assert count(store, "Veridis Quo").data == {
            "text": "Veridis Quo",
            "whole": True,
            "at_least_ms": 30_000,
            "from": None,
            "to": None,
            **sums,
            "ranked": 5,
            "unseen": {"gaps": 0, "seconds": 0},
            "tracks": [{"keys": ["track:w", "track:v"], **named, **sums, "rank": 1}],
        }

    def test_several_tracks_are_listed_by_plays(self, store: Store) -> None:
        assert rows(count(store, "goldberg variations")) == [
            ("what", "2 tracks"),
            ("plays", "3"),
            ("shorter", "0"),
            ("skipped", "0"),
            ("heard", "2:50"),
            ("first", "2026-11-22 18:20"),
            ("last", "2026-11-22 18:33"),
            ("Glenn Gould – Variation 10", "2", "2:00", "1", "Goldberg Variations"),
            ("Glenn Gould – Variation 1", "1", "0:50", "3", "Goldberg Variations"),
        ]

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("Variation 1", ["Variation 1"]),
            ("variation", ["Variation 10", "Variation 1"]),
            ("daft punk", ["Veridis Quo", "Aérodynamic"]),
            ("daft", ["On Daft Punk", "Veridis Quo", "Aérodynamic"]),
            ("discovery", ["Veridis Quo", "Aérodynamic"]),
            ("AERODYNAMIC", ["Aérodynamic"]),
            ("lukasz swiatek", ["Veridis Quo (Piano)"]),
            ("tyler, the creator", ["Veridis Quo (Piano)"]),
            ("daft punk veridis quo", ["Veridis Quo"]),
            ("a show", ["On Daft Punk"]),
            ("veridis quo daft punk", ["Veridis Quo"]),
            ("discovery aéro punk", ["Aérodynamic"]),
            ("variation-10, gould", ["Variation 10"]),
            ("quo quo veridis tyler", ["Veridis Quo (Piano)"]),
            ("daft veridis nothing", []),
            ("- ,", []),
            ("", []),
            ("[", []),
            (".*", []),
        ],
    )
    def test_what_matches(self, store: Store, text: str, names: list[str]) -> None:
        assert sorted(self.found(store, text)) == sorted(names)

    def test_nothing_matches(self, store: Store) -> None:
        answer = count(store, "nothing like it")
        assert (answer.code, rows(answer)) == (0, [("No play matches “nothing like it”.",)])

    def test_only_skips(self, store: Store) -> None:
        put(store, ("track:s", "Short", "X", "Y", ""), START - 5000, 5_000)
        counted = rows(count(store, "short"))
        assert counted[1:] == [("plays", "0"), ("shorter", "1"), ("skipped", "0"), ("heard", "0:05")]

    def test_many_tracks_are_cut_short(self, store: Store) -> None:
        for number in range(13):
            put(store, (f"track:n{number}", f"Number {number}", "X", "Y", ""), START - 6000 - number, 40_000)
        lines = rows(count(store, "number"))
        assert len(lines) == 6 + 1 + 10 + 1
        assert lines[-1] == ("and 3 more tracks",)

    def test_gaps_make_it_at_least_so_many(self, store: Store) -> None:
        begun = START - 40 * DAY - 100  # the first play
        put(store, AERODYNAMIC, begun, 5_000)
        put_gap(store, begun - 2 * HOUR, begun)
        first = rows(count(store, "aerodynamic"))
        assert first[-1][0] == "last"
        put_gap(store, begun - HOUR, begun + 10 * MINUTE)
        put_gap(store, START - 8 * HOUR, START - 6 * HOUR)
        answer = count(store, "aerodynamic")
        assert rows(answer) == [*first, ("At least: 2 gaps (2 h 10 min) were not observed.",)]
        assert isinstance(answer.data, dict)
        assert answer.data["unseen"] == {"gaps": 2, "seconds": 2 * HOUR + 10 * MINUTE}

    def test_nothing_matches_and_gaps(self, store: Store) -> None:
        put_gap(store, START - 8 * HOUR, START - 6 * HOUR)
        answer = count(store, "nothing like it")
        assert len(rows(answer)) == 1
        assert isinstance(answer.data, dict)
        assert answer.data["unseen"] == {"gaps": 1, "seconds": 2 * HOUR}

    def test_an_empty_log(self, store: Store, redis_url: str) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        put_gap(store, START - 8 * HOUR, START - 6 * HOUR)
        answer = count(store, "veridis")
        assert isinstance(answer.data, dict)
        assert answer.data["unseen"] == {"gaps": 0, "seconds": 0}

    def test_plays_that_the_catalogue_does_not_know(self, store: Store) -> None:
        with store.batch() as batch:
            batch.write_play(START - 9, {}, "track:unknown 50000")
        assert self.found(store, "unknown") == []
