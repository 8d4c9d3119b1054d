from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spotify_logger.core.play import SKIPPED, STOPPED
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.connection import RedisLink
from spotify_logger.storage.store import Store
from spotify_logger.transfer.verify.command import check
from spotify_logger.transfer.verify.findings import MAX_EXAMPLES, FindingKind
from spotify_logger.transfer.verify.plays import compare_with_index
from tests.redis_log import NIGHT, NIGHT_SECOND, SECOND, RedisLog, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.connection import Command, Part, Reply

pytestmark = pytest.mark.usefixtures("young_world")

NOW = SECOND + 7200.0
DAY = 86_400
INDEX = "plays:2026-11-22"
A, B = f"listening:{SECOND}", f"listening:{SECOND + 300}"


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    log = RedisLog(redis_url)
    log.write(play("A", -DAY), play("A"), play("B", 300, 30, SKIPPED), play("B", 600, 100, None))
    log.write_gap()
    yield log
    log.close()


def checked(
    log: RedisLog, *, repair: bool = False, archive: Archive | None = None
) -> dict[FindingKind, list[str]]:
    """What a check finds: of each kind the first few."""
    return found(check(archive or log.archive, NOW, repair=repair))


def found(answer: Answer) -> dict[FindingKind, list[str]]:
    assert isinstance(answer.data, dict)
    return {FindingKind[name.upper()]: about["first"] for name, about in answer.data["found"].items()}


def truth(log: RedisLog) -> dict[str, dict[str, str]]:
    """What no repair may change."""
    return {
        name: fields for name, fields in log.everything().items() if name.startswith(("listening:", "gap:"))
    }


def test_where_nothing_is_wrong(log: RedisLog) -> None:
    answer = check(log.archive, NOW)
    assert answer.page == ["4 plays, 2 days, 2 items, 1 gap: no problems"]
    assert answer.code == 0
    assert answer.data == {
        "well": True,
        "repaired": False,
        "seen": {"plays": 4, "days": 2, "items": 2, "gaps": 1, "forgotten": 0},
        "found": {},
    }


def test_where_nothing_is_logged(log: RedisLog) -> None:
    log.begin()
    answer = check(log.archive, NOW)
    assert (answer.page, answer.code) == (["nothing is logged yet: no problems"], 0)


@pytest.mark.parametrize(
    "key", ["listening:-5", "listening:99999999999999", "gap:-1", "plays:0000-00-00", "plays:9999-99-99"]
)
def test_a_key_that_names_no_moment(log: RedisLog, key: str) -> None:
    log.raw.hset(key, "1", "track:A 1 skipped")
    assert checked(log) == {FindingKind.STRANGE: [key]}
    assert checked(log, repair=True) == {FindingKind.STRANGE: [key]}
    assert log.raw.exists(key)


@pytest.mark.parametrize("key", ["listening:now", "gap:year", "plays:chess", "plays:2026", "listening:"])
def test_a_key_of_somebody_else_s(log: RedisLog, key: str) -> None:
    log.raw.hset(key, "1", "x")
    assert checked(log) == {}


DAMAGES: list[tuple[Callable[[RedisLog], object], dict[FindingKind, list[str]]]] = [
    (lambda log: log.raw.hdel(INDEX, str(SECOND)), {FindingKind.UNLISTED: [A]}),
    (lambda log: log.raw.delete(INDEX), {FindingKind.UNLISTED: [A, B, f"listening:{SECOND + 600}"]}),
    (
        lambda log: log.raw.hset(INDEX, str(SECOND), "track:A 199999 trackdone"),
        {FindingKind.DIFFERENT: [f"{INDEX} {SECOND}"]},
    ),
    (
        lambda log: log.raw.hset(INDEX, str(SECOND), "track:B 200000 trackdone"),
        {FindingKind.DIFFERENT: [f"{INDEX} {SECOND}"]},
    ),
    (
        lambda log: log.raw.hset(INDEX, str(SECOND), "track:A 200000 skipped"),
        {FindingKind.DIFFERENT: [f"{INDEX} {SECOND}"]},
    ),
    (
        lambda log: log.raw.hset(INDEX, str(SECOND), "what is this"),
        {FindingKind.DIFFERENT: [f"{INDEX} {SECOND}"]},
    ),
    (
        lambda log: log.raw.hset(INDEX, str(SECOND), "track:A 200000"),
        {FindingKind.OLD_FORM: [f"{INDEX} {SECOND}"]},
    ),
    (
        lambda log: log.raw.hset(INDEX, str(SECOND + 7), "track:A 7 skipped"),
        {FindingKind.LOST: [f"{INDEX} {SECOND + 7}"]},
    ),
    (lambda log: log.raw.hset(INDEX, "007", "track:A 7 skipped"), {FindingKind.LOST: [f"{INDEX} 007"]}),
    (lambda log: log.raw.hset(INDEX, "note", "hello"), {FindingKind.LOST: [f"{INDEX} note"]}),
    (
        lambda log: log.raw.hset("plays:2026-11-23", str(SECOND), "track:A 200000 trackdone"),
        {FindingKind.ASTRAY: [f"plays:2026-11-23 {SECOND}"]},
    ),
    (
        lambda log: log.raw.delete(A, f"listening:{SECOND - DAY}"),
        {
            FindingKind.LOST: [f"plays:2026-11-21 {SECOND - DAY}", f"{INDEX} {SECOND}"],
            FindingKind.UNUSED_ITEM: ["track:A"],
        },
    ),
    (lambda log: log.raw.delete("track:B"), {FindingKind.UNKNOWN_ITEM: ["track:B"]}),
    (
        lambda log: log.raw.hset("episode:X", "uri", "spotify:episode:X"),
        {FindingKind.UNUSED_ITEM: ["episode:X"]},
    ),
    (lambda log: log.raw.delete("gaps"), {FindingKind.UNLISTED_GAP: [f"gap:{NIGHT_SECOND}"]}),
    (
        lambda log: log.raw.hset("gaps", str(NIGHT_SECOND), "7 offline"),
        {FindingKind.UNLISTED_GAP: [f"gap:{NIGHT_SECOND}"]},
    ),
    (lambda log: log.raw.hset("gaps", "x", "y"), {FindingKind.LOST_GAP: ["gaps x"]}),
    (lambda log: log.raw.hset("gaps", "5", "9 offline"), {FindingKind.LOST_GAP: ["gaps 5"]}),
]


@pytest.mark.parametrize(("damage", "expected"), DAMAGES)
def test_damage_is_found_and_repaired(
    log: RedisLog, damage: Callable[[RedisLog], object], expected: dict[FindingKind, list[str]]
) -> None:
    damage(log)
    before = truth(log)
    answer = check(log.archive, NOW)
    assert {kind: sorted(first) for kind, first in found(answer).items()} == expected
    assert answer.code == (FindingKind.OLD_FORM not in expected)
    assert checked(log) == found(answer)

    repaired = check(log.archive, NOW, repair=True)
    assert (found(repaired), repaired.code) == (found(answer), 0)
    assert truth(log) == before
    assert check(log.archive, NOW).page[1:] == []
    assert checked(log, repair=True) == {}


def test_the_catalogue_is_made_of_what_the_newest_play_tells(log: RedisLog) -> None:
    log.raw.delete("track:B")
    log.raw.hset(f"listening:{SECOND + 600}", "name", "B (Remastered)")
    checked(log, repair=True)
    assert log.kept("track:B") == {
        "uri": "spotify:track:B",
        "type": "track",
        "name": "B (Remastered)",
        "artists": "Daft Punk",
        "album": "Discovery",
        "duration_ms": "200000",
    }


LEFT: list[tuple[Callable[[RedisLog], object], dict[FindingKind, list[str]]]] = [
    (lambda log: log.raw.set("listening:5", "somebody's"), {FindingKind.STRANGE: ["listening:5"]}),
    (lambda log: log.raw.hset("listening:5", "song", "x"), {FindingKind.STRANGE: ["listening:5"]}),
    (lambda log: log.raw.hdel(B, "started_at"), {FindingKind.STRANGE: [B]}),
    (lambda log: log.raw.hset(B, "ms_played", "long"), {FindingKind.STRANGE: [B]}),
    (lambda log: log.raw.hset("gap:5", "from", "x"), {FindingKind.STRANGE: ["gap:5"]}),
    (
        lambda log: log.write(play("A", 100, second=SECOND + 99)),
        {FindingKind.MISNAMED: [f"listening:{SECOND + 99}"]},
    ),
    (
        lambda log: log.write(play("A", 9000, second=SECOND + 12_600)),
        {FindingKind.MISNAMED: [f"listening:{SECOND + 12_600}"]},
    ),
    (lambda log: log.raw.hset("forgotten", str(SECOND), SECOND + 200), {FindingKind.BACK: [A]}),
]


@pytest.mark.parametrize(("damage", "expected"), LEFT)
def test_what_a_person_has_to_decide_is_left_alone(
    log: RedisLog, damage: Callable[[RedisLog], object], expected: dict[FindingKind, list[str]]
) -> None:
    damage(log)
    before = log.dump()
    for repair in (False, True, False):
        answer = check(log.archive, NOW, repair=repair)
        answer_of = {
            kind: first for kind, first in found(answer).items() if kind is not FindingKind.OVERLAPPING
        }
        assert answer_of == expected
        assert answer.code == 1
    assert log.dump() == before


@pytest.mark.parametrize(
    "key",
    [
        "listening:",
        "listening:x",
        "listening:05",
        "track",
        "gap:x",
        "gap:05",
        "plays:x",
        "plays:20261122",
        "ann:track:A",
        "ann:listening:7",
    ],
)
def test_keys_of_others_are_nobodys_business(log: RedisLog, key: str) -> None:
    log.raw.set(key, "x")
    log.raw.set("track:XYZ", "somebody's")
    log.raw.hset("track:GPS", "lat", "52")
    before = log.dump()
    assert check(log.archive, NOW, repair=True).page == ["4 plays, 2 days, 2 items, 1 gap: no problems left"]
    assert log.dump() == before


def test_every_log_has_its_own(redis_url: str) -> None:
    ann, ben = RedisLog(redis_url, "ann:"), RedisLog(redis_url, "ben*:")
    for log in (ann, ben):
        log.write(play("A"))
        log.raw.delete(f"{log.prefix}{INDEX}")
    assert checked(ben, repair=True) == {FindingKind.UNLISTED: [A]}
    assert checked(ben) == {}
    assert checked(ann) == {FindingKind.UNLISTED: [A]}
    ann.close()
    ben.close()


def test_plays_at_the_same_time_are_worth_knowing(log: RedisLog) -> None:
    log.write(play("C", 610, 30), play("D", 620, 9, source="backfill"), play("E", 695.5, 9))
    answer = check(log.archive, NOW)
    assert (found(answer), answer.code) == ({FindingKind.OVERLAPPING: [f"listening:{SECOND + 610}"]}, 0)


def test_how_many_and_the_first_few(log: RedisLog) -> None:
    log.write(*(play("A", 1000 + 300 * number) for number in range(9)))
    log.raw.delete(INDEX, "gaps")
    answer = check(log.archive, NOW)
    assert isinstance(answer.data, dict)
    assert answer.data["found"]["unlisted"]["count"] == 12
    assert len(answer.data["found"]["unlisted"]["first"]) == MAX_EXAMPLES
    head, table = answer.page
    assert (
        head
        == "13 plays, 1 day, 2 items, 1 gap: there are problems; --repair fixes those marked as repairable"
    )
    assert not isinstance(table, str)
    rows = list(table.lines())
    assert [row[:3] for row in rows] == [
        ("12", FindingKind.UNLISTED.value, "repairable"),
        ("1", FindingKind.UNLISTED_GAP.value, "repairable"),
    ]
    repaired = check(log.archive, NOW, repair=True)
    assert repaired.page[0] == "13 plays, 1 day, 2 items, 1 gap: no problems left"


def test_a_key_that_is_told_twice_counts_once(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.raw.delete(INDEX)
    scan = Archive.scan

    def twice(self: Archive, pattern: str) -> Iterator[list[str]]:
        for names in scan(self, pattern):
            yield from (names, names + names[:3])

    monkeypatch.setattr(Archive, "scan", twice)
    answer = check(log.archive, NOW)
    assert isinstance(answer.data, dict)
    assert answer.data["found"]["unlisted"]["count"] == 3


class Line(RedisLink):
    """A connection at which something happens.

    Attributes:
        before: Called with the verb and the keys of what is to be asked.
        sent: The commands that wrote.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: Callable[[str, Sequence[str]], object] = lambda *_: None
        self.sent: list[Command] = []

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        self.sent += [command for command in commands if command[0] in {"HSET", "HDEL", "DEL", "SET"}]
        self.before(
            str(commands[0][0]) if commands else "",
            [str(command[1]) for command in commands if len(command) > 1],
        )
        return super().send(commands)

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        self.before(verb, keys)
        return super().ask(verb, keys, arguments)


class TestMeanwhile:
    """The logger goes on while somebody looks."""

    @pytest.fixture
    def line(self, redis_url: str, log: RedisLog) -> Iterator[Line]:
        line = Line(redis_url)
        yield line
        line.close()

    def archive(self, line: Line) -> Archive:
        return Store("", connect=lambda _: line, utc=lambda: NOW).archive()

    @pytest.mark.parametrize("repair", [False, True])
    def test_the_open_play_is_heard_further_at_every_question(
        self, log: RedisLog, line: Line, *, repair: bool
    ) -> None:
        heard = iter(range(101, 9999))
        line.before = lambda *_: log.write(play("B", 600, next(heard), None))
        assert checked(log, archive=self.archive(line), repair=repair) == {}
        assert line.sent == []

    def test_a_play_of_something_new_begins(self, log: RedisLog, line: Line) -> None:
        def begin(verb: str, keys: Sequence[str]) -> None:
            if verb == "HMGET" and A in keys:
                log.write(play("B", 600, 100, STOPPED), play("C", 800, 5, None))

        line.before = begin
        assert checked(log, archive=self.archive(line), repair=True) == {}
        assert "track:C" in log.names()

    def test_its_item_comes_a_little_later(self, log: RedisLog, line: Line) -> None:
        kept = log.kept("track:B")
        log.raw.delete("track:B")

        def come(verb: str, keys: Sequence[str]) -> None:
            if verb == "EXISTS" and "track:B" in keys:
                for name, value in kept.items():
                    log.raw.hset("track:B", name, value)

        line.before = come
        assert checked(log, archive=self.archive(line), repair=True) == {}

    @pytest.mark.parametrize("look", [1, 2])
    def test_a_gap_grows(self, log: RedisLog, line: Line, look: int) -> None:
        looks = iter(range(1, 99))

        def grow(verb: str, keys: Sequence[str]) -> None:
            if "gaps" in keys and next(looks) == look:
                line.before = lambda *_: None
                with log.store.batch() as batch:
                    batch.write_gap(NIGHT_SECOND, {**NIGHT, "to": "2026-11-22T03:00:00.000Z"})

        log.raw.hset("gaps", "5", "9 offline")
        line.before = grow
        assert checked(log, archive=self.archive(line), repair=True) == {FindingKind.LOST_GAP: ["gaps 5"]}
        assert checked(log) == {}

    def test_a_line_that_is_repaired_is_not_older_than_the_play(self, log: RedisLog, line: Line) -> None:
        """The play ends between the last look at it and the write."""
        log.raw.hset(INDEX, str(SECOND + 600), "track:A 5 open")
        log.store.close()

        def end(verb: str, keys: Sequence[str]) -> None:
            if verb == "HSET":
                line.before = lambda *_: None
                log.write(play("B", 600, 100, STOPPED))

        line.before = end
        assert checked(log, archive=self.archive(line), repair=True) == {
            FindingKind.DIFFERENT: [f"{INDEX} {SECOND + 600}"]
        }
        assert log.raw.hget(INDEX, str(SECOND + 600)) == "track:B 100000 stopped"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("track:A 200000 trackdone", None),
        ("track:A 200000 open", FindingKind.DIFFERENT),
        ("track:A 200000", FindingKind.OLD_FORM),
        ("track:A 20000", FindingKind.DIFFERENT),
        ("", FindingKind.DIFFERENT),
        (None, FindingKind.UNLISTED),
    ],
)
def test_a_play_and_its_line(line: str | None, kind: FindingKind | None) -> None:
    assert compare_with_index(play("A"), line, exists=True) is kind


# Whatever happens to it

LOGS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 40, 4000, 90_000]), st.sampled_from("ABC"), st.sampled_from([SKIPPED, None])
    ),
    min_size=1,
    max_size=8,
)
TRACKS = ("track:A", "track:B", "track:C")
WOUNDS: dict[str, Callable[[RedisLog, str, str, int], object]] = {
    "a line is gone": lambda log, day, second, _: log.raw.hdel(day, second),
    "a day is gone": lambda log, day, *_: log.raw.delete(day),
    "a line lies": lambda log, day, second, number: log.raw.hset(day, second, f"track:A {number} stopped"),
    "a line is old": lambda log, day, second, _: log.raw.hset(
        day, second, " ".join(log.kept(day)[second].split()[:2])
    ),
    "a line is elsewhere": lambda log, _, second, __: log.raw.hset(
        "plays:2020-01-01", second, "track:A 1 open"
    ),
    "a line has no play": lambda log, day, second, _: log.raw.hset(
        day, str(int(second) + 1), "track:Z 1 skipped"
    ),
    "an item is gone": lambda log, _, __, number: log.raw.delete(TRACKS[number % 3]),
    "an item is too much": lambda log, _, __, number: log.raw.hset(
        f"local:{number}", "uri", "spotify:local:x"
    ),
    "a gap is too much": lambda log, _, __, number: log.raw.hset(
        "gaps", str(number), f"{number + 1} offline"
    ),
    "the gaps are gone": lambda log, *_: log.raw.delete("gaps"),
    "a play is gone": lambda log, _, second, __: log.raw.delete(f"listening:{second}"),
}
"""Damage to a log, by a day of the index, a second in it, and any number."""


def heard(history: list[tuple[int, str, str | None]]) -> list[Play]:
    plays, now = [], 0
    for pause, name, reason in history:
        now += pause + 30
        plays.append(play(name, now, 25, reason))
    return plays


def wound(log: RedisLog, what: str, number: int) -> None:
    days = sorted(name for name in log.names() if name.startswith("plays:"))
    lines = [(day, second) for day in days for second in sorted(log.kept(day))]
    if lines:
        WOUNDS[what](log, *lines[number % len(lines)], number)


def test_whatever_is_damaged_a_repair_makes_it_right_and_changes_no_play(redis_url: str) -> None:
    line = Line(redis_url)
    log = RedisLog(redis_url)
    archive = Store("", connect=lambda _: line, utc=lambda: NOW).archive()

    @settings(max_examples=50, deadline=None)
    @given(LOGS, st.lists(st.tuples(st.sampled_from([*WOUNDS]), st.integers(0, 99)), min_size=1, max_size=5))
    def mend(history: list[tuple[int, str, str | None]], wounds: list[tuple[str, int]]) -> None:
        log.begin()
        log.write(*heard(history))
        log.write_gap()
        whole = log.everything()
        for what, number in wounds:
            wound(log, what, number)
        left = log.everything()
        lines = {second for name, kept in left.items() if name.startswith("plays:") for second in kept}
        # What has left no trace was never there.
        assume(
            all(f"listening:{each.second}" in left or f"{each.second}" in lines for each in heard(history))
        )
        before, is_whole = truth(log), left == whole
        told = found(check(archive, NOW))
        assert (told == {}) == is_whole
        line.sent.clear()
        assert found(check(archive, NOW, repair=True)) == told
        assert bool(line.sent) != is_whole
        assert truth(log) == before
        assert checked(log) == {}
        line.sent.clear()
        assert found(check(archive, NOW, repair=True)) == {}
        assert line.sent == []
        if "a play is gone" not in dict(wounds):
            assert index_of(log.everything()) == index_of(whole)

    mend()
    line.close()
    log.close()


def index_of(everything: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name: fields for name, fields in everything.items() if name.startswith(("plays:", "gaps"))}
