"""A clone without its packages, or with a Python that is too old, says in one line what to run."""

from __future__ import annotations

import ast
import base64
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.config import requirements
from spotify_logger.config.sources import find_settings
from spotify_logger.system import program
from tests.scripted_server import ScriptedServer, http_response, respond_with

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COMMAND = ["-m", "spotify_logger", "recent"]
LOGGERS = (
    ["run.py"],
    ["run.py", "--web"],
    ["log.py"],
    ["-m", "spotify_logger", "run"],
    ["-m", "spotify_logger", "--listener", "anna", "run", "--web"],
    ["-m", "spotify_logger.daemon.main"],
    ["-m", "spotify_logger.supervisor"],
)


@pytest.fixture
def alerts() -> Iterator[ScriptedServer]:
    server = ScriptedServer(respond_with(http_response()))
    yield server
    server.close()


@pytest.fixture
def empty_venv(tmp_path: Path) -> Path:
    """A virtual environment without any package, not even pip: as after an upgrade of Python."""
    venv = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    return venv


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "spotify_logger", folder / "spotify_logger", ignore=ignored)
    for name in ("run.py", "log.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def refused(clone: Path, venv: Path, arguments: list[str], **environ: str) -> str:
    """Start the clone, and return the one line with which it ends."""
    done = subprocess.run(
        [venv / "bin/python", *arguments],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "HOME": str(clone), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("arguments", [*LOGGERS, COMMAND], ids=" ".join)
def test_without_packages_one_line_says_how_to_install_them_and_the_daemon_alerts(
    clone: Path, empty_venv: Path, alerts: ScriptedServer, arguments: list[str]
) -> None:
    url = f"http://me:p%20w@127.0.0.1:{alerts.port}/topic"
    line = refused(clone, empty_venv, arguments, ALERT_URL=url)
    assert "(python-dotenv, redis, requests, rich, urllib3)" in line
    python = os.path.realpath(sys.executable)
    install = f" {python} -m venv {empty_venv} && {empty_venv}/bin/pip install '{clone}"
    assert re.search(rf"{install}(\[embedded\])?'", line)
    if arguments in LOGGERS:
        (request,) = alerts.requests
        assert request.startswith(b"POST /topic ")
        assert b"Authorization: Basic " + base64.b64encode(b"me:p w") in request
        assert request.decode().endswith(line.partition(": ")[2])
    else:
        assert alerts.connections == 0


def test_an_outdated_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = {**requirements.MIN_VERSIONS, "redis": "0.9.1", "rich": "100.0rc1"}
    monkeypatch.setattr("importlib.metadata.version", installed.__getitem__)
    with pytest.raises(SystemExit):
        requirements.check("run.py", alert=False)
    assert "(redis 0.9.1)" in capsys.readouterr().err


def test_a_package_that_cannot_be_imported_is_named(clone: Path, empty_venv: Path) -> None:
    """Python was upgraded, and the metadata of the packages is still found."""
    packages = next((empty_venv / "lib").glob("python*/site-packages"))
    for name, version in requirements.MIN_VERSIONS.items():
        folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for arguments in (["run.py"], COMMAND):
        assert re.search(r"\((dotenv|redis)\)", refused(clone, empty_venv, arguments))


@pytest.mark.parametrize(
    ("dotenv", "environ"),
    [
        ("# ours\n\nexport ALERT_URL='https://a.example/b' # the phone\nPOLL_MIN=5\n", {}),
        ("ALERT_URL_FILE=ALERT_URL\n", {}),
        ("", {"CREDENTIALS_DIRECTORY": "."}),
    ],
)
def test_the_alert_url_is_found_without_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dotenv: str, environ: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "dotenv", None)
    (tmp_path / "ALERT_URL").write_text("https://a.example/b")
    (tmp_path / ".env").write_text(dotenv)
    assert find_settings(tmp_path, environ)["ALERT_URL"].value == "https://a.example/b"
    (tmp_path / ".env").chmod(0o666)  # invalid settings count as none
    requirements._send_alert("packages are missing")


def test_install_command_without_a_virtual_environment_or_a_redis_server(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    python, pip = os.path.realpath(sys.executable), f"'{clone}/.venv/bin/pip'"
    assert requirements._install_command(clone, "run.py") == (
        f"{python} -m venv '{clone}/.venv' && {pip} install '{clone}[embedded]'"
        f" && '{clone}/.venv'/bin/python run.py"
    )
    assert " -m pip install " in requirements._install_command(clone / "elsewhere", "run.py")


@pytest.mark.parametrize(
    ("receipt", "command"), [("uv-receipt.toml", "uv tool upgrade"), ("pipx_metadata.json", "pipx reinstall")]
)
def test_install_command_for_an_installed_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receipt: str, command: str
) -> None:
    (tmp_path / receipt).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert requirements._install_command(tmp_path, "spotify-logger").startswith(command)


def test_the_minimum_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dependencies = dict(dependency.split(">=") for dependency in project["dependencies"])
    del dependencies["tzdata"]
    assert dependencies == requirements.MIN_VERSIONS
    assert project["requires-python"] == ">=" + ".".join(map(str, program.MINIMUM_PYTHON))


@pytest.mark.parametrize(
    "name",
    [
        "run.py",
        "log.py",
        "spotify_logger/__init__.py",
        "spotify_logger/__main__.py",
        "spotify_logger/system/__init__.py",
        "spotify_logger/system/program.py",
    ],
)
def test_python_3_6_can_parse_what_precedes_the_version_check(name: str) -> None:
    source = (ROOT / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "__future__" not in source  # `annotations` is unknown to Python 3.6


def test_an_old_python_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    with pytest.raises(SystemExit) as ended:
        program.check_python("run.py")
    assert ended.value.code == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert "3.8.18" in line
    assert line.endswith("python3.11 run.py")
