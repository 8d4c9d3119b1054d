"""What a request asks for: query parameters, forms, and what its browser has chosen for the page."""

import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from spotify_logger.core.periods import Zone, parse_day
from spotify_logger.queries.question import DEFAULT_THRESHOLD, PARAMETERS, Question, from_mapping

PERIOD_PARAMETERS = ("year", "month", "since", "until")  # not `last`: its start changes every second
TWELVE_MONTHS = "last 12 months"
ALL_TIME = "all"  # the parameter that selects all time where the default is the last 12 months
DEFAULT_LIMIT, MAX_LINES = 50, 500
MAX_SEARCH_LENGTH = 200
MAX_FORM_BYTES = 16 * 1024
DAY_FORM = "%-d %b %Y"  # in which views write days, maybe with a weekday before or a time after
ZONE = ContextVar("ZONE", default=Zone())  # noqa: B039 - it never changes; of the request that is being answered
CHOICES: Mapping[str, ContextVar[Any]] = {"tz": ZONE, "min": DEFAULT_THRESHOLD}
"""What a browser can choose, by the names of the parameters in a URL, which have the same values."""
COOKIE = "spotify_logger_{}"  # keeps a choice


class BadRequest(ArgumentTypeError):  # noqa: N818 - named after the HTTP status
    """The request is invalid, as an argument of a command is; the message says why and can be shown."""


def read_question(texts: Mapping[str, str], now: float, **defaults: object) -> Question:
    """Return the question with some parameters."""
    question = from_mapping(texts, now, **defaults)
    if question.limit > MAX_LINES:
        raise BadRequest(f"n must be a number from 1 to {MAX_LINES}")
    return question


class RequestParams:
    """The query parameters of a request; unknown names are ignored.

    The default period is the last 12 months up to today, or `all_time`. `years` returns those to offer.
    """

    def __init__(
        self, values: Mapping[str, str], years: Callable[[], Iterable[int]] = tuple, *, all_time: bool = False
    ) -> None:
        self._years, self._now, self._zone, self._all_time = years, time.time(), ZONE.get(), all_time
        self._today = self._zone.day(self._now)
        self.period = _known(values, PERIOD_PARAMETERS)
        self.without_period = _known(values, ("by", "min", "n"))
        if ALL_TIME in values and not self.period and not all_time:
            self.period = {ALL_TIME: "1"}

    def question(self, *names: str, limit: int = DEFAULT_LIMIT, period: bool = True) -> Question:
        """Return the question, with the parameters `names` of "by", "min" and "n", and maybe a period."""
        texts = {name: text for name, text in self.without_period.items() if name in names}
        texts |= {name: text for name, text in self.period.items() if period and name != ALL_TIME}
        if period and not self.period and not self._all_time:
            texts["since"] = str(first_days(self._today)[TWELVE_MONTHS])
        if "since" in texts and texts["since"] <= str(self._today):  # an end makes it comparable
            texts.setdefault("until", str(self._today))
        return read_question(texts, self._now, tz=self._zone, limit=limit)

    @property
    def label(self) -> str:
        """The name of the period."""
        words = {name: _shown(text) for name, text in self.period.items()}
        own = [text if name in ("year", "month") else f"{name} {text}" for name, text in words.items()]
        if words.keys() == {"since", "until"}:
            own = [f"{words['since']} to {words['until']}"]
        return next((label for label, query in self.choices().items() if query == self.period), " ".join(own))

    @property
    def dates(self) -> dict[str, date]:
        """The first and the last day of the period, as far as they were chosen: "2025" since 1 January."""
        period = self.question().period
        ends = {"since": period.begin or 0, "until": (period.end or 0) - 1}
        return {name: self._zone.day(second) for name, second in ends.items() if name in self.period}

    def query(self, **changes: str) -> str:
        """Return the query string with some parameters changed; "" if there is none."""
        text = urlencode({**self.period, **self.without_period, **changes})
        return f"?{text}" if text else ""

    def choices(self) -> dict[str, dict[str, str]]:
        """Return the periods to offer, the default one first: their names, and the parameters for them."""
        offered = {label: {"since": str(first)} for label, first in first_days(self._today).items()}
        offered |= {"all time": {ALL_TIME: "1"}}
        offered |= {str(year): {"year": str(year)} for year in sorted(self._years(), reverse=True)}
        default: dict[str, dict[str, str]] = {"all time" if self._all_time else TWELVE_MONTHS: {}}
        return default | offered | default


def read_day(question: Question, text: str) -> date:
    """Return the local day that a text names, or raise `BadRequest`."""
    try:
        return parse_day(question.zone, question.now, text)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _shown(text: str) -> str:
    """Return an ISO day or month as views write it: "22 Nov 2026", "Nov 2026"; anything else unchanged."""
    for given, form in (("%Y-%m-%d", DAY_FORM), ("%Y-%m", "%b %Y")):
        with suppress(ValueError):
            return f"{datetime.strptime(text, given):{form}}"  # noqa: DTZ007 - a day
    return text


def _known(values: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: values[name].strip() for name in names if values.get(name, "").strip()}


def first_days(today: date) -> dict[str, date]:
    """Return the first days of the periods to offer that end today, by their names."""
    try:
        a_year_ago = today.replace(year=today.year - 1)
    except ValueError:  # 29 February
        a_year_ago = today.replace(year=today.year - 1, day=28)
    return {
        TWELVE_MONTHS: a_year_ago + timedelta(days=1),
        "last 30 days": today - timedelta(days=29),
        "last 7 days": today - timedelta(days=6),
        "today": today,
    }


def search_text(values: Mapping[str, str], name: str) -> str:
    """Return the text to search for, with whitespace normalized, or raise `BadRequest` if it is too long."""
    text = " ".join(values.get(name, "").split())
    if len(text) > MAX_SEARCH_LENGTH:
        raise BadRequest(f"the search text is too long (limit: {MAX_SEARCH_LENGTH} characters)")
    return text


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a submitted form, or raise `BadRequest` if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise BadRequest("the form is too large")
    return dict(parse_qsl(body.decode(errors="replace")))


def chosen(request: Request) -> dict[str, str]:
    """Return what the browser has chosen for the page."""
    return {name: text for name in CHOICES if (text := request.cookies.get(COOKIE.format(name)))}


def follow(request: Request) -> None:
    """Let the answer to a request follow what its browser has chosen; what makes no sense is ignored."""
    for name, text in chosen(request).items():
        with suppress(ArgumentTypeError):
            CHOICES[name].set(PARAMETERS[name].value(text))
