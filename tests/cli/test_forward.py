"""`spotify-logger forward`, with a receiver on a real socket."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.times import to_iso
from spotify_logger.storage.outbox import OUTBOX_FILE, Outbox
from tests.cli.conftest import NOW, play, run_main, write
from tests.scripted_server import ScriptedServer, http_response, respond_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.bulk import Archive

TOKEN = "a-token-made-up"


@pytest.fixture
def outbox(tmp_path: Path, here: pytest.MonkeyPatch, store: Archive) -> Iterator[Outbox]:
    """The outbox of a running logger, which forwards to two receivers; and a log of years."""
    for prefix in ("FORWARD", "FORWARD_2"):
        here.setenv(f"{prefix}_URL", "http://127.0.0.1:9/apis/listenbrainz")
        here.setenv(f"{prefix}_TOKEN", TOKEN)
    here.setattr("spotify_logger.cli.main.time.time", lambda: float(NOW))
    (tmp_path / "state").mkdir(mode=0o700)
    write(
        store,
        play("Old", NOW - 800 * 86_400, 345_000, "trackdone"),
        play("Skipped", NOW - 7200, 9_000, "skipped"),
        play("New", NOW - 3600, 345_000, "trackdone"),
        replace(play("Open", NOW - 60, 345_000), end_reason=None),
    )
    with closing(Outbox(tmp_path / "state" / OUTBOX_FILE, lambda: 0.0)) as outbox:
        yield outbox


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    ended, out, err = run_main(["forward", *words], capsys)
    assert (ended, TOKEN in out + err) == (code, False)
    return out + err


def titles(outbox: Outbox, target: int = 1) -> list[str]:
    listens = (json.loads(listen.body) for listen in outbox.unsent(target, 99))
    return [listen["track_metadata"]["track_name"] for listen in listens]


def test_backlog_queues_what_counts_for_each_receiver_once(
    outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "2 listens" in (shown := run(capsys, "backlog", "--since", "2026-11"))
    assert "no logger is running" in shown
    assert titles(outbox) == titles(outbox, 2) == ["New"]
    outbox.update(listen._replace(body="") for listen in outbox.unsent(1, 9))
    assert json.loads(run(capsys, "backlog", "--since", "2020", "--json")) == {"queued": 2}
    assert (titles(outbox), titles(outbox, 2)) == (["Old"], ["Old", "New"])


def test_retry_takes_up_what_was_refused(
    outbox: Outbox, store: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "backlog", "--since", "2026")
    outbox.update([outbox.unsent(1, 1)[0]._replace(refusal="answered 400")])
    assert titles(outbox) == []
    assert "1 of them refused" in (shown := run(capsys, "retry"))
    assert titles(outbox) == ["New"]
    assert "no logger is running" in shown
    with store.batch() as batch:
        batch.write_status({"next_poll": to_iso(NOW * 1000 + 5000)})
    for words in (("retry",), ("backlog", "--since", "2026")):
        assert "no logger" not in run(capsys, *words)


@pytest.mark.parametrize(
    ("response", "code", "word"),
    [
        (http_response(b'{"valid": true, "user_name": "anna"}'), 0, "anna"),
        (http_response(b'{"code": 401, "error": "Incorrect Authorization"}', status=b"401 No"), 1, "401"),
        (http_response(b'{"code": 200, "message": "Token invalid.", "valid": false}'), 1, "not valid"),
        (http_response(b"<!doctype html>"), 1, "URL"),
        (http_response(b"x" * 3_000_000), 1, "longer"),
    ],
)
@pytest.mark.usefixtures("outbox")
def test_check(
    here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], response: bytes, code: int, word: str
) -> None:
    here.delenv("FORWARD_2_URL")
    here.delenv("FORWARD_2_TOKEN")
    with closing(ScriptedServer(respond_with(response))) as server:
        here.setenv("FORWARD_URL", f"{server.url}/apis/listenbrainz/1/submit-listens")
        assert word in run(capsys, "check", code=code)
    assert server.requests[0].startswith(b"GET /apis/listenbrainz/1/validate-token ")
    assert f"Authorization: Token {TOKEN}".encode() in server.requests[0]


def test_status_shows_what_the_logger_says(
    outbox: Outbox, store: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "FORWARD_URL" in run(capsys, "status")
    state = {"setting": "FORWARD_TOKEN", "host": "lb.test", "waiting": 1200, "refused": 1, "stopped": True}
    state |= {"last_refused": "Somebody – Some \x1b title: answered 400", "trouble": "answered 401"}
    with store.batch() as batch:
        batch.write_status({"forwarding": json.dumps([state])})
    shown = run(capsys, "status", code=1)
    for word in ("lb.test", "1,200", "401", "Somebody"):
        assert word in shown
    ended, out, _ = run_main(["status"], capsys)
    assert (ended, "\x1b" in out, "forwarding\tlb.test" in out) == (1, False, True)


@pytest.mark.parametrize("words", [("backlog",), ("retry", "--since", "2026"), ("send",)])
def test_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["forward", *words], capsys)[0] == 2


def test_where_no_logger_has_run(
    outbox: Outbox, tmp_path: Path, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here.setenv("STATE_DIR", str(tmp_path / "elsewhere"))
    assert "as its user" in run(capsys, "retry", code=1)
    for name in ("FORWARD_URL", "FORWARD_TOKEN", "FORWARD_2_URL", "FORWARD_2_TOKEN"):
        here.delenv(name)
    assert "FORWARD_URL" in run(capsys, "check", code=78)
