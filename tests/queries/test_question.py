from __future__ import annotations

import argparse
from datetime import UTC, date, datetime

import pytest

from spotify_logger.core import periods
from spotify_logger.core.periods import Period, Zone
from spotify_logger.queries import question
from spotify_logger.queries.question import (
    Question,
    add_period,
    add_ranking,
    add_threshold,
    add_year,
    from_options,
)

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC).timestamp()
"""Half past midnight in Berlin, where it is the 23rd already."""
BERLIN = ["--tz", "Europe/Berlin"]


def question_of(*words: str) -> Question:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_period(parser)
    add_threshold(parser)
    add_ranking(parser)
    return from_options(parser.parse_args(words), NOW)


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


class TestWhen:
    @pytest.mark.parametrize(
        ("words", "begin", "end", "called"),
        [
            ("", None, None, "all time"),
            ("--year 2026", "2025-12-31 23:00", "2026-12-31 23:00", "2026"),
            ("--month 2026-03", "2026-02-28 23:00", "2026-03-31 22:00", "2026-03"),
            ("--last 12h", "2026-11-22 11:30:01", "2026-11-22 23:30:01", "the last 12 hours"),
            ("--last 1d", "2026-11-21 23:30:01", "2026-11-22 23:30:01", "the last day"),
            ("--last 4w", "2026-10-25 23:30:01", "2026-11-22 23:30:01", "the last 4 weeks"),
            ("--last 6m", "2026-05-22 22:30:01", "2026-11-22 23:30:01", "the last 6 months"),
            ("--last 1y", "2025-11-22 23:30:01", "2026-11-22 23:30:01", "the last year"),
            ("--since 2026", "2025-12-31 23:00", None, "since 2026"),
            ("--since 2026-11", "2026-10-31 23:00", None, "since 2026-11"),
            ("--since 2026-11-22", "2026-11-21 23:00", None, "since 2026-11-22"),
            ("--since today", "2026-11-22 23:00", None, "since today"),
            ("--since yesterday", "2026-11-21 23:00", None, "since yesterday"),
            ("--since 2026-11-22T18:30", "2026-11-22 17:30", None, "since 2026-11-22T18:30"),
            ("--since 2026-11-22T18:30Z", "2026-11-22 18:30", None, "since 2026-11-22T18:30Z"),
            ("--since 2026-11-22T18:30+05:30", "2026-11-22 13:00", None, "since 2026-11-22T18:30+05:30"),
            ("--until 2026", None, "2026-12-31 23:00", "until 2026"),
            ("--until 2026-02", None, "2026-02-28 23:00", "until 2026-02"),
            ("--until 2026-11-22", None, "2026-11-22 23:00", "until 2026-11-22"),
            ("--until 2026-11-22T18:30:15", None, "2026-11-22 17:30:15", "until 2026-11-22T18:30:15"),
            ("--since 2026-03-29 --until 2026-03", "2026-03-28 23:00", "2026-03-31 22:00", "since 2026-03-29 until 2026-03"),  # noqa: E501
            ("--since 2025 --until today", "2024-12-31 23:00", "2026-11-23 23:00", "since 2025 until today"),
        ],
    )  # fmt: skip
    def test_stretches(self, words: str, begin: str | None, end: str | None, called: str) -> None:
        found = question_of(*words.split(), *BERLIN).period
        bounds = [None if text is None else second(text) for text in (begin, end)]
        assert [found.begin, found.end] == bounds
        assert found.words == called

    @pytest.mark.parametrize(
        ("words", "begin", "called"),
        [
            ("--year 2026", "2024-12-31 23:00", "2025"),
            ("--month 2026-11", "2026-09-30 22:00", "2026-10"),
            ("--last 2d", "2026-11-18 23:30:01", "before"),
            ("--since 2026-11-20 --until 2026-11-22", "2026-11-16 23:00", "before"),
        ],
    )
    def test_what_it_is_compared_with(self, words: str, begin: str, called: str) -> None:
        found = question_of(*words.split(), *BERLIN).period
        assert found.previous == Period(second(begin), found.begin, called)

    @pytest.mark.parametrize("words", ["", "--since 2026", "--until 2026"])
    def test_what_has_nothing_before_it(self, words: str) -> None:
        assert question_of(*words.split()).period.previous is None

    def test_blanks(self) -> None:
        found = question_of("--since", " 2026 ", "--until", "2026-11-22 18:30", "--tz", "UTC").period
        assert (found.begin, found.end) == (second("2026-01-01"), second("2026-11-22 18:30"))

    def test_the_year_is_optional(self) -> None:
        parser = argparse.ArgumentParser()
        add_year(parser)
        last_hour = datetime(2026, 12, 31, 23, 30, tzinfo=UTC).timestamp()
        for words, number in (["--year", "2025"], 2025), ([], 2026), (BERLIN, 2027):
            question = from_options(parser.parse_args(words), last_hour)
            assert question.period == periods.year(question.zone, number)


class TestRest:
    def test_defaults(self) -> None:
        question = question_of()
        assert (question.now, question.period, question.threshold) == (NOW, Period(), 30_000)
        assert (question.by, question.limit, question.exact, question.zone.name) == (
            "plays",
            10,
            False,
            None,
        )
        assert from_options(argparse.Namespace(), NOW).threshold == 30_000

    @pytest.mark.parametrize(
        ("text", "threshold", "words"),
        [
            ("30s", 30_000, "of at least 30 s"),
            ("90", 90_000, "of at least 90 s"),
            ("0", 0, "of any length"),
            ("0s", 0, "of any length"),
            ("half", "half", "heard at least half"),
            ("finished", "finished", "heard to the end"),
            ("99999s", 99_999_000, "of at least 99999 s"),
        ],
    )
    def test_what_counts(self, text: str, threshold: int | str, words: str) -> None:
        question = question_of("--min", text)
        assert question.threshold == threshold
        assert question.rule_words == words

    def test_how_to_rank(self) -> None:
        question = question_of("--by", "time", "-n", "25", "--exact")
        assert (question.by, question.limit, question.exact) == ("time", 25, True)
        assert question_of("-n", "007").limit == 7

    def test_a_default_limit_of_its_own(self) -> None:
        parser = argparse.ArgumentParser()
        add_ranking(parser, 3)
        assert from_options(parser.parse_args([]), NOW).limit == 3

    def test_what_today_is(self) -> None:
        assert question_of(*BERLIN).today == date(2026, 11, 23)
        assert question_of("--tz", "UTC").today == date(2026, 11, 22)
        assert question_of("--tz", "Pacific/Kiritimati").zone.name == "Pacific/Kiritimati"


class TestContradictions:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--year 2026 --month 2026-11", "--year and --month cannot be combined: use one of them"),
            ("--month 2026-11 --last 3d", "--month and --last cannot be combined: use one of them"),
            ("--year 2026 --since 2025", "--year and --since cannot be combined: use one of them"),
            ("--last 3d --until today", "--last and --until cannot be combined: use one of them"),
            ("--since 2026-11-22 --until 2026-11-21", "--until 2026-11-21 is before --since 2026-11-22"),
            ("--since 2027 --until 2026", "--until 2026 is before --since 2027"),
            ("--since soon", "--since: not a date: 'soon' (try 2026, 2026-11, 2026-11-22,"),
            (
                "--until 2026-02-30",
                "--until: not a date: '2026-02-30' (try 2026, 2026-11, 2026-11-22,",
            ),
            ("--since 2026-13", "--since: not a date: '2026-13'"),
            ("--since 1970", "--since: not a date: '1970'"),
            ("--since 2200-01-01", "--since: not a date: '2200-01-01'"),
            ("--since 0001-01-01T00:00", "--since: not a date: '0001-01-01T00:00'"),
            ("--until 9999-12-31T23:59:59-12:00", "--until: not a date: '9999-12-31T23:59:59-12:00'"),
            ("--since 2026-11-22T", "--since: not a date: '2026-11-22T'"),
            ("--since 2026-11-22T25:00", "--since: not a date: '2026-11-22T25:00'"),
            ("--since TODAY", "--since: not a date: 'TODAY'"),
            ("--since \x1b[31m", "--since: not a date: '\\x1b[31m'"),
            ("--since \udc80", "--since: not a date: '\\udc80'"),
            ("--since ٢٠٢٦", "--since: not a date: '٢٠٢٦'"),
            ("--last 9999y", "--last 9999y goes too far back"),
            ("--last 1500y", "--last 1500y goes too far back"),
        ],
    )
    def test_they_are_named(self, words: str, said: str) -> None:
        with pytest.raises(ValueError, match=r"^--") as caught:
            question_of(*words.split())
        assert str(caught.value).startswith(said)

    def test_far_back_is_not_too_far(self) -> None:
        for words in ("9999h", "9999d", "20y"):
            assert question_of("--last", words).period.previous is not None


class TestNonsense:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--year", "26"], "argument --year: not a year: '26' (try 2026)"),
            (["--year", "1970"], "argument --year: not a year: '1970' (try 2026)"),
            (["--year", "2200"], "argument --year: not a year: '2200' (try 2026)"),
            (["--year", "٢٠٢٦"], "not a year"),
            (["--year", ""], "argument --year: not a year: '' (try 2026)"),
            (["--month", "2026"], "argument --month: not a month: '2026' (try 2026-11)"),
            (["--month", "2026-13"], "argument --month: not a month: '2026-13' (try 2026-11)"),
            (["--month", "2026-1"], "argument --month: not a month: '2026-1' (try 2026-11)"),
            (["--month", "0000-01"], "argument --month: not a month: '0000-01' (try 2026-11)"),
            (["--last", "30"], "argument --last: not a length of time: '30' (try 12h, 30d, 4w, 6m or 1y)"),
            (["--last", "0d"], "argument --last: not a length of time: '0d'"),
            (["--last", "99999d"], "argument --last: not a length of time: '99999d'"),
            (["--last", "1.5h"], "argument --last: not a length of time: '1.5h'"),
            (["--last", "-1d"], "argument --last: expected one argument"),
            (["--last", "d"], "argument --last: not a length of time: 'd'"),
            (["--tz", "Berlin"], "argument --tz: unknown time zone: 'Berlin' (try Europe/Berlin)"),
            (["--tz", "../etc/passwd"], "argument --tz: unknown time zone: '../etc/passwd'"),
            (["--tz", ""], "argument --tz: unknown time zone: ''"),
            (
                ["--min", "most"],
                "argument --min: not a threshold: 'most' (try 30s, half, finished or 0)",
            ),
            (["--min", "1m"], "argument --min: not a threshold: '1m'"),
            (["--min", "100000"], "argument --min: not a threshold: '100000'"),
            (["--min", "\x1b[31m"], "argument --min: not a threshold: '\\x1b[31m'"),
            (["-n", "0"], "argument -n: not a positive number: '0'"),
            (["-n", "1.5"], "argument -n: not a positive number: '1.5'"),
            (["-n", "²"], "argument -n: not a positive number: '²'"),
            (["-n", ""], "argument -n: not a positive number: ''"),
            (["--by", "taste"], "argument --by: invalid choice: 'taste'"),
        ],
    )
    def test_it_is_said_what_is_wrong(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            question_of(*words)
        assert caught.value.code == 2
        assert said in capsys.readouterr().err

    def test_nothing_to_look_for(self) -> None:
        assert question.search_text(" x ") == " x "
        with pytest.raises(argparse.ArgumentTypeError, match=r"^nothing to search for: the text is empty$"):
            question.search_text(" \t\u00a0")

    def test_very_many_are_enough(self) -> None:
        assert question_of("-n", "9" * 5000).limit == 999_999_999


class TestDays:
    ZONE = Zone("Europe/Berlin")

    @pytest.mark.parametrize(
        ("text", "day"),
        [
            ("today", date(2026, 11, 23)),
            ("yesterday", date(2026, 11, 22)),
            ("2026-02-28", date(2026, 2, 28)),
        ],
    )
    def test_a_day(self, text: str, day: date) -> None:
        assert question.parse_day(self.ZONE, NOW, text) == day

    @pytest.mark.parametrize(
        "text", ["", "soon", "2026", "2026-02-30", "1970-01-01", "9999-12-31", "\x1b", "\udc80"]
    )
    def test_no_day(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a day") as caught:
            question.parse_day(self.ZONE, NOW, text)
        assert repr(text) in str(caught.value)
