"""`deploy/install`, `login` and `update`, with a root of their own and doubles of systemd, pip and apt."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser import skip_or_fail

PROJECT = Path(__file__).parent.parent
UNITS = "spotify-logger.service spotify-logger@anna.service spotify-logger-web.service"
LOG = 'echo "$(basename "$0") $*" >>"$DESTDIR/calls"\n'
SYSTEMCTL = f"""{LOG}
case $1 in
list-units) printf '%s loaded active running -\\n' {UNITS} ;;
restart) if [[ $2 == *web* ]]; then ! grep -q bad "$DESTDIR/opt/spotify-logger/version"; fi ;;
esac
"""
VENV = f"""{LOG}
mkdir -p "$3"/{{bin,share/man}} && touch "$3/share/man/page"
for name in pip python spotify-logger; do cp "$(dirname "$0")/program" "$3/bin/$name"; done
"""


class Machine:
    """A root, a clone of a project, and what the scripts have called."""

    def __init__(self, folder: Path) -> None:
        self.root, self.clone = folder / "root", folder / "clone"
        self.home = self.root / "opt" / "spotify-logger"
        self._bin = folder / "bin"
        for each in (self.root, self._bin, self.clone / "deploy"):
            each.mkdir(parents=True)
        programs = {"systemctl": SYSTEMCTL, "python3": VENV}
        for name in ("systemctl", "systemd-run", "python3", "apt-get", "redis-server", "editor", "program"):
            path = self._bin / name
            path.write_text(f"#!/bin/bash\n{programs.get(name, LOG)}")
            path.chmod(0o755)
        for name in ("install", "login", "update"):
            shutil.copy(PROJECT / "deploy" / name, self.clone / "deploy" / name)
        self.git("init", "-q")
        self.commit("good")

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", "-C", str(self.clone), *who, *arguments], check=True)

    def commit(self, version: str) -> None:
        (self.clone / "version").write_text(version)
        self.git("add", "-A")
        self.git("commit", "-qm", version)

    def run(self, script: str, *arguments: str) -> tuple[int, list[str]]:
        """Return the exit code of a script, and what it has called."""
        calls = self.root / "calls"
        calls.write_text("")
        environ = {"PATH": f"{self._bin}:/usr/bin:/bin", "DESTDIR": str(self.root), "SETTLE_SECONDS": "0"}
        done = subprocess.run(
            [str(self.clone / "deploy" / script), *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, calls.read_text().replace(f"{self.root}", "").splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_scripts_are_sound() -> None:
    if not shutil.which("shellcheck"):
        skip_or_fail("no shellcheck on this machine")
    scripts = [str(PROJECT / "deploy" / name) for name in ("install", "login", "update")]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_an_installation_has_everything_and_is_completed_when_repeated(machine: Machine) -> None:
    code, calls = machine.run("install")
    assert code == 0
    assert calls.index("systemctl daemon-reload") < calls.index(
        "systemctl enable --now /opt/spotify-logger/deploy/spotify-logger.service"
    )
    assert (machine.root / "etc/spotify-logger.env").stat().st_mode & 0o777 == 0o600
    assert os.access(machine.root / "usr/local/bin/spotify-logger", os.X_OK)
    repair = machine.root / "etc/systemd/system/redis-server.service.d/spotify-logger.conf"
    assert repair.readlink() == machine.home / "deploy/redis-server.conf"
    credentials = machine.root / "etc/spotify-logger.credentials"
    credentials.write_text("[Service]\nLoadCredential=SPOTIFY_CLIENT_SECRET:/etc/secret\n")
    for unit in ("spotify-logger", "spotify-logger@", "spotify-logger-web"):
        dropin = machine.root / f"etc/systemd/system/{unit}.service.d/credentials.conf"
        assert dropin.read_text() == credentials.read_text(), "said once for all of them"
    code, calls = machine.run("install", "--web", "anna")
    assert code == 0
    assert "pip install --quiet /opt/spotify-logger[web]" in calls
    assert "systemctl enable --now spotify-logger@anna" in calls
    assert "systemctl enable --now /opt/spotify-logger/deploy/spotify-logger-web.service" in calls
    (login,) = (call for call in calls if call.startswith("systemd-run"))
    assert "-p LoadCredential=SPOTIFY_CLIENT_SECRET:/etc/secret" in login
    assert login.endswith("spotify-logger --listener anna login")
    assert "SPOTIFY_CLIENT_SECRET" in credentials.read_text(), "settings stay"


def test_a_redis_of_its_own_gets_no_other_one_beside_it(machine: Machine) -> None:
    (machine.root / "var/lib/private/spotify-logger/redis").mkdir(parents=True)
    _, calls = machine.run("install")
    assert "pip install --quiet /opt/spotify-logger[embedded]" in calls
    assert not any("apt-get" in call for call in calls)


def test_an_update_restarts_everything_with_the_new_version(machine: Machine) -> None:
    machine.run("install")
    for version in ("better", "best"):
        machine.commit(version)
        code, calls = machine.run("update")
        assert code == 0
        assert (machine.home / "version").read_text() == version
        reload = calls.index("systemctl daemon-reload")
        assert all(calls.index(f"systemctl restart {unit}") > reload for unit in UNITS.split())
        assert len(list((machine.home / "environments").iterdir())) == 1
        assert os.access(machine.root / "usr/local/bin/spotify-logger", os.X_OK)


def test_a_version_that_does_not_come_up_is_taken_back(machine: Machine) -> None:
    machine.run("install")
    machine.commit("bad")
    code, calls = machine.run("update")
    assert code == 1
    assert (machine.home / "version").read_text() == "good"
    assert [call for call in calls if "restart" in call] == [
        f"systemctl restart {unit}" for unit in UNITS.split()
    ] * 2
    assert (machine.home / ".venv").resolve() == machine.home / "environments" / "first"
    machine.commit("good again")
    assert machine.run("update")[0] == 0
