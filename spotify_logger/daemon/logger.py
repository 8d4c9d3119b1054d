"""The parts of a logger that work together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.daemon.poller import Poller
    from spotify_logger.daemon.recorder import Recorder
    from spotify_logger.spotify.api import Spotify
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.storage.store import Store


@dataclass(frozen=True, slots=True)
class Logger:
    """A logger that is ready to run."""

    poller: Poller
    spotify: Spotify
    recorder: Recorder
    store: Store
    outbox: Outbox

    def close(self) -> None:
        """Close the connection to Redis and the outbox."""
        self.store.close()
        self.outbox.close()
