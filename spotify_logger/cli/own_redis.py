"""Redis servers of this machine that a command finds by itself: the logger's own, and that of the demo."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from spotify_logger.config.settings import Settings
from spotify_logger.queries.index import cache_folder
from spotify_logger.queries.question import DEFAULT_THRESHOLD
from spotify_logger.storage.embedded_server import EmbeddedServer, is_listening
from spotify_logger.system import atomic_file, lock_file, state
from spotify_logger.system.errors import SpotifyLoggerError


@contextmanager
def own_redis(settings: Settings, *, may_start: bool = True) -> Iterator[None]:
    """Run the logger's own server during the block if nothing listens at its address (SpotifyLoggerError)."""
    address = urlsplit(settings.redis_url)
    host, port = address.hostname or "", address.port or 0
    if is_listening(host, port):
        yield
        return
    folder = settings.for_listener("").state_dir
    is_ours = False
    with suppress(OSError):
        # What root wrote there could not be read by the logger any more.
        is_ours = (folder / "redis").stat().st_uid == os.geteuid()
    if not (is_ours and may_start):
        problem = f"nothing is listening on {host}:{port}"
        raise SpotifyLoggerError(f"{problem}: start the logger, which runs Redis, or set REDIS_URL")
    lock_fd = lock_file.acquire(folder, "spotify-logger")
    try:
        with _running(EmbeddedServer(folder / "redis", host, port, lock_fd)):
            yield
    finally:
        os.close(lock_fd)


@contextmanager
def copy_of_own_data(settings: Settings) -> Iterator[str]:
    """Run a server with a copy of the logger's own data, and yield its address (SpotifyLoggerError)."""
    folder = settings.for_listener("").state_dir
    own = folder / "redis"
    if not own.is_dir():
        raise SpotifyLoggerError(
            f"there is no log in {own} to copy to REDIS_URL: use sudo if a systemd service keeps it; if"
            " another Redis has it, name that one with --from, or, if it is to leave REDIS_URL, a new one"
            " with --to"
        )
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(tempfile.TemporaryDirectory(prefix="move-", dir=folder))
            shutil.copytree(own, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("damaged", "*.log"))
        except OSError as error:
            why = error.strerror or "some of it cannot be read"
            advice = "free some disk space, or run this command as the user of the logger"
            raise SpotifyLoggerError(f"cannot copy {own} ({why}): {advice}") from None
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        yield stack.enter_context(_running(EmbeddedServer(copy, "127.0.0.1", port)))


@contextmanager
def _running(server: EmbeddedServer) -> Iterator[str]:
    """Run a server during the block, which begins when its data are loaded; yield its address."""
    import redis  # noqa: PLC0415 - takes seconds on a Pi

    try:
        server.start()
        with redis.Redis.from_url(server.url, protocol=2) as client:
            while client.info("persistence")["loading"]:
                time.sleep(0.05)
        yield server.url
    finally:
        server.stop()


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


def enter_demo() -> RunningDemo:
    """Return the demo that runs (SpotifyLoggerError if none does), and take over its threshold and index."""
    with suppress(OSError, OverflowError, RuntimeError):
        demo = state.from_json(RunningDemo, atomic_file.read(note_path()) or b"")
        if demo and demo.pid > 0:
            os.kill(demo.pid, 0)
            DEFAULT_THRESHOLD.set(demo.threshold)
            os.environ["CACHE_DIRECTORY"] = f"{demo.folder}/cache"
            return demo
    raise SpotifyLoggerError("no demo is running: start one in another terminal (spotify-logger demo)")
