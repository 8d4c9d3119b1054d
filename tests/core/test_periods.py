from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core import periods
from spotify_logger.core.periods import Period, Zone
from tests import reference
from tests.reference import shown

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR, DAY = 3600, 86_400
BERLIN, SAO_PAULO, CAIRO, KOLKATA = "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Asia/Kolkata"
LORD_HOWE, HAVANA, APIA = "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"
ST_JOHNS = "America/St_Johns"


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


LENGTHS = [
    (BERLIN, "2026-03-29", 23),
    (BERLIN, "2026-10-25", 25),
    (SAO_PAULO, "2018-11-04", 23),  # begins at 1:00
    (HAVANA, "2026-11-01", 25),  # its first hour comes twice
    (LORD_HOWE, "2026-10-04", 23.5),
    (APIA, "2011-12-30", 0),  # was skipped
]


@pytest.fixture(params=["named", "of the machine"])
def make(request: pytest.FixtureRequest, set_timezone: Callable[[str], None]) -> type[Zone]:
    """Make zones by their names, or as the machine's time zone."""

    def machine(name: str) -> Zone:
        set_timezone(name)
        return Zone()

    return Zone if request.param == "named" else machine  # type: ignore[return-value]


class TestZone:
    @pytest.mark.parametrize(("name", "day", "hours"), LENGTHS)
    def test_days_have_their_length_and_local_times(
        self, make: type[Zone], name: str, day: str, hours: float
    ) -> None:
        zone, which = make(name), date.fromisoformat(day)
        begin, end = zone.midnight(which), zone.midnight(which + timedelta(days=1))
        assert end - begin == hours * HOUR
        assert begin == reference.midnight(which, name)
        for second in (*range(begin - 2 * HOUR, end + 2 * HOUR, 1800), begin - 1, end - 1):
            assert zone.local(second) == shown(second, name)
            assert (zone.day(second) == which) == (begin <= second < end)
            assert zone.offset(second) == (shown(second, name) - shown(second, "UTC")).total_seconds()

    @pytest.mark.parametrize(
        ("name", "moment", "second"),
        [
            (BERLIN, "2026-07-01 12:00", "2026-07-01 10:00"),
            (BERLIN, "2026-03-29 02:30", "2026-03-29 01:00"),  # skipped
            (BERLIN, "2026-10-25 02:30", "2026-10-25 00:30"),  # the first of two
            (APIA, "2011-12-30 12:00", "2011-12-30 10:00"),
            (BERLIN, "2026-07-01 12:00:00.5", "2026-07-01 10:00:01"),
        ],
    )
    def test_the_second_of_a_local_time(self, make: type[Zone], name: str, moment: str, second: str) -> None:
        assert make(name).second(datetime.fromisoformat(moment)) == utc(second)

    @given(
        name=st.sampled_from((BERLIN, SAO_PAULO, CAIRO, KOLKATA, LORD_HOWE, HAVANA, APIA, ST_JOHNS)),
        moment=st.datetimes(datetime(1971, 1, 2), datetime(2199, 1, 1)),  # noqa: DTZ001 - local times
    )
    def test_the_second_of_any_local_time(self, name: str, moment: datetime) -> None:
        moment = moment.replace(microsecond=0)
        assert Zone(name).second(moment) == reference.first_second(moment, name)

    @pytest.mark.parametrize("name", ["", "Nowhere", "/etc/passwd", "../UTC", "Europe/Berlin\0", "\udc80"])
    def test_an_unknown_zone(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(name)}$"):
            Zone(name)


class TestPeriods:
    @pytest.mark.parametrize(
        ("number", "unit", "begin", "earlier", "words"),
        [
            (12, "h", "2026-03-29 22:30:01", "2026-03-29 10:30:01", "12 hours"),
            (1, "d", "2026-03-29 10:30:01", "2026-03-28 11:30:01", "day"),
            (1, "w", "2026-03-23 11:30:01", "2026-03-16 11:30:01", "week"),
            (1, "m", "2026-02-28 11:30:01", "2026-01-30 11:30:01", "month"),
            (2, "y", "2024-03-30 11:30:01", "2022-03-30 10:30:01", "2 years"),
        ],
    )
    def test_the_last_days(self, number: int, unit: str, begin: str, earlier: str, words: str) -> None:
        now = utc("2026-03-30 10:30")
        before = Period(utc(earlier), utc(begin), f"{words} before")
        found = periods.last(Zone(BERLIN), now + 0.9, number, unit)
        assert found == Period(utc(begin), now + 1, f"the last {words}", before)

    @pytest.mark.parametrize("unit", list("dwmy"))
    def test_a_period_before_the_calendar_is_refused(self, unit: str) -> None:
        with pytest.raises((ValueError, OverflowError)):
            periods.last(Zone(BERLIN), utc("2026-03-30 10:30"), 999_999, unit)

    def test_the_previous_period_has_the_same_length(self) -> None:
        assert periods.between(100, 150, "x") == Period(100, 150, "x", Period(50, 100, "before"))
        assert periods.between(None, 150, "x") == Period(None, 150, "x")
        assert periods.between(100, None, "x") == Period(100, None, "x")

    @settings(max_examples=40)
    @given(
        name=st.sampled_from((BERLIN, SAO_PAULO, CAIRO, KOLKATA, LORD_HOWE, HAVANA, APIA)),
        second=st.integers(utc("2006-04-23"), utc("2040-01-01"))
        | st.sampled_from([utc(day) + hours * HOUR for _, day, _ in LENGTHS for hours in (-4, 2, 23)]),
    )
    def test_a_second_belongs_to_its_local_day_month_and_year(self, name: str, second: int) -> None:
        zone, moment = Zone(name), shown(second, name)
        for found, first in (
            (periods.year(zone, moment.year), moment.replace(month=1, day=1)),
            (periods.month(zone, moment.date().replace(day=1)), moment.replace(day=1)),
            (periods.day(zone, moment.date()), moment),
        ):
            assert found.begin is not None
            assert found.end is not None
            assert found.begin <= second < found.end
            assert shown(found.begin, name).date() == first.date()
            assert shown(found.begin - 1, name).date() < first.date()
            assert shown(found.end, name).date() > moment.date()
            assert found.previous is not None
            assert found.previous.end == found.begin


@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"])
def test_offsets(name: str) -> None:
    zone = Zone(name)
    begin, end = utc("2009-12-31 10:11"), utc("2012-01-02 03:04")
    offsets = dict(zone.offsets(begin, end))
    ahead = offsets.pop(begin)
    for second in range(begin, end, 900):
        for changed in [each for each in offsets if each <= second]:
            assert zone.offset(changed - 1) == ahead
            ahead = offsets.pop(changed)
        assert zone.offset(second) == ahead
    assert not offsets
