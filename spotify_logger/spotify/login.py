"""The login: print the authorization URL, and take the redirect from the browser or the terminal."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import secrets
import select
import sys
import time
import webbrowser
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TextIO
from urllib.parse import parse_qs, urlencode, urlsplit

from spotify_logger.config.settings import is_loopback
from spotify_logger.core.times import local
from spotify_logger.spotify import oauth
from spotify_logger.spotify.callback_server import CallbackServer
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send

SCOPES = "user-read-playback-state user-read-recently-played"
RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0)  # seconds between attempts to exchange a code, which expires soon
MAX_RATE_LIMIT_WAIT = 30.0  # the longest rate limit that is waited for, in seconds
POLL_SECONDS = 0.2  # seconds between two looks for an answer from the browser
MAX_LINE_BYTES = 16 * 1024  # bytes of a pasted line; the end of a longer one counts
_MAX_FIELDS = 20
_MAX_ERROR_LENGTH = 200


@dataclass(frozen=True)
class Redirect:
    """The parameters of the redirect; "" for missing ones."""

    state: str = field(repr=False)
    code: str = field(repr=False)
    error: str


def login(  # noqa: PLR0913, PLR0917 - everything it uses is injected
    settings: Settings,
    send: Send,
    token_file: TokenFile,
    stdin: TextIO | None,
    stdout: TextIO,
    open_browser: Callable[[str], bool],
    now: Callable[[], float],
    owner: str = "",
) -> Token:
    """Ask the listener to log in until it succeeds; save the token, replacing any other, and return it.

    The redirect URL may be pasted into `stdin`; `open_browser` returns whether a browser of this machine
    shows a URL; `now` returns the seconds since the epoch. A login with another account than `owner`, if that
    is known, has to be confirmed.

    Raises:
        LoginNeeded: The redirect can neither be pasted nor received.
        Misconfigured: Spotify does not know the client, or the token cannot be written.
        NotBefore: There is a rate limit of more than `MAX_RATE_LIMIT_WAIT`.
    """
    prompt, lines = Prompt(stdout), _input_lines(stdin)
    token, first = None, True
    while token is None:
        attempt = LoginAttempt(settings, prompt)
        with start_callback_server(attempt, prompt) as server:
            prompt.show_url(attempt.url)
            if first:
                shown = open_browser(attempt.url)
                prompt.explain(settings.redirect_uri, shown=shown, listening=server is not None)
            while attempt.answer is None:
                pasted = next(lines)
                if pasted is None and server is None:
                    raise LoginNeeded("login aborted: the answer can neither be pasted nor arrive by itself")
                for line in pasted or []:
                    attempt.take_line(line)
        token = exchange_redirect(send, attempt, attempt.answer, now, prompt)
        if token and not _is_wanted(oauth.account_conflict(token, owner), prompt, lines):
            token = None
        first = False
    save_token(token_file, token)
    end = oauth.valid_until(token)
    day = f"{local(end):%Y-%m-%d}" if end else "an unknown day"
    prompt.say(f"Logged in. Spotify will ask for a new login by {day}.")
    return token


def login_on_terminal(settings: Settings, screen: TextIO, owner: str = "") -> Token:
    """Log in with the terminal, browser and network of this process; raises the errors of `login`."""
    with closing(HttpSender()) as send:
        token_file = TokenFile(settings.state_dir / oauth.TOKEN_FILE)
        return login(settings, send, token_file, sys.stdin, screen, open_desktop_browser, time.time, owner)


def open_desktop_browser(url: str) -> bool:
    """Open `url` in a browser with a window on this screen; return False if there is none."""
    if "SSH_CONNECTION" in os.environ:
        return False
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False  # a text browser would take over this terminal
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(url)
    return False


def authorize_url(settings: Settings, state: str, verifier: str) -> str:
    """Return the URL of the consent page (Spotify's tutorials "code-flow" and "code-pkce-flow").

    The `state` comes back with the redirect; of the PKCE `verifier`, only its SHA-256 is in the URL.
    """
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


def exchange_code(send: Send, settings: Settings, code: str, verifier: str, now: float) -> Token:
    """Exchange an authorization code for a token; the errors are those of `oauth.request_token`."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": settings.redirect_uri,
        "code_verifier": verifier,
    }
    token = oauth.request_token(send, settings, form, Token(""), now)
    if not token.refresh_token:
        raise TryLater("Spotify's answer to the login contains no refresh token")
    return token


def parse_redirect(address: str) -> Redirect:
    """Parse the redirect URL, or whatever was pasted in its place; accepts any text."""
    query = address.strip().partition("#")[0]
    query = query.partition("?")[2] or query
    try:
        fields = parse_qs(query, max_num_fields=_MAX_FIELDS)
    except ValueError:  # too many fields
        fields = {}
    state, code, error = (fields.get(name, [""])[0] for name in ("state", "code", "error"))
    return Redirect(state, code, log.sanitize(error, _MAX_ERROR_LENGTH))


class LoginAttempt:
    """One authorization URL, its PKCE code verifier, and the first redirect that belongs to it, or None."""

    def __init__(self, settings: Settings, prompt: Prompt) -> None:
        self.settings = settings
        self.verifier = secrets.token_urlsafe(64)
        self.answer: Redirect | None = None
        self._state = secrets.token_urlsafe(24)
        self._prompt = prompt
        self._reported: set[str] = set()
        self.url = authorize_url(settings, self._state, self.verifier)

    def take_request(self, target: str) -> tuple[HTTPStatus, str]:
        """Handle a request to the callback server, in its thread; return status and text of the page."""
        path, _, query = target.partition("?")
        if path != (urlsplit(self.settings.redirect_uri).path or "/"):
            return HTTPStatus.NOT_FOUND, "Not found."
        trouble = self._take(parse_redirect(f"?{query}"))
        if trouble and trouble not in self._reported:
            self._reported.add(trouble)  # report a client that repeats itself only once
            self._prompt.say(f"The browser returned an answer that cannot be used. {trouble}")
        if trouble:
            return HTTPStatus.BAD_REQUEST, trouble
        where = "see the result where you started the login"
        return HTTPStatus.OK, f"The answer has arrived: {where}. You can close this page."

    def take_line(self, text: str) -> None:
        """Handle a pasted line."""
        trouble = self._take(parse_redirect(text)) if text.strip() else ""
        if trouble:
            self._prompt.say(trouble)

    def _take(self, redirect: Redirect) -> str:
        """Keep a redirect that belongs to this attempt, and return ""; otherwise, what is wrong with it."""
        if not (redirect.code or redirect.error):
            return "This contains no code. Paste the whole address that the browser ended up at."
        if not redirect.state:
            return "This contains no state. Paste the whole address, not only the code."
        if redirect.state != self._state:
            return "This belongs to another login attempt. Open the last address printed here."
        self.answer = self.answer or redirect
        return ""


class Prompt:
    """Prints instructions for the person who logs in."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def say(self, text: str) -> None:
        """Print one line."""
        self._print(log.sanitize(text))

    def show_url(self, url: str) -> None:
        """Print the URL to open."""
        self.say("To log in to Spotify, open this address in a browser:")
        self._print(f"\n{url}\n")

    def explain(self, redirect_uri: str, *, shown: bool, listening: bool) -> None:
        """Print how the redirect gets here, which depends on where the browser runs."""
        if not listening:
            self.say("Then paste the address that the browser ends up at here.")
        elif shown:
            self.say("A browser should show it now, and its answer arrives here by itself.")
            self.say("If it does not, paste the address that the browser ends up at here.")
        else:
            parts = urlsplit(redirect_uri)
            host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
            tunnel = f"{parts.port}:{host}:{parts.port}"
            for line in (
                "This machine has no browser: open the address on another one. The browser there ends up on",
                "a page that does not load: paste that page's address here. Or connect to this machine with",
                f"ssh -L {tunnel} user@host first: then the answer arrives by itself.",
            ):
                self.say(line)
        self.say(f'If Spotify says "Invalid redirect URI": register exactly {redirect_uri} in its dashboard.')

    def _print(self, text: str) -> None:
        encoding = self._stdout.encoding or "utf-8"
        with suppress(OSError, ValueError):  # the terminal is gone; the browser may still answer
            print(text.encode(encoding, "replace").decode(encoding), file=self._stdout, flush=True)


def _input_lines(stdin: TextIO | None) -> Iterator[list[str] | None]:
    """Yield the lines that arrive within `POLL_SECONDS`, again and again; None once there will be no more."""
    descriptor, rest = None, b""
    with suppress(OSError, ValueError):  # it is closed, or not a real file
        descriptor = stdin.fileno() if stdin else None
    while descriptor is not None:
        readable, _, _ = select.select([descriptor], [], [], POLL_SECONDS)
        chunk = b""
        with suppress(OSError):  # the terminal is gone
            chunk = os.read(descriptor, MAX_LINE_BYTES) if readable else b""
        if readable and not chunk:
            descriptor, chunk = None, b"\n"  # the rest counts as a line
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-MAX_LINE_BYTES:]
        yield [line.decode(errors="replace") for line in lines]
    while True:
        yield None
        time.sleep(POLL_SECONDS)


def _is_wanted(conflict: str, prompt: Prompt, lines: Iterator[list[str] | None]) -> bool:
    """Ask whether a login that conflicts with the account of the log is meant; no answer means no."""
    if not conflict:
        return True
    prompt.say(f"{conflict[:1].upper()}{conflict[1:]}.")
    prompt.say("Add what this account plays to the log from now on? [y/N]")
    answer = next(found for found in lines if found is None or found) or [""]
    is_wanted = answer[0].strip().casefold() in {"y", "yes"}
    if not is_wanted:
        prompt.say("Not saved. Log out of Spotify in the browser, and try again with the other account:")
    return is_wanted


def start_callback_server(
    attempt: LoginAttempt, prompt: Prompt
) -> AbstractContextManager[CallbackServer | None]:
    """Start the callback server; return None if the redirect URI is elsewhere or the port is taken."""
    parts = urlsplit(attempt.settings.redirect_uri)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        return nullcontext()
    try:
        return CallbackServer(parts.hostname or "", parts.port or 0, attempt.take_request)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        prompt.say(
            f"cannot listen on port {parts.port} ({reason}): perhaps another login or program uses it "
            "(`ss -ltnp` shows which). You can still paste the address."
        )
    return nullcontext()


def exchange_redirect(
    send: Send, attempt: LoginAttempt, answer: Redirect, now: Callable[[], float], prompt: Prompt
) -> Token | None:
    """Exchange the code of a redirect for a token; None, and a message, if the listener has to try again."""
    if answer.error:
        prompt.say(f"Spotify did not log you in ({answer.error}). Try again:")
        return None
    try:
        token = _exchange_patiently(send, attempt, answer.code, now, prompt)
    except (LoginNeeded, TryLater) as error:
        prompt.say(f"{error}. Try again:")
        return None
    granted = (token.scope or SCOPES).split()
    missing = ", ".join(scope for scope in SCOPES.split() if scope not in granted)
    if missing:
        prompt.say(f"Spotify did not grant {missing}, which is required. Try again:")
        return None
    with suppress(TryLater):
        token = oauth.with_account(token, oauth.request_account(send, attempt.settings, token))
    return token


def _exchange_patiently(
    send: Send, attempt: LoginAttempt, code: str, now: Callable[[], float], prompt: Prompt
) -> Token:
    delays = iter(RETRY_DELAYS)
    while True:
        try:
            return exchange_code(send, attempt.settings, code, attempt.verifier, now())
        except (TryLater, NotBefore) as error:
            wait = next(delays, math.inf)
            if isinstance(error, NotBefore):
                wait = max(wait, error.seconds)
            if wait > MAX_RATE_LIMIT_WAIT:
                raise
            prompt.say(f"{error}. Trying again in {wait:.0f} s.")
            time.sleep(wait)


def save_token(token_file: TokenFile, token: Token) -> None:
    """Save the token; raises Misconfigured if it cannot be written."""
    try:
        token_file.save(token)
    except OSError as error:
        raise Misconfigured(
            f"{token_file.path} cannot be written ({error.strerror}): the login is not saved"
        ) from None
