"""What a browser asks for, in the words of the command: the page has no vocabulary of its own. Pure."""

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
"""The options that say when. `--last` is not among them: its beginning moves on with every second."""
MAX_VALUE_LENGTH = 40
"""Characters of an option's value; the longest that makes sense is a time with its zone."""
MAX_SEARCH_LENGTH = 200
"""Characters of what can be searched for."""
MAX_LINES = 500
ALL_TIME = "all"
"""Stands for all time where a view would else show the last twelve months."""


class BadRequest(ValueError):  # noqa: N818 - it is no fault of ours
    """What was asked for makes no sense; the message says why, and is fit to be shown."""


class QueryParser(argparse.ArgumentParser):
    """The command's parser for whom no terminal listens to.

    Raises:
        Odd: Instead of printing and ending the process.
    """

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        name, colon, told = message.removeprefix("argument ").partition(": ")
        # What has no name of its own is called by an example, which would only confuse.
        has_name = name.startswith("-")
        words = told if colon and not has_name else message.removeprefix("argument ")
        raise BadRequest(words.replace("--", ""))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """See `argparse.ArgumentParser.exit`."""
        raise BadRequest(message or f"nothing to be asked here ({status})")


@dataclass(frozen=True, slots=True)
class PeriodChoice:
    """A stretch that a view offers.

    Attributes:
        words: What to call it.
        query: The parameters that ask for it.
        chosen: Whether it is the one that is shown.
    """

    label: str
    query: Mapping[str, str]
    is_active: bool


class RequestParams:
    """The parameters of a request.

    Args:
        given: What the browser sent; names that mean nothing here are passed over.
        today: The local day.
        whole: Without a stretch all time is meant, and not the last twelve months.
        when: Whether it is about a stretch at all.

    Raises:
        Odd: A value is too long.
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
                raise BadRequest(f"{name} is too long")

    @property
    def by(self) -> str:
        """What is on top: "plays" or "time"."""
        return self._values.get("by", PLAYS)

    def options(self, *names: str) -> list[str]:
        """The options of the command, of those that it takes.

        Args:
            names: What it takes beside the stretch: "by", "min", "n".
        """
        wanted = [*(PERIOD_OPTIONS if self._when else ()), *names]
        found = [f"--{name}={self._values[name]}" for name in wanted if name in self._values and name != "n"]
        if "n" in names and "n" in self._values:
            number = self._values["n"]
            if not (number.isascii() and number.isdigit() and 0 < int(number) <= MAX_LINES):
                raise BadRequest(f"n has to be a number up to {MAX_LINES}")
            found.append(f"-n{number}")
        if self._when and not self._has_period_option and not self._is_all_time and not self._whole:
            found.append(f"--since={self.twelve_months_start}")
        return found

    @property
    def twelve_months_start(self) -> date:
        """The first of the last twelve months' days, of which today is the last one."""
        return start_of_twelve_months(self._today)

    @property
    def label(self) -> str:
        """What to call the stretch."""
        for choice in self.choices():
            if choice.is_active:
                return choice.label
        return " ".join(
            value if name in ("year", "month") else f"{name} {value}"
            for name, value in self._values.items()
            if name in PERIOD_OPTIONS
        )

    def query(self, **changes: str | None) -> str:
        """The same question with some parameters changed, as it stands in an address; "" for none."""
        kept = {**self._values, **({ALL_TIME: "1"} if self._is_all_time else {}), **changes}
        text = urlencode({name: value for name, value in kept.items() if value is not None})
        return f"?{text}" if text else ""

    def choices(self) -> list[PeriodChoice]:
        """The stretches that are offered, the one that is shown when nothing is said first."""
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
        """The parameters that are not about the stretch."""
        return {name: value for name, value in self._values.items() if name not in PERIOD_OPTIONS}

    @property
    def bounds(self) -> tuple[str, str]:
        """The days from which on and up to which, as they were given; "" where they were not."""
        return self._values.get("since", ""), self._values.get("until", "")

    @property
    def _has_period_option(self) -> bool:
        return any(name in self._values for name in PERIOD_OPTIONS)

    @property
    def _active_query(self) -> dict[str, str]:
        told = {name: value for name, value in self._values.items() if name in PERIOD_OPTIONS}
        return told or ({ALL_TIME: "1"} if self._is_all_time and not self._whole else {})


def start_of_twelve_months(today: date) -> date:
    """The day after the same day a year ago: from there on, today included, it is a year."""
    try:
        same = today.replace(year=today.year - 1)
    except ValueError:  # 29 February
        same = today.replace(year=today.year - 1, day=28)
    return same + timedelta(days=1)


def search_text(values: Mapping[str, str], name: str) -> str:
    """What is searched for.

    Raises:
        Odd: It is too long.
    """
    text = " ".join(values.get(name, "").replace("\0", " ").split())  # which no process can be asked
    if len(text) > MAX_SEARCH_LENGTH:
        raise BadRequest(f"that is more than can be searched for: {MAX_SEARCH_LENGTH} characters")
    return text
