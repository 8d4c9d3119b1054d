"""Every command, from its arguments to what it prints."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.queries import dispatch
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.clock import Clock, boot_id
from tests.cli.conftest import NOW, play, run_main, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spotify_logger.core.play import Play

HOUR, DAY = 3600, 86_400


@pytest.fixture(autouse=True)
def plays(here: pytest.MonkeyPatch, store: Archive) -> list[Play]:
    """Two tracks, one of them played twice, a skip, and a play of last year; it is an evening in November."""
    here.setattr("spotify_logger.cli.main.time.time", lambda: float(NOW))
    plays = [
        play("Veridis Quo", NOW - 2 * HOUR, 345_000, "trackdone"),
        play("Superheroes", NOW - HOUR, 237_000, "trackdone"),
        play("Veridis Quo", NOW - HOUR // 2, 345_000, "trackdone"),
        play("Superheroes", NOW - 60, 9_000),
        play("Nightvision", NOW - 365 * DAY, 104_000, "trackdone"),
    ]
    write(store, *plays)
    return plays


def lines(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[str]:
    """Return the lines that a command prints."""
    ended, out, _ = run_main(list(words), capsys)
    assert ended == code
    return out.splitlines()


FIRST_LINES = {
    "recent -n 1": "2026-11-22 18:59\tDaft Punk – Superheroes\t0:09/5:45\tskipped\tKitchen",
    "day": "2026-11-22 17:00\tDaft Punk – Veridis Quo\t5:45/5:45\tfinished\tKitchen",
    "on-this-day": "2025-11-22\tDaft Punk – Nightvision\t1\t0:01:44",
    "count véridis QUO": "what\tDaft Punk – Veridis Quo",
    "top tracks --min 0 --year 2026": "1\tDaft Punk – Veridis Quo\t2\t0:11:30\t50.0\t2",
    "stats --year 2026": "period\t2026",
    "clock": "Mon" + "\t0" * 24,
    "calendar": "2026-01-01\t0",
    "year": "Jan\t0",
    "artist daft punk": "artist\tDaft Punk",
}


@pytest.mark.parametrize(("words", "line"), FIRST_LINES.items())
def test_queries_print_lines_json_and_csv(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, *words.split())[0] == line
    json.loads("".join(lines(capsys, *words.split(), "--json")))
    rows = list(csv.DictReader(io.StringIO("\n".join(lines(capsys, *words.split(), "--csv")))))
    assert rows


def test_a_machine_that_takes_seconds_for_a_command_has_no_wrong_clock(
    here: pytest.MonkeyPatch, store: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.batch() as batch:
        batch.write_status({"clock": f"{boot_id()} {NOW - 1000}"})
    passed = 0

    def wait(method: Callable[..., object]) -> Callable[..., object]:
        def slow(*arguments: object) -> object:
            nonlocal passed
            passed += 5
            return method(*arguments)

        return slow

    here.setattr("spotify_logger.cli.main.time.time", lambda: float(NOW + passed))
    here.setattr(Clock, "monotonic", lambda _: 1000.0 + passed)
    here.setattr(dispatch, "open_store", wait(dispatch.open_store))
    here.setattr(Archive, "version", wait(Archive.version))
    assert json.loads("".join(lines(capsys, "status", "--json", code=1)))["clock_offset"] == 0
    assert passed == 10


def test_what_finds_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for words, code, note in (
        (["top", "shows"], 0, "No show has plays of at least 30 s (all time)."),
        (
            ["count", "superherose"],
            1,
            "Nothing matches “superherose”. Did you mean “Daft Punk – Superheroes”?",
        ),
    ):
        assert run_main(words, capsys) == (code, "", f"{note}\n")
        assert lines(capsys, *words, "--csv", code=code) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "COMMAND"),
        ("nonsense", "invalid choice: 'nonsense'"),
        ("top track artist", "unrecognized arguments: artist"),
        ("run --port 80", "require --web"),
        ("top tracks --last 3 weeks", "not a length of time: '3' (try 12h, 30d, 4w, 6m or 1y)"),
        ("recent --json --csv", "not allowed with argument"),
        ("import --samples x.zip", "import needs files"),
        ("forget", "forget needs a text, a key or a period such as --last 2h"),
        ("web --port 65536", "not a port from 0 to 65535: '65536'"),
        ("web --port 8_0", "not a port from 0 to 65535: '8_0'"),
        ("web --port +80", "not a port from 0 to 65535: '+80'"),
        ("web --name a/b", "not a host name: 'a/b'"),
        ("demo --for abc", "argument --for: invalid float value: 'abc'"),
        ("move --to nonsense", "argument --to: not the address of a Redis server"),
        ("token", "arguments are required: ACTION"),
    ],
)
def test_invalid_arguments_are_explained(
    words: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_main(words.split(), capsys)
    assert (code, out) == (2, "")
    assert err.startswith("usage: spotify-logger")
    assert complaint in (last := err.splitlines()[-1])
    assert "LISTENER" not in last


def test_an_export_can_be_imported_again(
    tmp_path: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.jsonl").write_text("\n".join(lines(capsys, "export")))
    assert lines(capsys, "export", "--csv", "--output", "log.csv") == ["5 plays in log.csv"]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 5
    assert len(lines(capsys, "export", "--listenbrainz", "--year", "2026")) == 3
    with redis.Redis.from_url(redis_url) as client:
        before = {key: client.hgetall(key) for key in client.scan_iter()}
        revisions = before.pop(b"spotify_logger:revisions")
        client.flushall()
        assert "5\tnew" in "\n".join(lines(capsys, "import", "log.jsonl"))
        after = {key: client.hgetall(key) for key in client.scan_iter()}
        assert after.pop(b"spotify_logger:revisions").keys() >= revisions.keys()
        assert after == before
    assert "5\tnew" not in "\n".join(lines(capsys, "import", "log.jsonl"))


def test_forget_asks_deletes_and_stays_so(
    redis_url: str, plays: list[Play], capsys: pytest.CaptureFixture[str]
) -> None:
    lines(capsys, "export", "--output", "log.jsonl")
    code, _, err = run_main(["forget", "superheroes"], capsys)
    assert code == 1
    assert "nothing was deleted: there is no terminal to ask on" in err
    assert len(lines(capsys, "recent")) == 5
    lines(capsys, "forget", "superheroes", "--yes")
    assert lines(capsys, "forget", "superheroes", "--yes", code=1) == ["No play matches “superheroes”."]
    assert len(lines(capsys, "recent")) == 3
    lines(capsys, "forget", "--year", "2025", "--yes")
    lines(capsys, "forget", f"listening:{plays[0].second}", "--yes")
    assert [line.split("\t")[0] for line in lines(capsys, "recent")] == ["2026-11-22 18:30"]
    assert "4\tdeleted before (--restore imports them again)" in lines(capsys, "import", "log.jsonl")
    assert lines(capsys, "check")[0].endswith("no problems")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert set(client.keys("track:*")) == {"track:v"}
    assert lines(capsys, "undo") == ["4 plays brought back."]
    assert run_main(["undo", "1"], capsys)[0] == 1
    assert len(lines(capsys, "recent")) == 5


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = run_main(["--help"], capsys)
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 100
    listed = shown.partition("COMMAND\n")[2].partition("\nexamples")[0].splitlines()
    commands = [line.split()[0] for line in listed if line.startswith("    ") and line[4:5].isalpha()]
    assert {"login", "status", "top", "year", "on-this-day", "import", "check", "web"} <= set(commands)
    for command in set(commands) - {"help"}:
        code, shown, _ = run_main([command, "--help"], capsys)
        assert code == 0
        assert ("--json" in shown) == (command not in {"run", "demo", "web"})
        assert run_main(["help", command], capsys) == (0, shown, "")
        assert run_main(["--listener", "anna", "help", command], capsys) == (0, shown, "")
    assert run_main(["help"], capsys) == run_main(["--help"], capsys)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("top", "top tracks"),
        ("top device --min 0", "top devices --min 0"),
        ("calendar 2025", "calendar --year 2025"),
        ("year 2025", "year --year 2025"),
        ("calendar", "calendar --year 2026"),
        ("on-this-day", "on-this-day 2026-11-22"),
    ],
)
def test_what_goes_without_saying_may_be_left_out(
    short: str, long: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(capsys, *short.split())
    assert found
    assert found == lines(capsys, *long.split())


def test_another_date_on_this_day(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, "on-this-day", "2027-11-22", "--min", "0") == [
        "2026-11-22\tDaft Punk – Veridis Quo\t4\t0:15:36",
        "2025-11-22\tDaft Punk – Nightvision\t1\t0:01:44",
    ]
    assert "22 March" in run_main(["on-this-day", "2026-03-22"], capsys)[2]


def test_a_listener_that_only_has_imports_is_listed(
    tmp_path: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.jsonl").write_text("\n".join(lines(capsys, "export")))
    lines(capsys, "--listener", "anna", "import", "log.jsonl", "--dry-run")
    lines(capsys, "--listener", "ben", "import", "log.jsonl")
    with closing(Archive(redis_url)) as store:
        assert store.listeners() == ["", "ben"]
    found = lines(capsys, "status", "--all", code=1)
    assert [line.partition("\t")[0] for line in found] == ["(no name)", "ben"]
    for words in (["recent"], ["count", "veridis"], ["check"], ["export"], ["forget", "quo", "--yes"]):
        message = "spotify-logger: no listener called bne has a log here; listeners: -, ben\n"
        assert run_main(["--listener", "bne", *words], capsys) == (1, "", message)
    assert lines(capsys, "--listener", "ben", "recent")
