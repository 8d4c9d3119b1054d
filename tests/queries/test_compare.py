"""What two listeners have in common, against the plain way to find it out."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.cli import main
from spotify_logger.core.redis_keys import STATUS
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.favourites import make_favourites
from spotify_logger.simulator.past import make_logged_history
from spotify_logger.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_348_800.0
Plain = dict[str, tuple[int, int, int]]
"""Of each thing: plays and milliseconds heard in a period, second of the first play ever that counts."""
MIDDLE = int(NOW) - 2 * 86_400


@pytest.fixture
def household(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    catalog = make_favourites(5)
    for name, seed in (("anna", 1), ("ben", 2)):
        store = Store(redis_url, f"{name}:", listener=name, utc=lambda: NOW)
        store.register_listener()
        make_logged_history(seed, 6, NOW - 3600, catalog).write(store.archive())
        store.close()
    return redis_url


def plainly(url: str, name: str, kind: str, begin: int = 0) -> Plain:
    """One play after the other, those from a second on."""
    store = Store(url, f"{name}:", utc=lambda: NOW)
    plays: dict[str, int] = defaultdict(int)
    heard: dict[str, int] = defaultdict(int)
    firsts: dict[str, int] = {}
    for day in store.days():
        for second, (item, milliseconds) in store.index(day).items():
            entry = store.item(item)
            if item.startswith("episode:"):
                continue
            names = entry["artists"].split(", ") if kind == "artists" else [entry.get("isrc") or item]
            for thing in names:
                heard[thing] += milliseconds if second >= begin else 0
                if milliseconds >= 30_000:
                    plays[thing] += second >= begin
                    firsts[thing] = min(second, firsts.get(thing, second))
    store.close()
    return {thing: (plays[thing], heard[thing], firsts[thing]) for thing in plays if plays[thing]}


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main.main([*words, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("kind", ["artists", "tracks"])
@pytest.mark.parametrize("by", ["plays", "time"])
@pytest.mark.parametrize("begin", [0, MIDDLE])
def test_what_both_heard(
    household: str, capsys: pytest.CaptureFixture[str], kind: str, by: str, begin: int
) -> None:
    period = [f"--since={to_iso(begin * 1000)}"] if begin else []
    result = asked(capsys, "--listener", "anna", "compare", "ben", f"--by={by}", "-n5000", *period)
    anna, ben = (plainly(household, name, kind, begin) for name in ("anna", "ben"))
    assert result["common"][kind] == len(anna.keys() & ben.keys()) == len(result[kind]) > 10
    assert [each[kind] for each in result["listeners"]] == [len(anna), len(ben)]
    place = by == "time"
    threshold = sorted(
        (min(anna[thing][place], ben[thing][place]) for thing in anna.keys() & ben), reverse=True
    )
    assert [min(line["heard_ms" if place else "plays"]) for line in result[kind]] == threshold
    expected = sorted(
        [[one[0], other[0]], [one[1], other[1]], [to_iso(one[2] * 1000), to_iso(other[2] * 1000)]]
        for one, other in ((anna[thing], ben[thing]) for thing in anna.keys() & ben)
    )
    assert sorted([line["plays"], line["heard_ms"], line["first"]] for line in result[kind]) == expected


def test_for_people(household: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--listener", "anna", "compare", "ben", "-n1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    result = asked(capsys, "--listener", "anna", "compare", "ben", "-n1")
    best = result["artists"][0]
    who = "anna" if best["first"][0] < best["first"][1] else "ben"
    assert lines[0] == f"plays\t{result['listeners'][0]['plays']:,}\t{result['listeners'][1]['plays']:,}"
    assert f"{result['common']['artists']} artists in common" in lines
    row = next(line for line in lines if best["name"] in line)
    assert row.startswith(f"1\t{best['name']}\t{best['plays'][0]}\t{best['plays'][1]}\t{who}, 20")


def test_nothing_in_common(household: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = asked(capsys, "--listener", "anna", "compare", "ben", "--year", "2010")
    assert result["common"] == {"artists": 0, "tracks": 0}
    assert result["artists"] == result["tracks"] == []


def test_the_one_without_a_name(household: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(household)
    with store.batch() as batch:
        batch.write_status({"state": "x"})
    assert store.read_status(), STATUS
    store.close()
    result = asked(capsys, "--listener", "anna", "compare", "-")
    assert [each["name"] for each in result["listeners"]] == ["anna", ""]
    assert result["listeners"][1]["plays"] == 0


def test_an_unknown_listener(household: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["compare", "zoe"]) == 1
    assert capsys.readouterr().err == (
        "spotify-logger: no listener called 'zoe' has a log here (known: anna, ben)\n"
    )
