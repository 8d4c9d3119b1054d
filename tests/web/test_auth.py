from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.auth import (
    MAX_FAILURES,
    MAX_REMEMBERED,
    MAX_SESSIONS,
    WINDOW,
    PasswordAuth,
    Throttle,
)
from tests.web.page import ManualClock, password_auth

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "sesame ö"
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def _nothing_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())


def sign_in(auth: PasswordAuth) -> str:
    """Sign in and return the token of the session."""
    token = auth.sign_in(PASSWORD, HERE)
    assert token
    return token


class TestSecrets:
    def test_generates_a_password_once_for_each_machine(self, tmp_path: Path) -> None:
        folder = tmp_path / "not" / "there"
        auth = PasswordAuth(folder, "")
        assert re.fullmatch(r"([0-9a-f]{6}-){3}[0-9a-f]{6}", auth.password)
        again, other = PasswordAuth(folder, ""), PasswordAuth(tmp_path / "other", "")
        assert again.password == auth.password
        assert other.password != auth.password
        assert (folder / "web.json").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert log.sanitize(f"it is {auth.password}") == "it is ***"

    @pytest.mark.parametrize(
        "text", ["", "[]", '{"key": "ab", "password": ""}', '{"key": "ab", "password": 1}', "null"]
    )
    def test_replaces_a_malformed_file(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "web.json").write_text(text)
        auth = PasswordAuth(tmp_path, "")
        assert json.loads((tmp_path / "web.json").read_text())["password"] == auth.password

    def test_reports_an_unusable_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Misconfigured, match=r"web\.json .*fix its owner"):
            PasswordAuth(tmp_path / "file", "")


class TestSignInSessions:
    def test_are_shared_by_processes_and_end_one_by_one_or_with_the_password(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        auth, other = (password_auth(tmp_path, PASSWORD, clock) for _ in range(2))
        here, there = sign_in(auth), sign_in(other)
        assert auth.is_signed_in(there)
        assert other.is_signed_in(here)
        other.sign_out(here)
        for each in (auth, other, password_auth(tmp_path, PASSWORD, clock)):
            assert not each.is_signed_in(here)
            assert each.is_signed_in(there)
        assert not password_auth(tmp_path, "another one", clock).is_signed_in(there)

    def test_the_oldest_end_beyond_the_limit(self, tmp_path: Path, clock: ManualClock) -> None:
        auth = password_auth(tmp_path, PASSWORD, clock)
        tokens = []
        for _ in range(MAX_SESSIONS + 1):
            tokens.append(sign_in(auth))
            clock.now += 1
        assert [auth.is_signed_in(token) for token in tokens] == [False, *[True] * MAX_SESSIONS]
        assert (tmp_path / "web.json").stat().st_size < atomic_file.MAX_FILE_SIZE
        assert tokens[-1] not in (tmp_path / "web.json").read_text()

    @pytest.mark.parametrize("found", [{}, {"sessions": []}, {"sessions": {"x": "y"}}])
    def test_a_file_without_sessions_or_with_malformed_ones_keeps_its_password(
        self, tmp_path: Path, clock: ManualClock, found: dict[str, object]
    ) -> None:
        text = json.dumps({"key": "ab" * 32, "password": "aaaaa-bbbbb", **found})
        (tmp_path / "web.json").write_text(text)
        assert PasswordAuth(tmp_path, "").password == "aaaaa-bbbbb"
        auth = password_auth(tmp_path, PASSWORD, clock)
        assert not auth.is_signed_in("")
        assert auth.is_signed_in(sign_in(auth))

    def test_last_until_a_restart_if_the_file_cannot_be_written(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        auth = password_auth(tmp_path, PASSWORD, clock)
        monkeypatch.setattr(atomic_file, "write_atomically", Mock(side_effect=OSError(28, "No space left")))
        assert auth.is_signed_in(sign_in(auth))


class TestThrottle:
    @pytest.fixture
    def throttle(self, clock: ManualClock) -> Throttle:
        return Throttle(clock)

    def test_each_failure_is_forgotten_after_a_while(self, throttle: Throttle, clock: ManualClock) -> None:
        for _ in range(MAX_FAILURES):
            assert throttle.retry_after(HERE) == 0
            throttle.record_failure(HERE)
            clock.now += 1
        assert throttle.retry_after(HERE) == WINDOW - MAX_FAILURES
        clock.now += throttle.retry_after(HERE)
        assert throttle.retry_after(HERE) == 0
        throttle.record_failure(HERE)
        assert throttle.retry_after(HERE) == 1

    @pytest.mark.parametrize(
        ("address", "same"),
        [("192.0.2.1", "::ffff:192.0.2.1"), ("fe80::1%eth0", "fe80:0::1"), ("", "nonsense")],
    )
    def test_one_address_has_several_spellings(self, throttle: Throttle, address: str, same: str) -> None:
        for _ in range(MAX_FAILURES):
            throttle.record_failure(address)
        assert throttle.retry_after(same) == WINDOW
        assert throttle.retry_after("192.0.2.2") == 0

    def test_a_network_of_ipv6_counts_as_one_address(self, throttle: Throttle) -> None:
        for number in range(MAX_FAILURES):
            assert throttle.retry_after(f"2001:db8::{number:x}") == 0
            throttle.record_failure(f"2001:db8::{number:x}")
        assert throttle.retry_after("2001:db8::ffff") == WINDOW
        assert throttle.retry_after("2001:db8:0:1::1") == 0

    def test_any_number_of_guessing_addresses_takes_limited_memory(self, throttle: Throttle) -> None:
        for number in range(MAX_REMEMBERED + 300):
            throttle.record_failure(f"198.{number // 65536}.{number // 256 % 256}.{number % 256}")
        assert throttle.retry_after(HERE) == 0
        assert len(throttle._wrong) == MAX_REMEMBERED
