from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.periods import Zone
from spotify_logger.queries.question import HALF, PLAYS, TIME
from spotify_logger.web import request_params
from spotify_logger.web.request_params import (
    ALL_TIME,
    DEFAULT_LIMIT,
    PERIOD_PARAMETERS,
    TWELVE_MONTHS,
    RequestParams,
    first_days,
    search_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = Zone("Europe/Berlin")
VALUES = st.text(max_size=50) | st.sampled_from(
    ["2026", "2026-11", "2026-11-22", "today", "half", "30s", "time", "plays", "all", "9999", "0001"]
)


@pytest.fixture(scope="module", autouse=True)
def _in_berlin() -> Iterator[None]:
    token = request_params.ZONE.set(ZONE)
    yield
    request_params.ZONE.reset(token)


def test_the_default_period_is_the_last_twelve_months_or_all_time() -> None:
    params = RequestParams({})
    first = first_days(ZONE.day(params.question().now))[TWELVE_MONTHS]
    begin = ZONE.midnight(first)
    assert (params.question().period.begin, params.question().limit) == (begin, DEFAULT_LIMIT)
    for all_time in (RequestParams({}, all_time=True), RequestParams({ALL_TIME: "1"})):
        assert (all_time.question().period.begin, all_time.question().period.end) == (None, None)


def test_takes_the_parameters_that_a_view_has() -> None:
    given = {"year": " 2026 ", "by": "time", "min": "half", "n": "100", "last": "1y", "json": "1", "tz": "x"}
    question = RequestParams(given).question("by", "min", "n")
    begin, end = (ZONE.midnight(date(year, 1, 1)) for year in (2026, 2027))
    assert (question.period.begin, question.period.end) == (begin, end)
    assert (question.by, question.threshold, question.limit, question.zone) == (TIME, HALF, 100, ZONE)
    question = RequestParams(given).question("min")
    assert (question.by, question.limit, question.period.begin) == (PLAYS, DEFAULT_LIMIT, begin)
    question = RequestParams({"year": "x", "since": "2026"}).question("min", period=False)
    assert question.period.begin is None


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"n": "0"}, "n: not a positive number"),
        ({"n": "501"}, "1 to 500"),
        ({"n": "٣"}, "n: "),
        ({"year": "x"}, "year: not a year: 'x'"),
        ({"since": "2026-02-30"}, "since: not a date"),
        ({"since": "2026", "until": "2025"}, "before since"),
        ({"year": "2026", "month": "2026-11"}, "cannot be combined"),
        ({"min": "x"}, "min: not a threshold"),
    ],
)
def test_names_what_is_wrong(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(ArgumentTypeError, match=complaint):
        RequestParams(given).question("by", "min", "n")


def test_chosen_ends_are_given_as_days() -> None:
    chosen = RequestParams({"since": "2025", "until": "2026-02"}).dates
    assert chosen == {"since": date(2025, 1, 1), "until": date(2026, 2, 28)}
    assert RequestParams({"since": "2025-03-04"}).dates == {"since": date(2025, 3, 4)}
    for no_ends in ({}, {"year": "2026"}, {ALL_TIME: "1"}):
        assert RequestParams(no_ends).dates == {}


@pytest.mark.parametrize("first", ["all time", "last 12 months"])
def test_each_choice_selects_its_period_and_the_default_is_first(first: str) -> None:
    is_all_time = first == "all time"
    years = (2024, 2025, 2026)
    choices = RequestParams({}, lambda: years, all_time=is_all_time).choices()
    assert (len(choices), next(iter(choices))) == (8, first)
    for label, query in choices.items():
        params = RequestParams(query, lambda: years, all_time=is_all_time)
        assert params.label == label
        assert [name for name, each in params.choices().items() if each == params.period] == [label]


def test_twelve_months_begin_on_the_day_after_this_day_of_last_year() -> None:
    days = (date(2024, 2, 29), date(2025, 2, 28), date(2026, 12, 31))
    begins = [date(2023, 3, 1), date(2024, 2, 29), date(2026, 1, 1)]
    assert [first_days(day)[TWELVE_MONTHS] for day in days] == begins


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from([*PERIOD_PARAMETERS, "by", "min", "n", ALL_TIME, "tz"]), VALUES),
    st.text(),
)
def test_any_parameters_are_valid_or_a_bad_request(given: dict[str, str], text: str) -> None:
    try:
        question = RequestParams(given).question("by", "min", "n")
        assert question.period.begin is None or question.now > 0
        assert search_text({"q": text}, "q") == search_text({"q": search_text({"q": text}, "q")}, "q")
    except ArgumentTypeError as error:
        assert str(error)  # noqa: PT017 - either is fine
