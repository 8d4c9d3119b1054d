from __future__ import annotations

from dataclasses import replace

import pytest

from spotify_logger.core.matching import (
    is_same_play,
    is_same_recording,
    matches_tombstone,
    next_free_second,
    recording_of,
)
from spotify_logger.core.player_state import Item
from tests.redis_log import SECOND, play


def recording(
    name: str, seconds: float | None = 200, *, identity: str = "", isrc: str = "", artists: str = "Somebody"
) -> Item:
    identity = identity or name.replace(" ", "")
    catalog = {"name": name, "artists": artists, "isrc": isrc}
    duration_ms = None if seconds is None else round(seconds * 1000)
    return Item(f"track:{identity}", f"spotify:track:{identity}", duration_ms, catalog)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (recording("Renamed", 500, identity="Song"), True),  # the URI is enough
        (recording("Song - Remastered", 210, identity="2", isrc="x1"), True),
        (recording("Song", identity="2", isrc="X2"), False),
        (recording("SÖNG ", identity="2", artists="somebody"), True),  # as other sources spell it
        (recording("Song", 203.001, identity="2"), False),
        (recording("Song", 196, identity="2"), False),
        (recording("Song", None, identity="2"), True),
        (recording("Song", None, identity="2", artists="A Guest, Somebody"), True),
        (recording("Song", None, identity="2", artists="A Guest"), False),
        (recording("Song", identity="2", artists="Somebody Else"), False),
        (recording("", identity="2"), False),
    ],
)
def test_the_same_recording_by_uri_isrc_or_names_and_duration(other: Item, *, same: bool) -> None:
    song, item = recording_of(recording("Song", isrc="X1"), {}), recording_of(other, {})

    assert is_same_recording(song, item) is same
    assert is_same_recording(item, song) is same


@pytest.mark.parametrize(
    ("start", "heard", "expected"),
    [
        pytest.param(0.3, 200, True, id="observed a moment later"),
        pytest.param(100, 90, True, id="its second half"),
        pytest.param(-100, 180, False, id="the repetition before, with a little overlap"),
        pytest.param(150, 0, True, id="of unknown length"),
        pytest.param(0, 200, False, id="itself"),
    ],
)
def test_two_plays_of_a_track(start: float, heard: float, *, expected: bool) -> None:
    assert is_same_play(play("A", 0, 200), play("A", start, heard)) is expected


@pytest.mark.parametrize(("ended", "expected"), [(5.5, True), (11, False)])
def test_a_backfilled_play_is_recognized_by_its_end(ended: float, *, expected: bool) -> None:
    """It is without length if the play before it was taken to have lasted until then."""
    assert is_same_play(play("A", 0, 5), play("A", ended, 0, source="backfill")) is expected


def test_a_play_with_an_unobserved_end_may_have_lasted_another_minute() -> None:
    unfinished = play("A", 0, 5, None)
    assert is_same_play(unfinished, play("A", 40, 0))
    assert not is_same_play(unfinished, play("A", 100, 0))
    assert not is_same_play(replace(unfinished, end_reason="skipped"), play("A", 40, 0))


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        pytest.param(-0.5, False, id="the play before"),
        pytest.param(30, True, id="restarted"),
        pytest.param(204.9, True, id="itself, a little late"),
        pytest.param(230.5, False, id="the play after"),
    ],
)
def test_which_item_is_a_deleted_play(ended: float, *, expected: bool) -> None:
    assert matches_tombstone({5: 6, SECOND: SECOND + 200}, round((SECOND + ended) * 1000)) == expected


def test_a_deleted_play_may_have_had_no_duration() -> None:
    """A play found later, between two others, may have no time left."""
    assert matches_tombstone({SECOND: SECOND}, SECOND * 1000 - 500)
    assert matches_tombstone({SECOND: SECOND + 1}, SECOND * 1000 + 500)


def test_the_next_free_second() -> None:
    assert next_free_second(SECOND, (SECOND - 1, SECOND + 1).__contains__) == SECOND
    assert next_free_second(SECOND, (SECOND, SECOND + 1, SECOND + 3).__contains__) == SECOND + 2
