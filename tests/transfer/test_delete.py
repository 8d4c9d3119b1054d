from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import STOPPED
from spotify_logger.storage.connection import RedisLink, StoreError
from spotify_logger.storage.store import Store
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete.command import OPEN_PLAY_NOTE, Confirmation, forget
from spotify_logger.transfer.delete.plays import delete
from spotify_logger.transfer.delete.selection import Selection, find_plays
from tests.redis_log import SECOND, RedisLog, item, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.storage.connection import Command, Reply

pytestmark = pytest.mark.usefixtures("young_world")

NOW = SECOND + 7200.0
DAY = 86_400
INDEX = "plays:2026-11-22"


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    log = RedisLog(redis_url)
    yield log
    log.close()


def deleted_keys(log: RedisLog, *starts: float) -> set[str]:
    """Delete the plays that started so many seconds after six o'clock, and return the keys that went."""
    before = log.names()
    delete(log.archive, [round(SECOND + start) for start in starts], NOW)
    return before - log.names()


def forgotten(log: RedisLog) -> dict[int, int]:
    """From when to when: seconds after six o'clock."""
    return {int(second) - SECOND: int(end) - SECOND for second, end in log.kept("forgotten").items()}


class TestFinding:
    PLAYS = (
        play(item("A", name="Veridis Quo", album="Discovery"), -DAY),
        play(item("B", name="Discovery Channel", artists="Bloodhound Gang", album="Hooray"), 0),
        play(item("C", name="1979", artists="The Smashing Pumpkins", album="Mellon Collie"), 300),
        play(item("A", name="Veridis Quo", album="Discovery"), 600),
        play(item("D", name="1000000000", artists="Nobody", album="Digits"), 900),
    )

    @pytest.mark.parametrize(
        ("wanted", "starts"),
        [
            (Selection("VERIDIS quo"), [-DAY, 600]),
            (Selection("discovery"), [-DAY, 600]),
            (Selection("chann"), [0]),
            (Selection("1979"), [300]),
            (Selection(f"listening:{SECOND}"), [0]),
            (Selection(str(SECOND + 300)), [300]),
            (Selection(str(SECOND + 300), SECOND - 9, SECOND), [300]),
            (Selection(f"listening:{SECOND + 1}"), []),
            (Selection("1000000000"), [900]),
            (Selection("nothing of the kind"), []),
            (Selection("veridis quo", SECOND), [600]),
            (Selection("", SECOND, SECOND + 600), [0, 300]),
            (Selection(), [-DAY, 0, 300, 600, 900]),
        ],
    )
    def test_which_plays_are_meant(self, log: RedisLog, wanted: Selection, starts: list[int]) -> None:
        log.write(*self.PLAYS)
        assert [second - SECOND for second in find_plays(log.archive, wanted)] == starts

    def test_a_key_may_have_what_is_put_before_it(self, redis_url: str) -> None:
        log = RedisLog(redis_url, "ann:")
        log.write(play("A"))
        assert find_plays(log.archive, Selection(f"ann:listening:{SECOND}")) == [SECOND]
        assert find_plays(log.archive, Selection(f"ben:listening:{SECOND}")) == []
        log.close()

    def test_what_is_only_half_there_can_be_meant_by_its_key(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300))
        log.raw.delete(f"listening:{SECOND}")
        log.raw.hdel(INDEX, str(SECOND + 300))
        assert find_plays(log.archive, Selection(str(SECOND))) == [SECOND]
        assert find_plays(log.archive, Selection(str(SECOND + 300))) == [SECOND + 300]


class TestDeleting:
    def test_nothing_of_it_is_left(self, log: RedisLog) -> None:
        log.write(play("A", heard=200.2), play("B", 300))
        before = log.everything()
        assert deleted_keys(log, 0) == {f"listening:{SECOND}", "track:A"}
        assert log.everything() == {
            f"listening:{SECOND + 300}": before[f"listening:{SECOND + 300}"],
            INDEX: {str(SECOND + 300): "track:B 200000 trackdone"},
            "track:B": before["track:B"],
            "forgotten": {str(SECOND): str(SECOND + 201)},
        }

    def test_an_item_that_another_play_needs_stays(self, log: RedisLog) -> None:
        log.write(play("A", -400 * DAY), play("A"), play("A", 300), play("B", 600))
        plays = {f"listening:{SECOND + each}" for each in (0, 300, 600)}
        assert deleted_keys(log, 0, 300, 600) == plays | {
            INDEX,
            "track:B",
        }
        assert deleted_keys(log, -400 * DAY) == {
            f"listening:{SECOND - 400 * DAY}",
            "plays:2025-10-18",
            "track:A",
        }
        assert log.names() == {"forgotten"}

    @pytest.mark.parametrize("start", [-SECOND + 5, 900 * DAY])
    def test_also_one_that_a_wrong_clock_put_into_another_age(self, log: RedisLog, start: float) -> None:
        log.write(play("A"), play("A", start))
        assert deleted_keys(log, 0) == {f"listening:{SECOND}", INDEX}

    def test_a_play_under_a_later_key_lasted_at_least_until_that(self, log: RedisLog) -> None:
        log.write(play("A", 0, 0.5, second=SECOND + 3))
        deleted_keys(log, 3)
        assert forgotten(log) == {3: 3}

    def test_more_than_go_in_one_go(self, log: RedisLog) -> None:
        log.write(*(play(f"T{number}", 30 * number, 20) for number in range(500)), play("A", -30))
        assert len(deleted_keys(log, *(30 * number for number in range(500)))) == 500 + 500
        assert log.names() == {f"listening:{SECOND - 30}", INDEX, "track:A", "forgotten"}

    def test_a_line_without_a_play_goes_and_so_does_its_item(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300))
        log.raw.delete(f"listening:{SECOND}")
        assert deleted_keys(log, 0) == {"track:A"}
        assert log.kept(INDEX).keys() == {str(SECOND + 300)}
        assert forgotten(log) == {0: 200}

    def test_a_play_without_a_line_goes_too(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.delete(INDEX)
        assert deleted_keys(log, 0) == {f"listening:{SECOND}", "track:A"}

    def test_what_is_not_there_leaves_no_trace(self, log: RedisLog) -> None:
        assert deleted_keys(log, 0) == set()
        assert log.names() == set()

    def test_what_is_none_of_ours_stays(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300), play("C", 600))
        log.raw.delete(f"listening:{SECOND}", "track:B")
        log.raw.set(f"listening:{SECOND}", "somebody's")
        log.raw.set("track:B", "somebody's")
        log.raw.hset(f"listening:{SECOND + 600}", "started_at", "long ago")
        log.raw.set("listening:1", "x")
        result = delete(log.archive, [SECOND, SECOND + 300, SECOND + 600, 1], NOW)
        assert sorted(result.unrecognized) == sorted(
            ["listening:1", f"listening:{SECOND}", f"listening:{SECOND + 600}"]
        )
        assert log.raw.get(f"listening:{SECOND}") == log.raw.get("track:B") == "somebody's"
        assert log.kept(f"listening:{SECOND + 600}")["name"] == "C"
        assert log.kept(INDEX).keys() == {str(SECOND), str(SECOND + 600)}
        assert forgotten(log) == {300: 500}

    def test_nor_goes_what_only_looks_like_an_item(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.delete("track:A")
        log.raw.hset("track:A", "gps", "52.5,13.4")
        assert deleted_keys(log, 0) == {f"listening:{SECOND}", INDEX}

    def test_nobody_else_loses_anything(self, redis_url: str) -> None:
        ann, ben, nobody = RedisLog(redis_url, "ann:"), RedisLog(redis_url, "ben:"), RedisLog(redis_url)
        for log in (ann, ben, nobody):
            log.write(play("A"))
        deleted_keys(ann, 0)
        assert ann.names() == {"forgotten"}
        assert {f"listening:{SECOND}", "track:A"} < ben.names()
        assert nobody.kept(INDEX) == ben.kept(INDEX)
        for log in (ann, ben, nobody):
            log.close()

    def test_where_nothing_can_be_noted_nothing_goes(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.set("forgotten", "somebody's")
        with pytest.raises(StoreError, match="forgotten"):
            delete(log.archive, [SECOND], NOW)
        assert {f"listening:{SECOND}", "track:A", INDEX} < log.names()

    def test_what_was_played_last_is_another_then(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300))
        log.raw.hset("spotify_logger:status", "last_play", f"listening:{SECOND + 300}")
        deleted_keys(log, 300)
        latest = log.store.latest_play()
        assert latest is not None
        assert (latest[0], latest[1]["name"]) == (SECOND, "A")
        deleted_keys(log, 0)
        assert log.store.latest_play() is None


class TestOpen:
    """The play that is not over: the logger would write it again."""

    def test_it_stays(self, log: RedisLog) -> None:
        log.write(play("A"), play("B", 300, reason=None))
        result = delete(log.archive, [SECOND, SECOND + 300], NOW)
        assert (result.plays, result.items, result.has_open_play) == (1, 1, True)
        assert f"listening:{SECOND + 300}" in log.names()
        assert log.kept(INDEX) == {str(SECOND + 300): "track:B 200000 open"}

    def test_one_that_only_redis_calls_the_present_one(self, log: RedisLog) -> None:
        log.write(play("A"))
        log.raw.set("now_playing", f"listening:{SECOND}")
        assert deleted_keys(log, 0) == set()

    def test_one_that_was_never_closed_goes(self, log: RedisLog) -> None:
        log.write(play("A", reason=None), play("B", 300))
        assert f"listening:{SECOND}" in deleted_keys(log, 0)

    def test_so_does_one_that_began_more_than_a_day_ago(self, log: RedisLog) -> None:
        log.write(play("A", -DAY, reason=None))
        assert f"listening:{SECOND - DAY}" in deleted_keys(log, -DAY)


class Failing(RedisLink):
    """A connection that breaks before the writes from some number on.

    Attributes:
        left: How many writes go through.
        after: Called with the commands that were carried out.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.skipped = 9999
        self.after: Callable[[Sequence[Command]], object] = lambda _: None

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        if any(command[0] in {"HSET", "HDEL", "DEL"} for command in commands):
            self.skipped -= 1
            if self.skipped < 0:
                raise StoreError("Redis went away")
        replies = super().send(commands)
        self.after(commands)
        return replies


def plays() -> list[Play]:
    return [play("A", -DAY), play("A"), play("B", 300), play("C", 600), play("A", 900), play("C", 1200)]


@pytest.mark.parametrize("writes", range(8))
def test_ended_at_any_write_it_is_done_when_it_is_done_again(
    log: RedisLog, redis_url: str, writes: int
) -> None:
    log.write(*plays())
    link = Failing(redis_url)
    archive = Store("", connect=lambda _: link, utc=lambda: NOW).archive()
    link.skipped = writes
    wanted = Selection("daft punk", SECOND, SECOND + 1000)
    broke = False
    try:
        forget(archive, wanted, NOW, None)
    except StoreError:
        broke = True
    assert broke == (writes < 4)
    link.skipped = 9999
    forget(archive, wanted, NOW, None)
    assert log.names() == {
        *(f"listening:{SECOND - DAY}", f"listening:{SECOND + 1200}"),
        *("plays:2026-11-21", INDEX, "track:A", "track:C", "forgotten"),
    }
    assert log.kept(INDEX).keys() == {str(SECOND + 1200)}
    assert forgotten(log).keys() == {0, 300, 600, 900}
    link.close()


def test_what_came_back_since_is_nothing_left_undone(log: RedisLog) -> None:
    log.write(play("A"), play("B", 300))
    deleted_keys(log, 0)
    log.store.close()
    log.write(play("A"))
    assert deleted_keys(log, 300) == {f"listening:{SECOND + 300}", "track:B"}
    assert log.kept(INDEX).keys() == {str(SECOND)}
    assert "track:A" in log.names()


def test_an_item_that_begins_to_play_meanwhile_is_put_back(log: RedisLog, redis_url: str) -> None:
    log.write(play("A", isrc="X"))
    before = log.kept("track:A")
    link = Failing(redis_url)

    def begin(commands: Sequence[Command]) -> None:
        if ("DEL", "track:A") in commands:
            with log.store.batch() as batch:
                again = play("A", 7000, 5, None)
                batch.write_play(again.second, again.to_hash(), again.index)

    link.after = begin
    archive = Store("", connect=lambda _: link, utc=lambda: NOW).archive()
    result = delete(archive, [SECOND], NOW)
    assert (result.plays, result.items) == (1, 0)
    assert log.kept("track:A") == before
    link.close()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestAsking:
    def confirmation(self, answer: str, *, is_there: bool = True) -> Confirmation:
        kind = Terminal if is_there else io.StringIO
        self.screen = kind()
        return Confirmation(kind(answer), self.screen, Zone("Europe/Berlin"))

    def test_the_plays_are_shown(self, log: RedisLog) -> None:
        log.write(*(play("A", 300 * number, reason=STOPPED) for number in range(12)))
        answer = forget(log.archive, Selection("daft punk"), NOW, self.confirmation("y\n"))
        shown = self.screen.getvalue()
        assert "12 plays, 2026-11-22 19:00 to 2026-11-22 19:55" in shown
        assert "and 2 earlier plays" in shown
        assert shown.count("Daft Punk – A") == 10
        assert shown.endswith("Delete these 12 plays for good? [y/N] ")
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
        ("words", "is_agreed"),
        [("y\n", True), ("YES \n", True), ("\n", False), ("", False), ("no\n", False), ("yellow\n", False)],
    )
    def test_only_a_yes_is_one(self, log: RedisLog, words: str, *, is_agreed: bool) -> None:
        log.write(play("A"))
        before = log.everything()
        answer = forget(log.archive, Selection("a"), NOW, self.confirmation(words))
        assert answer.code == (not is_agreed)
        assert (log.everything() == before) != is_agreed
        assert "Delete this play for good?" in self.screen.getvalue()

    def test_where_nobody_is_there_nothing_is_done(self, log: RedisLog) -> None:
        log.write(play("A"))
        before = log.everything()
        with pytest.raises(SpotifyLoggerError, match="no terminal to ask on; --yes"):
            forget(log.archive, Selection("a"), NOW, self.confirmation("y\n", is_there=False))
        assert log.everything() == before
        assert self.screen.getvalue() == ""

    def test_where_there_is_nothing_nobody_is_asked(self, log: RedisLog) -> None:
        answer = forget(log.archive, Selection("b"), NOW, self.confirmation(""))
        assert (answer.page, answer.code) == (["No play matches “b”."], 0)
        answer = forget(log.archive, Selection("", SECOND, SECOND + 9), NOW, self.confirmation(""))
        assert answer.page == ["There are no plays in that period."]
        assert self.screen.getvalue() == ""

    def test_nor_about_the_play_that_is_not_over(self, log: RedisLog) -> None:
        log.write(play("A", 7000, 30, None))
        answer = forget(log.archive, Selection("a"), NOW, self.confirmation(""))
        assert answer.page == [OPEN_PLAY_NOTE]
        log.write(play("A"))
        answer = forget(log.archive, Selection("a"), NOW, self.confirmation("y\n"))
        assert answer.page == ["Deleted: 1 play.", OPEN_PLAY_NOTE]

    def test_what_is_no_play_is_named(self, log: RedisLog) -> None:
        log.raw.set(f"listening:{SECOND}", "somebody's")
        answer = forget(log.archive, Selection(f"listening:{SECOND}"), NOW, None)
        assert answer.page == [
            f"These keys hold no plays and were kept; look at them with redis-cli: listening:{SECOND}."
        ]
