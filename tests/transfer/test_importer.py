from __future__ import annotations

import gc
import io
import json
import random
import zipfile
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.report.output import write_answer
from spotify_logger.storage.connection import StoreError
from spotify_logger.storage.store import Store
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer import chronological, ingest
from spotify_logger.transfer.importer.command import import_history
from spotify_logger.transfer.importer.export_rows import ImportedPlay
from spotify_logger.transfer.importer.files import find_sources
from spotify_logger.transfer.importer.report import ImportSummary
from spotify_logger.transfer.importer.writer import PlayWriter
from tests.conftest import start_again, start_server
from tests.exports import NOON, NOW_MS, A, B, C, Song, account, entry, extended, write
from tests.transfer.test_dedup import seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.bulk import Archive

Data = dict[str, object]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with closing(Store(redis_url)) as store:
        yield store


@pytest.fixture
def archive(store: Store) -> Archive:
    return store.archive()


def data(answer: Answer) -> Data:
    assert isinstance(answer.data, dict)
    return answer.data


def figures(answer: Answer) -> Data:
    """What is not zero; it adds up."""
    found = data(answer)
    names = ("new", "live", "imported", "double", "forgotten", "bad", "private", "silent", "nameless")
    assert found["rows"] == sum(int(str(found[name])) for name in names)
    return {name: found[name] for name in ("rows", *names) if found[name]}


def log(store: Store, *plays: Play) -> None:
    """Write plays as the logger does."""
    with store.batch() as batch:
        for play in plays:
            batch.write_play(play.second, play.to_hash(), play.index)


def everything(client: redis.Redis) -> dict[str, Any]:
    """All that is in Redis."""
    return {str(key): client.hgetall(key) for key in client.scan_iter()}


def test_a_folder_comes_in(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    write(
        tmp_path / "Streaming_History_Audio_2026.json",
        [extended(A, 0, 200), extended(B, 200, 3, reason="fwdbtn")],
    )
    write(tmp_path / "StreamingHistory_music_0.json", [account(C, 600, 100)])
    write(tmp_path / "Streaming_History_Video_2026.json", [extended(C, 0, 200)])
    answer = import_history(archive, [tmp_path])
    assert (answer.code, figures(answer)) == (0, {"rows": 3, "new": 3})
    uri = "spotify:local:Air::C:0"
    assert client.hgetall("plays:2026-01-01") == {
        f"{NOON}": "track:A 200000 trackdone",
        f"{NOON + 200}": "track:B 3000 skipped",
        f"{NOON + 500}": f"{catalog_key('track', '', uri)} 100000 unknown",
    }
    assert client.hgetall(f"listening:{NOON}") == {
        "id": "A",
        "uri": "spotify:track:A",
        "type": "track",
        "name": "A",
        "artists": "Daft Punk",
        "album": "Discovery",
        "device_name": "android",
        "shuffle_state": "0",
        "started_at": "2026-01-01T12:00:00.000Z",
        "ended_at": "2026-01-01T12:03:20.000Z",
        "ms_played": "200000",
        "end_reason": "trackdone",
        "source": "import",
    }
    assert client.hgetall("track:A") == {
        "uri": "spotify:track:A",
        "type": "track",
        "name": "A",
        "artists": "Daft Punk",
        "album": "Discovery",
    }
    assert client.hget(catalog_key("track", "", uri), "name") == "C"
    assert len(client.keys()) == 3 + 3 + 1


def test_the_second_time_adds_nothing(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    write(tmp_path / "endsong_0.json", [extended(A, start, 200) for start in range(0, 100_000, 200)])
    write(tmp_path / "StreamingHistory0.json", [account(A, end, 200) for end in range(200, 50_000, 200)])
    first = figures(import_history(archive, [tmp_path]))
    assert first == {"rows": 749, "new": 500, "double": 249}
    before = everything(client)
    assert figures(import_history(archive, [tmp_path])) == {"rows": 749, "imported": 749}
    assert everything(client) == before


def test_a_dry_run_tells_the_same_and_writes_nothing(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    rows = [extended(A, start, 200) for start in range(0, 500_000, 200)]
    write(tmp_path / "endsong_0.json", rows)
    write(
        tmp_path / "endsong_1.json",
        [*rows[500:700], *(account(A, end, 200) for end in range(200, 9999, 200))],
    )
    dry = import_history(archive, [tmp_path], dry_run=True)
    assert client.keys() == []
    assert (
        figures(dry)
        == figures(import_history(archive, [tmp_path]))
        == {"rows": 2749, "new": 2500, "double": 249}
    )


def test_what_was_logged_live_stays_as_it_is(
    tmp_path: Path, archive: Archive, store: Store, client: redis.Redis
) -> None:
    log(store, seen(A, 0.4, 200.1), seen(C, 300, 320, source="backfill"))
    client.hset("track:A", mapping={"uri": "spotify:track:A", "name": "As the player calls it"})
    before = everything(client)
    write(tmp_path / "endsong_0.json", [extended(A, 0, 200), extended(B, 200, 100), extended(C, 300, 20)])
    assert figures(import_history(archive, [tmp_path])) == {"rows": 3, "new": 1, "live": 2}
    after = everything(client)
    assert {key: after[key] for key in before if key != "plays:2026-01-01"} == {
        key: before[key] for key in before if key != "plays:2026-01-01"
    }
    assert after["plays:2026-01-01"].keys() - before["plays:2026-01-01"].keys() == {f"{NOON + 200}"}
    assert "track:C" not in after


def test_what_the_logger_wrote_to_the_catalogue_meanwhile_stays(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    client.hset("track:A", mapping={"name": "As the player calls it", "isrc": "GBDUW0000053"})
    import_history(archive, [write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])])
    assert client.hmget("track:A", "name", "isrc", "uri", "artists") == [
        "As the player calls it",
        "GBDUW0000053",
        "spotify:track:A",
        "Daft Punk",
    ]


def test_a_relinked_track_is_known_by_what_the_catalogue_says(
    tmp_path: Path, archive: Archive, store: Store, client: redis.Redis
) -> None:
    log(store, seen(A, 0, 200))
    client.hset("track:A", "isrc", "GBDUW0000053")
    client.hset("track:Z", "isrc", "gbduw0000053")
    write(tmp_path / "endsong_0.json", [extended(Song("Another name", identity="Z"), 0, 200)])
    assert figures(import_history(archive, [tmp_path])) == {"rows": 1, "live": 1}


def test_no_key_of_another_play_is_touched(
    tmp_path: Path, archive: Archive, store: Store, client: redis.Redis
) -> None:
    log(store, seen(C, 0.5, 900))
    client.set(f"listening:{NOON + 1}", "somebody else's")
    client.hset(f"listening:{NOON + 2}", "else", "somebody else's")
    write(tmp_path / "endsong_0.json", [extended(song, 0, 5 + n / 10) for n, song in enumerate((B, A))])
    for _ in range(2):
        import_history(archive, [tmp_path])
        found = {
            int(second) - NOON: line.split()[0] for second, line in client.hgetall("plays:2026-01-01").items()
        }
        assert found == {0: "track:C", 3: "track:A", 4: "track:B"}
    assert client.hget(f"listening:{NOON + 3}", "started_at") == "2026-01-01T12:00:00.000Z"


def test_what_is_forgotten_does_not_come_back(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    client.hset(TOMBSTONES, f"{NOON}", f"{NOON + 200}")
    write(tmp_path / "endsong_0.json", [extended(A, 0, 200), extended(B, 200, 100)])
    assert figures(import_history(archive, [tmp_path])) == {"rows": 2, "new": 1, "forgotten": 1}
    assert list(client.hgetall("plays:2026-01-01")) == [f"{NOON + 200}"]


def test_private_sessions_are_left_out_unless_they_are_wanted(tmp_path: Path, archive: Archive) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200, incognito_mode=True)])
    assert figures(import_history(archive, [path])) == {"rows": 1, "private": 1}
    assert figures(import_history(archive, [path], private=True)) == {"rows": 1, "new": 1}


# Files that are not as they should be


def test_bad_rows_are_counted_shown_and_skipped(tmp_path: Path, archive: Archive) -> None:
    rows = [
        extended(A, 0, 200),
        extended(B, 200, 0),
        {"ts": "?"},
        None,
        *[extended(A, 0, 1, ms_played=-1)] * 20,
    ]
    path = write(tmp_path / "endsong_0.json", rows)
    answer = import_history(archive, [path])
    assert (answer.code, figures(answer)) == (0, {"rows": 24, "new": 1, "silent": 1, "bad": 22})
    out = io.StringIO()
    write_answer(answer, out)
    assert out.getvalue().splitlines()[:7] == [
        "24 rows in 1 file",
        "1\tnew",
        "22\tnot understood",
        "1\t0 ms played",
        f"{path}, row 3: ts is not a time between 2006 and now",
        f"{path}, row 4: not a JSON object",
        f"{path}, row 5: ms_played is not a number of milliseconds",
    ]
    assert out.getvalue().splitlines()[-1] == "12 more rows not understood"


def test_a_broken_file_keeps_what_came_before_and_the_others_go_on(tmp_path: Path, archive: Archive) -> None:
    text = json.dumps([extended(A, start, 200) for start in range(0, 2000, 200)])
    (tmp_path / "endsong_0.json").write_text(text[: len(text) * 5 // 9])
    write(tmp_path / "endsong_1.json", [extended(B, 5000, 200)])
    (tmp_path / "endsong_2.json").write_text("<html>")
    answer = import_history(archive, [tmp_path])
    assert (answer.code, figures(answer)) == (1, {"rows": 6, "new": 6})
    assert data(answer)["problems"] == [
        {
            "file": f"{tmp_path}/endsong_0.json",
            "row": 6,
            "problem": "the file is cut off, or not JSON from there on",
        },
        {
            "file": f"{tmp_path}/endsong_2.json",
            "row": 1,
            "problem": "the file is cut off, or not JSON from there on",
        },
    ]


def test_a_zip_is_read_and_what_is_wrong_with_it_told(tmp_path: Path, archive: Archive) -> None:
    with zipfile.ZipFile(tmp_path / "my_spotify_data.zip", "w", zipfile.ZIP_DEFLATED) as archived:
        archived.writestr("MyData/endsong_0.json", json.dumps([extended(A, 0, 200)]))
        archived.writestr("MyData/Userdata.json", "{}")
        archived.writestr("MyData/more.zip", "")
    answer = import_history(archive, [tmp_path / "my_spotify_data.zip"])
    assert (answer.code, figures(answer)) == (1, {"rows": 1, "new": 1})
    out = io.StringIO()
    write_answer(answer, out)
    assert out.getvalue().splitlines()[-2:] == [
        f"{tmp_path}/my_spotify_data.zip/MyData/more.zip: a zip inside a zip: unpack the outer one",
        "1 other file skipped",
    ]


def test_where_there_is_nothing_to_import_is_said(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(SpotifyLoggerError, match="nothing to import"):
        import_history(archive, [tmp_path])


def test_names_of_others_bring_nothing_to_a_terminal(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "endsong_\x1b[31m.json").write_text("[1]")
    out = io.StringIO()
    write_answer(import_history(archive, [tmp_path]), out)
    assert "\x1b" not in out.getvalue()


# Whatever the order is, and wherever it ends


def a_life(seed: int, plays: int, songs: Sequence[Song] = (A, B, C)) -> list[dict[str, object]]:
    """Rows of both exports, some of them twice."""
    chance, now, rows = random.Random(seed), 0.0, []
    for number in range(plays):
        now += chance.choice((0, 0, 0, 600, 30_000))
        done = chance.random() < 0.6
        heard = 200 if done else chance.uniform(0.5, 190) + number / 1e3
        song = chance.choice(songs)
        rows.append(extended(song, now, heard, reason="trackdone" if done else "fwdbtn"))
        if chance.random() < 0.3:
            rows.append(rows[-1] | {"conn_country": "ZZ"})
        if chance.random() < 0.3:
            rows.append(account(song, now + heard, heard))
        now += heard
    return rows


def test_files_in_any_order_come_to_the_same(
    tmp_path: Path, archive: Archive, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chronological, "PLAYS_PER_WINDOW", 40)
    monkeypatch.setattr(ingest, "PLAYS_PER_BATCH", 25)
    rows, found = a_life(1, 300), []
    for seed in range(3):
        client.flushdb()
        random.Random(seed).shuffle(rows)
        for number in range(5):
            write(tmp_path / f"endsong_{number}.json", rows[number::5])
        figures_now = figures(import_history(archive, [tmp_path]))
        found.append((figures_now, everything(client)))
    assert found[0] == found[1] == found[2]
    assert found[0][0]["new"] == 300


class Enough(Exception):  # noqa: N818 - it is no error
    """Ends an import in the middle."""


def test_what_was_ended_anywhere_comes_to_the_same_end(
    tmp_path: Path, archive: Archive, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PLAYS_PER_BATCH", 20)
    songs = [Song(str(number)) for number in range(100)]
    path = write(tmp_path / "endsong_0.json", a_life(2, 100, songs))
    import_history(archive, [path])
    expected = everything(client)
    client.flushdb()
    send = type(archive._link).send
    chance = random.Random(3)

    def sometimes(link: object, commands: Sequence[tuple[str | int, ...]]) -> list[object]:
        if commands and commands[0][0] in {"HSET", "HSETNX"} and chance.random() < 0.7:
            send(link, commands[: chance.randrange(len(commands))])  # type: ignore[arg-type]
            raise Enough
        return send(link, commands)  # type: ignore[arg-type]

    monkeypatch.setattr(type(archive._link), "send", sometimes)
    for _ in range(200):
        try:
            import_history(archive, [path])
            break
        except Enough:
            found = everything(client)
            days = [key for key in found if key.startswith("plays:")]
            # What the index knows is whole.
            assert all(found[f"listening:{second}"] for day in days for second in found[day])
            assert all(found[line.split()[0]]["uri"] for day in days for line in found[day].values())
    else:
        pytest.fail("it did not come to its end")
    assert everything(client) == expected


def test_a_redis_that_goes_away_is_told_in_a_line(tmp_path: Path, archive: Archive, redis_url: str) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    with closing(Store("redis://127.0.0.1:1")) as store, pytest.raises(StoreError) as error:
        import_history(store.archive(), [path])
    assert str(error.value).endswith("; what has been imported is kept: run the import again to continue")
    assert "\n" not in str(error.value)


def test_a_redis_that_dies_in_the_middle_has_all_of_it_after_another_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PLAYS_PER_BATCH", 20)
    path = write(tmp_path / "endsong_0.json", a_life(5, 100))
    server = start_server(tmp_path / "server")
    write_plays, calls = PlayWriter.write, count()

    def until_it_dies(writer: PlayWriter, entries: Sequence[ImportedPlay]) -> None:
        if next(calls) == 3:
            server.stop()
        write_plays(writer, entries)

    try:
        with closing(Store(server.url)) as store, monkeypatch.context() as patch:
            patch.setattr(PlayWriter, "write", until_it_dies)
            with pytest.raises(
                StoreError, match="what has been imported is kept: run the import again to continue"
            ):
                import_history(store.archive(), [path])
        start_again(server)
        with closing(Store(server.url)) as store:
            found = figures(import_history(store.archive(), [path]))
            assert int(str(found["new"])) < 100
            assert len([second for rows in store.archive().rows() for second in rows.seconds]) == 100
    finally:
        server.stop()


def test_a_redis_that_takes_nothing_is_told_in_a_line(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    client.set("plays:2026-01-01", "somebody else's")
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    with pytest.raises(
        StoreError, match=r"has a key of another type there.*plays:2026-01-01.*run the import again"
    ):
        import_history(archive, [path])


def test_memory_does_not_grow_with_the_years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronological, "PLAYS_PER_WINDOW", 50)
    rows = [extended(A, start, 200) for start in range(0, 900_000, 1800)]
    random.Random(0).shuffle(rows)
    (source,) = find_sources([write(tmp_path / "endsong_0.json", rows)]).sources
    all_rows = chronological.RowIndex(NOW_MS, ImportSummary(), lambda _: None)
    list(all_rows.scan(source))
    most, starts = 0, []
    for number, found in enumerate(all_rows.sorted_plays()):
        starts.append(found.play.started_ms)
        if number % 25 == 0:
            most = max(most, sum(type(thing) is ImportedPlay for thing in gc.get_objects()))
    assert len(starts) == 500
    assert starts == sorted(starts)
    assert most < 150


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is_and_a_pipe_does_not(tmp_path: Path, archive: Archive) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    pipe, terminal = io.StringIO(), Terminal()
    import_history(archive, [path], screen=pipe)
    import_history(archive, [path], screen=terminal)
    assert pipe.getvalue() == ""
    assert "reading" in terminal.getvalue()
    assert "100 %" in terminal.getvalue()


# What this program gave out comes back


def records(client: redis.Redis) -> list[dict[str, object]]:
    """All that is in Redis, as it is exported."""
    found: list[dict[str, object]] = []
    for key in client.scan_iter("*:*"):
        kind, _, name = key.partition(":")
        if kind in {"track", "episode", "local"}:
            found.insert(0, {"kind": "item", "key": key, "fields": client.hgetall(key)})
        elif kind in {"listening", "gap"}:
            kind = kind.replace("listening", "play")
            found.append({"kind": kind, "second": int(name), "fields": client.hgetall(key)})
    return found


@pytest.mark.parametrize("form", ["lines", "array"])
def test_an_own_export_comes_back_without_loss(
    tmp_path: Path, archive: Archive, store: Store, client: redis.Redis, form: str
) -> None:
    path = write(tmp_path / "endsong_0.json", a_life(4, 50))
    import_history(archive, [path])
    same_second = replace(seen(A, -900.4, -700), second=NOON - 900)
    log(store, seen(A, -900.5, -700), same_second, seen(B, -500, -300, source="backfill"))
    with store.batch() as batch:
        batch.write_gap(
            NOON, {"from": "2026-01-01T12:00:00.000Z", "to": "2026-01-01T13:00:00.001Z", "reason": "off"}
        )
        batch.write_catalog("track:A", {"isrc": "X", "cover": "https://i.scdn.co/image/1"})
    before = everything(client)
    told = records(client)
    lines = "".join(json.dumps(record) + "\n" for record in told)
    own = tmp_path / "backup.jsonl"
    own.write_text(lines if form == "lines" else json.dumps(told, indent=1))
    again = import_history(archive, [own])
    plays = figures(again)["rows"]
    assert figures(again) == {"rows": plays, "imported": 50, "live": 3}
    assert (data(again)["items"], data(again)["gaps"]) == ({"new": 0, "known": 3}, {"new": 0, "known": 1})
    client.flushdb()
    dry = import_history(archive, [own], dry_run=True)
    assert client.keys() == []
    assert figures(dry) == figures(import_history(archive, [own])) == {"rows": plays, "new": plays}
    assert everything(client) == before
    assert "new" not in figures(import_history(archive, [path, own]))
    assert everything(client) == before


def test_an_own_export_overwrites_nothing(
    tmp_path: Path, archive: Archive, store: Store, client: redis.Redis
) -> None:
    log(store, seen(A, 0, 200))
    told = records(client)
    client.flushdb()
    log(store, seen(B, 0, 200))
    client.hset("track:A", mapping={"uri": "spotify:track:A", "name": "newer"})
    told.insert(0, {"kind": "item", "key": "track:A", "fields": {"uri": "spotify:track:A", "name": "older"}})
    own = tmp_path / "backup.jsonl"
    own.write_text("".join(json.dumps(record) + "\n" for record in told))
    assert figures(import_history(archive, [own])) == {"rows": 1, "new": 1}
    assert client.hget("track:A", "name") == "newer"
    assert client.hgetall("plays:2026-01-01") == {
        f"{NOON}": "track:B 200000 trackdone",
        f"{NOON + 1}": "track:A 200000 trackdone",
    }


def test_a_play_of_an_own_export_keeps_its_name_before_others_get_one(
    tmp_path: Path, archive: Archive, store: Store, client: redis.Redis
) -> None:
    log(store, seen(A, 0.5, 200))
    own = tmp_path / "backup.jsonl"
    own.write_text("".join(json.dumps(record) + "\n" for record in records(client)))
    client.flushdb()
    path = write(tmp_path / "endsong_0.json", [extended(B, 0, 200)])
    assert figures(import_history(archive, [path, own])) == {"rows": 2, "new": 2}
    assert client.hget("plays:2026-01-01", f"{NOON}") == "track:A 199500 trackdone"
    assert client.hget("plays:2026-01-01", f"{NOON + 1}") == "track:B 200000 trackdone"


def test_a_stretch_without_a_pause_is_taken_in_parts(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PLAYS_PER_BATCH", 20)
    entries = [entry(extended(A, start, 200)) for start in range(0, 10_000, 200)]
    assert list(ingest.Importer(archive, ImportSummary()).import_plays(entries)) == [20, 20, 10]


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "play"},
        {"kind": "play", "second": NOON, "fields": {}},
        {"kind": "play", "second": NOON, "fields": {"uri": "a", "ms_played": "1"}},
        {"kind": "play", "second": "x", "fields": {"uri": "a"}},
        {"kind": "item", "key": "plays:2026-01-01", "fields": {"a": "b"}},
        {"kind": "item", "key": "track:a b", "fields": {"a": "b"}},
        {"kind": "item", "key": "track:\ud800" * 100, "fields": {"a": "b"}},
        {"kind": "item", "key": ["track:1"], "fields": {"a": "b"}},
        {"kind": "item", "key": "track:1", "fields": {"a": {"b": "c"}}},
        {"kind": "gap", "second": NOON, "fields": {"from": "?", "to": "?", "reason": "?"}},
        {"kind": "gap", "second": NOON, "fields": {"to": "2025-01-01T12:00:00.000Z", "reason": "off"}},
        {"kind": "status", "fields": {"a": "b"}},
        {"kind": ["play"], "fields": {"a": "b"}},
    ],
)
def test_records_that_are_none_are_bad(
    tmp_path: Path, archive: Archive, client: redis.Redis, record: dict[str, object]
) -> None:
    path = tmp_path / "backup.jsonl"
    path.write_text(json.dumps(record))
    assert figures(import_history(archive, [path])) == {"rows": 1, "bad": 1}
    assert client.keys() == []
