"""Several listeners on one machine: each has a log and a state folder, and they share one Redis."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli import main
from spotify_logger.config.settings import load
from spotify_logger.core.redis_keys import RESERVED_NAMES
from spotify_logger.core.times import to_iso
from spotify_logger.storage.store import Store
from spotify_logger.system.errors import Misconfigured
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import make_virtual_world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def household_url(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a Redis whose keys begin with `home:`, as the command finds it in its settings."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"REDIS_URL": redis_url, "REDIS_PREFIX": "home:", "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return redis_url


def write_status(url: str, name: str, prefix: str = "home:", *, ago: float = 0) -> None:
    """Write the status of a logger that polled some seconds ago."""
    store = Store(url, f"{prefix}{name}:" if name else prefix, listener=name)
    store.register_listener()
    moments = {"last_poll": -ago, "next_poll": 30 - ago, "login_valid_until": 86_400 * 90}
    status = {field: to_iso(round((time.time() + after) * 1000)) for field, after in moments.items()}
    with store.batch() as batch:
        batch.write_status({**status, "state": f"{name or 'nameless'} hears nothing"})
    store.close()


class TestListenerSetting:
    def test_a_name_becomes_a_folder_and_a_prefix(self, tmp_path: Path) -> None:
        environ = {"STATE_DIR": str(tmp_path), "REDIS_PREFIX": "home:", "LISTENER": "anna"}
        anna = load(tmp_path, environ, need_login=False)
        assert (anna.listener, anna.redis_prefix, anna.shared_prefix) == ("anna", "home:anna:", "home:")
        assert anna.state_dir == tmp_path / "anna"
        for other, prefix in (("ben", "home:ben:"), ("", "home:")):
            expected = load(tmp_path, environ, need_login=False, listener=other)  # the option wins
            assert expected.redis_prefix == prefix
            assert anna.for_listener(other) == expected
            assert expected.for_listener("anna") == anna

    @pytest.mark.parametrize("name", ["a:b", "../x", "-a", "ä", "a" * 33, *sorted({*RESERVED_NAMES, "lock"})])
    def test_names_that_could_clash_are_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="LISTENER"):
            load(tmp_path, {"STATE_DIR": str(tmp_path), "LISTENER": name}, need_login=False)


def test_a_logger_registers_its_listener(household_url: str, tmp_path: Path) -> None:
    world = make_virtual_world(11, 0.2)
    settings = make_settings(tmp_path, household_url).for_listener("anna")
    settings.state_dir.mkdir()
    run = VirtualRun(world, settings)
    run.run_until(world.clock.now + 60)
    run.close()
    store = Store(household_url)
    assert store.listeners() == ["anna"]
    assert Store(household_url, "anna:").read_status()["last_poll"]
    assert store.read_status() == {}


class TestStatusCommand:
    def test_it_is_about_the_named_listener(
        self, household_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_status(household_url, "anna")
        assert main.main(["--listener", "anna", "status"]) == 0
        assert "anna hears nothing" in capsys.readouterr().out
        assert main.main(["status"]) == 1
        assert main.main(["--listener", "a b", "status"]) == 78
        assert "--listener" in capsys.readouterr().err

    def test_all_shows_each_listener_of_this_prefix(
        self, household_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main.main(["status", "--all"]) == 1
        assert capsys.readouterr().out == "No logger has written to this Redis yet.\n"
        for name in ("ben", "", "anna"):
            write_status(household_url, name)
        write_status(household_url, "foreign", prefix="")
        assert main.main(["status", "--all"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "(no name)\twell\tnameless hears nothing",
            "anna\twell\tanna hears nothing",
            "ben\twell\tben hears nothing",
        ]
        write_status(household_url, "anna", ago=86_400)
        assert main.main(["--listener", "ben", "status", "--all", "--json"]) == 1
        listeners = json.loads(capsys.readouterr().out)["listeners"]
        assert [(each["name"], each["well"]) for each in listeners] == [
            ("", True),
            ("anna", False),
            ("ben", True),
        ]
        assert listeners[1]["problems"]

    @pytest.mark.usefixtures("household_url")
    def test_all_names_an_unreachable_redis(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
        assert main.main(["status", "--all"]) == 1
        assert capsys.readouterr().out.startswith("NOT WELL: Redis at 127.0.0.1:1")
