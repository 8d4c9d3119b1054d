"""Looks whether the page, as it is installed, has all of its files. Run it from outside of the project."""
# ruff: noqa: INP001, T201 - a script that prints

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

NOWHERE = "redis://127.0.0.1:1/0"
"""No Redis is needed: the page says so, in a page."""


def main() -> int:
    """Start the page, open it, and load all that it names."""
    command = [sys.executable, "-P", "-m", "spotify_logger", "web", "--port", "0"]
    environment = {**os.environ, "REDIS_URL": NOWHERE}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as page:  # noqa: S603
        try:
            line = page.stdout.readline() if page.stdout else ""
            address = line.removeprefix("The page is at ").strip()
            text = opened(address)
            files = sorted(set(re.findall(r'"/(static/[^"]+)"', text)))
            sizes = [len(urllib.request.urlopen(address + name, timeout=60).read()) for name in files]  # noqa: S310
        finally:
            page.terminate()
    is_well = "cannot be reached" in text and len(files) >= 4 and all(sizes) and page.returncode == 0  # noqa: PLR2004
    print(f"the page is {'well' if is_well else 'NOT WELL'}: {len(files)} files, {sum(sizes)} bytes")
    return 0 if is_well else 1


def opened(address: str) -> str:
    """The first view, which an error here is expected to be."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())


if __name__ == "__main__":
    sys.exit(main())
