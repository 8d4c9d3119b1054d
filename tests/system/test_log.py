from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_line_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("Daft Punk – Veridis Quo, 5:45 of 5:45, Kitchen")

    error = capsys.readouterr().err
    assert error.endswith(" Daft Punk – Veridis Quo, 5:45 of 5:45, Kitchen\n")
    assert len(error.split(" ")[0]) == len("2026-11-22")


@pytest.mark.parametrize(("say", "prefix"), [(log.info, "<6>"), (log.warning, "<4>"), (log.error, "<3>")])
def test_under_journald_it_has_its_priority_and_no_time(
    say: Callable[[str], None], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    stat = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        say("gone")

    assert os.read(reader, 100) == f"{prefix}gone\n".encode()
    os.close(reader)


def test_a_stream_that_is_not_the_journal_gets_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    log.info("here")

    assert not capsys.readouterr().err.startswith("<")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("one\nline\r\n only", "one line only"),
        ("\x1b[31mred\x07", "�[31mred�"),
        ("left\u202eright", "left�right"),
        ("\ud83d", "�"),
        ("Ελένη – 東京 🎵", "Ελένη – 東京 🎵"),
        ("x" * 2000, "x" * 999 + "…"),
    ],
)
def test_sanitized_text(text: str, cleaned: str) -> None:
    assert log.sanitize(text) == cleaned


def test_a_secret_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    log.add_secret("9f86d081884c7d65")
    log.error("refused: client_secret=9f86d081884c7d65&x=1")

    assert "9f86d081884c7d65" not in capsys.readouterr().err


def test_a_secret_within_another_secret_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    for secrets in (["abc1", "abc12345", "x/abc1234567"], ["x/abc1234567", "abc12345", "abc1"]):
        monkeypatch.setattr(log, "_secrets", dict.fromkeys(secrets))
        assert log.sanitize("x/abc1234567, abc12345 and abc1") == "***, *** and ***"


def test_a_closed_stream_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        log.info("nobody hears")
