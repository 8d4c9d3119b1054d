from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from spotify_logger.config.sources import DEFAULTS
from spotify_logger.web import server

PROJECT = Path(__file__).parent.parent
UNIT = PROJECT / "deploy" / "spotify-logger.service"
EACH = PROJECT / "deploy" / "spotify-logger@.service"
PAGE = PROJECT / "deploy" / "spotify-logger-web.service"
OFFLINE_SINCE = 250
"""The version of systemd since which `systemd-analyze security` looks at a unit that is not installed."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The logger's unit, for an installation that is there."""
    return installed(UNIT, tmp_path)


@pytest.fixture(params=[UNIT, EACH, PAGE], ids=["logger", "listener", "page"])
def any_unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One of the units, for an installation that is there."""
    return installed(request.param, tmp_path)


def installed(unit: Path, tmp_path: Path) -> Path:
    """A unit with the project and the interpreter of this test."""
    text = unit.read_text()
    text = text.replace("/opt/spotify-logger/.venv/bin", str(Path(sys.executable).parent))
    path = tmp_path / unit.name.replace("@", "@anna")
    path.write_text(text.replace("/opt/spotify-logger", str(PROJECT)))
    return path


def lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        lacking("no systemd-analyze on this machine")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=dict(os.environ)
    )


def test_nothing_is_left_out_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true")
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception), match="no systemd-analyze") as caught:
        analyze("--version")
    assert caught.type is pytest.fail.Exception


def test_systemd_finds_no_fault(any_unit: Path) -> None:
    finds_no_fault(any_unit)


def finds_no_fault(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_exposure_is_small(any_unit: Path) -> None:
    if int(analyze("--version").stdout.split()[1]) < OFFLINE_SINCE:
        lacking("this systemd-analyze looks at running services only")
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(any_unit))
    assert done.returncode == 0, done.stdout.rpartition("\n\n")[2]


def test_a_secret_can_be_a_credential_as_install_pi_says(unit: Path) -> None:
    line = re.search(r"LoadCredential=(\w+):/[\w./-]+", (PROJECT / "docs" / "install-pi.md").read_text())
    assert line is not None
    assert line[1] in DEFAULTS
    assert line[0] in UNIT.read_text()
    drop_in = unit.with_name(f"{unit.name}.d") / "override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(f"[Service]\n{line[0]}\n")
    finds_no_fault(unit)


@pytest.fixture
def said() -> configparser.ConfigParser:
    """What the logger's unit says."""
    return read(UNIT)


def read(unit: Path) -> configparser.ConfigParser:
    """What a unit says; of a name that comes more than once, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return parser


def test_what_unattended_means(said: configparser.ConfigParser) -> None:
    assert said["Unit"]["StartLimitIntervalSec"] == "0"
    service = said["Service"]
    assert service["Type"] == "notify"
    assert service["TimeoutStartSec"] == "infinity"
    assert service["WatchdogSec"] == "5min"
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "78"


def test_it_is_nobody_and_has_a_folder_of_its_own(said: configparser.ConfigParser) -> None:
    service = said["Service"]
    assert service["DynamicUser"] == "yes"
    assert service["StateDirectory"] == "spotify-logger"
    assert service["StateDirectoryMode"] == "0700"


def test_the_sandbox_lets_it_read_the_boot_id_and_the_state_of_the_clock(
    said: configparser.ConfigParser,
) -> None:
    service = said["Service"]
    assert "ProcSubset" not in service  # hides /proc/sys/kernel/random/boot_id
    assert "ProtectClock" not in service  # forbids adjtimex(2), which is clock_adjtime(2) in the C library
    assert {"clock_adjtime", "clock_adjtime64"} <= set(service["SystemCallFilter"].split())
    assert service["CapabilityBoundingSet"] == ""  # CAP_SYS_TIME is what sets a clock


def test_the_page_is_who_the_logger_is_and_shares_its_folder() -> None:
    logger, page = read(UNIT)["Service"], read(PAGE)["Service"]
    assert page["User"] == UNIT.stem  # the name of a dynamic user that is given none
    shared = "DynamicUser StateDirectory StateDirectoryMode EnvironmentFile WorkingDirectory"
    for name in shared.split():
        assert page[name] == logger[name]


def test_the_logger_of_each_listener_is_like_the_only_one() -> None:
    alone, each = read(UNIT)["Service"], read(EACH)["Service"]
    assert each["Environment"] == "LISTENER=%i"
    assert each["EnvironmentFile"] == "-/etc/spotify-logger-%i.env"
    assert each["User"] == UNIT.stem
    own = {"Environment", "EnvironmentFile", "User", "SyslogIdentifier"}
    assert {name: alone[name] for name in alone if name not in own} == {
        name: each[name] for name in each if name not in own
    }


@pytest.mark.parametrize("unit", [UNIT, EACH, PAGE], ids=["logger", "listener", "page"])
def test_memory_and_descriptors_have_limits(unit: Path) -> None:
    service = read(unit)["Service"]
    assert re.fullmatch(r"[1-9]\d*(%|M)", service["MemoryMax"])
    assert int(service["LimitNOFILE"]) >= 4 * server.MAX_CONNECTIONS


def test_the_page_is_not_in_the_loggers_way() -> None:
    service = read(PAGE)["Service"]
    assert int(service["Nice"]) > 0
    assert int(service["OOMScoreAdjust"]) > 0
    assert service["RestartPreventExitStatus"] == "78"
