"""How fast, how heavy and how large is the page, with up to a million plays?

    python benchmarks/page.py [--plays 100000 1000000]

The page runs as in its unit in `deploy/`, and is requested over loopback as by a browser: compressed, and
with the ETag of what it has already. It is "idle" once it has made what all views need. "First" is the first
request after that, "again" the fastest of a few later ones; "bytes" is the size of that response, headers and
body.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from answers import PORT, fill

from spotify_logger.storage.embedded_server import EmbeddedServer

VIEWS = (
    "/",
    "/recent",
    "/day/{day}",
    "/top/tracks",
    "/top/artists?by=time",
    "/top/albums?all=1",
    "/chart?per=day",
    "/clock",
    "/calendar",
    "/year",
    "/artist?q=quiet+signal+0",
    "/search?q=amber+harbour",
    "/health",
)
RUNS = 5
"""Requests for each view; the fastest one counts, since the others had to wait for other processes."""
UNIT = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""The environment of the page in its unit in `deploy/`."""
HEADERS = {"Accept": "text/html", "Accept-Encoding": "gzip"}


class PageResponse(NamedTuple):
    """A response: seconds until it was complete, bytes on the wire, status, decompressed body, and ETag."""

    seconds: float
    size: int
    status: int
    text: bytes
    tag: str


def ask(address: str, target: str, tag: str = "") -> PageResponse:
    """Request a path like a browser; with `tag`, like one that has it already."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=300)
    begun = time.perf_counter()
    connection.request("GET", target, headers=HEADERS | ({"If-None-Match": tag} if tag else {}))
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - begun
    head = sum(len(name) + len(value) + 4 for name, value in response.getheaders()) + 32
    connection.close()
    if response.getheader("Content-Encoding") == "gzip":
        import gzip  # noqa: PLC0415 - rarely needed

        text = gzip.decompress(body)
    else:
        text = body
    return PageResponse(seconds, head + len(body), response.status, text, response.getheader("ETag") or "")


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def wait_until_idle(pid: int) -> None:
    """Wait until a process has not used the processor for half a second."""
    used: list[str] = []
    while (now := Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]) != used:
        used = now
        time.sleep(0.5)


def measure(url: str, folder: Path) -> None:
    """Start the page, request everything, and print the measurements."""
    environment = {**os.environ, **UNIT, "REDIS_URL": url, "STATE_DIR": str(folder)}
    program = [sys.executable, "-P", "-m", "spotify_logger", "web", "--port", "0"]
    begun = time.perf_counter()
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as page:
        try:
            line = page.stdout.readline() if page.stdout else ""
            address = line.rpartition(" ")[2].strip()
            print(f"  ready after {time.perf_counter() - begun:.2f} s, {memory(page.pid):.1f} MB resident")
            wait_until_idle(page.pid)
            print(f"  idle after {time.perf_counter() - begun:.2f} s, {memory(page.pid):.1f} MB resident")
            measure_views(address, page.pid)
            measure_sizes(address)
        finally:
            page.terminate()


def measure_views(address: str, pid: int) -> None:
    """Print the time and the size of each view."""
    print(f"  {'view':28} {'first s':>8} {'again s':>8} {'bytes':>8} {'memory MB':>10}")
    for view in VIEWS:
        target = view.format(day=time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * 86_400)))
        first = ask(address, target)
        again = min((ask(address, target) for _ in range(RUNS)), key=lambda answer: answer.seconds)
        if first.status != (503 if view == "/health" else 200):  # no logger is running
            raise SystemExit(f"{target}: {first.status}")
        print(
            f"  {target:28} {first.seconds:8.3f} {again.seconds:8.3f} {again.size:8,} {memory(pid):10.1f}",
            flush=True,
        )


def measure_sizes(address: str) -> None:
    """Print how much a browser loads on its first visit, and on later ones."""
    for view in ("/", "/chart"):
        page = ask(address, view)
        files = sorted(set(re.findall(rb'(?:src|href)="(/static/[^"]+)"', page.text)))
        sizes = {name.decode(): ask(address, name.decode()).size for name in files}
        again = ask(address, view, page.tag)
        total = page.size + sum(sizes.values())
        print(f"  {view}: {total:,} bytes the first time, {again.size:,} when nothing has changed,")
        parts = ", ".join(f"{name.rpartition('/')[2]} {size:,}" for name, size in sizes.items())
        print(f"    {page.size:,} when something has; of files {parts}")


def main() -> None:
    """Fill a server with each number of plays, and measure the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plays", type=int, nargs="+", default=[100_000, 1_000_000])
    options = parser.parse_args()
    for plays in options.plays:
        with tempfile.TemporaryDirectory() as name:
            server = EmbeddedServer(Path(name, "redis"), "127.0.0.1", PORT)
            server.start()
            try:
                fill(server, plays, until=time.time() - 3600)
                print(f"{plays:,} plays")
                measure(server.url, Path(name))
            finally:
                server.stop()


if __name__ == "__main__":
    main()
