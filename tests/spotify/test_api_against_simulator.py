"""The client against the simulator, in the same process and over HTTP: every fault there is."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.config import settings
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import NAMES, Fault
from spotify_logger.simulator.history import History
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.oauth import TOKEN_FILE, Token, TokenFile
from spotify_logger.spotify.rate_limit import RATE_LIMIT_FILE, RateLimit
from spotify_logger.system.errors import LoginNeeded, NotBefore, SpotifyLoggerError, TryLater, Unreachable
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.spotify.http import Request, Response, Send

T = 1_795_348_800.0
SENDERS = ("in the same process", "over HTTP")

EXPECTED: dict[str, type[object]] = {
    **dict.fromkeys(["expired", "stale", "slow", "access_denied"], dict),
    **dict.fromkeys(["no_progress", "beyond_end", "unknown", "item_list"], dict),
    "nothing": type(None),
    **dict.fromkeys(["permissions_missing", "not_registered", "premium_required"], LoginNeeded),
    **dict.fromkeys(["invalid_grant", "invalid_client"], LoginNeeded),
    **dict.fromkeys(["rate_limit", "rate_limit_date", "rate_limit_bare", "rate_limit_text"], NotBefore),
    "quota_exceeded": NotBefore,
    **dict.fromkeys(["error_500", "error_502", "error_503", "html", "html_200", "empty"], TryLater),
    **dict.fromkeys(["list", "string", "number", "truncated"], TryLater),
    **dict.fromkeys(["reset", "hang", "cut", "drip", "drip_headers", "huge"], Unreachable),
}
"""What each fault must come to, however it is carried."""

HOW: dict[str, Fault] = {
    "slow": Fault("slow", requests=1, value=0.01),
    "hang": Fault("hang", requests=1, value=60.0),
    "reset": Fault("reset", seconds=60.0),  # a single one is made up for by a new connection
}
"""How long and how strong a fault is, where it is not a usual one for one request."""


@pytest.fixture
def world() -> VirtualWorld:
    world = VirtualWorld.of(History(T).play(song("A", 20_000)).gone(90_000).finish())
    world.clock.sleep(60)
    return world


@pytest.fixture(params=SENDERS)
def send(request: pytest.FixtureRequest, world: VirtualWorld) -> Iterator[Send]:
    carrier: str = request.param
    if carrier == SENDERS[0]:
        yield world.send
        return
    server = SimulatorServer(world.service, now=lambda: world.clock.now)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    sender = HttpSender(read_timeout=0.4, deadline=0.8)

    def redirected(request: Request) -> Response:
        return sender(replace(request, url=request.url.replace("https://simulator.test", server.url)))

    yield redirected
    sender.close()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def spotify(world: VirtualWorld, send: Send, tmp_path: Path) -> Spotify:
    environ = {
        "HOME": str(tmp_path),
        "STATE_DIR": str(tmp_path),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_API_URL": "https://simulator.test",
        "SPOTIFY_ACCOUNTS_URL": "https://simulator.test",
    }
    token_file = TokenFile(tmp_path / TOKEN_FILE)
    token_file.save(Token(DEMO_REFRESH_TOKEN))
    rate_limit = RateLimit(tmp_path / RATE_LIMIT_FILE, world.clock, "boot")
    return Spotify(send, settings.load(tmp_path, environ), token_file, world.clock, rate_limit)


def poll(spotify: Spotify) -> object:
    try:
        return spotify.player_state().body
    except SpotifyLoggerError as error:
        return error


def test_every_fault_is_expected() -> None:
    assert set(EXPECTED) == NAMES


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_fault_comes_to_what_is_expected_and_passes(
    spotify: Spotify, world: VirtualWorld, name: str
) -> None:
    world.service.faults.add(HOW.get(name, Fault(name, requests=1)), world.clock.now)
    first = poll(spotify)
    assert type(first) is EXPECTED[name]
    assert spotify.requests <= 4
    assert spotify.is_time_known  # by the token endpoint, if by nobody else
    world.clock.sleep(2 * 3600)
    assert isinstance(poll(spotify), dict)


def test_a_refresh_an_hour_is_all_it_takes(spotify: Spotify, world: VirtualWorld, tmp_path: Path) -> None:
    for _ in range(10):
        assert isinstance(poll(spotify), dict)
        world.clock.sleep(1800)
    assert world.service.requests["/api/token", "200"] <= 6
    assert spotify.requests == sum(world.service.requests.values())
    saved = TokenFile(tmp_path / TOKEN_FILE).load()
    assert saved is not None
    assert saved.refresh_token == DEMO_REFRESH_TOKEN


def test_what_was_played_last(spotify: Spotify, world: VirtualWorld) -> None:
    world.clock.sleep(30_000)
    body = spotify.recently_played().body
    assert body is not None
    assert isinstance(body["items"], list)
    assert [item["track"]["name"] for item in body["items"]] == ["A"]
