from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.matching import identity
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.core.times import to_iso
from spotify_logger.storage import outbox as room
from spotify_logger.storage.outbox import DISK_RETRY, MAX_KEPT_PLAYS, Outbox, OutboxGap
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
NIGHT = {"from": "2026-11-22T01:00:00.000Z", "to": "2026-11-22T02:00:00.000Z", "reason": "offline"}
FULL = "database or disk is full"
WHAT_NEXT = "plays wait in memory, and the disk is tried again every minute"
READ_ONLY = "attempt to write a readonly database"


def play(
    name: str, start: float = 0, heard: int = 30, *, reason: str | None = None, source: str = "live"
) -> Play:
    """A play that starts so many seconds after six o'clock."""
    catalog: dict[str, str | int] = {"name": name, "duration_ms": 200_000, "artists": "Łódź 日本 \ud83d"}
    item = Item(f"track:{name}", f"spotify:track:{name}", 200_000, catalog)
    begun = round((SECOND + start) * 1000)
    fields = {"uri": item.uri, "type": "track", "id": name, "device_name": "Desk"}
    return Play(
        int(SECOND + start),
        item,
        begun,
        begun + heard * 1000,
        heard * 1000,
        reason,
        source,
        {**fields, "duration_ms": 200_000, "playing": 1},
    )


def over(name: str, start: float = 0, heard: int = 30) -> Play:
    return play(name, start, heard, reason="skipped")


class Rig:
    """An outbox and its clock, and what another process would find."""

    def __init__(self, path: Path, connect: Callable[[str], sqlite3.Connection] | None = None) -> None:
        self.path = path
        self.clock = VirtualClock(SECOND)
        self.outbox = Outbox(path, self.clock.monotonic, connect)
        self._others = [self.outbox]

    def another(self) -> Outbox:
        """Another process's, after this one died without a word."""
        self._others.append(Outbox(self.path, self.clock.monotonic))
        return self._others[-1]

    def on_disk(self) -> dict[str, int]:
        """The plays that are in the file: name, and seconds heard."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as database:
            rows = database.execute("SELECT uri, fields ->> 'ms_played' FROM plays").fetchall()
        database.close()
        return {uri.rpartition(":")[2]: heard // 1000 for uri, heard in rows}

    def close(self) -> None:
        for outbox in self._others:
            outbox.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "outbox.sqlite")
    yield rig
    rig.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was logged since the last time somebody asked, without the time."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def names(plays: Iterable[Play]) -> list[str]:
    return [str(play.item.catalog["name"]) for play in plays]


def waiting(outbox: Outbox, limit: int = 999) -> dict[int, str]:
    """The plays that wait: seconds after six o'clock that name their keys, and their names."""
    return {row.key - SECOND: str(row.play.item.catalog["name"]) for row in outbox.waiting(limit)}


class TestFile:
    def test_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        before = os.umask(0)
        rig = Rig(tmp_path / "outbox.sqlite")
        rig.outbox.put([over("A")])
        os.umask(before)
        assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {
            "outbox.sqlite": 0o600,
            "outbox.sqlite-wal": 0o600,
            "outbox.sqlite-shm": 0o600,
        }
        rig.close()

    def test_a_write_is_on_the_disk_when_it_returns(self, rig: Rig) -> None:
        database = rig.outbox._database
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL

    def test_another_process_finds_what_was_put(self, rig: Rig) -> None:
        put = [over("A", 0.123), over("B", 30), play("C", 60)]
        rig.outbox.put(put, {"tracker": "x"})
        rig.outbox.put_gap(SECOND, NIGHT)
        other = rig.another()
        assert [row.play for row in other.waiting(9)] == put
        assert other.waiting_gaps() == [OutboxGap(SECOND, NIGHT)]
        assert other.note("tracker") == "x"

    def test_a_change_is_there_whole_or_not_at_all_whenever_the_process_dies(self, tmp_path: Path) -> None:
        copies: list[Path] = []

        class Killed(sqlite3.Connection):
            """Keeps what would be on the disk if the process died at this moment."""

            def died(self) -> None:
                copies.append(Path(tempfile.mkdtemp(dir=tmp_path)) / "state")
                shutil.copytree(tmp_path / "state", copies[-1])

            def execute(self, *arguments: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever it takes
                cursor = super().execute(*arguments)
                self.died()
                return cursor

            def commit(self) -> None:
                self.died()
                super().commit()
                self.died()

        (tmp_path / "state").mkdir()
        rig = Rig(tmp_path / "state" / "outbox.sqlite", connecting(Killed))
        del copies[:-1]
        rig.outbox.put([over("A"), over("B", 30)], {"tracker": "AB"})
        rig.outbox.put([over("A", heard=60), play("C", 60)], {"tracker": "ABC"})
        rig.close()
        states = [look(copy) for copy in copies]
        first = ({"A": 30, "B": 30}, "AB")
        second = ({"A": 60, "B": 30, "C": 30}, "ABC")
        assert [state for state, before in zip(states, [None, *states], strict=False) if state != before] == [
            ({}, ""),
            first,
            second,
        ]

    def test_a_process_that_is_killed_loses_nothing_that_was_put(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys, time\n"
            "from pathlib import Path\n"
            "from spotify_logger.storage.outbox import Outbox\n"
            "from tests.storage.test_outbox import over\n"
            "outbox = Outbox(Path(sys.argv[1]), time.monotonic)\n"
            "for number in range(20):\n"
            "    outbox.put([over(str(number), number)], {'last': str(number)})\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        path = tmp_path / "outbox.sqlite"
        assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
        rig = Rig(path)
        assert waiting(rig.outbox) == {number: str(number) for number in range(20)}
        assert rig.outbox.note("last") == "19"
        rig.close()


def connecting(kind: type[sqlite3.Connection]) -> Callable[[str], sqlite3.Connection]:
    return lambda name: sqlite3.connect(name, isolation_level=None, factory=kind)


def look(folder: Path) -> tuple[dict[str, int], str]:
    """What a process finds in a state folder: plays with seconds heard, and a note."""
    rig = Rig(folder / "outbox.sqlite")
    found = {row.play.item.uri[-1]: row.play.ms_played // 1000 for row in rig.outbox.waiting(9)}
    note = rig.outbox.note("tracker")
    rig.close()
    return found, note


class TestKeys:
    @pytest.mark.parametrize(
        ("starts", "keys"),
        [
            ([0, 30, 60], [0, 30, 60]),
            ([0, 0.2, 0.4], [0, 1, 2]),
            ([0, 1, 0.5], [0, 1, 2]),
            ([0.9, 0.1, 1.5, 1], [0, 1, 2, 3]),
            ([5, 3, 4, 3.5], [5, 3, 4, 6]),
        ],
    )
    def test_the_later_one_takes_the_next_free_second(
        self, rig: Rig, starts: list[float], keys: list[int]
    ) -> None:
        plays = [over(f"P{number}", start) for number, start in enumerate(starts)]
        for each in plays:
            rig.outbox.put([each])
        assert [(rig.outbox.key(each) or 0) - SECOND for each in plays] == keys
        together = Rig(rig.path.with_name("together.sqlite"))
        together.outbox.put(plays)
        assert [(together.outbox.key(each) or 0) - SECOND for each in plays] == keys
        together.close()

    def test_a_key_never_changes(self, rig: Rig) -> None:
        rig.outbox.put([play("A"), play("B", 0.5)])
        rig.outbox.mark_safe([SECOND])
        for heard in (60, 90):
            rig.outbox.put([over("B", 0.5, heard)])
            assert waiting(rig.outbox) == {1: "B"}
        rig.outbox.put([replace(over("B", 0.5, 99), second=SECOND + 700)])
        assert waiting(rig.another()) == {1: "B"}

    def test_the_same_item_that_starts_again_is_another_play(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("A", 0.001)])
        assert waiting(rig.outbox) == {0: "A", 1: "A"}

    def test_one_that_is_not_here_has_none(self, rig: Rig) -> None:
        assert rig.outbox.key(play("A")) is None

    def test_is_taken_by_another(self, rig: Rig) -> None:
        rig.outbox.put([play("A")])
        assert rig.outbox.is_taken(SECOND, play("B"))
        assert rig.outbox.is_taken(SECOND, play("A", 0.5))
        assert not rig.outbox.is_taken(SECOND, over("A", heard=99))
        assert not rig.outbox.is_taken(SECOND + 1, play("B"))

    def test_another_key_is_remembered(self, rig: Rig) -> None:
        rig.outbox.put([play("A"), play("B", 30)])
        rig.outbox.rekey(play("A"), SECOND + 7)
        rig.outbox.put([over("A", heard=60)])
        assert waiting(rig.another()) == {7: "A", 30: "B"}


class TestWaiting:
    def test_the_newest_state_the_oldest_key_first(self, rig: Rig) -> None:
        rig.outbox.put([over("C", 60), play("A"), play("B", 30)])
        rig.outbox.put([over("A", heard=29)])
        assert [(row.key - SECOND, row.play) for row in rig.outbox.waiting(9)] == [
            (0, over("A", heard=29)),
            (30, play("B", 30)),
            (60, over("C", 60)),
        ]

    def test_in_the_order_of_their_keys_where_that_is_not_the_one_of_their_starts(self, rig: Rig) -> None:
        for each in (over("A"), over("B", 1), over("C", 0.5)):
            rig.outbox.put([each])
        assert list(waiting(rig.outbox).values()) == ["A", "B", "C"]
        assert names(rig.outbox.kept()) == ["A", "C", "B"]

    @pytest.mark.parametrize(
        ("limit", "exclude", "expected"),
        [
            (9, [], [0, 1, 2, 3, 4]),
            (2, [], [0, 1]),
            (2, [0, 1], [2, 3]),
            (2, [1, 3, 77], [0, 2]),
            (9, [0, 1, 2, 3, 4], []),
            (0, [], []),
        ],
    )
    def test_some_of_them(self, rig: Rig, limit: int, exclude: list[int], expected: list[int]) -> None:
        rig.outbox.put([over(f"P{number}", number) for number in range(5)])
        rows = rig.outbox.waiting(limit, {SECOND + number for number in exclude})
        assert [row.key - SECOND for row in rows] == expected

    def test_of_thousands_only_those_that_are_wanted_are_read(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.outbox.put([over(f"P{number}", number) for number in range(3000)])
        read: list[int] = []
        row = room._row
        monkeypatch.setattr(room, "_row", lambda key, *rest: read.append(key) or row(key, *rest))  # type: ignore[func-returns-value]
        besides = set(range(SECOND, SECOND + 2500))
        assert len(rig.outbox.waiting(200, besides)) == 200
        assert len(read) == 200

    def test_what_is_safe_no_longer_waits_but_stays(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("B", 30), over("C", 60)])
        rig.outbox.mark_safe([SECOND, SECOND + 60, 77])
        assert waiting(rig.outbox) == {30: "B"}
        assert sorted(rig.outbox.safe_keys()) == [SECOND, SECOND + 60]
        assert names(rig.outbox.kept()) == ["A", "B", "C"]

    def test_a_newer_state_of_what_is_safe_waits_again(self, rig: Rig) -> None:
        rig.outbox.put([play("A")])
        rig.outbox.mark_safe([SECOND])
        rig.outbox.put([over("A", heard=60)])
        assert [row.play for row in rig.another().waiting(9)] == [over("A", heard=60)]

    def test_what_redis_has_lost_waits_again(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("B", 30), over("C", 60)])
        rig.outbox.mark_safe([SECOND, SECOND + 30, SECOND + 60])
        rig.outbox.mark_waiting([SECOND + 30, 77])
        assert waiting(rig.another()) == {30: "B"}

    def test_its_length_is_that_of_the_plays_that_are_over(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("B", 30), play("C", 60)])
        assert len(rig.outbox) == 2
        rig.outbox.mark_safe([SECOND])
        assert len(rig.outbox) == 1
        rig.outbox.put([over("C", 60)])
        assert len(rig.outbox) == 2


class TestKept:
    def test_the_newest_safe_ones_and_all_that_wait(self, rig: Rig) -> None:
        plays = [over(f"P{number:04}", number) for number in range(MAX_KEPT_PLAYS + 20)]
        rig.outbox.put(plays)
        rig.outbox.mark_safe([SECOND + number for number in range(MAX_KEPT_PLAYS + 20) if number != 3])
        kept = names(rig.outbox.kept())
        assert len(kept) == MAX_KEPT_PLAYS + 1
        assert kept[:2] == ["P0003", "P0020"]

    def test_none_goes_while_all_wait(self, rig: Rig) -> None:
        rig.outbox.put([over(f"P{number}", number) for number in range(MAX_KEPT_PLAYS + 20)])
        rig.outbox.mark_safe([])
        assert len(rig.outbox) == MAX_KEPT_PLAYS + 20

    def test_those_that_ended_after_a_moment_in_the_order_of_their_starts(self, rig: Rig) -> None:
        rig.outbox.put([over("C", 60, 5), over("A", 0, 99), over("B", 30, 30)])
        assert names(rig.outbox.kept()) == ["A", "B", "C"]
        assert names(rig.outbox.kept((SECOND + 61) * 1000)) == ["A", "C"]
        assert names(rig.outbox.kept((SECOND + 60) * 1000)) == ["A", "B", "C"]

    def test_what_is_known_of_an_item_is_kept_too(self, rig: Rig) -> None:
        rig.outbox.put([play("A")])
        assert rig.another().kept()[0].item == play("A").item

    def test_it_stays_where_a_newer_state_knows_nothing_of_it(self, rig: Rig) -> None:
        """A play that was read from Redis again has no catalogue."""
        rig.outbox.put([play("A")])
        closed = over("A", heard=60)
        rig.outbox.put([replace(closed, item=replace(closed.item, catalog={}))])
        assert rig.another().kept() == [closed]

    def test_from_when_on_every_play_is_known(self, rig: Rig) -> None:
        assert rig.outbox.horizon_ms() == 0
        rig.outbox.put([over(f"P{number}", number) for number in range(MAX_KEPT_PLAYS + 20)])
        assert rig.outbox.horizon_ms() == 0
        rig.outbox.mark_safe(range(SECOND, SECOND + MAX_KEPT_PLAYS - 1))
        assert rig.outbox.horizon_ms() == 0
        rig.outbox.mark_safe(range(SECOND, SECOND + MAX_KEPT_PLAYS + 10))
        assert rig.outbox.horizon_ms() == (SECOND + 10) * 1000

    def test_the_newest_is_the_one_that_polling_learned_and_that_started_last(self, rig: Rig) -> None:
        assert rig.outbox.newest() is None
        rig.outbox.put([play("B", 30), over("A"), play("X", 60, reason="unknown", source="backfill")])
        rig.outbox.mark_safe([SECOND + 30])
        assert rig.outbox.newest() == play("B", 30)


class TestAdopting:
    def test_what_redis_has_is_safe(self, rig: Rig) -> None:
        rig.outbox.adopt([(SECOND + 3, over("A")), (SECOND + 30, play("B", 30))])
        other = rig.another()
        assert sorted(other.safe_keys()) == [SECOND + 3, SECOND + 30]
        assert other.key(over("A")) == SECOND + 3
        assert names(other.kept()) == ["A", "B"]
        assert len(other) == 0

    def test_what_is_known_stays_as_it_is(self, rig: Rig) -> None:
        rig.outbox.put([over("A", heard=90), over("B", 30)])
        rig.outbox.adopt([(SECOND + 7, play("A", heard=60)), (SECOND + 30, over("C", 30.5))])
        assert waiting(rig.outbox) == {0: "A", 30: "B"}
        assert rig.outbox.kept() == [over("A", heard=90), over("B", 30)]


class TestForgotten:
    def test_one_that_was_forgotten_never_waits_again(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("B", 30), over("C", 60)])
        rig.outbox.mark_safe([SECOND, SECOND + 30])
        rig.outbox.mark_deleted({SECOND, SECOND + 60, 77})
        assert [rig.outbox.is_deleted(over(*one)) for one in (("A", 0), ("B", 30), ("C", 60))] == [
            True,
            False,
            True,
        ]
        rig.outbox.mark_waiting([SECOND, SECOND + 30])
        rig.outbox.put([over("A", heard=60)])
        rig.outbox.mark_safe([SECOND + 60])
        other = rig.another()
        assert waiting(other) == {30: "B"}
        assert (len(other), other.safe_keys()) == (1, [])
        assert other.is_deleted(over("A"))

    def test_it_stays_known_without_its_names(self, rig: Rig) -> None:
        known = replace(
            over("A"), item=replace(over("A").item, catalog={"name": "A", "isrc": "FRZ030000001"})
        )
        rig.outbox.put([known, over("B", 30)])
        rig.outbox.mark_deleted([SECOND])
        kept, other = rig.another().kept()
        assert identity(kept) == identity(known)
        assert (kept.item.catalog, kept.item.duration_ms) == ({"isrc": "FRZ030000001"}, 200_000)
        assert (kept.ended_ms, kept.ms_played, kept.end_reason) == (
            known.ended_ms,
            known.ms_played,
            "skipped",
        )
        assert set(kept.fields) == {"uri", "type", "id", "duration_ms", "playing"}
        assert other == over("B", 30)

    def test_another_is_the_newest_then(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("B", 30)])
        rig.outbox.mark_deleted([SECOND + 30])
        assert rig.outbox.newest() == over("A")

    def test_it_counts_among_those_that_are_known_and_goes_with_them(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "MAX_KEPT_PLAYS", 10)
        rig.outbox.put([over(f"P{number}", number) for number in range(15)])
        rig.outbox.mark_safe(range(SECOND, SECOND + 15))
        rig.outbox.mark_deleted(range(SECOND + 7, SECOND + 12))
        assert rig.outbox.horizon_ms() == (SECOND + 5) * 1000
        rig.outbox.put([over(f"Q{number}", 100 + number) for number in range(8)])
        rig.outbox.mark_safe(range(SECOND + 100, SECOND + 108))
        assert names(rig.outbox.kept()) == ["P13", "P14", *(f"Q{number}" for number in range(8))]

    def test_there_may_be_thousands(self, rig: Rig) -> None:
        rig.outbox.put([over(f"P{number}", number) for number in range(1200)])
        rig.outbox.mark_deleted(range(SECOND + 1, SECOND + 1300))
        assert waiting(rig.outbox) == {0: "P0"}

    def test_what_the_disk_still_calls_waiting_while_it_could_not_be_written(self, rig: Rig) -> None:
        rig.outbox.put([over("A")])
        rig.outbox.adopt([(SECOND, over("A"))])
        rig.outbox.mark_deleted([SECOND])
        rig.outbox.adopt([(SECOND, over("A"))])
        assert rig.outbox.is_deleted(over("A"))


class TestGapsAndNotes:
    def test_a_gap_waits_in_its_newest_state(self, rig: Rig) -> None:
        rig.outbox.put_gap(SECOND + 9, NIGHT)
        rig.outbox.put_gap(SECOND, NIGHT, {"gap": "1"})
        longer = {**NIGHT, "to": "2026-11-22T03:00:00.000Z"}
        rig.outbox.put_gap(SECOND + 9, longer)
        other = rig.another()
        assert other.waiting_gaps() == [OutboxGap(SECOND, NIGHT), OutboxGap(SECOND + 9, longer)]
        assert other.note("gap") == "1"

    def test_one_that_is_safe_waits_again_when_redis_has_lost_something(self, rig: Rig) -> None:
        rig.outbox.put_gap(SECOND, NIGHT)
        rig.outbox.put_gap(SECOND + 9, NIGHT)
        rig.outbox.mark_safe([], [SECOND])
        assert rig.outbox.waiting_gaps() == [OutboxGap(SECOND + 9, NIGHT)]
        rig.outbox.mark_waiting([])
        assert [gap.second for gap in rig.another().waiting_gaps()] == [SECOND, SECOND + 9]

    def test_of_those_that_are_safe_the_newest_stay(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "MAX_KEPT_GAPS", 3)
        for number in range(6):
            rig.outbox.put_gap(SECOND + number, NIGHT)
        rig.outbox.mark_safe([], [SECOND + number for number in (0, 1, 2, 4, 5)])
        rig.outbox.mark_waiting([])
        assert [gap.second - SECOND for gap in rig.outbox.waiting_gaps()] == [2, 3, 4, 5]

    def test_notes(self, rig: Rig) -> None:
        assert rig.outbox.note("beat") == ""
        rig.outbox.set_note("beat", "1")
        rig.outbox.put([], {"beat": "2", "blind": "[]"})
        assert [rig.another().note(name) for name in ("beat", "blind", "gap")] == ["2", "[]", ""]


def spoil(path: Path, change: str, *values: object) -> None:
    with sqlite3.connect(path) as database:
        database.execute(change, values)
    database.close()


class TestGarbage:
    @pytest.mark.parametrize(
        "garbage",
        [
            pytest.param(b"SQLite format 4\0" + b"x" * 5000, id="no database"),
            pytest.param(b"\0" * 8192, id="zeros, as after a power cut"),
            pytest.param(b"SQLite format 3\0" + b"\xff" * 5000, id="garbage behind a good beginning"),
        ],
    )
    def test_a_file_that_is_no_database_is_put_aside(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], garbage: bytes
    ) -> None:
        path = tmp_path / "outbox.sqlite"
        path.write_bytes(garbage)
        path.with_name("outbox.sqlite.bad").write_bytes(b"an older one")
        path.with_name("outbox.sqlite-wal").write_bytes(garbage)
        rig = Rig(path)
        rig.outbox.put([over("A")])
        assert waiting(rig.another()) == {0: "A"}
        assert path.with_name("outbox.sqlite.bad").read_bytes() == garbage
        assert path.stat().st_mode & 0o777 == 0o600
        rig.close()
        assert lines(capsys) == [f"{path} is corrupt: kept as outbox.sqlite.bad, starting a new one"]

    def test_so_is_one_of_another_program(self, tmp_path: Path) -> None:
        path = tmp_path / "outbox.sqlite"
        spoil(path, "CREATE TABLE plays (title TEXT)")
        rig = Rig(path)
        rig.outbox.put([over("A")])
        assert waiting(rig.another()) == {0: "A"}
        assert path.with_name("outbox.sqlite.bad").exists()
        rig.close()

    def test_an_empty_file_is_just_new(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "outbox.sqlite").touch()
        rig = Rig(tmp_path / "outbox.sqlite")
        rig.outbox.put([over("A")])
        assert waiting(rig.another()) == {0: "A"}
        rig.close()
        assert lines(capsys) == []

    def test_of_a_damaged_file_all_that_can_be_read_goes_on(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "outbox.sqlite"
        rig = Rig(path)
        rig.outbox.put([over(f"P{number}", number) for number in range(300)], {"tracker": "x"})
        rig.close()
        content = path.read_bytes()
        page = content.index(b'"P150"') // 4096
        path.write_bytes(content[: page * 4096] + b"\xff" * 4096 + content[(page + 1) * 4096 :])
        rig = Rig(path)
        found = waiting(rig.outbox)
        assert 280 < len(found) < 300
        assert {0: "P0", 299: "P299"}.items() <= found.items()
        rig.outbox.put([over("new", 400)])
        other = rig.another()
        assert waiting(other) == {**found, 400: "new"}
        assert other.note("tracker") == "x"
        rig.close()
        assert path.with_name("outbox.sqlite.bad").exists()
        assert lines(capsys) == [f"{path} is corrupt: kept as outbox.sqlite.bad, starting a new one"]

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("fields", "{"),
            ("fields", "[]"),
            ("fields", "7"),
            ("fields", "{}"),
            ("fields", "[" * 100_000),
            ("fields", b"\xff\xfe"),
            ("fields", '{"uri": "u", "started_at": "soon", "ended_at": "later", "ms_played": 1}'),
            ("catalogue", "null"),
            ("catalogue", "["),
            ("catalogue", "[1]"),
        ],
    )
    def test_a_play_that_makes_no_sense_is_taken_out(
        self, rig: Rig, capsys: pytest.CaptureFixture[str], column: str, value: str | bytes
    ) -> None:
        rig.outbox.put([over("A"), over("B", 30), over("C", 60)])
        spoil(rig.path, f"UPDATE plays SET {column} = ? WHERE key = ?", value, SECOND + 30)
        for _ in range(2):
            assert waiting(rig.outbox) == {0: "A", 60: "C"}
        assert names(rig.another().kept()) == ["A", "C"]
        said = f"deleting an invalid play from {rig.path}: "
        assert lines(capsys) == [f"{said}spotify:track:B at 2026-11-22T18:00:30.000Z"]

    def test_a_single_bit_spoils_no_more_than_its_letter(self, rig: Rig) -> None:
        rig.outbox.put([over("A"), over("B", 30)])
        change = "UPDATE plays SET fields = CAST(replace(fields, '\"track\"', ?) AS TEXT) WHERE key = ?"
        spoil(rig.path, change.replace("?", "CAST(x'2274ff61636b22' AS TEXT)", 1), SECOND)
        assert [row.key for row in rig.outbox.waiting(9)][-1] == SECOND + 30
        assert rig.outbox.trouble == ""

    @pytest.mark.parametrize("fields", ["{", "[]", "7", "{}", '{"to": 5, "reason": "x"}', b"\xff"])
    def test_a_gap_that_makes_no_sense_is_taken_out(
        self, rig: Rig, capsys: pytest.CaptureFixture[str], fields: str | bytes
    ) -> None:
        rig.outbox.put_gap(SECOND, NIGHT)
        rig.outbox.put_gap(SECOND + 9, NIGHT)
        spoil(rig.path, "UPDATE gaps SET fields = ? WHERE second = ?", fields, SECOND)
        for _ in range(2):
            assert rig.outbox.waiting_gaps() == [OutboxGap(SECOND + 9, NIGHT)]
        assert lines(capsys) == [f"deleting an invalid gap from {rig.path}: {to_iso(SECOND * 1000)}"]


class Disk:
    """A disk that fails on demand: `error` at every SQL statement that begins with one of `at`."""

    def __init__(self) -> None:
        self.error = ""
        self.at: tuple[str, ...] = ("COMMIT",)
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever it takes
                disk.check(sql)
                return super().execute(sql, *values)

            def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
                disk.check(sql)
                return super().executemany(sql, *values)

            def commit(self) -> None:
                disk.check("COMMIT")
                super().commit()

        self.connect = connecting(Connection)

    def check(self, sql: str) -> None:
        if self.error and sql.lstrip().startswith(self.at):
            raise sqlite3.OperationalError(self.error)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def fragile(tmp_path: Path, disk: Disk) -> Iterator[Rig]:
    """An outbox on that disk, with a play that waits, one that is safe, a gap and a note."""
    rig = Rig(tmp_path / "outbox.sqlite", disk.connect)
    rig.outbox.put([over("A"), over("B", 30)], {"tracker": "AB"})
    rig.outbox.mark_safe([SECOND])
    rig.outbox.put_gap(SECOND, NIGHT)
    yield rig
    rig.close()


class TestDisk:
    @pytest.mark.parametrize("error", [FULL, READ_ONLY, "disk I/O error", "database is locked"])
    @pytest.mark.parametrize(
        "at", [("COMMIT",), ("BEGIN",), ("INSERT", "REPLACE"), ("REPLACE",), ("PRAGMA", "COMMIT")]
    )
    def test_one_that_takes_nothing_is_waited_for_in_memory(
        self, fragile: Rig, disk: Disk, capsys: pytest.CaptureFixture[str], error: str, at: tuple[str, ...]
    ) -> None:
        path, outbox = fragile.path, fragile.outbox
        disk.error, disk.at = error, at
        outbox.put([over("C", 60)], {"tracker": "ABC"})
        outbox.put([play("D", 90)])
        assert waiting(outbox) == {30: "B", 60: "C", 90: "D"}
        assert (outbox.note("tracker"), outbox.safe_keys()) == ("ABC", [SECOND])
        assert outbox.waiting_gaps() == [OutboxGap(SECOND, NIGHT)]
        assert outbox.trouble == f"{path} cannot be written: {error}"
        assert fragile.on_disk() == {"A": 30, "B": 30}
        for _ in range(3):
            fragile.clock.sleep(DISK_RETRY)
            outbox.put([play("D", 90, 60)])
        disk.error = ""
        outbox.put([play("D", 90, 70)])
        assert fragile.on_disk() == {"A": 30, "B": 30}
        fragile.clock.sleep(DISK_RETRY)
        outbox.mark_safe([SECOND + 30], [SECOND])
        assert outbox.trouble == ""
        other = fragile.another()
        assert waiting(other) == {60: "C", 90: "D"}
        assert [play.ms_played for play in other.kept()] == [30_000, 30_000, 30_000, 70_000]
        assert (other.note("tracker"), other.waiting_gaps()) == ("ABC", [])
        assert lines(capsys) == [
            f"{path} cannot be written ({error}): {WHAT_NEXT}",
            f"{path} is writable again and has everything",
        ]

    @pytest.mark.parametrize(
        ("at", "change"),
        [
            ("UPDATE", lambda outbox: outbox.put([over("C", 60), over("B", 30, 60)], {"tracker": "ABC"})),
            ("INSERT", lambda outbox: outbox.put([over("B", 30, 60), over("C", 60)], {"tracker": "ABC"})),
            (
                "REPLACE INTO notes",
                lambda outbox: outbox.put([over("B", 30, 60), over("C", 60)], {"tracker": "ABC"}),
            ),
            ("UPDATE gaps", lambda outbox: outbox.mark_safe([SECOND + 30], [SECOND])),
            ("DELETE FROM gaps", lambda outbox: outbox.mark_safe([SECOND + 30], [SECOND])),
            ("REPLACE INTO notes", lambda outbox: outbox.put_gap(SECOND, NIGHT, {"gap": "1"})),
            ("UPDATE", lambda outbox: outbox.rekey(over("B", 30), SECOND + 31)),
        ],
    )
    def test_a_change_that_it_fails_at_half_way_is_made_whole_in_memory(
        self, tmp_path: Path, fragile: Rig, disk: Disk, at: str, change: Callable[[Outbox], object]
    ) -> None:
        healthy = tmp_path / "healthy"
        healthy.mkdir()
        with sqlite3.connect(healthy / "outbox.sqlite") as copy:
            fragile.outbox._database.backup(copy)
        copy.close()
        expected = Rig(healthy / "outbox.sqlite")
        change(expected.outbox)
        disk.error, disk.at = FULL, (at,)
        change(fragile.outbox)
        assert fragile.outbox.trouble
        assert content(fragile.outbox) == content(expected.outbox)
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.set_note("x", "")
        expected.outbox.set_note("x", "")
        assert content(fragile.another()) == content(expected.outbox)
        expected.close()

    def test_one_that_fails_again_half_way_back_keeps_what_it_had(self, fragile: Rig, disk: Disk) -> None:
        disk.error = FULL
        fragile.outbox.put([over("C", 60)])
        for at in ("DELETE", "REPLACE INTO plays", "REPLACE INTO notes", "COMMIT"):
            disk.at = (at,)
            fragile.clock.sleep(DISK_RETRY)
            fragile.outbox.put([over("C", 60)])
            assert fragile.outbox.trouble
            assert fragile.on_disk() == {"A": 30, "B": 30}
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.put([])
        fragile.outbox.set_note("x", "")
        assert fragile.on_disk() == {"A": 30, "B": 30, "C": 30}

    def test_one_that_cannot_be_read_either(
        self, fragile: Rig, disk: Disk, capsys: pytest.CaptureFixture[str]
    ) -> None:
        disk.error, disk.at = "disk I/O error", ("SELECT", "BEGIN", "PRAGMA")
        assert fragile.outbox.note("tracker") == ""
        fragile.outbox.put([over("C", 60)])
        assert waiting(fragile.outbox) == {60: "C"}
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.put([over("D", 90)])
        assert waiting(fragile.outbox) == {30: "B", 60: "C", 90: "D"}
        assert (fragile.outbox.note("tracker"), fragile.outbox.trouble) == ("AB", "")
        assert len(lines(capsys)) == 2

    def test_what_was_not_known_of_meanwhile_is_neither_replaced_nor_made_older(
        self, fragile: Rig, disk: Disk
    ) -> None:
        disk.error, disk.at = "disk I/O error", ("SELECT", "BEGIN", "PRAGMA")
        fragile.outbox.put([over("X", 30.5), play("B", 30, 10)])
        assert waiting(fragile.outbox) == {30: "X", 31: "B"}
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.put([over("C", 60)])
        assert waiting(fragile.outbox) == {30: "B", 31: "X", 60: "C"}
        assert over("B", 30) in fragile.outbox.kept()

    def test_at_the_end_it_is_tried_once_more(self, fragile: Rig, disk: Disk) -> None:
        disk.error = FULL
        fragile.outbox.put([over("C", 60)])
        disk.error = ""
        fragile.outbox.close()
        assert fragile.on_disk() == {"A": 30, "B": 30, "C": 30}

    def test_an_end_without_disk_is_no_failure(self, tmp_path: Path, disk: Disk) -> None:
        rig = Rig(tmp_path / "outbox.sqlite", disk.connect)
        disk.error = FULL
        rig.outbox.put([over("A")])
        rig.close()

    def test_a_folder_that_comes_later(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rig = Rig(tmp_path / "stick" / "outbox.sqlite")
        rig.outbox.put([over("A")])
        (tmp_path / "stick").mkdir()
        rig.clock.sleep(DISK_RETRY)
        rig.outbox.put([over("B", 30)])
        assert rig.on_disk() == {"A": 30, "B": 30}
        rig.close()
        assert len(lines(capsys)) == 2

    def test_garbage_that_cannot_be_put_aside_yet(self, tmp_path: Path) -> None:
        path = tmp_path / "outbox.sqlite"
        path.write_bytes(b"x" * 5000)
        aside = tmp_path / "outbox.sqlite.bad"
        aside.mkdir()
        rig = Rig(path)
        rig.outbox.put([over("A")])
        assert rig.outbox.trouble
        aside.rmdir()
        rig.clock.sleep(DISK_RETRY)
        for _ in range(2):
            rig.outbox.put([over("B", 30)])
        assert rig.outbox.trouble == ""
        assert rig.on_disk() == {"A": 30, "B": 30}
        rig.close()


def content(outbox: Outbox) -> dict[str, list[tuple[object, ...]]]:
    return {table: outbox._database.execute(f"SELECT * FROM {table}").fetchall() for table in room.TABLES}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one megabyte, where this machine allows it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("nobody may mount anything here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


class TestRealDisks:
    def test_a_full_one(self, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rig = Rig(small_disk / "outbox.sqlite")
        rig.outbox.put([over("first")])
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(b"x" * 2_000_000)
        number = 0
        while not rig.outbox.trouble:
            number += 1
            assert number < 3000
            rig.outbox.put([over(f"P{number}", number)])
        assert rig.outbox.trouble.endswith(("database or disk is full", "disk I/O error"))
        rig.outbox.put([over("last", number + 1)])
        everything = waiting(rig.outbox)
        assert len(everything) == number + 2
        ballast.unlink()
        rig.clock.sleep(DISK_RETRY)
        rig.outbox.set_note("x", "y")
        assert waiting(rig.another()) == everything
        rig.close()
        assert len(lines(capsys)) == 2

    def test_one_that_became_read_only_after_a_power_cut(
        self, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What was written last is in a file beside it, which stays there where nothing can be written."""
        before = Rig(tmp_path / "outbox.sqlite")
        before.outbox.put([over("A"), play("B", 30)])
        before.outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before.outbox.put([over("B", 30, 60), over("C", 60)], {"tracker": "ABC"})
        for file in tmp_path.glob("outbox.sqlite*"):
            shutil.copy(file, small_disk)
        before.close()
        remount(small_disk, "ro")
        rig = Rig(small_disk / "outbox.sqlite")
        assert waiting(rig.outbox) == {0: "A", 30: "B", 60: "C"}
        rig.outbox.put([over("D", 90)])
        assert rig.outbox.note("tracker") == "ABC"
        remount(small_disk, "rw")
        rig.clock.sleep(DISK_RETRY)
        rig.outbox.set_note("x", "y")
        assert rig.on_disk() == {"A": 30, "B": 60, "C": 30, "D": 30}
        rig.close()
        assert len(lines(capsys)) == 2

    def test_one_whose_last_writes_cannot_be_read_keeps_them_nevertheless(
        self, small_disk: Path, tmp_path: Path
    ) -> None:
        before = Rig(tmp_path / "outbox.sqlite")
        before.outbox.put([over("A"), play("B", 30)])
        before.outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before.outbox.put([over("B", 30, 60), over("C", 60)])
        for name in ("outbox.sqlite", "outbox.sqlite-wal"):
            shutil.copy(tmp_path / name, small_disk)
        before.close()
        remount(small_disk, "ro")
        rig = Rig(small_disk / "outbox.sqlite")
        rig.outbox.put([over("D", 60.5)])
        remount(small_disk, "rw")
        rig.clock.sleep(DISK_RETRY)
        rig.outbox.set_note("x", "y")
        assert rig.on_disk() == {"A": 30, "B": 60, "C": 30, "D": 30}
        rig.close()


class TestBound:
    def test_the_oldest_go_and_what_was_lost_is_said(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(room, "MAX_BYTES_ON_DISK", 300_000)
        number = 0
        while not (said := lines(capsys)):
            rig.outbox.put([over(f"P{number}", number)])
            number += 1
            assert number < 2000
        start = "2026-11-22T18:00:00.000Z"
        assert said == [f"lost 100 plays, from {start} on: the outbox is full, and Redis is away"]
        left = waiting(rig.another())
        assert min(left) == 100
        assert len(left) == number - 100
        assert rig.path.stat().st_size < 400_000

    def test_those_that_are_safe_go_first_and_nothing_is_said(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig.outbox.put([over(f"P{number}", number) for number in range(200)])
        rig.outbox.mark_safe(range(SECOND + 50, SECOND + 150))
        monkeypatch.setattr(room, "MAX_BYTES_ON_DISK", room._size(rig.outbox._database) - 1)
        rig.outbox.put([over("last", 200)])
        assert rig.outbox.safe_keys() == []
        assert list(waiting(rig.outbox)) == [*range(50), *range(150, 201)]
        assert lines(capsys) == []

    def test_in_memory_there_is_less_room_and_the_disk_keeps_what_it_has(
        self,
        fragile: Rig,
        disk: Disk,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        fragile.outbox.put([over(f"P{number:03}", 100 + number) for number in range(400)])
        monkeypatch.setattr(room, "MAX_BYTES_IN_MEMORY", 100_000)
        disk.error = FULL
        fragile.outbox.put([over("last", 900)])
        assert room._size(fragile.outbox._database) <= 100_000
        assert 900 in waiting(fragile.outbox)
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.set_note("x", "y")
        assert len(fragile.on_disk()) == 403
        assert fragile.outbox.trouble == ""
        said = lines(capsys)[1]
        assert said.startswith("lost ")
        assert "(unless they are on disk)" in said


def test_identity() -> None:
    assert identity(play("A", 0.5)) == (SECOND * 1000 + 500, "spotify:track:A")
