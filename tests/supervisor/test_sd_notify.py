from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from spotify_logger.supervisor.restart_policy import Beat
from spotify_logger.supervisor.sd_notify import NotifyMessages, NotifySocket

if TYPE_CHECKING:
    from pathlib import Path

OK = Beat(60, ok=True, status="listening")
TROUBLE = Beat(60, ok=False, status="the login is dead")


class TestMessages:
    def test_ready_once_and_the_status_with_every_beat(self) -> None:
        messages = NotifyMessages(None)
        assert messages.on_beat(0, TROUBLE) == "READY=1\nSTATUS=the login is dead"
        assert messages.on_beat(60, OK) == "STATUS=listening"
        assert messages.on_beat(120, OK) == "STATUS=listening"
        assert messages.on_loop_down("the loop ended: exit code 1") == "STATUS=the loop ended: exit code 1"
        assert messages.on_beat(180, OK) == "STATUS=listening"
        assert (messages.deadline, messages.on_deadline(1e9)) == (None, "")

    def test_watchdog_messages_go_with_the_beats_and_are_sent_between_them(self) -> None:
        messages = NotifyMessages(50)
        assert "WATCHDOG=1" in messages.on_beat(0, OK)
        assert (messages.on_deadline(49), messages.on_deadline(50)) == ("", "WATCHDOG=1")
        assert "WATCHDOG=1" in messages.on_beat(60, OK)
        assert messages.deadline == 110

    def test_no_watchdog_message_before_the_first_beat_without_the_loop_or_at_the_end(self) -> None:
        messages = NotifyMessages(20)
        assert messages.on_deadline(1000) == ""
        messages.on_beat(1000, OK)
        messages.on_loop_down("killing the loop")
        assert (messages.deadline, messages.on_deadline(2000)) == (None, "")
        assert "WATCHDOG=1" in messages.on_beat(2001, OK)
        assert messages.stopping() == "STOPPING=1"
        assert (messages.deadline, messages.on_deadline(3000)) == (None, "")


class TestSocket:
    @pytest.mark.parametrize("abstract", [False, True])
    def test_a_message_arrives_and_an_empty_one_is_not_sent(self, tmp_path: Path, *, abstract: bool) -> None:
        name = f"@spotify-logger-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(10)
            manager.bind(f"\0{name[1:]}" if abstract else name)
            notify_socket = NotifySocket({"NOTIFY_SOCKET": name})
            notify_socket.send("")
            notify_socket.send("READY=1\nSTATUS=Sigur Rós – Hoppípolla")
            assert manager.recv(4096).decode() == "READY=1\nSTATUS=Sigur Rós – Hoppípolla"

    @pytest.mark.parametrize("address", ["", "/nowhere/notify", "notify", "vsock:2:1234", "@"])
    def test_an_address_without_a_listener_is_ignored(self, address: str) -> None:
        NotifySocket({"NOTIFY_SOCKET": address}).send("READY=1")

    @pytest.mark.parametrize(
        ("environ", "interval"),
        [
            ({"HOME": "/", "NOTIFY_SOCKET": "/run/notify"}, None),
            ({"WATCHDOG_USEC": "300000000"}, 150.0),
            ({"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
        ],
    )
    def test_the_interval_is_read_and_no_child_inherits_the_variables(
        self, environ: dict[str, str], interval: float | None
    ) -> None:
        assert NotifySocket(environ).interval == interval
        assert not environ.keys() - {"HOME"}
