from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.catalog import CatalogEntry, artists_of
from spotify_logger.core.matching import AccountRank
from spotify_logger.core.matching_exports import kind_of
from spotify_logger.core.play import Play
from spotify_logger.core.times import to_iso
from spotify_logger.transfer.importer.command import import_history
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkipReason
from spotify_logger.transfer.importer.files import SourceFile, UnreadableFile, find_sources
from spotify_logger.transfer.importer.formats import format_of, read_row
from tests.exports import NOON, NOW_MS, A, B, C, account, extended, write
from tests.transfer.test_dedup import logged
from tests.transfer.test_importer import everything

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from spotify_logger.storage.bulk import Archive

Row = dict[str, object]

LISTENBRAINZ: Row = {
    "listened_at": NOON + 0.0,
    "inserted_at": NOON + 900.0,
    "track_metadata": {
        "artist_name": "Zero & One",
        "track_name": "Two",
        "release_name": "Three",
        "additional_info": {"artist_names": ["Zero", "One"], "duration_ms": 200_000},
    },
}
KOITO: Row = {
    "listened_at": "2026-01-01T12:00:00Z",
    "client": "x",
    "track": {"mbid": None, "duration": 200, "aliases": [{"alias": "Two", "is_primary": True}]},
    "album": {"aliases": [{"alias": "3"}, {"alias": "Three", "is_primary": True}]},
    "artists": [{"aliases": [{"alias": "Zero"}]}, {"is_primary": False, "aliases": [{"alias": "One"}]}],
}
MALOJA: Row = {
    "time": NOON,
    "duration": None,
    "track": {"title": "Two", "artists": ["Zero", "One"], "album": {"albumtitle": "Three"}, "length": 200},
    "origin": "client:x",
}
LAST_FM: Row = {
    "artist": {"mbid": "", "#text": "Zero, One"},
    "name": "Two",
    "album": {"mbid": "", "#text": "Three"},
    "date": {"uts": str(NOON), "#text": "01 Jan 2026, 12:00"},
    "image": [{"size": "small", "#text": ""}],
}
LAST_FM_STATS: Row = {"track": "Two", "artist": "Zero, One", "album": "Three", "date": NOON * 1000}


@pytest.mark.parametrize(
    ("row", "logger", "seconds"),
    [
        (LISTENBRAINZ, "ListenBrainz", 200),
        (KOITO, "Koito", 200),
        (MALOJA, "Maloja", 200),
        (LAST_FM, "Last.fm", 30),
        (LAST_FM_STATS, "Last.fm", 30),
    ],
    ids=["ListenBrainz", "Koito", "Maloja", "Last.fm", "lastfmstats"],
)
def test_listen_has_title_artists_and_second(row: Row, logger: str, seconds: int) -> None:
    found = read_row(row, NOW_MS)
    assert isinstance(found, ImportedPlay)
    kept = {name: str(value) for name, value in found.play.to_hash().items()}
    assert kept == {
        "uri": "spotify:local:Zero%2C+One:Three:Two:0",
        "type": "track",
        "name": "Two",
        "artists": "Zero, One",
        "album": "Three",
        "logged_by": logger,
        "started_at": "2026-01-01T12:00:00.000Z",
        "ended_at": to_iso((NOON + seconds) * 1000),
        "ms_played": str(seconds * 1000),
        "end_reason": "unknown",
        "source": "import",
    }
    artists = artists_of(
        CatalogEntry("", "Zero, One", artist_list=str(found.play.item.catalog.get("artist_list", "")))
    )
    assert [artist.name for artist in artists] == (["Zero, One"] if logger == "Last.fm" else ["Zero", "One"])
    again = Play.from_hash(NOON, kept)
    assert again is not None
    assert found.kind is kind_of(again) is AccountRank.LISTEN


def test_listen_of_listenbrainz_may_have_spotifys_id_and_the_time_played() -> None:
    about = {"spotify_id": "https://open.spotify.com/track/A", "duration_played": 90, "duration": 200}
    metadata = {"artist_name": "Zero", "track_name": "Two", "additional_info": about}
    found = read_row({"listened_at": NOON, "track_metadata": metadata}, NOW_MS)
    assert isinstance(found, ImportedPlay)
    assert found.play.index == "track:A 90000 unknown"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"artist": {"#text": "Zero"}, "name": "Two", "@attr": {"nowplaying": "true"}}, SkipReason.PLAYING),
        (LAST_FM | {"name": ""}, SkipReason.NAMELESS),
        (LAST_FM | {"artist": None}, SkipReason.NAMELESS),
        (MALOJA | {"track": 5}, SkipReason.NAMELESS),
        (KOITO | {"track": {}, "artists": [7], "album": None}, SkipReason.NAMELESS),
        (LISTENBRAINZ | {"listened_at": 0}, SkipReason.BAD),
        (KOITO | {"listened_at": ""}, SkipReason.BAD),
        (LAST_FM | {"date": {}}, SkipReason.BAD),
        *((MALOJA | {"time": moment}, SkipReason.BAD) for moment in (None, "soon", math.nan, 10**12)),
    ],
)
def test_skipped_listens(row: Row, reason: SkipReason) -> None:
    found = read_row(row, NOW_MS)
    assert (SkipReason.BAD if isinstance(found, str) else found) is reason


@pytest.mark.parametrize(
    "lines",
    [
        f'uts,utc_time,artist,artist_mbid,album,track\n"{NOON}","1 Jan","Zero, One","","Three","Two"\n',
        f"Artist;Album;AlbumId;Track;Date#ann\nZero, One;Three;;Two;{NOON}000\r\n",
        '"Zero, One",Three,Two,"01 Jan 2026 12:00"\n',
        '"Zero, One",Three,Two,"01 Jan 2026, 12:00"\n\n',
        '"artist","album","title","timestamp"\n"Zero, One","Three","Two","2026-01-01T12:00:00Z"\n',
    ],
    ids=["ghan.nl", "lastfmstats", "lastfm-to-csv", "lastfm-to-csv, comma", "ISO"],
)
def test_csv_of_the_tools_for_last_fm_is_read(tmp_path: Path, lines: str) -> None:
    (tmp_path / "scrobbles.csv").write_text("\ufeff" + lines)
    (source,) = find_sources([tmp_path]).sources
    assert (source.service, [*source.users]) == ("Last.fm", ["ann"] if "#ann" in lines else [])
    with source.open() as text:
        (row,) = source.rows(text)
    found, expected = read_row(row, NOW_MS), read_row(LAST_FM, NOW_MS)
    assert found == expected


def test_csv_that_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    source = SourceFile(str(path), path, is_csv=True)
    assert list(source.rows(io.StringIO(""))) == []
    damaged, row = source.rows(io.StringIO("artist,date\n\udce4,1\nZero,1\n"))
    assert (isinstance(damaged, str), row) == (True, {"artist": "Zero", "date": "1"})
    (long,) = source.rows(io.StringIO("artist,date\n" + "a," * (1 << 18)))
    assert long == {"artist": "a", "date": "a"}
    path.write_text('artist\n"' + "a\n" * (1 << 17))
    with pytest.raises(UnreadableFile, match="field"), source.open() as text:
        list(source.rows(text))


def test_exports_of_other_loggers_are_recognized(tmp_path: Path) -> None:
    files = {
        "a/listens/2026/1.jsonl": "\n".join(map(json.dumps, (LISTENBRAINZ, LISTENBRAINZ))),
        "a/user.json": '{"user_id": 1, "username": "ann"}',
        "a/feedback.jsonl": '{"recording_mbid": null, "score": 1, "created": 1}',
        "b.json": json.dumps({"version": "1", "exported_at": "", "user": "ann", "listens": [KOITO] * 2}),
        "c.json": json.dumps({"maloja": {"export_time": NOON}, "scrobbles": [MALOJA] * 2}, indent=3),
        "d.json": json.dumps([{"track": [LAST_FM], "@attr": {"user": "ann"}}] * 2),
        "e.json": json.dumps({"username": "ann", "scrobbles": [LAST_FM_STATS] * 2}),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = find_sources([tmp_path])
    about = [(source.service, "".join(source.users)) for source in found.sources]
    expected = ("ListenBrainz", "Koito", "Maloja", "Last.fm", "Last.fm")
    assert about == [(service, "" if service == "Maloja" else "ann") for service in expected]
    assert found.others == 2
    for source in found.sources:
        with source.open() as text:
            assert [format_of(row) is not None for row in source.rows(text)] == [
                True,
                True,
            ]


def test_listen_ends_when_the_next_one_begins(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    rows = [MALOJA | {"time": NOON + second} for second in (900, 0, 20, 50, 220)]
    (tmp_path / "c.json").write_text(json.dumps({"scrobbles": rows}))
    assert import_history(archive, [tmp_path]).code == 0
    lines = client.hgetall("plays:2026-01-01")
    heard = {int(second) - NOON: int(line.split()[1]) for second, line in lines.items()}
    assert heard == {0: 200_000, 20: 30_000, 50: 170_000, 220: 200_000, 900: 200_000}


def test_better_accounts_replace_listens_in_any_order(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    times = {A: (0, 200, 950), B: (600,), C: (800,)}
    heard = [(song, second) for song, seconds in times.items() for second in seconds]
    maloja = [
        {"time": NOON + second + 3, "track": {"title": song.name, "artists": [song.artist], "length": 150}}
        for song, second in heard
    ]
    last_fm = [
        {"uts": NOON + second - 50, "name": song.name, "artist": song.artist} for song, second in heard
    ]
    paths = [
        write(tmp_path / "endsong_0.json", [extended(A, second, 200) for second in times[A]]),
        write(tmp_path / "account.json", [account(A, 200, 200), account(C, 850, 50)]),
        write(tmp_path / "maloja.json", maloja),
        write(tmp_path / "last.fm.json", last_fm),
    ]
    live = logged(C, 800, 850)
    logs = []
    for order in (paths, paths[::-1], [paths[2], *paths]):
        client.flushdb()
        with archive.batch() as batch:
            batch.write_play(live.second, live.to_hash(), live.index)
        for path in (*order, order[0]):
            answer = import_history(archive, [path])
        assert isinstance(answer.data, dict)
        assert (answer.data["new"], answer.data["improved"]) == (0, 0)
        logs.append(everything(client))
    assert logs == logs[:1] * len(logs)
    plays = {int(second) - NOON: line for second, line in logs[0]["plays:2026-01-01"].items()}
    assert plays.pop(603).split()[1:] == ["150000", "unknown"]
    assert plays == dict.fromkeys((0, 200, 950), "track:A 200000 trackdone") | {800: live.index}


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
) | st.sampled_from(
    (NOON, "\ud800", [{"alias": "\udcff", "is_primary": 1}], {"#text": [[]]}, "12 Feb 0000 1:1")
)


@settings(max_examples=100)
@given(st.sampled_from((LISTENBRAINZ, KOITO, MALOJA, LAST_FM, LAST_FM_STATS)), values, st.data())
def test_any_row_is_skipped_or_a_play_that_can_be_stored(
    row: Row, value: object, data: st.DataObject
) -> None:
    row = json.loads(json.dumps(row))
    place = row
    while isinstance(inner := place[name := data.draw(st.sampled_from(sorted(place)))], dict):
        place = inner
    place[name] = value
    found = read_row(row, NOW_MS)
    if isinstance(found, ImportedPlay):
        kept = {name: str(value) for name, value in found.play.to_hash().items()}
        assert all(str(text).encode() for text in (*kept.values(), *found.play.item.catalog.values()))
        again = Play.from_hash(found.play.second, kept)
        assert again is not None
        assert again.to_hash() == found.play.to_hash()
