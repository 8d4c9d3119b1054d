"""Several listeners on one machine: each with a log and a folder of its own, and what they share."""

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
def household(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the command finds all of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("REDIS_PREFIX", "home:")
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return redis_url


def is_well(url: str, name: str, prefix: str = "home:", *, ago: float = 0) -> None:
    """A logger of that listener has just asked."""
    store = Store(url, f"{prefix}{name}:" if name else prefix, listener=name)
    store.register_listener()
    now = time.time()
    with store.batch() as batch:
        batch.write_status(
            {
                "last_poll": to_iso(round((now - ago) * 1000)),
                "next_poll": to_iso(round((now - ago + 30) * 1000)),
                "login_valid_until": to_iso(round((now + 86_400 * 90) * 1000)),
                "state": f"{name or 'somebody'} hears nothing",
            }
        )
    store.close()


class TestSettings:
    def test_a_name_is_a_folder_and_a_beginning_of_keys(self, tmp_path: Path) -> None:
        told = {"STATE_DIR": str(tmp_path), "REDIS_PREFIX": "home:", "LISTENER": "anna"}
        settings = load(tmp_path, told, need_login=False)
        assert (settings.listener, settings.redis_prefix) == ("anna", "home:anna:")
        assert settings.state_dir == tmp_path / "anna"
        assert settings.shared_prefix == "home:"

    def test_the_option_wins(self, tmp_path: Path) -> None:
        told = {"STATE_DIR": str(tmp_path), "LISTENER": "anna"}
        assert load(tmp_path, told, need_login=False, listener="ben").redis_prefix == "ben:"
        assert load(tmp_path, told, need_login=False, listener="").redis_prefix == ""

    def test_one_leads_to_the_others(self, tmp_path: Path) -> None:
        told = {"STATE_DIR": str(tmp_path), "REDIS_PREFIX": "home:", "LISTENER": "anna"}
        anna = load(tmp_path, told, need_login=False)
        for other in ("ben", ""):
            expected = load(tmp_path, told, need_login=False, listener=other)
            assert anna.for_listener(other) == expected
            assert expected.for_listener("anna") == anna

    @pytest.mark.parametrize(
        "name", ["a b", "a:b", "../x", "-a", "ä", "a" * 33, *sorted({*RESERVED_NAMES, "lock"})]
    )
    def test_what_is_no_name(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="LISTENER in the environment must be a name"):
            load(tmp_path, {"STATE_DIR": str(tmp_path), "LISTENER": name}, need_login=False)


def test_a_logger_makes_its_listener_known(household: str, tmp_path: Path) -> None:
    world = make_virtual_world(11, 0.2)
    settings = make_settings(tmp_path, household).for_listener("anna")
    settings.state_dir.mkdir()
    run = VirtualRun(world, settings)
    run.run_until(world.clock.now + 60)
    run.close()
    store = Store(household)
    assert store.listeners() == ["anna"]
    assert Store(household, "anna:").read_status()["last_poll"]
    assert store.read_status() == {}


def test_the_command_is_about_the_one_who_is_named(
    household: str, capsys: pytest.CaptureFixture[str]
) -> None:
    is_well(household, "anna")
    assert main.main(["--listener", "anna", "status"]) == 0
    assert "anna hears nothing" in capsys.readouterr().out
    assert main.main(["status"]) == 1
    assert main.main(["--listener", "a b", "status"]) == 78
    assert "--listener" in capsys.readouterr().err


class TestAll:
    def test_all_are_well(self, household: str, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("ben", "", "anna"):
            is_well(household, name)
        is_well(household, "foreign", prefix="")
        assert main.main(["status", "--all"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "(no name)\twell\tsomebody hears nothing",
            "anna\twell\tanna hears nothing",
            "ben\twell\tben hears nothing",
        ]

    def test_one_is_not(self, household: str, capsys: pytest.CaptureFixture[str]) -> None:
        is_well(household, "anna", ago=86_400)
        is_well(household, "ben")
        assert main.main(["--listener", "ben", "status", "--all", "--json"]) == 1
        listeners = json.loads(capsys.readouterr().out)["listeners"]
        assert [(each["name"], each["well"]) for each in listeners] == [("anna", False), ("ben", True)]
        assert listeners[0]["problems"]

    def test_there_is_nobody(self, household: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["status", "--all"]) == 1
        assert capsys.readouterr().out == "No logger has written to this Redis yet.\n"

    def test_redis_is_away(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
        assert main.main(["status", "--all"]) == 1
        assert capsys.readouterr().out.startswith("NOT WELL: Redis at 127.0.0.1:1")
