"""Where the command looks for settings: as any user, in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli.main import settings_folder
from spotify_logger.config import sources
from spotify_logger.config.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [".env", "auth.py", "auth.example.py"])
def test_the_current_folder_comes_before_the_one_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_folder(tmp_path, {}) == tmp_path / ".config" / "spotify-logger"
    assert settings_folder(tmp_path, {"XDG_CONFIG_HOME": "/x"}) == Path("/x/spotify-logger")
    (tmp_path / name).touch()
    assert settings_folder(tmp_path, {}) == tmp_path


@pytest.fixture
def service_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The files with the settings of a systemd service: for all, and for root."""
    found = tmp_path / "etc" / "spotify-logger.conf", tmp_path / "etc" / "spotify-logger.env"
    found[0].parent.mkdir()
    monkeypatch.setattr(sources, "SERVICE_FILES", found)
    return found


def test_commands_find_the_log_of_the_service(service_files: tuple[Path, Path], tmp_path: Path) -> None:
    for_all, for_root = service_files
    for_all.write_text("REDIS_PREFIX=music:\nREDIS_URL=redis://h:1/0\nPOLL_MAX=20\n")
    for_root.write_text("POLL_MAX=25\nSPOTIFY_CLIENT_ID=x\n")
    environ = {"HOME": str(tmp_path), "REDIS_URL": "redis://h:2/0"}
    settings = load(tmp_path, environ, need_login=False)
    assert (settings.redis_prefix, settings.redis_url, settings.poll_max) == ("music:", "redis://h:2/0", 25.0)
    logger = load(tmp_path, {**environ, "SPOTIFY_CLIENT_ID": "y"})  # systemd gives it what it needs
    assert (logger.redis_prefix, logger.poll_max) == ("", 30.0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("names", [(".env",), ("auth.py",), (".env", "auth.example.py")], ids=" ".join)
def test_a_file_that_the_user_may_not_read_is_no_error(open_folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = open_folder / name
        path.write_text("REDIS_PREFIX='secret:'\n")
        path.chmod(0o644 if "example" in name else 0o600)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from spotify_logger.config.settings import load\n"
        "from spotify_logger.cli.main import settings_folder\n"
        f"os.setuid({NOBODY})\n"
        "folder = settings_folder(Path.cwd(), os.environ)\n"
        "print(load(folder, os.environ, need_login=False).redis_prefix)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=open_folder,
        env={"PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
