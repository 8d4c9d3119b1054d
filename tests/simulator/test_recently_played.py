from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.catalog import make_catalog, song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.recently_played import (
    MAX_ITEMS,
    MAX_PLAYED_AT_ERROR,
    RecentlyPlayed,
)

if TYPE_CHECKING:
    from spotify_logger.simulator.timeline import ListeningHistory

T = 1_700_000_000.0
LATER = T + 10_000_000


def page(
    record: ListeningHistory,
    now: float = LATER,
    limit: int = 50,
    after: int | None = None,
    before: int | None = None,
) -> dict[str, list[dict[str, object]]]:
    body = json.loads(RecentlyPlayed(record, 1).page(now, limit, after, before))
    assert isinstance(body, dict)
    return body


def ended(entry: dict[str, object]) -> float:
    stamp = entry["played_at"]
    assert isinstance(stamp, str)
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


def names(body: dict[str, list[dict[str, object]]]) -> list[str]:
    return [entry["track"]["name"] for entry in body["items"]]  # type: ignore[index]


@pytest.fixture(scope="module")
def many() -> ListeningHistory:
    history = History(T)
    for number in range(80):
        history.play(song(f"Song {number}", 100))
    return history.finish()


def test_played_at_is_the_end_pauses_included() -> None:
    history = History(T).play(song("A", 200), 50).pause(100).listen(50).play(song("B", 100))
    body = page(history.finish())
    assert names(body) == ["B", "A"]
    assert [ended(entry) - T for entry in body["items"]] == [
        pytest.approx(seconds + MAX_PLAYED_AT_ERROR / 2, abs=MAX_PLAYED_AT_ERROR / 2 + 0.002)
        for seconds in (300, 200)
    ]


def test_podcasts_files_private_sessions_and_advertisements_are_omitted() -> None:
    catalog = make_catalog(1)
    history = History(T).play(catalog.shows[0][0], 900).play(catalog.books[0][0]).ad(30)
    history.play(catalog.files[0]).change(private="shown").play(song("A", 100)).change(private="")
    assert page(history.finish())["items"] == []


def test_there_are_at_most_fifty_items(many: ListeningHistory) -> None:
    body = page(many)
    assert names(body) == [f"Song {number}" for number in range(79, 79 - MAX_ITEMS, -1)]
    oldest = int(body["cursors"]["before"])  # type: ignore[call-overload]
    assert page(many, before=oldest) == {**page(many, before=1), "limit": 50}
    assert page(many, before=oldest)["items"] == []
    assert page(many, before=oldest)["cursors"] is None


def test_after_is_exclusive(many: ListeningHistory) -> None:
    body = page(many, limit=5)
    third = round(ended(body["items"][2]) * 1000)
    assert names(page(many, after=third)) == ["Song 79", "Song 78"]
    assert names(page(many, after=third - 1)) == ["Song 79", "Song 78", "Song 77"]
    assert page(many, after=int(body["cursors"]["after"]))["items"] == []  # type: ignore[call-overload]
