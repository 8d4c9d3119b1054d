from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.cli import main
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.demo_catalog import make_demo_catalog
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.storage.bulk import Archive

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

NOW = 1_795_348_800.0
TWO_WEEKS_AGO = int(NOW) - 14 * 86_400


@pytest.fixture(scope="module")
def listeners(redis_server: EmbeddedServer) -> str:
    """The URL of a Redis with the logs of Anna and Ben, and of somebody without a name."""
    url, catalog = redis_server.url, make_demo_catalog(5)
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.hset("spotify_logger:status", mapping={"state": "x"})
    for name, seed in (("anna", 1), ("ben", 2)):
        store = Archive(url, f"{name}:", listener=name, utc=lambda: NOW)
        store.register_listener()
        make_logged_history(seed, 20, NOW - 3600, catalog).write(store)
        store.close()
    return url


@pytest.fixture(autouse=True)
def _environment(listeners: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", listeners)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))


def amounts(url: str, name: str, kind: str, begin: int) -> dict[str, tuple[int, int, int]]:
    """Return plays, milliseconds and the second of the first play ever of each thing, one play at a time."""
    store = Archive(url, f"{name}:", utc=lambda: NOW)
    plays: dict[str, int] = defaultdict(int)
    ms_played: dict[str, int] = defaultdict(int)
    firsts: dict[str, int] = {}
    for day in store.days():
        for second, (item, milliseconds) in store.index(day).items():
            entry = store.hash(item)
            if item.startswith("episode:"):
                continue
            names = entry["artists"].split(", ") if kind == "artists" else [entry.get("isrc") or item]
            for thing in names:
                ms_played[thing] += milliseconds if second >= begin else 0
                if milliseconds >= 30_000:
                    plays[thing] += second >= begin
                    firsts[thing] = min(second, firsts.get(thing, second))
    store.close()
    return {thing: (plays[thing], ms_played[thing], firsts[thing]) for thing in plays if plays[thing]}


def compare(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main.main(["--listener", "anna", "compare", *words, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize(("kind", "begin"), [("artists", 0), ("tracks", TWO_WEEKS_AGO)])
def test_what_both_played(listeners: str, capsys: pytest.CaptureFixture[str], kind: str, begin: int) -> None:
    result = compare(capsys, "ben", "-n5000", *[f"--since={to_iso(begin * 1000)}"] * bool(begin))
    anna, ben = (amounts(listeners, name, kind, begin) for name in ("anna", "ben"))
    common = [(anna[thing], ben[thing]) for thing in anna.keys() & ben]
    assert result["common"][kind] == len(common) == len(result[kind]) > 10
    assert [each[kind] for each in result["listeners"]] == [len(anna), len(ben)]
    fewer_plays = sorted((min(one[0], other[0]) for one, other in common), reverse=True)
    assert [min(line["plays"]) for line in result[kind]] == fewer_plays
    assert sorted([line["plays"], line["heard_ms"], line["first"]] for line in result[kind]) == sorted(
        [[one[0], other[0]], [one[1], other[1]], [to_iso(one[2] * 1000), to_iso(other[2] * 1000)]]
        for one, other in common
    )


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--listener", "anna", "compare", "ben", "-n1"]) == 0
    output = capsys.readouterr()
    result = compare(capsys, "ben", "-n1")
    best = result["artists"][0]
    first = "anna" if best["first"][0] < best["first"][1] else "ben"
    assert f"plays\t{result['listeners'][0]['plays']}\t{result['listeners'][1]['plays']}\n" in output.err
    assert f"In common: {result['common']['artists']} artists, " in output.err
    artist, track = output.out.splitlines()
    plays = "\t".join(map(str, best["plays"]))
    assert artist.startswith(f"1\tartist\t{best['name']}\t{plays}\t{first}, 20")
    assert track.startswith(f"1\ttrack\t{result['tracks'][0]['name']}\t")


def test_nothing_in_common(capsys: pytest.CaptureFixture[str]) -> None:
    result = compare(capsys, "-")
    assert result["common"] == {"artists": 0, "tracks": 0}
    assert result["artists"] == result["tracks"] == []
    assert result["listeners"][1]["plays"] == 0


def test_an_unknown_listener(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["compare", "zoe"]) == 1
    assert "zoe has a log here; listeners: -, anna, ben" in capsys.readouterr().err
