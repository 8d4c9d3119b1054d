"""Nothing of the folder in which the command, the page or the logger is started is ever imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spotify_logger.system import program

ROOT = Path(__file__).parents[2]
PLANTED = ("spotify_logger/__init__.py", "json.py", "random.py", "runpy.py", "redis.py", "sitecustomize.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules of somebody else's, which leave a trace."""
    for name in PLANTED:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(tmp_path / 'traces')!r}, 'a').write('{name}\\n')\n")
    return tmp_path


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    home = {"PATH": os.environ["PATH"], "HOME": str(folder), "STATE_DIR": str(folder / "state")}
    return subprocess.run(
        command, cwd=folder, env={**home, **more}, capture_output=True, text=True, check=False
    )


def traces(folder: Path) -> str:
    path = folder / "traces"
    return path.read_text() if path.exists() else ""


def test_the_command(folder: Path, redis_url: str) -> None:
    done = run(folder, str(Path(sys.executable).parent / "spotify-logger"), "stats", REDIS_URL=redis_url)
    assert (done.returncode, done.stderr, traces(folder)) == (0, "Nothing has been logged yet.\n", "")


def test_the_supervisor_and_its_check(folder: Path) -> None:
    done = run(folder, sys.executable, str(ROOT / "run.py"), SPOTIFY_CLIENT_ID="not one")
    assert done.returncode == 78, done.stderr
    assert traces(folder) == ""


def test_the_modules_that_run_in_subprocesses(folder: Path) -> None:
    for module in ("spotify_logger", "spotify_logger.simulator.demo", "spotify_logger.daemon.preflight"):
        done = run(folder, *program.module_command(module, "--help"))
        assert (done.returncode, traces(folder)) == (0, "")


def test_a_clone_that_is_not_installed_runs_its_own_code(tmp_path: Path) -> None:
    package = tmp_path / "spotify_logger"
    for name in ("__init__.py", "system/__init__.py", "system/program.py", "daemon/__init__.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes((ROOT / "spotify_logger" / name).read_bytes())
    preflight = package / "daemon" / "preflight.py"
    preflight.write_text("import sys; print(__name__, __file__, sys.argv[1:])")
    starter = tmp_path / "run.py"
    starter.write_text(
        "import subprocess\nfrom spotify_logger.system import program\n"
        "command = program.module_command('spotify_logger.daemon.preflight', '--report-fd', '3')\n"
        "subprocess.run(command, cwd='/')\n"
    )
    done = run(tmp_path, sys.executable, str(starter))
    assert done.stdout == f"__main__ {preflight} ['--report-fd', '3']\n", done.stderr
