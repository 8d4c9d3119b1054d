from __future__ import annotations

import pytest

from spotify_logger.spotify.rate_limit import HOUR, Quota

NOON = 498_714 * HOUR  # seconds since the epoch, a full hour


def test_requests_are_counted_by_the_hour() -> None:
    quota = Quota()
    quota.add(0, NOON)
    assert (quota.total(), quota.to_text()) == (0, "")
    for second in (0, 5, 3599):
        quota.add(2, NOON + second)
    quota.add(1, NOON + 3600)
    assert quota.to_text() == "498714:6,498715:1"
    assert quota.total() == 7


def test_the_current_hour_and_the_23_before_it_count() -> None:
    quota = Quota()
    for hour in range(30):
        quota.add(10, NOON + hour * HOUR)
    last = NOON + 29 * HOUR
    assert quota.total() == 240
    quota.add(0, last + HOUR)
    assert quota.total() == 230
    quota.add(0, last + 23 * HOUR)
    assert quota.to_text() == "498743:10"
    quota.add(0, last + 24 * HOUR)
    assert quota.total() == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        pytest.param("", "498714:5", "498714:5", id="new state folder"),
        pytest.param("498714:5,498715:1", "498714:5,498715:8", "498714:5,498715:8", id="knows more"),
        pytest.param("498715:9", "498713:2,498714:4", "498713:2,498714:4,498715:9", id="other hours"),
        pytest.param("498714:5", "invalid,:,498714:x,498715:-1", "498714:5", id="invalid"),
    ],
)
def test_counts_of_another_process_are_added_once(ours: str, theirs: str, merged: str) -> None:
    quota = Quota(ours)
    for _ in range(2):
        quota.merge(theirs)
    assert quota.to_text() == merged
