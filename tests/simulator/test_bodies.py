from __future__ import annotations

import json

import pytest

from spotify_logger.simulator.bodies import LIKED_SONGS, DeviceObject, ItemObject, context, local_file
from spotify_logger.simulator.catalog import Catalog, make_catalog, song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.player import Player
from spotify_logger.simulator.recently_played import RecentlyPlayed
from tests.examples import example

GONE = {"available_markets", "popularity", "preview_url", "linked_from", "publisher"}
"""Fields that a development-mode app has not got any more since February 2026."""

T = 1_700_000_000.0


def shape(value: object) -> object:
    """The keys of a body, all the way down; of a list, its first element; of anything else, the type."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name not in GONE}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if type(value) in {int, float} else type(value).__name__


def playing(item: ItemObject) -> dict[str, object]:
    history = History(T).change(context=item.home).play(item)
    body = json.loads(Player(history.finish(), 1).answer(T + 9, "track,episode") or "")
    assert isinstance(body, dict)
    return body


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return make_catalog(1)


def test_a_playing_track_has_the_shape_of_a_real_one() -> None:
    assert shape(playing(song("A", 200))) == shape(example("player/playing_album.json"))


def test_a_playing_episode_has_the_shape_of_a_real_one(catalog: Catalog) -> None:
    assert shape(playing(catalog.shows[0][0])) == shape(example("player/playing_episode.json"))


def test_a_playing_chapter_has_the_shape_of_a_real_one(catalog: Catalog) -> None:
    real = example("player/playing_chapter.json")
    real["item"]["show"]["is_externally_hosted"] = False  # null in this one
    assert shape(playing(catalog.books[0][0])) == shape(real)


def test_a_playing_file_has_the_shape_of_a_real_one() -> None:
    real = example("player/playing_local_file.json")
    ours = playing(local_file("The Hedda Trio", "", "Kitchen Tape 2", 1863))
    assert shape(ours) == shape(real)
    assert ours["item"]["uri"] == real["item"]["uri"]  # type: ignore[index]


def test_an_unknown_item_has_the_shape_of_a_real_one() -> None:
    history = (
        History(T).play(song("A", 200), 5).hand_over(DeviceObject("Hall", "Speaker", "d", 20), 60, "unknown")
    )
    ours = json.loads(Player(history.finish(), 1).answer(T + 9, "track,episode") or "")
    real = example("player/unknown_after_transfer.json")
    assert shape(ours) == shape(real)
    for name in ("item", "context", "is_playing", "progress_ms", "timestamp", "currently_playing_type"):
        assert ours[name] == real[name]


def test_an_episode_that_was_not_asked_for_has_the_shape_of_a_real_one(catalog: Catalog) -> None:
    history = History(T).play(catalog.shows[0][0])
    ours = json.loads(Player(history.finish(), 1).answer(T + 9, "track") or "")
    assert shape(ours) == shape(example("player/episode_not_asked_for.json"))


def test_liked_songs_are_a_context_like_real_ones() -> None:
    ours, real = json.loads(LIKED_SONGS.json), example("player/playing_liked_songs.json")["context"]
    assert shape(ours) == shape(real)
    assert (ours["type"], ours["href"], ours["external_urls"]) == tuple(
        real[name] for name in ("type", "href", "external_urls")
    )


def test_a_page_of_history_has_the_shape_of_a_real_one() -> None:
    item = song("A", 200)
    history = History(T).change(context=item.home)
    for _ in range(20):
        history.play(item)
    page = json.loads(RecentlyPlayed(history.finish(), 1).page(T + 9000, 50, None, None))
    real = example("recently_played/page.json")
    page["items"] = [entry for entry in page["items"] if entry["context"]]
    assert shape(page) == shape(real)


def test_a_page_beyond_the_last_item_has_the_shape_of_a_real_one() -> None:
    page = json.loads(RecentlyPlayed(History(T).finish(), 1).page(T, 50, None, None))
    assert shape(page) == shape(example("recently_played/exhausted.json"))


def test_a_speaker_of_another_maker_has_no_id_and_a_phone_no_volume() -> None:
    speaker = json.loads(DeviceObject("Kitchen", "Speaker", None, 35, restricted=True).json)
    assert (speaker["id"], speaker["is_restricted"], speaker["volume_percent"]) == (None, True, 35)
    assert (speaker["is_active"], speaker["is_private_session"]) == (True, False)
    assert shape(speaker) == shape(example("player/playing_liked_songs.json")["device"])
    phone = json.loads(DeviceObject("Pocket", "Smartphone", "p", None).private_json)
    assert (phone["supports_volume"], phone["volume_percent"], phone["is_private_session"]) == (
        False,
        None,
        True,
    )


def test_bodies_say_what_the_items_are(catalog: Catalog) -> None:
    kinds = (catalog.tracks, catalog.files, *catalog.shows, *catalog.books)
    for item in (item for items in kinds for item in items):
        body = item.body
        assert (body["uri"], body["id"], body["name"], body["duration_ms"]) == (
            item.uri,
            item.id,
            item.name,
            item.duration_ms,
        )
        assert json.loads(item.json) == body


def test_keys_of_items(catalog: Catalog) -> None:
    track, episode, file = catalog.tracks[0], catalog.shows[0][0], catalog.files[0]
    assert track.key == f"track:{track.id}"
    assert episode.key == f"episode:{episode.id}"
    assert file.key == file.uri
    assert file.id is None
    assert context("artist", "x").uri == "spotify:artist:x"


def test_the_catalogue_is_the_same_for_a_seed_and_another_for_another() -> None:
    uris = [[item.uri for item in make_catalog(seed).tracks] for seed in (4, 4, 5)]
    assert uris[0] == uris[1]
    assert uris[0] != uris[2]
    assert len(set(uris[0])) == len(uris[0])


def test_the_catalogue_holds_what_loggers_stumble_over(catalog: Catalog) -> None:
    tracks = catalog.tracks
    titles = [track.name for track in tracks]
    assert {"Variation 9", "Variation 10"} <= set(titles)
    assert len(titles) > len(set(titles)), "titles that several tracks share"
    assert any(not title.isascii() for title in titles)
    assert any("🌊" in title for title in titles)
    assert max(map(len, titles)) > 200
    assert sum(track.seconds < 45 for track in tracks) > 20
    assert sum(track.seconds > 480 for track in tracks) > 5
    assert all(30 * 60 <= episode.seconds <= 90 * 60 for show in catalog.shows for episode in show)


def test_some_recordings_have_two_ids(catalog: Catalog) -> None:
    twins = [(track, track.twin) for track in catalog.tracks if track.twin]
    assert len(twins) > 20
    for track, twin in twins:
        assert twin.twin is track
        assert (track.id, track.album) != (twin.id, twin.album)
        assert (track.name, track.artists) == (twin.name, twin.artists)
        assert track.body["external_ids"] == twin.body["external_ids"]
        assert abs(track.duration_ms - twin.duration_ms) <= 1500


def test_isrcs_are_well_formed_and_belong_to_one_recording(catalog: Catalog) -> None:
    by_isrc: dict[str, set[str]] = {}
    for track in catalog.tracks:
        isrc = track.body["external_ids"]["isrc"]  # type: ignore[index]
        by_isrc.setdefault(isrc, set()).add(track.name)
    assert all(len(isrc) == 12 and isrc.isalnum() for isrc in by_isrc)
    assert all(len(names) == 1 for names in by_isrc.values())


def test_a_catalogue_within_bounds(catalog: Catalog) -> None:
    within = catalog.within(60, 300)
    assert all(60 <= item.seconds <= 300 for item in (*within.tracks, *within.files))
    assert 0 < len(within.tracks) < len(catalog.tracks)
    assert within.shows == catalog.shows
