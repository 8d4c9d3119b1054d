from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from spotify_logger.supervisor.main import Notifier
from spotify_logger.supervisor.restart_policy import Beat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK = Beat(60, ok=True, status="listening")
TROUBLE = Beat(60, ok=False, status="the login is dead")


class Manager:
    """The end of the socket in systemd."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)  # noqa: FBT003 - positional-only
        self.socket.bind(address.replace("@", "\0"))

    def got(self) -> str:
        """Return the next message that has arrived; "" if there is none."""
        try:
            return self.socket.recv(4096).decode()
        except BlockingIOError:
            return ""


@pytest.fixture(params=["path", "abstract"])
def manager(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Manager]:
    is_path = request.param == "path"
    manager = Manager(str(tmp_path / "notify") if is_path else f"@spotify-logger-test-{os.getpid()}")
    yield manager
    manager.socket.close()


def test_ready_once_and_the_status_with_every_beat(manager: Manager) -> None:
    systemd = Notifier(manager.environ)
    systemd.on_beat(0, TROUBLE)
    assert manager.got() == "READY=1\nSTATUS=the login is dead"
    systemd.on_beat(60, OK)
    assert manager.got() == "STATUS=listening"
    systemd.pause("STATUS=Sigur Rós – Hoppípolla: exit code 1")
    assert manager.got() == "STATUS=Sigur Rós – Hoppípolla: exit code 1"
    systemd.on_beat(180, OK)
    assert manager.got() == "STATUS=listening"
    systemd.on_deadline(1e9)
    assert (systemd.deadline, manager.got()) == (None, "")


def test_watchdog_messages_go_with_the_beats_and_are_sent_between_them(manager: Manager) -> None:
    systemd = Notifier(manager.environ | {"WATCHDOG_USEC": "100000000", "WATCHDOG_PID": str(os.getpid())})
    systemd.on_beat(0, OK)
    assert "WATCHDOG=1\n" in manager.got()
    systemd.on_deadline(49)
    assert manager.got() == ""
    systemd.on_deadline(50)
    assert manager.got() == "WATCHDOG=1"
    systemd.on_beat(60, OK)
    assert "WATCHDOG=1\n" in manager.got()
    assert systemd.deadline == 110


def test_no_watchdog_message_before_the_first_beat_without_the_loop_or_at_the_end(manager: Manager) -> None:
    systemd = Notifier(manager.environ | {"WATCHDOG_USEC": "40000000"})
    systemd.on_deadline(1000)
    assert manager.got() == ""
    systemd.on_beat(1000, OK)
    systemd.pause("STATUS=killing the loop")
    systemd.on_deadline(2000)
    assert (systemd.deadline, manager.got()[:8], manager.got(), manager.got()) == (
        None, "WATCHDOG", "STATUS=killing the loop", "",
    )  # fmt: skip
    systemd.on_beat(2001, OK)
    assert "WATCHDOG=1" in manager.got()
    systemd.pause("STOPPING=1")
    systemd.on_deadline(3000)
    assert (systemd.deadline, manager.got(), manager.got()) == (None, "STOPPING=1", "")


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "notify", "vsock:2:1234", "@"])
def test_an_address_without_a_listener_is_ignored(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).pause("STOPPING=1")


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
    environ: dict[str, str], interval: float | None
) -> None:
    systemd = Notifier(environ)
    assert not environ.keys() - {"HOME"}
    systemd.on_beat(0, OK)
    assert systemd.deadline == interval
