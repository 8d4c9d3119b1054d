from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.queries import arguments
from spotify_logger.web.request_params import (
    ALL_TIME,
    MAX_SEARCH_LENGTH,
    MAX_VALUE_LENGTH,
    PERIOD_OPTIONS,
    BadRequest,
    QueryParser,
    RequestParams,
    search_text,
    start_of_twelve_months,
)

TODAY = date(2026, 11, 22)
ALL_OPTIONS = {"since": "2026-01-01", "until": "2026-02-01", "by": "time", "min": "half", "n": "100"}


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "options"),
        [
            ({}, ["--since=2025-11-23"]),
            ({"all": "1"}, []),
            (ALL_OPTIONS, ["--since=2026-01-01", "--until=2026-02-01", "--by=time", "--min=half", "-n100"]),
            ({"year": " 2026 ", "last": "1y", "json": "1", "tz": "x", "since": ""}, ["--year=2026"]),
        ],
    )
    def test_passes_known_parameters_on(self, given: dict[str, str], options: list[str]) -> None:
        assert RequestParams(given, TODAY).options("by", "min", "n") == options

    def test_passes_only_what_the_view_supports(self) -> None:
        params = {"year": "2026", "by": "time", "min": "0", "n": "5"}
        assert RequestParams(params, TODAY).options("by") == ["--year=2026", "--by=time"]
        assert RequestParams(params, TODAY, has_period=False).options("by") == ["--by=time"]
        assert RequestParams({}, TODAY, default_all_time=True).options() == []

    @pytest.mark.parametrize("number", ["0", "-1", "501", "1e3", "٣", "1" * 30])
    def test_rejects_an_invalid_number_of_rows(self, number: str) -> None:
        with pytest.raises(BadRequest, match="n must be"):
            RequestParams({"n": number}, TODAY).options("n")

    def test_rejects_a_long_value(self) -> None:
        with pytest.raises(BadRequest, match="too long"):
            RequestParams({"since": "2" * (MAX_VALUE_LENGTH + 1)}, TODAY).options()
        with pytest.raises(BadRequest, match="too long"):
            search_text({"q": "x" * (MAX_SEARCH_LENGTH + 1)}, "q")


class TestPeriodChoices:
    @pytest.mark.parametrize(
        ("given", "label"),
        [
            ({}, "last 12 months"),
            ({"all": "1"}, "all time"),
            ({"year": "2025"}, "2025"),
            ({"since": "2026-10-24"}, "last 30 days"),
            ({"since": "2026-11-16", "by": "time"}, "last 7 days"),
        ],
    )
    def test_marks_the_active_period(self, given: dict[str, str], label: str) -> None:
        params = RequestParams(given, TODAY)
        assert [choice.label for choice in params.choices() if choice.is_active] == [label]
        assert params.label == label

    def test_labels_a_custom_period_by_its_bounds(self) -> None:
        params = RequestParams({"since": "2026-01-01", "until": "2026-02-01"}, TODAY)
        assert params.label == "since 2026-01-01 until 2026-02-01"
        assert params.bounds == ("2026-01-01", "2026-02-01")
        assert RequestParams({"month": "2026-05"}, TODAY).label == "2026-05"

    @pytest.mark.parametrize("first", ["all time", "last 12 months"])
    def test_each_choice_selects_its_period_and_the_default_is_first(self, first: str) -> None:
        is_all_time = first == "all time"
        choices = RequestParams({}, TODAY, default_all_time=is_all_time).choices()
        assert (len(choices), choices[0].label, choices[0].is_active) == (6, first, True)
        for choice in choices:
            assert RequestParams(choice.query, TODAY, default_all_time=is_all_time).label == choice.label


def test_query_string_with_changes() -> None:
    params = RequestParams({"year": "2025", "by": "time"}, TODAY)
    assert params.query(by="plays") == "?year=2025&by=plays"
    assert params.query(by=None, year=None) == ""
    assert RequestParams({"all": "1"}, TODAY).query(by="time") == "?all=1&by=time"
    assert params.without_period == {"by": "time"}


@pytest.mark.parametrize(
    ("today", "begin"),
    [
        (date(2024, 2, 29), date(2023, 3, 1)),
        (date(2025, 2, 28), date(2024, 2, 29)),
        (date(2026, 12, 31), date(2026, 1, 1)),
    ],
)
def test_start_of_twelve_months(today: date, begin: date) -> None:
    assert start_of_twelve_months(today) == begin


def test_search_text_is_normalized() -> None:
    assert search_text({"q": "  veridis \n quo\0x "}, "q") == "veridis quo x"
    assert search_text({}, "q") == ""


class TestQueryParser:
    def test_search_text_is_never_an_option(self) -> None:
        for text in ("--json", "-n", "--help", "--", "--tz=x"):
            params = arguments.parse(["count", "--", text], QueryParser)
            assert (params.text, params.json) == ([text], False)

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["top", "--year=x", "tracks"], "year: not a year: 'x'"),
            (["top", "--since=2026", "--until=2025", "tracks"], "until 2025 is before since 2026"),
            (["day", "--", "never"], "'never' is not a day"),
            (["count", "--help"], "not available"),
            (["count", "--", " "], "nothing to search for"),
        ],
    )
    def test_raises_errors_without_printing(
        self, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(BadRequest, match=complaint):
            arguments.parse(words, QueryParser)
        assert capsys.readouterr().err == ""


VALUES = st.text(max_size=50) | st.sampled_from(
    ["2026", "2026-11", "2026-11-22", "today", "half", "30s", "time", "plays", "all", "9999", "0001"]
)


@settings(max_examples=40)
@given(
    given=st.dictionaries(
        st.sampled_from([*PERIOD_OPTIONS, "by", "min", "n", ALL_TIME, "tz", "json"]), VALUES
    ),
    text=st.text(),
)
def test_any_parameters_are_valid_or_a_bad_request(given: dict[str, str], text: str) -> None:
    try:
        params = RequestParams(given, TODAY)
        words = search_text({"q": text}, "q")
        arguments.parse(["count", *params.options("by", "min"), "--", words], QueryParser)
        arguments.parse(["top", *params.options("by", "min", "n"), "tracks"], QueryParser)
        arguments.parse(["day", *params.options("min"), "--", words], QueryParser)
    except BadRequest as error:
        assert str(error)  # noqa: PT017 - either is fine
