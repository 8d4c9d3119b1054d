"""What a browser has chosen for the page, kept in its cookies: time zone, and what counts as a play."""

from __future__ import annotations

from argparse import ArgumentTypeError
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from spotify_logger.core.periods import Zone
from spotify_logger.queries.question import DEFAULT_THRESHOLD, FINISHED, HALF, PARAMETERS, Question
from spotify_logger.web.auth import set_cookie

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

ZONE = ContextVar("ZONE", default=Zone())  # noqa: B039 - it never changes; of the request that is being answered
CHOICES: Mapping[str, ContextVar[Any]] = {"tz": ZONE, "min": DEFAULT_THRESHOLD}
"""What can be chosen, by the names of the parameters in a URL, which have the same values."""
COOKIE = "spotify_logger_{}"
THRESHOLDS = ("0", "10s", "30s", "60s", "240s", HALF, FINISHED)  # to choose from


def follow(request: Request) -> None:
    """Let the answer to a request follow what its browser has chosen; what makes no sense is ignored."""
    for name, text in chosen(request).items():
        with suppress(ArgumentTypeError):
            CHOICES[name].set(PARAMETERS[name].value(text))


def chosen(request: Request) -> dict[str, str]:
    """Return what the browser has chosen."""
    found = {name: request.cookies.get(COOKIE.format(name), "") for name in CHOICES}
    return {name: text for name, text in found.items() if text}


def keep(request: Request, answer: Response, form: Mapping[str, str]) -> None:
    """Keep what a form says in cookies, or raise ValueError; what is empty means the default."""
    for name in CHOICES:
        text = form.get(name, "").strip()
        try:
            if text:
                PARAMETERS[name].value(text)
        except ArgumentTypeError as error:
            raise ValueError(str(error)) from None
        set_cookie(request, answer, COOKIE.format(name), text)


def threshold_words() -> dict[str, str]:
    """Return the thresholds to choose from, in words."""
    parameter = PARAMETERS["min"]
    return {text: Question(0.0, threshold=parameter.value(text)).rule_words for text in THRESHOLDS}


@cache
def zone_names() -> Sequence[str]:
    """Return the names of all time zones."""
    return (files("tzdata") / "zones").read_text().split()
