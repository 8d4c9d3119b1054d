from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.matching import AccountRank
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, Play
from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.times import to_iso
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkipReason
from spotify_logger.transfer.importer.formats import read_row
from tests.examples import example
from tests.exports import NOON, NOW_MS, A, account, entry, extended

DAY = 86_400


def times(row: dict[str, object]) -> tuple[float, float, float]:
    """Return start and end in seconds after noon, and the seconds played."""
    play = entry(row).play
    start, end = (moment - NOON * 1000 for moment in (play.started_ms, play.ended_ms))
    return start / 1000, end / 1000, play.ms_played / 1000


def test_row_of_the_extended_history_is_read_without_personal_data() -> None:
    secrets = dict.fromkeys(("username", "ip_addr", "ip_addr_decrypted", "user_agent_decrypted"), "secret")
    found = entry(extended(A, 0.4, 100.25) | secrets)
    assert found.play.index == "track:A 100250 trackdone"
    assert (found.kind, found.reported_end_ms) == (AccountRank.EXTENDED, (NOON + 101) * 1000)
    assert "secret" not in str(found)


def test_row_of_the_account_data_has_no_id() -> None:
    row = {**account(A, 190, 100), "artistName": "AC:DC & Ö", "trackName": "What? 100%"}
    found = entry(row)
    uri = "spotify:local:AC%3ADC+%26+%C3%96::What%3F+100%25:0"
    assert found.play.to_hash() == {
        "uri": uri,
        "type": "track",
        "name": "What? 100%",
        "artists": "AC:DC & Ö",
        "started_at": "2026-01-01T12:01:20.000Z",
        "ended_at": "2026-01-01T12:03:00.000Z",
        "ms_played": 100_000,
        "end_reason": "unknown",
        "source": "import",
    }
    assert found.play.item.key == catalog_key("track", "", uri)
    assert found.kind is AccountRank.ACCOUNT_DATA


NAMELESS: dict[str, object] = {
    "master_metadata_track_name": None,
    "master_metadata_album_artist_name": None,
    "master_metadata_album_album_name": None,
}


EPISODE = {"episode_name": "One", "episode_show_name": "Show", "spotify_episode_uri": "spotify:episode:E"}
CHAPTER = {
    "audiobook_title": "Show",
    "audiobook_uri": "spotify:show:B",
    "audiobook_chapter_title": "One",
    "audiobook_chapter_uri": "spotify:chapter:E",
}


@pytest.mark.parametrize("names", [EPISODE, CHAPTER], ids=["podcast", "audiobook"])
def test_episode_has_its_show_and_a_chapter_its_book_as_album(names: dict[str, str]) -> None:
    play = entry(extended(A, 0, 100, spotify_track_uri=None) | NAMELESS | names).play
    found = {name: play.fields.get(name) for name in ("id", "type", "name", "artists", "album")}
    assert found == {"id": "E", "type": "episode", "name": "One", "artists": None, "album": "Show"}
    assert (play.item.key, play.item.uri) == ("episode:E", "spotify:episode:E")


def test_chapter_of_the_account_data_is_an_episode_of_its_book() -> None:
    row = {"endTime": "2025-12-31 12:00", "audiobookName": "Show", "chapterName": "One", "authorName": "I"}
    play = entry(row | {"msPlayed": 4_000_000}).play
    live = entry(extended(A, 0, 100, spotify_track_uri=None) | NAMELESS | CHAPTER).play
    names = {"type": "episode", "name": "One", "album": "Show"}
    assert names.items() <= play.fields.items()
    assert names.items() <= live.fields.items()
    assert play.ms_played == 4_000_000


def test_local_file_keeps_its_uri() -> None:
    uri = "spotify:local:Me::Demo:200"
    assert entry(extended(A, 0, 100, spotify_track_uri=uri)).play.item.uri == uri


@pytest.mark.parametrize(
    "uri", [None, "https://open.spotify.com/track/A", "spotify:track:", "spotify:track:a b", 7]
)
def test_invalid_uri_is_replaced_by_one_of_the_names(uri: object) -> None:
    play = entry(extended(A, 0, 100, spotify_track_uri=uri)).play
    assert play.item.uri == "spotify:local:Daft+Punk:Discovery:A:0"
    assert "id" not in play.fields


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(extended(A, 0, 0.001, 100), (0, 100, 0.001), id="very short"),
        pytest.param(extended(A, 0, 100, 130), (0, 130, 100), id="paused"),
        pytest.param(
            extended(A, 0, 100, offline_timestamp=NOON * 1000 + 321), (0.321, 100.321, 100), id="start in ms"
        ),
        pytest.param(extended(A, 6, 100, 100), (0, 100, 100), id="start far too late"),
        pytest.param(extended(A, 0, 100, 1900), (0, 1900, 100), id="paused for half an hour"),
        pytest.param(extended(A, 0, 100, 1901), (0, 100, 100), id="left loaded"),
        pytest.param(extended(A, 0, 100, 32 * DAY), (32 * DAY - 100, 32 * DAY, 100), id="start too long ago"),
        pytest.param(extended(A, 0, 100, 159, offline=True), (0, 159, 100), id="offline"),
        pytest.param(extended(A, 0, 100, 161, offline=True), (0, 100, 100), id="uploaded later"),
        *(
            pytest.param(
                extended(A, None, 100, 130, offline_timestamp=start), (30, 130, 100), id=f"start {start}"
            )
            for start in (None, 99, "x", 10**30)
        ),
        pytest.param(account(A, 190, 100), (80, 180, 100), id="account data"),
    ],
)
def test_times(row: dict[str, object], expected: tuple[float, float, float]) -> None:
    assert times(row) == expected


@pytest.mark.parametrize(
    ("reason_end", "skipped", "expected"),
    [
        ("TRACKDONE", None, "trackdone"),
        ("fwdbtn", None, "skipped"),
        ("endplay", True, "skipped"),
        ("remote", False, "unknown"),
        ("logout", False, "stopped"),
        ("trackdone", False, "trackdone"),
        *((reason, True, "skipped") for reason in ("unknown", "nextbtn", "reload", "logout", 1.0)),
        ("something new", None, "unknown"),
        ("", True, "skipped"),
        (None, False, "unknown"),
    ],
)
def test_end_reason(reason_end: object, skipped: object, expected: str) -> None:
    assert entry(extended(A, 0, 9, reason_end=reason_end, skipped=skipped)).play.end_reason == expected


@pytest.mark.parametrize(
    ("row", "reason", "word"),
    [
        (extended(A, 0, 0), SkipReason.SILENT, ""),
        (account(A, 60, 0), SkipReason.SILENT, ""),
        (extended(A, 0, 100, incognito_mode=True), SkipReason.PRIVATE, ""),
        (extended(A, 0, 100) | NAMELESS | {"spotify_track_uri": "nonsense"}, SkipReason.NAMELESS, ""),
        (extended(A, 0, 100) | NAMELESS | {"spotify_track_uri": None}, SkipReason.NAMELESS, ""),
        (account(A, 60, 1) | {"trackName": ""}, SkipReason.NAMELESS, ""),
        (extended(A, 0, 100, spotify_track_uri="spotify:video:F"), SkipReason.VIDEO, ""),
        (
            extended(A, 0, 100) | NAMELESS | {"spotify_track_uri": None, "x": "spotify:film:F"},
            SkipReason.VIDEO,
            "",
        ),
        ('{"ts": "\udce4"}', SkipReason.BAD, "UTF-8"),
        (None, SkipReason.BAD, "known format"),
        ({}, SkipReason.BAD, "known format"),
        *(
            (extended(A, 0, 100, ts=ts), SkipReason.BAD, "ts is not a time")
            for ts in (None, 5, "", "yesterday", "1970-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
        ),
        *(
            (extended(A, 0, 100, ms_played=heard), SkipReason.BAD, "ms_played")
            for heard in ("x", -1, 1.5, True, 8 * DAY * 1000)
        ),
        (account(A, 60, 1) | {"msPlayed": "?"}, SkipReason.BAD, "msPlayed"),
    ],
)
def test_skipped_rows(row: object, reason: SkipReason, word: str) -> None:
    found = read_row(row, NOW_MS)
    assert (SkipReason.BAD if isinstance(found, str) else found) is reason
    assert word in str(found)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
) | st.sampled_from(
    (NOON, NOON * 1000, math.inf, "2026-01-01T12:00:00Z", "\ud800", "spotify:track:\ud800", "spotify:local:a")
)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from([*extended(A, 0, 1), *account(A, 0, 1), "audiobook_chapter_uri"]), values
    ),
    st.sampled_from([extended(A, 0, 100), account(A, 60, 50), {}]),
)
def test_any_row_is_skipped_or_a_play_that_can_be_stored(
    changes: dict[str, object], row: dict[str, object]
) -> None:
    found = read_row(row | changes, NOW_MS)
    if isinstance(found, ImportedPlay):
        kept = {name: str(value) for name, value in found.play.to_hash().items()}
        assert all(text.encode() for text in (*kept.values(), found.play.item.key))
        again = Play.from_hash(found.play.second, kept)
        assert again is not None
        assert (again.item.key, again.to_hash()) == (found.play.item.key, found.play.to_hash())


def test_example_of_an_export() -> None:
    rows = example("export/Streaming_History_Audio_2025.json")
    found = [read_row(row, NOW_MS) for row in rows]
    assert [
        (*map(to_iso, (one.play.started_ms, one.play.ended_ms)), one.play.end_reason)
        if isinstance(one, ImportedPlay)
        else one
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
