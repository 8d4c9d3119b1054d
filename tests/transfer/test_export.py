from __future__ import annotations

import csv
import io
import json
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger import __version__
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, UNKNOWN
from spotify_logger.core.player_state import catalog_key
from spotify_logger.storage.client import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer import export as exporter
from spotify_logger.transfer.export import ExportFormat, export, export_file
from spotify_logger.transfer.importer.command import ImportOptions, import_history
from tests.redis_log import NIGHT, NIGHT_SECOND, SECOND, RedisLog, item, play

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item


def exported(log: RedisLog, form: ExportFormat, begin: int = 0, end: int | None = None) -> str:
    out = io.StringIO(newline="")
    export(log.store, form, out, begin, end)
    return out.getvalue()


def json_lines(
    log: RedisLog, form: ExportFormat = "jsonl", begin: int = 0, end: int | None = None
) -> list[dict[str, object]]:
    return [json.loads(line) for line in exported(log, form, begin, end).splitlines()]


def summary(log: RedisLog, begin: int = 0, end: int | None = None) -> list[str]:
    """Return the kind and name of each record: "item track:A", "play 30" for seconds after six o'clock."""
    found = []
    for record in json_lines(log, "jsonl", begin, end):
        second = record.get("second")
        found.append(f"{record['kind']} {record.get('key') if second is None else int(str(second)) - SECOND}")
    return found


class TestJson:
    def test_item_play_and_gap(self, log: RedisLog) -> None:
        log.write(play("1979", device_volume=50))
        log.write_gap()
        log.raw.hset(f"listening:{SECOND}", mapping={"timestamp": "007", "explicit": ""})
        numbers = {"duration_ms": 200_000, "ms_played": 200_000, "device_volume": 50}
        item = {"kind": "item", "key": "track:1979"}
        assert json_lines(log) == [
            {"kind": "gap", "second": NIGHT_SECOND, "fields": NIGHT},
            {**item, "fields": {**log.kept("track:1979"), "duration_ms": 200_000}},
            {"kind": "play", "second": SECOND, "fields": {**log.kept(f"listening:{SECOND}"), **numbers}},
        ]

    def test_item_comes_once_before_its_first_play(
        self, log: RedisLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporter, "PLAYS_PER_BATCH", 2)
        log.write(*(play(name, 30 * number) for number, name in enumerate("ABABCA")))
        assert summary(log) == [
            *("item track:A", "play 0", "item track:B", "play 30", "play 60", "play 90"),
            *("item track:C", "play 120", "play 150"),
        ]

    def test_period(self, log: RedisLog) -> None:
        log.write(play("A", -86_400), play("A"), play("B", 30), play("C", 60))
        log.write_gap()
        assert summary(log, SECOND, SECOND + 60) == ["item track:A", "play 0", "item track:B", "play 30"]
        assert summary(log, NIGHT_SECOND, SECOND) == [f"gap {NIGHT_SECOND - SECOND}"]
        assert summary(log, SECOND + 61) == []

    def test_text_is_ascii_without_control_characters(self, log: RedisLog) -> None:
        log.write(play(item("A", name="Łódź 日本\x1b[2J\u202e")))
        assert exported(log, "jsonl").isascii()
        assert exported(log, "jsonl").replace("\n", "").isprintable()

    def test_index_line_without_a_play_and_play_without_an_item(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 30))
        log.raw.delete(f"listening:{SECOND}", "track:B")
        assert summary(log)[-1:] == ["play 30"]
        assert not {"play 0", "item track:B"} & set(summary(log))


class TestCsv:
    def rows(self, log: RedisLog) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(exported(log, "csv"), newline="")))

    def test_row_of_a_play(self, log: RedisLog) -> None:
        log.write(play("A", device_volume=50, shuffle_state=1), play("B", 300, 30, None))
        first, second = self.rows(log)
        assert ",".join(first.values()) == (
            f"{SECOND},2026-11-22T18:00:00.000Z,2026-11-22T18:03:20.000Z,200000,trackdone,live,"
            "track,A,Daft Punk,Discovery,200000,,Desk,,50,1,,,spotify:track:A,FRA,"
            '[{"name": "Daft Punk", "id": "4tZ"}]'
        )
        assert second["end_reason"] == ""

    def test_text_is_never_a_formula(self, log: RedisLog) -> None:
        log.write(play(item("A", name='=HYPERLINK("http://x")', artists="@me", album="-1")))
        log.raw.hset(f"listening:{SECOND}", "duration_ms", "=1+1")
        (row,) = self.rows(log)
        assert [row[name][0] for name in ("name", "artists", "album", "duration_ms")] == ["'"] * 4
        assert row["ms_played"] == "200000"

    def test_missing_fields_are_taken_from_the_catalog(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.hdel(f"listening:{SECOND}", "name", "artists", "duration_ms")
        (row,) = self.rows(log)
        assert [row[name] for name in ("name", "artists", "duration_ms")] == ["A", "Daft Punk", "200000"]


EPISODE = item("E", type="episode", uri="spotify:episode:E", artists=None, isrc=None, album="A Show")
FILE = "spotify:local:Me::Demo:200"
LOCAL = item("L", key=catalog_key("track", "", FILE), uri=FILE, isrc=None, album=None)


class TestListenBrainz:
    def test_listen(self, log: RedisLog) -> None:
        artists = '[{"name": "A, B", "id": "1"}, {"name": "C", "id": "2"}]'
        log.write(play(item("A", artists="A, B, C", artist_ids="1 2", artist_list=artists)))
        assert json_lines(log, "listenbrainz") == [
            {
                "listened_at": SECOND,
                "track_metadata": {
                    "artist_name": "A, B, C",
                    "track_name": "A",
                    "release_name": "Discovery",
                    "additional_info": {
                        "artist_names": ["A, B", "C"],
                        "duration_ms": 200_000,
                        "duration_played": 200,
                        "isrc": "FRA",
                        "music_service": "spotify.com",
                        "origin_url": "https://open.spotify.com/track/A",
                        "spotify_id": "https://open.spotify.com/track/A",
                        "spotify_album_id": "https://open.spotify.com/album/2no",
                        "spotify_artist_ids": [
                            "https://open.spotify.com/artist/1",
                            "https://open.spotify.com/artist/2",
                        ],
                        "media_player": "Spotify",
                        "submission_client": "Spotify Logger",
                        "submission_client_version": __version__,
                    },
                },
            }
        ]

    def test_artists_that_cannot_be_told_apart_are_not_listed(self, log: RedisLog) -> None:
        log.write(play(item("A", artists="A, B, C", artist_ids="1 2")))
        (listen,) = json_lines(log, "listenbrainz")
        assert "artist_names" not in json.dumps(listen)

    def test_control_characters_do_not_leave(self, log: RedisLog) -> None:
        log.write(play(item("A", name="NUL\0here\x1b", artists="A\0B")))
        (listen,) = json_lines(log, "listenbrainz")
        metadata = cast("dict[str, object]", listen["track_metadata"])
        assert (metadata["track_name"], metadata["artist_name"]) == ("NUL here", "A B")

    @pytest.mark.parametrize(
        ("what", "heard", "reason", "is_listen"),
        [
            (item("A"), 100, SKIPPED, True),
            (item("A"), 99.9, SKIPPED, False),
            (item("A", duration_ms=3_600_000), 240, STOPPED, True),
            (item("A", duration_ms=None), 30, UNKNOWN, True),
            (item("A", duration_ms=None), 29, UNKNOWN, False),
            (item("A", duration_ms=None), 29, TRACKDONE, True),
            (item("A", artists=None), 200, TRACKDONE, False),
            (item("A", name=" \0"), 200, TRACKDONE, False),
            (EPISODE, 200, TRACKDONE, False),
        ],
    )
    def test_what_counts_as_a_listen(
        self, log: RedisLog, what: Item, heard: float, reason: str, *, is_listen: bool
    ) -> None:
        log.write(play(what, heard=heard, reason=reason))
        assert len(json_lines(log, "listenbrainz")) == is_listen


class TestExportFile:
    def test_file_is_complete_and_private(self, log: RedisLog, tmp_path: Path) -> None:
        log.write(play("A"), play("B", 300, 30))
        path = tmp_path / "log.jsonl"
        path.write_text("a longer text that was there before" * 99)
        path.chmod(0o644)
        answer = export_file(log.store, "jsonl", path)
        assert answer.page == [f"2 plays in {path}"]
        assert answer.data == {"file": str(path), "plays": 2}
        assert path.read_text() == exported(log, "jsonl")
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]
        answer = export_file(log.store, "listenbrainz", path)
        assert answer.page == [f"1 listen in {path}"]

    def test_old_file_stays_when_redis_goes_away(
        self, log: RedisLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.write(play("A"))
        path = tmp_path / "log.jsonl"
        path.write_text("old")

        def go_away(_: object) -> None:
            raise StoreError("Redis went away")

        monkeypatch.setattr(log.store, "hashes", go_away)
        with pytest.raises(StoreError):
            export_file(log.store, "jsonl", path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["", "fifo", "missing/log.jsonl"])
    def test_unwritable_file_is_an_error(self, log: RedisLog, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(SpotifyLoggerError, match=r"not a regular file|cannot write"):
            export_file(log.store, "json", tmp_path / name)


YEARS = 1e8
"""Seconds before six o'clock at which the plays of a history begin: an import refuses the future."""
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0.3, 1, 30, 200, 86_000]),  # seconds since the end of the play before
        st.sampled_from([*map(item, "ABC"), EPISODE, LOCAL, item("X", name="=1\x07 Łódź", isrc=None)]),
        st.sampled_from([0.001, 0.4, 5, 29.999, 30, 200]),
        st.sampled_from([TRACKDONE, SKIPPED, STOPPED, UNKNOWN]),
        st.sampled_from(["live", "live", "live", "backfill", "import"]),
    ),
    max_size=10,
)


def plays_of(history: list[tuple[float, Item, float, str, str]]) -> list[Play]:
    """Return the plays as the logger names them: by the next free second."""
    found: list[Play] = []
    now = -YEARS
    for pause, what, heard, reason, source in history:
        now += pause
        second = max(found[-1].second + 1 if found else 0, math.floor(SECOND + now))
        found.append(play(what, now, heard, reason, source=source, second=second, playing=1))
        now += heard
    return found


def test_export_is_imported_without_loss(redis_url: str, tmp_path: Path) -> None:
    ours, theirs = RedisLog(redis_url, "ours:"), RedisLog(redis_url, "theirs:")

    @settings(max_examples=15)
    @given(history=HISTORIES, is_open=st.booleans(), has_gap=st.booleans(), is_array=st.booleans())
    def check(
        *, history: list[tuple[float, Item, float, str, str]], is_open: bool, has_gap: bool, is_array: bool
    ) -> None:
        ours.begin()
        found = plays_of(history)
        if found and is_open:
            found[-1] = replace(found[-1], end_reason=None)
        ours.write(*found)
        if has_gap:
            ours.write_gap()
        path = tmp_path / "log.json"
        export_file(ours.store, "json" if is_array else "jsonl", path)
        import_history(theirs.store, [path], ImportOptions(dry_run=True))
        assert theirs.names() == set()
        import_history(theirs.store, [path])
        assert theirs.everything() == ours.everything()
        import_history(ours.store, [path])
        assert theirs.everything() == ours.everything()

    check()
    ours.close()
    theirs.close()
