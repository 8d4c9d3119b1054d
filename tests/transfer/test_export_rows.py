from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, Play
from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.times import to_iso
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkippedRow, SkipReason, read_row
from tests.examples import example
from tests.exports import NOON, NOW_MS, A, account, entry, extended

DAY = 86_400


def left(row: object) -> SkippedRow:
    """Why there is no play in a row."""
    found = read_row(row, NOW_MS)
    assert isinstance(found, SkippedRow), found
    return found


def times(row: dict[str, object]) -> tuple[float, float, float]:
    """Start and end in seconds after noon, and seconds heard."""
    play = entry(row).play
    start, end = (moment - NOON * 1000 for moment in (play.started_ms, play.ended_ms))
    return start / 1000, end / 1000, play.ms_played / 1000


def test_a_row_becomes_a_play() -> None:
    found = entry(extended(A, 0.4, 100.25))
    assert found.play.to_hash() == {
        "id": "A",
        "uri": "spotify:track:A",
        "type": "track",
        "name": "A",
        "artists": "Daft Punk",
        "album": "Discovery",
        "device_name": "android",
        "shuffle_state": 0,
        "started_at": "2026-01-01T12:00:00.000Z",
        "ended_at": "2026-01-01T12:01:41.000Z",
        "ms_played": 100_250,
        "end_reason": "trackdone",
        "source": "import",
    }
    assert found.play.index == "track:A 100250 trackdone"
    assert (found.kind, found.reported_end_ms) == (SourceKind.EXTENDED, (NOON + 101) * 1000)


def test_a_row_of_an_accounts_data_becomes_a_play_without_an_id() -> None:
    found = entry(account(A, 190, 100))
    uri = "spotify:local:Daft+Punk::A:0"
    assert found.play.to_hash() == {
        "uri": uri,
        "type": "track",
        "name": "A",
        "artists": "Daft Punk",
        "started_at": "2026-01-01T12:01:20.000Z",
        "ended_at": "2026-01-01T12:03:00.000Z",
        "ms_played": 100_000,
        "end_reason": "unknown",
        "source": "import",
    }
    assert found.play.item.key == catalog_key("track", "", uri)
    assert found.kind is SourceKind.ACCOUNT


def test_what_has_no_id_is_written_as_spotify_writes_local_files() -> None:
    row = {**account(A, 60, 1), "artistName": "AC:DC & Ö", "trackName": "What? 100%"}
    assert entry(row).play.item.uri == "spotify:local:AC%3ADC+%26+%C3%96::What%3F+100%25:0"


def test_a_podcast_is_its_shows() -> None:
    row = extended(
        A,
        0,
        100,
        master_metadata_track_name=None,
        master_metadata_album_artist_name=None,
        master_metadata_album_album_name=None,
        spotify_track_uri=None,
        episode_name="One",
        episode_show_name="Show",
        spotify_episode_uri="spotify:episode:E",
    )
    play = entry(row).play
    told = {name: play.fields.get(name) for name in ("id", "type", "name", "artists", "album")}
    assert told == {"id": "E", "type": "episode", "name": "One", "artists": None, "album": "Show"}
    assert play.item.key == "episode:E"
    podcast = {"endTime": "2026-01-01 12:02", "podcastName": "Show", "episodeName": "One", "msPlayed": 5}
    assert entry(podcast).play.fields["album"] == "Show"
    assert entry(podcast).play.fields["type"] == "episode"


@pytest.mark.parametrize("uri", ["spotify:episode:C", "spotify:chapter:C"])
def test_a_chapter_of_an_audiobook_is_an_episode_as_the_player_has_it(uri: str) -> None:
    row = extended(
        A,
        0,
        100,
        spotify_track_uri=None,
        master_metadata_track_name=None,
        audiobook_title="Book",
        audiobook_uri="spotify:show:B",
        audiobook_chapter_uri=uri,
        audiobook_chapter_title="Chapter 1",
    )
    play = entry(row).play
    assert (play.item.key, play.item.uri) == ("episode:C", "spotify:episode:C")
    assert (play.fields["name"], play.fields["album"]) == ("Chapter 1", "Book")


GONE: dict[str, object] = {
    "master_metadata_track_name": None,
    "master_metadata_album_artist_name": None,
    "master_metadata_album_album_name": None,
}


def test_a_track_that_was_taken_down_is_kept_by_its_uri() -> None:
    play = entry(extended(A, 0, 100) | GONE).play
    assert (play.item.key, play.fields.get("name")) == ("track:A", None)


def test_a_local_file_is_kept_by_its_uri() -> None:
    uri = "spotify:local:Me::Demo:200"
    play = entry(extended(A, 0, 100) | GONE | {"spotify_track_uri": uri}).play
    assert (play.item.key, play.item.uri) == (catalog_key("track", "", uri), uri)


def test_a_uri_that_is_none_leaves_the_names() -> None:
    for uri in (None, "", "https://open.spotify.com/track/A", "spotify:track:", "spotify:track:a b", 7):
        play = entry(extended(A, 0, 100, spotify_track_uri=uri)).play
        assert play.item.uri == "spotify:local:Daft+Punk:Discovery:A:0"
        assert "id" not in play.fields


# When


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (extended(A, 0, 100), (0, 100, 100)),
        (extended(A, 0, 100, 130), (0, 130, 100)),
        (extended(A, 0, 100, offline_timestamp=NOON * 1000 + 321), (0.321, 100.321, 100)),
        (extended(A, 4, 100, 100), (4, 104, 100)),
        (extended(A, 6, 100, 100), (0, 100, 100)),
        (extended(A, 0, 100, 1900), (0, 1900, 100)),
        (extended(A, 0, 100, 1901), (0, 100, 100)),
        (extended(A, 0, 100, 30 * DAY), (0, 100, 100)),
        (extended(A, 0, 100, 32 * DAY), (32 * DAY - 100, 32 * DAY, 100)),
        (extended(A, 0, 100, 159, offline=True), (0, 159, 100)),
        (extended(A, 0, 100, 161, offline=True), (0, 100, 100)),
        (extended(A, 0, 100, 161, offline=1.0), (0, 100, 100)),
        *((extended(A, None, 100, 130, offline_timestamp=n), (30, 130, 100)) for n in (None, 0, 99, -1, "x")),
        (extended(A, None, 100, 130, offline_timestamp=float(NOON)), (0, 130, 100)),
        (extended(A, None, 100, 130, offline_timestamp=True), (30, 130, 100)),
        (extended(A, None, 100, 130, offline_timestamp=10**30), (30, 130, 100)),
        (account(A, 190, 100), (80, 180, 100)),
    ],
    ids=[
        "heard through",
        "paused",
        "a start in milliseconds",
        "a start a little too late",
        "a start far too late",
        "paused for half an hour",
        "left loaded",
        "left loaded for weeks",
        "a start too long ago",
        "offline",
        "uploaded later",
        "uploaded later, by a number",
        "no start",
        "a start of zero",
        "a start that is none",
        "a start before all time",
        "a start that is a text",
        "a start that is a fraction",
        "a start that is true",
        "a start beyond all time",
        "an account's data",
    ],
)
def test_times(row: dict[str, object], expected: tuple[float, float, float]) -> None:
    assert times(row) == expected


@pytest.mark.parametrize(
    "text", ["2026-01-01T12:01:40Z", "2026-01-01 12:01:40 UTC", "2026-01-01T12:01:40+00:00"]
)
def test_the_end_as_exports_have_written_it(text: str) -> None:
    assert entry(extended(A, 0, 100, ts=text)).reported_end_ms == (NOON + 100) * 1000


@pytest.mark.parametrize(
    ("reason_end", "skipped", "expected"),
    [
        ("trackdone", False, "trackdone"),
        ("TRACKDONE", None, "trackdone"),
        ("fwdbtn", None, "skipped"),
        ("backbtn", None, "skipped"),
        ("clickrow", None, "skipped"),
        ("endplay", True, "skipped"),
        ("endplay", False, "skipped"),
        ("logout", False, "stopped"),
        ("unexpected-exit-while-paused", None, "stopped"),
        ("trackerror", True, "unknown"),
        ("something new", None, "unknown"),
        (None, True, "skipped"),
        ("", True, "skipped"),
        (None, 1.0, "skipped"),
        (None, False, "unknown"),
        (None, None, "unknown"),
        (7, None, "unknown"),
    ],
)
def test_how_it_ended(reason_end: object, skipped: object, expected: str) -> None:
    assert entry(extended(A, 0, 9, reason_end=reason_end, skipped=skipped)).play.end_reason == expected


# What is left out


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (extended(A, 0, 0), SkippedRow(SkipReason.SILENT)),
        (account(A, 60, 0), SkippedRow(SkipReason.SILENT)),
        (extended(A, 0, 100, incognito_mode=True), SkippedRow(SkipReason.PRIVATE)),
        (extended(A, 0, 0, incognito_mode=1.0), SkippedRow(SkipReason.PRIVATE)),
        (extended(A, 0, 100) | GONE | {"spotify_track_uri": None}, SkippedRow(SkipReason.NAMELESS)),
        (extended(A, 0, 100) | GONE | {"spotify_track_uri": "nonsense"}, SkippedRow(SkipReason.NAMELESS)),
        (account(A, 60, 1) | {"trackName": ""}, SkippedRow(SkipReason.NAMELESS)),
        (account(A, 60, 1) | {"trackName": 5}, SkippedRow(SkipReason.NAMELESS)),
        (None, SkippedRow(SkipReason.BAD, "not a JSON object")),
        ([], SkippedRow(SkipReason.BAD, "not a JSON object")),
        ({}, SkippedRow(SkipReason.BAD, "has neither ts nor endTime")),
        *(
            (extended(A, 0, 100, ts=ts), SkippedRow(SkipReason.BAD, "ts is not a time between 2006 and now"))
            for ts in (None, 5, "", "yesterday", "1970-01-01T00:00:00Z", "2027-02-01T00:00:00Z", "9999-12-31")
        ),
        *(
            (
                extended(A, 0, 100, ms_played=heard),
                SkippedRow(SkipReason.BAD, "ms_played is not a number of milliseconds"),
            )
            for heard in (None, "x", -1, 1.5, True, 8 * DAY * 1000)
        ),
        (
            account(A, 60, 1) | {"endTime": "?"},
            SkippedRow(SkipReason.BAD, "endTime is not a time between 2006 and now"),
        ),
        (
            account(A, 60, 1) | {"msPlayed": "?"},
            SkippedRow(SkipReason.BAD, "msPlayed is not a number of milliseconds"),
        ),
    ],
)
def test_rows_that_are_left_out(row: object, expected: SkippedRow) -> None:
    assert left(row) == expected


def test_private_rows_are_taken_if_they_are_wanted() -> None:
    row = extended(A, 0, 100, incognito_mode=True)
    assert isinstance(read_row(row, NOW_MS, private=True), ImportedPlay)


def test_short_skips_are_plays() -> None:
    assert times(extended(A, 0, 0.001, 1))[2] == 0.001


def test_nothing_of_the_person_is_kept() -> None:
    names = ("username", "ip_addr", "ip_addr_decrypted", "user_agent_decrypted", "conn_country")
    secrets = dict.fromkeys(names, "secret")
    found = entry(extended(A, 0, 100) | secrets)
    assert "secret" not in str(found)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
some_values = anything | st.sampled_from(
    (NOON, NOON * 1000, math.inf, "2026-01-01T12:00:00Z", "\ud800", "spotify:track:\ud800", "spotify:local:a")
)


@given(
    st.dictionaries(
        st.sampled_from([*extended(A, 0, 1), *account(A, 0, 1), "audiobook_chapter_uri"]), some_values
    ),
    st.sampled_from([extended(A, 0, 100), account(A, 60, 50), {}]),
)
def test_whatever_comes_is_a_play_that_can_be_kept_or_left_out(
    changes: dict[str, object], row: dict[str, object]
) -> None:
    found = read_row(row | changes, NOW_MS)
    if isinstance(found, ImportedPlay):
        kept = {name: str(value) for name, value in found.play.to_hash().items()}
        assert all(text.encode() for text in (*kept.values(), found.play.item.key))
        again = Play.from_hash(found.play.second, kept)
        assert again is not None
        assert (again.item.key, again.to_hash()) == (found.play.item.key, found.play.to_hash())


def test_the_example_of_an_export() -> None:
    rows = example("export/Streaming_History_Audio_2025.json")
    found = [read_row(row, NOW_MS) for row in rows]
    assert [
        one.reason
        if isinstance(one, SkippedRow)
        else (*map(to_iso, (one.play.started_ms, one.play.ended_ms)), one.play.end_reason)
        for one in found
    ] == [
        ("2025-06-03T18:00:29.000Z", "2025-06-03T18:00:42.000Z", SKIPPED),
        ("2025-06-03T18:00:41.000Z", "2025-06-03T18:04:16.000Z", TRACKDONE),
        ("2025-06-03T18:04:16.000Z", "2025-06-03T18:04:51.940Z", STOPPED),
        ("2025-06-04T06:09:54.080Z", "2025-06-04T06:12:51.000Z", TRACKDONE),
        SkipReason.SILENT,
        ("2025-06-04T06:13:02.000Z", "2025-06-04T06:41:38.000Z", SKIPPED),
        ("2025-06-04T19:42:26.000Z", "2025-06-04T20:05:31.000Z", TRACKDONE),
        SkipReason.PRIVATE,
        ("2025-06-05T11:02:37.000Z", "2025-06-05T11:06:48.480Z", TRACKDONE),
    ]
