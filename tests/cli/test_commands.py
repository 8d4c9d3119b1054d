"""Every command, from its words to what it prints."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.cli import main
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_795_370_400.0
"""2026-11-22T18:00:00Z."""
HOUR, DAY = 3600, 86_400


@pytest.fixture(autouse=True)
def here(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder without settings, in a time zone, an evening in November."""
    for name in [name for name in os.environ if name.startswith(("SPOTIFY_", "REDIS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    monkeypatch.setattr("spotify_logger.queries.arguments.time.time", lambda: NOW)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def plays(redis_url: str) -> list[Play]:
    """Two tracks of an album, one of them twice, a skip, and last year's one."""
    found = [
        play("Veridis Quo", "v", -2 * HOUR, 345_000),
        play("Superheroes", "s", -HOUR, 237_000),
        play("Veridis Quo", "v", -HOUR // 2, 345_000),
        play("Superheroes", "s", -60, 9_000, "skipped"),
        play("Nightvision", "n", -365 * DAY, 104_000),
    ]
    store = Store(redis_url, utc=lambda: NOW)
    with store.batch() as batch:
        for each in found:
            batch.write_play(each.second, each.to_hash(), each.index)
            batch.write_catalog(each.item.key, each.item.catalog)
    store.close()
    return found


def play(name: str, identity: str, after: int, ms_played: int, end: str = "trackdone") -> Play:
    uri = f"spotify:track:{identity}"
    about: dict[str, str | int] = {"uri": uri, "type": "track", "name": name, "artists": "Daft Punk"}
    about |= {"album": "Discovery", "duration_ms": 345_000}
    started = round(NOW + after) * 1000
    item = Item(f"track:{identity}", uri, 345_000, {**about, "artist_ids": "4tZ", "album_id": "2no"})
    fields = {**about, "id": identity, "device_name": "Kitchen", "context_uri": "spotify:album:2no"}
    return Play(started // 1000, item, started, started + ms_played, ms_played, end, "live", fields)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[str]:
    """The lines that a command prints."""
    assert main.main(words) == code
    return capsys.readouterr().out.splitlines()


LINES = {
    "recent -n 1": "2026-11-22 18:59\tDaft Punk – Superheroes\t0:09/5:45\tskipped\tKitchen",
    "recent --until 2025": "2025-11-22 19:00\tDaft Punk – Nightvision\t1:44/5:45\tfinished\tKitchen",
    "day": "2026-11-22 17:00\tDaft Punk – Veridis Quo\t5:45/5:45\tfinished\tKitchen",
    "day 2025-11-22": "2025-11-22 19:00\tDaft Punk – Nightvision\t1:44/5:45\tfinished\tKitchen",
    "on-this-day": "2025-11-22\tDaft Punk – Nightvision\t1\t104 s",
    "count veridis quo": "what\tDaft Punk – Veridis Quo",
    "count veridis quo --last 1h": "what\tDaft Punk – Veridis Quo",
    "top tracks": "1\tDaft Punk – Veridis Quo\t2\t11 min\t50.0 %",
    "top tracks --min 0 --year 2026": "1\tDaft Punk – Veridis Quo\t2\t11 min\t50.0 %\tnew",
    "top artists": "1\tDaft Punk\t4\t17 min\t100.0 %",
    "top albums --min finished": "1\tDaft Punk – Discovery\t4\t17 min\t100.0 %",
    "top devices": "1\tKitchen\t4\t17 min\t100.0 %",
    "top contexts --min half": "1\tspotify:album:2no\t4\t17 min\t100.0 %",
    "top shows": "No show has plays of at least 30 s: all time.",
    "stats --year 2026": "stretch\t2026",
    "clock": "Mon" + "\t0" * 24,
    "calendar": "2026-01-01\t0",
    "year": "2026 so far: 15 min, 3 plays of at least 30 s",
    "artist daft punk": "artist\tDaft Punk",
    "album discovery": "album\tDaft Punk – Discovery",
    "track veridis quo": "track\tDaft Punk – Veridis Quo",
    "check": "5 plays, 2 days, 3 items: no problems",
}


@pytest.mark.parametrize(("words", "line"), LINES.items())
def test_the_first_line_in_a_pipe(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, *words.split())[0] == line


@pytest.mark.parametrize("words", [words for words in LINES if not words.startswith("check")])
def test_for_programs_and_spreadsheets(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    json.loads("".join(said(capsys, *words.split(), "--json")))
    rows = list(csv.DictReader(io.StringIO("\n".join(said(capsys, *words.split(), "--csv")))))
    assert bool(rows) is not words.startswith("top shows")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("top", "KIND"),
        ("top songs", "invalid choice: 'songs'"),
        ("top tracks --year 2026 --last 30d", "--year and --last cannot be combined: use one of them"),
        ("top tracks --since 2026-02-30", "--since: not a date: '2026-02-30' (try 2026, 2026-11"),
        ("top tracks --since 2026 --until 2025", "is before --since"),
        ("top tracks --last 3 weeks", "not a length of time: '3' (try 12h, 30d, 4w, 6m or 1y)"),
        ("top tracks --min long", "not a threshold: 'long' (try 30s, half, finished or 0)"),
        ("top tracks --tz Mars/Olympus", "unknown time zone: 'Mars/Olympus' (try Europe/Berlin)"),
        ("day someday", "someday"),
        ("stats --json --csv", "not allowed with argument"),
        ("import", "import needs files, folders or ZIP archives, or else --samples"),
        ("import --samples x.zip", "import needs files, folders or ZIP archives, or else --samples"),
        ("export --csv --json", "not allowed with argument"),
        (
            "forget",
            "forget needs a text, a key or a period such as --last 2h: it does not delete the whole log",
        ),
    ],
)
def test_words_that_make_no_sense(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(words.split())
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_out_and_in_again(
    here: Path, redis_url: str, plays: list[Play], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "export")
    (here / "log.jsonl").write_text("\n".join(lines))
    assert said(capsys, "export", "--csv", "--output", "log.csv") == ["5 plays in log.csv"]
    assert len((here / "log.csv").read_text().splitlines()) == 1 + 5
    assert len(said(capsys, "export", "--listenbrainz", "--year", "2026")) == 3
    with redis.Redis.from_url(redis_url) as client:
        before = {key: client.hgetall(key) for key in client.scan_iter()}
        client.flushall()
        assert "5\tnew" in "\n".join(said(capsys, "import", "log.jsonl"))
        assert {key: client.hgetall(key) for key in client.scan_iter()} == before
    assert "5\tnew" not in "\n".join(said(capsys, "import", "log.jsonl"))


def test_samples(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for seconds in range(0, 200, 10):
            sample = {"id": "a", "name": "Aerodynamic", "progress_ms": seconds * 1000, "is_playing": 1}
            client.hset(f"activity:{1_560_000_000 + seconds}", mapping={**sample, "duration_ms": 212_000})
    said(capsys, "import", "--samples")
    assert said(capsys, "count", "aerodynamic")[1] == "plays\t1"


def test_forget(redis_url: str, plays: list[Play], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "export", "--output", "log.jsonl")
    assert main.main(["forget", "superheroes"]) == 1
    assert "nothing was deleted: there is no terminal to ask on" in capsys.readouterr().err
    assert len(said(capsys, "recent")) == 5
    said(capsys, "forget", "superheroes", "--yes")
    assert len(said(capsys, "recent")) == 3
    said(capsys, "forget", "--year", "2025", "--yes")
    said(capsys, "forget", f"listening:{plays[0].second}", "--yes")
    assert [line.split("\t")[0] for line in said(capsys, "recent")] == ["2026-11-22 18:30"]
    assert "4\tdeleted before, not imported again" in said(capsys, "import", "log.jsonl")
    assert said(capsys, "check")[0].endswith("no problems")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert set(client.keys("track:*")) == {"track:v"}


def test_check(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.delete("plays:2026-11-22")
    assert len(said(capsys, "recent")) == 1
    said(capsys, "check", code=1)
    said(capsys, "check", "--repair")
    assert len(said(capsys, "recent")) == 5


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Also that none of it has a sign that argparse takes for a place to fill in."""
    with pytest.raises(SystemExit):
        main.main(["--help"])
    lines = capsys.readouterr().out.partition("COMMAND\n")[2].partition("\nexamples")[0].splitlines()
    commands = [line.split()[0] for line in lines if line.startswith("    ") and line[4:5].isalpha()]
    assert {"login", "status", "top", "year", "on-this-day", "import", "check"} <= set(commands)
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main.main([command, "--help"])
        assert ended.value.code == 0
        assert ("--json" in capsys.readouterr().out) == (command != "web")
