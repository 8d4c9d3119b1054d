from __future__ import annotations

import io
import json
import random
import resource
import zipfile
from contextlib import closing
from dataclasses import replace
from itertools import count, permutations
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.redis_keys import REVISIONS, TOMBSTONES
from spotify_logger.report import progress
from spotify_logger.report.answers import write_answer
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.check import check
from spotify_logger.transfer.delete import delete, forget
from spotify_logger.transfer.export import LogPeriod, records
from spotify_logger.transfer.importer import command
from spotify_logger.transfer.importer.command import ImportOptions, import_history
from spotify_logger.transfer.importer.dedup import RowStatus
from spotify_logger.transfer.importer.export_rows import SkipReason
from tests.exports import NOON, A, B, C, Song, account, extended, write
from tests.report.samples import TerminalStream
from tests.transfer.test_dedup import logged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import redis

    from spotify_logger.core.play import Play
    from spotify_logger.report.answers import Answer
    from spotify_logger.storage.client import Command, RedisClient, Reply

Data = dict[str, object]
PLAYS = "plays:2026-01-01"


def data(answer: Answer) -> Data:
    assert isinstance(answer.data, dict)
    return answer.data


def counts(answer: Answer) -> Data:
    """Return the counts that are not zero; together they are the number of rows."""
    found = data(answer)
    names = [why.name.lower() for why in (*RowStatus, *SkipReason)]
    assert found["rows"] == sum(int(str(found[name])) for name in names)
    return {name: found[name] for name in ("rows", *names) if found[name]}


def printed(answer: Answer) -> str:
    out = io.StringIO()
    write_answer(answer, out)
    return out.getvalue()


def write_plays(archive: Archive, *plays: Play) -> None:
    """Write plays as the logger does."""
    with archive.batch() as batch:
        for play in plays:
            batch.write_play(play.second, play.to_hash(), play.index)


def everything(client: redis.Redis) -> dict[str, Any]:
    return {str(key): client.hgetall(key) for key in client.scan_iter() if key != REVISIONS}


def test_folder_is_imported(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    rows = [extended(A, 0, 200), extended(B, 200, 3, reason="fwdbtn")]
    write(tmp_path / "Streaming_History_Audio_2026.json", rows)
    write(tmp_path / "StreamingHistory_music_0.json", [account(C, 600, 100)])
    film = extended(C, 0, 200, spotify_track_uri="spotify:movie:C")
    write(tmp_path / "Streaming_History_Video_2026.json", [film])
    answer = import_history(archive, [tmp_path])
    assert (answer.code, counts(answer)) == (0, {"rows": 4, "new": 3, "video": 1})
    uri = "spotify:local:Air::C:0"
    assert client.hgetall(PLAYS) == {
        f"{NOON}": "track:A 200000 trackdone",
        f"{NOON + 200}": "track:B 3000 skipped",
        f"{NOON + 500}": f"{catalog_key('track', '', uri)} 100000 unknown",
    }
    item = {
        "uri": "spotify:track:A",
        "type": "track",
        "name": "A",
        "artists": "Daft Punk",
        "album": "Discovery",
    }
    assert client.hgetall(f"listening:{NOON}") == {
        **item,
        "id": "A",
        "device_name": "android",
        "shuffle_state": "0",
        "started_at": "2026-01-01T12:00:00.000Z",
        "ended_at": "2026-01-01T12:03:20.000Z",
        "ms_played": "200000",
        "end_reason": "trackdone",
        "source": "import",
    }
    assert client.hgetall("track:A") == item
    assert client.hget(catalog_key("track", "", uri), "name") == "C"
    assert len(client.keys()) == 3 + 3 + 1 + 1


def test_dry_run_counts_the_same_and_a_second_import_adds_nothing(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    rows = [extended(A, start, 200) for start in range(0, 60_000, 200)]
    write(tmp_path / "endsong_0.json", rows)
    others = [account(A, end, 200) for end in range(200, 9999, 200)]
    write(tmp_path / "endsong_1.json", [*rows[100:200], *others])
    dry = counts(import_history(archive, [tmp_path], ImportOptions(dry_run=True)))
    assert client.keys() == []
    assert dry == counts(import_history(archive, [tmp_path])) == {"rows": 449, "new": 300, "double": 149}
    before = everything(client)
    assert counts(import_history(archive, [tmp_path])) == {"rows": 449, "imported": 449}
    assert everything(client) == before


def test_live_plays_and_the_catalog_are_not_changed(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    write_plays(archive, logged(A, 0.4, 200.1), logged(C, 300, 320))
    client.hset("track:B", mapping={"name": "As the player calls it", "isrc": "GBDUW0000053"})
    before = everything(client)
    write(tmp_path / "endsong_0.json", [extended(A, 0, 200), extended(B, 200, 100), extended(C, 300, 20)])
    assert counts(import_history(archive, [tmp_path])) == {"rows": 3, "new": 1, "live": 2}
    after = everything(client)
    assert {key: after[key] for key in before if key.startswith("listening:")} == {
        key: before[key] for key in before if key.startswith("listening:")
    }
    assert after[PLAYS] == before[PLAYS] | {f"{NOON + 200}": "track:B 100000 trackdone"}
    assert "track:C" not in after
    assert after["track:B"] == before["track:B"] | {
        "uri": "spotify:track:B",
        "type": "track",
        "artists": "Daft Punk",
        "album": "Discovery",
    }


def plays(client: redis.Redis) -> list[dict[str, str]]:
    """Return the hashes of all plays by start, after comparing them with the index."""
    found = everything(client)
    lines = {second: line for key in found if key.startswith("plays:") for second, line in found[key].items()}
    hashes = {key: fields for key, fields in found.items() if key.startswith("listening:")}
    assert {f"listening:{second}": line.split()[1] for second, line in lines.items()} == {
        key: fields["ms_played"] for key, fields in hashes.items()
    }
    return sorted(hashes.values(), key=lambda fields: str(fields["started_at"]))


def test_better_account_takes_the_place_of_account_data(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    better = write(tmp_path / "endsong_0.json", [extended(A, 30, 200, 239), extended(B, 300, 100)])
    import_history(archive, [better])
    expected = everything(client)
    client.flushdb()
    worse = write(tmp_path / "StreamingHistory0.json", [account(A, 239, 200), account(B, 400, 100)])
    assert counts(import_history(archive, [worse])) == {"rows": 2, "new": 2}
    dry = counts(import_history(archive, [better], ImportOptions(dry_run=True)))
    assert dry == counts(import_history(archive, [better])) == {"rows": 2, "improved": 2}
    assert everything(client) == expected, "with its second, and without the items that have no plays now"
    assert counts(import_history(archive, [tmp_path])) == {"rows": 4, "imported": 4}
    assert everything(client) == expected


def test_any_order_of_files_ends_in_the_same_log(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    write_plays(archive, logged(A, 0.4, 200.1), logged(C, 230.7, 301.2, source="backfill"))
    rows = [extended(A, 0, 200), extended(C, 200, 61, 301, "fwdbtn"), extended(B, 301.5, 100)]
    old = [row | {"spotify_track_uri": None, "offline_timestamp": NOON * 1000} for row in rows[:1]]
    write_lines(tmp_path / "own.jsonl", list(records(LogPeriod(archive))))
    write(tmp_path / "today.json", rows)
    write(tmp_path / "old.json", old)
    write(tmp_path / "account.json", [account(A, 200, 200), account(C, 301, 61), account(B, 401.5, 100)])
    logs = []
    for paths in list(permutations(sorted(tmp_path.iterdir())))[::4]:
        client.flushdb()
        for path in paths:
            import_history(archive, [path])
        logs.append(plays(client))
    assert [(play["source"], play["ms_played"]) for play in logs[0]] == [
        ("live", "199700"),
        ("import", "61000"),
        ("import", "100000"),
    ]
    assert all(log == logs[0] for log in logs)


def test_better_account_gets_what_it_lacks(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    known = logged(A, 0.4, 200.1)
    without_album = {name: value for name, value in known.fields.items() if name != "album"}
    write_plays(archive, replace(known, fields=without_album))
    before = client.hgetall(f"listening:{NOON}")
    write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    item = {"kind": "item", "key": "track:A", "fields": {"uri": "spotify:track:A", "isrc": "GBDUW0000053"}}
    write_lines(tmp_path / "own.jsonl", [item, item])
    assert counts(import_history(archive, [tmp_path])) == {"rows": 1, "live": 1}
    assert client.hgetall(f"listening:{NOON}") == before | {"album": "Discovery"}
    assert client.hmget("track:A", "album", "isrc") == ["Discovery", "GBDUW0000053"]


def test_deleted_plays_come_back_only_on_request(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    client.hset(TOMBSTONES, mapping={f"{NOON}": f"{NOON + 200}", f"{NOON + 500}": f"{NOON + 700}"})
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200), extended(B, 200, 100)])
    restore = ImportOptions(restore=True)
    assert counts(import_history(archive, [path])) == {"rows": 2, "new": 1, "forgotten": 1}
    assert list(client.hgetall(PLAYS)) == [f"{NOON + 200}"]
    import_history(archive, [path], restore._replace(dry_run=True))
    assert counts(import_history(archive, [path], restore)) == {"rows": 2, "new": 1, "imported": 1}
    assert archive.tombstones() == {NOON + 500: NOON + 700}
    assert counts(import_history(archive, [path])) == {"rows": 2, "imported": 2}
    delete(archive, [NOON], NOON + 90_000)
    assert counts(import_history(archive, [path])) == {"rows": 2, "imported": 1, "forgotten": 1}


def test_private_sessions_are_imported_only_on_request(tmp_path: Path, archive: Archive) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200, incognito_mode=True)])
    assert counts(import_history(archive, [path])) == {"rows": 1, "private": 1}
    assert counts(import_history(archive, [path], ImportOptions(private=True))) == {"rows": 1, "new": 1}


def test_bad_rows_are_counted_and_the_first_shown(tmp_path: Path, archive: Archive) -> None:
    bad = [{"ts": "?", "ms_played": 1}, None, *[extended(A, 0, 1, ms_played=-1)] * 20]
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200), extended(B, 200, 0), *bad])
    answer = import_history(archive, [path])
    assert (answer.code, counts(answer)) == (0, {"rows": 24, "new": 1, "silent": 1, "bad": 22})
    lines = printed(answer).splitlines()
    assert lines[:4] == ["24 rows in 1 file", "1\tnew", "22\tnot understood", "1\t0 ms played"]
    assert [line.partition(" ")[0] for line in lines[4:-1]] == [f"{path},"] * 10
    assert "row 3: ts" in lines[4]
    assert "12 more" in lines[-1]


def test_broken_file_keeps_its_beginning_and_the_other_files(tmp_path: Path, archive: Archive) -> None:
    text = json.dumps([extended(A, start, 200) for start in range(0, 2000, 200)])
    (tmp_path / "endsong_0.json").write_text(text[: len(text) * 5 // 9])
    write(tmp_path / "endsong_1.json", [extended(B, 5000, 200)])
    (tmp_path / "endsong_2\x1b[31m.json").write_text("[<html>")
    answer = import_history(archive, [tmp_path])
    assert (answer.code, counts(answer)) == (1, {"rows": 6, "new": 6})
    problems = data(answer)["problems"]
    assert isinstance(problems, list)
    assert [problem["row"] for problem in problems] == [6, 1]
    assert all("cut off" in problem["problem"] for problem in problems)
    assert "\x1b" not in printed(answer)


def test_zip_is_imported_and_its_problems_shown(tmp_path: Path, archive: Archive) -> None:
    with zipfile.ZipFile(tmp_path / "my_spotify_data.zip", "w", zipfile.ZIP_DEFLATED) as archived:
        archived.writestr("MyData/endsong_0.json", json.dumps([extended(A, 0, 200)]))
        archived.writestr("MyData/Userdata.json", "{}")
        archived.writestr("MyData/more.zip", "")
    answer = import_history(archive, [tmp_path / "my_spotify_data.zip"])
    assert (answer.code, counts(answer)) == (1, {"rows": 1, "new": 1})
    problem, others = printed(answer).splitlines()[-2:]
    assert problem.startswith(f"{tmp_path}/my_spotify_data.zip/MyData/more.zip: ")
    assert others == "1 other file skipped"


def test_empty_folder_is_an_error(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(SpotifyLoggerError, match="nothing to import"):
        import_history(archive, [tmp_path])


def test_full_disk_is_an_error(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, start, 1) for start in range(6000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(SpotifyLoggerError, match="TMPDIR"):
            import_history(archive, [path])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert client.keys() == []


def random_rows(seed: int, plays: int, songs: Sequence[Song]) -> list[Data]:
    """Return rows of both exports, some of them twice."""
    chance, now, rows = random.Random(seed), 0.0, []
    for number in range(plays):
        now += chance.choice((0, 0, 0, 600, 30_000))
        is_done = chance.random() < 0.6
        heard = 200 if is_done else chance.uniform(0.5, 190) + number / 1e3
        song = chance.choice(songs)
        rows.append(extended(song, now, heard, reason="trackdone" if is_done else "fwdbtn"))
        if chance.random() < 0.3:
            rows.append(rows[-1] | {"conn_country": "ZZ"})
        if chance.random() < 0.3:
            rows.append(account(song, now + heard, heard))
        now += heard
    return rows


class Interruption(Exception):  # noqa: N818 - it is no error
    """Ends an import in the middle."""


def test_interrupted_import_can_be_repeated_with_the_rows_in_another_order(
    tmp_path: Path, archive: Archive, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(2, 100, [Song(str(number)) for number in range(50)])
    assert counts(import_history(archive, [write(tmp_path / "endsong_0.json", rows)]))["new"] == 100
    expected = everything(client)
    client.flushdb()
    random.Random(2).shuffle(rows)
    for number in range(3):
        write(tmp_path / f"endsong_{number}.json", rows[number::3])
    monkeypatch.setattr(command, "PLAYS_PER_BATCH", 20)
    send = type(archive.client).send
    chance, interruptions = random.Random(3), count()

    def send_or_break(client: RedisClient, commands: Sequence[Command], server: object = None) -> list[Reply]:
        if commands and commands[0][0] in {"HSET", "HSETNX"} and chance.random() < 0.5:
            send(client, commands[: chance.randrange(len(commands))])
            raise Interruption
        return send(client, commands, server)

    monkeypatch.setattr(type(archive.client), "send", send_or_break)
    for _ in interruptions:
        try:
            import_history(archive, [tmp_path])
            break
        except Interruption:
            found = everything(client)
            lines = [line for key in found if key.startswith("plays:") for line in found[key].items()]
            # Whatever is in the index is complete.
            assert all(
                found[f"listening:{second}"] and found[line.split()[0]]["uri"] for second, line in lines
            )
    assert next(interruptions) > 2
    assert everything(client) == expected


def test_row_that_is_not_utf_8_is_said_and_not_stored(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    rows = [*[extended(B, 200, 100, episode_name="\xe9")] * 12, extended(C, 300, 9)]
    path = tmp_path / "saved again.json"
    path.write_bytes(json.dumps(rows, ensure_ascii=False).encode("latin-1"))
    answer = import_history(archive, [path])
    assert counts(answer) == {"rows": 13, "new": 1, "bad": 12}
    assert f"{path}, row 2: not UTF-8" in printed(answer)
    assert [*client.hgetall(PLAYS).values()] == ["track:C 9000 trackdone"]


def test_empty_file_is_said(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "endsong_0.json").touch()
    for path in (tmp_path, tmp_path / "endsong_0.json"):
        answer = import_history(archive, [path])
        assert (answer.code, counts(answer)) == (1, {})
        assert "empty" in printed(answer)


def test_only_the_files_of_a_chosen_user_are_imported(tmp_path: Path, archive: Archive) -> None:
    for number, user in enumerate("ab"):
        write(tmp_path / f"endsong_{user}.json", [extended(A, number * 900, 200, username=user)])
    with pytest.raises(SpotifyLoggerError, match="--user"):
        import_history(archive, [tmp_path])
    answer = import_history(archive, [tmp_path], ImportOptions(["b"]))
    assert counts(answer) == {"rows": 1, "new": 1}
    assert "1 file of other users skipped" in printed(answer)


def test_users_of_one_file_have_to_be_chosen(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    rows = [extended(A, number * 900, 200, username="ab"[number % 2]) for number in range(400)]
    path = write(tmp_path / "endsong_0.json", [*rows[::2], *rows[1::2], {}])
    with pytest.raises(SpotifyLoggerError, match="--user"):
        import_history(archive, [path])
    answer = import_history(archive, [path], ImportOptions(["b"]))
    assert counts(answer) == {"rows": 401, "new": 200, "bad": 1, "foreign": 200}
    assert f"{path}, row 401: " in printed(answer)
    assert f"listening:{NOON}" not in client.scan_iter()
    path.write_text(path.read_text()[:-9])
    with pytest.raises(SpotifyLoggerError, match="--user"):
        import_history(archive, [path])


def test_minutes_of_a_logger_give_way_to_seconds_and_lengths(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    minutes, second = tmp_path / "minutes.csv", tmp_path / "seconds.csv"
    minutes.write_text("Air,C,D,01 Jan 2026 12:00\n")
    second.write_text(f"uts,artist,album,track\n{NOON + 40},Air,C,D\n")
    track = {"title": "D", "artists": ["Air"], "length": 200}
    maloja = write(tmp_path / "maloja.json", [{"time": NOON + 38, "track": track}])
    for paths, kept in (([minutes, second], (40, 30_000)), ([minutes, second, maloja], (38, 200_000))):
        for order in (*permutations([path] for path in paths), [paths], [[*paths, minutes]]):
            client.flushdb()
            for some in order:
                import_history(archive, some)
            assert {
                int(name) - NOON: int(line.split()[1]) for name, line in client.hgetall(PLAYS).items()
            } == {kept[0]: kept[1]}


def test_numbers_are_plain_in_a_pipe(tmp_path: Path, archive: Archive) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, number * 900, 200) for number in range(1000)])
    answer = import_history(archive, [path])
    assert printed(answer).splitlines() == ["1000 rows in 1 file", "1000\tnew"]
    assert printed(check(archive, NOON + 2e6)).startswith("1000 plays, ")
    terminal = TerminalStream()
    write_answer(answer, terminal)
    assert "1,000 rows in 1 file\n" in terminal.getvalue()


def test_unreachable_redis_gives_advice(tmp_path: Path) -> None:
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    with (
        closing(Archive("redis://127.0.0.1:1")) as archive,
        pytest.raises(StoreError, match="run the import again") as error,
    ):
        import_history(archive, [path])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("is_terminal", "shown_after", "is_shown"), [(True, 0.0, True), (False, 0.0, False), (True, 1e9, False)]
)
def test_progress_is_shown_on_a_terminal_if_it_takes_long(
    tmp_path: Path,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_terminal: bool,
    shown_after: float,
    is_shown: bool,
) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER", shown_after)
    path = write(tmp_path / "endsong_0.json", [extended(A, 0, 200)])
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: is_terminal)
    import_history(archive, [path], screen=screen)
    check(archive, NOON, screen=screen)
    forget(LogPeriod(archive), "A", NOON, None, screen)
    assert bool(screen.getvalue()) == is_shown
    for step in ("reading", "checking the plays", "looking for plays", "100%"):
        assert (step in screen.getvalue()) == is_shown


def write_lines(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_own_export_overwrites_nothing(tmp_path: Path, archive: Archive, client: redis.Redis) -> None:
    write_plays(archive, logged(A, 0, 200))
    older = {"kind": "item", "key": "track:A", "fields": {"uri": "spotify:track:A", "name": "older"}}
    own = write_lines(tmp_path / "backup.jsonl", [older, *records(LogPeriod(archive))])
    client.flushdb()
    write_plays(archive, logged(B, 0, 200))
    client.hset("track:A", mapping={"uri": "spotify:track:A", "name": "newer"})
    assert counts(import_history(archive, [own])) == {"rows": 1, "new": 1}
    assert client.hget("track:A", "name") == "newer"
    assert client.hgetall(PLAYS) == {
        f"{NOON}": "track:B 200000 trackdone",
        f"{NOON + 1}": "track:A 200000 trackdone",
    }


def test_invalid_records_of_an_own_export_are_bad(
    tmp_path: Path, archive: Archive, client: redis.Redis
) -> None:
    invalid: list[Data] = [
        {"kind": "play"},
        {"kind": "play", "second": NOON, "fields": {"uri": "a", "ms_played": "1"}},
        {"kind": "item", "key": "plays:2026-01-01", "fields": {"a": "b"}},
        {"kind": "item", "key": "track:\ud800" * 100, "fields": {"a": "b"}},
        {"kind": "item", "key": "track:1", "fields": {"a": {"b": "c"}}},
        {"kind": "gap", "second": NOON, "fields": {"from": "?", "to": "?", "reason": "?"}},
        {"kind": "status", "fields": {"a": "b"}},
        {"kind": ["play"], "fields": {"a": "b"}},
    ]
    own = write_lines(tmp_path / "backup.jsonl", invalid)
    assert counts(import_history(archive, [own])) == {"rows": len(invalid), "bad": len(invalid)}
    assert client.keys() == []
