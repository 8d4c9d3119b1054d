"""A simulated Spotify on a real port that logs people in, and a browser whose user agrees."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def simulated_spotify(
    service: Service | None = None, now: Callable[[], float] = time.time
) -> Iterator[SimulatorServer]:
    """Run a simulated Spotify in a thread."""
    with SimulatorServer(service or Service(listen(1, 0.1)), now=now) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def login_settings(url: str) -> dict[str, str]:
    """Return the settings of an app that logs people in at a simulated Spotify."""
    return {
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
        "SPOTIFY_ACCOUNTS_URL": url,
        "SPOTIFY_API_URL": url,
    }


def redirect_of(url: str) -> str:
    """Return where a browser is sent by somebody who opens a URL and agrees."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=20)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        return str(connection.getresponse().headers["Location"])
