from __future__ import annotations

import io
import os
import re
import socket
import sys
import threading
import urllib.request
import webbrowser
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO
from unittest.mock import Mock
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from spotify_logger.config.settings import load
from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.simulator.accounts import DEMO_CLIENT_SECRET
from spotify_logger.simulator.faults import TOKEN_PATH, Fault
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.service import PROFILE_PATH, Service
from spotify_logger.spotify import login as login_module
from spotify_logger.spotify.login import login, open_browser
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore
from tests.conftest import wait_until
from tests.simulated_login import login_settings, redirect_of, simulated_spotify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings

CONSENT = 1_790_000_000.0  # 2026-09-21
TIMEOUT = 30.0


@pytest.fixture(autouse=True)
def _no_concealed_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())


@pytest.fixture
def service() -> Service:
    return Service(listen(1, 0.1))


class LoginUser:
    """A person who logs in on a terminal and in a browser."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.screen = io.StringIO()
        self.token_file = TokenFile(settings.state_dir / TOKEN_FILE)
        self.opened: list[str] = []
        self.has_browser = False
        self.owner = ""

    @contextmanager
    def logging_in(self) -> Iterator[Future[None]]:
        """Run the login in a thread; the keyboard is a pipe."""
        done: Future[None] = Future()
        read, write = os.pipe()
        with os.fdopen(read) as terminal, os.fdopen(write, "w", buffering=1) as self.keyboard:
            # A daemon thread: whatever fails, the tests do not wait for it.
            threading.Thread(target=self._log_in, args=(done, terminal), daemon=True).start()
            yield done

    def _log_in(self, done: Future[None], stdin: TextIO) -> None:
        try:
            login(self.settings, stdin, self.screen, self.owner)
        except BaseException as error:  # noqa: BLE001 - for the test that waits
            done.set_exception(error)
        else:
            done.set_result(None)

    def open(self, url: str) -> bool:
        self.opened.append(url)
        return self.has_browser

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Return the match number `times` of a pattern on the screen, once there are as many."""
        wait_until(lambda: len(re.findall(pattern, self.screen.getvalue())) >= times, TIMEOUT)
        return str(re.findall(pattern, self.screen.getvalue())[times - 1])

    def address(self, times: int = 1) -> str:
        """Return the URL that was printed first, or later."""
        return self.wait_for(r"\n(http\S+/authorize\?\S+)\n", times)

    def consent(self, times: int = 1) -> str:
        """Open the URL and agree; return the redirect."""
        return redirect_of(self.address(times))

    def paste(self, text: str) -> None:
        self.keyboard.write(f"{text}\n")

    def assert_logged_in(self, done: Future[None]) -> None:
        done.result(TIMEOUT)
        token = TokenFile(self.token_file.path).load()
        assert token
        assert token.refresh_token.startswith("AQ")
        assert (token.authorized_at, token.dead_reason, token.scope) == (CONSENT, "", login_module.SCOPES)
        assert "Logged in. Spotify will ask for a new login by 2027-03-2" in self.screen.getvalue()
        for secret in (token.refresh_token, token.access_token, DEMO_CLIENT_SECRET):
            assert secret not in self.screen.getvalue()


def visit(url: str) -> tuple[int, str]:
    """Return the status and the page that a browser gets."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def with_query(url: str, **fields: str | None) -> str:
    """Return the URL with some fields of its query changed, or left out if they are None."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | fields
    kept = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urlencode(kept)).geturl()


@pytest.fixture
def user(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoginUser]:
    with simulated_spotify(service, now=lambda: CONSENT) as spotify:
        user = LoginUser(
            load(tmp_path, {"STATE_DIR": str(tmp_path / "state"), **login_settings(spotify.url)})
        )
        monkeypatch.setattr(login_module, "open_browser", user.open)
        yield user


def test_redirect_arrives_from_the_browser_and_replaces_the_old_login(user: LoginUser) -> None:
    user.token_file.save(Token("old", "old", dead_reason="revoked", asked_at=CONSENT - 1))
    user.has_browser = True
    with user.logging_in() as done:
        status, page = visit(user.consent())
        user.assert_logged_in(done)
    assert status == 200
    assert re.search(r"Logged in\. Spotify will ask .* 2027-03-2.*You can close this", page)
    assert user.opened == [user.address()]
    assert "in a browser now" in user.screen.getvalue()


def test_redirect_can_be_pasted(user: LoginUser) -> None:
    with user.logging_in() as done:
        user.paste(f"  {user.consent()}#_=_ ")
        user.assert_logged_in(done)
    port = urlsplit(user.settings.redirect_uri).port
    assert f"ssh -L {port}:127.0.0.1:{port} user@host" in user.screen.getvalue()
    assert f"register exactly {user.settings.redirect_uri}" in user.screen.getvalue()


def test_query_of_a_redirect_elsewhere_can_only_be_pasted(user: LoginUser) -> None:
    user.settings = replace(user.settings, redirect_uri="https://127.0.0.1:8888/callback")
    with user.logging_in() as done:
        user.paste(urlsplit(user.consent()).query)
        user.assert_logged_in(done)
    assert "Then paste the address" in user.screen.getvalue()
    assert "ssh -L" not in user.screen.getvalue()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"state": "another"}, "another login attempt"),
        ({"state": None}, "no state"),
        ({"code": None, "error": "access_denied", "state": "another"}, "another login attempt"),
    ],
)
def test_foreign_redirect_is_refused_and_the_login_goes_on(
    user: LoginUser, fields: dict[str, str | None], word: str
) -> None:
    with user.logging_in() as done:
        right = user.consent()
        status, page = visit(with_query(right, **fields))
        assert status == 400
        assert word in page
        user.paste(with_query(right, **fields))
        user.wait_for(word, 2)
        assert not done.done()
        visit(right)
        user.assert_logged_in(done)
    assert len(user.opened) == 1
    assert user.screen.getvalue().count("/authorize?") == 1


def test_another_account_than_that_of_the_log_has_to_be_confirmed(user: LoginUser, service: Service) -> None:
    user.owner, service.account = "anna", "ben"
    with user.logging_in() as done:
        for number, answer in enumerate(("", "n", "y"), 1):
            status, page = visit(user.consent(number))
            assert (status, "account ben, but" in page) == (400, True)
            user.wait_for(r"account ben, but .* anna", number)
            assert not done.done()
            assert user.token_file.load() is None
            user.paste(answer)
        user.assert_logged_in(done)
    token = user.token_file.load()
    assert token
    assert token.account == "ben"


@pytest.mark.parametrize("owner", ["anna", ""])
def test_account_is_kept_with_the_login(user: LoginUser, service: Service, owner: str) -> None:
    user.owner, service.account = owner, "anna"
    with user.logging_in() as done:
        visit(user.consent())
        user.assert_logged_in(done)
    token = user.token_file.load()
    assert token
    assert token.account == "anna"


def test_login_goes_on_if_the_account_is_not_known(user: LoginUser, service: Service) -> None:
    user.owner = "anna"
    service.faults.add(Fault("error_503", path=PROFILE_PATH), CONSENT)
    with user.logging_in() as done:
        visit(user.consent())
        user.assert_logged_in(done)


@pytest.mark.parametrize("text", ["AQBcode", "\x1b[2J?&&=%ff", "http://[bad", "code=1&" * 21])
def test_anything_else_that_is_pasted_is_refused(user: LoginUser, text: str) -> None:
    with user.logging_in() as done:
        user.address()
        user.paste("")
        user.paste(text)
        user.wait_for("Paste the whole address")
        user.paste(user.consent())
        user.assert_logged_in(done)
    assert user.screen.getvalue().count("Paste the whole") == 1
    assert "\x1b" not in user.screen.getvalue()


def test_other_requests_do_not_disturb_the_login(user: LoginUser) -> None:
    with user.logging_in() as done:
        right = user.consent()
        root = user.settings.redirect_uri.removesuffix("/callback")
        assert visit(f"{root}/favicon.ico")[0] == 404
        assert visit(right.replace("/callback", "/callback/more"))[0] == 404
        visit(right)
        user.assert_logged_in(done)


def test_user_who_declines_is_asked_again(user: LoginUser, service: Service) -> None:
    service.faults.add(Fault("access_denied", requests=1), CONSENT)
    with user.logging_in() as done:
        status, page = visit(user.consent())
        assert (status, "access_denied" in page, "Not logged in" in page) == (400, True, True)
        assert user.address(2) != user.address(1)
        user.paste(user.consent(2))
        user.assert_logged_in(done)
    assert user.opened == [user.address(1)]


def test_refused_code_leads_to_a_new_attempt_that_needs_a_new_code(user: LoginUser, service: Service) -> None:
    service.faults.add(Fault("invalid_grant", requests=1), CONSENT)
    with user.logging_in() as done:
        first = user.consent()
        visit(first)
        user.wait_for("does not accept this code")
        user.address(2)
        assert visit(first)[0] == 400
        visit(user.consent(2))
        user.assert_logged_in(done)


def test_missing_scope_is_asked_for_again(user: LoginUser) -> None:
    with user.logging_in() as done:
        user.paste(redirect_of(with_query(user.address(), scope="user-read-playback-state")))
        user.wait_for("did not grant user-read-recently-played")
        user.paste(user.consent(2))
        user.assert_logged_in(done)


def test_failed_exchange_leads_to_a_new_attempt(user: LoginUser, service: Service) -> None:
    service.faults.add(Fault("error_503", path=TOKEN_PATH, requests=1), CONSENT)
    with user.logging_in() as done:
        user.paste(user.consent())
        user.wait_for("answers 503")
        user.paste(user.consent(2))
        user.assert_logged_in(done)


def test_rate_limit_ends_the_login(user: LoginUser, service: Service) -> None:
    service.faults.add(Fault("rate_limit", path=TOKEN_PATH, value=3600), CONSENT)
    with user.logging_in() as done:
        assert "3600 s" in visit(user.consent())[1]
        with pytest.raises(NotBefore, match="3600 s"):
            done.result(TIMEOUT)
    assert not user.token_file.path.exists()


def test_wrong_client_secret_names_the_settings(user: LoginUser) -> None:
    user.settings = replace(user.settings, client_secret="wrong-secret")
    with user.logging_in() as done:
        user.paste(user.consent())
        with pytest.raises(Misconfigured, match="correct SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET"):
            done.result(TIMEOUT)


def test_busy_port_leaves_pasting_and_is_tried_again(user: LoginUser) -> None:
    parts = urlsplit(user.settings.redirect_uri)
    with socket.create_server((str(parts.hostname), parts.port or 0)) as other, user.logging_in() as done:
        user.wait_for(f"cannot listen on port {parts.port}.*You can still paste")
        other.close()
        user.paste(with_query(user.consent(), code=None, error="access_denied"))
        visit(user.consent(2))
        user.assert_logged_in(done)


def test_end_of_the_input_leaves_the_browser(user: LoginUser) -> None:
    with user.logging_in() as done:
        right = user.consent()
        user.keyboard.write("half a line")
        user.keyboard.close()
        user.wait_for("no code")
        assert not done.done()
        visit(right)
        user.assert_logged_in(done)


def test_login_ends_with_neither_input_nor_server(user: LoginUser) -> None:
    user.settings = replace(user.settings, redirect_uri="https://example.org/")
    with user.logging_in() as done:
        user.address()
        user.keyboard.close()
        with pytest.raises(LoginNeeded, match="aborted"):
            done.result(TIMEOUT)


def test_token_that_cannot_be_saved_is_an_error(user: LoginUser) -> None:
    with user.logging_in() as done:
        right = user.consent()
        user.settings.state_dir.rmdir()
        assert "the login is not saved" in visit(right)[1]
        with pytest.raises(Misconfigured, match=r"/token\.json cannot be written"):
            done.result(TIMEOUT)


@pytest.mark.parametrize(
    ("environ", "platform", "is_shown"),
    [
        ({}, "linux", False),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "linux", False),
        ({}, "darwin", True),
    ],
)
def test_browser_is_opened_only_on_a_visible_screen(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], platform: str, *, is_shown: bool
) -> None:
    open_page = Mock(return_value=True)
    monkeypatch.setattr(os, "environ", environ)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(webbrowser, "open", open_page)
    assert open_browser("http://x/") is is_shown
    assert open_page.called is is_shown
