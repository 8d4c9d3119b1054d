from __future__ import annotations

import csv
import io
import json
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger import __version__
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, UNKNOWN
from spotify_logger.core.player_state import catalog_key
from spotify_logger.storage.connection import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.exporter import plays
from spotify_logger.transfer.exporter.command import ExportFormat, export, export_file
from spotify_logger.transfer.exporter.jsonl import records
from spotify_logger.transfer.importer.command import import_history
from tests.redis_log import NIGHT, NIGHT_SECOND, SECOND, RedisLog, item, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item


pytestmark = pytest.mark.usefixtures("young_world")


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    log = RedisLog(redis_url)
    yield log
    log.close()


def told(log: RedisLog, form: ExportFormat, begin: int = 0, end: int | None = None) -> str:
    out = io.StringIO(newline="")
    export(log.archive, form, out, begin, end)
    return out.getvalue()


def lines(log: RedisLog, begin: int = 0, end: int | None = None) -> list[dict[str, object]]:
    return [json.loads(line) for line in told(log, "jsonl", begin, end).splitlines()]


def words(log: RedisLog, begin: int = 0, end: int | None = None) -> list[str]:
    """The records in words: "item track:A", "play 30", "gap"."""
    found = []
    for record in lines(log, begin, end):
        second = record.get("second")
        about = record.get("key") if second is None else int(str(second)) - SECOND
        found.append(f"{record['kind']} {about}")
    return found


class TestRecords:
    def test_an_item_a_play_and_a_gap(self, log: RedisLog) -> None:
        log.write(play("A", device_volume=50))
        log.write_gap()
        assert lines(log) == [
            {"kind": "gap", "second": NIGHT_SECOND, "fields": NIGHT},
            {
                "kind": "item",
                "key": "track:A",
                "fields": {**log.kept("track:A"), "duration_ms": 200_000},
            },
            {
                "kind": "play",
                "second": SECOND,
                "fields": {
                    **log.kept(f"listening:{SECOND}"),
                    "duration_ms": 200_000,
                    "ms_played": 200_000,
                    "device_volume": 50,
                },
            },
        ]

    def test_an_item_stands_once_before_its_first_play(
        self, log: RedisLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plays, "PLAYS_PER_BATCH", 2)
        log.write(*(play(name, 30 * number) for number, name in enumerate("ABABCA")))
        assert words(log) == [
            *("item track:A", "play 0", "item track:B", "play 30", "play 60", "play 90"),
            *("item track:C", "play 120", "play 150"),
        ]

    def test_what_began_in_a_stretch(self, log: RedisLog) -> None:
        log.write(play("A", -86_400), play("A"), play("B", 30), play("C", 60))
        log.write_gap()
        assert words(log, SECOND, SECOND + 60) == ["item track:A", "play 0", "item track:B", "play 30"]
        assert words(log, NIGHT_SECOND, SECOND) == [f"gap {NIGHT_SECOND - SECOND}"]
        assert words(log, SECOND + 60) == ["item track:C", "play 60"]
        assert words(log, SECOND + 61) == []

    def test_json_has_the_same_in_an_array(self, log: RedisLog) -> None:
        assert json.loads(told(log, "json")) == []
        log.write(play("A"))
        assert json.loads(told(log, "json")) == lines(log)
        log.write(play("B", 30), play("A", 60))
        log.write_gap()
        assert json.loads(told(log, "json")) == lines(log)

    def test_a_text_that_is_no_number_as_it_is_written_here_stays_a_text(self, log: RedisLog) -> None:
        log.write(play("1979"))
        log.raw.hset(f"listening:{SECOND}", mapping={"duration_ms": "007", "timestamp": "-1", "explicit": ""})
        (fields,) = (record["fields"] for record in lines(log) if record["kind"] == "play")
        assert isinstance(fields, dict)
        assert [fields[name] for name in ("name", "duration_ms", "timestamp", "explicit")] == [
            "1979",
            "007",
            "-1",
            "",
        ]

    def test_it_is_ascii_and_harmless(self, log: RedisLog) -> None:
        log.write(play(item("A", name="Łódź 日本\x1b[2J\u202e")))
        assert told(log, "jsonl").isascii()
        assert told(log, "jsonl").replace("\n", "").isprintable()

    def test_a_line_without_a_play_and_a_play_without_an_item(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 30))
        log.raw.delete(f"listening:{SECOND}", "track:B")
        assert words(log) == ["play 30"] or words(log) == ["item track:A", "play 30"]

    def test_it_is_read_while_it_is_written(self, log: RedisLog) -> None:
        log.write(*(play("A", 30 * number) for number in range(3 * plays.PLAYS_PER_BATCH)))
        told = records(log.archive, 0, None)
        next(told)
        log.raw.delete(*(f"listening:{SECOND + 30 * number}" for number in range(3 * plays.PLAYS_PER_BATCH)))
        assert sum(record["kind"] == "play" for record in told) == plays.PLAYS_PER_BATCH


class TestSheet:
    def test_a_row_a_play(self, log: RedisLog) -> None:
        log.write(play("A", device_volume=50, shuffle_state=1), play("B", 300, 30, None))
        rows = list(csv.DictReader(io.StringIO(told(log, "csv"), newline="")))
        assert rows[0] == {
            "second": str(SECOND),
            "started_at": "2026-11-22T18:00:00.000Z",
            "ended_at": "2026-11-22T18:03:20.000Z",
            "ms_played": "200000",
            "end_reason": "trackdone",
            "source": "live",
            "type": "track",
            "name": "A",
            "artists": "Daft Punk",
            "album": "Discovery",
            "duration_ms": "200000",
            "explicit": "",
            "device_name": "Desk",
            "device_type": "",
            "device_volume": "50",
            "shuffle_state": "1",
            "repeat_state": "",
            "context_uri": "",
            "uri": "spotify:track:A",
            "isrc": "FRA",
        }
        assert [row["end_reason"] for row in rows] == ["trackdone", ""]

    def test_no_text_is_a_formula_and_numbers_are_none(self, log: RedisLog) -> None:
        log.write(play(item("A", name='=HYPERLINK("http://x")', artists="@me", album="-1")))
        log.raw.hset(f"listening:{SECOND}", "duration_ms", "=1+1")
        (row,) = csv.DictReader(io.StringIO(told(log, "csv"), newline=""))
        assert [row[name][0] for name in ("name", "artists", "album", "duration_ms")] == ["'"] * 4
        assert row["ms_played"] == "200000"

    def test_what_only_the_catalogue_knows(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.hdel(f"listening:{SECOND}", "name", "artists", "duration_ms")
        (row,) = csv.DictReader(io.StringIO(told(log, "csv"), newline=""))
        assert [row[name] for name in ("name", "artists", "duration_ms")] == ["A", "Daft Punk", "200000"]


EPISODE = item("E", type="episode", uri="spotify:episode:E", artists=None, isrc=None, album="A Show")
FILE = "spotify:local:Me::Demo:200"
LOCAL = item("L", key=catalog_key("track", "", FILE), uri=FILE, isrc=None, album=None)


class TestListens:
    def listens(self, log: RedisLog) -> list[dict[str, object]]:
        return [json.loads(line) for line in told(log, "listenbrainz").splitlines()]

    def test_one_as_listenbrainz_has_it(self, log: RedisLog) -> None:
        log.write(play(item("A", artists="A, B", artist_ids="1 2")))
        assert self.listens(log) == [
            {
                "listened_at": SECOND,
                "track_metadata": {
                    "artist_name": "A, B",
                    "track_name": "A",
                    "release_name": "Discovery",
                    "additional_info": {
                        "duration_ms": 200_000,
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

    def test_a_local_file_has_no_place_at_spotify(self, log: RedisLog) -> None:
        log.write(play(LOCAL))
        ((metadata),) = (listen["track_metadata"] for listen in self.listens(log))
        assert isinstance(metadata, dict)
        assert "release_name" not in metadata
        assert set(metadata["additional_info"]) == {
            *("duration_ms", "media_player", "submission_client", "submission_client_version"),
        }

    @pytest.mark.parametrize(
        ("what", "heard", "reason", "expected"),
        [
            (item("A"), 100, SKIPPED, True),
            (item("A"), 99.9, SKIPPED, False),
            (item("A"), 99, TRACKDONE, False),
            (item("A", duration_ms=3_600_000), 240, STOPPED, True),
            (item("A", duration_ms=3_600_000), 239, STOPPED, False),
            (item("A", duration_ms=None), 30, UNKNOWN, True),
            (item("A", duration_ms=None), 29, UNKNOWN, False),
            (item("A", duration_ms=None), 29, TRACKDONE, True),
            (item("A", artists=None), 200, TRACKDONE, False),
            (EPISODE, 200, TRACKDONE, False),
        ],
    )
    def test_what_counts(
        self, log: RedisLog, what: Item, heard: float, reason: str, *, expected: bool
    ) -> None:
        log.write(play(what, heard=heard, reason=reason))
        assert len(self.listens(log)) == expected


class TestFile:
    def test_it_is_whole_and_nobody_else_reads_it(self, log: RedisLog, tmp_path: Path) -> None:
        log.write(play("A"), play("B", 30))
        path = tmp_path / "log.jsonl"
        path.write_text("what was there before, and is longer" * 99)
        path.chmod(0o644)
        answer = export_file(log.archive, "jsonl", path)
        assert answer.page == [f"2 plays in {path}"]
        assert answer.data == {"file": str(path), "plays": 2}
        assert path.read_text() == told(log, "jsonl")
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]

    def test_a_sheet_has_the_ends_of_lines_that_spreadsheets_want(
        self, log: RedisLog, tmp_path: Path
    ) -> None:
        log.write(play(item("A", name="日本")))
        export_file(log.archive, "csv", tmp_path / "log.csv")
        assert (tmp_path / "log.csv").read_bytes().count(b"\r\n") == 2
        assert "日本".encode() in (tmp_path / "log.csv").read_bytes()

    def test_listens_are_counted_as_such(self, log: RedisLog, tmp_path: Path) -> None:
        log.write(play("A"), play("B", 300, 30))
        assert export_file(log.archive, "listenbrainz", tmp_path / "x").page == [
            f"1 listen in {tmp_path / 'x'}"
        ]

    def test_where_redis_goes_away_the_old_one_stays(
        self, log: RedisLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.write(play("A"))
        path = tmp_path / "log.jsonl"
        path.write_text("old")

        def go_away(_: object) -> None:
            raise StoreError("Redis went away")

        monkeypatch.setattr(log.archive, "hashes", go_away)
        with pytest.raises(StoreError):
            export_file(log.archive, "jsonl", path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_link_leads_to_the_file(self, log: RedisLog, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real" / "log.jsonl")
        export_file(log.archive, "json", tmp_path / "link")
        assert (tmp_path / "real" / "log.jsonl").read_text() == "[]\n"
        assert (tmp_path / "link").is_symlink()

    @pytest.mark.parametrize("name", ["", "fifo", "missing/log.jsonl"])
    def test_what_cannot_be_written_is_told_in_a_line(self, log: RedisLog, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(SpotifyLoggerError, match=r"not a regular file|cannot write"):
            export_file(log.archive, "json", tmp_path / name)


YEARS = 3e8
"""Seconds by which the plays that are taken in lie before six o'clock: nothing of the future is."""
LISTENING = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0.3, 1, 30, 200, 86_000]),  # seconds since the end of the play before
        st.sampled_from([*map(item, "ABC"), EPISODE, LOCAL, item("X", name="=1\x07 Łódź", isrc=None)]),
        st.sampled_from([0.001, 0.4, 5, 29.999, 30, 200]),
        st.sampled_from([TRACKDONE, SKIPPED, STOPPED, UNKNOWN]),
        st.sampled_from(["live", "live", "live", "backfill", "import"]),
    ),
    max_size=12,
)


def listened(history: list[tuple[float, Item, float, str, str]], *, is_open: bool) -> list[Play]:
    """The plays as the logger names them: the next free second where one is taken."""
    plays: list[Play] = []
    now = -YEARS
    for pause, what, heard, reason, source in history:
        now += pause
        taken = plays[-1].second + 1 if plays else 0
        second = max(taken, math.floor(SECOND + now))
        plays.append(
            play(what, now, heard, reason, source=source, second=second, playing=1, device_volume=50)
        )
        now += heard
    return [*plays[:-1], replace(plays[-1], end_reason=None)] if plays and is_open else plays


def test_what_is_given_out_is_taken_in_again_without_loss(redis_url: str, tmp_path: Path) -> None:
    ours, theirs = RedisLog(redis_url, "ours:"), RedisLog(redis_url, "theirs:")

    @settings(max_examples=25, deadline=None)
    @given(
        history=LISTENING,
        is_open=st.booleans(),
        has_gap=st.booleans(),
        form=st.sampled_from(["json", "jsonl"]),
    )
    def check(
        *,
        history: list[tuple[float, Item, float, str, str]],
        is_open: bool,
        has_gap: bool,
        form: ExportFormat,
    ) -> None:
        path = tmp_path / f"log.{form}"
        ours.begin()
        ours.write(*listened(history, is_open=is_open))
        if has_gap:
            ours.write_gap()
        export_file(ours.archive, form, path)
        import_history(theirs.archive, [path])
        assert theirs.everything() == ours.everything()
        import_history(ours.archive, [path])
        assert theirs.everything() == ours.everything()

    check()
    ours.close()
    theirs.close()
