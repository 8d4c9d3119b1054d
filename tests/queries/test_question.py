from __future__ import annotations

import argparse
from datetime import UTC, date, datetime

import pytest

from spotify_logger.cli import commands
from spotify_logger.cli.commands import CommandParser, command_parser
from spotify_logger.core import periods
from spotify_logger.core.periods import Period, Zone
from spotify_logger.queries.question import RANKED, Question, from_values

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC).timestamp()
"""Half past midnight in Berlin, where it is the 23rd already."""
BERLIN = ["--tz", "Europe/Berlin"]


def question_of(*words: str) -> Question:
    parser = CommandParser(allow_abbrev=False)
    parser.add_options(*RANKED)
    return from_values(vars(parser.parse_args(words)), NOW, "--")


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


class TestPeriod:
    @pytest.mark.parametrize(
        ("words", "begin", "end", "called"),
        [
            ("", None, None, "all time"),
            ("--year 2026", "2025-12-31 23:00", "2026-12-31 23:00", "2026"),
            ("--month 2026-03", "2026-02-28 23:00", "2026-03-31 22:00", "2026-03"),
            ("--last 12h", "2026-11-22 11:30:01", "2026-11-22 23:30:01", "the last 12 hours"),
            ("--last 6m", "2026-05-22 22:30:01", "2026-11-22 23:30:01", "the last 6 months"),
            ("--since yesterday", "2026-11-21 23:00", None, "since yesterday"),
            ("--since 2026-11-22T18:30", "2026-11-22 17:30", None, "since 2026-11-22T18:30"),
            ("--since 2026-11-22T18:30+05:30", "2026-11-22 13:00", None, "since 2026-11-22T18:30+05:30"),
            ("--until 2026-11-22", None, "2026-11-22 23:00", "until 2026-11-22"),
            ("--since 2025 --until today", "2024-12-31 23:00", "2026-11-23 23:00", "since 2025 until today"),
        ],
    )  # fmt: skip
    def test_bounds(self, words: str, begin: str | None, end: str | None, called: str) -> None:
        found = question_of(*words.split(), *BERLIN).period
        assert [found.begin, found.end] == [None if text is None else second(text) for text in (begin, end)]
        assert found.words == called

    @pytest.mark.parametrize(
        ("words", "previous"),
        [
            ("--year 2026", ("2024-12-31 23:00", "2025")),
            ("--last 2d", ("2026-11-18 23:30:01", "2 days before")),
            ("--since 2026-11-20 --until 2026-11-22", ("2026-11-16 23:00", "3 days before")),
            ("--since 2026", None),
        ],
    )
    def test_the_period_before(self, words: str, previous: tuple[str, str] | None) -> None:
        found = question_of(*words.split(), *BERLIN).period
        expected = previous and Period(second(previous[0]), found.begin, previous[1])
        assert found.previous == expected

    def test_the_year_is_optional(self) -> None:
        last_hour = datetime(2026, 12, 31, 23, 30, tzinfo=UTC).timestamp()
        for words, number in (["--year", "2025"], 2025), ([], 2026), (BERLIN, 2027):
            question = from_values(vars(command_parser().parse_args(["calendar", *words])), last_hour)
            assert question.period == periods.year(question.zone, number)


class TestOtherOptions:
    def test_defaults(self) -> None:
        question = question_of()
        assert (question.now, question.period, question.threshold) == (NOW, Period(), 30_000)
        assert (question.by, question.limit, question.exact, question.zone.name) == ("plays", 10, False, None)
        assert from_values({}, NOW).threshold == 30_000

    @pytest.mark.parametrize(
        ("text", "threshold", "words"),
        [
            ("30s", 30_000, "of at least 30 s"),
            ("half", "half", "heard at least half"),
            ("finished", "finished", "heard to the end"),
        ],
    )
    def test_threshold(self, text: str, threshold: int | str, words: str) -> None:
        question = question_of("--min", text)
        assert (question.threshold, question.rule_words) == (threshold, words)

    def test_ranking(self) -> None:
        question = question_of("--by", "time", "-n", "25", "--exact")
        assert (question.by, question.limit, question.exact) == ("time", 25, True)
        assert question_of("-n", "9" * 5000).limit == 999_999_999

    def test_search_text(self) -> None:
        assert commands.SEARCH_TEXT.value(" x ") == " x "
        with pytest.raises(argparse.ArgumentTypeError, match="nothing to search for"):
            commands.SEARCH_TEXT.value(" \t\u00a0")


class TestBadOptions:
    """They name the option, quote the value, and give an example."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("--year 2026 --month 2026-11", "--year and --month cannot be combined"),
            ("--last 3d --until today", "--last and --until cannot be combined"),
            ("--since 2026-11-22 --until 2026-11-21", "--until 2026-11-21 is before --since 2026-11-22"),
            ("--since soon", "--since: not a date: 'soon' (try 2026, 2026-11, 2026-11-22,"),
            ("--until 2026-02-30", "--until: not a date: '2026-02-30' (try"),
            ("--since 0001-01-01T00:00", "--since: not a date: '0001-01-01T00:00'"),
            ("--since \x1b[31m", "--since: not a date: '\\x1b[31m'"),
            ("--since ٢٠٢٦", "--since: not a date: '٢٠٢٦'"),
            ("--last 9999y", "--last 9999y goes too far back"),
        ],
    )
    def test_periods_that_make_no_sense(self, words: str, message: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError, match=r"^--") as caught:
            question_of(*words.split())
        assert str(caught.value).startswith(message)

    @pytest.mark.parametrize(
        ("option", "kind", "example", "values"),
        [
            ("--year", "not a year", "2026", ("26", "1970", "2200", "٢٠٢٦", "")),
            ("--month", "not a month", "2026-11", ("2026", "2026-13", "2026-1", "0000-01")),
            ("--last", "not a length of time", "12h", ("30", "0d", "99999d", "1.5h", "d")),
            ("--tz", "unknown time zone", "Europe/Berlin", ("Berlin", "../etc/passwd", "")),
            ("--min", "not a threshold", "30s, half", ("most", "1m", "100000", "\x1b[31m")),
            ("-n", "not a positive number", "", ("0", "1.5", "²", "")),
            ("--by", "not a measure", "plays or time", ("taste",)),
        ],
    )
    def test_malformed_values(
        self,
        capsys: pytest.CaptureFixture[str],
        option: str,
        kind: str,
        example: str,
        values: tuple[str, ...],
    ) -> None:
        for value in values:
            with pytest.raises(SystemExit) as caught:
                question_of(option, value)
            assert caught.value.code == 2
            message = capsys.readouterr().err
            assert f"argument {option}: {kind}: {value!r}" in message
            assert f"(try {example}" in message or not example


def test_parse_day() -> None:
    berlin = Zone("Europe/Berlin")
    for text, day in ("today", 23), ("yesterday", 22), ("2026-11-02", 2):
        assert periods.parse_day(berlin, NOW, text) == date(2026, 11, day)
    for text in ("", "soon", "2026", "2026-02-30", "1970-01-01"):
        with pytest.raises(ValueError, match="is not a day"):
            periods.parse_day(berlin, NOW, text)
