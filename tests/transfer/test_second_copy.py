"""What Redis loses comes back from the second copy, which never loses anything itself."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.cli import main
from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.redis_keys import REVISIONS, STATUS
from spotify_logger.core.times import to_iso
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE, Outbox
from spotify_logger.system import program
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer import second_copy
from spotify_logger.transfer.check import check
from spotify_logger.transfer.delete import forget
from spotify_logger.transfer.export import LogPeriod
from spotify_logger.transfer.importer.command import import_history
from spotify_logger.transfer.second_copy import update
from tests.redis_log import SECOND, RedisLog, item, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400
MONTHS = ["2026-09", "2026-10", "2026-11"]
LOG_ID = "1234"
LOCAL_URI = "spotify:local:a:b:c:1"


class CopiedLog(RedisLog):
    """The log of anna, which has a prefix, and its second copy."""

    def __init__(self, url: str, state: Path) -> None:
        super().__init__(url, "m:anna:")
        since = SECOND + DAY - time.monotonic()
        self.store = Archive(url, self.prefix, lambda: since + time.monotonic(), listener="anna")
        self.state = state
        self.folder = state / "plays"

    def update(self) -> str:
        return update(self.store, self.state)

    def files(self) -> dict[str, tuple[int, int]]:
        """Return what a write of a file would change."""
        found = {path.name.removesuffix(".jsonl.gz"): path.stat() for path in self.folder.iterdir()}
        return {name: (status.st_ino, status.st_ctime_ns) for name, status in sorted(found.items())}

    def copied(self, month: str = MONTHS[-1]) -> list[str]:
        """Return the keys of the plays that the copy has."""
        lines = gzip.decompress((self.folder / f"{month}.jsonl.gz").read_bytes()).splitlines()
        rows = [json.loads(line) for line in lines]
        return sorted(f"listening:{row['second']}" for row in rows if row["kind"] == "play")

    def logged(self) -> dict[str, dict[str, str]]:
        """Return all hashes but the status."""
        return {name: fields for name, fields in self.everything().items() if name != STATUS}

    def lose(self) -> None:
        """Empty the server, as a mistake would; the logger notes that."""
        self.begin()
        self.raw.hset(self.prefix + STATUS, "log_id", "")


@pytest.fixture
def log(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CopiedLog]:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state" / "anna"
    settings = {
        "SPOTIFY_CLIENT_ID": "0" * 32,
        "REDIS_URL": redis_url,
        "REDIS_PREFIX": "m:",
        "LISTENER": "anna",
        "STATE_DIR": str(state.parent),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    state.mkdir(mode=0o700, parents=True)
    outbox = Outbox(state / OUTBOX_FILE, lambda: 0.0)
    outbox.set_note(LOG_ID_NOTE, LOG_ID)
    outbox.close()
    with closing(CopiedLog(redis_url, state)) as log:
        log.write(
            play(item("O", isrc=None, artist_ids=None), -60 * DAY, source="import"),
            play("B", -30 * DAY, 120, source="backfill"),
            play("A"),
            play(item("L", catalog_key("track", "", LOCAL_URI), uri=LOCAL_URI), 300),
            play("A", 600, 100, None),
        )
        log.write_gap()
        log.raw.hset(log.prefix + STATUS, mapping={"log_id": LOG_ID, "last_play": f"listening:{SECOND}"})
        yield log


def restore(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = main.main(["restore", "--json", *arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out or "{}"), err


def test_a_log_that_is_lost_comes_back_hash_for_hash(
    log: CopiedLog, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert log.update() == ""
    assert list(log.files()) == MONTHS
    assert {path.stat().st_mode & 0o777 for path in log.folder.iterdir()} == {0o600}
    elsewhere, before = shutil.copytree(log.folder, tmp_path / "elsewhere"), log.logged()
    for arguments in ([], [str(elsewhere)], [str(path) for path in sorted(elsewhere.iterdir())]):
        log.lose()
        for new in (5, 0):
            code, data, _ = restore(capsys, *arguments)
            assert (code, data["new"], data["live"] + data["imported"]) == (0, new, 5 - new)
            assert log.logged() == before
        # Its own copy makes it the log of the state folder again; any other might be incomplete.
        assert log.kept(STATUS)["log_id"] == ("" if arguments else LOG_ID)


def test_a_damaged_file_is_named_and_the_rest_comes_back(
    log: CopiedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.update()
    damaged = log.folder / "2026-11.jsonl.gz"
    content = damaged.read_bytes()[:-300]
    damaged.write_bytes(content)
    log.lose()
    code, data, _ = restore(capsys)
    assert (code, data["new"], [each["file"] for each in data["refused"]]) == (1, 2, [str(damaged)])
    assert log.kept(STATUS)["log_id"] == ""
    log.write(play("C", 900))
    assert log.update() == ""
    assert log.copied() == [f"listening:{SECOND + 900}"]
    assert damaged.with_name("2026-11.jsonl.gz.bad").read_bytes() == content


def test_only_what_has_changed_is_written(log: CopiedLog) -> None:
    log.update()
    before = log.files()
    assert log.update() == ""
    assert log.files() == before
    check(log.store, SECOND, repair=True)  # touches every day, and changes none
    log.update()
    assert {name: inode for name, (inode, _) in log.files().items()} == {
        name: inode for name, (inode, _) in before.items()
    }
    before = log.files()
    log.write(play("C", 900))
    log.update()
    assert [name for name, file in log.files().items() if before[name] != file] == MONTHS[-1:]
    assert f"listening:{SECOND + 900}" in log.copied()
    for day, revision in (("9999-12-31", "1"), ("never", ""), ("2026-09-23", "9" * 18)):
        log.raw.hset(log.prefix + REVISIONS, day, revision)
    assert log.update() == ""
    assert list(log.files()) == MONTHS


def test_what_redis_has_lost_stays_in_the_copy_until_it_is_back(
    log: CopiedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.update()
    everything = log.logged()
    log.lose()
    assert log.update() == ""
    assert list(log.files()) == MONTHS
    log.write(play("C", 900))
    log.raw.hset(f"{log.prefix}listening:{SECOND + 300}", "device_name", "Desk")  # what is left of a play
    for _ in range(2):
        assert "3 plays" in (trouble := log.update())
        assert "spotify-logger restore" in trouble
        log.raw.hset(log.prefix + REVISIONS, "2026-11-22", "1")
    assert log.copied() == [f"listening:{SECOND + at}" for at in (0, 300, 600, 900)]
    code, data, _ = restore(capsys)
    assert (code, data["new"]) == (0, 5)
    found = log.logged()
    assert {name: found[name] for name in everything if not name.startswith("plays:")} == {
        name: fields for name, fields in everything.items() if not name.startswith("plays:")
    }
    assert sorted(found["plays:2026-11-22"]) == [str(SECOND + at) for at in (0, 300, 600, 900)]
    log.raw.delete(f"{log.prefix}track:A")
    assert log.update() == ""
    assert restore(capsys)[1]["items"]["new"] == 1
    assert log.kept("track:A") == everything["track:A"]


def export_of(log: CopiedLog, name: str, second: float, ms_played: int) -> Path:
    """Return Spotify's export of a play."""
    row = {"ts": to_iso(round(second) * 1000 + ms_played)[:19] + "Z", "ms_played": ms_played}
    row |= {"spotify_track_uri": f"spotify:track:{name}", "offline_timestamp": round(second)}
    names = {"master_metadata_track_name": name, "master_metadata_album_artist_name": "Daft Punk"}
    path = log.state / f"Streaming_History_Audio_{name}.json"
    path.write_text(json.dumps([{**row, **names}]))
    return path


def test_what_was_deleted_or_gave_way_to_a_better_record_leaves_the_copy(
    log: CopiedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.update()
    for second in (SECOND, SECOND - 60 * DAY):  # that is all of a month
        forget(LogPeriod(log.store), f"listening:{second}", SECOND + 7200.0, None)
    begun = SECOND - 30 * DAY + 1
    import_history(log.store, [export_of(log, "B", begun, 119_000)])
    assert log.update() == ""
    assert list(log.files()) == MONTHS[1:]
    assert log.copied() == [f"listening:{SECOND + at}" for at in (300, 600)]
    assert log.copied("2026-10") == [f"listening:{begun}"]
    before = log.logged()
    assert restore(capsys)[1]["new"] == 0
    assert log.logged() == before


def test_a_worse_record_of_what_was_lost_does_not_take_its_place(
    log: CopiedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.update()
    whole = log.kept(f"listening:{SECOND}")
    log.lose()
    import_history(log.store, [export_of(log, "A", SECOND + 1, 199_000)])
    assert log.kept(f"listening:{SECOND + 1}")["source"] == "import"
    assert "3 plays" in log.update()
    assert log.copied() == [f"listening:{SECOND + at}" for at in (0, 300, 600)]
    assert restore(capsys)[1]["improved"] == 1
    assert log.kept(f"listening:{SECOND}") == whole
    assert log.kept(f"listening:{SECOND + 1}") == {}


def test_a_copy_of_another_log_is_neither_written_nor_brought_in(
    log: CopiedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.update()
    before = log.files()
    log.begin()
    log.write(play("X", 1200))
    log.raw.hset(log.prefix + STATUS, "log_id", "9999")
    with pytest.raises(SpotifyLoggerError, match="another logger"):
        log.update()
    code, _, err = restore(capsys)
    assert (code, log.files(), "another logger" in err) == (1, before, True)
    assert list(log.kept("plays:2026-11-22")) == [str(SECOND + 1200)]


def test_the_rest_of_a_full_disk_is_left_to_others(
    log: CopiedLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(capsys)[0] == 1  # there is none yet
    monkeypatch.setattr(second_copy, "MIN_FREE", 1 << 62)
    with pytest.raises(SpotifyLoggerError, match="nearly full"):
        log.update()
    assert list(log.folder.iterdir()) == []


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace", "os.utime"])
def test_a_power_cut_leaves_the_old_file_or_the_new_one(log: CopiedLog, moment: str) -> None:
    module = "spotify_logger.transfer.second_copy"
    dying = f"import os, pathlib, runpy; {moment} = lambda *_, **__: os.kill(os.getpid(), 9)"
    log.update()
    old = log.copied()
    log.write(play("C", 900))
    killed = subprocess.run(
        [sys.executable, "-c", f"{dying}; runpy.run_module({module!r}, None, '__main__')"], check=False
    )
    assert killed.returncode == -9
    new = [*old, f"listening:{SECOND + 900}"]
    assert log.copied() == (new if moment == "os.utime" else old)
    assert subprocess.run(program.module_command(module), check=False).returncode == 0
    assert (log.copied(), [path.name[:7] for path in sorted(log.folder.iterdir())]) == (new, MONTHS)
