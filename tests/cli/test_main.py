from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest
import redis

from spotify_logger import __version__
from spotify_logger.cli import main
from spotify_logger.core.redis_keys import GAPS
from spotify_logger.core.times import to_iso
from spotify_logger.spotify.oauth import Token
from spotify_logger.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.config.settings import Settings

START = 1795370400
COMMAND = [sys.executable, "-m", "spotify_logger"]
QUESTIONS = (["status"], ["now"], ["recent"], ["count", "x"])


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Everything that a process of the command finds in its environment."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(main.__file__).parents[2]),
        "STATE_DIR": str(tmp_path / "state"),
        "REDIS_URL": redis_url,
        "TZ": "CET-1",
    }


@pytest.fixture
def here(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """The same for this process."""
    for name in [name for name in os.environ if name.startswith(("SPOTIFY_", "REDIS_"))]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    time.tzset()
    monkeypatch.chdir(tmp_path)
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store(redis_url, utc=lambda: START)
    yield store
    store.close()


def put(store: Store, name: str, second: int = START, **more: str | int) -> None:
    with store.batch() as batch:
        fields: dict[str, str | int] = {
            "uri": f"spotify:track:{second}",
            "name": name,
            "artists": "Daft Punk",
            "ms_played": 200_000,
        }
        batch.write_play(second, {**fields, "end_reason": "skipped", **more}, f"track:{second} 200000")
        batch.write_catalog(f"track:{second}", {"name": name, "artists": "Daft Punk"})
        batch.write_status({"last_play": f"listening:{second}"})


def put_gap(store: Store, reason: str) -> None:
    """Log a gap of an hour that began five minutes after the play."""
    begin, end = START + 300, START + 3900
    with store.batch() as batch:
        batch.write_gap(begin, {"from": to_iso(begin * 1000), "to": to_iso(end * 1000), "reason": reason})


def run(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class TestQuestions:
    def test_recent(self, here: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        put(store, "Veridis Quo")
        put(store, "Aerodynamic", START - 60)
        assert main.main(["recent", "-n", "1"]) == 0
        assert capsys.readouterr().out == "2026-11-22 19:00\tDaft Punk – Veridis Quo\t3:20\tskipped\t\n"
        assert main.main(["recent", "--json"]) == 0
        assert [play["name"] for play in json.loads(capsys.readouterr().out)] == [
            "Veridis Quo",
            "Aerodynamic",
        ]

    def test_gaps_are_distinguished_from_plays(
        self, here: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(store, "Veridis Quo")
        put_gap(store, "offline")
        assert main.main(["recent"]) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [line[1] for line in lines if line[3] != "gap"] == ["Daft Punk – Veridis Quo"]
        assert lines[0] == ["2026-11-22 19:05", "(offline for 1 h)", "", "gap", ""]
        assert main.main(["recent", "--json"]) == 0
        assert [entry.get("name") for entry in json.loads(capsys.readouterr().out)] == [None, "Veridis Quo"]

    def test_recent_shows_twenty(
        self, here: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for number in range(25):
            put(store, "x", START + number)
        assert main.main(["recent"]) == 0
        assert capsys.readouterr().out.count("\n") == 20

    def test_now(self, here: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["now"]) == 1
        assert "never run" in capsys.readouterr().out
        polled = {
            "last_poll": to_iso(round(time.time() * 1000)),
            "next_poll": to_iso(round(time.time() * 1000)),
        }
        with store.batch() as batch:
            batch.write_status(polled)
        assert main.main(["now"]) == 0
        assert capsys.readouterr().out == "Nothing is playing.\n"
        put(store, "Veridis Quo", playing=0, progress_ms=5000)
        with store.batch() as batch:
            batch.set_now_playing(START, 90)
        assert main.main(["now", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["now"]["position_ms"] == 5000

    def test_count_takes_several_words(
        self, here: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(store, "Veridis Quo")
        assert main.main(["count", "véridis", "QUO"]) == 0
        assert capsys.readouterr().out.startswith("what\tDaft Punk – Veridis Quo\nplays\t1\n")

    def test_status(self, here: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["status"]) == 1
        assert capsys.readouterr().out.startswith("health\tNOT WELL: the logger has never run here")
        now_ms = round(time.time() * 1000)
        with store.batch() as batch:
            batch.write_status({"last_poll": to_iso(now_ms), "next_poll": to_iso(now_ms + 30_000)})
        assert main.main(["status"]) == 0
        assert capsys.readouterr().out.startswith("health\twell\n")

    def test_the_longest_pause_is_a_setting(self, here: pytest.MonkeyPatch, store: Store) -> None:
        now_ms = round(time.time() * 1000)
        with store.batch() as batch:
            batch.write_status(
                {"last_poll": to_iso(now_ms - 3_600_000), "next_poll": to_iso(now_ms + 3_000_000)}
            )
        assert main.main(["status"]) == 1
        here.setenv("POLL_MAX", "3600")
        assert main.main(["status"]) == 0

    def test_the_prefix_is_a_setting(
        self, here: pytest.MonkeyPatch, redis_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        theirs = Store(redis_url, "ann:", utc=lambda: START)
        put(theirs, "Veridis Quo")
        theirs.close()
        assert main.main(["recent"]) == 0
        assert capsys.readouterr().out == "Nothing has been logged yet.\n"
        here.setenv("REDIS_PREFIX", "ann:")
        assert main.main(["recent"]) == 0
        assert "Veridis Quo" in capsys.readouterr().out


class TestFailures:
    @pytest.mark.parametrize("arguments", QUESTIONS)
    def test_redis_is_away(
        self, here: pytest.MonkeyPatch, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1")
        assert main.main(arguments) == 1
        printed = capsys.readouterr()
        said = printed.out if arguments == ["status"] else printed.err
        assert "Redis at 127.0.0.1:1 cannot be reached (Connection refused)" in said
        assert said.count("\n") == 1
        assert "hunter2" not in said

    @pytest.mark.parametrize("arguments", QUESTIONS)
    @pytest.mark.parametrize(
        "url", ["http://hunter2", "redis://hunter2?x@y", "redis://:hunter2@h?nonsense=1"]
    )
    def test_wrong_settings(
        self, here: pytest.MonkeyPatch, arguments: list[str], url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.setenv("REDIS_URL", url)
        assert main.main(arguments) == 78
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("spotify-logger: REDIS_URL ")
        assert printed.err.count("\n") == 1
        assert "hunter2" not in printed.err

    def test_login_without_an_app(self, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["login"]) == 78
        assert capsys.readouterr().err.startswith("spotify-logger: SPOTIFY_CLIENT_ID is missing")

    @pytest.mark.parametrize(
        ("arguments", "printed"),
        [(["login"], None), (["login", "--json"], {"login_valid_until": "2027-05-22T18:00:00.000Z"})],
    )
    def test_login_is_handed_on(
        self,
        here: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        printed: dict[str, str] | None,
    ) -> None:
        asked: list[str] = []

        def login(settings: Settings, screen: TextIO) -> Token:
            asked.append(settings.client_id)
            assert (screen is sys.stdout) == (arguments == ["login"])
            return Token("a refresh token", authorized_at=1795370400.0)

        here.setenv("SPOTIFY_CLIENT_ID", "0123456789abcdef")
        here.setattr("spotify_logger.spotify.login.login_on_terminal", login)
        assert main.main(arguments) == 0
        assert asked == ["0123456789abcdef"]
        out = capsys.readouterr().out
        assert (json.loads(out) if out else None) == printed

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["nonsense"],
            ["recent", "-n", "0"],
            ["recent", "-n", "-1"],
            ["recent", "-n", "²"],
            ["count"],
            ["count", " "],
        ],
    )
    def test_wrong_arguments(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main.main(arguments)
        assert caught.value.code == 2
        assert "usage: spotify-logger" in capsys.readouterr().err


class TestHelp:
    def test_it_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main.main(["--help"])
        assert caught.value.code == 0
        said = capsys.readouterr().out
        assert all(f"\n    {command} " in said for command in ("login", "status", "now", "recent", "count"))
        assert max(map(len, said.splitlines())) <= 100

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main.main(["--version"])
        assert capsys.readouterr().out == f"spotify-logger {__version__}\n"

    def test_help_needs_neither_redis_nor_rich(self) -> None:
        code = (
            "import sys\n"
            "from spotify_logger.cli.main import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: print({'redis', 'rich', 'requests'} & sys.modules.keys())\n"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ended.stdout.endswith("set()\n")


class TestProcess:
    def test_in_a_pipe(self, tmp_path: Path, settings: dict[str, str], store: Store) -> None:
        put(store, "Łódź \x1b[31m")
        ended = run(["recent"], settings, tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "2026-11-22 19:00\tDaft Punk – Łódź \ufffd[31m\t3:20\tskipped\t\n"

    def test_in_a_pipe_whose_locale_lacks_letters(
        self, tmp_path: Path, settings: dict[str, str], store: Store
    ) -> None:
        put(store, "Łódź")
        ended = run(["recent"], {**settings, "PYTHONIOENCODING": "ascii"}, tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "Daft Punk ? ??d?" in ended.stdout

    def test_on_a_terminal(self, tmp_path: Path, settings: dict[str, str], store: Store) -> None:
        put(store, "Veridis Quo \x1b]0;owned\x07", playing=1)
        leader, follower = pty.openpty()
        environment = {**settings, "COLUMNS": "90", "TERM": "xterm", "NO_COLOR": "1"}
        with subprocess.Popen(
            [*COMMAND, "recent"], env=environment, cwd=tmp_path, stdout=follower
        ) as process:
            os.close(follower)
            printed = read_all(leader)
        assert process.returncode == 0
        lines = printed.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
        assert lines[0].split() == ["when", "what", "heard", "ended", "device"]
        assert lines[1].startswith("2026-11-22 19:00  Daft Punk – Veridis Quo \ufffd]0;owned\ufffd ")
        assert len(lines) == 2
        assert "\x1b" not in "".join(lines)

    @pytest.mark.parametrize("question", [["status"], ["recent"], ["count", "veridis"]])
    def test_nothing_of_a_gap_or_of_the_status_harms_a_terminal(
        self, tmp_path: Path, settings: dict[str, str], store: Store, question: list[str]
    ) -> None:
        put(store, "Veridis Quo")
        put_gap(store, "offline")
        hostile = "\x1b]0;owned\x07\u202e"
        with store.batch() as batch:
            names = ("state", "outbox", "outbox_trouble", "persistence", "version", "last_poll")
            now_ms = round(time.time() * 1000)
            batch.write_status({**dict.fromkeys(names, hostile), "next_poll": to_iso(now_ms)})
        with redis.Redis.from_url(settings["REDIS_URL"]) as client:
            client.hset(GAPS, str(START + 400), f"{START + 5000} {hostile}")
        leader, follower = pty.openpty()
        environment = {**settings, "COLUMNS": "90", "TERM": "dumb"}
        with subprocess.Popen([*COMMAND, *question], env=environment, cwd=tmp_path, stdout=follower):
            os.close(follower)
            printed = read_all(leader)
        assert printed
        assert not {"\x1b", "\x07", "\u202e"} & set(printed)

    def test_redis_is_away(self, tmp_path: Path, settings: dict[str, str]) -> None:
        ended = run(["recent"], {**settings, "REDIS_URL": "redis://127.0.0.1:1"}, tmp_path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith("spotify-logger: Redis at 127.0.0.1:1 cannot be reached")

    def test_nobody_reads_any_more(self, tmp_path: Path, settings: dict[str, str], store: Store) -> None:
        for number in range(300):
            put(store, "x" * 900, START + number)
        arguments = [*COMMAND, "recent", "-n", "999"]
        with subprocess.Popen(
            arguments, env=settings, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline().startswith("2026-11-22 19:0")
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == main.EXIT_BROKEN_PIPE

    def test_ctrl_c(self, tmp_path: Path, settings: dict[str, str]) -> None:
        # Whoever runs the tests in the background lets their children ignore it.
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(60)
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=60"
            with subprocess.Popen(
                [*COMMAND, "recent"],
                env={**settings, "REDIS_URL": url},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:
                peer, _ = silent.accept()
                peer.recv(1)  # it has asked, and waits; a signal amid the connecting may get lost
                process.send_signal(signal.SIGINT)
                printed = process.communicate(timeout=60)
                peer.close()
        signal.signal(signal.SIGINT, ours)
        assert (process.returncode, *printed) == (main.EXIT_INTERRUPTED, b"", b"")


def read_all(descriptor: int) -> str:
    """What a process prints on its terminal until it ends."""
    printed = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # how a Linux terminal says that nobody is on the other side any more
            break
        if not chunk:
            break
        printed += chunk
    os.close(descriptor)
    return printed.decode()


def test_settings_that_somebody_planted_reach_nobody(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret-of-the-victim")
    planted = tmp_path / "planted"
    planted.mkdir()
    planted.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as attacker:
        (planted / ".env").write_text(
            f"REDIS_URL=redis://127.0.0.1:{attacker.getsockname()[1]}/0\nREDIS_PREFIX_FILE=../token\n"
        )
        environ = {name: value for name, value in settings.items() if name != "REDIS_URL"}
        done = subprocess.run(
            [*COMMAND, "recent"], cwd=planted, env=environ, capture_output=True, text=True, check=False
        )
        attacker.settimeout(0)
        with pytest.raises(BlockingIOError):
            attacker.accept()
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert str(planted / ".env") in done.stderr
