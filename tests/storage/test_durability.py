from __future__ import annotations

import pytest

from spotify_logger.storage.durability import (
    ONE_DAY,
    SYNC_SECONDS,
    Persistence,
    Receipt,
    Receipts,
    read_persistence,
)
from spotify_logger.storage.redis_errors import ADVICE_BY_CODE, Refusal

T = 1_795_370_400
"""2026-11-22T18:00:00Z by the server's clock."""
SERVER = "# Server\r\nredis_version:7.2.4\r\nrun_id:9c5c5d6c\r\ntcp_port:6379\r\n"
REFUSED = Refusal("NOPERM", ADVICE_BY_CODE["NOPERM"])
NO_SAVE, SAVE = ["save", ""], ["save", "3600 1 300 100"]

AOF = Persistence("a", aof=True, aof_ok=True)
AOF_BROKEN = Persistence("a", aof=True, aof_ok=False)
NOTHING = Persistence("a", saves=False)
UNKNOWN = Persistence("a")


def told(**fields: object) -> str:
    """What `INFO persistence` says."""
    return "# Persistence\r\n" + "".join(f"{name}:{value}\r\n" for name, value in fields.items())


def snapshot(ready: int, took: int = 0, status: str = "ok") -> str:
    return told(
        aof_enabled=0,
        aof_last_write_status="ok",
        rdb_last_save_time=ready,
        rdb_last_bgsave_time_sec=took,
        rdb_last_bgsave_status=status,
    )


class TestReading:
    @pytest.mark.parametrize(
        ("persistence", "save", "expected"),
        [
            pytest.param(
                told(aof_enabled=1, aof_last_write_status="ok", rdb_last_save_time=T),
                NO_SAVE,
                Persistence("9c5c5d6c", aof=True, aof_ok=True, saved_before=T - 1, saves=False),
                id="an append-only file",
            ),
            pytest.param(
                told(aof_enabled=1, aof_last_write_status="err", rdb_last_save_time=T),
                SAVE,
                Persistence("9c5c5d6c", aof=True, aof_ok=False, saved_before=T - 1, saves=True),
                id="one that cannot be written",
            ),
            pytest.param(
                snapshot(T, took=-1),
                NO_SAVE,
                Persistence("9c5c5d6c", aof_ok=True, saved_before=T - 1, saves=False),
                id="nothing, just started",
            ),
            pytest.param(
                snapshot(T, took=7),
                SAVE,
                Persistence("9c5c5d6c", aof_ok=True, saved_before=T - 8, saves=True),
                id="a snapshot that took seven seconds",
            ),
            pytest.param(
                snapshot(T, took=7, status="err"),
                SAVE,
                Persistence("9c5c5d6c", aof_ok=True, saved_before=0, saves=True),
                id="a snapshot that failed",
            ),
            pytest.param(
                snapshot(T),
                REFUSED,
                Persistence("9c5c5d6c", aof_ok=True, saved_before=T - 1, saves=None),
                id="an ACL without CONFIG",
            ),
        ],
    )
    def test_what_a_server_says(self, persistence: str, save: object, expected: Persistence) -> None:
        assert read_persistence(SERVER, persistence, save) == expected

    @pytest.mark.parametrize("said", [REFUSED, None, 7, [], "", "\r\n:\r\nx", "run_id\r\naof_enabled"])
    def test_where_it_says_nothing_nothing_is_taken_for_safe(self, said: object) -> None:
        persistence = read_persistence(said, said, said)
        assert persistence == Persistence(aof_ok=True)
        assert not is_safe(persistence, age=10 * ONE_DAY)

    @pytest.mark.parametrize("time", ["", "-1", "soon", "9" * 400, "\u0663", "1.5"])
    def test_garbage_is_no_time(self, time: str) -> None:
        persistence = read_persistence(SERVER, f"rdb_last_save_time:{time}", SAVE)
        assert persistence.saved_before == 0

    @pytest.mark.parametrize("save", [["save"], ["save", "", "more"], "save", [], None])
    def test_garbage_is_no_word_about_snapshots(self, save: object) -> None:
        assert read_persistence(SERVER, snapshot(T), save).saves is None

    @pytest.mark.parametrize(
        ("persistence", "words"),
        [
            (AOF, "append-only file"),
            (AOF_BROKEN, "append-only file"),
            (NOTHING, "none: it forgets with its next restart"),
            (Persistence(saves=True), "snapshots"),
            (UNKNOWN, "unknown"),
        ],
    )
    def test_what_a_person_may_know(self, persistence: Persistence, words: str) -> None:
        assert persistence.words == words


def is_safe(
    persistence: Persistence,
    age: float,
    *,
    server_second: int = T,
    synced: bool | None = None,
    replicated: bool = True,
) -> bool:
    receipts = Receipts()
    receipts.add("a", Receipt(1000.0, server_second))
    return receipts.proven(persistence, 1000.0 + age, synced=synced, replicated=replicated) == ["a"]


class TestProofs:
    @pytest.mark.parametrize(
        ("persistence", "age", "synced", "safe"),
        [
            pytest.param(AOF, 0, True, True, id="WAITAOF says so"),
            pytest.param(AOF, 60, False, False, id="WAITAOF says no"),
            pytest.param(AOF, ONE_DAY - 1, False, False, id="appendfsync no: it never says so"),
            pytest.param(AOF, ONE_DAY, False, True, id="appendfsync no: after a day"),
            pytest.param(AOF_BROKEN, ONE_DAY - 1, False, False, id="a file that cannot be written"),
            pytest.param(AOF, SYNC_SECONDS - 0.1, None, False, id="no WAITAOF: not within two seconds"),
            pytest.param(AOF, SYNC_SECONDS, None, True, id="no WAITAOF: after two seconds"),
            pytest.param(AOF_BROKEN, ONE_DAY, None, False, id="no WAITAOF, and the file cannot be written"),
            pytest.param(NOTHING, ONE_DAY - 1, None, False, id="it forgets: not within a day"),
            pytest.param(NOTHING, ONE_DAY, None, True, id="it forgets: after a day"),
            pytest.param(UNKNOWN, 99 * ONE_DAY, None, False, id="nobody knows whether it forgets"),
        ],
    )
    def test_when_a_write_is_safe(
        self, persistence: Persistence, age: float, *, synced: bool | None, safe: bool
    ) -> None:
        assert is_safe(persistence, age, synced=synced) is safe

    @pytest.mark.parametrize(
        ("written", "ready", "took", "status", "safe"),
        [
            pytest.param(T, T - 5, 0, "ok", False, id="a snapshot from before"),
            pytest.param(T, T + 10, 3, "ok", True, id="begun after the write"),
            pytest.param(T, T + 10, 10, "ok", False, id="begun in the same second"),
            pytest.param(T, T + 10, 9, "ok", False, id="a second later, by clocks in whole seconds"),
            pytest.param(T, T + 10, 30, "ok", False, id="written while it was made"),
            pytest.param(T, T + 60, 3, "err", False, id="a failed one"),
            pytest.param(T, T + 60, -1, "ok", True, id="one that does not say how long it took"),
            pytest.param(0, T + 60, 3, "ok", False, id="a write of which nobody knows when"),
        ],
    )
    def test_when_a_snapshot_holds_a_write(
        self, written: int, ready: int, took: int, status: str, *, safe: bool
    ) -> None:
        persistence = read_persistence(SERVER, snapshot(ready, took, status), SAVE)
        assert is_safe(persistence, 5, server_second=written) is safe

    def test_a_snapshot_made_by_hand_is_as_good(self) -> None:
        persistence = read_persistence(SERVER, snapshot(T + 60), NO_SAVE)
        assert is_safe(persistence, 5)

    def test_with_an_append_only_file_snapshots_do_not_count(self) -> None:
        """At its next start the server reads that file, and no snapshot."""
        assert not is_safe(Persistence(aof=True, aof_ok=True, saved_before=T + 60), 60, synced=False)


class TestReceipts:
    def test_what_is_proven_is_taken_out_and_the_rest_stays(self) -> None:
        receipts = Receipts()
        receipts.add("a", Receipt(0.0, T))
        receipts.add("b", Receipt(1.0, T))
        assert receipts.proven(AOF, SYNC_SECONDS, synced=None, replicated=True) == ["a"]
        assert receipts.keys() == {"b"}
        assert receipts.proven(AOF, SYNC_SECONDS + 1, synced=None, replicated=True) == ["b"]
        assert len(receipts) == 0

    def test_a_newer_write_begins_anew(self) -> None:
        receipts = Receipts()
        receipts.add("a", Receipt(0.0, T))
        receipts.add("a", Receipt(1.0, T))
        assert receipts.proven(AOF, SYNC_SECONDS, synced=None, replicated=True) == []

    def test_what_changed_or_broke_is_no_longer_proven(self) -> None:
        receipts = Receipts()
        receipts.add("a", Receipt(0.0, T))
        receipts.add("b", Receipt(0.0, T))
        receipts.discard("a")
        receipts.discard("never heard of")
        assert receipts.keys() == {"b"}
        receipts.clear()
        assert receipts.proven(AOF, ONE_DAY, synced=True, replicated=True) == []
