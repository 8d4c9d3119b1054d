"""What `log.py` does without a supervisor: lock the state folder, and start Redis if none is set."""

import contextlib
import os
from urllib.parse import urlsplit

from spotify_logger.config.settings import Settings
from spotify_logger.storage.embedded_server import EmbeddedServer, is_listening
from spotify_logger.storage.outbox import known_log
from spotify_logger.system import lock_file, log
from spotify_logger.system.errors import SpotifyLoggerError


def own_address(settings: Settings) -> tuple[str, int] | None:
    """Return where to start a server; None where another one is configured, shared, or has the log."""
    address = urlsplit(settings.redis_url)
    host, port = address.hostname or "127.0.0.1", address.port or 6379
    if not settings.redis_is_default:
        return None
    if settings.listener:  # a shared server must not stop with the logger of one of them
        if not is_listening(host, port):
            log.warning(
                f"nothing is listening on {host}:{port}, and with LISTENER set no server is started, because"
                " several listeners share one: sudo apt install redis-server. Plays are queued until it runs"
            )
        return None
    if known_log(settings.state_dir) and not (settings.state_dir / "redis").is_dir():
        return None  # the log is in a server that is down: an empty one would take its place
    return host, port


def prepare(settings: Settings, orphan_timeout: float, resources: contextlib.ExitStack) -> None:
    """Lock the state folder, and start a server if this logger needs its own; `resources` end both."""
    lock_fd = lock_file.acquire(settings.state_dir, "log.py", orphan_timeout)
    resources.callback(os.close, lock_fd)
    address = own_address(settings)
    if address is None or is_listening(*address):
        return
    # It inherits the lock, so that a new loop waits for a server that briefly outlives a killed one.
    server = EmbeddedServer(settings.state_dir / "redis", *address, lock_fd)
    try:
        server.start()
    except SpotifyLoggerError as error:
        log.warning(f"nothing is listening on {server.address}, and {error}; plays are queued until it runs")
    else:
        resources.callback(server.stop)
