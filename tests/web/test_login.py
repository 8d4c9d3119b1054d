"""The login from the page, against the simulated accounts service on a real port."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import pytest

from spotify_logger.config.settings import load
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.faults import TOKEN_PATH, Fault
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import login as login_module
from spotify_logger.spotify import oauth
from spotify_logger.spotify.oauth import TokenFile
from spotify_logger.storage.embedded_server import is_listening
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.login import SpotifyLogin
from tests.conftest import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings


@pytest.fixture(autouse=True)
def _nothing_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())
    monkeypatch.setattr(login_module, "RETRY_DELAYS", (0.0, 0.0))


@pytest.fixture
def service() -> Service:
    return Service(listen(1, 0.1))


@pytest.fixture
def accounts(service: Service) -> Iterator[str]:
    """The address of a simulated accounts service on a real port."""
    server = SimulatorServer(service)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(accounts: str, tmp_path: Path) -> Settings:
    said = {
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
        "SPOTIFY_ACCOUNTS_URL": accounts,
        "STATE_DIR": str(tmp_path / "not" / "there" / "yet"),
    }
    return load(tmp_path, said, need_login=False)


@pytest.fixture
def login(settings: Settings) -> Iterator[SpotifyLogin]:
    login = SpotifyLogin(settings)
    yield login
    login.stop()


class Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere, so that one sees where one is sent."""

    def redirect_request(self, *_: object) -> None:
        return None


def sent_to(url: str) -> str:
    """Where a browser is sent that opens an address and agrees."""
    try:
        urllib.request.build_opener(Stay).open(url, timeout=20)
    except HTTPError as error:
        with error:
            return str(error.headers["Location"])
    raise AssertionError(url)


def saved(settings: Settings) -> oauth.Token | None:
    return TokenFile(settings.state_dir / oauth.TOKEN_FILE).load()


def test_idle_login_has_no_messages(login: SpotifyLogin) -> None:
    assert (login.url, login.is_done, login.lines) == ("", False, [])
    login.paste("http://127.0.0.1:8888/callback?code=a&state=b")
    login.stop()


def test_completes_with_a_pasted_url(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    login.paste(sent_to(login.url))
    wait_until(lambda: login.is_done)
    assert saved(settings)
    wait_until(lambda: not login.url)
    assert (settings.state_dir / oauth.TOKEN_FILE).stat().st_mode & 0o777 == 0o600


def test_completes_with_the_callback(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    target = sent_to(login.url)
    body = b""

    def brought() -> bool:
        nonlocal body
        with suppress(URLError):  # the listener is not there yet
            body = urllib.request.urlopen(target, timeout=20).read()
        return bool(body)

    wait_until(brought)
    assert b"The answer has arrived" in body
    wait_until(lambda: login.is_done)
    assert saved(settings)


def test_a_flood_does_not_block_the_callback(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    target = sent_to(login.url)
    callback = urlsplit(settings.redirect_uri)
    address = (str(callback.hostname), int(callback.port or 0))

    wait_until(lambda: is_listening(*address))
    silent = [socket.create_connection(address, 20) for _ in range(100)]
    for _ in range(300):
        with socket.create_connection(address, 20) as other, suppress(ConnectionError):
            other.sendall(b"GET /callback?code=x&state=wrong HTTP/1.1\r\n\r\n")
            other.recv(1000)
    with urllib.request.urlopen(target, timeout=20) as answer:
        assert b"The answer has arrived" in answer.read()
    wait_until(lambda: login.is_done)
    assert saved(settings)
    assert len(login.lines) < 10
    for each in silent:
        each.close()


def test_rejects_invalid_pasted_text(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    url = login.url
    for text in ("", "nonsense", "http://127.0.0.1/cb?code=x", "http://127.0.0.1/cb?code=x&state=other"):
        login.paste(text)
    assert login.url == url
    assert len(login.lines) == 3
    assert "This contains no code" in login.lines[0]
    login.paste(sent_to(url))
    wait_until(lambda: login.is_done)
    assert saved(settings)


def test_can_be_retried_after_declining(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    state = login.url.partition("state=")[2].partition("&")[0]
    login.paste(f"?error=access_denied&state={state}")
    wait_until(lambda: not login.url)
    assert not login.is_done
    assert "access_denied" in login.lines[-1]
    login.begin()
    login.paste(sent_to(login.url))
    wait_until(lambda: login.is_done)
    assert saved(settings)


def test_a_new_attempt_cancels_the_previous_one(login: SpotifyLogin) -> None:
    login.begin()
    first = sent_to(login.url)
    login.begin()
    login.paste(first)
    assert not login.is_done
    assert "another login attempt" in login.lines[-1]


@pytest.mark.parametrize("fault", ["invalid_grant", "rate_limit"])
def test_spotify_refuses_the_token(
    login: SpotifyLogin, settings: Settings, service: Service, fault: str
) -> None:
    login.begin()
    target = sent_to(login.url)
    service.faults.add(Fault(fault, path=TOKEN_PATH, value=3600), time.time())
    login.paste(target)
    wait_until(lambda: not login.url)
    assert not login.is_done
    assert login.lines
    assert saved(settings) is None


def test_without_an_app_there_is_no_login(settings: Settings) -> None:
    with pytest.raises(Misconfigured, match="SPOTIFY_CLIENT_ID is missing"):
        SpotifyLogin(replace(settings, client_id="")).begin()


def test_a_state_folder_that_cannot_be_made(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="set STATE_DIR"):
        SpotifyLogin(replace(settings, state_dir=tmp_path / "file" / "folder")).begin()


def test_messages_contain_no_secrets(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    login.paste(sent_to(login.url))
    wait_until(lambda: login.is_done)
    token = saved(settings)
    assert token
    messages = "\n".join([*login.lines, repr(login)])
    assert token.refresh_token not in messages
    assert DEMO_CLIENT_SECRET not in messages
