"""The system's Firefox, headless, driven over Marionette, its built-in protocol.

Each message is its length, a colon, and JSON: `[0, id, command, parameters]` there, and back
`[1, id, error, result]`. Source: firefox-source-docs.mozilla.org/testing/marionette/Protocol.html.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser import PATIENCE_MS, skip_or_fail
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("firefox-esr", "firefox")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""WebDriver's key for the id of an element."""
START_PATIENCE = 90.0
"""Seconds to start; the first start of a profile is slow."""


class WebDriverError(Exception):
    """Firefox could not carry out a command."""


class Firefox:
    """A window of Firefox."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_MS / 1000)
        self._stream = self._socket.makefile("rb")
        self._number = 0
        self._receive()  # the greeting
        self.do("NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self.do("SetTimeouts", pageLoad=PATIENCE_MS, script=PATIENCE_MS, implicit=PATIENCE_MS)

    def do(self, command: str, **parameters: object) -> Any:  # noqa: ANN401 - whatever the command answers
        """Carry out a command of WebDriver, or of Marionette if it says so, and return its result."""
        self._number += 1
        name = command if ":" in command else f"WebDriver:{command}"
        message = json.dumps([0, self._number, name, parameters])
        self._socket.sendall(f"{len(message)}:{message}".encode())
        _, _, error, result = self._receive()
        if error:
            raise WebDriverError(f"{command}: {error['error']}: {error['message']}")
        return result["value"] if isinstance(result, dict) and "value" in result else result

    def open(self, url: str) -> None:
        self.do("Navigate", url=url)

    @property
    def url(self) -> str:
        return str(self.do("GetCurrentURL"))

    @property
    def text(self) -> str:
        return str(self.run("return document.body?.innerText ?? ''"))

    def run(self, script: str) -> Any:  # noqa: ANN401 - whatever the script returns
        """Run a script in the page."""
        return self.do("ExecuteScript", script=script, args=[])

    def run_in_browser(self, script: str) -> Any:  # noqa: ANN401 - whatever the script returns
        """Run a script that may do what only the browser itself may."""
        self.do("Marionette:SetContext", value="chrome")
        try:
            return self.run(script)
        finally:
            self.do("Marionette:SetContext", value="content")

    def problems(self) -> list[str]:
        """Return what the console has about the page since the last call: errors and warnings."""
        script = (
            "const all = Services.console.getMessageArray().map(String); Services.console.reset(); return all"
        )
        return [each for each in self.run_in_browser(script) if "http://" in each]

    def choose_theme(self, *, dark: bool) -> None:
        name = "layout.css.prefers-color-scheme.content-override"
        self.run_in_browser(f"Services.prefs.setIntPref('{name}', {0 if dark else 1})")

    def fill(self, selector: str, text: str) -> None:
        self.do("ElementSendKeys", id=self._find("css selector", selector), text=text)

    def press(self, name: str) -> None:
        """Click the button or link with this label."""
        path = f"//*[self::a or self::button][normalize-space()='{name}']"
        self.do("ElementClick", id=self._find("xpath", path))

    def shows(self, text: str) -> None:
        """Wait until the page shows this text."""

        def is_shown() -> bool:
            try:
                return text in self.text
            except WebDriverError:  # the page is being replaced
                return False

        wait_until(is_shown, PATIENCE_MS / 1000)

    def link(self, selector: str) -> str:
        element = self._find("css selector", selector)
        return str(self.do("GetElementAttribute", id=element, name="href"))

    def close(self) -> None:
        with suppress(OSError):  # it may be gone already
            self._stream.close()
            self._socket.close()

    def _find(self, using: str, value: str) -> str:
        return str(self.do("FindElement", using=using, value=value)[ELEMENT])

    def _receive(self) -> Any:  # noqa: ANN401 - JSON
        length = b""
        while (byte := self._stream.read(1)) != b":":
            assert byte, "Firefox closed the connection"
            length += byte
        return json.loads(self._stream.read(int(length)))


@contextmanager
def firefox(*names: str) -> Iterator[Firefox]:
    """Run Firefox with some names resolved to loopback."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        skip_or_fail("no Firefox on this machine: sudo apt install firefox-esr")
    settings = {
        "marionette.port": 0,  # any free port; it writes it to a file
        "network.dns.localDomains": ",".join(names),
        "network.proxy.type": 0,
        "dom.serviceWorkers.enabled": False,  # leaving a view cancels what one loads
        # No requests to other hosts.
        "app.normandy.enabled": False,
        "browser.safebrowsing.update.enabled": False,
        "browser.startup.page": 0,
        "datareporting.policy.dataSubmissionEnabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "services.settings.server": "data:,nowhere",
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        profile = Path(name)
        lines = (f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in settings.items())
        (profile / "user.js").write_text("".join(lines))
        process = subprocess.Popen(
            [
                program,
                "--headless",
                "--no-remote",
                "--marionette",
                "--remote-allow-system-access",
                "--profile",
                name,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = profile / "MarionetteActivePort"
        try:
            wait_until(lambda: port.exists() and port.read_text().strip(), START_PATIENCE)
            browser = Firefox(int(port.read_text()))
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.terminate()
            process.wait()
