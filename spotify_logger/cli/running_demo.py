"""The demo that runs on this machine, as its note says: `--demo` asks it instead of your log."""

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from spotify_logger.config.settings import Settings
from spotify_logger.queries.index import cache_folder
from spotify_logger.queries.question import DEFAULT_THRESHOLD
from spotify_logger.system import atomic_file, state
from spotify_logger.system.errors import SpotifyLoggerError


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """Process ID, folder and Redis of a demo, and how many milliseconds of a play make it count there."""

    pid: int
    folder: str
    redis_url: str
    threshold: int

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with which a command reads the log of the demo."""
        settings = replace(settings, redis_url=self.redis_url, redis_is_default=False, redis_prefix="")
        return replace(settings, listener="", state_dir=Path(self.folder) / "state")


def note_path() -> Path:
    """Return the path of the note that the latest demo keeps."""
    return cache_folder() / "demo.json"


def enter() -> RunningDemo:
    """Return the demo that runs (SpotifyLoggerError if none does), and take over its threshold and index."""
    with suppress(OSError, OverflowError, RuntimeError):
        demo = state.from_json(RunningDemo, atomic_file.read(note_path()) or b"")
        if demo and demo.pid > 0:
            os.kill(demo.pid, 0)
            DEFAULT_THRESHOLD.set(demo.threshold)
            os.environ["CACHE_DIRECTORY"] = f"{demo.folder}/cache"
            return demo
    raise SpotifyLoggerError("no demo is running: start one in another terminal (spotify-logger demo)")
