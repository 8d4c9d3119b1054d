"""The login from the page, against the simulated accounts service on a real port."""

from __future__ import annotations

import socket
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from spotify_logger.simulator.accounts import DEMO_CLIENT_SECRET
from spotify_logger.simulator.faults import TOKEN_PATH, Fault
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import login as login_module
from spotify_logger.spotify import oauth
from spotify_logger.spotify.oauth import TokenFile
from spotify_logger.storage.embedded_server import is_listening
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.login import SpotifyLogin
from tests.conftest import wait_until
from tests.web.page import login_settings, settings_for, simulated_spotify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())
    monkeypatch.setattr(login_module, "RETRY_DELAYS", (0.0, 0.0))


@pytest.fixture
def service() -> Service:
    return Service(listen(1, 0.1))


@pytest.fixture
def accounts(service: Service) -> Iterator[str]:
    with simulated_spotify(service) as url:
        yield url


@pytest.fixture
def settings(accounts: str, tmp_path: Path) -> Settings:
    return settings_for("", tmp_path, **login_settings(accounts), STATE_DIR=str(tmp_path / "not" / "there"))


@pytest.fixture
def login(settings: Settings) -> Iterator[SpotifyLogin]:
    login = SpotifyLogin(settings)
    yield login
    login.stop()


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def redirect_of(url: str) -> str:
    """Return where a browser is sent by somebody who opens a URL and agrees."""
    try:
        urllib.request.build_opener(NoRedirects).open(url, timeout=20)
    except HTTPError as error:
        with error:
            return str(error.headers["Location"])
    raise AssertionError(url)


def saved_token(settings: Settings) -> oauth.Token | None:
    return TokenFile(settings.state_dir / oauth.TOKEN_FILE).load()


def test_idle_login_has_no_messages(login: SpotifyLogin) -> None:
    assert (login.url, login.is_done, login.lines) == ("", False, [])
    login.paste("http://127.0.0.1:8888/callback?code=a&state=b")
    login.stop()


def test_completes_with_a_pasted_url(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    login.paste(redirect_of(login.url))
    wait_until(lambda: login.is_done and not login.url)
    token = saved_token(settings)
    assert token
    assert (settings.state_dir / oauth.TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    messages = "\n".join([*login.lines, repr(login)])
    assert token.refresh_token not in messages
    assert DEMO_CLIENT_SECRET not in messages


def test_completes_with_the_callback_even_in_a_flood(login: SpotifyLogin, settings: Settings) -> None:
    login.begin()
    target = redirect_of(login.url)
    callback = urlsplit(settings.redirect_uri)
    address = (str(callback.hostname), int(callback.port or 0))
    wait_until(lambda: is_listening(*address))
    silent = [socket.create_connection(address, 20) for _ in range(50)]
    for _ in range(150):
        with socket.create_connection(address, 20) as other, suppress(ConnectionError):
            other.sendall(b"GET /callback?code=x&state=wrong HTTP/1.1\r\n\r\n")
            other.recv(1000)
    with urllib.request.urlopen(target, timeout=20) as answer:
        assert b"The answer has arrived" in answer.read()
    wait_until(lambda: login.is_done)
    assert saved_token(settings)
    assert len(login.lines) < 10
    for each in silent:
        each.close()


def test_can_be_repeated_after_invalid_text_and_after_declining(
    login: SpotifyLogin, settings: Settings
) -> None:
    login.begin()
    url = login.url
    for text in ("", "nonsense", "http://127.0.0.1/cb?code=x", "http://127.0.0.1/cb?code=x&state=other"):
        login.paste(text)
    assert login.url == url
    assert len(login.lines) == 3
    assert "no code" in login.lines[0]
    state = url.partition("state=")[2].partition("&")[0]
    login.paste(f"?error=access_denied&state={state}")
    wait_until(lambda: not login.url)
    assert not login.is_done
    assert "access_denied" in login.lines[-1]
    login.begin()
    login.paste(redirect_of(login.url))
    wait_until(lambda: login.is_done)
    assert saved_token(settings)


def test_a_new_attempt_cancels_the_previous_one(login: SpotifyLogin) -> None:
    login.begin()
    first = redirect_of(login.url)
    login.begin()
    login.paste(first)
    assert not login.is_done
    assert "another login attempt" in login.lines[-1]


@pytest.mark.parametrize("fault", ["invalid_grant", "rate_limit"])
def test_spotify_refuses_the_token(
    login: SpotifyLogin, settings: Settings, service: Service, fault: str
) -> None:
    login.begin()
    target = redirect_of(login.url)
    service.faults.add(Fault(fault, path=TOKEN_PATH, value=3600), time.time())
    login.paste(target)
    wait_until(lambda: not login.url)
    assert not login.is_done
    assert login.lines
    assert saved_token(settings) is None


def test_reports_wrong_settings(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="SPOTIFY_CLIENT_ID is missing"):
        SpotifyLogin(replace(settings, client_id="")).begin()
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="set STATE_DIR"):
        SpotifyLogin(replace(settings, state_dir=tmp_path / "file" / "folder")).begin()
