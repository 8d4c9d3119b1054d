from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from spotify_logger.supervisor.heartbeat import Beat
from spotify_logger.supervisor.sd_notify import Herald, Systemd

if TYPE_CHECKING:
    from pathlib import Path

WELL = Beat(60, ok=True, words="listening")
NOT_WELL = Beat(60, ok=False, words="the login is dead")


class TestHerald:
    def test_ready_after_the_first_success_and_once(self) -> None:
        herald = Herald(None)
        assert herald.heard(0, NOT_WELL) == "STATUS=the login is dead"
        assert herald.heard(60, WELL) == "READY=1\nSTATUS=listening"
        assert herald.heard(120, NOT_WELL) == "STATUS=the login is dead"
        assert herald.heard(180, WELL) == "STATUS=listening"

    def test_the_status_is_told_when_it_changes(self) -> None:
        herald = Herald(None)
        herald.heard(0, WELL)
        assert herald.heard(60, WELL) == ""
        assert herald.lost("the loop ended: exit code 1") == "STATUS=the loop ended: exit code 1"
        assert herald.heard(61, WELL) == "STATUS=listening"

    def test_nobody_watches(self) -> None:
        herald = Herald(None)
        herald.heard(0, WELL)
        assert herald.deadline is None
        assert herald.due(1e9) == ""

    def test_signs_of_life_ride_on_the_beats(self) -> None:
        herald = Herald(150)
        told = [("WATCHDOG=1" in herald.heard(now, WELL), herald.deadline) for now in range(0, 361, 60)]
        assert told == [
            (True, 150),
            (False, 150),
            (True, 270),
            (False, 270),
            (True, 390),
            (False, 390),
            (True, 510),
        ]

    def test_between_rare_beats_they_come_by_themselves(self) -> None:
        herald = Herald(20)
        assert "WATCHDOG=1" in herald.heard(0, NOT_WELL)
        assert herald.due(19.9) == ""
        assert herald.due(20) == "WATCHDOG=1"
        assert herald.deadline == 40

    def test_none_before_the_first_beat_none_without_the_loop_and_none_at_the_end(self) -> None:
        herald = Herald(20)
        assert herald.due(1000) == ""
        herald.heard(1000, WELL)
        herald.lost("the loop is killed")
        assert herald.deadline is None
        assert herald.due(2000) == ""
        assert "WATCHDOG=1" in herald.heard(2001, WELL)
        assert herald.stopping() == "STOPPING=1"
        assert herald.deadline is None
        assert herald.due(3000) == ""


class TestSystemd:
    @pytest.mark.parametrize("abstract", [False, True])
    def test_a_message_arrives(self, tmp_path: Path, *, abstract: bool) -> None:
        name = f"@spotify-logger-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(10)
            manager.bind(f"\0{name[1:]}" if abstract else name)
            Systemd({"NOTIFY_SOCKET": name}).tell("READY=1\nSTATUS=Sigur Rós – Hoppípolla")
            assert manager.recv(4096).decode() == "READY=1\nSTATUS=Sigur Rós – Hoppípolla"

    def test_nothing_to_say_is_not_sent(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")}).tell("")
            manager.settimeout(0)
            with pytest.raises(BlockingIOError):
                manager.recv(4096)

    @pytest.mark.parametrize("address", ["", "/nowhere/notify", "notify", "vsock:2:1234", "@"])
    def test_nobody_there_is_no_fault(self, address: str) -> None:
        Systemd({"NOTIFY_SOCKET": address}).tell("READY=1")

    def test_nobody_reading_does_not_block(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})
            for _ in range(3000):
                systemd.tell("WATCHDOG=1")

    @pytest.mark.parametrize(
        ("environ", "interval"),
        [
            ({}, None),
            ({"WATCHDOG_USEC": "300000000"}, 150.0),
            ({"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": str(os.getpid())}, 150.0),
            ({"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
        ],
    )
    def test_the_interval(self, environ: dict[str, str], interval: float | None) -> None:
        assert Systemd(environ).interval == interval
        assert environ == {}

    def test_the_children_do_not_inherit_it(self) -> None:
        environ = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/"}
        Systemd(environ)
        assert environ == {"HOME": "/"}
