"""The login from the page, against the simulated accounts service on a real port."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.simulator.accounts import DEMO_CLIENT_SECRET
from spotify_logger.simulator.faults import TOKEN_PATH, Fault
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.service import Service
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.login import LoginThread
from tests.conftest import wait_until
from tests.simulated_login import login_settings, redirect_of, simulated_spotify
from tests.web.page import settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())


@pytest.fixture
def service() -> Service:
    return Service(listen(1, 0.1))


@pytest.fixture
def settings(service: Service, tmp_path: Path) -> Iterator[Settings]:
    with simulated_spotify(service) as spotify:
        yield settings_for(
            "", tmp_path, **login_settings(spotify.url), STATE_DIR=str(tmp_path / "not" / "there")
        )


@pytest.fixture
def login(settings: Settings) -> Iterator[LoginThread]:
    login = LoginThread(settings)
    login.start()
    yield login
    login.stop()


def saved_token(settings: Settings) -> Token | None:
    return TokenFile(settings.state_dir / TOKEN_FILE).load()


def test_completes_with_a_pasted_url(login: LoginThread, settings: Settings) -> None:
    login.attempt.take_line(redirect_of(login.url))
    wait_until(lambda: login.attempt.is_done and not login.url)
    token = saved_token(settings)
    assert token
    assert (settings.state_dir / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    messages = "\n".join([*login.lines, repr(login)])
    assert token.refresh_token not in messages
    assert DEMO_CLIENT_SECRET not in messages


def test_can_be_repeated_after_invalid_text_and_after_declining(
    login: LoginThread, settings: Settings
) -> None:
    url = login.url
    for text in ("", "nonsense", "http://127.0.0.1/cb?code=x", "http://127.0.0.1/cb?code=x&state=other"):
        login.attempt.take_line(text)
    assert login.url == url
    assert len(login.lines) == 3
    assert "no code" in login.lines[0]
    state = url.partition("state=")[2].partition("&")[0]
    login.attempt.take_line(f"?error=access_denied&state={state}")
    wait_until(lambda: not login.url)
    assert not login.attempt.is_done
    assert "access_denied" in login.lines[-1]
    again = LoginThread(settings)
    again.start()
    again.attempt.take_line(redirect_of(again.url))
    wait_until(lambda: again.attempt.is_done)
    assert saved_token(settings)


def test_refuses_another_account_than_that_of_the_log(settings: Settings) -> None:
    login = LoginThread(settings, "anna")
    login.start()
    login.attempt.take_line(redirect_of(login.url))
    wait_until(lambda: not login.url)
    assert not login.attempt.is_done
    assert "anna" in login.lines[-1]
    assert saved_token(settings) is None


@pytest.mark.parametrize("fault", ["invalid_grant", "rate_limit"])
def test_spotify_refuses_the_token(
    login: LoginThread, settings: Settings, service: Service, fault: str
) -> None:
    target = redirect_of(login.url)
    service.faults.add(Fault(fault, path=TOKEN_PATH, value=3600), time.time())
    login.attempt.take_line(target)
    wait_until(lambda: not login.url)
    assert not login.attempt.is_done
    assert login.lines
    assert saved_token(settings) is None


def test_reports_wrong_settings(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="SPOTIFY_CLIENT_ID is missing"):
        LoginThread(replace(settings, client_id=""))
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="set STATE_DIR"):
        LoginThread(replace(settings, state_dir=tmp_path / "file" / "folder"))
