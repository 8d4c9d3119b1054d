from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.bodies import DeviceObject, context
from spotify_logger.simulator.catalog import make_catalog, song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.player import Player

if TYPE_CHECKING:
    from spotify_logger.simulator.timeline import ListeningHistory

T = 1_700_000_000.0
ONE = song("One", 200)
EPISODE = make_catalog(1).shows[0][0]
SPEAKER = DeviceObject("Kitchen", "Speaker", None, 30, restricted=True)


def state_at(
    record: ListeningHistory, seconds: float, additional_types: str = "track,episode"
) -> dict[str, object] | None:
    answer = Player(record, 1).answer(T + seconds, additional_types)
    if answer is None:
        return None
    body = json.loads(answer)
    assert isinstance(body, dict)
    return body


def summarize(body: dict[str, object] | None) -> tuple[object, ...] | None:
    """Return the name of the item or what is shown in its place; whether it plays; the private flag."""
    if body is None:
        return None
    item, device = body["item"], body["device"]
    assert isinstance(device, dict)
    name = item["name"] if isinstance(item, dict) else body["currently_playing_type"]
    return name, body["is_playing"], device["is_private_session"]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (History(T).play(ONE), ("One", True, False)),
        (History(T).play(ONE, 1).pause(60), ("One", False, False)),
        (History(T).gone(60), None),
        (History(T).play(ONE, 1).hand_over(SPEAKER, 60), None),
        (History(T).play(ONE, 1).hand_over(SPEAKER, 60, "unknown"), ("unknown", False, False)),
        (History(T).ad(30), ("ad", True, False)),
        (History(T).change(private="shown").play(ONE), ("One", True, True)),
        (History(T).change(private="withheld").play(ONE), ("unknown", True, True)),
        (History(T).change(private="nothing").play(ONE), None),
    ],
)
def test_the_state_shows_what_happens(history: History, expected: tuple[object, ...] | None) -> None:
    assert summarize(state_at(history.finish(), 10)) == expected


@pytest.mark.parametrize(("types", "shown"), [("track", "episode"), ("track,episode", EPISODE.name)])
def test_an_episode_is_shown_only_when_asked_for(types: str, shown: str) -> None:
    record = History(T).change(context=EPISODE.home).play(EPISODE).finish()
    body = state_at(record, 10, types)
    assert body is not None
    assert summarize(body) == (shown, True, False)
    assert (body["context"] is None) == (types == "track")


def test_the_timestamp_is_that_of_the_last_change_and_settings_are_shown() -> None:
    playlist = context("playlist", "p")
    history = History(T).change(context=playlist, shuffle=True, repeat="track", device=SPEAKER)
    body = state_at(history.play(ONE, 20).pause(10).listen().finish(), 60)
    assert body is not None
    assert body["timestamp"] == (T + 30) * 1000
    assert (body["shuffle_state"], body["repeat_state"]) == (True, "track")
    assert body["context"] == json.loads(playlist.json)
    assert body["device"] == json.loads(SPEAKER.json)
    assert body["actions"] == {"disallows": {"resuming": True}}


def test_a_hiccup_drops_its_number_of_answers_while_something_plays() -> None:
    history = History(T).play(ONE, 20).pause(60).listen(30)
    player = Player(history.finish(((T + 30, 2),)), 1)
    answers = [player.answer(T + moment, "track") is None for moment in (10, 40, 81, 85, 90)]
    assert answers == [False, False, True, True, False]
