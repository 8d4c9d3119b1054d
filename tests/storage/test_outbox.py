from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.matching import identity
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.storage import outbox as outbox_module
from spotify_logger.storage.outbox import COUNT_WAITING, Outbox, look_up
from spotify_logger.storage.sqlite_file import DISK_RETRY
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Change = Callable[[Outbox], None]
    Logged = Callable[[], list[str]]

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
NIGHT = {"from": "2026-11-22T18:00:00.000Z", "to": "2026-11-22T19:00:00.000Z", "reason": "offline"}
FULL = "database or disk is full"


def open_play(
    name: str, start: float = 0, seconds: int = 30, *, reason: str | None = None, source: str = "live"
) -> Play:
    """Return a play that started so many seconds after six o'clock, and of which so many were played."""
    catalog: dict[str, str | int] = {"name": name, "duration_ms": 200_000, "artists": "Łódź 日本 \ud83d"}
    item = Item(f"track:{name}", f"spotify:track:{name}", 200_000, catalog)
    started_ms, ms = round((SECOND + start) * 1000), seconds * 1000
    fields: dict[str, str | int] = {"uri": item.uri, "type": "track", "id": name, "device_name": "Desk"}
    fields |= {"duration_ms": 200_000, "playing": 1}
    return Play(int(SECOND + start), item, started_ms, started_ms + ms, ms, reason, source, fields)


def closed_play(name: str, start: float = 0, seconds: int = 30) -> Play:
    return open_play(name, start, seconds, reason="skipped")


def closed_plays(count: int, start: int = 0) -> list[Play]:
    return [closed_play(f"P{start + number}", start + number) for number in range(count)]


class OutboxFile:
    """An outbox, its clock, and what another process finds in the file."""

    def __init__(self, path: Path, connect: Callable[[str], sqlite3.Connection] | None = None) -> None:
        self.path = path
        self.clock = VirtualClock(SECOND)
        self.outbox = Outbox(path, self.clock.monotonic, connect)
        self._opened = [self.outbox]

    def reopen(self) -> Outbox:
        """Return the outbox of another process, after this one died."""
        self._opened.append(Outbox(self.path, self.clock.monotonic))
        return self._opened[-1]

    def on_disk(self) -> dict[str, int]:
        """Return the plays in the file: name, and seconds played."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as database:
            rows = database.execute("SELECT uri, fields ->> 'ms_played' FROM plays").fetchall()
        database.close()
        return {uri.rpartition(":")[2]: int(ms) // 1000 for uri, ms in rows}

    def execute(self, change: str, *values: object) -> None:
        """Change the file behind its back."""
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(change, values)

    def close(self) -> None:
        for outbox in self._opened:
            outbox.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OutboxFile]:
    file = OutboxFile(tmp_path / "outbox.sqlite")
    yield file
    file.close()


@pytest.fixture
def outbox(file: OutboxFile) -> Outbox:
    return file.outbox


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Logged:
    """Return the lines logged since the last call, without the time."""
    return lambda: [line[20:] for line in capsys.readouterr().err.splitlines()]


def kept(outbox: Outbox, ended_from_ms: int = 0) -> list[str]:
    return [str(play.item.catalog.get("name")) for play in outbox.kept(ended_from_ms)]


def waiting(outbox: Outbox, limit: int = 999, exclude: tuple[int, ...] = ()) -> dict[int, str]:
    """Return the queued plays: the seconds after six o'clock in their keys, and their names."""
    rows = outbox.waiting(limit, {SECOND + second for second in exclude})
    return {row.key - SECOND: str(row.play.item.catalog["name"]) for row in rows}


class TestFile:
    def test_it_is_private_and_survives_power_cuts(self, tmp_path: Path) -> None:
        before = os.umask(0)
        file = OutboxFile(tmp_path / "outbox.sqlite")
        file.outbox.put([closed_play("A")])
        os.umask(before)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("outbox.sqlite", "outbox.sqlite-wal", "outbox.sqlite-shm"), 0o600)
        assert file.outbox.read("PRAGMA synchronous") == [(2,)]  # FULL
        file.close()

    def test_a_note_that_is_set_again_is_not_written_again(self, file: OutboxFile) -> None:
        for text in ("a", "a", "b", "b"):
            file.outbox.set_note("x", text)
        assert (file.outbox.changes, file.outbox.note("x")) == (2, "b")

    def test_another_process_finds_everything(self, file: OutboxFile) -> None:
        plays = [closed_play("A", 0.123), closed_play("B", 30), open_play("C", 60)]
        file.outbox.put(plays, {"tracker": "x"})
        file.outbox.put([], gaps={SECOND: NIGHT})
        file.outbox.set_note("beat", "2")
        file.outbox.put([], {"beat": "3"})
        other = file.reopen()
        assert [row.play for row in other.waiting(9)] == plays
        assert other.gaps() == {SECOND: NIGHT}
        assert [other.note(name) for name in ("tracker", "beat", "gap")] == ["x", "3", ""]
        assert look_up(file.path, COUNT_WAITING) == "2"
        assert look_up(file.path.with_name("missing"), COUNT_WAITING) is None

    def test_an_older_file_gets_smaller_pages(self, file: OutboxFile) -> None:
        file.outbox.put([closed_play("A")])
        file.outbox.close()
        with closing(sqlite3.connect(file.path)) as database:
            database.executescript("PRAGMA journal_mode = DELETE; PRAGMA page_size = 4096; VACUUM")
        other = file.reopen()
        assert (waiting(other), other.read("PRAGMA page_size")) == ({0: "A"}, [(1024,)])

    def test_the_log_is_overwritten(self, file: OutboxFile) -> None:
        before = (log := file.path.with_name("outbox.sqlite-wal")).stat().st_size
        for number in range(60):
            file.outbox.put([closed_play(f"P{number}", number)], {"tracker": "x"})
        assert log.stat().st_size == before


class TestKeys:
    @pytest.mark.parametrize(
        ("starts", "keys"),
        [([0, 30], [0, 30]), ([0, 1, 0.5], [0, 1, 2]), ([5, 3, 4, 3.5], [5, 3, 4, 6])],
    )
    def test_a_play_takes_the_next_free_second(
        self, outbox: Outbox, starts: list[float], keys: list[int]
    ) -> None:
        plays = [closed_play(f"P{number}", start) for number, start in enumerate(starts)]
        outbox.put(plays[:2])
        outbox.put(plays[2:])
        assert [(outbox.key(play) or 0) - SECOND for play in plays] == keys
        assert outbox.keys() == {SECOND + key for key in keys}
        assert outbox.key(open_play("X")) is None

    def test_it_keeps_its_key_until_it_gets_another(self, file: OutboxFile) -> None:
        file.outbox.put([open_play("A"), open_play("B", 0.5), closed_play("A", 0.001)])
        assert waiting(file.outbox) == {0: "A", 1: "B", 2: "A"}
        file.outbox.mark([SECOND, SECOND + 2])
        file.outbox.put([replace(closed_play("B", 0.5, 99), second=SECOND + 700)])
        assert waiting(file.outbox) == {1: "B"}
        file.outbox.rekey(open_play("B", 0.5), SECOND + 7)
        file.outbox.put([closed_play("B", 0.5, 100)])
        assert waiting(file.reopen()) == {7: "B"}

    def test_a_key_is_taken_by_another_play(self, outbox: Outbox) -> None:
        outbox.put([open_play("A")])
        assert outbox.is_taken(SECOND, open_play("B"))
        assert outbox.is_taken(SECOND, open_play("A", 0.5))
        assert not outbox.is_taken(SECOND, closed_play("A", seconds=99))
        assert not outbox.is_taken(SECOND + 1, open_play("B"))


class TestQueue:
    def test_it_gives_the_newest_states_in_the_order_of_keys(self, outbox: Outbox) -> None:
        outbox.put([closed_play("C", 60), open_play("A"), open_play("B", 30)])
        outbox.put([closed_play("A", seconds=29)])
        expected = [closed_play("A", seconds=29), open_play("B", 30), closed_play("C", 60)]
        assert [row.play for row in outbox.waiting(9)] == expected
        assert list(waiting(outbox, 2)) == [0, 30]
        assert list(waiting(outbox, 2, (0, 77))) == [30, 60]
        assert waiting(outbox, 9, (0, 30, 60)) == waiting(outbox, 0) == {}
        outbox.put([closed_play("X", 30.5), closed_play("Y", 31), closed_play("Z", 30.7)])
        assert list(waiting(outbox, 9, (0, 60)).values()) == ["B", "X", "Y", "Z"]
        assert kept(outbox) == ["A", "B", "X", "Z", "Y", "C"]
        assert kept(outbox, (SECOND + 61) * 1000) == ["Y", "C"]

    def test_a_play_leaves_it_when_safe_and_returns_when_changed_or_lost(self, file: OutboxFile) -> None:
        outbox = file.outbox
        outbox.put([closed_play("A"), open_play("B", 30), closed_play("C", 60)])
        assert len(outbox) == 2, "an open play does not count"
        outbox.mark([SECOND, SECOND + 30, SECOND + 60, 77])
        assert (waiting(outbox), len(outbox)) == ({}, 0)
        assert sorted(outbox.acknowledged()) == [SECOND, SECOND + 30, SECOND + 60]
        assert kept(outbox) == ["A", "B", "C"]
        outbox.put([closed_play("B", 30, 60)])
        assert [row.play for row in file.reopen().waiting(9)] == [closed_play("B", 30, 60)]
        outbox.mark([SECOND, 77], acknowledged=False)
        assert (waiting(file.reopen()), len(outbox)) == ({0: "A", 30: "B"}, 2)

    def test_plays_of_redis_are_adopted_as_safe_unless_newer_here(self, file: OutboxFile) -> None:
        outbox = file.outbox
        outbox.put([closed_play("A", seconds=90), closed_play("B", 30)])
        outbox.adopt([(SECOND + 7, open_play("A", seconds=60)), (SECOND + 30, closed_play("C", 30.5))])
        assert outbox.kept() == [closed_play("A", seconds=90), closed_play("B", 30)]
        outbox.adopt([(SECOND + 3, closed_play("X", 2)), (SECOND + 40, open_play("Y", 40))])
        assert waiting(outbox) == {0: "A", 30: "B"}
        assert sorted(file.reopen().acknowledged()) == [SECOND + 3, SECOND + 40]
        outbox.replace(closed_play("B", 30), (SECOND + 31, closed_play("Z", 31)))
        assert kept(outbox) == ["A", "X", "Z", "Y"]

    def test_gaps_wait_in_their_newest_state(self, file: OutboxFile, monkeypatch: pytest.MonkeyPatch) -> None:
        file.outbox.put([], gaps={SECOND + 9: NIGHT})
        file.outbox.put([], {"gap": "1"}, {SECOND: NIGHT})
        longer = {**NIGHT, "to": "2026-11-22T20:00:00.000Z"}
        file.outbox.put([], gaps={SECOND + 9: longer})
        file.outbox.mark([], [SECOND])
        assert file.reopen().gaps() == {SECOND + 9: longer}
        file.outbox.mark([], [SECOND], acknowledged=False)
        assert list(file.reopen().gaps()) == [SECOND, SECOND + 9]
        monkeypatch.setattr(outbox_module, "MAX_KEPT_GAPS", 3)
        for number in range(6):
            file.outbox.put([], gaps={SECOND + number: NIGHT})
        file.outbox.mark([], [SECOND + number for number in (0, 1, 2, 4, 5)])
        file.outbox.mark([], list(file.outbox.gaps(acknowledged=True)), acknowledged=False)
        assert [second - SECOND for second in file.outbox.gaps()] == [3, 4, 5, 9]


class TestKeptPlays:
    @pytest.fixture(autouse=True)
    def keep_ten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox_module, "MAX_KEPT_PLAYS", 10)

    def test_the_newest_safe_ones_and_all_that_wait_stay(self, outbox: Outbox) -> None:
        outbox.put(closed_plays(15))
        outbox.mark([])
        assert (len(outbox), outbox.horizon_ms()) == (15, 0)
        outbox.mark([SECOND + number for number in range(10) if number != 3])
        assert outbox.horizon_ms() == 0
        outbox.mark([SECOND + number for number in range(15) if number != 3])
        assert kept(outbox) == ["P3", *(f"P{number}" for number in range(5, 15))]
        assert outbox.horizon_ms() == (SECOND + 5) * 1000, "from here on every play is known"

    def test_the_newest_is_the_polled_one_that_started_last(self, outbox: Outbox) -> None:
        assert outbox.newest() is None
        backfilled = open_play("X", 60, reason="unknown", source="backfill")
        outbox.put([open_play("B", 30), closed_play("A"), backfilled])
        outbox.mark([SECOND + 30])
        assert outbox.newest() == open_play("B", 30)
        outbox.mark_deleted([SECOND + 30])
        assert outbox.newest() == closed_play("A")

    def test_catalog_fields_stay_when_a_newer_state_has_none(self, file: OutboxFile) -> None:
        file.outbox.put([open_play("A")])
        closed = closed_play("A", seconds=60)
        file.outbox.put([replace(closed, item=replace(closed.item, catalog={}))])
        assert file.reopen().kept() == [closed]

    def test_a_deleted_play_is_never_sent_again(self, file: OutboxFile) -> None:
        file.outbox.put([closed_play("A"), closed_play("B", 30), closed_play("C", 60)])
        file.outbox.mark([SECOND, SECOND + 30])
        file.outbox.mark_deleted({SECOND, SECOND + 60, 77})
        file.outbox.mark([SECOND, SECOND + 30], acknowledged=False)
        file.outbox.put([closed_play("A", seconds=60)])
        file.outbox.mark([SECOND + 60])
        file.outbox.adopt([(SECOND, closed_play("A"))])
        other = file.reopen()
        assert waiting(other) == {30: "B"}
        assert (len(other), other.acknowledged()) == (1, [])
        plays = (closed_play("A"), closed_play("B", 30), closed_play("C", 60))
        assert [other.is_deleted(play) for play in plays] == [True, False, True]

    def test_a_deleted_play_is_kept_without_names(self, file: OutboxFile) -> None:
        play = closed_play("A")
        play = replace(play, item=replace(play.item, catalog={"name": "A", "isrc": "FRZ030000001"}))
        file.outbox.put([play, closed_play("B", 30)])
        file.outbox.mark_deleted([SECOND])
        found, other = file.reopen().kept()
        assert identity(found) == identity(play)
        assert (found.item.catalog, found.item.duration_ms) == ({"isrc": "FRZ030000001"}, 200_000)
        assert (found.ended_ms, found.ms_played, found.end_reason) == (play.ended_ms, 30_000, "skipped")
        assert set(found.fields) == {"uri", "type", "id", "duration_ms", "playing"}
        assert other == closed_play("B", 30)

    def test_deleted_plays_count_among_the_known_ones(self, outbox: Outbox) -> None:
        outbox.put(closed_plays(15))
        outbox.mark(range(SECOND, SECOND + 15))
        outbox.mark_deleted(range(SECOND + 7, SECOND + 12))
        assert outbox.horizon_ms() == (SECOND + 5) * 1000
        outbox.put(closed_plays(8, start=100))
        outbox.mark(range(SECOND + 100, SECOND + 108))
        assert kept(outbox) == ["P13", "P14", *(f"P{number}" for number in range(100, 108))]


class TestCorruption:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"SQLite format 4\0" + b"x" * 5000, id="not a database"),
            pytest.param(b"\0" * 8192, id="zeros, as after a power cut"),
            pytest.param(b"SQLite format 3\0" + b"\xff" * 5000, id="garbage after a good header"),
        ],
    )
    def test_a_corrupt_file_is_set_aside(self, tmp_path: Path, logged: Logged, content: bytes) -> None:
        path = tmp_path / "outbox.sqlite"
        path.write_bytes(content)
        path.with_name("outbox.sqlite.bad").write_bytes(b"an older one")
        path.with_name("outbox.sqlite-wal").write_bytes(content)
        file = OutboxFile(path)
        file.outbox.put([closed_play("A")])
        assert waiting(file.reopen()) == {0: "A"}
        assert path.with_name("outbox.sqlite.bad").read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600
        file.close()
        assert logged() == [f"{path} is corrupt: kept as outbox.sqlite.bad, starting a new one"]

    def test_another_schema_is_set_aside(self, file: OutboxFile, logged: Logged) -> None:
        file.execute("DROP TABLE plays")
        file.execute("CREATE TABLE plays (title TEXT)")
        other = file.reopen()
        other.put([closed_play("A")])
        assert waiting(file.reopen()) == {0: "A"}
        assert file.path.with_name("outbox.sqlite.bad").exists()
        assert len(logged()) == 1

    def test_all_that_can_be_read_of_a_damaged_file_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "outbox.sqlite"
        file = OutboxFile(path)
        file.outbox.put(closed_plays(300), {"tracker": "x"})
        file.close()
        content = path.read_bytes()
        page = content.index(b'"P150"') // 4096
        path.write_bytes(content[: page * 4096] + b"\xff" * 4096 + content[(page + 1) * 4096 :])
        file = OutboxFile(path)
        found = waiting(file.outbox)
        assert 280 < len(found) < 300
        assert {0: "P0", 299: "P299"}.items() <= found.items()
        file.outbox.put([closed_play("new", 400)])
        other = file.reopen()
        assert waiting(other) == {**found, 400: "new"}
        assert other.note("tracker") == "x"
        file.close()

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("fields", "["),
            ("fields", "{}"),
            ("fields", "[" * 100_000),
            ("fields", b"\xff\xfe"),
            ("fields", '{"uri": "u", "started_at": "soon", "ended_at": "later", "ms_played": 1}'),
        ],
    )
    def test_an_invalid_play_is_deleted(
        self, file: OutboxFile, logged: Logged, column: str, value: str | bytes
    ) -> None:
        file.outbox.put([closed_play("A"), closed_play("B", 30), closed_play("C", 60)])
        file.execute(f"UPDATE plays SET {column} = ? WHERE key = ?", value, SECOND + 30)
        for _ in range(2):
            assert waiting(file.outbox) == {0: "A", 60: "C"}
        assert kept(file.reopen()) == ["A", "C"]
        (line,) = logged()
        assert "2026-11-22T18:00:30.000Z" in line

    @pytest.mark.parametrize("fields", ["{", "7", '{"from": "soon", "to": 5, "reason": "x"}', b"\xff"])
    def test_an_invalid_gap_is_deleted(self, file: OutboxFile, fields: str | bytes) -> None:
        file.outbox.put([], gaps={SECOND: NIGHT})
        file.execute("UPDATE gaps SET fields = ?", fields)
        assert file.outbox.gaps() == {}
        assert file.outbox.read("SELECT * FROM gaps") == []


class FailingDisk:
    """A disk that fails on demand: with `error` at every SQL statement that begins with one of `at`."""

    def __init__(self) -> None:
        self.error = ""
        self.at: tuple[str, ...] = ("COMMIT",)
        disk = self

        class CheckedConnection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever it takes
                disk.check(sql)
                return super().execute(sql, *values)

            def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
                disk.check(sql)
                return super().executemany(sql, *values)

            def commit(self) -> None:
                disk.check("COMMIT")
                super().commit()

        self.connect = lambda name: sqlite3.connect(name, isolation_level=None, factory=CheckedConnection)

    def check(self, sql: str) -> None:
        if self.error and sql.lstrip().startswith(self.at):
            raise sqlite3.OperationalError(self.error)


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
def fragile(tmp_path: Path, disk: FailingDisk) -> Iterator[OutboxFile]:
    """An outbox on that disk, with a queued play, a safe one, a gap and a note."""
    file = OutboxFile(tmp_path / "outbox.sqlite", disk.connect)
    file.outbox.put([closed_play("A"), closed_play("B", 30)], {"tracker": "AB"})
    file.outbox.mark([SECOND])
    file.outbox.put([], gaps={SECOND: NIGHT})
    yield file
    file.close()


def content(outbox: Outbox) -> dict[str, list[tuple[object, ...]]]:
    return {table: outbox.read(f"SELECT * FROM {table}") for table in Outbox.TABLES}


class TestDisk:
    @pytest.mark.parametrize(
        ("error", "at"),
        [
            (FULL, ("COMMIT",)),
            ("attempt to write a readonly database", ("INSERT", "REPLACE")),
            ("disk I/O error", ("BEGIN",)),
            ("database is locked", ("PRAGMA", "COMMIT")),
        ],
    )
    def test_while_it_fails_everything_goes_on_in_memory(
        self, fragile: OutboxFile, disk: FailingDisk, logged: Logged, error: str, at: tuple[str, ...]
    ) -> None:
        outbox = fragile.outbox
        disk.error, disk.at = error, at
        outbox.put([closed_play("C", 60)], {"tracker": "ABC"})
        outbox.put([open_play("D", 90)])
        assert waiting(outbox) == {30: "B", 60: "C", 90: "D"}
        assert (outbox.note("tracker"), outbox.acknowledged()) == ("ABC", [SECOND])
        assert outbox.gaps() == {SECOND: NIGHT}
        assert error in outbox.trouble
        for _ in range(3):
            fragile.clock.sleep(DISK_RETRY)
            outbox.put([open_play("D", 90, 60)])
        disk.error = ""
        outbox.put([open_play("D", 90, 70)])
        assert fragile.on_disk() == {"A": 30, "B": 30}
        fragile.clock.sleep(DISK_RETRY)
        outbox.mark([SECOND + 30], [SECOND])
        assert outbox.trouble == ""
        other = fragile.reopen()
        assert waiting(other) == {60: "C", 90: "D"}
        assert fragile.on_disk() == {"A": 30, "B": 30, "C": 30, "D": 70}
        assert (other.note("tracker"), other.gaps()) == ("ABC", {})
        failed, works_again = logged()
        assert "in memory" in failed
        assert "is writable again" in works_again

    @pytest.mark.parametrize(
        ("at", "change"),
        [
            ("UPDATE", lambda outbox: outbox.put([closed_play("C", 60), closed_play("B", 30, 60)])),
            ("INSERT", lambda outbox: outbox.put([closed_play("B", 30, 60), closed_play("C", 60)])),
            ("DELETE FROM gaps", lambda outbox: outbox.mark([SECOND + 30], [SECOND])),
            ("REPLACE INTO notes", lambda outbox: outbox.put([], {"gap": "1"}, {SECOND: NIGHT})),
        ],
    )
    def test_a_change_that_failed_halfway_is_completed_in_memory(
        self, tmp_path: Path, fragile: OutboxFile, disk: FailingDisk, at: str, change: Change
    ) -> None:
        healthy = tmp_path / "healthy.sqlite"
        with closing(sqlite3.connect(healthy)) as copy:
            fragile.outbox._database.backup(copy)
        expected = OutboxFile(healthy)
        change(expected.outbox)
        disk.error, disk.at = FULL, (at,)
        change(fragile.outbox)
        assert fragile.outbox.trouble
        assert fragile.on_disk() == {"A": 30, "B": 30}, "nothing of it is in the file"
        assert content(fragile.outbox) == content(expected.outbox)
        for failing in ("DELETE", "UPDATE plays", "REPLACE INTO gaps", "COMMIT", ""):
            disk.error, disk.at = failing and FULL, (failing,)
            fragile.clock.sleep(DISK_RETRY)
            fragile.outbox.put([], {"x": ""})
            assert bool(fragile.outbox.trouble) is bool(failing)
        expected.outbox.put([], {"x": ""})
        assert content(fragile.reopen()) == content(expected.outbox)
        expected.close()

    def test_plays_of_a_disk_that_could_not_be_read_are_merged(
        self, fragile: OutboxFile, disk: FailingDisk
    ) -> None:
        disk.error, disk.at = "disk I/O error", ("SELECT", "BEGIN", "PRAGMA")
        assert fragile.outbox.note("tracker") == ""
        fragile.outbox.put([closed_play("X", 30.5), open_play("B", 30, 10)])
        assert waiting(fragile.outbox) == {30: "X", 31: "B"}
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.put([closed_play("C", 60)])
        assert waiting(fragile.outbox) == {30: "B", 31: "X", 60: "C"}
        assert closed_play("B", 30) in fragile.outbox.kept()
        assert (fragile.outbox.note("tracker"), fragile.outbox.trouble) == ("AB", "")

    def test_a_read_only_disk_is_read(self, fragile: OutboxFile, disk: FailingDisk) -> None:
        disk.error, disk.at = "attempt to write a readonly database", ("PRAGMA",)
        file = OutboxFile(fragile.path, disk.connect)
        file.outbox.put([closed_play("D", 60.5)])
        assert waiting(file.outbox) == {30: "B", 60: "D"}
        disk.error = ""
        file.clock.sleep(DISK_RETRY)
        file.outbox.set_note("x", "y")
        assert file.on_disk() == {"A": 30, "B": 30, "D": 30}
        file.close()

    def test_close_tries_it_once_more(self, fragile: OutboxFile, disk: FailingDisk) -> None:
        disk.error = FULL
        fragile.outbox.put([closed_play("C", 60)])
        disk.error = ""
        fragile.outbox.close()
        assert "C" in fragile.on_disk()

    def test_a_missing_folder_or_a_corrupt_file_is_tried_again(self, tmp_path: Path) -> None:
        file = OutboxFile(tmp_path / "stick" / "outbox.sqlite")
        file.outbox.put([closed_play("A")])
        (tmp_path / "stick").mkdir()
        file.clock.sleep(DISK_RETRY)
        file.outbox.put([closed_play("B", 30)])
        assert file.on_disk() == {"A": 30, "B": 30}
        file.close()
        path = tmp_path / "outbox.sqlite"
        path.write_bytes(b"x" * 5000)
        path.with_name("outbox.sqlite.bad").mkdir()
        file = OutboxFile(path)
        file.outbox.put([closed_play("A")])
        assert file.outbox.trouble
        path.with_name("outbox.sqlite.bad").rmdir()
        file.clock.sleep(DISK_RETRY)
        for _ in range(2):
            file.outbox.put([closed_play("B", 30)])
        assert file.outbox.trouble == ""
        assert file.on_disk() == {"A": 30, "B": 30}
        file.close()


def size(outbox: Outbox) -> int:
    """Return the bytes in use."""
    ((pages,),), ((free,),) = outbox.read("PRAGMA page_count"), outbox.read("PRAGMA freelist_count")
    return int(pages - free) * 1024


class TestLimits:
    def test_the_oldest_plays_are_dropped_and_counted(
        self, file: OutboxFile, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        monkeypatch.setattr(outbox_module, "MAX_BYTES_ON_DISK", 200_000)
        number = 0
        while not (lines := logged()):
            file.outbox.put(closed_plays(10, start=10 * number))
            number += 1
            assert number < 200
        (line,) = lines
        assert "lost 100 plays, from 2026-11-22T18:00:00.000Z on" in line
        assert list(waiting(file.reopen())) == list(range(100, 10 * number))

    def test_safe_plays_are_dropped_first(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        outbox.put(closed_plays(200))
        outbox.mark(range(SECOND + 50, SECOND + 150))
        monkeypatch.setattr(outbox_module, "MAX_BYTES_ON_DISK", size(outbox) - 1)
        outbox.put([closed_play("last", 200)])
        assert outbox.acknowledged() == []
        assert list(waiting(outbox)) == [*range(50), *range(150, 201)]
        assert logged() == []

    def test_plays_dropped_from_memory_stay_on_disk(
        self, fragile: OutboxFile, disk: FailingDisk, monkeypatch: pytest.MonkeyPatch, logged: Logged
    ) -> None:
        fragile.outbox.put(closed_plays(400, start=100))
        monkeypatch.setattr(outbox_module, "MAX_BYTES_IN_MEMORY", 100_000)
        disk.error = FULL
        fragile.outbox.put([closed_play("last", 900)])
        assert size(fragile.outbox) <= 100_000
        assert 900 in waiting(fragile.outbox)
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.set_note("x", "y")
        assert len(fragile.on_disk()) == 403
        assert "unless they are on disk" in logged()[1]

    def test_names_of_a_play_deleted_from_memory_leave_the_disk(
        self, fragile: OutboxFile, disk: FailingDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fragile.outbox.put(closed_plays(400, start=100))
        monkeypatch.setattr(outbox_module, "MAX_BYTES_IN_MEMORY", 100_000)
        disk.error = FULL
        fragile.outbox.put([closed_play("last", 900)])
        fragile.outbox.mark_deleted({SECOND + 499})
        disk.error = ""
        fragile.clock.sleep(DISK_RETRY)
        fragile.outbox.set_note("x", "y")
        (deleted,) = fragile.reopen().rows([SECOND + 499])
        assert "name" not in {**deleted.play.fields, **deleted.play.item.catalog}

    def test_a_play_is_replaced_as_a_whole(self, file: OutboxFile, monkeypatch: pytest.MonkeyPatch) -> None:
        file.outbox.put([closed_play("A")])
        transactions: list[object] = []
        write = file.outbox.write

        def counted(change: Callable[[sqlite3.Connection], object], *, is_urgent: bool = True) -> None:
            transactions.append(change)
            write(change, is_urgent=is_urgent)

        monkeypatch.setattr(file.outbox, "write", counted)
        file.outbox.replace(closed_play("A"), (SECOND + 1, closed_play("A", 1)))
        assert len(transactions) == 1
        assert [identity(play) for play in file.reopen().kept()] == [identity(closed_play("A", 1))]
