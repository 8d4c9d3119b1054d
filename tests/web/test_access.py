"""The page, opened from another device: real browsers, on a name and an address that are not loopback.

Over plain HTTP, browsers trust only loopback and send fewer headers elsewhere. Nothing here adds a header.
"""

from __future__ import annotations

import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from spotify_logger.storage.bulk import Archive
from tests.browser import PATIENCE_MS, chromium
from tests.conftest import EVERY_KIND
from tests.firefox import Firefox, firefox
from tests.simulated_login import login_settings, simulated_spotify
from tests.web.log import write_status
from tests.web.page import page_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Page

NAME = "pi.local"
PASSWORD = "open, sesame"


class ChromiumWindow:
    """A window of Chromium, with the methods of `Firefox`."""

    def __init__(self, page: Page) -> None:
        self._page = page

    @property
    def url(self) -> str:
        return self._page.url

    def open(self, url: str) -> None:
        self._page.goto(url)

    def fill(self, selector: str, text: str) -> None:
        self._page.fill(selector, text)

    def press(self, name: str) -> None:
        self._page.get_by_role("button", name=name, exact=True).click()

    def shows(self, text: str) -> None:
        self._page.wait_for_function("text => document.body?.innerText.includes(text)", arg=text)

    def link(self, selector: str) -> str:
        return str(self._page.get_attribute(selector, "href"))


@contextmanager
def chromium_window() -> Iterator[ChromiumWindow]:
    with chromium(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield ChromiumWindow(page)


def network_address() -> str:
    """Return an address of this machine that is not loopback; skip the test if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing, but chooses an address
        except OSError:
            pytest.skip("this machine is in no network")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("open_window", [chromium_window, firefox] if EVERY_KIND else [chromium_window])
def test_every_form_of_the_page_works(
    open_window: Callable[[], AbstractContextManager[ChromiumWindow | Firefox]],
    redis_url: str,
    tmp_path: Path,
) -> None:
    for listener in ("anna", "ben"):
        with closing(Archive(redis_url, f"{listener}:", listener=listener)) as store:
            store.register_listener()
            write_status(store, next_in=3600, state=f"{listener} is idle")
    host = NAME if open_window is chromium_window else network_address()
    with simulated_spotify() as spotify, open_window() as window:
        arguments = ("--host", "0.0.0.0", "--name", NAME)
        more = {**login_settings(spotify.url), "WEB_PASSWORD": PASSWORD}
        with page_process(redis_url, tmp_path, *arguments, **more) as served:
            health = f"http://{host}:{served.rpartition(':')[2]}/health"
            window.open(health)
            window.shows("Page password")
            window.fill("#password", "a wrong one")
            window.press("Sign in")
            window.shows("Wrong password")
            window.fill("#password", PASSWORD)
            window.press("Sign in")
            window.shows("anna is idle")
            assert window.url == health

            window.press("ben")
            window.shows("Last 12 months")
            window.open(health)
            window.shows("ben is idle")

            window.press("Log in with Spotify")
            window.shows("Waiting for the answer")
            window.fill("#address", "nonsense")
            window.press("Log in")
            window.shows("no code")
            window.open(window.link("#login a.button"))
            window.shows("Logged in")
            window.open(health)
            window.shows("You are logged in")

            window.press("Sign out")
            window.shows("Page password")
            window.open(health)
            window.shows("Page password")
