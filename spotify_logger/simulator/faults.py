"""Faults on demand: the errors that Spotify returns, and what a network does to an answer.

The bodies are those of published reports, which are named beside them.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from spotify_logger.simulator.bodies import Body, text
from spotify_logger.spotify.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN_PATH = "/api/token"  # noqa: S105 - a path
AUTHORIZE_PATH = "/authorize"
API_PATH = "/v1/"

OVERSIZED_BODY_BYTES = 2 * 1024 * 1024 + 1
"""Bytes of a body that is longer than the logger accepts."""
RETRY_AFTER = 30.0
"""Seconds in `Retry-After` by default."""
BEYOND_END_MS = 90_000
"""Milliseconds by which the "beyond_end" fault moves the progress past the end of the item."""

_HTML = (
    "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Service Unavailable</h1></body></html>"
)
_NO_PREMIUM = (
    "Active premium subscription required for the owner of the app. When the subscription status changes, "
    "it can take a few hours before requests are allowed again."
)


def _error(status: int, message: str, **more: str) -> str:
    return text({"error": {"status": status, "message": message, **more}})


def _refusal(error: str, description: str) -> str:
    return text({"error": error, "error_description": description})


JSON = "application/json; charset=utf-8"
TEXT = "text/plain"
HTML = "text/html; charset=utf-8"

_FIXED: dict[str, tuple[int, str, str]] = {
    "expired": (401, JSON, _error(401, "The access token expired")),
    "permissions_missing": (401, JSON, _error(401, "Permissions missing")),
    "not_registered": (403, TEXT, "User not registered in the Developer Dashboard"),  # zmb3/spotify#232
    "premium_required": (403, TEXT, _NO_PREMIUM),  # zmb3/spotify#301
    "error_500": (500, JSON, _error(502, "Backend respond with 500")),  # spotify/web-api#887
    "error_502": (502, JSON, _error(502, "Bad gateway.")),  # spotify/web-api#515
    "error_503": (503, TEXT, "upstream connect error or disconnect/reset before headers"),  # zmb3/spotify#153
    "html": (503, HTML, _HTML),  # JohnnyCrazy/SpotifyAPI-NET#303
    "html_200": (200, HTML, _HTML),
    "empty": (200, JSON, ""),
    "list": (200, JSON, "[1,2,3]"),
    "string": (200, JSON, '"nothing"'),
    "number": (200, JSON, "42"),
    "nothing": (204, JSON, ""),
    "invalid_grant": (400, JSON, _refusal("invalid_grant", "Refresh token revoked")),
    "invalid_client": (400, JSON, _refusal("invalid_client", "Invalid client")),
}

_LIMITED: dict[str, tuple[str, str]] = {
    "rate_limit": (JSON, _error(429, "API rate limit exceeded")),
    "rate_limit_date": (JSON, _error(429, "API rate limit exceeded")),
    "rate_limit_bare": (JSON, _error(429, "API rate limit exceeded")),  # no header: Nezreka/SoulSync#376
    "rate_limit_text": (TEXT, "Too many requests"),  # skuethe/MMM-Spotify#172
    "quota_exceeded": (JSON, _error(429, "Too many requests", reason="QUOTA_EXCEEDED")),
}


def _without_progress(body: Body) -> Body:
    return {name: value for name, value in body.items() if name != "progress_ms"}


def _beyond_end(body: Body) -> Body:
    item = body.get("item")
    duration = item["duration_ms"] if isinstance(item, dict) else 0
    return {**body, "progress_ms": duration + BEYOND_END_MS}


def _unknown(body: Body) -> Body:
    nothing: Body = {"item": None, "context": None, "currently_playing_type": "unknown"}
    return {**body, **nothing, "is_playing": False, "progress_ms": 0, "timestamp": 0}


def _item_as_list(body: Body) -> Body:
    return {**body, "item": [body.get("item")]}


_RESHAPED: dict[str, Callable[[Body], Body]] = {
    "no_progress": _without_progress,
    "beyond_end": _beyond_end,
    "unknown": _unknown,
    "item_list": _item_as_list,
}

_WIRE = frozenset({"reset", "hang", "drip", "drip_headers", "cut", "slow"})
_WIRE_ANSWERED = frozenset({"drip", "drip_headers", "cut", "slow"})
_OTHERS = frozenset({"truncated", "huge", "stale", "access_denied"})

NAMES = frozenset({*_FIXED, *_LIMITED, *_RESHAPED, *_WIRE, *_OTHERS})
"""The names of all faults."""

_USUAL_PATH = {"invalid_grant": TOKEN_PATH, "invalid_client": TOKEN_PATH, "access_denied": AUTHORIZE_PATH}


class WireFault(Exception):  # noqa: N818 - an event on the connection, not a failure
    """A fault of the connection, which the server or the transport has to carry out.

    Attributes:
        name: "reset" (at once), "hang" (no answer), "slow" (the answer after `seconds`), "drip" and
            "drip_headers" (a byte every `seconds`), or "cut" (closed in the middle of the body).
        seconds: The delay, see `name`.
        response: The answer that would have been sent; None if the request is not handled.
    """

    def __init__(self, name: str, seconds: float, response: Response | None) -> None:
        super().__init__(name)
        self.name = name
        self.seconds = seconds
        self.response = response


@dataclass(frozen=True)
class Fault:
    """A fault, and the requests that it affects.

    Attributes:
        name: One of `NAMES`.
        path: The prefix of the affected paths: "" for all, None for the usual ones of this fault.
        requests: How many requests it affects; None for any number.
        seconds: How long it lasts; None for ever.
        probability: The probability that it affects a request.
        value: A parameter in seconds: `Retry-After`, how long an answer takes, or the time between two bytes.
            None for the default.

    Raises:
        ValueError: There is no such fault.
    """

    name: str
    path: str | None = None
    requests: int | None = None
    seconds: float | None = None
    probability: float = 1.0
    value: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"no such fault: {self.name}")

    @property
    def prefix(self) -> str:
        """The prefix of the affected paths."""
        return _USUAL_PATH.get(self.name, API_PATH) if self.path is None else self.path


class Faults:
    """The faults that are switched on.

    Args:
        seed: Random seed of the faults that have a probability.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(f"faults {seed}")
        self._active: list[_Active] = []

    @property
    def names(self) -> list[str]:
        """The names of the faults that are on."""
        return [active.fault.name for active in self._active]

    def add(self, fault: Fault, now: float) -> None:
        """Switch a fault on, from `now`."""
        until = math.inf if fault.seconds is None else now + fault.seconds
        left = math.inf if fault.requests is None else fault.requests
        self._active.append(_Active(fault, until, left))

    def clear(self) -> None:
        """Switch all faults off."""
        self._active.clear()

    def take(self, path: str, now: float) -> TriggeredFault | None:
        """Return the fault that affects a request, if any; the one added first wins."""
        self._active = [active for active in self._active if now < active.until and active.left > 0]
        for active in self._active:
            if path.startswith(active.fault.prefix) and self._rng.random() < active.fault.probability:
                active.left -= 1
                return TriggeredFault(active.fault, now, active.until)
        return None


@dataclass
class _Active:
    fault: Fault
    until: float
    left: float


@dataclass(frozen=True)
class TriggeredFault:
    """A fault that affects a request."""

    fault: Fault
    now: float
    until: float

    def answer(self, normal: Callable[[], Response], last: Response | None) -> Response:
        """Return the faulty answer.

        Args:
            normal: Returns the normal answer; not called if the fault needs none.
            last: The last normal answer for the same path, for "stale".

        Raises:
            WireFault: It is a fault of the connection.
        """
        name = self.fault.name
        if name in _WIRE:
            raise WireFault(name, self._wire_seconds(), normal() if name in _WIRE_ANSWERED else None)
        if name in _FIXED:
            status, kind, body = _FIXED[name]
            return respond(status, body, kind)
        if name in _LIMITED:
            return self._limit(*_LIMITED[name])
        if name == "stale":
            return last or normal()
        return _corrupt(name, normal())

    def _wire_seconds(self) -> float:
        usual = {"hang": 60.0, "slow": 5.0}.get(self.fault.name, 1.0)
        return usual if self.fault.value is None else self.fault.value

    def _limit(self, kind: str, body: str) -> Response:
        seconds = self._retry_after()
        response = respond(429, body, kind)
        if self.fault.name == "rate_limit_bare":
            return response
        is_date = self.fault.name == "rate_limit_date"
        value = formatdate(self.now + seconds, usegmt=True) if is_date else str(math.ceil(seconds))
        return Response(429, {**response.headers, "retry-after": value}, response.body)

    def _retry_after(self) -> float:
        """Return the seconds left of the rate limit; they count down if it ends (as in DeskThing's logs)."""
        if self.fault.value is not None:
            return self.fault.value
        return RETRY_AFTER if math.isinf(self.until) else self.until - self.now


def respond(status: int, body: str, kind: str = JSON) -> Response:
    """Return a response with this body."""
    return Response(status, {"content-type": kind} if body else {}, body.encode())


def _corrupt(name: str, true: Response) -> Response:
    if name == "huge":
        return respond(200, "[" + " " * (OVERSIZED_BODY_BYTES - 2) + "]")
    if name == "truncated":
        return Response(true.status, true.headers, true.body[: len(true.body) * 2 // 3])
    if name == "access_denied":
        return _deny(true)
    return _reshape(name, true)


def _reshape(name: str, true: Response) -> Response:
    if true.status != 200:  # noqa: PLR2004 - there is no body to reshape
        return true
    return respond(200, text(_RESHAPED[name](json.loads(true.body))))


def _deny(true: Response) -> Response:
    """Redirect the browser with a refusal instead of a code."""
    if "location" not in true.headers:
        return true
    uri, _, query = true.headers["location"].partition("?")
    state = parse_qs(urlsplit(f"?{query}").query).get("state", [])
    answer = {"error": "access_denied", **({"state": state[0]} if state else {})}
    return Response(302, {"location": f"{uri}?{urlencode(answer)}"}, b"")
