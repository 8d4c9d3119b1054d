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

WHEN = ("year", "month", "since", "until")
"""The options that say when. `--last` is not among them: its beginning moves on with every second."""
LONGEST_VALUE = 40
"""Characters of an option's value; the longest that makes sense is a time with its zone."""
LONGEST_TEXT = 200
"""Characters of what can be searched for."""
MOST_LINES = 500
ALL = "all"
"""Stands for all time where a view would else show the last twelve months."""


class Odd(ValueError):  # noqa: N818 - it is no fault of ours
    """What was asked for makes no sense; the message says why, and is fit to be shown."""


class Parser(argparse.ArgumentParser):
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
        raise Odd(words.replace("--", ""))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """See `argparse.ArgumentParser.exit`."""
        raise Odd(message or f"nothing to be asked here ({status})")


@dataclass(frozen=True, slots=True)
class Choice:
    """A stretch that a view offers.

    Attributes:
        words: What to call it.
        query: The parameters that ask for it.
        chosen: Whether it is the one that is shown.
    """

    words: str
    query: Mapping[str, str]
    chosen: bool


class Asked:
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
        self, given: Mapping[str, str], today: date, *, whole: bool = False, when: bool = True
    ) -> None:
        self._today = today
        self._whole = whole
        self._when = when
        self._given = {
            name: given[name].strip() for name in (*WHEN, "by", "min", "n") if given.get(name, "").strip()
        }
        self._is_all = ALL in given
        for name, value in self._given.items():
            if len(value) > LONGEST_VALUE:
                raise Odd(f"{name} is too long")

    @property
    def by(self) -> str:
        """What is on top: "plays" or "time"."""
        return self._given.get("by", PLAYS)

    def options(self, *names: str) -> list[str]:
        """The options of the command, of those that it takes.

        Args:
            names: What it takes beside the stretch: "by", "min", "n".
        """
        wanted = [*(WHEN if self._when else ()), *names]
        found = [f"--{name}={self._given[name]}" for name in wanted if name in self._given and name != "n"]
        if "n" in names and "n" in self._given:
            number = self._given["n"]
            if not (number.isascii() and number.isdigit() and 0 < int(number) <= MOST_LINES):
                raise Odd(f"n has to be a number up to {MOST_LINES}")
            found.append(f"-n{number}")
        if self._when and not self._is_stretch and not self._is_all and not self._whole:
            found.append(f"--since={self.year_ago}")
        return found

    @property
    def year_ago(self) -> date:
        """The first of the last twelve months' days, of which today is the last one."""
        return year_before(self._today)

    @property
    def words(self) -> str:
        """What to call the stretch."""
        for choice in self.choices():
            if choice.chosen:
                return choice.words
        return " ".join(
            value if name in ("year", "month") else f"{name} {value}"
            for name, value in self._given.items()
            if name in WHEN
        )

    def query(self, **changes: str | None) -> str:
        """The same question with some parameters changed, as it stands in an address; "" for none."""
        kept = {**self._given, **({ALL: "1"} if self._is_all else {}), **changes}
        text = urlencode({name: value for name, value in kept.items() if value is not None})
        return f"?{text}" if text else ""

    def choices(self) -> list[Choice]:
        """The stretches that are offered, the one that is shown when nothing is said first."""
        today = self._today
        offered = [
            ("last 12 months", {} if not self._whole else {"since": str(self.year_ago)}),
            ("last 30 days", {"since": str(today - timedelta(days=29))}),
            ("last 7 days", {"since": str(today - timedelta(days=6))}),
            (str(today.year), {"year": str(today.year)}),
            (str(today.year - 1), {"year": str(today.year - 1)}),
            ("all time", {} if self._whole else {ALL: "1"}),
        ]
        if self._whole:
            offered = [offered[-1], *offered[:-1]]
        return [Choice(words, query, query == self._shown) for words, query in offered]

    @property
    def others(self) -> dict[str, str]:
        """The parameters that are not about the stretch."""
        return {name: value for name, value in self._given.items() if name not in WHEN}

    @property
    def bounds(self) -> tuple[str, str]:
        """The days from which on and up to which, as they were given; "" where they were not."""
        return self._given.get("since", ""), self._given.get("until", "")

    @property
    def _is_stretch(self) -> bool:
        return any(name in self._given for name in WHEN)

    @property
    def _shown(self) -> dict[str, str]:
        told = {name: value for name, value in self._given.items() if name in WHEN}
        return told or ({ALL: "1"} if self._is_all and not self._whole else {})


def year_before(today: date) -> date:
    """The day after the same day a year ago: from there on, today included, it is a year."""
    try:
        same = today.replace(year=today.year - 1)
    except ValueError:  # 29 February
        same = today.replace(year=today.year - 1, day=28)
    return same + timedelta(days=1)


def text_of(given: Mapping[str, str], name: str) -> str:
    """What is searched for.

    Raises:
        Odd: It is too long.
    """
    text = " ".join(given.get(name, "").replace("\0", " ").split())  # which no process can be asked
    if len(text) > LONGEST_TEXT:
        raise Odd(f"that is more than can be searched for: {LONGEST_TEXT} characters")
    return text
