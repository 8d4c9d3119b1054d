from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("write", "prefix"), [(log.info, "<6>"), (log.warning, "<4>"), (log.error, "<3>")])
def test_under_journald_a_line_has_its_priority_and_no_time(
    write: Callable[[str], None], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    stat = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        write("gone")
    assert os.read(reader, 100) == f"{prefix}gone\n".encode()
    os.close(reader)


@pytest.mark.parametrize("journal", ["", "1:2"])
def test_on_another_stream_a_line_has_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], journal: str
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", journal)
    log.info("Daft Punk – Veridis Quo, 5:45 of 5:45, Kitchen")
    date, _, words = capsys.readouterr().err.split(" ", 2)
    assert len(date) == len("2026-11-22")
    assert words == "Daft Punk – Veridis Quo, 5:45 of 5:45, Kitchen\n"


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


def test_secrets_are_masked_even_within_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for secrets in (["abc1", "abc12345", "x/abc1234567"], ["x/abc1234567", "abc12345", "", "abc1"]):
        monkeypatch.setattr(log, "_secrets", set())
        for secret in secrets:
            log.add_secret(secret)
        log.error("x/abc1234567, abc12345 and abc1")
        assert capsys.readouterr().err.endswith(" ***, *** and ***\n")


def test_a_closed_stream_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        log.info("nobody reads this")
