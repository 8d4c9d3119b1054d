"""Several listeners on one machine: each has a log and a state folder, and they share one Redis."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli import main
from spotify_logger.config.settings import load
from spotify_logger.core.times import to_iso
from spotify_logger.storage.store import Store
from spotify_logger.system.errors import Misconfigured
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import make_virtual_world

if TYPE_CHECKING:
    from pathlib import Path


def test_a_name_becomes_a_folder_and_a_prefix(tmp_path: Path) -> None:
    environ = {"STATE_DIR": str(tmp_path), "REDIS_PREFIX": "home:", "LISTENER": "anna"}
    anna = load(tmp_path, environ, need_login=False)
    assert (anna.listener, anna.redis_prefix) == ("anna", "home:anna:")
    assert anna.state_dir == tmp_path / "anna"
    ben = load(tmp_path, environ, need_login=False, listener="ben")  # the option wins
    assert ben.redis_prefix == "home:ben:"
    assert anna.for_listener("ben") == ben


@pytest.mark.parametrize("name", ["a:b", "../x", "-a", "ä", "a" * 33, "listening", "lock"])
def test_names_that_could_clash_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="LISTENER"):
        load(tmp_path, {"STATE_DIR": str(tmp_path), "LISTENER": name}, need_login=False)


def write_status(url: str, name: str, prefix: str) -> None:
    """Write the status of a logger that polls now."""
    store = Store(url, prefix, listener=name)
    store.register_listener()
    moments = {"last_poll": 0, "next_poll": 30, "login_valid_until": 86_400 * 90}
    status = {field: to_iso(round((time.time() + after) * 1000)) for field, after in moments.items()}
    with store.batch() as batch:
        batch.write_status({**status, "state": f"{name} hears nothing"})
    store.close()


def test_status_is_about_the_named_listener_or_all_of_this_prefix(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*arguments: str) -> tuple[int, str]:
        return main.main([*arguments]), capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    for name, value in {"REDIS_URL": redis_url, "REDIS_PREFIX": "home:", "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert status("status", "--all") == (1, "No logger has written to this Redis yet.\n")
    write_status(redis_url, "ben", "home:ben:")
    write_status(redis_url, "foreign", "foreign:")
    assert status("status", "--all") == (0, "ben\twell\tben hears nothing\n")
    with closing(Store(redis_url, "home:cora:", listener="cora")) as imported:
        imported.register_listener()
    code, output = status("status", "--all")
    assert (code, "cora\tNOT WELL\tthe logger has never run" in output) == (0, True)
    assert "ben hears nothing" in status("--listener", "ben", "status")[1]
    assert main.main(["--listener", "a b", "status"]) == 78
    assert "--listener" in capsys.readouterr().err

    world = make_virtual_world(11, 0.2)
    anna = make_settings(tmp_path, redis_url, "home:").for_listener("anna")
    anna.state_dir.mkdir()
    run = VirtualRun(world, anna)
    run.run_until(world.clock.now + 60)
    run.close()
    assert status("status")[0] == 1, "nobody without a name"
    code, output = status("status", "--all", "--json")
    listeners = [(each["name"], each["well"]) for each in json.loads(output)["listeners"]]
    found = [("anna", False), ("ben", True), ("cora", False)]
    assert (code, listeners) == (1, found), "anna polled in virtual time"

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert status("status", "--all")[1].startswith("NOT WELL: Redis at 127.0.0.1:1")
