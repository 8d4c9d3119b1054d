from __future__ import annotations

import io
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import RedisClient, StoreError
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete import (
    OPEN_PLAY_NOTE,
    Confirmation,
    Deleted,
    delete,
    find_plays,
    forget,
    undo,
)
from spotify_logger.transfer.export import LogPeriod
from tests.redis_log import SECOND, RedisLog, item, play
from tests.report.samples import TerminalStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.storage.client import Command, Reply

NOW = SECOND + 7200.0
DAY = 86_400
INDEX = "plays:2026-11-22"


def delete_at(log: RedisLog, *starts: float) -> set[str]:
    """Delete the plays that started so many seconds after six o'clock, and return the keys that vanished."""
    before = log.names()
    delete(log.store, [round(SECOND + start) for start in starts], NOW)
    return before - log.names()


def tombstones(log: RedisLog) -> dict[int, int]:
    """Return start and end of the deleted plays, in seconds after six o'clock."""
    return {int(second) - SECOND: int(end) - SECOND for second, end in log.kept("forgotten").items()}


class TestFindPlays:
    PLAYS = (
        play(item("A", name="Veridis Quo", album="Discovery"), -DAY),
        play(item("B", name="Discovery Channel", artists="Bloodhound Gang", album="Hooray"), 0),
        play(item("C", name="1979", artists="The Smashing Pumpkins", album="Mellon Collie"), 300),
        play(item("A", name="Veridis Quo", album="Discovery"), 600),
        play(item("D", name="1000000000", artists="Nobody", album="Digits"), 900),
    )

    @pytest.mark.parametrize(
        ("text", "begin", "end", "starts"),
        [
            ("VERIDIS quo", 0, None, [-DAY, 600]),
            ("discovery", 0, None, [-DAY, 600]),
            (f"listening:{SECOND}", 0, None, [0]),
            (str(SECOND + 300), SECOND - 9, SECOND, [300]),
            (f"listening:{SECOND + 1}", 0, None, []),
            ("1000000000", 0, None, [900]),
            ("", SECOND, SECOND + 600, [0, 300]),
            ("", 0, None, [-DAY, 0, 300, 600, 900]),
        ],
    )
    def test_selected_plays(
        self, log: RedisLog, text: str, begin: int, end: int | None, starts: list[int]
    ) -> None:
        log.write(*self.PLAYS)
        assert [second - SECOND for second in find_plays(LogPeriod(log.store, begin, end), text)] == starts


class TestDelete:
    def test_only_a_tombstone_is_left(self, log: RedisLog) -> None:
        log.write(play("A", heard=200.2), play("B", 300))
        before = log.everything()
        assert delete_at(log, 0) == {f"listening:{SECOND}", "track:A"}
        assert log.everything() == {
            f"listening:{SECOND + 300}": before[f"listening:{SECOND + 300}"],
            INDEX: {str(SECOND + 300): "track:B 200000 trackdone"},
            "track:B": before["track:B"],
            "forgotten": {str(SECOND): str(SECOND + 201)},
        }

    @pytest.mark.parametrize("start", [-400 * DAY, -SECOND + 5, 900 * DAY], ids=["old", "1970", "future"])
    def test_item_of_another_play_stays(self, log: RedisLog, start: float) -> None:
        log.write(play("A", start), play("A"), play("A", 300), play("B", 600))
        plays = {f"listening:{SECOND + each}" for each in (0, 300, 600)}
        assert delete_at(log, 0, 300, 600) == plays | {INDEX, "track:B"}
        assert "track:A" in log.names()

    def test_several_batches(self, log: RedisLog) -> None:
        log.write(*(play(f"T{number}", 30 * number, 20) for number in range(450)), play("A", -30))
        assert len(delete_at(log, *(30 * number for number in range(450)))) == 450 + 450
        assert log.names() == {f"listening:{SECOND - 30}", INDEX, "track:A", "forgotten"}

    def test_incomplete_plays(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300), play("C", 600))
        log.raw.delete(f"listening:{SECOND}")
        log.raw.hdel(INDEX, str(SECOND + 300))
        assert delete_at(log, 0, 300) == {"track:A", f"listening:{SECOND + 300}", "track:B"}
        assert log.kept(INDEX).keys() == {str(SECOND + 600)}
        assert tombstones(log) == {0: 200, 300: 500}

    def test_foreign_keys_stay(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300), play("C", 600), play("D", 900))
        log.raw.delete(f"listening:{SECOND}", "track:B", "track:D")
        log.raw.set(f"listening:{SECOND}", "not ours")
        log.raw.set("track:B", "not ours")
        log.raw.hset("track:D", "gps", "52.5,13.4")
        log.raw.hset(f"listening:{SECOND + 600}", "started_at", "long ago")
        log.raw.set("listening:1", "x")
        found = delete(log.store, [SECOND, SECOND + 300, SECOND + 600, SECOND + 900, 1], NOW)
        unrecognized = {"listening:1", f"listening:{SECOND}", f"listening:{SECOND + 600}"}
        assert set(found.unrecognized) == unrecognized
        assert unrecognized | {"track:B", "track:D"} <= log.names()
        assert log.kept(f"listening:{SECOND + 600}")["name"] == "C"
        assert log.kept(INDEX).keys() == {str(SECOND), str(SECOND + 600)}
        assert tombstones(log) == {300: 500, 900: 1100}

    def test_other_prefixes_stay(self, redis_url: str) -> None:
        ann, ben, unprefixed = RedisLog(redis_url, "ann:"), RedisLog(redis_url, "ben:"), RedisLog(redis_url)
        for log in (ann, ben, unprefixed):
            log.write(play("A"))
        delete_at(ann, 0)
        assert ann.names() == {"forgotten"}
        assert {f"listening:{SECOND}", "track:A"} < ben.names()
        assert unprefixed.kept(INDEX) == ben.kept(INDEX)
        for log in (ann, ben, unprefixed):
            log.close()

    def test_nothing_is_deleted_without_a_tombstone(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.set("forgotten", "not ours")
        with pytest.raises(StoreError, match="forgotten"):
            delete(log.store, [SECOND], NOW)
        assert {f"listening:{SECOND}", "track:A", INDEX} < log.names()


class TestOpenPlay:
    """The logger would write the current play again."""

    def test_open_play_stays(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300, reason=None))
        assert delete(log.store, [SECOND, SECOND + 300], NOW) == Deleted(1, 1, [])
        assert f"listening:{SECOND + 300}" in log.names()
        assert log.kept(INDEX) == {str(SECOND + 300): "track:B 200000 open"}

    def test_play_that_redis_calls_current_stays(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.set("now_playing", f"listening:{SECOND}")
        assert delete_at(log, 0) == set()

    def test_play_that_was_never_closed_is_deleted(self, log: RedisLog) -> None:
        log.write(play("A", -DAY, reason=None))
        assert f"listening:{SECOND - DAY}" in delete_at(log, -DAY)
        log.write(play("A", reason=None), play("B", 300))
        assert f"listening:{SECOND}" in delete_at(log, 0)


class BreakingClient(RedisClient):
    """A client that breaks after some writes."""

    def __init__(self, url: str, remaining: int) -> None:
        super().__init__(url)
        self.remaining = remaining

    def send(self, commands: Sequence[Command], server: object = None) -> list[Reply]:
        if any(command[0] in {"HSET", "HDEL", "DEL"} for command in commands):
            self.remaining -= 1
            if self.remaining < 0:
                raise StoreError("Redis went away")
        return super().send(commands, server)


@pytest.mark.parametrize("writes", range(6))
def test_interrupted_deletion_can_be_repeated(log: RedisLog, redis_url: str, writes: int) -> None:
    log.write(play("A", -DAY), play("A"), play("B", 300), play("C", 600), play("A", 900), play("C", 1200))
    before = log.everything()
    client = BreakingClient(redis_url, writes)
    archive = Archive("", connect=lambda _: client, utc=lambda: NOW)
    period = LogPeriod(archive, SECOND, SECOND + 1000)
    is_broken = writes < 5
    with pytest.raises(StoreError) if is_broken else nullcontext():
        forget(period, "daft punk", NOW, None)
    client.remaining = 9999
    forget(period, "daft punk", NOW, None)
    assert log.names() == {
        *(f"listening:{SECOND - DAY}", f"listening:{SECOND + 1200}"),
        *("plays:2026-11-21", INDEX, "track:A", "track:C", "forgotten"),
    }
    assert log.kept(INDEX).keys() == {str(SECOND + 1200)}
    assert tombstones(log).keys() == {0, 300, 600, 900}
    undo(archive)
    assert {**log.everything(), "forgotten": {}} == {**before, "forgotten": {}}
    assert log.kept("forgotten") == {str(SECOND + start): "restored" for start in (0, 300, 600, 900)}
    client.close()


def test_refused_deletion_leaves_plays_that_another_run_finds(log: RedisLog) -> None:
    log.write(play("A"), play("B", 300))
    log.raw.acl_setuser("default", enabled=True, commands=["-del"])
    try:
        with pytest.raises(StoreError):
            forget(LogPeriod(log.store), "A", NOW, None)
    finally:
        log.raw.acl_setuser("default", enabled=True, commands=["+del"])
    assert forget(LogPeriod(log.store), "A", NOW, None).code == 0
    assert log.names() == {f"listening:{SECOND + 300}", INDEX, "track:B", "forgotten"}


def test_plays_that_redis_has_no_memory_for_can_be_brought_back_later(log: RedisLog) -> None:
    log.write(play("A"), play("B", 300))
    before = log.everything()
    forget(LogPeriod(log.store), "", NOW, None)
    log.raw.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreError, match="out of memory"):
            undo(log.store)
    finally:
        log.raw.config_set("maxmemory", "0")
    assert undo(log.store).data == {"plays": 2}
    assert {**log.everything(), "forgotten": {}} == {**before, "forgotten": {}}


def test_play_that_was_brought_back_in_part_comes_back_whole(log: RedisLog) -> None:
    log.write(play("A"))
    before = log.everything()
    forget(LogPeriod(log.store), "", NOW, None)
    log.raw.set(INDEX, "not ours")
    with pytest.raises(StoreError, match=INDEX):
        undo(log.store)
    log.raw.delete(INDEX)
    assert undo(log.store).data == {"plays": 1}
    assert {**log.everything(), "forgotten": {}} == {**before, "forgotten": {}}


def test_undo_takes_back_the_last_deletion_or_one_play(log: RedisLog) -> None:
    log.write(play("A"), play("A", 300), play("B", 600), play("C", 900))
    before = log.everything()
    forget(LogPeriod(log.store), "A", NOW, None)
    forget(LogPeriod(log.store), "B", NOW + 5, None)
    log.store.close()
    assert 86_000 < int(str(log.raw.ttl("undo"))) <= 86_400
    log.raw.hset("undo", "nonsense", "{}")
    assert undo(log.store).data == {"plays": 1}
    assert log.names() == before.keys() - {f"listening:{SECOND + each}" for each in (0, 300)} - {
        "track:A"
    } | {"forgotten"}
    assert undo(log.store, f"listening:{SECOND + 300}").data == {"plays": 1}
    assert undo(log.store, f"listening:{SECOND + 600}").code == 1
    log.write(play("D"))  # its key is in use again
    assert undo(log.store).data == {"plays": 0}
    assert log.kept(f"listening:{SECOND}")["name"] == "D"
    assert undo(log.store).code == 1


def test_play_that_came_back_after_its_deletion_stays(log: RedisLog) -> None:
    log.write(play("A"), play("B", 300))
    delete_at(log, 0)
    log.store.close()
    log.write(play("A"))
    assert delete_at(log, 300) == {f"listening:{SECOND + 300}", "track:B"}
    assert log.kept(INDEX).keys() == {str(SECOND)}
    assert "track:A" in log.names()


class TestConfirmation:
    def confirmation(self, answer: str, kind: type[io.StringIO] = TerminalStream) -> Confirmation:
        self.screen = kind()
        return Confirmation(kind(answer), self.screen, Zone("Europe/Berlin"))

    def test_plays_are_shown(self, log: RedisLog) -> None:
        log.write(*(play("A", 300 * number) for number in range(12)))
        answer = forget(LogPeriod(log.store), "daft punk", NOW, self.confirmation("y\n"))
        shown = self.screen.getvalue()
        assert "12 plays, 2026-11-22 19:00 to 2026-11-22 19:55" in shown
        assert "and 2 earlier plays" in shown
        assert shown.count("Daft Punk – A") == 10
        assert shown.endswith("[y/N] ")
        assert answer.page == ["Deleted: 12 plays and 1 catalog item."]
        assert answer.data == {
            "plays": 12,
            "items": 1,
            "first": "2026-11-22T18:00:00.000Z",
            "last": "2026-11-22T18:55:00.000Z",
            "left_open": False,
            "left_strange": [],
        }

    @pytest.mark.parametrize(
        ("text", "is_agreed"),
        [("YES \n", True), ("\n", False), ("", False), ("yellow\n", False)],
    )
    def test_only_yes_agrees(self, log: RedisLog, text: str, *, is_agreed: bool) -> None:
        log.write(play("A"))
        before = log.everything()
        answer = forget(LogPeriod(log.store), "a", NOW, self.confirmation(text))
        assert answer.code == (not is_agreed)
        assert (log.everything() == before) != is_agreed
        assert "[y/N]" in self.screen.getvalue()

    def test_without_a_terminal_nothing_is_deleted(self, log: RedisLog) -> None:
        log.write(play("A"))
        before = log.everything()
        with pytest.raises(SpotifyLoggerError, match="--yes"):
            forget(LogPeriod(log.store), "a", NOW, self.confirmation("y\n", io.StringIO))
        assert log.everything() == before
        assert self.screen.getvalue() == ""

    def test_without_plays_nobody_is_asked(self, log: RedisLog) -> None:
        answer = forget(LogPeriod(log.store), "b", NOW, self.confirmation(""))
        assert ("no play" in str(answer.page[0]).lower(), answer.code) == (True, 1)
        assert self.screen.getvalue() == ""

    def test_open_play_is_mentioned(self, log: RedisLog) -> None:
        log.write(play("A", 7000, 30, None))
        answer = forget(LogPeriod(log.store), "a", NOW, self.confirmation(""))
        assert answer.page == [OPEN_PLAY_NOTE]
        log.write(play("A"))
        answer = forget(LogPeriod(log.store), "a", NOW, self.confirmation("y\n"))
        assert answer.page == ["Deleted: 1 play.", OPEN_PLAY_NOTE]

    def test_foreign_key_is_named(self, log: RedisLog) -> None:
        log.raw.set(f"listening:{SECOND}", "not ours")
        (line,) = forget(LogPeriod(log.store), f"listening:{SECOND}", NOW, None).page
        assert f"listening:{SECOND}" in str(line)
