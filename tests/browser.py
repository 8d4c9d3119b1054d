"""A real browser for tests: the system's Chromium, headless, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",  # not available to root, as in CI
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_MS = 30_000
"""Timeout for every step."""
NARROW, WIDE = 320, 1440
"""Widths in pixels of a small phone and of a desktop."""


def skip_or_fail(what: str) -> NoReturn:
    """Skip the test; fail it in CI, where everything has to be installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """Run the browser of this machine with these further arguments."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        skip_or_fail("no Chromium on this machine: sudo apt install chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - there is none for every machine
    except ImportError:
        skip_or_fail("no Playwright on this machine: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS, *more])
        try:
            yield browser
        finally:
            browser.close()


class BrowserPage:
    """A page of a browser.

    Attributes:
        problems: Errors of scripts and of the console, violations of the content security policy, failed
            loads, dialogs, and requests to other hosts than `address`.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.problems: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._note_request)
        page.on("dialog", self._note_dialog)

    def open(self, target: str) -> Page:
        """Open a path and wait until it has loaded."""
        self.page.goto(self.address + target, wait_until="load")
        return self.page

    def overflow(self) -> int:
        """Return the pixels by which the page is wider than the window."""
        found: int = self.page.evaluate(
            "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
            " - document.documentElement.clientWidth"
        )
        return found

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "blocked by Playwright" not in message.text:
            self.problems.append(message.text)

    def _note_dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.problems.append(f"external request: {request.url}")


@contextmanager
def browser_page(
    browser: Browser,
    address: str,
    *,
    width: int = WIDE,
    height: int = 900,
    dark: bool = False,
    script: bool = True,
    worker: bool = False,
) -> Iterator[BrowserPage]:
    """Open a window of a browser; `address` has no slash at the end, `dark` is the preferred color scheme.

    Without `worker` there are no service workers: requests that pass through one cannot be held or answered.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
        accept_downloads=True,
        service_workers="allow" if worker else "block",
    )
    try:
        yield BrowserPage(context.new_page(), address)
    finally:
        context.close()


def accessibility_report(page: Page, *rules: str) -> str:
    """Return what an accessibility checker finds, by these rules or by all."""
    try:
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - not for every machine
    except ImportError:
        skip_or_fail("no axe on this machine: pip install axe-playwright-python")
    found = Axe().run(page, options={"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {}))
    return found.generate_report() if found.violations_count else ""
