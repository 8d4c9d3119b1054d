from __future__ import annotations

import pytest

from spotify_logger.spotify.quota import HOUR, Quota

NOON = 498_714 * HOUR  # seconds since the epoch, a full hour


def test_nothing_was_asked() -> None:
    usage = Quota()
    usage.add(0, NOON)
    assert usage.total(NOON) == 0
    assert usage.to_text() == ""


def test_requests_of_an_hour_are_added_up() -> None:
    usage = Quota()
    for second in (0, 5, 3599):
        usage.add(2, NOON + second)
    usage.add(1, NOON + 3600)
    assert usage.to_text() == "498714:6,498715:1"
    assert usage.total(NOON + 3600) == 7


def test_the_present_hour_and_the_23_before_it_count() -> None:
    usage = Quota()
    for hour in range(30):
        usage.add(10, NOON + hour * HOUR)
    last = NOON + 29 * HOUR
    assert usage.total(last) == 240
    assert usage.total(last + 3599) == 240
    assert usage.total(last + HOUR) == 230
    assert usage.total(last + 23 * HOUR) == 10
    assert usage.total(last + 24 * HOUR) == 0


def test_what_is_older_is_forgotten_even_when_nothing_is_asked() -> None:
    usage = Quota()
    usage.add(5, NOON)
    usage.add(7, NOON + HOUR)
    usage.add(0, NOON + 24 * HOUR)
    assert usage.to_text() == "498715:7"


def test_another_process_goes_on() -> None:
    usage = Quota()
    usage.add(5, NOON)
    usage.add(7, NOON + HOUR)
    other = Quota(usage.to_text())
    other.add(1, NOON + HOUR)
    assert other.total(NOON + HOUR) == 13
    assert other.to_text() == "498714:5,498715:8"


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "498714",
        ":",
        "498714:",
        ":5",
        "498714:-5",
        "498714:5.0",
        "498714:\u0665",
        "498714:1e3",
        f"{'9' * 400}:5",
        f"498714:{'9' * 400}",
        "\0",
    ],
)
def test_garbage_is_passed_over(text: str) -> None:
    usage = Quota(f"498713:3,{text},498715:4")
    assert usage.total(NOON + HOUR) == 7
    assert usage.to_text() == "498713:3,498715:4"


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        pytest.param("", "498714:5", "498714:5", id="a new state folder"),
        pytest.param("498714:5", "", "498714:5", id="a new Redis"),
        pytest.param("498714:5,498715:1", "498714:5,498715:8", "498714:5,498715:8", id="it knows more"),
        pytest.param("498714:5,498715:9", "498714:5,498715:8", "498714:5,498715:9", id="it knows less"),
        pytest.param("498715:9", "498713:2,498714:4", "498713:2,498714:4,498715:9", id="other hours"),
        pytest.param("498714:5", "garbage,:,498714:x,498715:-1", "498714:5", id="garbage"),
    ],
)
def test_what_another_process_counted_is_taken_in_once(ours: str, theirs: str, merged: str) -> None:
    usage = Quota(ours)
    for _ in range(2):
        usage.merge(theirs)
    assert usage.to_text() == merged


def test_counting_goes_on_from_what_was_taken_in() -> None:
    usage = Quota()
    usage.merge("498690:100,498714:5")
    usage.add(2, NOON)
    assert usage.total(NOON) == 7
    assert usage.to_text() == "498714:7"
