"""Every command on nonsense, in its arguments or in Redis: a documented exit code, and no traceback."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.cli import commands
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.system import program
from tests.cli.conftest import run_main
from tests.conftest import wait_until
from tests.nonsense import NOW_PLAYING, STAMPS, write_good, write_nonsense

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODES = (0, 1, 2, 78)
VALUES = (
    "--", "", "-1", "9" * 30, "0001-01-01", "9999-12-31T23:59:59-14:00", "9999y", "%s%n{0}", "\x1b[2J",
    "\udcff", "٣", "a" * 3000,
)  # fmt: skip
"""Without NUL, which cannot be in an argument of a process."""
REQUIRED = {
    "count": ["quo"], "top": ["tracks"], "compare": ["-"], "artist": ["daft punk"],
    "album": ["discovery"], "track": ["quo"], "import": ["--samples"], "forget": ["quo"],
    "forward": ["status"], "token": ["list"], "move": ["--from", "redis://127.0.0.1:1"],
}  # fmt: skip
"""The arguments that a command needs."""


def command_lines() -> dict[str, list[list[str]]]:
    """Return lines for each command that asks Redis, and does not wait for somebody.

    An option that several commands share is tried with the first of them only.
    """
    (choices,) = (action.choices for action in commands.command_parser()._actions if action.dest == "command")
    found: dict[str, list[list[str]]] = {}
    seen = set()
    for name, parser in dict(choices or ()).items():
        required = REQUIRED.get(name, [])
        found[name] = [[name, *required]]
        for action in parser._actions:
            option = action.option_strings[:1]
            if action.dest == "help" or (*option, action.type) in seen:
                continue
            seen.add((*option, action.type))
            if action.nargs == 0:
                found[name].append([name, *option, *required])
                continue
            for value in VALUES:
                words = [f"{option[0]}={value}", *required] if option else ["--", value]
                found[name].append([name, *words])
    others = {"run", "demo", "login", "web", "help"}
    return {name: lines for name, lines in found.items() if name not in others}


COMMAND_LINES = command_lines()


@pytest.fixture
def nonsense(here: pytest.MonkeyPatch, redis_url: str) -> Iterator[redis.Redis]:
    """A client of the log, which holds good plays and nonsense."""
    with redis.Redis.from_url(redis_url) as client:
        write_good(client, int(time.time()))
        write_nonsense(client, int(time.time()))
        yield client


def check_line(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_main(line, capsys)
    assert code in EXIT_CODES, (line, err)
    assert "Traceback" not in out + err
    assert "\x1b" not in out + err, line
    assert not code or out or err, line


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_any_argument_and_any_log(
    name: str, nonsense: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (*COMMAND_LINES[name], ["--listener=\x1b", name]):
        check_line(line, capsys)


def test_any_status(nonsense: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    nonsense.hdel("spotify_logger:status", "last_play")
    for playing in NOW_PLAYING:
        nonsense.set("now_playing", playing)
        check_line(["now"], capsys)
    for stamp in STAMPS:
        nonsense.hset("spotify_logger:status", mapping=dict.fromkeys(("last_poll", "blind_since"), stamp))
        check_line(["status"], capsys)


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_an_unreachable_redis(
    name: str, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    code, out, err = run_main(COMMAND_LINES[name][0], capsys)
    assert code == 1
    assert "Redis at 127.0.0.1:1 cannot be reached (Connection refused)" in (out if name == "status" else err)
    assert (out + err).count("\n") == 1
    assert "hunter2" not in out + err


def test_check_reports_nonsense(nonsense: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["check"], ["check", "--repair"], ["check"]):
        code, out, _ = run_main(line, capsys)
        assert code == 1
        assert "hold something else" in out, line


def test_the_logger_runs_beside_nonsense(
    nonsense: redis.Redis, environment: dict[str, str], tmp_path: Path
) -> None:
    polls: set[object] = set()

    def has_polled() -> bool:
        polls.add(nonsense.hget("spotify_logger:status", "last_poll"))
        return len(polls) > 2

    environment |= {
        "HOME": str(tmp_path),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REFRESH_TOKEN": DEMO_REFRESH_TOKEN,
        "POLL_MIN": "0.2",
        "POLL_MAX": "1",
    }
    command = [sys.executable, str(Path(__file__).parents[2] / "log.py")]
    simulator = program.module_command("spotify_logger.simulator", "--seed", "4", "--pace", "40")
    with subprocess.Popen(simulator, stdout=subprocess.PIPE, text=True) as spotify:
        assert spotify.stdout is not None
        url = spotify.stdout.readline().removeprefix("listening on ").strip()
        environment |= {"SPOTIFY_API_URL": url, "SPOTIFY_ACCOUNTS_URL": url}
        with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as logger:
            try:
                wait_until(has_polled, 90)
            finally:
                logger.terminate()
                stderr = logger.communicate(timeout=60)[1].decode()
                spotify.terminate()
    assert logger.returncode == 0, stderr
    assert "Traceback" not in stderr
