from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
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


def options(*names: str, given: dict[str, str] | None = None, **more: str) -> list[str]:
    return RequestParams({**(given or {}), **more}, TODAY).options(*names)


class TestOptions:
    def test_defaults_to_the_last_12_months(self) -> None:
        assert options("by", "min", "n") == ["--since=2025-11-23"]

    def test_may_default_to_all_time(self) -> None:
        assert RequestParams({}, TODAY, default_all_time=True).options() == []
        assert options(all="1") == []

    def test_a_view_without_a_period_ignores_it(self) -> None:
        assert RequestParams({"year": "2025", "by": "time"}, TODAY, has_period=False).options("by") == [
            "--by=time"
        ]

    def test_passes_all_options_on(self) -> None:
        given = {"since": "2026-01-01", "until": "2026-02-01", "by": "time", "min": "half", "n": "100"}
        assert options("by", "min", "n", given=given) == [
            "--since=2026-01-01",
            "--until=2026-02-01",
            "--by=time",
            "--min=half",
            "-n100",
        ]

    def test_passes_only_supported_options(self) -> None:
        assert options("by", year="2026", by="time", min="0", n="5") == ["--year=2026", "--by=time"]

    def test_ignores_unknown_parameters(self) -> None:
        assert options(year=" 2026 ", last="1y", json="1", tz="x", since="") == ["--year=2026"]

    @pytest.mark.parametrize("number", ["0", "-1", "501", "1e3", "٣", "x", "1" * 30])
    def test_rejects_an_invalid_number_of_rows(self, number: str) -> None:
        with pytest.raises(BadRequest, match="n must be"):
            options("n", n=number)

    def test_rejects_a_long_value(self) -> None:
        with pytest.raises(BadRequest, match="since is too long"):
            options(since="2" * (MAX_VALUE_LENGTH + 1))


class TestPeriodChoices:
    def active(self, given: dict[str, str], *, default_all_time: bool = False) -> list[str]:
        return [
            choice.label
            for choice in RequestParams(given, TODAY, default_all_time=default_all_time).choices()
            if choice.is_active
        ]

    @pytest.mark.parametrize(
        ("given", "label"),
        [
            ({}, "last 12 months"),
            ({"all": "1"}, "all time"),
            ({"year": "2026"}, "2026"),
            ({"year": "2025"}, "2025"),
            ({"since": "2026-10-24"}, "last 30 days"),
            ({"since": "2026-11-16", "by": "time"}, "last 7 days"),
        ],
    )
    def test_marks_the_active_period(self, given: dict[str, str], label: str) -> None:
        assert self.active(given) == [label]
        assert RequestParams(given, TODAY).label == label

    def test_lists_the_default_first(self) -> None:
        choices = RequestParams({}, TODAY, default_all_time=True).choices()
        assert (choices[0].label, choices[0].is_active) == ("all time", True)
        assert self.active({"since": "2025-11-23"}, default_all_time=True) == ["last 12 months"]

    def test_labels_a_custom_period_by_its_bounds(self) -> None:
        params = RequestParams({"since": "2026-01-01", "until": "2026-02-01"}, TODAY)
        assert params.label == "since 2026-01-01 until 2026-02-01"
        assert params.bounds == ("2026-01-01", "2026-02-01")
        assert RequestParams({"month": "2026-05"}, TODAY).label == "2026-05"

    def test_each_choice_selects_its_period(self) -> None:
        for whole in (False, True):
            for choice in RequestParams({}, TODAY, default_all_time=whole).choices():
                params = RequestParams(choice.query, TODAY, default_all_time=whole)
                assert params.label == choice.label


def test_query_string_with_changes() -> None:
    params = RequestParams({"year": "2025", "by": "time"}, TODAY)
    assert params.query(by="plays") == "?year=2025&by=plays"
    assert params.query(by=None, year=None) == ""
    assert RequestParams({"all": "1"}, TODAY).query(by="time") == "?all=1&by=time"
    assert params.without_period == {"by": "time"}


@pytest.mark.parametrize(
    ("today", "begin"),
    [
        (date(2026, 11, 22), date(2025, 11, 23)),
        (date(2024, 2, 29), date(2023, 3, 1)),
        (date(2025, 2, 28), date(2024, 2, 29)),
        (date(2026, 12, 31), date(2026, 1, 1)),
    ],
)
def test_start_of_twelve_months(today: date, begin: date) -> None:
    assert start_of_twelve_months(today) == begin


def test_search_text_is_normalized_and_limited() -> None:
    assert search_text({"q": "  veridis \n quo "}, "q") == "veridis quo"
    assert search_text({}, "q") == ""
    assert search_text({"q": "a\0b"}, "q") == "a b"
    with pytest.raises(BadRequest, match="too long"):
        search_text({"q": "x" * (MAX_SEARCH_LENGTH + 1)}, "q")


class TestQueryParser:
    def test_parses_the_options_of_the_command(self) -> None:
        params = arguments.parse(["top", "--year=2025", "--by=time", "tracks"], QueryParser)
        assert (params.command, params.kind, params.question.by) == ("top", "tracks", "time")

    @pytest.mark.parametrize("text", ["--json", "-n", "--help", "-h", "--", "-n 5", "--tz=x"])
    def test_search_text_is_never_an_option(self, text: str) -> None:
        params = arguments.parse(["count", "--", text], QueryParser)
        assert params.text == [text]
        assert not params.json

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["top", "--year=x", "tracks"], "year: not a year: 'x'"),
            (["top", "--since=2026", "--until=2025", "tracks"], "until 2025 is before since 2026"),
            (["top", "--year=2026", "--since=2025", "tracks"], "cannot be combined"),
            (["day", "--", "never"], "'never' is not a day"),
            (["--help"], "not available"),
            (["count", "--help"], "not available"),
            (["nothing"], "invalid choice"),
            (["count", "--", " "], "nothing to search for"),
        ],
    )
    def test_raises_errors_without_printing(
        self, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(BadRequest, match=complaint):
            arguments.parse(words, QueryParser)
        captured = capsys.readouterr()
        assert captured.err == ""


values = st.one_of(
    st.text(max_size=50),
    st.sampled_from(
        ["2026", "2026-11", "2026-11-22", "today", "half", "30s", "time", "plays", "all", "9999", "0001"]
    ),
)


@given(
    given=st.dictionaries(
        st.sampled_from([*PERIOD_OPTIONS, "by", "min", "n", ALL_TIME, "tz", "json"]), values
    ),
    text=st.text(),
)
def test_any_parameters_are_valid_or_a_bad_request(given: dict[str, str], text: str) -> None:
    messages: list[str] = []
    for whole in (False, True):
        try:
            params = RequestParams(given, TODAY, default_all_time=whole)
            words = search_text({"q": text}, "q")
            arguments.parse(["count", *params.options("by", "min"), "--", words], QueryParser)
            arguments.parse(["top", *params.options("by", "min", "n"), "tracks"], QueryParser)
            arguments.parse(["day", *params.options("min"), "--", words], QueryParser)
        except BadRequest as error:
            messages.append(str(error))
        asked_again = [choice.query for choice in RequestParams({}, TODAY, default_all_time=whole).choices()]
        assert len(asked_again) == 6
    assert all(messages)
