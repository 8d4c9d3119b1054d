from __future__ import annotations

import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.web import server
from tests.browser import skip_or_fail
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parent.parent
LOGGER = PROJECT / "deploy" / "spotify-logger.service"
LOGGER_OF_A_LISTENER = PROJECT / "deploy" / "spotify-logger@.service"
PAGE = PROJECT / "deploy" / "spotify-logger-web.service"
OFFLINE_SINCE = 250
"""The version of systemd since which `systemd-analyze security` looks at a unit that is not installed."""
each_unit = pytest.mark.parametrize(
    "unit", [LOGGER, LOGGER_OF_A_LISTENER, PAGE], ids=["logger", "listener", "page"]
)


def installed(unit: Path, folder: Path) -> Path:
    """Copy a unit, with the project and the interpreter of this test."""
    text = unit.read_text().replace("/opt/spotify-logger/.venv/bin", str(Path(sys.executable).parent))
    path = folder / unit.name.replace("@", "@anna")
    path.write_text(text.replace("/opt/spotify-logger", str(PROJECT)))
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        skip_or_fail("no systemd-analyze on this machine")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@each_unit
def test_systemd_accepts_it_and_it_has_limits(unit: Path, tmp_path: Path) -> None:
    done = analyze("verify", str(installed(unit, tmp_path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert re.fullmatch(r"[1-9]\d*(%|M)", service(unit)["MemoryMax"])
    assert int(service(unit)["LimitNOFILE"]) >= 4 * server.MAX_CONNECTIONS


@each_unit
def test_its_exposure_is_small(unit: Path, tmp_path: Path) -> None:
    if int(analyze("--version").stdout.split()[1]) < OFFLINE_SINCE:
        skip_or_fail("this systemd-analyze looks at running services only")
    path = installed(unit, tmp_path)
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(path))
    assert done.returncode == 0, done.stdout.rpartition("\n\n")[2]


def service(unit: Path, section: str = "Service") -> configparser.SectionProxy:
    """Return a section of a unit; of a name that comes more than once, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return parser[section]


def test_the_logger_runs_unattended_as_its_own_user() -> None:
    assert service(LOGGER, "Unit")["StartLimitIntervalSec"] == "0"
    expected = {
        "Type": "notify",
        "TimeoutStartSec": "3min",
        "RestartPreventExitStatus": "78",
        "StateDirectoryMode": "0700",
    }
    assert dict(service(LOGGER)).items() >= expected.items()


def test_the_sandbox_lets_it_read_the_state_of_the_clock() -> None:
    logger = service(LOGGER)
    assert "ProtectClock" not in logger  # forbids adjtimex(2), which is clock_adjtime(2) in the C library
    assert {"clock_adjtime", "clock_adjtime64"} <= set(logger["SystemCallFilter"].split())
    assert logger["CapabilityBoundingSet"] == ""  # CAP_SYS_TIME is what sets a clock


def test_the_page_shares_the_folder_of_the_logger_and_yields_to_it() -> None:
    logger, page = service(LOGGER), service(PAGE)
    assert page["User"] == LOGGER.stem  # the default name of a dynamic user
    for name in ("DynamicUser", "StateDirectory", "StateDirectoryMode", "EnvironmentFile"):
        assert page[name] == logger[name]
    assert page["RestartPreventExitStatus"] == "78"
    assert int(page["Nice"]) > 0
    assert int(page["OOMScoreAdjust"]) > 0


def test_the_logger_of_each_listener_is_like_the_only_one() -> None:
    only, each = dict(service(LOGGER)), dict(service(LOGGER_OF_A_LISTENER))
    assert each["Environment"] == "LISTENER=%i"
    assert each["EnvironmentFile"] == "-/etc/spotify-logger-%i.env"
    assert each["User"] == LOGGER.stem
    for name in ("Environment", "EnvironmentFile", "User", "SyslogIdentifier"):
        only.pop(name, None)
        each.pop(name, None)
    assert only == each


def test_the_install_puts_the_command_its_completions_and_its_man_page_where_all_users_find_them(
    tmp_path: Path,
) -> None:
    script = (PROJECT / "deploy" / "install").read_text()
    lines = re.findall(r"^(?:ln|cp) .*/usr/local.*$", script, re.MULTILINE)
    assert len(lines) == 2
    for name in ("bin", "share"):
        (tmp_path / name).mkdir()
    for line in lines:
        words = line.replace("$home/.venv", sys.prefix).replace("$root/usr/local", str(tmp_path))
        subprocess.run(["sh", "-c", words], check=True)
    done = subprocess.run(
        ["spotify-logger", "--version"],
        cwd="/",
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("spotify-logger ")
    assert (tmp_path / "share" / "bash-completion" / "completions" / "spotify-logger").read_text()
    assert (tmp_path / "share" / "man" / "man1" / "spotify-logger.1").read_text()


class TestStart:
    """What `systemctl start` waits for: the command of the unit, and a socket in place of systemd's."""

    @pytest.fixture
    def manager(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(60)
            yield manager

    def start(self, folder: Path, **settings: str) -> subprocess.Popen[bytes]:
        command = service(LOGGER)["ExecStart"].replace("/opt/spotify-logger/.venv/bin/python", sys.executable)
        environ = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": f"{folder}/notify",
            "STATE_DIRECTORY": f"{folder}/state",
        }
        return subprocess.Popen(command.split(), cwd=folder, env=environ | settings)

    def test_it_is_ready_offline_and_says_what_it_waits_for(
        self, tmp_path: Path, manager: socket.socket
    ) -> None:
        nowhere = f"127.0.0.1:{free_port()}"
        process = self.start(
            tmp_path,
            SPOTIFY_CLIENT_ID="0123456789abcdef0123456789abcdef",
            SPOTIFY_REFRESH_TOKEN="AQ-a-login",
            SPOTIFY_API_URL=f"http://{nowhere}",
            SPOTIFY_ACCOUNTS_URL=f"http://{nowhere}",
            REDIS_URL=f"redis://{nowhere}",
        )
        try:
            first = manager.recv(4096).decode()
            assert first == "READY=1\nSTATUS=waiting for the first answer from Spotify"
            assert "retrying" in manager.recv(4096).decode()
        finally:
            process.terminate()
            assert process.wait(30) == 0

    def test_it_fails_with_a_wrong_setting(self, tmp_path: Path, manager: socket.socket) -> None:
        process = self.start(tmp_path, SPOTIFY_CLIENT_ID="0123456789abcdef", POLL_MIN="never")
        assert process.wait(60) == 78
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
