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

T = 1_795_370_400
"""2026-11-22T18:00:00Z by the server's clock."""
SERVER = "# Server\r\nredis_version:7.2.4\r\nrun_id:9c5c\r\ntcp_port:6379\r\n"
NO_SAVE, SAVE = ["save", ""], ["save", "3600 1 300 100"]

AOF = Persistence("a", aof=True, aof_ok=True)
AOF_BROKEN = Persistence("a", aof=True, aof_ok=False)
NOTHING = Persistence("a", saves=False)
UNKNOWN = Persistence("a")


def info(
    *, aof: int = 0, aof_status: str = "ok", saved_at: int = T, took: int = -1, status: str = "ok"
) -> str:
    """Return a reply to `INFO persistence`."""
    return (
        f"# Persistence\r\naof_enabled:{aof}\r\naof_last_write_status:{aof_status}\r\n"
        f"rdb_last_save_time:{saved_at}\r\nrdb_last_bgsave_time_sec:{took}\r\nrdb_last_bgsave_status:{status}\r\n"
    )


def is_safe(persistence: Persistence, age: float, server_second: int = T, **proof: bool | None) -> bool:
    receipts = Receipts()
    receipts.add("a", Receipt(1000.0, server_second))
    synced, replicated = proof.get("synced"), proof.get("replicated", True) is True
    return receipts.pop_saved(persistence, 1000.0 + age, synced=synced, replicated=replicated) == ["a"]


@pytest.mark.parametrize(
    ("reply", "save", "expected"),
    [
        (info(aof=1), NO_SAVE, Persistence("9c5c", aof=True, aof_ok=True, saved_before=T - 1, saves=False)),
        (info(aof_status="err", took=7), SAVE, Persistence("9c5c", saved_before=T - 8, saves=True)),
        (info(took=7, status="err"), None, Persistence("9c5c", aof_ok=True)),
    ],
    ids=["append-only file", "snapshot", "failed snapshot, and no CONFIG"],
)
def test_replies_are_understood(reply: str, save: object, expected: Persistence) -> None:
    assert read_persistence(SERVER, reply, save) == expected


@pytest.mark.parametrize(
    "reply", [None, 7, [], "", "\r\n:\r\nx", "run_id\r\naof_enabled", "rdb_last_save_time:-1"]
)
def test_garbage_vouches_for_nothing(reply: object) -> None:
    persistence = read_persistence(reply, reply, reply)
    assert persistence == Persistence(aof_ok=True)
    assert not is_safe(persistence, age=10 * ONE_DAY)


def test_words_for_people() -> None:
    words = [each.words.partition(":")[0] for each in (AOF, NOTHING, Persistence(saves=True), UNKNOWN)]
    assert words == ["append-only file", "none", "snapshots", "unknown"]


@pytest.mark.parametrize(
    ("persistence", "age", "synced", "safe"),
    [
        pytest.param(AOF, 0, True, True, id="WAITAOF says so"),
        pytest.param(AOF, ONE_DAY - 1, False, False, id="appendfsync no: it never says so"),
        pytest.param(AOF, ONE_DAY, False, True, id="appendfsync no: after a day"),
        pytest.param(AOF_BROKEN, ONE_DAY - 1, False, False, id="a file that cannot be written"),
        pytest.param(AOF, SYNC_SECONDS - 0.1, None, False, id="no WAITAOF: not within two seconds"),
        pytest.param(AOF, SYNC_SECONDS, None, True, id="no WAITAOF: after two seconds"),
        pytest.param(AOF_BROKEN, ONE_DAY, None, False, id="no WAITAOF, and the file cannot be written"),
        pytest.param(NOTHING, ONE_DAY - 1, None, False, id="it forgets: not within a day"),
        pytest.param(NOTHING, ONE_DAY, None, True, id="it forgets: after a day"),
        pytest.param(UNKNOWN, 99 * ONE_DAY, None, False, id="unknown whether it forgets"),
    ],
)
def test_when_a_write_is_safe(
    persistence: Persistence, age: float, *, synced: bool | None, safe: bool
) -> None:
    assert is_safe(persistence, age, synced=synced) is safe
    assert not is_safe(persistence, min(age, ONE_DAY - 1), synced=synced, replicated=False)


@pytest.mark.parametrize(
    ("written", "saved_at", "took", "status", "safe"),
    [
        pytest.param(T, T - 5, 0, "ok", False, id="a snapshot from before"),
        pytest.param(T, T + 10, 3, "ok", True, id="begun after the write"),
        pytest.param(T, T + 10, 9, "ok", False, id="a second later, by clocks in whole seconds"),
        pytest.param(T, T + 60, 3, "err", False, id="a failed one"),
        pytest.param(0, T + 60, 3, "ok", False, id="a write at an unknown time"),
    ],
)
def test_when_a_snapshot_holds_a_write(
    written: int, saved_at: int, took: int, status: str, *, safe: bool
) -> None:
    persistence = read_persistence(SERVER, info(saved_at=saved_at, took=took, status=status), SAVE)
    assert is_safe(persistence, 5, server_second=written) is safe


def test_with_an_append_only_file_snapshots_do_not_count() -> None:
    """At its next start the server reads that file, and no snapshot."""
    assert not is_safe(Persistence(aof=True, aof_ok=True, saved_before=T + 60), 60, synced=False)


def test_receipts_are_taken_out_once_proven_changed_or_lost() -> None:
    receipts = Receipts()
    for key, at in (("a", 0.0), ("b", 1.0), ("c", 0.0), ("c", 2.0), ("d", 0.0)):
        receipts.add(key, Receipt(at, T))
    receipts.discard("d")
    receipts.discard("unknown")
    assert receipts.pop_saved(AOF, SYNC_SECONDS, synced=None, replicated=True) == ["a"]
    assert receipts.keys() == {"b", "c"}
    assert receipts.pop_saved(AOF, SYNC_SECONDS + 1, synced=None, replicated=True) == ["b"]
    assert len(receipts) == 1
    receipts.clear()
    assert receipts.pop_saved(AOF, ONE_DAY, synced=True, replicated=True) == []
