"""Take the screenshots of the README from the demo: `python screenshots/take.py`."""
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
    ("now.png", "/", 1280, 1180, False),
    ("year.png", f"/year/{time.localtime().tm_year}", 1280, 1180, True),
)
"""File name, path, width, height, and whether to use the dark color scheme."""
WARM_UP = 40
"""Seconds until the page shows some plays of the demo."""


def main() -> None:
    """Start the demo, take the screenshots, and stop it."""
    command = [sys.executable, str(FOLDER.parent / "run.py"), "--demo", "--web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 - our own program
        try:
            line = demo.stdout.readline() if demo.stdout else ""
            (address,) = re.findall(r"(http://\S+:\d+)/", line)
            time.sleep(WARM_UP)
            with chromium() as browser:
                for name, target, width, height, dark in PICTURES:
                    with browser_page(browser, address, width=width, height=height, dark=dark) as window:
                        window.open(target).wait_for_timeout(1500)
                        window.page.screenshot(path=FOLDER / name)
        finally:
            demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
