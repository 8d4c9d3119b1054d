"""Every command with every option, given what makes no sense: one line says so, and the exit code is ours."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.cli import commands
from spotify_logger.cli.main import main
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.system import program
from tests.conftest import wait_until
from tests.nonsense import NOW_PLAYING, STAMPS, write_good, write_nonsense

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CODES = (0, 1, 2, 78)
VALUES = (
    "--", "", "-1", "9" * 30, "0001-01-01", "9999-12-31T23:59:59-14:00", "9999y", "%s%n{0}", "\x1b[2J",
    "\udcff", "٣", "a" * 3000,
)  # fmt: skip
"""NUL is not among them: no argument of a process can hold one."""
NEEDED: dict[str, tuple[str, ...]] = {
    "count": ("quo",),
    "top": ("tracks",),
    "compare": ("-",),
    "artist": ("daft punk",),
    "album": ("discovery",),
    "track": ("quo",),
    "import": ("--samples",),
    "forget": ("quo",),
}
"""What a command does not go without."""
ENDLESS = ("web", "login")
"""Commands that wait for somebody."""


def every_command() -> dict[str, argparse.ArgumentParser]:
    for action in commands.command_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


COMMANDS = every_command()
QUERIES = [name for name in COMMANDS if name not in ENDLESS]


def lines_of(name: str) -> Iterator[list[str]]:
    """The command lines to try."""
    needed = NEEDED.get(name, ())
    yield [name, *needed]
    for action in COMMANDS[name]._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        option = action.option_strings[:1]
        if action.nargs == 0:
            yield [name, *option, *needed]
            continue
        for value in VALUES:
            yield [name, f"{option[0]}={value}", *needed] if option else [name, "--", value]
    for value in VALUES[:2]:
        yield [f"--listener={value}", name, *needed]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def _home(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SPOTIFY_CLIENT_ID", "LISTENER", "REDIS_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Path(os.devnull).open(encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        yield


def ended(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The exit code of a command line, and what it wrote."""
    code: Any
    try:
        code = main(line)
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err


def is_sound(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(line, capsys)
    assert code in CODES, (line, err)
    assert "Traceback" not in out + err
    assert "\x1b" not in out + err, line
    if code:
        assert err or out, line


@pytest.mark.usefixtures("_home")
@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("state", ["good", "nonsense", "away"])
def test_a_command(
    name: str,
    state: str,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = int(time.time())
    if state == "away":
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    else:
        write_good(client, now)
    if state == "nonsense":
        write_nonsense(client, now)
    lines = lines_of(name)
    for line in islice(lines, 3) if state == "away" else lines:
        is_sound(line, capsys)


@pytest.mark.usefixtures("_home")
@pytest.mark.parametrize("name", QUERIES)
def test_a_log_of_nonsense(name: str, client: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time())
    write_good(client, now)
    write_nonsense(client, now)
    for form in ([], ["--json"], ["--csv"]):
        is_sound([name, *form, *NEEDED.get(name, ())], capsys)
    # In the year 2286: every day up to then is looked at.
    client.hset("spotify_logger:status", "last_play", "listening:9999999999")
    is_sound([name, *NEEDED.get(name, ())], capsys)
    client.hdel("spotify_logger:status", "last_play")
    if name not in {"status", "now", "recent"}:  # these alone tell of the moment
        return
    for playing in NOW_PLAYING:
        client.set("now_playing", playing)
        is_sound([name], capsys)
    for stamp in STAMPS:
        client.hset("spotify_logger:status", mapping=dict.fromkeys(("last_poll", "blind_since"), stamp))
        is_sound([name], capsys)


@pytest.mark.usefixtures("_home")
def test_check_names_what_is_impossible(client: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time())
    write_good(client, now)
    assert ended(["check"], capsys)[0] == 0
    write_nonsense(client, now)
    for line in (["check"], ["check", "--repair"], ["check"]):
        code, out, _ = ended(line, capsys)
        assert code == 1
        assert "hold something else" in out, line


@pytest.mark.parametrize(
    "arguments",
    [
        ["clock", "--min=--"],
        ["top", "-n--", "tracks"],
        ["--listener=--", "status"],
        ["year", "\udcff"],
        ["count", "\udcff"],
        ["day", "9999-12-31"],
        *(
            ["web", f"--{name}={value}"]
            for name in ("port", "host")
            for value in ("--", "x x", "1e9", "\udcff")
        ),
    ],
)
def test_as_a_process(arguments: list[str], redis_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "REDIS_URL": redis_url, "STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "spotify_logger", *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode in CODES
    assert "Traceback" not in done.stderr


@pytest.fixture
def spotify() -> Iterator[str]:
    """The address of a simulated Spotify."""
    command = program.module_command("spotify_logger.simulator", "--seed", "4", "--pace", "40")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        yield simulator.stdout.readline().removeprefix("listening on ").strip()
        simulator.terminate()


def test_the_logger_goes_on_beside_nonsense(
    client: redis.Redis, redis_url: str, spotify: str, tmp_path: Path
) -> None:
    now = int(time.time())
    write_good(client, now)
    write_nonsense(client, now)
    polls: set[object] = set()

    def has_polled() -> bool:
        polls.add(client.hget("spotify_logger:status", "last_poll"))
        return len(polls) > 2

    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REFRESH_TOKEN": DEMO_REFRESH_TOKEN,
        "SPOTIFY_API_URL": spotify,
        "SPOTIFY_ACCOUNTS_URL": spotify,
        "REDIS_URL": redis_url,
        "STATE_DIR": str(tmp_path / "state"),
        "POLL_MIN": "0.2",
        "POLL_MAX": "1",
    }
    command = [sys.executable, str(ROOT / "log.py")]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as logger:
        try:
            wait_until(has_polled, 90)
        finally:
            logger.terminate()
            stderr = logger.communicate(timeout=60)[1].decode()
    assert logger.returncode == 0, stderr
    assert "Traceback" not in stderr
