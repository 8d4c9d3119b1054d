"""The login: print the authorization URL, and take the redirect from the browser or the terminal."""

import base64
import hashlib
import html
import os
import secrets
import select
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TextIO
from urllib.parse import parse_qs, urlencode, urlsplit

from spotify_logger.config.settings import Settings, is_loopback
from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.core.times import local
from spotify_logger.spotify import oauth
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, SpotifyLoggerError, TryLater

SCOPES = "user-read-playback-state user-read-recently-played"
POLL_SECONDS = 0.2  # seconds between two looks for an answer from the browser
MAX_LINE_BYTES = 16 * 1024  # bytes of a pasted line; a terminal passes on 4 KiB at most, and whole lines

STYLE = """
:root { color-scheme: light dark; }
body { background: light-dark(#f6f7f5, #0e1311); color: light-dark(#16201b, #eaf1ec); }
main { max-width: 32rem; margin: 4rem auto; padding: 1.25rem; font: 100%/1.5 system-ui, sans-serif;
  background: light-dark(#fff, #171e1a); border: 1px solid light-dark(#d3d8d3, #303b35);
  border-radius: .75rem; }
h1 { margin: 0 0 .5rem; font-size: 1.4rem; color: light-dark(#0b6b39, #4fd88c); }
h1.bad { color: light-dark(#a3231b, #ff9a8f); }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Spotify Logger</title><link rel="icon" href="data:,"><style>{style}</style>
<main><h1 class="{kind}">{title}</h1><p>{text}</p></main></html>
"""
# The URL of this page contains the code, so it must not be cached, nor passed on.
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; img-src data:; style-src 'sha256-{STYLE_HASH}'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Connection": "close",
}


def login(settings: Settings, stdin: TextIO | None, stdout: TextIO, owner: str = "") -> Token:
    """Ask the listener to log in until it succeeds; save the token, replacing any other, and return it.

    The redirect URL may be pasted into `stdin`. A login with another account than `owner`, if that is known,
    has to be confirmed. Raises LoginNeeded if the redirect can neither be pasted nor received, Misconfigured
    if Spotify does not know the client, or the token cannot be written, and NotBefore for a rate limit.
    """
    write, lines = partial(write_line, stdout), _input_lines(stdin)
    token, is_shown = None, None
    while token is None:
        attempt = LoginAttempt(settings, write)
        with attempt.listen() as is_listening:
            attempt.say("To log in to Spotify, open this address in a browser:")
            write(f"\n{attempt.url}\n")
            if is_shown is None:
                is_shown = open_browser(attempt.url)
                attempt.explain(shown=is_shown, listening=is_listening)
            while not attempt.answer:
                pasted = next(lines)
                if pasted is None and not is_listening:
                    raise LoginNeeded("login aborted: the answer can neither be pasted nor received here")
                for line in pasted or []:
                    attempt.take_line(line)
            token = attempt.finish(owner, partial(_is_wanted, attempt, lines))
    return token


def check_client(settings: Settings) -> None:
    """Raise UnknownClient if Spotify refuses client ID and secret; without an answer, that is not known.

    The grant is for the app alone (Spotify's tutorial "client-credentials-flow"), so it needs a secret.
    """
    if settings.client_secret:
        with HttpSender() as send, suppress(TryLater, NotBefore):
            form = {"grant_type": "client_credentials"}
            oauth.request_token(send, settings, form, Token(""), time.time())


def open_browser(url: str) -> bool:
    """Open `url` in a browser with a window on this screen; return False if there is none."""
    is_text_only = sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if "SSH_CONNECTION" in os.environ or is_text_only:  # a text browser would take over this terminal
        return False
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(url)
    return False


def authorize_url(settings: Settings, state: str, verifier: str) -> str:
    """Return the URL of the consent page (Spotify's tutorials "code-flow" and "code-pkce-flow")."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": settings.client_id,
        "response_type": "code",
        "redirect_uri": settings.redirect_uri,
        "state": state,
        "scope": SCOPES,
        "code_challenge_method": "S256",
        "code_challenge": challenge,
        # Without the dialog there might be no new consent, and the six months would not restart.
        "show_dialog": "true",
    }
    return f"{settings.accounts_url}/authorize?{urlencode(query)}"


def write_line(stdout: TextIO, text: str) -> None:
    """Print a text for the person who logs in."""
    with suppress(OSError, ValueError):  # the terminal is gone; the browser may still answer
        print(text, file=stdout, flush=True)


class LoginAttempt:
    """One authorization URL, its PKCE code verifier, and the fields of the redirect once it has arrived.

    The person who logs in is told what happens by `write`, a line at a time.
    """

    def __init__(self, settings: Settings, write: Callable[[str], object]) -> None:
        self.settings, self._write = settings, write
        self.last = ""  # the line that was written last
        self.answer: dict[str, str] = {}
        self.is_over = threading.Event()  # an answer has arrived, or none is awaited any more
        self.is_done = False  # the token is saved
        self._result: Future[str] = Future()
        self._state, self._verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(64)
        self.url = authorize_url(settings, self._state, self._verifier)

    def say(self, text: str) -> None:
        """Write one line."""
        self.last = log.sanitize(text)
        self._write(self.last)

    def explain(self, *, shown: bool, listening: bool) -> None:
        """Write how the redirect gets here, which depends on where the browser runs."""
        redirect_uri = self.settings.redirect_uri
        if not listening:
            self.say("Then paste the address that the browser ends up at here.")
        elif shown:
            self.say("It should open in a browser now; the answer then arrives here automatically.")
            self.say("If not, paste the address that the browser ends up at here.")
        else:
            parts = urlsplit(redirect_uri)
            self.say("This machine has no browser: open the address on another one. The browser there will")
            self.say("end on a page that does not load: paste that page's address here. Or connect to this")
            self.say(f"machine with ssh -L {parts.port}:{parts.netloc} user@host first: then the answer")
            self.say("arrives automatically.")
        self.say(f'If Spotify says "Invalid redirect URI": register exactly {redirect_uri} in its dashboard.')

    def take_request(self, target: str) -> tuple[HTTPStatus, str]:
        """Handle a request to the callback server, in its thread; return status and text of the page."""
        path, _, query = target.partition("?")
        if path != (urlsplit(self.settings.redirect_uri).path or "/"):
            return HTTPStatus.NOT_FOUND, "Not found."
        if trouble := self._take(f"?{query}"):
            self.say(f"The browser returned an answer that cannot be used. {trouble}")
            return HTTPStatus.BAD_REQUEST, trouble
        text = self._result.result()
        if self.is_done:
            return HTTPStatus.OK, f"{text} You can close this page."
        return HTTPStatus.BAD_REQUEST, f"{text} Continue where you started the login."

    @contextmanager
    def listen(self) -> Iterator[bool]:
        """Take requests of the browser during the block, and yield whether that is possible.

        After the block, the browser shows what was said last, or the error that ended the block.
        """
        parts, server = urlsplit(self.settings.redirect_uri), None
        if parts.scheme == "http" and is_loopback(parts.hostname or ""):
            try:
                server = CallbackServer(parts.hostname or "", parts.port or 0, self.take_request)
            except OSError as error:
                self.say(
                    f"cannot listen on port {parts.port} ({os.strerror(error.errno or 0)}): perhaps another"
                    " login or program uses it (`ss -ltnp` shows which). You can still paste the address."
                )
        with server or nullcontext():
            try:
                yield server is not None
            except SpotifyLoggerError as error:
                self.show(f"{error}.")
                raise
            finally:
                self.show(self.last)

    def show(self, text: str) -> None:
        """Let the browser show a text if it waits for one."""
        if not self._result.done():
            self._result.set_result(text)

    def finish(self, owner: str, confirm: Callable[[str], bool]) -> Token | None:
        """Exchange the code of the redirect for a token, and save it; None, and a message, to try again.

        A conflict with the account `owner` of the log has to be confirmed. The errors are those of `login`.
        """
        if refusal := self.answer.get("error"):
            self.say(f"Spotify did not log you in ({log.sanitize(refusal, log.DETAIL_LIMIT)}).")
            return None
        form = {
            "grant_type": "authorization_code",
            "code": self.answer["code"],
            "redirect_uri": self.settings.redirect_uri,
            "code_verifier": self._verifier,
        }
        with HttpSender() as send:
            try:
                token = oauth.request_token(send, self.settings, form, Token(""), time.time())
            except (LoginNeeded, TryLater) as error:
                self.say(f"{error}.")
                return None
            with suppress(TryLater):
                token, _ = oauth.with_account(send, self.settings, token)
        granted = (token.scope or SCOPES).split()
        if missing := ", ".join(scope for scope in SCOPES.split() if scope not in granted):
            self.say(f"Spotify did not grant {missing}, which is required.")
            return None
        if (conflict := oauth.account_conflict(token, owner)) and not confirm(conflict):
            return None
        token_file = TokenFile(self.settings.state_dir / TOKEN_FILE)
        try:
            token_file.save(token)
        except OSError as error:
            raise Misconfigured(
                f"{token_file.path} cannot be written ({error.strerror}): the login is not saved"
            ) from None
        end = oauth.valid_until(token)
        day = f"{local(end):%Y-%m-%d}" if end else "an unknown day"
        self.say(f"Logged in. Spotify will ask for a new login by {day}.")
        self.is_done = True
        return token

    def take_line(self, text: str) -> None:
        """Handle a pasted line."""
        if text.strip() and (trouble := self._take(text)):
            self.say(trouble)

    def _take(self, address: str) -> str:
        """Keep a redirect of this attempt, given by URL or query, and return ""; else, what is wrong."""
        query = address.strip().partition("#")[0]
        redirect = {name: values[0] for name, values in parse_qs(query.partition("?")[2] or query).items()}
        if not {"code", "error"} & redirect.keys() or "state" not in redirect:
            return "This contains no code, or no state. Paste the whole address that the browser ended up at."
        if redirect["state"] != self._state:
            return "This belongs to another login attempt. Open the last address printed here."
        self.answer = self.answer or redirect
        self.is_over.set()
        return ""


class CallbackServer(ThreadingTCPServer):
    """An HTTP server on a loopback address that answers only `GET`, within a `with` block.

    `take_request` takes the target of a request ("/callback?code=...") in another thread, one at a time, and
    returns status and text of the page. Not a `ThreadingHTTPServer`, which looks up the name of the address.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, host: str, port: int, take_request: Callable[[str], tuple[HTTPStatus, str]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.take_request = take_request
        self.is_answering = threading.Lock()
        super().__init__((host, port), _CallbackHandler)
        threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        with self.is_answering:  # the browser is still to be told whether the login worked
            pass


class _CallbackHandler(BaseHTTPRequestHandler):
    protocol_version = default_request_version = "HTTP/1.1"  # what is not HTTP gets headers, too
    timeout = 10.0  # seconds to wait for the next bytes of a request
    server: CallbackServer

    def handle(self) -> None:
        with suppress(OSError):  # the client has disconnected
            super().handle()

    def do_GET(self) -> None:
        with self.server.is_answering:
            status, text = self.server.take_request(self.path)
            title, kind = ("Logged in", "good") if status == HTTPStatus.OK else ("Not logged in", "bad")
            page = PAGE.format(style=STYLE, title=title, kind=kind, text=html.escape(text)).encode()
            self.send_response_only(status)
            for name, value in {**PAGE_HEADERS, "Content-Length": str(len(page))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


def _input_lines(stdin: TextIO | None) -> Iterator[list[str] | None]:
    """Yield the lines that arrive within `POLL_SECONDS`, again and again; None once there will be no more."""
    with suppress(OSError, ValueError):  # it is missing, closed or not a real file, or the terminal is gone
        descriptor, is_open = stdin.fileno() if stdin else -1, True
        while is_open:
            readable, _, _ = select.select([descriptor], [], [], POLL_SECONDS)
            chunk = os.read(descriptor, MAX_LINE_BYTES) if readable else b""
            is_open = chunk != b"" or not readable
            yield chunk.decode(errors="replace").splitlines()
    while True:
        yield None
        time.sleep(POLL_SECONDS)


def _is_wanted(attempt: LoginAttempt, lines: Iterator[list[str] | None], conflict: str) -> bool:
    """Ask whether a login that conflicts with the account of the log is meant; no answer means no."""
    attempt.say(f"{conflict[:1].upper()}{conflict[1:]}.")
    attempt.show(attempt.last)
    attempt.say("Add what this account plays to the log from now on? [y/N]")
    answer = next(found for found in lines if found is None or found) or [""]
    is_wanted = answer[0].strip().casefold() in {"y", "yes"}
    if not is_wanted:
        attempt.say("Not saved. Log out of Spotify in the browser, and try again with the other account:")
    return is_wanted
