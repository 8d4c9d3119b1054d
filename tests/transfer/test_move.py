"""The log moves from one Redis to another, of whatever kind, and nothing of it is lost or doubled."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.cli import main
from spotify_logger.config import sources
from spotify_logger.config.settings import load
from spotify_logger.core.redis_keys import REVISIONS, STATUS
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import EmbeddedServer
from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE, Outbox
from spotify_logger.transfer import move as transfer_move
from tests.conftest import free_port, start_server
from tests.daemon.recorder.rig import SECOND, ended, play
from tests.servers import RedisServer, programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.core.play import Play

GAP = {"from": "2026-11-20T10:00:00.000Z", "to": "2026-11-20T11:00:00.000Z", "reason": "offline"}


def write(url: str, *plays: Play, prefix: str = "", **status: str) -> None:
    with closing(Archive(url, prefix, listener=prefix.removesuffix(":"))) as store, store.batch() as batch:
        for each in plays:
            batch.write_play(each.second, each.to_hash(), each.index)
            batch.write_hash(each.item.key, each.item.catalog)
        if status:
            batch.write_status(status)
        store.register_listener()


def content(url: str) -> dict[str, Any]:
    """Return all hashes but the revisions, which say when they were written."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        names = [name for name in client.scan_iter() if not name.endswith(REVISIONS)]
        return {name: client.hgetall(name) for name in names if client.type(name) == "hash"}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another server, at the default address: it is empty."""
    kinds = {each.id: each.values[0] for each in programs()}
    server = RedisServer(kinds.get("redis") or kinds["valkey"], tmp_path / "debian").start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sources.DEFAULTS, "REDIS_URL", f"redis://127.0.0.1:{server.port}/0")
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.fixture
def years(tmp_path: Path) -> dict[str, Any]:
    """The data of the logger's own server, with two listeners; returns what is in it."""
    server = start_server(tmp_path / "state" / "redis", EmbeddedServer)
    write(
        server.url,
        ended("A"),
        play("B", 60),
        log_id="1234",
        account="me",
        last_play=f"listening:{SECOND + 60}",
    )
    write(server.url, ended("C"), prefix="anna:")
    with redis.Redis.from_url(server.url) as client:
        client.hset("gap:1795000000", mapping=GAP)
        client.hset("gaps", "1795000000", "1795172400 offline")
        client.hset("forgotten", "1600000000", "1600000100")
        client.hset("spotify_logger:tokens", "home", "{}")
        client.hset("listening:1700000000", "progress_ms", "1")  # what is left of a play
    found = content(server.url)
    del found["listening:1700000000"]
    server.stop()
    return found


def move(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = main.main(["move", "--json", *arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out or "{}"), err


def test_years_that_another_server_hides_come_over(
    url: str, years: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in (tmp_path / "state").rglob("*"))
    for copied in (3, 0):
        code, data, _ = move(capsys)
        assert (code, data["copied"], data["listeners"]) == (0, copied, ["", "anna"])
        assert content(url) == years
    assert sorted(path for path in (tmp_path / "state").rglob("*")) == before


@pytest.mark.usefixtures("years")
def test_who_asked_before_an_item_had_come_over_sees_it_afterwards(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def albums() -> int:
        main.main(["stats", "--json", "--min", "0"])
        return int(json.loads(capsys.readouterr().out)["albums"])

    with closing(Archive(url, utc=lambda: time.time() - 60)) as store, store.batch() as batch:
        for each in (ended("A"), play("B", 60)):
            batch.write_play(each.second, each.to_hash(), each.index)
    assert albums() == 0
    assert move(capsys)[1]["copied"] == 1, "the play of another listener"
    assert albums() == 1


@pytest.mark.usefixtures("url", "years")
def test_the_service_has_its_log_in_a_folder_that_root_need_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STATE_DIR")
    monkeypatch.setattr(main, "SERVICE_STATE_DIR", tmp_path / "state")
    code, data, _ = move(capsys)
    assert (code, data["copied"]) == (0, 3)


def test_what_was_logged_there_meanwhile_stays(
    url: str, years: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = Outbox(tmp_path / "state" / OUTBOX_FILE, lambda: 0.0)
    outbox.set_note(LOG_ID_NOTE, "1234")
    outbox.close()
    closed, other = ended("B", 60, 90), ended("X", 0.5, 20)  # X has the key of A
    write(url, closed, other, ended("D", 300), log_id="", state="well")
    for _ in range(2):
        assert move(capsys)[0] == 0
        found = content(url)
        plays = {name: fields["name"] for name, fields in found.items() if name.startswith("listening:")}
        assert plays == {f"listening:{SECOND + at}": name for at, name in enumerate("XA")} | {
            f"listening:{SECOND + 60}": "B",
            f"listening:{SECOND + 300}": "D",
        }
        assert found[f"listening:{SECOND + 60}"]["ms_played"] == "90000"
        assert len(found["plays:2026-11-22"]) == 4
        assert found[STATUS]["log_id"] == "1234"
        assert found[STATUS]["state"] == "well"


def test_it_goes_to_any_address_and_says_what_to_set(
    url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(url, ended("A"), log_id="1234")
    assert main.main(["move", "--to", redis_url]) == 0
    assert "set REDIS_URL" in capsys.readouterr().out
    assert content(redis_url) == content(url)
    write(url, ended("B", 60))
    code, data, _ = move(capsys, "--from", url, "--to", redis_url)
    assert (code, data["copied"]) == (0, 1)
    assert content(redis_url) == content(url)


def test_two_accounts_are_not_mixed(
    url: str, years: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write(url, account="somebody else")
    before = content(url)
    code, _, err = move(capsys)
    assert (code, content(url)) == (1, before)
    assert "another Spotify account" in err


@pytest.mark.parametrize(("age", "code"), [(0, 0), (7200, 1)])
def test_what_is_played_meanwhile_is_no_difference(
    url: str, redis_url: str, tmp_path: Path, age: int, code: int
) -> None:
    settings = replace(load(tmp_path, {"REDIS_URL": url}, need_login=False), state_dir=tmp_path)
    now = int(time.time()) - SECOND
    write(url, ended("A"), play("B", now - age - 100, 90), log_id="1234")
    seen = set()

    def show(*how_far: object) -> None:
        seen.add(how_far)
        write(url, ended("B", now - age - 100, 100))

    answer = transfer_move.move(settings, url, redis_url, show)
    assert (answer.code, seen) == (code, {("copying", 2, 2), ("comparing", 2, 2)})


def test_without_a_log_or_a_server_it_says_so(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--from" in move(capsys)[2]
    assert "--to" in move(capsys, "--to", url)[2]
    assert "same" in move(capsys, "--from", url, "--to", url)[2]
    code, _, err = move(capsys, "--to", f"redis://:hunter2hunter2@127.0.0.1:{free_port()}")
    assert (code, "no log" in err) == (1, True)
    write(url, ended("A"), log_id="1234")
    code, _, err = move(capsys, "--to", f"redis://:hunter2hunter2@127.0.0.1:{free_port()}")
    assert (code, "Connection refused" in err, "hunter2" in err) == (1, True, False)


def test_accepting_what_is_there(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = move(capsys, "--accept")
    assert (code, "knows no log" in err) == (1, True)
    (tmp_path / "state").mkdir(exist_ok=True)
    outbox = Outbox(tmp_path / "state" / OUTBOX_FILE, lambda: 0.0)
    outbox.set_note(LOG_ID_NOTE, "2222")
    outbox.close()
    write(url, log_id="1111")
    for _ in range(2):
        assert move(capsys, "--accept")[:2] == (0, {"log_id": "1111 2222"})
