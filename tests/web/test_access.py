"""The page, opened from another device: real browsers, on names and addresses that are not loopback.

Over plain http browsers trust loopback alone, and send other headers there than anywhere else. Nothing here
adds one.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from spotify_logger.core.times import to_iso
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.storage.store import Store
from tests.browser import PATIENCE_MS, chromium
from tests.conftest import free_port
from tests.firefox import firefox
from tests.web.page import page_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

NAME = "pi.local"
PASSWORD = "open, sesame"


class Driver(Protocol):
    """A window of a browser."""

    @property
    def url(self) -> str: ...
    def open(self, url: str) -> None: ...
    def fill(self, selector: str, text: str) -> None: ...
    def press(self, name: str) -> None: ...
    def shows(self, text: str) -> None: ...
    def link(self, selector: str) -> str: ...


class Chromium:
    """A window of Chromium."""

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
def _chromium() -> Iterator[Driver]:
    with chromium(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield Chromium(page)


@contextmanager
def _firefox() -> Iterator[Driver]:
    with firefox(NAME) as browser:
        yield browser


@pytest.fixture(scope="module", params=[_chromium, _firefox], ids=["chromium", "firefox"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with request.param() as driver:
        yield driver


@pytest.fixture(params=["name", "address"])
def host(request: pytest.FixtureRequest) -> str:
    """What another device calls this machine."""
    if request.param == "name":
        return NAME
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing, but tells which address would
        except OSError:
            pytest.skip("this machine is in no network")
        return str(probe.getsockname()[0])


@pytest.fixture
def accounts() -> Iterator[str]:
    """The address of a simulated Spotify that logs people in."""
    server = SimulatorServer(Service(listen(1, 0.1)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


def begin(url: str, listener: str) -> None:
    store = Store(url, f"{listener}:", listener=listener)
    store.register_listener()
    with store.batch() as batch:
        now_ms = round(time.time() * 1000)
        batch.write_status(
            {
                "state": f"{listener} hears nothing",
                "last_poll": to_iso(now_ms),
                "next_poll": to_iso(now_ms + 3_600_000),
            }
        )
    store.close()


def test_every_form_of_the_page_works(
    driver: Driver, host: str, redis_url: str, accounts: str, tmp_path: Path
) -> None:
    for listener in ("anna", "ben"):
        begin(redis_url, listener)
    more = {
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
        "SPOTIFY_ACCOUNTS_URL": accounts,
        "WEB_PASSWORD": PASSWORD,
    }
    with page_process(redis_url, tmp_path, "--host", "0.0.0.0", "--name", NAME, **more) as served:
        health = f"http://{host}:{served.rpartition(':')[2]}/health"
        driver.open(health)
        driver.shows("Page password")
        driver.fill("#password", "a wrong one")
        driver.press("Sign in")
        driver.shows("Wrong password")
        driver.fill("#password", PASSWORD)
        driver.press("Sign in")
        driver.shows("anna hears nothing")
        assert driver.url == health

        driver.press("ben")
        driver.shows("Last 12 months")
        driver.open(health)
        driver.shows("ben hears nothing")

        driver.press("Log in with Spotify")
        driver.shows("Waiting for the answer")
        driver.fill("#address", "nonsense")
        driver.press("Log in")
        driver.shows("no code")
        driver.open(driver.link("#login a.button"))
        driver.shows("The answer has arrived")
        driver.open(health)
        driver.shows("You are logged in")

        driver.press("Sign out")
        driver.shows("Page password")
        driver.open(health)
        driver.shows("Page password")
