from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.queries import arguments
from spotify_logger.web.request_params import (
    ALL,
    LONGEST_TEXT,
    LONGEST_VALUE,
    WHEN,
    Asked,
    Odd,
    Parser,
    text_of,
    year_before,
)

TODAY = date(2026, 11, 22)


def options(*names: str, given: dict[str, str] | None = None, **more: str) -> list[str]:
    return Asked({**(given or {}), **more}, TODAY).options(*names)


class TestOptions:
    def test_without_a_word_it_is_the_last_twelve_months(self) -> None:
        assert options("by", "min", "n") == ["--since=2025-11-23"]

    def test_or_all_time_where_that_is_meant(self) -> None:
        assert Asked({}, TODAY, whole=True).options() == []
        assert options(all="1") == []

    def test_what_is_not_about_a_stretch_has_none(self) -> None:
        assert Asked({"year": "2025", "by": "time"}, TODAY, when=False).options("by") == ["--by=time"]

    def test_all_that_is_said_is_handed_on(self) -> None:
        given = {"since": "2026-01-01", "until": "2026-02-01", "by": "time", "min": "half", "n": "100"}
        assert options("by", "min", "n", given=given) == [
            "--since=2026-01-01",
            "--until=2026-02-01",
            "--by=time",
            "--min=half",
            "-n100",
        ]

    def test_only_what_the_command_takes(self) -> None:
        assert options("by", year="2026", by="time", min="0", n="5") == ["--year=2026", "--by=time"]

    def test_what_means_nothing_is_passed_over(self) -> None:
        assert options(year=" 2026 ", last="1y", json="1", tz="x", since="") == ["--year=2026"]

    @pytest.mark.parametrize("number", ["0", "-1", "501", "1e3", "٣", "x", "1" * 30])
    def test_a_number_of_lines_that_makes_no_sense(self, number: str) -> None:
        with pytest.raises(Odd, match="n has to be a number up to 500"):
            options("n", n=number)

    def test_a_value_that_is_too_long(self) -> None:
        with pytest.raises(Odd, match="since is too long"):
            options(since="2" * (LONGEST_VALUE + 1))


class TestChoices:
    def chosen(self, given: dict[str, str], *, whole: bool = False) -> list[str]:
        return [choice.words for choice in Asked(given, TODAY, whole=whole).choices() if choice.chosen]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "last 12 months"),
            ({"all": "1"}, "all time"),
            ({"year": "2026"}, "2026"),
            ({"year": "2025"}, "2025"),
            ({"since": "2026-10-24"}, "last 30 days"),
            ({"since": "2026-11-16", "by": "time"}, "last 7 days"),
        ],
    )
    def test_the_one_that_is_shown_is_marked(self, given: dict[str, str], words: str) -> None:
        assert self.chosen(given) == [words]
        assert Asked(given, TODAY).words == words

    def test_where_all_time_is_meant_it_comes_first(self) -> None:
        choices = Asked({}, TODAY, whole=True).choices()
        assert (choices[0].words, choices[0].chosen) == ("all time", True)
        assert self.chosen({"since": "2025-11-23"}, whole=True) == ["last 12 months"]

    def test_any_other_stretch_is_called_by_its_bounds(self) -> None:
        asked = Asked({"since": "2026-01-01", "until": "2026-02-01"}, TODAY)
        assert asked.words == "since 2026-01-01 until 2026-02-01"
        assert asked.bounds == ("2026-01-01", "2026-02-01")
        assert Asked({"month": "2026-05"}, TODAY).words == "2026-05"

    def test_each_choice_leads_to_what_it_says(self) -> None:
        for whole in (False, True):
            for choice in Asked({}, TODAY, whole=whole).choices():
                asked = Asked(choice.query, TODAY, whole=whole)
                assert asked.words == choice.words


def test_a_question_can_be_asked_again_with_a_change() -> None:
    asked = Asked({"year": "2025", "by": "time"}, TODAY)
    assert asked.query(by="plays") == "?year=2025&by=plays"
    assert asked.query(by=None, year=None) == ""
    assert Asked({"all": "1"}, TODAY).query(by="time") == "?all=1&by=time"
    assert asked.others == {"by": "time"}


@pytest.mark.parametrize(
    ("today", "begin"),
    [
        (date(2026, 11, 22), date(2025, 11, 23)),
        (date(2024, 2, 29), date(2023, 3, 1)),
        (date(2025, 2, 28), date(2024, 2, 29)),
        (date(2026, 12, 31), date(2026, 1, 1)),
    ],
)
def test_a_year_with_today(today: date, begin: date) -> None:
    assert year_before(today) == begin


def test_a_text_is_tidied_and_of_a_certain_length() -> None:
    assert text_of({"q": "  veridis \n quo "}, "q") == "veridis quo"
    assert text_of({}, "q") == ""
    assert text_of({"q": "a\0b"}, "q") == "a b"
    with pytest.raises(Odd, match="more than can be searched for"):
        text_of({"q": "x" * (LONGEST_TEXT + 1)}, "q")


class TestParser:
    def test_its_words_are_those_of_the_command(self) -> None:
        asked = arguments.parse(["top", "--year=2025", "--by=time", "tracks"], Parser)
        assert (asked.command, asked.kind, asked.question.by) == ("top", "tracks", "time")

    @pytest.mark.parametrize("text", ["--json", "-n", "--help", "-h", "--", "-n 5", "--tz=x"])
    def test_a_text_is_never_an_option(self, text: str) -> None:
        asked = arguments.parse(["count", "--", text], Parser)
        assert asked.text == [text]
        assert not asked.json

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["top", "--year=x", "tracks"], "year: 'x' is no year"),
            (["top", "--since=2026", "--until=2025", "tracks"], "until 2025 lies before since 2026"),
            (["top", "--year=2026", "--since=2025", "tracks"], "both say when"),
            (["day", "--", "never"], "'never' is no day"),
            (["--help"], "nothing to be asked"),
            (["count", "--help"], "nothing to be asked"),
            (["nothing"], "invalid choice"),
            (["count", "--", " "], "nothing to look for"),
        ],
    )
    def test_what_makes_no_sense_is_said_and_not_printed(
        self, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(Odd, match=complaint):
            arguments.parse(words, Parser)
        told = capsys.readouterr()
        assert told.err == ""


values = st.one_of(
    st.text(max_size=50),
    st.sampled_from(
        ["2026", "2026-11", "2026-11-22", "today", "half", "30s", "time", "plays", "all", "9999", "0001"]
    ),
)


@given(
    given=st.dictionaries(st.sampled_from([*WHEN, "by", "min", "n", ALL, "tz", "json"]), values),
    text=st.text(),
)
def test_whatever_a_browser_sends_is_odd_or_a_question(given: dict[str, str], text: str) -> None:
    told: list[str] = []
    for whole in (False, True):
        try:
            asked = Asked(given, TODAY, whole=whole)
            words = text_of({"q": text}, "q")
            arguments.parse(["count", *asked.options("by", "min"), "--", words], Parser)
            arguments.parse(["top", *asked.options("by", "min", "n"), "tracks"], Parser)
            arguments.parse(["day", *asked.options("min"), "--", words], Parser)
        except Odd as odd:
            told.append(str(odd))
        asked_again = [choice.query for choice in Asked({}, TODAY, whole=whole).choices()]
        assert len(asked_again) == 6
    assert all(told)
