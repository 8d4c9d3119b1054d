"""The container: its file for compose, and its image; the steps of the latter run without an engine, too."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO
from urllib.error import HTTPError

import pytest
import yaml

from spotify_logger.config.sources import DEFAULTS
from tests.conftest import free_port, wait_until
from tests.simulated_login import redirect_of
from tests.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TIMEOUT = 60.0
STATE = "/var/lib/spotify-logger"
SHIMS = {
    "useradd": "exit 0",
    "install": 'args=("$@"); exec /usr/bin/install "${args[@]/#spotify-logger/$USER}"',
}
"""What needs root: the user of the image is the one that tests."""


class Step(NamedTuple):
    name: str
    text: str


def steps() -> list[Step]:
    """Return the instructions of the Dockerfile."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line]


def last(name: str) -> str:
    return [step.text for step in steps() if step.name == name][-1]


class Image:
    """What the steps of the Dockerfile make, below a folder instead of "/"."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        shims = folder / "shims"
        shims.mkdir()
        for name, script in SHIMS.items():
            (shims / name).write_text(f"#!/bin/bash\n{script}\n")
            (shims / name).chmod(0o755)
        (shims / "python").symlink_to(sys.executable)
        # The packages of the tests, instead of those of the network.
        self.environ = {
            "PATH": f"{shims}:/usr/bin:/bin",
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "USER": "root" if os.geteuid() == 0 else os.environ.get("USER", ""),
        }
        self.folder = self.root
        for step in steps():
            getattr(self, f"_{step.name.lower()}", lambda _: None)(step.text)

    def path(self, text: str) -> str:
        """Return a text with the paths of the image below its root."""
        return re.sub(r"(?<![\w/.])/(?=(src|opt|var)\b)", f"{self.root}/", text)

    def _workdir(self, text: str) -> None:
        self.folder = Path(self.path(text))
        self.folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, text: str) -> None:
        *sources, target = text.split()
        if sources[0].startswith("--from"):
            return  # there is one file system for all stages
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, self.folder / target, ignore=shutil.ignore_patterns("*.pyc"))
            else:
                shutil.copy(ROOT / source, self.folder / target)

    def _run(self, text: str) -> None:
        command = ["bash", "-euc", self.path(text)]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def _env(self, text: str) -> None:
        for assignment in shlex.split(text):
            name, _, value = assignment.partition("=")
            self.environ[name] = self.path(value).replace("$PATH", self.environ["PATH"])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def stage(tmp_path: Path, redis_url: str) -> Iterator[Stage]:
    with closing(Stage(tmp_path, redis_url)) as stage:
        yield stage


@contextmanager
def container(
    image: Image,
    stage: Stage,
    *command: str,
    stdin: int | None = None,
    stdout: int | TextIO = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """Start a container, with the settings of a test."""
    settings = {**stage.environ, "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:9/callback"}
    for name in ("HOME", "PATH", "PYTHONPATH", "STATE_DIR", "SPOTIFY_REFRESH_TOKEN"):
        del settings[name]
    with subprocess.Popen(
        [*json.loads(last("ENTRYPOINT")), *command],
        cwd=image.folder,
        env=settings | image.environ,
        text=True,
        stderr=subprocess.STDOUT,
        stdin=stdin,
        stdout=stdout,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_its_steps_make_a_logger_that_is_logged_in_by_pasting(image: Image, stage: Stage) -> None:
    state = Path(image.path(STATE))
    assert state.stat().st_mode & 0o777 == 0o700
    port, command = free_port(), json.loads(last("CMD"))
    with container(image, stage, *command) as refused:
        assert "spotify-logger login" in refused.communicate(timeout=TIMEOUT)[0]
        assert refused.returncode == 78
    with container(image, stage, "login", stdin=subprocess.PIPE) as login:
        assert login.stdin
        assert login.stdout
        address = next(line for line in login.stdout if "/authorize?" in line)
        login.stdin.write(f"{redirect_of(address.strip())}\n")
        login.stdin.close()
        assert "Logged in" in login.stdout.read()
    assert (state / "token.json").exists()
    log = stage.folder / "container"
    with (
        log.open("w") as output,
        container(image, stage, *command, f"--port={port}", stdout=output) as logger,
    ):
        wait_until(lambda: stage.newest()[0] == "Long")
        wait_until(lambda: "The page is at" in log.read_text())
        with pytest.raises(HTTPError, match="401") as signed_out:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT)
        signed_out.value.close()
        _, check = last("HEALTHCHECK").split("CMD ")
        arguments = json.loads(check)
        with container(image, stage, *arguments[1:]) as health:
            assert "well" in health.communicate(timeout=TIMEOUT)[0]
        assert (arguments[0], health.returncode) == ("spotify-logger", 0)
        logger.terminate()
        assert logger.wait(TIMEOUT) == 0, log.read_text()


def test_it_is_slim_and_not_root() -> None:
    assert {step.text.split()[0] for step in steps() if step.name == "FROM"} == {"python:3.13-slim"}
    assert last("USER") not in {"root", "0"}
    assert f"--uid 990 {last('USER')}" in last("RUN")
    assert last("VOLUME") == STATE
    copied = " ".join(step.text for step in steps() if step.name == "COPY")
    assert " . " not in f" {copied} ", "it would take along .env and auth.py"


def test_compose_runs_the_logger_with_its_page_and_a_redis_that_keeps_everything() -> None:
    file = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    logger, redis = file["services"]["logger"], file["services"]["valkey"]
    assert (DEPLOY / logger["build"]["context"] / logger["build"]["dockerfile"]).exists()
    assert logger["environment"].keys() - {"TZ"} <= DEFAULTS.keys()
    assert logger["environment"]["REDIS_URL"] == "redis://valkey:6379/0"
    assert logger["depends_on"] == ["valkey"]
    assert logger["ports"] == [f"127.0.0.1:{last('EXPOSE')}:{last('EXPOSE')}"]
    assert logger["volumes"] == [f"state:{last('VOLUME')}"]
    assert "--appendonly yes" in redis["command"]
    assert redis["volumes"] == ["plays:/data"]
    assert file["volumes"].keys() == {"state", "plays"}
    assert "ports" not in redis


@pytest.mark.skipif(
    subprocess.run("docker info", shell=True, capture_output=True, check=False).returncode != 0,
    reason="no container engine on this machine",
)
def test_an_engine_builds_and_runs_it() -> None:
    build = ["docker", "build", "-q", "-f", str(DEPLOY / "Dockerfile"), str(ROOT)]
    image = subprocess.run(build, check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run(
        ["docker", "run", "--rm", image, "status"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "start" in done.stdout + done.stderr) == (1, True)
