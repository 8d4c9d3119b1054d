"""Alerts of a disk that takes nothing, and of a Redis that refuses: a real server, in virtual time."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.poller import REFUSAL_PATIENCE
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.spotify.http import Response
from spotify_logger.system import disk
from tests.servers import PASSWORD, USER, RedisServer, one_program
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.spotify.http import Request

T = 1_795_348_800.0  # 2026-11-22T12:00:00Z


class Alerted:
    """A logger, and what a person has been sent."""

    def __init__(self, folder: Path, url: str) -> None:
        self.world = VirtualWorld.of(History(T).play(song("A", 7200)).finish())
        self.texts: list[str] = []
        settings = replace(make_settings(folder, url), alert_url="https://alert.example/")
        self.run = VirtualRun(self.world, settings, send=self._send)

    def _send(self, request: Request) -> Response:
        if "alert.example" not in request.url:
            return self.world.send(request)
        self.texts.append(request.text or "")
        return Response(200, {}, b"")

    def after(self, seconds: float) -> list[str]:
        """Run on, and return what was sent meanwhile."""
        self.texts.clear()
        self.run.run_until(self.world.clock.now + seconds)
        return self.texts

    def close(self) -> None:
        self.run.close()


@pytest.fixture(params=one_program("redis"))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(request.param, tmp_path / "redis").start()
    yield server
    server.stop()


def test_a_redis_that_refuses_is_reported_once_and_when_it_is_over(
    tmp_path: Path, server: RedisServer
) -> None:
    with closing(Alerted(tmp_path, f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}")) as alerted:
        for _ in range(2):
            assert alerted.after(60) == []
            server.client.config_set("maxmemory", 1)
            assert alerted.after(REFUSAL_PATIENCE / 2) == []
            (text,) = alerted.after(600)
            assert "out of memory" in text
            assert "listening:" not in text, "it refuses everything"
            server.client.config_set("maxmemory", 0)
            (text,) = alerted.after(300)
            assert "Redis accepts writes again" in text
        server.client.config_set("maxmemory", 1)
        alerted.after(REFUSAL_PATIENCE / 2)  # as a failover refuses for a moment
        server.client.config_set("maxmemory", 0)
        assert alerted.after(300) == []


def test_a_disk_that_turned_read_only_is_named_at_the_next_poll_and_reported_once(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Alerted(tmp_path, redis_url)) as alerted:
        assert alerted.after(60) == []
        monkeypatch.setattr(disk, "trouble", lambda _: "the disk is read-only")  # though writes succeed
        (text,) = alerted.after(60)
        assert "The disk is read-only" in text
        assert alerted.run.store.hash("spotify_logger:status")["disk_trouble"] == "the disk is read-only"
        assert alerted.after(600) == []
        monkeypatch.undo()
        (text,) = alerted.after(60)
        assert "works again" in text
    assert capsys.readouterr().err.count("the disk is read-only") == 1


def test_a_disk_that_swallows_what_it_is_given_is_named_once_something_was_written(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Alerted(tmp_path, redis_url)) as alerted:
        assert alerted.after(60) == []
        (tmp_path / "old").write_bytes(os.urandom(1 << 19))
        really_open = os.open

        def open_old(path: Path | str, *rest: int) -> int:
            return really_open(tmp_path / "old" if "-wal" in str(path) else path, *rest)

        monkeypatch.setattr(os, "open", open_old)
        alerted.run.outbox.set_note("any", "text")
        (text,) = alerted.after(60)
        assert "does not keep what is written" in text
