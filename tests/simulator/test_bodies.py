from __future__ import annotations

import json

import pytest

from spotify_logger.simulator.bodies import DeviceObject, ItemObject
from spotify_logger.simulator.catalog import Catalog, make_catalog, song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.player import Player
from spotify_logger.simulator.recently_played import RecentlyPlayed
from tests.examples import example

GONE = {"available_markets", "popularity", "preview_url", "linked_from", "publisher"}
"""Fields that apps in development mode have not received since February 2026."""

T = 1_700_000_000.0


def shape(value: object) -> object:
    """Return the nested keys of a body; of a list, its first element; of anything else, the type."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name not in GONE}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if type(value) in {int, float} else type(value).__name__


def state(history: History, additional_types: str = "track,episode") -> dict[str, object]:
    """Return the body of the player nine seconds after the beginning."""
    body = json.loads(Player(history.finish(), 1).answer(T + 9, additional_types) or "")
    assert isinstance(body, dict)
    return body


def playing(item: ItemObject) -> History:
    return History(T).change(context=item.home).play(item)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return make_catalog(1)


def test_player_states_have_the_shape_of_real_ones(catalog: Catalog) -> None:
    episode, chapter = catalog.shows[0][0], catalog.books[0][0]
    assert shape(state(playing(song("A", 200)))) == shape(example("player/playing_album.json"))
    assert shape(state(playing(episode))) == shape(example("player/playing_episode.json"))
    not_asked_for = state(History(T).play(episode), "track")
    assert shape(not_asked_for) == shape(example("player/episode_not_asked_for.json"))
    real = example("player/playing_chapter.json")
    real["item"]["show"]["is_externally_hosted"] = False  # null in this one
    assert shape(state(playing(chapter))) == shape(real)


def test_an_unknown_item_is_like_a_real_one() -> None:
    hall = DeviceObject("Hall", "Speaker", "d", 20)
    ours = state(History(T).play(song("A", 200), 5).hand_over(hall, 60, "unknown"))
    real = example("player/unknown_after_transfer.json")
    assert shape(ours) == shape(real)
    for name in ("item", "context", "is_playing", "progress_ms", "timestamp", "currently_playing_type"):
        assert ours[name] == real[name]


def test_pages_of_recently_played_have_the_shape_of_real_ones() -> None:
    item = song("A", 200)
    history = History(T).change(context=item.home)
    for _ in range(20):
        history.play(item)
    page = json.loads(RecentlyPlayed(history.finish(), 1).page(T + 9000, 50, None, None))
    page["items"] = [entry for entry in page["items"] if entry["context"]]
    assert shape(page) == shape(example("recently_played/page.json"))
    empty = json.loads(RecentlyPlayed(History(T).finish(), 1).page(T, 50, None, None))
    assert shape(empty) == shape(example("recently_played/exhausted.json"))


class TestCatalog:
    def test_it_has_items_that_are_difficult_for_loggers(self, catalog: Catalog) -> None:
        tracks = catalog.tracks
        titles = [track.name for track in tracks]
        assert {"Variation 9", "Variation 10"} <= set(titles)
        assert len(titles) > len(set(titles)), "titles that several tracks share"
        assert any("🌊" in title for title in titles)
        assert max(map(len, titles)) > 200
        assert sum(track.seconds < 45 for track in tracks) > 20
        assert sum(track.seconds > 480 for track in tracks) > 5
        assert all(30 * 60 <= episode.seconds <= 90 * 60 for show in catalog.shows for episode in show)

    def test_some_recordings_have_two_ids_and_one_isrc(self, catalog: Catalog) -> None:
        twins = [(track, track.twin) for track in catalog.tracks if track.twin]
        assert len(twins) > 20
        for track, twin in twins:
            assert twin.twin is track
            assert (track.id, track.album) != (twin.id, twin.album)
            assert (track.name, track.artists) == (twin.name, twin.artists)
            assert track.body["external_ids"] == twin.body["external_ids"]
            assert abs(track.duration_ms - twin.duration_ms) <= 1500
