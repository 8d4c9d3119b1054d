from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core import periods
from spotify_logger.core.periods import LocalClock, Period, Zone
from spotify_logger.core.play_rows import PlayRows
from spotify_logger.core.statistics import CalendarCounts
from tests import reference
from tests.reference import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR, DAY = 3600, 86_400
BERLIN, SAO_PAULO, CAIRO, KOLKATA = "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Asia/Kolkata"
LORD_HOWE, HAVANA, APIA, ST_JOHNS = (
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Apia",
    "America/St_Johns",
)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


LENGTHS = [
    (BERLIN, "2026-03-28", 24),
    (BERLIN, "2026-03-29", 23),
    (BERLIN, "2026-03-30", 24),
    (BERLIN, "2026-10-24", 24),
    (BERLIN, "2026-10-25", 25),
    (BERLIN, "2026-10-26", 24),
    (SAO_PAULO, "2018-11-03", 24),
    (SAO_PAULO, "2018-11-04", 23),  # begins at 1:00
    (SAO_PAULO, "2019-02-16", 25),  # its last hour comes twice
    (SAO_PAULO, "2019-02-17", 24),
    (CAIRO, "2026-04-24", 23),  # begins at 1:00
    (CAIRO, "2026-10-29", 25),  # its last hour comes twice
    (CAIRO, "2026-10-30", 24),
    (HAVANA, "2026-11-01", 25),  # its first hour comes twice
    (HAVANA, "2026-03-08", 23),  # has no first hour
    (LORD_HOWE, "2026-04-05", 24.5),
    (LORD_HOWE, "2026-10-04", 23.5),
    (KOLKATA, "2026-03-29", 24),
    (APIA, "2011-12-29", 24),
    (APIA, "2011-12-30", 0),  # was left out
    (APIA, "2011-12-31", 24),
]


@pytest.fixture(params=["by its name", "as the machine's"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Zone]]:
    """Makes zones; also as that of the machine."""

    def machine(name: str) -> Zone:
        monkeypatch.setenv("TZ", name)
        time.tzset()
        return Zone()

    yield Zone if request.param == "by its name" else machine  # type: ignore[misc]
    monkeypatch.undo()
    time.tzset()


class TestZone:
    @pytest.mark.parametrize(("name", "day", "hours"), LENGTHS)
    def test_how_long_a_day_is(self, make: type[Zone], name: str, day: str, hours: float) -> None:
        zone, which = make(name), date.fromisoformat(day)
        begin, end = zone.midnight(which), zone.midnight(which + timedelta(days=1))
        assert end - begin == hours * HOUR
        assert begin == reference.midnight(which, name)

    @pytest.mark.parametrize(("name", "day"), [(name, day) for name, day, hours in LENGTHS if hours])
    def test_the_local_times_of_a_day(self, make: type[Zone], name: str, day: str) -> None:
        zone, which = make(name), date.fromisoformat(day)
        begin, end = zone.midnight(which), zone.midnight(which + timedelta(days=1))
        assert [zone.day(second) == which for second in (begin - 1, begin, end - 1, end)] == [
            False,
            True,
            True,
            False,
        ]
        for second in range(begin - 2 * HOUR, end + 2 * HOUR, 600):
            assert zone.local(second) == shown(second, name)
            assert (zone.day(second) == which) == (begin <= second < end)
            assert zone.offset(second) == (shown(second, name) - shown(second, "UTC")).total_seconds()

    @pytest.mark.parametrize(
        ("name", "moment", "second"),
        [
            (BERLIN, "2026-07-01 12:00", "2026-07-01 10:00"),
            (BERLIN, "2026-03-29 01:59:59", "2026-03-29 00:59:59"),
            (BERLIN, "2026-03-29 02:00", "2026-03-29 01:00"),  # these are left out
            (BERLIN, "2026-03-29 02:30", "2026-03-29 01:00"),
            (BERLIN, "2026-03-29 03:00", "2026-03-29 01:00"),
            (BERLIN, "2026-10-25 02:30", "2026-10-25 00:30"),  # the first one of two
            (BERLIN, "2026-10-25 03:00", "2026-10-25 02:00"),
            (SAO_PAULO, "2018-11-04 00:00", "2018-11-04 03:00"),
            (SAO_PAULO, "2018-11-04 00:59:59", "2018-11-04 03:00"),
            (SAO_PAULO, "2019-02-16 23:30", "2019-02-17 01:30"),
            (LORD_HOWE, "2026-10-04 02:15", "2026-10-03 15:30"),
            (LORD_HOWE, "2026-04-05 01:45", "2026-04-04 14:45"),
            (KOLKATA, "2026-01-01 00:00", "2025-12-31 18:30"),
            (APIA, "2011-12-30 12:00", "2011-12-30 10:00"),
            (BERLIN, "2026-07-01 12:00:00.5", "2026-07-01 10:00:01"),
        ],
    )
    def test_the_second_of_a_local_time(self, make: type[Zone], name: str, moment: str, second: str) -> None:
        assert make(name).second(wall(moment)) == utc(second)

    @given(
        name=st.sampled_from((BERLIN, SAO_PAULO, CAIRO, KOLKATA, LORD_HOWE, HAVANA, APIA, ST_JOHNS)),
        moment=st.datetimes(datetime(1971, 1, 2), datetime(2199, 1, 1)).map(  # noqa: DTZ001 - what clocks show
            lambda moment: moment.replace(microsecond=0)
        ),
    )
    def test_there_and_back(self, name: str, moment: datetime) -> None:
        assert Zone(name).second(moment) == reference.first_second(moment, name)

    def test_local_time_after_2038(self, make: type[Zone]) -> None:
        zone = make(BERLIN)
        for second in (utc("2038-01-19 03:14:08"), utc("2040-07-01 12:00"), utc("2200-01-01 00:00")):
            assert zone.second(zone.local(second)) == second
            assert zone.offset(second) in (0, HOUR, 2 * HOUR)
            assert zone.midnight(zone.day(second)) <= second

    @pytest.mark.parametrize(
        "name", ["", "Nowhere", "Europe", "/etc/passwd", "../UTC", "Europe/Berlin\0", "\udc80", "x" * 5000]
    )
    def test_an_unknown_zone(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(name)}$"):
            Zone(name)

    def test_the_days_of_a_period(self) -> None:
        zone = Zone(BERLIN)
        begin, end = utc("2026-03-28 23:00"), utc("2026-03-30 22:00")
        days = [date(2026, 3, day) for day in (29, 30)]
        assert list(zone.days(begin, end)) == days
        assert list(zone.days(begin - 1, end + 1)) == [date(2026, 3, 28), *days, date(2026, 3, 31)]
        assert list(zone.days(begin, begin)) == days[:1]


class TestLocalClock:
    @pytest.mark.parametrize(
        ("name", "around"),
        [
            (BERLIN, "2026-03-29 01:00"),
            (BERLIN, "2026-10-25 01:00"),
            (SAO_PAULO, "2018-11-04 03:00"),
            (SAO_PAULO, "2019-02-17 02:00"),
            (CAIRO, "2026-04-23 22:00"),
            (LORD_HOWE, "2026-04-04 15:00"),
            (ST_JOHNS, "2006-10-29 02:31"),  # a minute after midnight
            (APIA, "2011-12-30 10:00"),
            (KOLKATA, "2026-01-01 00:00"),
        ],
    )
    @pytest.mark.parametrize(
        "far", [(0,), (-1, 0), (-300, 40), (-DAY // 2, -1), (1, 2), (-DAY // 2, 0, 1, DAY // 2)]
    )
    def test_local_seconds(self, make: type[Zone], name: str, around: str, far: tuple[int, ...]) -> None:
        seconds = [utc(around) + after for after in far]
        found = LocalClock(make(name)).to_local(seconds)
        assert found == [utc(str(shown(second, name))) for second in seconds]

    def test_nothing(self) -> None:
        assert LocalClock(Zone("UTC")).to_local([]) == []

    @pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
    def test_the_hours_of_a_day_add_up(self, make: type[Zone], day: str, hours: int) -> None:
        begin = make(BERLIN).midnight(date.fromisoformat(day))
        seconds = list(range(begin, begin + hours * HOUR, 600))
        calendar = CalendarCounts(LocalClock(make(BERLIN)))
        calendar.add(
            PlayRows(seconds, ["track:a"] * len(seconds), [1] * len(seconds), ["open"] * len(seconds)),
            [True] * len(seconds),
        )
        assert list(calendar.plays.values()) == [hours * 6]
        by_hour = calendar.hour_plays[date.fromisoformat(day).weekday() * 24 :][:24]
        assert sum(by_hour) == sum(calendar.hour_plays) == sum(calendar.hour_ms_played) == hours * 6
        assert by_hour[2] == {23: 0, 24: 6, 25: 12}[hours]


class TestPeriods:
    def test_a_year(self) -> None:
        begin, end, before = (utc(f"{year}-12-31 23:00") for year in (2025, 2026, 2024))
        assert periods.year(Zone(BERLIN), 2026) == Period(begin, end, "2026", Period(before, begin, "2025"))

    @pytest.mark.parametrize(
        ("first", "previous", "hours"),
        [
            ("2026-03", "2026-02", 31 * 24 - 1),
            ("2026-10", "2026-09", 31 * 24 + 1),
            ("2026-01", "2025-12", 31 * 24),
        ],
    )
    def test_a_month(self, first: str, previous: str, hours: int) -> None:
        found = periods.month(Zone(BERLIN), date.fromisoformat(f"{first}-01"))
        assert found.begin is not None
        assert found.end is not None
        assert (found.words, found.end - found.begin) == (first, hours * HOUR)
        assert found.previous is not None
        assert (found.previous.words, found.previous.end) == (previous, found.begin)
        assert found.previous.begin == reference.midnight(date.fromisoformat(f"{previous}-01"), BERLIN)

    def test_a_day(self) -> None:
        found = periods.day(Zone(BERLIN), date(2026, 10, 25))
        begin = utc("2026-10-24 22:00")
        yesterday = Period(begin - DAY, begin, "2026-10-24")
        assert found == Period(begin, begin + 25 * HOUR, "2026-10-25", yesterday)

    @pytest.mark.parametrize(
        ("number", "unit", "begin", "earlier", "words"),
        [
            (12, "h", "2026-03-29 22:30:01", "2026-03-29 10:30:01", "12 hours"),
            (1, "h", "2026-03-30 09:30:01", "2026-03-30 08:30:01", "hour"),
            (1, "d", "2026-03-29 10:30:01", "2026-03-28 11:30:01", "day"),
            (2, "d", "2026-03-28 11:30:01", "2026-03-26 11:30:01", "2 days"),
            (1, "w", "2026-03-23 11:30:01", "2026-03-16 11:30:01", "week"),
            (1, "m", "2026-02-28 11:30:01", "2026-01-30 11:30:01", "month"),
            (13, "m", "2025-02-28 11:30:01", "2024-01-30 11:30:01", "13 months"),
            (2, "y", "2024-03-30 11:30:01", "2022-03-30 10:30:01", "2 years"),
        ],
    )
    def test_the_last_days(self, number: int, unit: str, begin: str, earlier: str, words: str) -> None:
        now = utc("2026-03-30 10:30") + 0.9
        found = periods.last(Zone(BERLIN), now, number, unit)
        assert found.previous is not None
        assert (found.begin, found.end) == (utc(begin), int(now) + 1)
        assert (found.previous.begin, found.previous.end) == (utc(earlier), found.begin)
        assert (found.words, found.previous.words) == (f"the last {words}", "before")

    def test_a_leap_day_a_year_later(self) -> None:
        found = periods.last(Zone("UTC"), utc("2028-02-29 12:00") - 1, 1, "y")
        assert found.begin == utc("2027-02-28 12:00")

    @pytest.mark.parametrize("unit", list("dwmy"))
    def test_beyond_the_calendar(self, unit: str) -> None:
        with pytest.raises((ValueError, OverflowError)):
            periods.last(Zone(BERLIN), utc("2026-03-30 10:30"), 999_999, unit)

    def test_the_previous_period_has_the_same_length(self) -> None:
        assert periods.between(100, 150, "x") == Period(100, 150, "x", Period(50, 100, "before"))
        assert periods.between(None, 150, "x") == Period(None, 150, "x")
        assert periods.between(100, None, "x") == Period(100, None, "x")

    @settings(max_examples=60)
    @given(
        name=st.sampled_from((BERLIN, SAO_PAULO, CAIRO, KOLKATA, LORD_HOWE, HAVANA, APIA)),
        second=st.integers(utc("2006-04-23"), utc("2040-01-01"))
        | st.sampled_from(
            [utc(f"{day} 00:00") + hours * HOUR for _, day, _ in LENGTHS for hours in (-4, 2, 23)]
        ),
    )
    def test_the_local_time_decides(self, name: str, second: int) -> None:
        """A play at 23:59 belongs to that day, month and year."""
        zone, moment = Zone(name), shown(second, name)
        for found, value in (
            (periods.year(zone, moment.year), moment.replace(month=1, day=1)),
            (periods.month(zone, moment.date().replace(day=1)), moment.replace(day=1)),
            (periods.day(zone, moment.date()), moment),
        ):
            assert found.begin is not None
            assert found.end is not None
            assert found.begin <= second < found.end
            assert shown(found.begin, name).date() == value.date()
            assert shown(found.begin - 1, name).date() < value.date()
            assert shown(found.end, name).date() > moment.date()
            assert found.previous is not None
            assert found.previous.end == found.begin


def test_a_play_just_before_midnight_belongs_to_the_day_before() -> None:
    zone = Zone(BERLIN)
    last = datetime(2026, 11, 22, 23, 59, 59, tzinfo=ZoneInfo(BERLIN)).timestamp()
    assert [zone.day(last), zone.day(last + 1)] == [date(2026, 11, 22), date(2026, 11, 23)]
    assert periods.day(zone, date(2026, 11, 22)).end == last + 1
