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
from tests.redis_log import NIGHT, NIGHT_SECOND, SECOND, RedisLog, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.connection import Command, Part, Reply

    Damage = Callable[[RedisLog], object]

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


def findings(
    log: RedisLog, *, repair: bool = False, archive: Archive | None = None
) -> dict[FindingKind, list[str]]:
    """Check the log, and return the first examples of each kind of finding."""
    return examples(check(archive or log.archive, NOW, repair=repair))


def examples(answer: Answer) -> dict[FindingKind, list[str]]:
    assert isinstance(answer.data, dict)
    return {FindingKind[name.upper()]: about["first"] for name, about in answer.data["found"].items()}


def plays_and_gaps(log: RedisLog) -> dict[str, dict[str, str]]:
    """Return what no repair may change."""
    return {
        name: fields for name, fields in log.everything().items() if name.startswith(("listening:", "gap:"))
    }


def test_log_without_problems(log: RedisLog) -> None:
    answer = check(log.archive, NOW)
    assert answer.page == ["4 plays, 2 days, 2 items, 1 gap: no problems"]
    assert answer.code == 0
    assert answer.data == {
        "well": True,
        "repaired": False,
        "seen": {"plays": 4, "days": 2, "items": 2, "gaps": 1, "forgotten": 0},
        "found": {},
    }
    log.begin()
    answer = check(log.archive, NOW)
    assert (answer.page, answer.code) == (["nothing is logged yet: no problems"], 0)


def index_line(second: int | str, text: str, day: str = INDEX) -> Damage:
    return lambda log: log.raw.hset(day, str(second), text)


def deleted(*keys: str) -> Damage:
    return lambda log: log.raw.delete(*keys)


REPAIRABLE: list[tuple[Damage, dict[FindingKind, list[str]]]] = [
    (lambda log: log.raw.hdel(INDEX, str(SECOND)), {FindingKind.UNLISTED: [A]}),
    (deleted(INDEX), {FindingKind.UNLISTED: [A, B, f"listening:{SECOND + 600}"]}),
    (index_line(SECOND, "track:A 199999 trackdone"), {FindingKind.DIFFERENT: [f"{INDEX} {SECOND}"]}),
    (index_line(SECOND, "what is this"), {FindingKind.DIFFERENT: [f"{INDEX} {SECOND}"]}),
    (index_line(SECOND, "track:A 200000"), {FindingKind.OLD_FORM: [f"{INDEX} {SECOND}"]}),
    (index_line(SECOND + 7, "track:A 7 skipped"), {FindingKind.LOST: [f"{INDEX} {SECOND + 7}"]}),
    (index_line("007", "track:A 7 skipped"), {FindingKind.LOST: [f"{INDEX} 007"]}),
    (index_line("note", "hello"), {FindingKind.LOST: [f"{INDEX} note"]}),
    (
        index_line(SECOND, "track:A 200000 trackdone", "plays:2026-11-23"),
        {FindingKind.ASTRAY: [f"plays:2026-11-23 {SECOND}"]},
    ),
    (
        deleted(A, f"listening:{SECOND - DAY}"),
        {
            FindingKind.LOST: [f"plays:2026-11-21 {SECOND - DAY}", f"{INDEX} {SECOND}"],
            FindingKind.UNUSED_ITEM: ["track:A"],
        },
    ),
    (deleted("track:B"), {FindingKind.UNKNOWN_ITEM: ["track:B"]}),
    (index_line("uri", "spotify:episode:X", "episode:X"), {FindingKind.UNUSED_ITEM: ["episode:X"]}),
    (deleted("gaps"), {FindingKind.UNLISTED_GAP: [f"gap:{NIGHT_SECOND}"]}),
    (index_line(NIGHT_SECOND, "7 offline", "gaps"), {FindingKind.UNLISTED_GAP: [f"gap:{NIGHT_SECOND}"]}),
    (index_line("x", "y", "gaps"), {FindingKind.LOST_GAP: ["gaps x"]}),
    (index_line("5", "9 offline", "gaps"), {FindingKind.LOST_GAP: ["gaps 5"]}),
]


@pytest.mark.parametrize(("damage", "expected"), REPAIRABLE)
def test_damage_is_found_and_repaired(
    log: RedisLog, damage: Damage, expected: dict[FindingKind, list[str]]
) -> None:
    damage(log)
    before = plays_and_gaps(log)
    answer = check(log.archive, NOW)
    assert {kind: sorted(first) for kind, first in examples(answer).items()} == expected
    assert answer.code == (FindingKind.OLD_FORM not in expected)
    repaired = check(log.archive, NOW, repair=True)
    assert (examples(repaired), repaired.code) == (examples(answer), 0)
    assert plays_and_gaps(log) == before
    assert check(log.archive, NOW).page[1:] == []


def test_catalog_is_restored_from_the_newest_play(log: RedisLog) -> None:
    log.raw.delete("track:B")
    log.raw.hset(f"listening:{SECOND + 600}", "name", "B (Remastered)")
    findings(log, repair=True)
    assert log.kept("track:B") == {
        "uri": "spotify:track:B",
        "type": "track",
        "name": "B (Remastered)",
        "artists": "Daft Punk",
        "album": "Discovery",
        "duration_ms": "200000",
    }


UNREPAIRABLE: list[tuple[Damage, dict[FindingKind, list[str]]]] = [
    (lambda log: log.raw.set("listening:5", "not ours"), {FindingKind.STRANGE: ["listening:5"]}),
    (index_line("song", "x", "listening:5"), {FindingKind.STRANGE: ["listening:5"]}),
    (lambda log: log.raw.hdel(B, "started_at"), {FindingKind.STRANGE: [B]}),
    (index_line("from", "x", "gap:5"), {FindingKind.STRANGE: ["gap:5"]}),
    *(
        (index_line("1", "track:A 1 skipped", key), {FindingKind.STRANGE: [key]})
        for key in ("listening:-5", "listening:99999999999999", "gap:-1", "plays:0000-00-00")
    ),
    (
        lambda log: log.write(play("A", 100, second=SECOND + 99)),
        {FindingKind.MISNAMED: [f"listening:{SECOND + 99}"]},
    ),
    (
        lambda log: log.write(play("A", 9000, second=SECOND + 12_600)),
        {FindingKind.MISNAMED: [f"listening:{SECOND + 12_600}"]},
    ),
    (index_line(SECOND, f"{SECOND + 200}", "forgotten"), {FindingKind.BACK: [A]}),
]


@pytest.mark.parametrize(("damage", "expected"), UNREPAIRABLE)
def test_what_a_person_has_to_decide_is_left_alone(
    log: RedisLog, damage: Damage, expected: dict[FindingKind, list[str]]
) -> None:
    damage(log)
    before = log.dump()
    for repair in (False, True):
        answer = check(log.archive, NOW, repair=repair)
        found = examples(answer)
        found.pop(FindingKind.OVERLAPPING, None)
        assert (found, answer.code) == (expected, 1)
    assert log.dump() == before


@pytest.mark.parametrize(
    "key", ["listening:", "gap:05", "plays:x", "plays:20261122", "track", "ann:listening:7"]
)
def test_foreign_keys_are_ignored(log: RedisLog, key: str) -> None:
    log.raw.hset(key, "1", "x")
    log.raw.set("track:XYZ", "not ours")
    log.raw.hset("track:GPS", "lat", "52")
    before = log.dump()
    assert check(log.archive, NOW, repair=True).page == ["4 plays, 2 days, 2 items, 1 gap: no problems left"]
    assert log.dump() == before


def test_logs_with_prefixes_are_separate(redis_url: str) -> None:
    ann, ben = RedisLog(redis_url, "ann:"), RedisLog(redis_url, "ben*:")
    for log in (ann, ben):
        log.write(play("A"))
        log.raw.delete(f"{log.prefix}{INDEX}")
    assert findings(ben, repair=True) == {FindingKind.UNLISTED: [A]}
    assert findings(ben) == {}
    assert findings(ann) == {FindingKind.UNLISTED: [A]}
    ann.close()
    ben.close()


def test_overlapping_plays_are_no_error(log: RedisLog) -> None:
    log.write(play("C", 610, 30), play("D", 620, 9, source="backfill"), play("E", 695.5, 9))
    answer = check(log.archive, NOW)
    assert (examples(answer), answer.code) == ({FindingKind.OVERLAPPING: [f"listening:{SECOND + 610}"]}, 0)


def test_report_has_counts_and_a_few_examples(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(*(play("A", 1000 + 300 * number) for number in range(9)))
    log.raw.delete(INDEX, "gaps")
    scan = Archive.scan

    def scan_with_repetitions(self: Archive, pattern: str) -> Iterator[list[str]]:
        for names in scan(self, pattern):
            yield from (names, names + names[:3])

    monkeypatch.setattr(Archive, "scan", scan_with_repetitions)
    answer = check(log.archive, NOW)
    assert isinstance(answer.data, dict)
    assert answer.data["found"]["unlisted"]["count"] == 12
    assert len(answer.data["found"]["unlisted"]["first"]) == MAX_EXAMPLES
    head, table = answer.page
    assert isinstance(head, str)
    assert "--repair" in head
    assert not isinstance(table, str)
    assert [row[:3] for row in table.lines()] == [
        ("12", FindingKind.UNLISTED.value, "repairable"),
        ("1", FindingKind.UNLISTED_GAP.value, "repairable"),
    ]


class EventfulLink(RedisLink):
    """A link that lets something happen before each request.

    Attributes:
        before: Called with the verb and the keys of the request.
        writes: The commands that wrote.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: Callable[[str, Sequence[str]], object] = lambda *_: None
        self.writes: list[Command] = []

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        self.writes += [command for command in commands if command[0] in {"HSET", "HDEL", "DEL", "SET"}]
        keys = [str(command[1]) for command in commands if len(command) > 1]
        self.before(str(commands[0][0]) if commands else "", keys)
        return super().send(commands)

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        self.before(verb, keys)
        return super().ask(verb, keys, arguments)

    def archive(self) -> Archive:
        return Store("", connect=lambda _: self, utc=lambda: NOW).archive()


class TestDuringLogging:
    """The logger goes on writing during a check."""

    @pytest.fixture
    def link(self, redis_url: str, log: RedisLog) -> Iterator[EventfulLink]:
        link = EventfulLink(redis_url)
        yield link
        link.close()

    def test_open_play_grows_at_every_request(self, log: RedisLog, link: EventfulLink) -> None:
        lengths = iter(range(101, 9999))
        link.before = lambda *_: log.write(play("B", 600, next(lengths), None))
        assert findings(log, archive=link.archive(), repair=True) == {}
        assert link.writes == []

    def test_play_of_a_new_item_begins(self, log: RedisLog, link: EventfulLink) -> None:
        def begin(verb: str, keys: Sequence[str]) -> None:
            if verb == "HMGET" and A in keys:
                log.write(play("B", 600, 100, STOPPED), play("C", 800, 5, None))

        link.before = begin
        assert findings(log, archive=link.archive(), repair=True) == {}
        assert "track:C" in log.names()

    def test_item_arrives_late(self, log: RedisLog, link: EventfulLink) -> None:
        fields = log.kept("track:B")
        log.raw.delete("track:B")

        def arrive(verb: str, keys: Sequence[str]) -> None:
            if verb == "EXISTS" and "track:B" in keys:
                for name, value in fields.items():
                    log.raw.hset("track:B", name, value)

        link.before = arrive
        assert findings(log, archive=link.archive(), repair=True) == {}

    @pytest.mark.parametrize("request_number", [1, 2])
    def test_gap_grows(self, log: RedisLog, link: EventfulLink, request_number: int) -> None:
        requests = iter(range(1, 99))

        def grow(verb: str, keys: Sequence[str]) -> None:
            if "gaps" in keys and next(requests) == request_number:
                link.before = lambda *_: None
                with log.store.batch() as batch:
                    batch.write_gap(NIGHT_SECOND, {**NIGHT, "to": "2026-11-22T03:00:00.000Z"})

        log.raw.hset("gaps", "5", "9 offline")
        link.before = grow
        assert findings(log, archive=link.archive(), repair=True) == {FindingKind.LOST_GAP: ["gaps 5"]}
        assert findings(log) == {}

    def test_play_ends_just_before_its_index_line_is_repaired(
        self, log: RedisLog, link: EventfulLink
    ) -> None:
        log.raw.hset(INDEX, str(SECOND + 600), "track:A 5 open")
        log.store.close()

        def end(verb: str, keys: Sequence[str]) -> None:
            if verb == "HSET":
                link.before = lambda *_: None
                log.write(play("B", 600, 100, STOPPED))

        link.before = end
        expected = {FindingKind.DIFFERENT: [f"{INDEX} {SECOND + 600}"]}
        assert findings(log, archive=link.archive(), repair=True) == expected
        assert log.raw.hget(INDEX, str(SECOND + 600)) == "track:B 100000 stopped"


HISTORIES = st.lists(
    st.tuples(
        st.sampled_from([0, 40, 4000, 90_000]), st.sampled_from("ABC"), st.sampled_from([SKIPPED, None])
    ),
    min_size=1,
    max_size=8,
)
TRACKS = ("track:A", "track:B", "track:C")
DAMAGES: dict[str, Callable[[RedisLog, str, str, int], object]] = {
    "line missing": lambda log, day, second, _: log.raw.hdel(day, second),
    "day missing": lambda log, day, *_: log.raw.delete(day),
    "line wrong": lambda log, day, second, number: log.raw.hset(day, second, f"track:A {number} stopped"),
    "line old": lambda log, day, second, _: log.raw.hset(
        day, second, " ".join(log.kept(day)[second].split()[:2])
    ),
    "line astray": lambda log, _, second, __: log.raw.hset("plays:2020-01-01", second, "track:A 1 open"),
    "line lost": lambda log, day, second, _: log.raw.hset(day, str(int(second) + 1), "track:Z 1 skipped"),
    "item missing": lambda log, _, __, number: log.raw.delete(TRACKS[number % 3]),
    "item unused": lambda log, _, __, number: log.raw.hset(f"local:{number}", "uri", "spotify:local:x"),
    "gap lost": lambda log, _, __, number: log.raw.hset("gaps", str(number), f"{number + 1} offline"),
    "gaps missing": lambda log, *_: log.raw.delete("gaps"),
    "play missing": lambda log, _, second, __: log.raw.delete(f"listening:{second}"),
}
"""Damage to a log, by a day of the index, a second in it, and any number."""


def plays_of(history: list[tuple[int, str, str | None]]) -> list[Play]:
    plays, now = [], 0
    for pause, name, reason in history:
        now += pause + 30
        plays.append(play(name, now, 25, reason))
    return plays


def index_of(everything: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name: fields for name, fields in everything.items() if name.startswith(("plays:", "gaps"))}


def inflict(log: RedisLog, damage: str, number: int) -> None:
    lines = [
        (day, second)
        for day in sorted(log.names())
        if day.startswith("plays:")
        for second in sorted(log.kept(day))
    ]
    if lines:
        DAMAGES[damage](log, *lines[number % len(lines)], number)


def test_any_damage_is_repaired_without_changing_a_play(redis_url: str) -> None:
    link, log = EventfulLink(redis_url), RedisLog(redis_url)
    archive = link.archive()

    @settings(max_examples=25)
    @given(
        HISTORIES,
        st.lists(st.tuples(st.sampled_from([*DAMAGES]), st.integers(0, 99)), min_size=1, max_size=5),
    )
    def check_repair(history: list[tuple[int, str, str | None]], damages: list[tuple[str, int]]) -> None:
        log.begin()
        log.write(*plays_of(history))
        log.write_gap()
        intact = log.everything()
        for damage, number in damages:
            inflict(log, damage, number)
        damaged = log.everything()
        seconds = {second for name in index_of(damaged) for second in damaged[name]}
        # A play without any trace cannot be found missing.
        assume(
            all(
                {f"listening:{one.second}", f"{one.second}"} & (damaged.keys() | seconds)
                for one in plays_of(history)
            )
        )
        before, is_intact = plays_and_gaps(log), damaged == intact
        found = examples(check(archive, NOW))
        assert (found == {}) == is_intact
        link.writes.clear()
        assert examples(check(archive, NOW, repair=True)) == found
        assert bool(link.writes) != is_intact
        assert plays_and_gaps(log) == before
        link.writes.clear()
        assert examples(check(archive, NOW, repair=True)) == {}
        assert link.writes == []
        if "play missing" not in dict(damages):
            assert index_of(log.everything()) == index_of(intact)

    check_repair()
    link.close()
    log.close()
