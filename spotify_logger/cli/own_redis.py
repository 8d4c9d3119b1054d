"""The logger's own Redis, opened by a command while no logger runs."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

from spotify_logger.config.listeners import for_listener
from spotify_logger.config.settings import Settings
from spotify_logger.config.sources import DEFAULTS
from spotify_logger.storage.embedded_server import EmbeddedServer, is_listening
from spotify_logger.system import lock_file
from spotify_logger.system.errors import SpotifyLoggerError


@contextmanager
def own_redis(settings: Settings, *, may_start: bool = True) -> Iterator[None]:
    """Run the logger's own server during the block if nothing is listening at the default address.

    SpotifyLoggerError if it may not be started, has no data, belongs to another user, or does not start.
    """
    default = urlsplit(DEFAULTS["REDIS_URL"])
    host, port = default.hostname or "", default.port or 0
    if not settings.redis_is_default or is_listening(host, port):
        yield
        return
    folder = for_listener(settings, "").state_dir
    is_ours = False
    with suppress(OSError):
        # What root wrote there could not be read by the logger any more.
        is_ours = (folder / "redis").stat().st_uid == os.geteuid()
    if not (is_ours and may_start):
        raise SpotifyLoggerError(
            f"nothing is listening on {host}:{port}: start the logger, which runs Redis, or set REDIS_URL"
        )
    lock_fd = lock_file.acquire(folder, "spotify-logger")
    try:
        with _running(EmbeddedServer(folder / "redis", host, port, lock_fd)):
            yield
    finally:
        os.close(lock_fd)


@contextmanager
def copy_of_own_data(settings: Settings) -> Iterator[str]:
    """Run a server with a copy of the data of the logger's own, which may be running; yield its address.

    SpotifyLoggerError if there are none, they cannot be copied, or no server here can read them.
    """
    folder = for_listener(settings, "").state_dir
    own = folder / "redis"
    if not own.is_dir():
        raise SpotifyLoggerError(
            f"there is no log to copy in {own}: use sudo if a systemd service keeps the log; if another Redis"
            " has it, name that one with --from, or, if REDIS_URL names it, the new one with --to"
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
