from __future__ import annotations

from typing import Any

import pytest

from spotify_logger.core.player_state import NO_STATE, read_item, read_player_state
from tests.examples import example

TRACK: dict[str, Any] = {
    "album": {
        "id": "album1",
        "images": [{"url": "https://i.example/large", "height": 640}, {"url": "https://i.example/small"}],
        "name": "Discovery",
    },
    "artists": [{"id": "artist1", "name": "Daft Punk"}, {"id": "artist2", "name": "Panda Bear"}],
    "duration_ms": 345_000,
    "explicit": True,
    "external_ids": {"isrc": "GBDUW0000059"},
    "id": "track1",
    "name": "Veridis Quo",
    "type": "track",
    "uri": "spotify:track:track1",
}


def body(item: object, **changes: object) -> dict[str, Any]:
    return {
        "actions": {"disallows": {"resuming": True}},
        "context": {"type": "album", "uri": "spotify:album:album1"},
        "currently_playing_type": "track",
        "device": {"is_private_session": False, "name": "Kitchen", "type": "Speaker", "volume_percent": 34},
        "is_playing": True,
        "item": item,
        "progress_ms": 61_000,
        "repeat_state": "off",
        "shuffle_state": False,
        "timestamp": 1_790_000_000_000,
        **changes,
    }


def test_a_track() -> None:
    state = read_player_state(body(TRACK))

    assert state.item is not None
    assert (state.playing, state.progress_ms, state.changed_ms) == (True, 61_000, 1_790_000_000_000)
    assert not state.private
    assert read_player_state(body(TRACK, device={"is_private_session": True})).private
    assert state.fields == {
        "id": "track1",
        "uri": "spotify:track:track1",
        "type": "track",
        "name": "Veridis Quo",
        "artists": "Daft Punk, Panda Bear",
        "album": "Discovery",
        "duration_ms": 345_000,
        "explicit": 1,
        "device_name": "Kitchen",
        "device_type": "Speaker",
        "device_volume": 34,
        "shuffle_state": 0,
        "repeat_state": "off",
        "context_uri": "spotify:album:album1",
        "timestamp": 1_790_000_000_000,
        "progress_ms": 61_000,
        "playing": 1,
    }
    assert state.item is not None
    assert state.item.key == "track:track1"
    assert state.item.catalog == {
        "uri": "spotify:track:track1",
        "type": "track",
        "name": "Veridis Quo",
        "artists": "Daft Punk, Panda Bear",
        "artist_ids": "artist1 artist2",
        "artist_list": '[{"name": "Daft Punk", "id": "artist1"}, {"name": "Panda Bear", "id": "artist2"}]',
        "album": "Discovery",
        "album_id": "album1",
        "isrc": "GBDUW0000059",
        "duration_ms": 345_000,
        "cover": "https://i.example/large",
    }


def test_an_episode_has_its_show_where_a_track_has_its_album() -> None:
    raw = example("player/playing_episode.json")
    state = read_player_state(raw)

    assert state.item is not None
    assert state.item.key == f"episode:{raw['item']['id']}"
    assert state.fields["album"] == raw["item"]["show"]["name"]
    assert "artists" not in state.fields
    assert state.item.catalog["album_id"] == raw["item"]["show"]["id"]
    assert state.item.catalog["cover"] == raw["item"]["images"][0]["url"]


def test_an_item_without_a_valid_id_is_identified_by_its_uri() -> None:
    raw = example("player/playing_local_file.json")
    state = read_player_state({**raw, "item": {**raw["item"], "id": "two words"}})

    assert state.item is not None
    assert state.item.key.startswith("local:")
    assert "id" not in state.fields


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        {},
        body(None, currently_playing_type="unknown", is_playing=False),
        body({"track": None}),
        body({**TRACK, "type": "chapter"}),
        body({**TRACK, "id": None, "uri": None}),
        body([TRACK]),
    ],
)
def test_no_information(nothing: object) -> None:
    assert read_player_state(nothing) == NO_STATE


def test_an_advertisement() -> None:
    state = read_player_state(body(None, currently_playing_type="ad", progress_ms=12_000))

    assert (state.is_advertisement, state.playing, state.progress_ms) == (True, True, 12_000)


def test_progress_is_limited_to_the_duration() -> None:
    assert read_player_state(body(TRACK, progress_ms=400_000)).progress_ms == 345_000
    assert read_player_state(body(TRACK, progress_ms="44272")).progress_ms == 44_272, "as text, as in 2017"


@pytest.mark.parametrize("invalid", [-1, "soon", 0.5, 1e300, 10**30, [], float("nan"), float("inf")])
def test_invalid_numbers_are_left_out(invalid: object) -> None:
    state = read_player_state(body(TRACK, progress_ms=invalid, timestamp=invalid))

    assert (state.progress_ms, state.changed_ms) == (None, None)
    assert not {"progress_ms", "timestamp"} & state.fields.keys()


@pytest.mark.parametrize(
    ("name", "uri", "playing", "progress_ms"),
    [
        ("context_null", "spotify:track:3iX8dKOOVjwbmnZFCyqkM1", True, 120_733),
        ("playing_album", "spotify:track:1PUTtQrNfNVdu02ypqSZsf", True, 83_120),
        ("playing_episode", "spotify:episode:0tYV0xHmwBpTuC2g3a0oDf", True, 612_004),
        ("playing_local_file", "spotify:local:The+Hedda+Trio::Kitchen+Tape+2:1863", True, 74_810),
    ],
)
def test_examples_with_an_item(name: str, uri: str, playing: bool, progress_ms: int | None) -> None:  # noqa: FBT001
    state = read_player_state(example(f"player/{name}.json"))

    assert state.item is not None
    assert (state.item.uri, state.playing, state.progress_ms) == (uri, playing, progress_ms)


@pytest.mark.parametrize("name", ["episode_not_asked_for", "item_empty_2017", "unknown_after_transfer"])
def test_examples_without_an_item(name: str) -> None:
    assert read_player_state(example(f"player/{name}.json")) == NO_STATE


@pytest.mark.parametrize(
    ("artists", "expected"),
    [
        (
            [{"name": "Tyler, The Creator", "id": "t"}, {"name": "Käli"}],
            '[{"name": "Tyler, The Creator", "id": "t"}, {"name": "Käli"}]',
        ),
        ([{"name": "", "id": "1"}, {"name": None, "id": "2"}, "Air"], None),
        ([{"name": "half a pair: \ud83d", "id": "1"}], '[{"name": "half a pair: ?", "id": "1"}]'),
        ([{"name": "A", "id": "1" * 22}] * 200, None),  # too long for a field
    ],
)
def test_the_list_of_artists(artists: object, expected: str | None) -> None:
    item = read_item({"type": "track", "id": "a", "artists": artists})
    assert item is not None
    assert item.catalog.get("artist_list") == expected
