"""Check that the installed page has all of its files. Run it outside of the checkout."""
# ruff: noqa: INP001, T201 - a script that prints

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

NOWHERE = "redis://127.0.0.1:1/0"
"""An address without a Redis: the page then shows an error page, which is enough here."""


def main() -> int:
    """Start the page, open it, and load all files that it refers to."""
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
    is_complete = "cannot be reached" in text and len(files) >= 4 and all(sizes) and page.returncode == 0  # noqa: PLR2004
    print(
        f"the page is {'complete' if is_complete else 'NOT COMPLETE'}: {len(files)} files, {sum(sizes)} bytes"
    )
    return 0 if is_complete else 1


def opened(address: str) -> str:
    """Return the text of the start page, which is expected to be an error page."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())


if __name__ == "__main__":
    sys.exit(main())
