"""The client against the faults of the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.config import settings
from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import NAMES, Fault
from spotify_logger.simulator.history import History
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.spotify.rate_limit import RateLimit
from spotify_logger.system.errors import LoginNeeded, NotBefore, SpotifyLoggerError, TryLater, Unreachable
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from pathlib import Path

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
"""The type of the result during each fault."""
SPECIAL: dict[str, Fault] = {
    "slow": Fault("slow", requests=1, value=0.01),
    "hang": Fault("hang", requests=1, value=60.0),
    "reset": Fault("reset", seconds=60.0),  # a single one is made up for by a new connection
}


@pytest.fixture
def world() -> VirtualWorld:
    world = VirtualWorld.of(History(1_795_348_800.0).play(song("A", 20_000)).gone(90_000).finish())
    world.clock.sleep(60)
    return world


@pytest.fixture
def spotify(world: VirtualWorld, tmp_path: Path) -> Spotify:
    environ = {
        "STATE_DIR": str(tmp_path),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_API_URL": "https://simulator.test",
        "SPOTIFY_ACCOUNTS_URL": "https://simulator.test",
    }
    TokenFile(tmp_path / TOKEN_FILE).save(Token(DEMO_REFRESH_TOKEN, account="me"))
    rate_limit = RateLimit("", lambda _: None, world.clock)
    return Spotify(world.send, settings.load(tmp_path, environ), world.clock, rate_limit)


def poll(spotify: Spotify) -> object:
    try:
        return spotify.player_state().body
    except SpotifyLoggerError as error:
        return error


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_fault_has_its_result_and_passes(spotify: Spotify, world: VirtualWorld, name: str) -> None:
    world.service.faults.add(SPECIAL.get(name, Fault(name, requests=1)), world.clock.now)
    assert type(poll(spotify)) is EXPECTED[name]
    assert spotify.requests <= 4
    assert spotify.is_time_known  # from the token endpoint, if from nobody else
    world.clock.sleep(2 * 3600)
    assert isinstance(poll(spotify), dict)
