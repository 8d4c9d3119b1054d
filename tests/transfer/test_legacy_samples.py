from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.command import import_history, import_samples
from spotify_logger.transfer.importer.legacy_samples import plays_of, read_sample
from tests.exports import NOON, A, B, Song, extended, write

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from spotify_logger.report.answers import Answer
    from spotify_logger.storage.bulk import Archive

LENGTH = 200


def sample(song: Song, progress: float, *, playing: bool = True) -> dict[str, str]:
    """Return what the old script is assumed to have kept of an answer."""
    return {
        "id": song.uri.rpartition(":")[2],
        "uri": song.uri,
        "name": song.name,
        "artists": song.artist,
        "album": song.album,
        "duration_ms": str(LENGTH * 1000),
        "progress_ms": str(round(progress * 1000)),
        "is_playing": str(int(playing)),
        "device_name": "Kitchen",
    }


def played(song: Song, start: int, stop: int) -> dict[int, dict[str, str]]:
    """Return samples of a track that plays from `start` on, in seconds after noon."""
    return {second: sample(song, second - start) for second in range(start, stop, 10)}


def data(answer: Answer) -> dict[str, object]:
    assert isinstance(answer.data, dict)
    return {name: number for name, number in answer.data.items() if number}


def write_samples(client: redis.Redis, samples: dict[int, dict[str, str]]) -> None:
    for second, fields in samples.items():
        client.hset(f"activity:{NOON + second}", items=[each for pair in fields.items() for each in pair])


def dump(client: redis.Redis) -> dict[str, object]:
    return {str(key): client.dump(key) for key in client.scan_iter()}


PAUSED = {second: sample(A, 90, playing=False) for second in range(100, 300, 10)}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (played(A, 0, 200) | played(B, 200, 400), [("A", 0, 200, "trackdone"), ("B", 200, 190, "unknown")]),
        (played(A, 0, 100) | played(B, 100, 300), [("A", 0, 100, "skipped"), ("B", 100, 190, "unknown")]),
        (played(A, 0, 200) | played(A, 200, 400), [("A", 0, 200, "trackdone"), ("A", 200, 190, "unknown")]),
        (played(A, 0, 100) | PAUSED, [("A", 0, 90, "stopped")]),
        (played(A, 0, 60) | played(B, 9000, 9100), [("A", 0, 50, "unknown"), ("B", 9000, 90, "unknown")]),
        ({0: {"nothing": "1", "artists": "["}}, []),
    ],
    ids=["done", "skipped", "repeated", "paused", "left", "unknown fields"],
)
def test_samples_become_plays(
    samples: dict[int, dict[str, str]], expected: list[tuple[str, float, float, str]]
) -> None:
    read = ((NOON + second, read_sample(fields)) for second, fields in sorted(samples.items()))
    found = [found.play for found in plays_of(read)]
    assert [(play.fields.get("name"), play.end_reason) for play in found] == [
        (name, reason) for name, _, _, reason in expected
    ]
    for play, (_, start, heard, _) in zip(found, expected, strict=True):
        assert play.started_ms / 1000 - NOON == pytest.approx(start, abs=2)
        assert play.ms_played / 1000 == pytest.approx(heard, abs=2)


DOTTED = {
    "item.id": "A",
    "item.uri": "spotify:track:A",
    "item.name": "A",
    "item.artists": '[{"name": "Daft Punk"}, {"name": "Air"}]',
    "item.album.name": "Discovery",
    "item.duration_ms": "200000",
    "progress_ms": "5000.0",
    "is_playing": "True",
    "device.name": "Kitchen",
    "shuffle_state": "False",
    "context.uri": "None",
}


def test_fields_may_have_other_names() -> None:
    playback = read_sample(DOTTED)
    assert playback.item is not None
    assert playback.item.key == "track:A"
    assert (playback.playing, playback.progress_ms) == (True, 5000)
    found = {name: playback.fields[name] for name in ("id", "name", "artists", "album")}
    assert found == {"id": "A", "name": "A", "artists": "Daft Punk, Air", "album": "Discovery"}
    assert "context_uri" not in playback.fields
    assert "artists" not in read_sample({**DOTTED, "item.artists": "[]"}).fields


def test_samples_are_imported_and_kept(archive: Archive, client: redis.Redis) -> None:
    write_samples(client, played(A, 0, 200) | played(B, 200, 400))
    client.set("activity:invalid", "x")
    client.set(f"activity:{NOON + 7}", "x")
    before = dump(client)
    dry = import_samples(archive, dry_run=True)
    assert dump(client) == before
    expected = {"samples": 41, "empty": 1, "plays": 2, "new": 2}
    assert data(dry) == {"dry_run": True, **expected}
    assert data(import_samples(archive)) == expected
    assert client.hgetall("plays:2026-01-01") == {
        f"{NOON}": "track:A 200000 trackdone",
        f"{NOON + 200}": "track:B 190000 unknown",
    }
    play = client.hgetall(f"listening:{NOON}")
    assert (play["source"], play["device_name"], play["name"]) == ("import", "Kitchen", "A")
    assert client.hget("track:A", "album") == "Discovery"
    after = dump(client)
    assert before.items() < after.items()
    assert data(import_samples(archive)) == {"samples": 41, "empty": 1, "plays": 2, "imported": 2}
    assert dump(client) == after


def test_plays_of_exports_and_samples_are_not_doubled(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    write_samples(client, played(A, 1, 201) | played(B, 201, 400))
    import_history(archive, [path])
    assert data(import_samples(archive)) == {"samples": 40, "plays": 2, "new": 1, "improved": 1}
    write(path, [extended(A, 0, 200), extended(B, 200, 200)])
    assert "new" not in data(import_history(archive, [path]))


def test_redis_without_samples_is_an_error(archive: Archive) -> None:
    with pytest.raises(SpotifyLoggerError, match="no samples"):
        import_samples(archive)
