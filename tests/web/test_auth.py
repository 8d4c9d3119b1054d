from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.secrets_file import SecretsFile
from spotify_logger.web.sessions import MAX_SESSIONS, SESSION_LIFETIME, Sessions
from spotify_logger.web.throttle import MAX_FAILURES, MAX_PER_NETWORK, MAX_REMEMBERED, WINDOW, Throttle
from tests.web.page import password_auth

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "sesame ö"
HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """A clock that is advanced by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _nothing_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())


class TestSecretsFile:
    def test_generates_a_password_once(self, tmp_path: Path) -> None:
        folder = tmp_path / "not" / "there"
        secrets_file = SecretsFile(folder)
        assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", secrets_file.password)
        assert len(secrets_file.key) == 32
        again = SecretsFile(folder)
        assert (again.password, again.key) == (secrets_file.password, secrets_file.key)
        assert (folder / "web.json").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_each_machine_has_its_own_secrets(self, tmp_path: Path) -> None:
        one, other = SecretsFile(tmp_path / "a"), SecretsFile(tmp_path / "b")
        assert one.password != other.password
        assert one.key != other.key

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"key": "ab", "password": "x"}', '{"key": 1}', "null"]
    )
    def test_replaces_a_malformed_file(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "web.json").write_text(text)
        secrets_file = SecretsFile(tmp_path)
        assert json.loads((tmp_path / "web.json").read_text())["password"] == secrets_file.password

    def test_reports_an_unusable_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Misconfigured, match=r"web\.json .*fix its owner"):
            SecretsFile(tmp_path / "file")

    def test_rejects_a_world_writable_folder(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(0o777)
        with pytest.raises(Misconfigured, match="is not trusted"):
            SecretsFile(tmp_path / "state")

    def test_password_is_redacted_in_the_log(self, tmp_path: Path) -> None:
        secrets_file = SecretsFile(tmp_path)
        assert log.sanitize(f"it is {secrets_file.password}") == "it is ***"


class TestPasswordAuth:
    def test_only_the_right_password_begins_a_session(self, tmp_path: Path, clock: Clock) -> None:
        auth = password_auth(tmp_path, PASSWORD, clock)
        for wrong in ("", "sesame", "SESAME Ö", "sesame o"):
            assert auth.sign_in(wrong, HERE) is None
        for right in (PASSWORD, f" {PASSWORD}\n"):
            token = auth.sign_in(right, HERE)
            assert token
            assert auth.is_signed_in(token)

    def test_only_the_guessing_address_is_throttled(self, tmp_path: Path, clock: Clock) -> None:
        auth = password_auth(tmp_path, PASSWORD, clock)
        for _ in range(MAX_FAILURES):
            assert auth.sign_in("guess", HERE) is None
        assert auth.sign_in(PASSWORD, HERE) is None
        assert auth.sign_in(PASSWORD, THERE)
        clock.now += auth.retry_after(HERE)
        assert auth.sign_in(PASSWORD, HERE)


class TestSessions:
    @pytest.fixture
    def secrets_file(self, tmp_path: Path) -> SecretsFile:
        return SecretsFile(tmp_path)

    @pytest.fixture
    def sessions(self, secrets_file: SecretsFile, clock: Clock) -> Sessions:
        return Sessions(secrets_file, PASSWORD, clock)

    def test_ending_a_session_leaves_others_open(self, sessions: Sessions) -> None:
        one, other = sessions.begin(), sessions.begin()
        sessions.end(one)
        assert not sessions.is_valid(one)
        assert sessions.is_valid(other)

    def test_a_session_expires(self, sessions: Sessions, clock: Clock) -> None:
        token = sessions.begin()
        clock.now += SESSION_LIFETIME - 1
        assert sessions.is_valid(token)
        clock.now += 1
        assert not sessions.is_valid(token)

    def test_sessions_survive_a_restart_but_not_a_new_password(
        self, sessions: Sessions, tmp_path: Path, clock: Clock
    ) -> None:
        token, ended = sessions.begin(), sessions.begin()
        sessions.end(ended)
        restarted = Sessions(SecretsFile(tmp_path), PASSWORD, clock)
        assert restarted.is_valid(token)
        assert not restarted.is_valid(ended)
        assert not Sessions(SecretsFile(tmp_path), "another one", clock).is_valid(token)

    def test_processes_share_sessions(self, sessions: Sessions, tmp_path: Path, clock: Clock) -> None:
        other = Sessions(SecretsFile(tmp_path), PASSWORD, clock)
        here, there = sessions.begin(), other.begin()
        assert sessions.is_valid(there)
        assert other.is_valid(here)
        other.end(here)
        assert not sessions.is_valid(here)
        assert sessions.is_valid(there)

    def test_the_oldest_sessions_end_beyond_the_limit(
        self, sessions: Sessions, tmp_path: Path, clock: Clock
    ) -> None:
        tokens = []
        for _ in range(MAX_SESSIONS + 1):
            tokens.append(sessions.begin())
            clock.now += 1
        assert [sessions.is_valid(token) for token in tokens] == [False, *[True] * MAX_SESSIONS]
        assert (tmp_path / "web.json").stat().st_size < atomic_file.MAX_FILE_SIZE

    def test_the_file_holds_no_tokens(self, sessions: Sessions, tmp_path: Path) -> None:
        assert sessions.begin() not in (tmp_path / "web.json").read_text()

    def test_reads_the_file_of_version_0_5_0(self, tmp_path: Path, clock: Clock) -> None:
        (tmp_path / "web.json").write_text(json.dumps({"key": "ab" * 32, "password": "aaaaa-bbbbb"}))
        secrets_file = SecretsFile(tmp_path)
        token = Sessions(secrets_file, secrets_file.password, clock).begin()
        assert SecretsFile(tmp_path).password == "aaaaa-bbbbb"
        assert Sessions(SecretsFile(tmp_path), "aaaaa-bbbbb", clock).is_valid(token)

    @pytest.mark.parametrize("found", [None, 1, [], {"x": "y"}, {"x": None}])
    def test_ignores_malformed_sessions(self, tmp_path: Path, clock: Clock, found: object) -> None:
        text = json.dumps({"key": "ab" * 32, "password": "aaaaa-bbbbb", "sessions": found})
        (tmp_path / "web.json").write_text(text)
        sessions = Sessions(SecretsFile(tmp_path), PASSWORD, clock)
        assert not sessions.is_valid("")
        assert sessions.is_valid(sessions.begin())

    def test_warns_if_the_file_cannot_be_written(
        self, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        ended = sessions.begin()
        monkeypatch.setattr(atomic_file, "write_atomically", full)
        assert sessions.is_valid(sessions.begin())
        sessions.end(ended)
        assert not sessions.is_valid(ended)
        assert capsys.readouterr().err.count("No space left") == 2


class TestThrottle:
    @pytest.fixture
    def throttle(self, clock: Clock) -> Throttle:
        return Throttle(clock)

    def wrong(self, throttle: Throttle, address: str) -> None:
        for _ in range(MAX_FAILURES):
            assert throttle.retry_after(address) == 0
            throttle.record_failure(address)

    def test_the_oldest_try_is_forgotten_first(self, throttle: Throttle, clock: Clock) -> None:
        for _ in range(MAX_FAILURES):
            throttle.record_failure(HERE)
            clock.now += 1
        assert throttle.retry_after(HERE) == WINDOW - MAX_FAILURES
        clock.now += throttle.retry_after(HERE)
        assert throttle.retry_after(HERE) == 0
        throttle.record_failure(HERE)
        assert throttle.retry_after(HERE) == 1

    @pytest.mark.parametrize(
        ("address", "same", "other"),
        [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8:0::1", "2001:db8::2"),
            ("fe80::1%eth0", "fe80::1", "fe80::2"),
            ("", "nonsense", "192.0.2.1"),
        ],
    )
    def test_what_counts_as_one_address(
        self, throttle: Throttle, address: str, same: str, other: str
    ) -> None:
        self.wrong(throttle, address)
        assert throttle.retry_after(same) == WINDOW
        assert throttle.retry_after(other) == 0

    def test_a_network_of_ipv6_has_more_tries_than_an_address_and_not_as_many_as_addresses(
        self, throttle: Throttle
    ) -> None:
        for number in range(MAX_PER_NETWORK):
            assert throttle.retry_after(f"2001:db8::{number:x}") == 0
            throttle.record_failure(f"2001:db8::{number:x}")
        assert throttle.retry_after("2001:db8::ffff") == WINDOW
        assert throttle.retry_after("2001:db8:0:1::1") == 0

    def test_however_many_addresses_are_wrong_nobody_else_waits(self, throttle: Throttle) -> None:
        for number in range(2 * MAX_REMEMBERED):
            throttle.record_failure(f"198.{number // 65536}.{number // 256 % 256}.{number % 256}")
        assert throttle.retry_after(HERE) == 0
        assert len(throttle._wrong) == MAX_REMEMBERED
