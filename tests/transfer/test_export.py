from __future__ import annotations

import csv
import io
import json
import math
import os
import zipfile
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
from spotify_logger.transfer.export import ExportFormat, LogPeriod, export, export_file
from spotify_logger.transfer.importer.command import ImportOptions, import_history
from tests.redis_log import NIGHT, NIGHT_SECOND, SECOND, RedisLog, item, play
from tests.transfer.test_importer import counts, data

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item


def exported(log: RedisLog, form: ExportFormat, begin: int = 0, end: int | None = None) -> str:
    out = io.StringIO(newline="")
    export(LogPeriod(log.store, begin, end), form, out)
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
            f"{SECOND},2026-11-22 18:00:00,2026-11-22 18:03:20,200000,trackdone,live,"
            "track,A,Daft Punk,Discovery,200000,,Desk,,50,1,,,spotify:track:A,FRA,"
            '[{"name": "Daft Punk", "id": "4tZ"}],4tZ,2no,,A,,,,,0,0'
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

    def test_zip_has_a_file_for_each_month_and_is_known_on_import(
        self, log: RedisLog, tmp_path: Path
    ) -> None:
        log.write(*(play("A", -days * 86_400) for days in (1000, 999, 970, 941)))
        path = tmp_path / "out.zip"
        answer = export_file(LogPeriod(log.store), "listenbrainz", path)
        assert "4 listens" in str(answer.page[0])
        assert "Koito" in str(answer.page[1])
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            text = "".join(archive.read(name).decode() for name in names)
        assert names == ["listens/2024/2.jsonl", "listens/2024/3.jsonl", "listens/2024/4.jsonl"]
        assert text == exported(log, "listenbrainz")
        assert counts(import_history(log.store, [path])) == {"rows": 4, "live": 4}
        answer = export_file(LogPeriod(log.store), "listenbrainz", tmp_path / "listenbrainz_me.zip")
        assert len(answer.page) == 1


class TestSpotify:
    def test_row_of_a_track(self, log: RedisLog) -> None:
        artists = '[{"name": "A, B", "id": "1"}, {"name": "C", "id": "2"}]'
        what = item("A", name="NUL\0here", artists="A, B, C", artist_ids="1 2", artist_list=artists)
        log.write(play(what, 0.25, 100.5, SKIPPED, shuffle_state=1))
        (row,) = json.loads(exported(log, "spotify"))
        assert {name: value for name, value in row.items() if value is not None} == {
            "ts": "2026-11-22T18:01:40Z",
            "platform": "Desk",
            "ms_played": 100_500,
            "master_metadata_track_name": "NUL here",
            "master_metadata_album_artist_name": "A, B",
            "master_metadata_album_album_name": "Discovery",
            "spotify_track_uri": "spotify:track:A",
            "reason_end": "fwdbtn",
            "shuffle": True,
            "skipped": True,
            "offline_timestamp": SECOND * 1000 + 250,
            "incognito_mode": False,
            "spotify_logger_source": "live",
        }
        unknown = {name for name, value in row.items() if value is None}
        assert unknown >= {"conn_country", "ip_addr", "episode_name", "audiobook_title", "reason_start"}

    def test_episode_and_play_that_is_not_over(self, log: RedisLog) -> None:
        log.write(play(EPISODE), play("B", 300, 30, None))
        (row,) = json.loads(exported(log, "spotify"))
        assert (row["episode_name"], row["episode_show_name"]) == ("E", "A Show")
        assert (row["spotify_episode_uri"], row["spotify_track_uri"]) == ("spotify:episode:E", None)

    def test_files_are_named_as_by_spotify(
        self, log: RedisLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporter, "ROWS_PER_FILE", 2)
        log.write(*(play("A", -day * 86_400) for day in (0, 1, 300, 400, 800)))
        zipped, folder = tmp_path / "history.zip", tmp_path / "history"
        assert data(export_file(LogPeriod(log.store), "spotify", zipped))["plays"] == 5
        export_file(LogPeriod(log.store), "spotify", folder)
        names = ["2024-2025_0", "2026_1", "2026_2"]
        assert sorted(each.name for each in folder.iterdir()) == [
            f"Streaming_History_Audio_{name}.json" for name in names
        ]
        with zipfile.ZipFile(zipped) as archive:
            for name in archive.namelist():
                path = folder / name.removeprefix("Spotify Extended Streaming History/")
                assert archive.read(name).decode() == path.read_text()
                assert path.stat().st_mode & 0o777 == 0o600
            assert len(archive.namelist()) == 3
        with pytest.raises(SpotifyLoggerError, match="already holds"):
            export_file(LogPeriod(log.store), "spotify", folder)

    def test_plays_of_spotifys_own_export_are_known(self, log: RedisLog, tmp_path: Path) -> None:
        """An observed play has other times than Spotify's row of it, also after a move to another log."""
        log.write(play("A", -1e8))
        export_file(LogPeriod(log.store), "spotify", tmp_path / "history.json")
        log.raw.flushall()
        import_history(log.store, [tmp_path / "history.json"])
        (row,) = json.loads((tmp_path / "history.json").read_text())
        del row["spotify_logger_source"]
        late = {"offline_timestamp": row["offline_timestamp"] + 900, "ms_played": 199_000}
        (tmp_path / "history.json").write_text(json.dumps([row | late]))
        assert counts(import_history(log.store, [tmp_path / "history.json"])) == {"rows": 1, "live": 1}


class TestExportFile:
    def test_csv_begins_with_a_byte_order_mark(self, log: RedisLog, tmp_path: Path) -> None:
        log.write(play("A"))
        path = tmp_path / "log.csv"
        export_file(LogPeriod(log.store), "csv", path)
        assert path.read_bytes() == b"\xef\xbb\xbf" + exported(log, "csv").encode()
        path.write_text("second,started_at,name\n1,2,3\n")
        assert "--jsonl" in str(data(import_history(log.store, [path]))["refused"])

    def test_zip_of_a_backup_can_be_imported(self, log: RedisLog, tmp_path: Path) -> None:
        log.write(play("A", -1e8))
        export_file(LogPeriod(log.store), "jsonl", tmp_path / "log.zip")
        before = log.everything()
        log.raw.flushall()
        import_history(log.store, [tmp_path / "log.zip"])
        assert log.everything() == before

    def test_progress_is_reported_by_day(self, log: RedisLog) -> None:
        log.write(play("A", -86_400), play("A"), play("B", 300))
        seen: list[tuple[int, int]] = []
        export(LogPeriod(log.store, progress=lambda *how_far: seen.append(how_far)), "csv", io.StringIO())
        assert seen == [(1, 2), (2, 2)]

    def test_file_is_complete_and_private(self, log: RedisLog, tmp_path: Path) -> None:
        log.write(play("A"), play("B", 300, 30))
        path = tmp_path / "log.jsonl"
        path.write_text("a longer text that was there before" * 99)
        path.chmod(0o644)
        answer = export_file(LogPeriod(log.store), "jsonl", path)
        assert answer.page == [f"2 plays in {path}"]
        assert answer.data == {"file": str(path), "plays": 2}
        assert path.read_text() == exported(log, "jsonl")
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]
        answer = export_file(LogPeriod(log.store), "listenbrainz", path)
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
            export_file(LogPeriod(log.store), "jsonl", path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["", "fifo", "missing/log.jsonl"])
    def test_unwritable_file_is_an_error(self, log: RedisLog, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(SpotifyLoggerError, match=r"not a regular file|cannot write"):
            export_file(LogPeriod(log.store), "json", tmp_path / name)


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


HEARD_FIELDS = ("uri", "album", "started_at", "ended_at", "ms_played", "end_reason", "source")


def test_streaming_history_is_imported_exactly(redis_url: str, tmp_path: Path) -> None:
    ours, theirs = RedisLog(redis_url, "ours:"), RedisLog(redis_url, "theirs:")

    def heard(log: RedisLog) -> dict[str, list[str | None]]:
        plays = {name: log.kept(name) for name in log.names() if name.startswith("listening:")}
        return {name: [fields.get(field) for field in HEARD_FIELDS] for name, fields in plays.items()}

    @settings(max_examples=15)
    @given(history=HISTORIES.filter(len))
    def check(history: list[tuple[float, Item, float, str, str]]) -> None:
        ours.begin()
        ours.write(*plays_of(history))
        path = tmp_path / "history.zip"
        export_file(LogPeriod(ours.store), "spotify", path)
        import_history(theirs.store, [path])
        assert heard(theirs) == heard(ours)
        assert theirs.names() == ours.names()
        before = ours.everything()
        import_history(ours.store, [path])
        assert ours.everything() == before

    check()
    ours.close()
    theirs.close()


FORMS: tuple[ExportFormat, ...] = ("json", "jsonl", "csv")


def test_export_is_imported_without_loss(redis_url: str, tmp_path: Path) -> None:
    ours, theirs = RedisLog(redis_url, "ours:"), RedisLog(redis_url, "theirs:")

    @settings(max_examples=15)
    @given(history=HISTORIES, is_open=st.booleans(), has_gap=st.booleans(), form=st.sampled_from(FORMS))
    def check(
        *,
        history: list[tuple[float, Item, float, str, str]],
        is_open: bool,
        has_gap: bool,
        form: ExportFormat,
    ) -> None:
        ours.begin()
        found = plays_of(history)
        form = form if found else "json"  # CSV of nothing is empty
        if found and is_open:
            found[-1] = replace(found[-1], end_reason=None)
        ours.write(*found)
        if has_gap and form != "csv":
            ours.write_gap()
        path = tmp_path / ("log.csv.zip" if form == "csv" else "log.json")
        export_file(LogPeriod(ours.store), form, path)
        import_history(theirs.store, [path], ImportOptions(dry_run=True))
        assert theirs.names() == set()
        import_history(theirs.store, [path])
        expected = ours.everything()
        if form == "csv":  # it has no control characters
            expected = json.loads(json.dumps(expected).replace("\\u0007", "\\ufffd"))
        assert theirs.everything() == expected
        before = ours.everything()
        import_history(ours.store, [path])
        assert ours.everything() == before

    check()
    ours.close()
    theirs.close()
