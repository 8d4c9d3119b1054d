"""The wheel, installed where there is no clone: the logger, the demo, completions and the man page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli.commands import command_parser
from spotify_logger.storage.embedded_server import is_listening
from tests.browser import skip_or_fail
from tests.conftest import free_port, is_there, wait_until
from tests.stage import Stage
from tests.test_documents import options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
TIMEOUT = 60.0
COMPLETED = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$(complete -p spotify-logger | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs: the package, and `share`."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (shared,) = folder.glob("*.data/data/share")
    shared.rename(folder / "share")
    return folder


@pytest.fixture
def stage(tmp_path: Path, redis_url: str, installed: Path) -> Iterator[Stage]:
    with closing(Stage(tmp_path, redis_url)) as stage:
        stage.environ["PYTHONPATH"] = str(installed)
        yield stage


def test_run_logs_and_serves_the_page_without_a_clone(stage: Stage, installed: Path) -> None:
    port = free_port()
    logger = stage.start("-m", "spotify_logger", "run", "--web", f"--port={port}")
    wait_until(lambda: stage.newest()[0] == "Long")
    wait_until(lambda: f"The page is at http://127.0.0.1:{port}/" in stage.log())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/recent", timeout=TIMEOUT) as answer:
        assert b"Long" in answer.read()
    loop = int(stage.status()["pid"])
    assert str(installed) in Path(f"/proc/{loop}/cmdline").read_text()
    assert Path(f"/proc/{loop}/cwd").readlink() == stage.folder / ".config" / "spotify-logger"
    logger.terminate()
    assert logger.wait(TIMEOUT) == 0
    assert not is_there(loop)
    wait_until(lambda: not is_listening("127.0.0.1", port))
    assert "Traceback" not in stage.log()


def test_run_logs_for_a_listener_in_a_folder_with_settings(stage: Stage) -> None:
    (stage.folder / ".env").write_text("REDIS_PREFIX=music:\n")
    logger = stage.start("-m", "spotify_logger", "--listener", "anna", "run")
    wait_until(lambda: stage.raw.exists("music:anna:spotify_logger:status"))
    logger.terminate()
    assert logger.wait(TIMEOUT) == 0


def test_demo_runs_without_a_clone(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spotify_logger", "demo", "--for", "8"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * TIMEOUT,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "Plays heard: " in done.stdout
    assert list(tmp_path.glob("spotify-logger-demo-*")) == []


def completed(installed: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words of a command line."""
    script = installed / "share" / "bash-completion" / "completions" / "spotify-logger"
    command = ["bash", "-c", COMPLETED, "bash", str(script), "spotify-logger", *words]
    return str(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout).split()


def test_bash_completes_commands_options_and_choices(installed: Path) -> None:
    assert completed(installed, "ca") == ["calendar"]
    assert {"run", "demo", "count", "help"} <= set(completed(installed, ""))
    assert "artists" in completed(installed, "top", "a")
    assert "--behind-proxy" in completed(installed, "web", "--b")
    assert completed(installed, "import", "pypro") == ["pyproject.toml"]


@pytest.mark.parametrize(
    ("check", "file"),
    [
        (["zsh", "-n"], "zsh/site-functions/_spotify-logger"),
        (["fish", "--no-execute"], "fish/vendor_completions.d/spotify-logger.fish"),
    ],
)
def test_other_shells_can_read_theirs(installed: Path, check: list[str], file: str) -> None:
    path = installed / "share" / file
    assert "on-this-day" in path.read_text()
    if not shutil.which(check[0]):
        skip_or_fail(f"no {check[0]} on this machine")
    done = subprocess.run([*check, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_man_shows_every_command_and_option(installed: Path) -> None:
    if not shutil.which("man"):
        skip_or_fail("no man on this machine")
    done = subprocess.run(
        ["man", "-l", installed / "share" / "man" / "man1" / "spotify-logger.1"],
        env={**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MANOPT": "--warnings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    text = done.stdout.replace("\u2010", "-").replace("\u2212", "-")
    assert [name for name in options_of(command_parser()) if name not in text] == []


def test_the_daemon_imports_neither_of_their_makers(installed: Path) -> None:
    texts = [path.read_text() for path in (installed / "spotify_logger").rglob("*.py")]
    assert not any("shtab" in text or "argparse_manpage" in text for text in texts)
