"""The command as a program: settings, exit codes, and what it prints where."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest
import redis

from spotify_logger.cli import main
from spotify_logger.core.redis_keys import GAPS
from spotify_logger.core.times import to_iso
from spotify_logger.spotify.oauth import Token
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.program import EXIT_INTERRUPTED
from tests.cli.conftest import NOW, play, run_main, write

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings

COMMAND = [sys.executable, "-m", "spotify_logger"]


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


class TestSettings:
    @pytest.mark.parametrize("command", ["status", "now"])
    def test_exits_with_1_until_the_logger_runs(
        self, here: pytest.MonkeyPatch, store: Archive, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = run_main([command], capsys)
        assert code == 1
        assert "never run" in out
        now = round(time.time() * 1000)
        with store.batch() as batch:
            batch.write_status({"last_poll": to_iso(now), "next_poll": to_iso(now + 30_000)})
        assert run_main([command], capsys)[0] == 0

    def test_the_prefix_is_a_setting(
        self, here: pytest.MonkeyPatch, redis_url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with closing(Archive(redis_url, "ann:", utc=lambda: NOW)) as theirs:
            write(theirs, play("Veridis Quo"))
        assert run_main(["recent"], capsys)[2] == "Nothing has been logged yet.\n"
        here.setenv("REDIS_PREFIX", "ann:")
        assert "Veridis Quo" in run_main(["recent"], capsys)[1]

    @pytest.mark.parametrize(
        "url", ["http://hunter2", "redis://hunter2?x@y", "redis://:hunter2@h?nonsense=1"]
    )
    def test_invalid_ones_are_named_without_their_secrets(
        self, here: pytest.MonkeyPatch, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.setenv("REDIS_URL", url)
        code, out, err = run_main(["recent"], capsys)
        assert (code, out) == (78, "")
        assert err.startswith("spotify-logger: REDIS_URL ")
        assert err.count("\n") == 1
        assert "hunter2" not in err

    def test_those_in_a_folder_that_others_can_write_to_are_refused(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("a-secret-of-the-victim")
        planted = tmp_path / "planted"
        planted.mkdir()
        planted.chmod(0o777)
        with socket.create_server(("127.0.0.1", 0)) as attacker:
            (planted / ".env").write_text(
                f"REDIS_URL=redis://127.0.0.1:{attacker.getsockname()[1]}/0\nREDIS_PREFIX_FILE=../token\n"
            )
            del environment["REDIS_URL"]
            ended = run(["recent"], environment, planted)
            attacker.settimeout(0)
            with pytest.raises(BlockingIOError):
                attacker.accept()
        assert ended.returncode == 78
        assert len(ended.stderr.splitlines()) == 1
        assert str(planted / ".env") in ended.stderr


class TestLoginCommand:
    def test_needs_an_app(self, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = run_main(["login"], capsys)
        assert code == 78
        assert err.startswith("spotify-logger: SPOTIFY_CLIENT_ID is missing")

    def test_with_json_the_dialog_goes_to_stderr(
        self, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def login(settings: Settings, _: object, screen: TextIO, __: str) -> Token:
            screen.write(f"{settings.client_id}\n")
            return Token("a refresh token", authorized_at=float(NOW))

        here.setenv("SPOTIFY_CLIENT_ID", "0123456789abcdef")
        here.setattr("spotify_logger.spotify.login.login", login)
        assert run_main(["login"], capsys) == (0, "0123456789abcdef\n", "")
        code, out, err = run_main(["login", "--json"], capsys)
        assert (code, err) == (0, "0123456789abcdef\n")
        assert json.loads(out) == {"login_valid_until": "2027-05-22T18:00:00.000Z"}

    @pytest.mark.parametrize("account", ["anna", "ben", ""])
    def test_a_confirmed_account_becomes_that_of_the_log(
        self, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Archive, account: str
    ) -> None:
        store.set_owner("anna")
        here.setenv("SPOTIFY_CLIENT_ID", "0123456789abcdef")
        token = Token("a refresh token", account=account)
        here.setattr("spotify_logger.spotify.login.login", lambda *_: token)
        assert run_main(["login"], capsys)[0] == 0
        assert store.known_owner() == (account or "anna")


class TestHelp:
    def test_needs_neither_redis_nor_rich(self) -> None:
        code = (
            "import sys\n"
            "from spotify_logger.cli.main import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: print({'redis', 'rich', 'requests'} & sys.modules.keys())\n"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ended.stdout.endswith("set()\n")


class TestCommandProcess:
    @pytest.mark.parametrize(
        ("encoding", "title"), [("utf-8", "– Łódź \ufffd[31m"), ("ascii", "? ??d? ?[31m")]
    )
    def test_prints_a_title_in_any_locale(
        self, tmp_path: Path, environment: dict[str, str], store: Archive, encoding: str, title: str
    ) -> None:
        write(store, play("Łódź \x1b[31m"))
        ended = run(["recent"], {**environment, "PYTHONIOENCODING": encoding}, tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"2026-11-22 19:00\tDaft Punk {title}\t3:20/5:45\tskipped\tKitchen\n"

    @pytest.mark.parametrize("command", ["recent", "status"])
    def test_prints_nothing_harmful_on_a_terminal(
        self, tmp_path: Path, environment: dict[str, str], store: Archive, command: str
    ) -> None:
        environment |= {"COLUMNS": "90", "TERM": "dumb"}
        hostile = "\x1b]0;owned\x07\u202e"
        write(store, play(f"Quo {hostile}"))
        names = ("state", "outbox", "outbox_trouble", "persistence", "version", "last_poll")
        with store.batch() as batch:
            batch.write_status({**dict.fromkeys(names, hostile), "next_poll": to_iso(NOW * 1000)})
        with redis.Redis.from_url(environment["REDIS_URL"]) as client:
            client.hset(GAPS, str(NOW + 400), f"{NOW + 5000} {hostile}")
        leader, follower = pty.openpty()
        shown = b""
        with subprocess.Popen([*COMMAND, command], env=environment, cwd=tmp_path, stdout=follower):
            os.close(follower)
            with suppress(OSError):  # EIO: how Linux reports that the other side is closed
                while chunk := os.read(leader, 65536):
                    shown += chunk
        os.close(leader)
        printed = shown.decode()
        assert not {"\x1b", "\x07", "\u202e"} & set(printed)
        if command == "recent":
            assert printed.split()[:5] == ["when", "what", "heard", "ended", "device"]
            assert "2026-11-22 19:00  Daft Punk – Quo \ufffd]0;owned\ufffd\ufffd " in printed

    def test_ends_quietly_when_nobody_reads(
        self, tmp_path: Path, environment: dict[str, str], store: Archive
    ) -> None:
        write(store, *(play("x" * 900, NOW + number) for number in range(300)))
        with subprocess.Popen(
            [*COMMAND, "recent", "-n", "999"],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline().startswith("2026-11-22 19:0")
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == main.EXIT_BROKEN_PIPE

    def test_a_full_disk_is_named(self, tmp_path: Path, environment: dict[str, str]) -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.run(
                [*COMMAND, "now"],
                env=environment,
                cwd=tmp_path,
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert b"disk is full" in done.stderr

    def test_ctrl_c_ends_it_quietly(self, tmp_path: Path, environment: dict[str, str]) -> None:
        # A shell that runs the tests in the background makes their children ignore SIGINT.
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(60)
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=60"
            with subprocess.Popen(
                [*COMMAND, "recent"],
                env={**environment, "REDIS_URL": url},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:
                peer, _ = silent.accept()
                peer.recv(1)  # the process waits for an answer; a signal while it connects may get lost
                process.send_signal(signal.SIGINT)
                printed = process.communicate(timeout=60)
                peer.close()
        signal.signal(signal.SIGINT, ours)
        assert (process.returncode, *printed) == (EXIT_INTERRUPTED, b"", b"")
