"""The logger in virtual time: client, tracker, poll schedule and store as they are, in a simulated world."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from spotify_logger.config.settings import Settings
from spotify_logger.core.play import Play
from spotify_logger.core.poll_schedule import PollSchedule
from spotify_logger.core.redis_keys import play_key
from spotify_logger.daemon.poller import Environment, Poller
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.core.observations import Observations
    from spotify_logger.spotify.http import Send
    from tests.testbed.virtual_time import VirtualWorld


class FixedSchedule(PollSchedule):
    """Polls at a fixed interval in seconds, whatever happens, as most loggers do."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, seconds)
        self._seconds = seconds

    def wait_after(self, seen: Observations, now: float) -> float:
        """See `PollSchedule.wait_after`."""
        return self._seconds


def make_settings(state_dir: Path, redis_url: str, prefix: str = "") -> Settings:
    """Return settings that fit the simulator's app and login."""
    return Settings(
        client_id=DEMO_CLIENT_ID,
        client_secret=DEMO_CLIENT_SECRET,
        redirect_uri="http://127.0.0.1:8888/callback",
        refresh_token=DEMO_REFRESH_TOKEN,
        redis_url=redis_url,
        redis_is_default=False,
        listener="",
        redis_prefix=prefix,
        state_dir=state_dir,
        poll_min=5.0,
        poll_max=30.0,
        api_url="https://api.spotify.com",
        accounts_url="https://accounts.spotify.com",
        alert_url="",
        heartbeat_url="",
        web_password="",
    )


class VirtualRun:
    """A logger in a virtual world.

    Args:
        world: The world; its clock is the logger's.
        schedule: When to poll; from the settings unless given.
        seed: The random seed of the jitter.
        send: Sends its requests; to the world unless given.

    Attributes:
        spotify: The client; counts its requests.
        store: What holds the plays.
    """

    def __init__(
        self,
        world: VirtualWorld,
        settings: Settings,
        schedule: PollSchedule | None = None,
        *,
        seed: int = 0,
        send: Send | None = None,
    ) -> None:
        self._world = world
        self._settings = settings
        self._send = send or world.send
        self._schedule = schedule
        self._chance = random.Random(f"jitter {seed}").random
        self._poller: Poller | None = None
        self.start()

    def start(self) -> None:
        """Start the logger, or restart it: what it had only in memory is lost."""
        self.close()
        environment = Environment(self._world.clock, self._send, self._send, self._chance)
        self._poller = self.poller = Poller(self._settings, environment)
        self.poller.schedule = self._schedule or self.poller.schedule
        self.spotify, self.store, self.outbox = self.poller.spotify, self.poller.store, self.poller.outbox

    def close(self) -> None:
        """Close the connection to Redis and the outbox."""
        if self._poller is not None:
            self._poller.close()

    def run_until(self, moment: float) -> None:
        """Run the logger until `moment`, in true seconds since the epoch."""
        clock = self._world.clock
        while clock.now < moment:
            due = self.poller.turn().due
            clock.sleep(due - clock.monotonic())

    def plays(self) -> Iterator[Play]:
        """Yield the plays in the store."""
        for day in self.store.days():
            for second in self.store.index(day):
                play = Play.from_hash(second, self.store.hash(play_key(second)))
                if play is not None:
                    yield play
