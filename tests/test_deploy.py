from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "deploy" / "spotify-logger.service"
OFFLINE_SINCE = 250
"""The version of systemd since which `systemd-analyze security` looks at a unit that is not installed."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, for an installation that is there: the project and the interpreter of this test."""
    text = UNIT.read_text()
    text = text.replace("/opt/spotify-logger/.venv/bin/python", sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/opt/spotify-logger", str(UNIT.parent.parent)))
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze on this machine")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=dict(os.environ)
    )


def test_systemd_finds_no_fault(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_exposure_is_small(unit: Path) -> None:
    if int(analyze("--version").stdout.split()[1]) < OFFLINE_SINCE:
        pytest.skip("this systemd-analyze looks at running services only")
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout.rpartition("\n\n")[2]


def test_what_unattended_means() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "78"
    assert service["TimeoutStartSec"] == "infinity"
    assert service["StateDirectory"] == "spotify-logger"
    assert "WatchdogSec" in service
