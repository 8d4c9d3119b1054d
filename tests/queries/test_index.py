"""The index is a copy: however it came about, it is as one made anew."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_logger.core.player_state import encode_artists
from spotify_logger.core.redis_keys import row_value
from spotify_logger.queries import index as index_module
from spotify_logger.queries import index_sync, top
from spotify_logger.queries.index import SCHEMA_VERSION, Index
from spotify_logger.queries.question import Question
from spotify_logger.queries.sql import KINDS
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.delete import delete, undo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

DAY = 86_400
FIRST = 1_790_000_000 // DAY * DAY
TABLES = {
    "logged": "SELECT second, key, ms_played, ending, is_hidden FROM logged JOIN items ON items.id = item",
    "plays": "SELECT * FROM (SELECT second, key, ms_played FROM plays JOIN items ON items.id = item)",
    "items": "SELECT key, name, album, title, words, recording, is_doubtful, first, last FROM items",
    "credits": """SELECT key, position, artists.name, person FROM credits
        JOIN artists ON artists.id = artist JOIN items ON items.id = item""",
    "artists": "SELECT spotify_id, name, person, first, last FROM artists",
    "hours": "SELECT * FROM hours",
    "sessions": "SELECT * FROM sessions",
    "tally": "SELECT key, plays, ms_played FROM main.tally JOIN items ON id = item",
    "years": "SELECT key, year, plays, ms_played FROM years JOIN items ON id = item",
    "gaps": "SELECT * FROM gaps",
    **{
        f"items_of_{kind}": f"SELECT key, grouped FROM items_of_{kind} LEFT JOIN items ON id = item"
        for kind in KINDS
    },
    **{f"{kind}_of_tally": f"SELECT grouped, plays, ms_played FROM main.{kind}_of_tally" for kind in KINDS},
}
ARTISTS = [("Air", "air"), ("Daft Punk", "punk"), ("AIR", ""), ("Daft Punk 2", "punk"), ("Air", "other")]
"""Two of the same name, two names of one, and one without an ID."""
HIDEABLE = ["track:a", "track:b", "artist:air", "artist:punk", "show:Discovery"]

entries = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["Quo", "QUO", "Moon"]),
        "artists": st.lists(st.sampled_from(ARTISTS), min_size=1, max_size=2),
        "album": st.sampled_from(["Discovery", "Hits"]),
        "album_id": st.sampled_from(["d", "h"]),
        "isrc": st.sampled_from(["", "X1", "X2"]),
        "has_list": st.booleans(),
    }
)
keys = st.sampled_from([*(f"track:{name}" for name in "abcdef"), "episode:g"])
moments = st.integers(0, 40).map(lambda number: FIRST + number * 5_400)
changes = st.one_of(
    st.tuples(st.just("play"), moments, keys, st.sampled_from([5_000, 200_000, 5_000_000])),
    st.tuples(st.just("entry"), keys, entries),
    st.tuples(st.just("delete"), moments),
    st.tuples(st.just("gap"), moments),
    st.tuples(st.just("hide"), st.sampled_from(HIDEABLE)),
    st.tuples(st.just("undo"), st.sampled_from(HIDEABLE)),
    st.tuples(st.just("wait")),
    st.tuples(st.just("sync")),
)


SETTLED = [("play", FIRST, "track:a", 200_000), ("wait",), ("sync",)]
"""After these, the only thing that changes is what is hidden."""


def song(key: str, name: str, artist: int, album_id: str = "") -> tuple[str, str, dict[str, Any]]:
    about = {"name": name, "album": "Hits" if album_id else "", "album_id": album_id, "isrc": ""}
    return "entry", key, {**about, "artists": [ARTISTS[artist]], "has_list": True}


def after(*history: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Return plays and entries that are in the index before another change, which is the last one."""
    plays = [("play", FIRST + 5_400 * number, f"track:{key}", 200_000) for number, key in enumerate("ab")]
    return [*plays, *history[:-1], ("wait",), ("sync",), history[-1]]


ALONE, OTHER = song("track:a", "Quo", 1), song("track:b", "Moon", 0, "h")
TOGETHER = song("track:a", "Quo", 1, "h")  # on an album of two artists


class Writer:
    """Writes a log, at a time that goes on."""

    def __init__(self, url: str) -> None:
        self.now = time.time() - 1_000_000
        self.store = Archive(url, "index:", utc=self._utc)

    def _utc(self) -> float:
        self.now += 0.001
        return self.now

    def change(self, what: str, *about: Any) -> None:  # noqa: ANN401 - of any kind of change
        with self.store.batch() as batch:
            match what, about:
                case "play", (second, key, ms_played):
                    times = {"started_at": iso(second), "ended_at": iso(second + ms_played // 1000)}
                    item = {"uri": f"spotify:{key}", "type": "track", "id": key.removeprefix("track:")}
                    fields = {**item, **times, "ms_played": ms_played, "end_reason": "trackdone"}
                    batch.write_play(second, fields, row_value(key, ms_played, "trackdone"))
                case "gap", (second,):
                    batch.write_gap(
                        second, {"from": f"{iso(second)}", "to": f"{iso(second + 60)}", "reason": "off"}
                    )
        match what, about:
            case "entry", (key, entry):
                artists = entry["artists"]
                fields = {name: entry[name] for name in ("name", "album", "album_id", "isrc")} | {
                    "artists": ", ".join(name for name, _ in artists),
                    "artist_ids": " ".join(identity for _, identity in artists if identity),
                    "artist_list": encode_artists(artists) if entry["has_list"] else "",
                }
                words = [part for pair in fields.items() for part in pair]
                self.store.write([("HSET", self.store.key(key), *words)])
            case "hide", (key,):
                self.store.write([("HSET", self.store.key("hidden"), key, f"{iso(FIRST)} {key}")])
            case "undo", (key,):
                undo(self.store, key)
            case "wait", ():
                self.now += 100  # until days that have just been written are not read again
            case "delete", (second,):
                delete(self.store, [second], self.now)


def flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()


def iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(second))


def path_of(index: Index) -> Path:
    assert index.path
    return index.path


def content(database: sqlite3.Connection) -> dict[str, list[Any]]:
    return {name: sorted(database.execute(query), key=repr) for name, query in TABLES.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(changes, max_size=25), st.sampled_from([0, 31]))
@example([*SETTLED, ("hide", "track:a")], 31)
@example([("hide", "track:a"), *SETTLED, ("undo", "track:a")], 31)
@example(after(ALONE, song("track:a", "Quo", 0)), 31)
@example(after(ALONE, OTHER, TOGETHER), 31)
@example(after(TOGETHER, OTHER, ALONE), 31)
@example(after(song("track:a", "Quo", 2), song("track:b", "Moon", 3), song("track:b", "Moon", 4)), 31)
def test_an_index_that_follows_is_as_one_made_anew(
    redis_server: EmbeddedServer, history: list[tuple[Any, ...]], days_apart: int
) -> None:
    writer = Writer(redis_server.url)
    flush(redis_server.url)
    with closing(writer.store), closing(Index(writer.store)) as index:
        path_of(index).unlink(missing_ok=True)
        with patch.object(index_sync, "DAYS_APART", days_apart):
            for what, *about in history:
                if what == "sync":
                    index.sync()
                else:
                    writer.change(what, *about)
            followed = content(index.sync().database)
        index.close()
        path_of(index).unlink()
        assert followed == content(index.sync().database)


@pytest.fixture
def writer(redis_url: str) -> Iterator[Writer]:
    writer = Writer(redis_url)
    writer.change("play", FIRST, "track:a", 200_000)
    yield writer
    writer.store.close()


def plays(index: Index) -> int:
    return top.top(index.sync(), Question(time.time()), "tracks").plays


@pytest.mark.parametrize("damage", ["garbage", "cut", "older schema", "folder"])
def test_a_file_that_is_no_index_is_made_anew(writer: Writer, damage: str) -> None:
    with closing(Index(writer.store)) as index:
        path = path_of(index)
        assert plays(index) == 1
    whole = path.read_bytes()
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    if damage == "older schema":
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
            database.execute("DROP TABLE hours")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(os.urandom(len(whole)) if damage == "garbage" else whole[: len(whole) // 2 + 100])
    with closing(Index(writer.store)) as index:
        assert plays(index) == 1
        writer.change("play", FIRST + 600, "track:b", 200_000)
        assert plays(index) == 2


def test_damage_that_only_the_question_meets_is_mended(writer: Writer) -> None:
    with closing(Index(writer.store)) as index:
        path = path_of(index)
        index.sync()
    writer.now += 100  # what was written a moment ago would be read again
    with closing(Index(writer.store)) as index:
        database = index.sync().database
        ((page,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'logged'")
        ((size,),) = database.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    with closing(Index(writer.store)) as index:
        assert index.ask(lambda log: top.top(log, Question(time.time()), "tracks")).plays == 1


def test_without_a_folder_for_it_the_index_is_in_memory(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(index_module, "cache_folder", lambda: tmp_path / "file" / "cache")
    with closing(Index(writer.store)) as index:
        assert (plays(index), index.path) == (1, None)
        writer.change("delete", FIRST)
        assert plays(index) == 0


def test_a_log_without_revisions_is_read_once_and_its_loss_is_noticed(writer: Writer, redis_url: str) -> None:
    names = {"name": "Quo", "artists": ARTISTS[:1], "album": "Discovery", "album_id": "d", "isrc": ""}
    writer.change("entry", "track:a", {**names, "has_list": True})
    with closing(Index(writer.store)) as index:
        index.sync()
    writer.store.send([("DEL", writer.store.key("spotify_logger:revisions"))])
    with closing(Index(writer.store)) as index:
        assert plays(index) == 1
        assert plays(index) == 1
        flush(redis_url)
        assert plays(index) == 0


def test_a_key_with_a_nul_is_read_again_like_any_other(writer: Writer) -> None:
    writer.change("play", FIRST + 600, "track:a\0b", 200_000)
    with closing(Index(writer.store)) as index:
        assert plays(index) == 2
        writer.change("play", FIRST + 1200, "track:a\0b", 200_000)
        path = path_of(index)
        assert (plays(index), index.path) == (3, path)
