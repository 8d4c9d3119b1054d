"""A clone without its packages, or with a Python that is too old, says in one line what to run."""

from __future__ import annotations

import ast
import base64
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.config import requirements
from spotify_logger.system import python_version

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
STARTS = (["run.py"], ["log.py"], ["run.py", "--demo"], ["-m", "spotify_logger", "recent"])


class Phone(HTTPServer):
    """Takes alerts.

    Attributes:
        got: The headers and the text of each.
    """

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        phone = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                phone.got.append((dict(self.headers), f"{self.path} {text}"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/topic"


@pytest.fixture
def phone() -> Iterator[Phone]:
    with Phone() as phone:
        thread = threading.Thread(target=phone.serve_forever, args=(0.01,))
        thread.start()
        yield phone
        phone.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without any package, not even pip: as after an upgrade of Python."""
    venv = tmp_path_factory.mktemp("bare") / ".venv"
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


def start(clone: Path, venv: Path, arguments: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [venv / "bin/python", *arguments],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "HOME": str(clone), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 78, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("arguments", STARTS, ids=" ".join)
def test_without_packages_one_line_says_what_to_run(clone: Path, bare: Path, arguments: list[str]) -> None:
    line = only_line(start(clone, bare, arguments))
    assert "(python-dotenv, redis, requests, rich, urllib3)" in line
    python = os.path.realpath(sys.executable)
    assert re.search(rf" {python} -m venv {bare} && {bare}/bin/pip install '{clone}(\[embedded\])?'$", line)


@pytest.mark.parametrize("arguments", STARTS[:2], ids=" ".join)
def test_it_alerts_once(clone: Path, bare: Path, phone: Phone, arguments: list[str]) -> None:
    line = only_line(start(clone, bare, arguments, ALERT_URL=phone.url.replace("//", "//me:p%20w@")))
    ((headers, alert),) = phone.got
    assert headers["Authorization"] == f"Basic {base64.b64encode(b'me:p w').decode()}"
    assert alert.startswith("/topic Spotify Logger: ")
    assert alert.endswith(line.partition(": ")[2])


def test_whoever_calls_the_command_reads_the_line_and_needs_no_alert(
    clone: Path, bare: Path, phone: Phone
) -> None:
    only_line(start(clone, bare, STARTS[-1], ALERT_URL=phone.url))
    assert phone.got == []


@pytest.mark.parametrize("place", [".env", "a file that .env names", "a credential"])
def test_where_the_address_for_alerts_is_found(clone: Path, bare: Path, phone: Phone, place: str) -> None:
    (clone / "ALERT_URL").write_text(phone.url)
    environ = {}
    if place == ".env":
        (clone / ".env").write_text(f"# ours\n\nexport ALERT_URL='{phone.url}' # the phone\nPOLL_MIN=5\n")
    elif place == "a credential":
        environ = {"CREDENTIALS_DIRECTORY": str(clone)}
    else:
        (clone / ".env").write_text("ALERT_URL_FILE=ALERT_URL\n")
    only_line(start(clone, bare, ["run.py"], **environ))
    assert len(phone.got) == 1


def test_settings_that_are_wrong_do_not_hide_the_line(clone: Path, bare: Path, phone: Phone) -> None:
    (clone / ".env").write_text(f"ALERT_URL={phone.url}\n")
    (clone / ".env").chmod(0o666)
    only_line(start(clone, bare, ["run.py"]))
    assert phone.got == []


@contextmanager
def recorded(venv: Path, **versions: str) -> Iterator[None]:
    """Record all packages as installed, some of them in other versions; none of them can be imported."""
    packages = next((venv / "lib").glob("python*/site-packages"))
    installed = {**requirements.MIN_VERSIONS, **versions}
    for name, version in installed.items():
        folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    try:
        yield
    finally:
        for folder in packages.glob("*.dist-info"):
            shutil.rmtree(folder)


def test_a_package_that_is_too_old(clone: Path, bare: Path) -> None:
    with recorded(bare, redis="0.9.1", rich="100.0rc1"):
        assert "(redis 0.9.1)" in only_line(start(clone, bare, ["run.py"]))


@pytest.mark.parametrize("arguments", STARTS, ids=" ".join)
def test_a_package_that_cannot_be_imported_or_needs_one_that_is_missing(
    clone: Path, bare: Path, phone: Phone, arguments: list[str]
) -> None:
    with recorded(bare):
        line = only_line(start(clone, bare, arguments, ALERT_URL=phone.url))
    assert re.search(r"\((dotenv|redis)\)", line)
    assert len(phone.got) == (arguments in STARTS[:2])


class TestAdvice:
    @pytest.fixture(autouse=True)
    def _system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This Python is the system's, and there is no Redis server."""
        monkeypatch.setattr(sys, "base_prefix", sys.prefix)
        monkeypatch.setattr(shutil, "which", lambda _: None)

    def test_a_clone_that_was_never_installed(self, clone: Path) -> None:
        python, pip = os.path.realpath(sys.executable), f"'{clone}/.venv/bin/pip'"
        advice = requirements._install_command(clone, "run.py")
        assert advice == (
            f"{python} -m venv '{clone}/.venv' && {pip} install '{clone}[embedded]'"
            f" && '{clone}/.venv'/bin/python run.py"
        )

    def test_a_clone_with_an_environment_that_is_not_the_one_in_use(self, clone: Path) -> None:
        (clone / ".venv/bin").mkdir(parents=True)
        (clone / ".venv/bin/pip").touch(mode=0o755)
        advice = requirements._install_command(clone, "spotify-logger")
        assert advice == (
            f"'{clone}/.venv/bin/pip' install '{clone}[embedded]' && '{clone}/.venv'/bin/spotify-logger"
        )

    def test_a_package_that_was_installed_from_elsewhere(self, tmp_path: Path) -> None:
        assert " -m pip install " in requirements._install_command(tmp_path, "spotify-logger")

    def test_a_redis_server_is_not_installed_where_there_is_one(
        self, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
        assert "embedded" not in requirements._install_command(clone, "run.py")


def test_it_asks_for_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = dict(dependency.split(">=") for dependency in project["dependencies"])
    asked.pop("tzdata")
    assert asked == requirements.MIN_VERSIONS
    assert project["requires-python"] == ">=" + ".".join(map(str, python_version.MINIMUM_VERSION))


class TestOldPython:
    FILES = (
        "run.py",
        "log.py",
        "spotify_logger/__init__.py",
        "spotify_logger/__main__.py",
        "spotify_logger/system/__init__.py",
    )

    @pytest.mark.parametrize("name", [*FILES, "spotify_logger/system/python_version.py"])
    def test_it_can_read_what_is_read_before_the_check(self, name: str) -> None:
        source = (ROOT / name).read_text(encoding="utf-8")
        ast.parse(source, feature_version=(3, 6))
        assert "__future__" not in source  # which Python 3.6 does not know

    def test_one_line_and_78(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
        with pytest.raises(SystemExit) as ended:
            python_version.check("run.py")
        assert ended.value.code == 78
        (line,) = capsys.readouterr().err.splitlines()
        assert "3.8.18" in line
        assert line.endswith("python3.11 run.py")
