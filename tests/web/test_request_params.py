from __future__ import annotations

from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_logger.queries import arguments
from spotify_logger.web.request_params import (
    ALL_TIME,
    PERIOD_OPTIONS,
    BadRequest,
    QueryParser,
    RequestParams,
    search_text,
    start_of_twelve_months,
)

TODAY = date(2026, 11, 22)
ALL_OPTIONS = {"since": "2026-01-01", "until": "2026-02-01", "by": "time", "min": "half", "n": "100"}
VALUES = st.text(max_size=50) | st.sampled_from(
    ["2026", "2026-11", "2026-11-22", "today", "half", "30s", "time", "plays", "all", "9999", "0001"]
)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, ["--since=2025-11-23"]),
        ({"all": "1"}, []),
        (ALL_OPTIONS, ["--since=2026-01-01", "--until=2026-02-01", "--by=time", "--min=half", "-n100"]),
        ({"year": " 2026 ", "last": "1y", "json": "1", "tz": "x", "since": ""}, ["--year=2026"]),
    ],
)
def test_passes_known_parameters_on(given: dict[str, str], options: list[str]) -> None:
    assert RequestParams(given, TODAY).options("by", "min", "n") == options


@pytest.mark.parametrize("number", ["0", "501", "1e3", "٣"])
def test_rejects_an_invalid_number_of_rows(number: str) -> None:
    with pytest.raises(BadRequest, match="n must be"):
        RequestParams({"n": number}, TODAY).options("n")


@pytest.mark.parametrize("first", ["all time", "last 12 months"])
def test_each_choice_selects_its_period_and_the_default_is_first(first: str) -> None:
    is_all_time = first == "all time"
    choices = RequestParams({}, TODAY, default_all_time=is_all_time).choices()
    assert (len(choices), choices[0].label, choices[0].is_active) == (6, first, True)
    for choice in choices:
        params = RequestParams(choice.query, TODAY, default_all_time=is_all_time)
        assert params.label == choice.label
        assert [each.label for each in params.choices() if each.is_active] == [choice.label]


def test_twelve_months_begin_on_the_day_after_this_day_of_last_year() -> None:
    days = (date(2024, 2, 29), date(2025, 2, 28), date(2026, 12, 31))
    begins = [date(2023, 3, 1), date(2024, 2, 29), date(2026, 1, 1)]
    assert [start_of_twelve_months(day) for day in days] == begins


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["top", "--year=x", "tracks"], "year: not a year: 'x'"),
        (["count", "--help"], "not available"),
        (["count", "--", " "], "nothing to search for"),
    ],
)
def test_raises_errors_without_printing(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadRequest, match=complaint):
        arguments.parse(words, QueryParser)
    assert capsys.readouterr().err == ""


@settings(max_examples=40)
@given(
    given=st.dictionaries(
        st.sampled_from([*PERIOD_OPTIONS, "by", "min", "n", ALL_TIME, "tz", "json"]), VALUES
    ),
    text=st.text(),
)
@example(given={}, text="--json")
@example(given={}, text="--")
def test_any_parameters_are_valid_or_a_bad_request(given: dict[str, str], text: str) -> None:
    try:
        params = RequestParams(given, TODAY)
        words = search_text({"q": text}, "q")
        parsed = arguments.parse(["count", *params.options("by", "min"), "--", words], QueryParser)
        assert (parsed.text, parsed.json) == ([words], False)
        arguments.parse(["top", *params.options("by", "min", "n"), "tracks"], QueryParser)
        arguments.parse(["day", *params.options("min"), "--", words], QueryParser)
    except BadRequest as error:
        assert str(error)  # noqa: PT017 - either is fine
