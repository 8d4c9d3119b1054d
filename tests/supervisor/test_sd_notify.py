from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from spotify_logger.supervisor.heartbeat import Beat
from spotify_logger.supervisor.sd_notify import NotifyMessages, NotifySocket

if TYPE_CHECKING:
    from pathlib import Path

WELL = Beat(60, ok=True, status="listening")
NOT_WELL = Beat(60, ok=False, status="the login is dead")


class TestHerald:
    def test_ready_after_the_first_success_and_once(self) -> None:
        messages = NotifyMessages(None)
        assert messages.on_beat(0, NOT_WELL) == "STATUS=the login is dead"
        assert messages.on_beat(60, WELL) == "READY=1\nSTATUS=listening"
        assert messages.on_beat(120, NOT_WELL) == "STATUS=the login is dead"
        assert messages.on_beat(180, WELL) == "STATUS=listening"

    def test_the_status_is_told_when_it_changes(self) -> None:
        messages = NotifyMessages(None)
        messages.on_beat(0, WELL)
        assert messages.on_beat(60, WELL) == ""
        assert messages.on_loop_down("the loop ended: exit code 1") == "STATUS=the loop ended: exit code 1"
        assert messages.on_beat(61, WELL) == "STATUS=listening"

    def test_nobody_watches(self) -> None:
        messages = NotifyMessages(None)
        messages.on_beat(0, WELL)
        assert messages.deadline is None
        assert messages.on_deadline(1e9) == ""

    def test_signs_of_life_ride_on_the_beats(self) -> None:
        messages = NotifyMessages(150)
        told = [("WATCHDOG=1" in messages.on_beat(now, WELL), messages.deadline) for now in range(0, 361, 60)]
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
        messages = NotifyMessages(20)
        assert "WATCHDOG=1" in messages.on_beat(0, NOT_WELL)
        assert messages.on_deadline(19.9) == ""
        assert messages.on_deadline(20) == "WATCHDOG=1"
        assert messages.deadline == 40

    def test_none_before_the_first_beat_none_without_the_loop_and_none_at_the_end(self) -> None:
        messages = NotifyMessages(20)
        assert messages.on_deadline(1000) == ""
        messages.on_beat(1000, WELL)
        messages.on_loop_down("the loop is killed")
        assert messages.deadline is None
        assert messages.on_deadline(2000) == ""
        assert "WATCHDOG=1" in messages.on_beat(2001, WELL)
        assert messages.stopping() == "STOPPING=1"
        assert messages.deadline is None
        assert messages.on_deadline(3000) == ""


class TestSystemd:
    @pytest.mark.parametrize("abstract", [False, True])
    def test_a_message_arrives(self, tmp_path: Path, *, abstract: bool) -> None:
        name = f"@spotify-logger-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(10)
            manager.bind(f"\0{name[1:]}" if abstract else name)
            NotifySocket({"NOTIFY_SOCKET": name}).send("READY=1\nSTATUS=Sigur Rós – Hoppípolla")
            assert manager.recv(4096).decode() == "READY=1\nSTATUS=Sigur Rós – Hoppípolla"

    def test_nothing_to_say_is_not_sent(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            NotifySocket({"NOTIFY_SOCKET": str(tmp_path / "notify")}).send("")
            manager.settimeout(0)
            with pytest.raises(BlockingIOError):
                manager.recv(4096)

    @pytest.mark.parametrize("address", ["", "/nowhere/notify", "notify", "vsock:2:1234", "@"])
    def test_nobody_there_is_no_fault(self, address: str) -> None:
        NotifySocket({"NOTIFY_SOCKET": address}).send("READY=1")

    def test_nobody_reading_does_not_block(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            systemd = NotifySocket({"NOTIFY_SOCKET": str(tmp_path / "notify")})
            for _ in range(3000):
                systemd.send("WATCHDOG=1")

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
        assert NotifySocket(environ).interval == interval
        assert environ == {}

    def test_the_children_do_not_inherit_it(self) -> None:
        environ = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/"}
        NotifySocket(environ)
        assert environ == {"HOME": "/"}
