from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.core.player_state import (
    StateKind,
    dict_get,
    read_player_state,
    redis_convert,
    whole_number,
)
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
EPISODE: dict[str, Any] = {
    "duration_ms": 3_600_000,
    "explicit": False,
    "id": "episode1",
    "images": [{"url": "https://i.example/episode"}],
    "name": "The Pilot",
    "show": {"id": "show1", "name": "A Show"},
    "type": "episode",
    "uri": "spotify:episode:episode1",
}
LOCAL: dict[str, Any] = {
    "album": {"id": None, "images": [], "name": ""},
    "artists": [{"id": None, "name": "Me"}],
    "duration_ms": 200_000,
    "explicit": False,
    "id": None,
    "is_local": True,
    "name": "Demo",
    "type": "track",
    "uri": "spotify:local:Me::Demo:200",
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


def test_dict_get_walks_dicts() -> None:
    assert dict_get({"item": {"album": {"name": "Discovery"}}}, "item.album.name") == "Discovery"
    assert dict_get({"item": {"album": {}}}, "item.album") == {}


@pytest.mark.parametrize(
    "d", [None, [], "text", 5, {"item": None}, {"item": ["album"]}, {"item": "album"}, {}]
)
def test_dict_get_refuses_politely_what_is_no_dict(d: object) -> None:
    assert dict_get(d, "item.album.name") is None


def test_redis_convert_makes_numbers_of_booleans_and_leaves_out_what_is_no_value() -> None:
    mixed = {"yes": True, "no": False, "text": "a", "whole": 3, "float": 3.0}
    refused = {"half": 0.5, "nan": float("nan"), "list": [1], "dict": {}, "none": None}

    assert redis_convert({**mixed, **refused}) == {"yes": 1, "no": 0, "text": "a", "whole": 3, "float": 3}


def test_redis_convert_leaves_no_text_that_cannot_be_encoded() -> None:
    assert redis_convert({"name": "half a pair: \ud83d"}) == {"name": "half a pair: ?"}


def test_a_track() -> None:
    playback = read_player_state(body(TRACK))

    assert playback.kind is StateKind.ITEM
    assert (playback.playing, playback.progress_ms, playback.changed_ms) == (True, 61_000, 1_790_000_000_000)
    assert not playback.private
    assert playback.fields == {
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
    assert playback.item is not None
    assert playback.item.key == "track:track1"
    assert playback.item.catalog == {
        "uri": "spotify:track:track1",
        "type": "track",
        "name": "Veridis Quo",
        "artists": "Daft Punk, Panda Bear",
        "artist_ids": "artist1 artist2",
        "album": "Discovery",
        "album_id": "album1",
        "isrc": "GBDUW0000059",
        "duration_ms": 345_000,
        "cover": "https://i.example/large",
    }


def test_an_episode_has_its_show_where_a_track_has_its_album() -> None:
    playback = read_player_state(body(EPISODE, currently_playing_type="episode"))

    assert playback.item is not None
    assert playback.item.key == "episode:episode1"
    assert playback.fields["album"] == "A Show"
    assert "artists" not in playback.fields
    assert playback.item.catalog["album_id"] == "show1"
    assert playback.item.catalog["cover"] == "https://i.example/episode"


def test_a_local_file_is_known_by_its_uri() -> None:
    playback = read_player_state(body(LOCAL))

    assert playback.item is not None
    assert playback.item.uri == "spotify:local:Me::Demo:200"
    assert playback.item.key.startswith("local:")
    assert "id" not in playback.fields
    assert "album" not in playback.fields
    assert playback.fields["artists"] == "Me"


def test_an_id_that_no_line_of_the_index_can_hold_is_none() -> None:
    playback = read_player_state(body({**LOCAL, "id": "two words"}))

    assert playback.item is not None
    assert playback.item.key.startswith("local:")
    assert "id" not in playback.fields


def test_a_local_file_whose_duration_is_an_object() -> None:
    playback = read_player_state(body({**LOCAL, "duration_ms": {"totalMilliseconds": 200_000}}))

    assert playback.item is not None
    assert playback.item.duration_ms is None


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        [],
        "text",
        7,
        {},
        body(None),
        body(None, currently_playing_type="unknown", is_playing=False),
        body(None, currently_playing_type="episode"),
        body({"track": None}),
        body({**TRACK, "type": "chapter"}),
        body({**TRACK, "type": ["track"]}),
        body({**TRACK, "id": None, "uri": None}),
        body({**TRACK, "id": "two words"}),
        body({**TRACK, "id": "\n"}),
        body([TRACK]),
    ],
)
def test_no_information(nothing: object) -> None:
    assert read_player_state(nothing).kind is StateKind.NO_INFORMATION


def test_an_advertisement() -> None:
    playback = read_player_state(body(None, currently_playing_type="ad", progress_ms=12_000))

    assert (playback.kind, playback.playing, playback.progress_ms) == (StateKind.ADVERTISEMENT, True, 12_000)


def test_a_private_session() -> None:
    assert read_player_state(body(TRACK, device={"is_private_session": True})).private


def test_missing_fields_are_left_out() -> None:
    playback = read_player_state({"item": TRACK})

    assert set(playback.fields) == {
        "id",
        "uri",
        "type",
        "name",
        "artists",
        "album",
        "duration_ms",
        "explicit",
    }
    assert (playback.playing, playback.progress_ms, playback.changed_ms) == (False, None, None)


def test_progress_stays_within_the_duration() -> None:
    assert read_player_state(body(TRACK, progress_ms=400_000)).progress_ms == 345_000


@pytest.mark.parametrize("nonsense", [-1, "soon", 0.5, 1e300, 10**30, [], {}, float("nan"), float("inf")])
def test_invalid_numbers_are_left_out(nonsense: object) -> None:
    playback = read_player_state(body(TRACK, progress_ms=nonsense, timestamp=nonsense))

    assert (playback.progress_ms, playback.changed_ms) == (None, None)
    assert not {"progress_ms", "timestamp"} & playback.fields.keys()


def test_progress_as_text_of_2017() -> None:
    assert read_player_state(body(TRACK, progress_ms="44272")).progress_ms == 44_272


@pytest.mark.parametrize("number", [0, 10**18, 2**63 - 1])
def test_a_number_is_the_same_as_text(number: int) -> None:
    assert whole_number(str(number)) == whole_number(number) == number


@pytest.mark.parametrize("text", [str(2**63), "-1", "1" * 20, "\u0665"])
def test_text_that_is_not_a_number(text: str) -> None:
    assert whole_number(text) is None


def test_a_boolean_duration_is_invalid() -> None:
    playback = read_player_state(body({**TRACK, "duration_ms": True}))

    assert playback.item is not None
    assert playback.item.duration_ms is None
    assert type(playback.progress_ms) is int


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
GARBLED = st.fixed_dictionaries(
    {},
    optional={name: JSON | st.just(value) for name, value in body(TRACK).items()}
    | {"item": JSON | st.fixed_dictionaries({}, optional={k: JSON | st.just(v) for k, v in TRACK.items()})},
)


@given(JSON | GARBLED)
def test_any_input_yields_only_text_and_whole_numbers(garbled: object) -> None:
    playback = read_player_state(garbled)

    catalog = {} if playback.item is None else playback.item.catalog
    for value in (*playback.fields.values(), *catalog.values()):
        assert type(value) in (str, int)
        str(value).encode()


@pytest.mark.parametrize(
    ("name", "uri", "playing", "progress_ms"),
    [
        ("context_null", "spotify:track:3iX8dKOOVjwbmnZFCyqkM1", True, 120_733),
        ("no_progress", "spotify:track:2DPOvYQKiXk5QmPr1hOObA", True, None),
        ("paused_2017", "spotify:track:3ksVDJinPTtJy3sz0ANdGE", False, 66_301),
        ("playing_album", "spotify:track:1PUTtQrNfNVdu02ypqSZsf", True, 83_120),
        ("playing_chapter", "spotify:episode:7K9ZvKDXLk1PKOkLFrG5Rw", True, 15_402),
        ("playing_episode", "spotify:episode:0tYV0xHmwBpTuC2g3a0oDf", True, 612_004),
        ("playing_liked_songs", "spotify:track:1hlyGNCR2ngBavOqgaSMjx", True, 9_276),
        ("playing_local_file", "spotify:local:The+Hedda+Trio::Kitchen+Tape+2:1863", True, 74_810),
    ],
)
def test_examples_with_an_item(name: str, uri: str, playing: bool, progress_ms: int | None) -> None:  # noqa: FBT001
    playback = read_player_state(example(f"player/{name}.json"))

    assert playback.item is not None
    assert (playback.item.uri, playback.playing, playback.progress_ms) == (uri, playing, progress_ms)


@pytest.mark.parametrize("name", ["episode_not_asked_for", "item_empty_2017", "unknown_after_transfer"])
def test_examples_without_an_item(name: str) -> None:
    assert read_player_state(example(f"player/{name}.json")).kind is StateKind.NO_INFORMATION
