"""How fast is the page, how heavy, how large? With up to a million plays behind it.

    python benchmarks/page.py [--plays 100000 1000000]

The page runs as its unit in `deploy/` runs it, and is asked over loopback as a browser asks:
compressed, with what it has already. "First" is the first time after the start, "again" the fastest of a few
afterwards; "bytes" is what goes over the wire then, head and body.
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
ENOUGH = 5
"""Times that each view is asked for again; the fastest one counts: the others waited for somebody else."""
UNIT = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""The environment that the unit in `deploy/` gives the page."""
HEADERS = {"Accept": "text/html", "Accept-Encoding": "gzip"}


class Answer(NamedTuple):
    """What came of a request: seconds, bytes over the wire, the status, the text, and its tag."""

    seconds: float
    size: int
    status: int
    text: bytes
    tag: str


def ask(address: str, target: str, tag: str = "") -> Answer:
    """Ask for something, as a browser does that has it already if `tag` is given."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=300)
    begun = time.perf_counter()
    connection.request("GET", target, headers=HEADERS | ({"If-None-Match": tag} if tag else {}))
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - begun
    head = sum(len(name) + len(value) + 4 for name, value in response.getheaders()) + 32
    connection.close()
    if response.getheader("Content-Encoding") == "gzip":
        import gzip  # noqa: PLC0415 - the text is of use for the links in it alone

        text = gzip.decompress(body)
    else:
        text = body
    return Answer(seconds, head + len(body), response.status, text, response.getheader("ETag") or "")


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(url: str, folder: Path) -> None:
    """Start the page, look at everything, and print what it took."""
    environment = {**os.environ, **UNIT, "REDIS_URL": url, "STATE_DIR": str(folder)}
    program = [sys.executable, "-P", "-m", "spotify_logger", "web", "--port", "0"]
    begun = time.perf_counter()
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as page:
        try:
            line = page.stdout.readline() if page.stdout else ""
            address = line.rpartition(" ")[2].strip()
            print(f"  ready after {time.perf_counter() - begun:.2f} s, {memory(page.pid):.1f} MB resident")
            look_at_views(address, page.pid)
            weigh(address)
        finally:
            page.terminate()


def look_at_views(address: str, pid: int) -> None:
    """Print the time and the size of each view."""
    print(f"  {'view':28} {'first s':>8} {'again s':>8} {'bytes':>8} {'memory MB':>10}")
    for view in VIEWS:
        target = view.format(day=time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * 86_400)))
        first = ask(address, target)
        again = min((ask(address, target) for _ in range(ENOUGH)), key=lambda answer: answer.seconds)
        if first.status != 200:
            raise SystemExit(f"{target}: {first.status}")
        print(
            f"  {target:28} {first.seconds:8.3f} {again.seconds:8.3f} {again.size:8,} {memory(pid):10.1f}",
            flush=True,
        )


def weigh(address: str) -> None:
    """Print what a browser loads that was never here, and what it loads when it comes again."""
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
    """Fill servers, and look at the page before each."""
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
