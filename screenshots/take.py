"""Takes the README's pictures of the page from the demo: `python screenshots/take.py`."""
# ruff: noqa: INP001 - a script

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import browser_page, chromium

FOLDER = Path(__file__).parent
PICTURES = (
    ("now.png", "/", 1120, 1180, False),
    ("year.png", f"/year/{time.localtime().tm_year}", 1120, 1180, True),
)
"""Name, address, width, height, and whether it is dark."""
ENOUGH = 40
"""Seconds after which some plays of now are among those of today."""


def main() -> None:
    """Start the demo, look at it, and end it."""
    command = [sys.executable, str(FOLDER.parent / "run.py"), "--demo", "--web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 - our own program
        try:
            words = demo.stdout.readline() if demo.stdout else ""
            (address,) = re.findall(r"(http://\S+:\d+)/", words)
            time.sleep(ENOUGH)
            with chromium() as browser:
                for name, target, width, height, dark in PICTURES:
                    with browser_page(browser, address, width=width, height=height, dark=dark) as window:
                        window.open(target).wait_for_timeout(1500)
                        window.page.screenshot(path=FOLDER / name)
        finally:
            demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
