"""Validates query parameters and translates them to options of the command. Pure."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlencode

from spotify_logger.queries.question import PLAYS

if TYPE_CHECKING:
    from collections.abc import Mapping

PERIOD_OPTIONS = ("year", "month", "since", "until")
"""Options that set the period. `--last` is not one of them: its start changes every second."""
MAX_VALUE_LENGTH = 40
"""Maximum length of a value; the longest valid one is a time with its zone."""
MAX_SEARCH_LENGTH = 200
"""Maximum length of a search text."""
MAX_LINES = 500
ALL_TIME = "all"
"""Parameter that selects all time where the default is the last 12 months."""


class BadRequest(ValueError):  # noqa: N818 - named after the HTTP status
    """The request is invalid; the message says why and can be shown."""


class QueryParser(argparse.ArgumentParser):
    """The parser of the command, for use without a terminal.

    Raises:
        BadRequest: Instead of printing and ending the process.
    """

    def error(self, message: str) -> NoReturn:
        """Raise `BadRequest` with the message."""
        name, colon, rest = message.removeprefix("argument ").partition(": ")
        # A positional argument is named by an example, which would be confusing here.
        has_name = name.startswith("-")
        text = rest if colon and not has_name else message.removeprefix("argument ")
        raise BadRequest(text.replace("--", ""))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise `BadRequest`: the page has no help to print."""
        raise BadRequest(message or f"not available on the page ({status})")


@dataclass(frozen=True, slots=True)
class PeriodChoice:
    """A period that a view offers.

    Attributes:
        label: Its name.
        query: The query parameters that select it.
        is_active: Whether it is the current one.
    """

    label: str
    query: Mapping[str, str]
    is_active: bool


class RequestParams:
    """The query parameters of a request.

    Args:
        values: The parameters; unknown names are ignored.
        today: The local date.
        default_all_time: Whether the default period is all time, not the last 12 months.
        has_period: Whether the view has a period.

    Raises:
        BadRequest: A value is too long.
    """

    def __init__(
        self,
        values: Mapping[str, str],
        today: date,
        *,
        default_all_time: bool = False,
        has_period: bool = True,
    ) -> None:
        self._today = today
        self._whole = default_all_time
        self._when = has_period
        self._values = {
            name: values[name].strip()
            for name in (*PERIOD_OPTIONS, "by", "min", "n")
            if values.get(name, "").strip()
        }
        self._is_all_time = ALL_TIME in values
        for name, value in self._values.items():
            if len(value) > MAX_VALUE_LENGTH:
                raise BadRequest(f"{name} is too long (limit: {MAX_VALUE_LENGTH} characters)")

    @property
    def by(self) -> str:
        """The measure to rank by: "plays" or "time"."""
        return self._values.get("by", PLAYS)

    def options(self, *names: str) -> list[str]:
        """Return the options for the command.

        Args:
            names: The options that it takes besides the period: "by", "min", "n".
        """
        wanted = [*(PERIOD_OPTIONS if self._when else ()), *names]
        found = [f"--{name}={self._values[name]}" for name in wanted if name in self._values and name != "n"]
        if "n" in names and "n" in self._values:
            number = self._values["n"]
            if not (number.isascii() and number.isdigit() and 0 < int(number) <= MAX_LINES):
                raise BadRequest(f"n must be a number from 1 to {MAX_LINES}")
            found.append(f"-n{number}")
        if self._when and not self._has_period_option and not self._is_all_time and not self._whole:
            found.append(f"--since={self.twelve_months_start}")
        return found

    @property
    def twelve_months_start(self) -> date:
        """The first day of the last 12 months, which end today."""
        return start_of_twelve_months(self._today)

    @property
    def label(self) -> str:
        """The name of the period."""
        for choice in self.choices():
            if choice.is_active:
                return choice.label
        return " ".join(
            value if name in ("year", "month") else f"{name} {value}"
            for name, value in self._values.items()
            if name in PERIOD_OPTIONS
        )

    def query(self, **changes: str | None) -> str:
        """Return the query string with some parameters changed or removed (None); "" if none is left."""
        kept = {**self._values, **({ALL_TIME: "1"} if self._is_all_time else {}), **changes}
        text = urlencode({name: value for name, value in kept.items() if value is not None})
        return f"?{text}" if text else ""

    def choices(self) -> list[PeriodChoice]:
        """Return the periods to offer, the default one first."""
        today = self._today
        offered = [
            ("last 12 months", {} if not self._whole else {"since": str(self.twelve_months_start)}),
            ("last 30 days", {"since": str(today - timedelta(days=29))}),
            ("last 7 days", {"since": str(today - timedelta(days=6))}),
            (str(today.year), {"year": str(today.year)}),
            (str(today.year - 1), {"year": str(today.year - 1)}),
            ("all time", {} if self._whole else {ALL_TIME: "1"}),
        ]
        if self._whole:
            offered = [offered[-1], *offered[:-1]]
        return [PeriodChoice(words, query, query == self._active_query) for words, query in offered]

    @property
    def without_period(self) -> dict[str, str]:
        """The parameters other than the period."""
        return {name: value for name, value in self._values.items() if name not in PERIOD_OPTIONS}

    @property
    def bounds(self) -> tuple[str, str]:
        """The values of `since` and `until`; "" if not given."""
        return self._values.get("since", ""), self._values.get("until", "")

    @property
    def _has_period_option(self) -> bool:
        return any(name in self._values for name in PERIOD_OPTIONS)

    @property
    def _active_query(self) -> dict[str, str]:
        selected = {name: value for name, value in self._values.items() if name in PERIOD_OPTIONS}
        return selected or ({ALL_TIME: "1"} if self._is_all_time and not self._whole else {})


def start_of_twelve_months(today: date) -> date:
    """Return the first day of the 12 months that end with `today`."""
    try:
        same = today.replace(year=today.year - 1)
    except ValueError:  # 29 February
        same = today.replace(year=today.year - 1, day=28)
    return same + timedelta(days=1)


def search_text(values: Mapping[str, str], name: str) -> str:
    """Return the text to search for, with whitespace normalized.

    Raises:
        BadRequest: It is too long.
    """
    text = " ".join(values.get(name, "").replace("\0", " ").split())  # NUL cannot be passed to a process
    if len(text) > MAX_SEARCH_LENGTH:
        raise BadRequest(f"the search text is too long (limit: {MAX_SEARCH_LENGTH} characters)")
    return text
