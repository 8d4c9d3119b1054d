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
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.config.settings import load
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.faults import TOKEN_PATH, Fault
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import login as login_room
from spotify_logger.spotify import oauth
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.login import login, open_desktop_browser, parse_redirect
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.config.settings import Settings
    from spotify_logger.simulator.timeline import ListeningHistory

CONSENT = 1_790_000_000.0  # 2026-09-21
SOON = 30.0


@pytest.fixture(autouse=True)
def _nothing_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_secrets", set())
    monkeypatch.setattr(login_room, "RETRY_DELAYS", (0.0, 0.0))


@pytest.fixture(scope="module")
def record() -> ListeningHistory:
    return listen(1, 0.1)


@pytest.fixture
def service(record: ListeningHistory) -> Service:
    return Service(record)


@pytest.fixture
def accounts(service: Service) -> Iterator[str]:
    """The address of a simulated accounts service on a real port."""
    server = SimulatorServer(service, now=lambda: CONSENT)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


class Screen(io.StringIO):
    """What was printed; somebody may wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._more = threading.Condition()

    def write(self, text: str) -> int:
        with self._more:
            self._more.notify_all()
            return super().write(text)

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Return the last match, once there are so many."""
        with self._more:
            assert self._more.wait_for(lambda: len(re.findall(pattern, self.getvalue())) >= times, SOON), (
                self.getvalue()
            )
        return str(re.findall(pattern, self.getvalue())[times - 1])


class Person:
    """Somebody at a terminal who logs in, with a browser at hand."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.screen = Screen()
        self.token_file = TokenFile(settings.state_dir / oauth.TOKEN_FILE)
        self.opened: list[str] = []
        self.has_browser = False
        self.now = CONSENT
        """What this machine's clock says."""

    @contextmanager
    def logging_in(self, stdin: TextIO | None = None) -> Iterator[Future[None]]:
        """Run the login in a thread; what is typed goes through a pipe, unless there is another `stdin`."""
        done: Future[None] = Future()
        read, write = os.pipe()
        with (
            os.fdopen(read) as terminal,
            os.fdopen(write, "w", buffering=1) as self.keyboard,
            closing(HttpSender()) as send,
        ):
            # A daemon: whatever fails, the tests do not wait for it.
            threading.Thread(target=self._log_in, args=(done, send, stdin or terminal), daemon=True).start()
            yield done

    def _log_in(self, done: Future[None], send: HttpSender, stdin: TextIO) -> None:
        try:
            login(self.settings, send, self.token_file, stdin, self.screen, self._open, lambda: self.now)
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            done.set_exception(error)
        else:
            done.set_result(None)

    def _open(self, url: str) -> bool:
        self.opened.append(url)
        return self.has_browser

    def address(self, times: int = 1) -> str:
        """The address to open, as printed for the so-manieth time."""
        return self.screen.wait_for(r"\n(http\S+/authorize\?\S+)\n", times)

    def agree(self, times: int = 1) -> str:
        """Open the address and agree; return where the browser is sent."""
        return sent_to(self.address(times))

    def paste(self, text: str) -> None:
        self.keyboard.write(f"{text}\n")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def sent_to(url: str) -> str:
    """Where a browser is sent from this address."""
    with pytest.raises(HTTPError) as caught:
        urllib.request.build_opener(_Stay).open(url, timeout=SOON)
    with caught.value as answer:
        return str(answer.headers["Location"])


def visit(url: str, method: str = "GET") -> tuple[int, str]:
    """What a browser is told at this address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=SOON) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def changed(url: str, **fields: str | None) -> str:
    """The address with some fields of its query changed, or left out."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | fields
    return parts._replace(
        query=urlencode({name: value for name, value in query.items() if value is not None})
    ).geturl()


@pytest.fixture
def person(tmp_path: Path, accounts: str) -> Person:
    environ = {
        "HOME": str(tmp_path),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
        "SPOTIFY_ACCOUNTS_URL": accounts,
    }
    return Person(load(tmp_path, environ))


def assert_logged_in(person: Person, done: Future[None]) -> None:
    done.result(SOON)
    token = TokenFile(person.settings.state_dir / oauth.TOKEN_FILE).load()
    assert token
    assert token.refresh_token.startswith("AQ")
    assert token.access_token.startswith("BQ")
    assert (token.authorized_at, token.dead_at, token.scope) == (CONSENT, None, oauth.SCOPES)
    assert "Logged in. Spotify will want this again by 2027-03-2" in person.screen.getvalue()
    for secret in (token.refresh_token, token.access_token, DEMO_CLIENT_SECRET):
        assert secret not in person.screen.getvalue()


@pytest.mark.parametrize("secret", [DEMO_CLIENT_SECRET, ""])
def test_the_answer_arrives_by_the_browser(person: Person, secret: str) -> None:
    person.settings = replace(person.settings, client_secret=secret)
    person.has_browser = True
    with person.logging_in() as done:
        status, page = visit(person.agree())
        assert_logged_in(person, done)
    assert status == 200
    assert "You can close this" in page
    assert person.opened == [person.address()]
    assert "A browser should show it now" in person.screen.getvalue()


def test_the_answer_arrives_by_pasting(person: Person) -> None:
    with person.logging_in() as done:
        person.paste(f"  {person.agree()}#_=_ ")
        assert_logged_in(person, done)
    port = urlsplit(person.settings.redirect_uri).port
    assert f"ssh -L {port}:127.0.0.1:{port} user@host" in person.screen.getvalue()
    assert f"register exactly {person.settings.redirect_uri}" in person.screen.getvalue()


def test_only_the_query_of_the_address_will_do_as_its_state_is_there(person: Person) -> None:
    with person.logging_in() as done:
        person.paste(urlsplit(person.agree()).query)
        assert_logged_in(person, done)


@pytest.mark.parametrize("uri", ["https://example.org/callback", "https://127.0.0.1:8888/callback"])
def test_an_address_elsewhere_is_only_pasted(person: Person, uri: str) -> None:
    person.settings = replace(person.settings, redirect_uri=uri)
    with person.logging_in() as done:
        person.paste(person.agree())
        assert_logged_in(person, done)
    assert "Then paste here" in person.screen.getvalue()
    assert "ssh -L" not in person.screen.getvalue()


@pytest.mark.parametrize("now", [60.0, CONSENT - 86400, CONSENT + 86400])
def test_the_login_is_as_old_as_spotify_says_on_a_machine_with_a_wrong_clock(
    person: Person, now: float
) -> None:
    person.now = now
    with person.logging_in() as done:
        person.paste(person.agree())
        assert_logged_in(person, done)


def test_a_new_login_wins_over_whatever_was_there(person: Person) -> None:
    person.token_file.save(
        Token("old", "old", CONSENT, dead_at=CONSENT - 1, dead_reason="revoked", asked_at=1.0)
    )
    with person.logging_in() as done:
        person.paste(person.agree())
        assert_logged_in(person, done)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"state": "another"}, "This belongs to another login attempt"),
        ({"state": None}, "This contains no state"),
        ({"code": None}, "This contains no code"),
        ({"code": None, "error": "access_denied", "state": "another"}, "This belongs to another"),
    ],
)
def test_an_answer_that_does_not_belong_here_is_refused_and_the_waiting_goes_on(
    person: Person, fields: dict[str, str | None], said: str
) -> None:
    with person.logging_in() as done:
        right = person.agree()
        status, page = visit(changed(right, **fields))
        assert status == 400
        assert said in page
        person.paste(changed(right, **fields))
        person.screen.wait_for(said, 2)
        assert not done.done()
        visit(right)
        assert_logged_in(person, done)
    assert len(person.opened) == 1
    assert person.screen.getvalue().count("/authorize?") == 1


@pytest.mark.parametrize(
    "text", ["AQBcode-without-anything", "http://127.0.0.1:8888/callback", "no", "\x1b[2J?&&=%ff"]
)
def test_what_is_no_address_is_refused_politely(person: Person, text: str) -> None:
    with person.logging_in() as done:
        person.address()
        person.paste("")
        person.paste(text)
        person.screen.wait_for("Paste the whole address")
        person.paste(person.agree())
        assert_logged_in(person, done)
    assert person.screen.getvalue().count("Paste the whole") == 1
    assert "\x1b" not in person.screen.getvalue()


def test_other_requests_do_not_end_the_waiting(person: Person) -> None:
    with person.logging_in() as done:
        right = person.agree()
        root = person.settings.redirect_uri.removesuffix("/callback")
        assert visit(f"{root}/favicon.ico")[0] == 404
        assert visit(right.replace("/callback", "/callback/more"))[0] == 404
        assert visit(right, "POST")[0] == 405
        with socket.create_connection((urlsplit(root).hostname, urlsplit(root).port)) as silent:
            silent.sendall(b"GET /callback")
            visit(right)
            assert_logged_in(person, done)


def test_a_listener_who_declines_is_asked_again(person: Person, service: Service) -> None:
    service.faults.add(Fault("access_denied", requests=1), CONSENT)
    with person.logging_in() as done:
        assert visit(person.agree())[0] == 200
        person.screen.wait_for(r"Spotify did not log you in \(access_denied\). Once more:")
        assert person.address(2) != person.address(1)
        person.paste(person.agree(2))
        assert_logged_in(person, done)
    assert person.opened == [person.address(1)]


@pytest.mark.parametrize("how", ["used", "old"])
def test_a_code_that_is_not_taken_is_asked_for_again(person: Person, service: Service, how: str) -> None:
    with person.logging_in() as done:
        answer = person.agree()
        if how == "used":
            with closing(HttpSender()) as send, suppress(SpotifyLoggerError):
                code = parse_qs(urlsplit(answer).query)["code"][0]
                oauth.exchange_code(send, person.settings, code, "", CONSENT)
        else:
            service.faults.add(Fault("invalid_grant", requests=1), CONSENT)
        person.paste(answer)
        person.screen.wait_for(r"Spotify does not take this code \(invalid_grant: .*\)\. Once more:")
        person.paste(person.agree(2))
        assert_logged_in(person, done)


def test_an_old_answer_does_not_fit_a_new_attempt(person: Person, service: Service) -> None:
    service.faults.add(Fault("invalid_grant", requests=1), CONSENT)
    with person.logging_in() as done:
        first = person.agree()
        visit(first)
        person.address(2)
        assert visit(first)[0] == 400
        visit(person.agree(2))
        assert_logged_in(person, done)


def test_a_scope_that_was_not_given_is_asked_for_again(person: Person) -> None:
    with person.logging_in() as done:
        person.paste(sent_to(changed(person.address(), scope="user-read-playback-state")))
        person.screen.wait_for("Spotify did not permit user-read-recently-played, which is needed")
        person.paste(person.agree(2))
        assert_logged_in(person, done)


def test_a_passing_fault_is_waited_out(person: Person, service: Service) -> None:
    service.faults.add(Fault("error_503", path=TOKEN_PATH, requests=1), CONSENT)
    service.faults.add(Fault("rate_limit", path=TOKEN_PATH, requests=1, value=1), CONSENT)
    with person.logging_in() as done:
        person.paste(person.agree())
        assert_logged_in(person, done)
    assert "answers 503" in person.screen.getvalue()
    assert "asks to wait for 1 s. Trying again in 1 s." in person.screen.getvalue()


def test_a_fault_that_stays_costs_the_code_and_another_is_asked_for(person: Person, service: Service) -> None:
    service.faults.add(Fault("reset", path=TOKEN_PATH, requests=3), CONSENT)
    with person.logging_in() as done:
        person.paste(person.agree())
        person.screen.wait_for("Trying again in 0 s", 2)
        person.paste(person.agree(2))
        assert_logged_in(person, done)


def test_a_long_rate_limit_ends_the_login(person: Person, service: Service) -> None:
    service.faults.add(Fault("rate_limit", path=TOKEN_PATH, value=3600), CONSENT)
    with person.logging_in() as done:
        person.paste(person.agree())
        with pytest.raises(NotBefore, match="asks to wait for 3600 s"):
            done.result(SOON)
    assert not (person.settings.state_dir / oauth.TOKEN_FILE).exists()


def test_a_wrong_secret_names_the_setting(person: Person) -> None:
    person.settings = replace(person.settings, client_secret="wrong-secret")
    with person.logging_in() as done:
        person.paste(person.agree())
        with pytest.raises(
            Misconfigured, match=r"Invalid client secret\): correct SPOTIFY_CLIENT_ID and SPOTIFY"
        ):
            done.result(SOON)


def test_a_port_in_use_leaves_pasting(person: Person) -> None:
    parts = urlsplit(person.settings.redirect_uri)
    with socket.create_server((str(parts.hostname), parts.port or 0)), person.logging_in() as done:
        person.paste(person.agree())
        assert_logged_in(person, done)
    said = person.screen.getvalue()
    assert f"cannot listen on port {parts.port} (Address already in use)" in said
    assert "You can still paste" in said


def test_a_port_that_is_free_again_is_listened_to_at_the_next_attempt(person: Person) -> None:
    parts = urlsplit(person.settings.redirect_uri)
    with socket.create_server((str(parts.hostname), parts.port or 0)) as other, person.logging_in() as done:
        person.screen.wait_for("cannot listen")
        other.close()
        person.paste(changed(person.agree(), code=None, error="access_denied"))
        visit(person.agree(2))
        assert_logged_in(person, done)


def test_the_end_of_the_input_leaves_the_browser(person: Person) -> None:
    with person.logging_in() as done:
        right = person.agree()
        person.keyboard.write("half a line")
        person.keyboard.close()
        person.screen.wait_for("This contains no code")
        assert not done.done()
        visit(right)
        assert_logged_in(person, done)


def no_input() -> TextIO:
    with Path(os.devnull).open() as closed:
        return closed


@pytest.mark.parametrize("stdin", [io.StringIO("no real file"), no_input()])
def test_without_input_from_the_beginning_the_browser_will_do(person: Person, stdin: TextIO) -> None:
    with person.logging_in(stdin) as done:
        visit(person.agree())
        assert_logged_in(person, done)


def test_an_input_that_has_ended_from_the_beginning_will_do_too(person: Person) -> None:
    with Path(os.devnull).open() as nothing, person.logging_in(nothing) as done:
        visit(person.agree())
        assert_logged_in(person, done)


def test_with_neither_input_nor_listener_the_login_is_given_up(person: Person) -> None:
    person.settings = replace(person.settings, redirect_uri="https://example.org/")
    with person.logging_in() as done:
        person.address()
        person.keyboard.close()
        with pytest.raises(LoginNeeded, match="given up"):
            done.result(SOON)


def test_a_token_that_cannot_be_kept_is_one_line(person: Person) -> None:
    with person.logging_in() as done:
        right = person.agree()
        person.settings.state_dir.rmdir()
        person.paste(right)
        with pytest.raises(
            Misconfigured, match=r"/token\.json cannot be written \(No such file or directory\)"
        ):
            done.result(SOON)


def test_a_screen_that_is_gone_does_not_end_the_login(person: Person) -> None:
    person.has_browser = True
    with person.logging_in() as done:
        right = person.agree()
        person.screen.close()
        visit(right)
        done.result(SOON)
    assert person.token_file.load()


@pytest.mark.parametrize(
    ("environ", "platform", "shown"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "linux", False),
        ({}, "darwin", True),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], platform: str, *, shown: bool
) -> None:
    opened: list[str] = []

    def show(url: str) -> bool:
        opened.append(url)
        return True

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(webbrowser, "open", show)
    assert open_desktop_browser("http://x/") is shown
    assert opened == (["http://x/"] if shown else [])


def test_a_browser_that_cannot_be_started_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr(webbrowser, "open", fail)
    assert not open_desktop_browser("http://x/")


@settings(deadline=None)
@given(st.text() | st.text("?&=#%:/[]codestaerr1\ud800\x1b", max_size=60))
def test_any_address_can_be_read(address: str) -> None:
    redirect = parse_redirect(address)
    assert redirect.error.isprintable()
    assert not redirect.code or redirect.code not in repr(redirect) or len(redirect.code) < 8


def test_too_many_fields_are_no_fields() -> None:
    assert parse_redirect("?" + "&".join(["code=1"] * 21)).code == ""
