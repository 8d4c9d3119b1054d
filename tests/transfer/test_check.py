from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import SKIPPED, STOPPED
from spotify_logger.core.redis_keys import CATALOG, NEWEST, REVISIONS
from spotify_logger.report.answers import Table
from spotify_logger.report.words import Formatted
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import RedisClient, StoreError
from spotify_logger.transfer.check import MAX_EXAMPLES, FindingKind, check
from spotify_logger.transfer.delete import Confirmation
from spotify_logger.transfer.importer.command import import_history
from spotify_logger.transfer.second_copy import update
from tests.redis_log import NIGHT, NIGHT_SECOND, SECOND, RedisLog, play
from tests.report.samples import TerminalStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spotify_logger.report.answers import Answer
    from spotify_logger.storage.client import Command, Reply

    Damage = Callable[[RedisLog], object]

NOW = SECOND + 7200.0
DAY = 86_400
INDEX = "plays:2026-11-22"
A, B = f"listening:{SECOND}", f"listening:{SECOND + 300}"


@pytest.fixture(autouse=True)
def write_log(log: RedisLog) -> None:
    log.write(play("A", -DAY), play("A"), play("B", 300, 30, SKIPPED), play("B", 600, 100, None))
    log.write_gap()


def examples(answer: Answer) -> dict[str, list[str]]:
    """Return the first examples of each kind of finding."""
    assert isinstance(answer.data, dict)
    return {name: about["first"] for name, about in answer.data["found"].items()}


def page(answer: Answer) -> list[object]:
    return [block.for_people if isinstance(block, Formatted) else block for block in answer.page]


def everything_but_revisions(log: RedisLog) -> dict[str, object]:
    return {name: value for name, value in log.dump().items() if name != REVISIONS}


def plays_and_gaps(log: RedisLog) -> dict[str, dict[str, str]]:
    """Return what no repair may change."""
    return {
        name: fields for name, fields in log.everything().items() if name.startswith(("listening:", "gap:"))
    }


def index_of(log: RedisLog) -> dict[str, dict[str, str]]:
    return {name: fields for name, fields in log.everything().items() if name.startswith(("plays:", "gaps"))}


def test_log_without_problems(log: RedisLog) -> None:
    answer = check(log.store, NOW)
    assert page(answer) == ["4 plays, 2 days, 2 items, 1 gap: no problems"]
    assert answer.code == 0
    assert answer.data == {
        "well": True,
        "repaired": False,
        "seen": {"plays": 4, "days": 2, "items": 2, "gaps": 1, "forgotten": 0},
        "found": {},
    }
    log.begin()
    answer = check(log.store, NOW)
    assert (page(answer), answer.code) == (["nothing is logged yet: no problems"], 0)


def written(field: int | str, text: str, key: str = INDEX) -> Damage:
    return lambda log: log.raw.hset(key, str(field), text)


def deleted(*keys: str) -> Damage:
    return lambda log: log.raw.delete(*keys)


REPAIRABLE: list[tuple[Damage, dict[str, list[str]]]] = [
    (lambda log: log.raw.hdel(INDEX, str(SECOND)), {"unlisted": [A]}),
    (deleted(INDEX), {"unlisted": [A, B, f"listening:{SECOND + 600}"]}),
    (written(SECOND, "track:A 199999 trackdone"), {"different": [f"{INDEX} {SECOND}"]}),
    (written(SECOND, "track:A 200000"), {"old_form": [f"{INDEX} {SECOND}"]}),
    (written(SECOND + 7, "track:A 7 skipped"), {"lost": [f"{INDEX} {SECOND + 7}"]}),
    (written("note", "hello"), {"astray": [f"{INDEX} note"]}),
    (
        written(SECOND, "track:A 200000 trackdone", "plays:2026-11-23"),
        {"astray": [f"plays:2026-11-23 {SECOND}"]},
    ),
    (
        deleted(A, f"listening:{SECOND - DAY}"),
        {
            "lost": [f"plays:2026-11-21 {SECOND - DAY}", f"{INDEX} {SECOND}"],
            "unused_item": ["track:A"],
        },
    ),
    (deleted("track:B"), {"unknown_item": ["track:B"]}),
    (written("uri", "spotify:episode:X", "episode:X"), {"unused_item": ["episode:X"]}),
    (deleted("gaps"), {"unlisted_gap": [f"gap:{NIGHT_SECOND}"]}),
    (written(NIGHT_SECOND, "7 offline", "gaps"), {"unlisted_gap": [f"gap:{NIGHT_SECOND}"]}),
    (written("x", "y", "gaps"), {"lost_gap": ["gaps x"]}),
]


@pytest.mark.parametrize(("damage", "expected"), REPAIRABLE)
def test_damage_is_found_and_repaired(log: RedisLog, damage: Damage, expected: dict[str, list[str]]) -> None:
    intact = index_of(log)
    damage(log)
    before = plays_and_gaps(log)
    answer = check(log.store, NOW)
    assert {kind: sorted(first) for kind, first in examples(answer).items()} == expected
    assert answer.code == ("old_form" not in expected)
    repaired = check(log.store, NOW, repair=True)
    assert (examples(repaired), repaired.code) == (examples(answer), 0)
    assert plays_and_gaps(log) == before
    assert check(log.store, NOW).page[1:] == []
    if A in before:
        assert index_of(log) == intact


@pytest.fixture
def evicting(log: RedisLog) -> Iterator[None]:
    """Let the server throw keys away when its memory is full, which it is not."""
    log.raw.config_set("maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
    yield
    log.raw.config_set("maxmemory", "0", "maxmemory-policy", "noeviction")


@pytest.mark.usefixtures("evicting")
def test_what_is_left_of_evicted_plays_stays(log: RedisLog) -> None:
    log.raw.delete(A, f"listening:{SECOND - DAY}")
    before = log.everything()
    for repair in (False, True):
        answer = check(log.store, NOW, repair=repair)
        assert (list(examples(answer)), answer.code) == (["lost"], 1)
        assert "maxmemory-policy noeviction" in str(answer.page[-1])
    assert log.everything() == before


@pytest.mark.parametrize(
    ("text", "terminal", "stays"),
    [("y\n", TerminalStream, False), ("\n", TerminalStream, True), ("y\n", io.StringIO, True)],
)
def test_deleting_what_is_left_of_plays_has_to_be_allowed(
    log: RedisLog, text: str, terminal: type[io.StringIO], *, stays: bool
) -> None:
    log.raw.delete(A, f"listening:{SECOND - DAY}")
    before, screen = log.everything(), terminal()
    answer = check(log.store, NOW, Confirmation(terminal(text), screen, Zone("UTC")), repair=True)
    assert (log.everything() == before, answer.code) == (stays, stays)
    assert ("2 plays, 2026-11-21 18:00 to 2026-11-22 18:00" in screen.getvalue()) is screen.isatty()


HUSK = {"progress_ms": "24675", "ended_at": "2026-11-22T18:05:24.000Z", "ms_played": "24669"}
"""What an answer left of a play whose hash was gone."""


def make_husk(log: RedisLog) -> None:
    log.raw.delete(B)
    for name, value in HUSK.items():
        log.raw.hset(B, name, value)


def test_plays_that_have_lost_fields_or_all_come_back_from_the_second_copy(
    log: RedisLog, tmp_path: Path
) -> None:
    before = log.everything()
    assert update(log.store, tmp_path) == ""
    make_husk(log)
    log.raw.hdel(INDEX, str(SECOND + 300))
    log.raw.delete(A, "track:A")
    found = check(log.store, NOW)
    assert (examples(found)["incomplete"], found.code) == ([B], 1)
    assert "spotify-logger restore" in str(found.page)
    import_history(log.store, [tmp_path / "plays"])
    assert log.kept(B) == HUSK | before[B]
    assert log.everything().keys() == before.keys()
    assert examples(check(log.store, NOW)) == {}


@pytest.mark.parametrize("names", [["started_at"], ["ms_played", "source"], ["uri", "id", "name"]])
def test_fields_that_a_play_has_lost_are_in_index_and_catalog(log: RedisLog, names: list[str]) -> None:
    before = log.everything()
    log.raw.hdel(B, *names)
    assert examples(check(log.store, NOW)) == {"incomplete": [B]}
    assert check(log.store, NOW, repair=True).code == 0
    assert log.everything() == before


@pytest.mark.parametrize("is_deleted", [False, True])
def test_what_is_left_of_a_play_goes_with_consent(log: RedisLog, *, is_deleted: bool) -> None:
    make_husk(log)
    if is_deleted:  # by a person: the index has it, and it must not come back
        log.raw.hset("forgotten", str(SECOND + 300), str(SECOND + 330))
    else:
        log.raw.hdel(INDEX, str(SECOND + 300))
    for text, stays in (("n\n", True), ("y\n", False)):
        screen = TerminalStream()
        ask = Confirmation(TerminalStream(text), screen, Zone("UTC"))
        answer = check(log.store, NOW, ask, repair=True)
        assert "all that is left of 1 play, 2026-11-22 18:05" in screen.getvalue()
        assert (log.kept(B) == HUSK, bool(log.kept(B)), answer.code) == (stays, stays, stays)
    assert examples(check(log.store, NOW)) == {}


UNREPAIRABLE: list[tuple[Damage, dict[str, list[str]]]] = [
    (lambda log: log.raw.set("listening:5", "not ours"), {"strange": ["listening:5"]}),
    (written("song", "x", "listening:5"), {"strange": ["listening:5"]}),
    (written("from", "x", "gap:5"), {"strange": ["gap:5"]}),
    (
        lambda log: log.write(play("A", 100, second=SECOND + 99)),
        {"misnamed": [f"listening:{SECOND + 99}"]},
    ),
    (written(SECOND, f"{SECOND + 200}", "forgotten"), {"back": [A]}),
]


@pytest.mark.parametrize(("damage", "expected"), UNREPAIRABLE)
def test_what_a_person_has_to_decide_is_left_alone(
    log: RedisLog, damage: Damage, expected: dict[str, list[str]]
) -> None:
    damage(log)
    before = everything_but_revisions(log)
    for repair in (False, True):
        answer = check(log.store, NOW, repair=repair)
        found = examples(answer)
        found.pop("overlapping", None)
        assert (found, answer.code) == (expected, 1)
    assert everything_but_revisions(log) == before


@pytest.mark.parametrize("key", [INDEX, "gaps"])
def test_index_of_another_type_is_named_and_stays(log: RedisLog, key: str) -> None:
    log.raw.delete(key)
    log.raw.lpush(key, "x")
    before = everything_but_revisions(log)
    answer = check(log.store, NOW)
    assert answer.code == 1
    assert key != INDEX or examples(answer)["strange"] == [INDEX]
    with pytest.raises(StoreError, match=key):
        check(log.store, NOW, repair=True)
    assert everything_but_revisions(log) == before


def test_field_of_no_second_needs_no_consent_and_is_counted(log: RedisLog) -> None:
    for name in ("abc", str(SECOND + 7)):
        log.raw.hset(INDEX, name, "track:A 7 skipped")
    ask = Confirmation(io.StringIO(), io.StringIO(), Zone("UTC"))
    answer = check(log.store, NOW, ask, repair=True)
    expected = {"astray": [f"{INDEX} abc"], "lost": [f"{INDEX} {SECOND + 7}"]}
    assert (examples(answer), answer.code) == (expected, 1)
    assert examples(check(log.store, NOW)) == {"lost": expected["lost"]}


def test_repair_lets_readers_read_again_what_a_person_has_changed(log: RedisLog, redis_url: str) -> None:
    before = log.kept(REVISIONS)
    log.raw.hset(REVISIONS, "2020-01-01", "1")  # a day that a person has deleted
    check(log.store, NOW)
    assert log.kept(REVISIONS) == {**before, "2020-01-01": "1"}
    with closing(Archive(redis_url, utc=lambda: NOW + DAY)) as later:
        check(later, NOW, repair=True)
    days = {"2020-01-01", "2026-11-21", "2026-11-22", CATALOG, NEWEST}
    assert log.kept(REVISIONS) == dict.fromkeys(days, later.revision())


@pytest.mark.parametrize(
    "key",
    [
        *(
            "listening:",
            "listening:99999999999999",
            "gap:05",
            "plays:x",
            "plays:0000-00-00",
            "plays:20261122",
        ),
        *("track", "ann:listening:7"),
    ],
)
def test_foreign_keys_are_ignored(log: RedisLog, key: str) -> None:
    log.raw.hset(key, "1", "x")
    log.raw.set("track:XYZ", "not ours")
    log.raw.hset("track:GPS", "lat", "52")
    before = everything_but_revisions(log)
    assert page(check(log.store, NOW, repair=True)) == ["4 plays, 2 days, 2 items, 1 gap: no problems left"]
    assert everything_but_revisions(log) == before


def test_overlapping_plays_are_no_error(log: RedisLog) -> None:
    log.write(play("C", 610, 30), play("D", 620, 9, source="backfill"), play("E", 695.5, 9))
    # The first of the imported plays may be of a minute that was rounded down.
    imported = [play("E", start, 200, source="import") for start in (1000, 1141, 1260)]
    log.write(*imported, play("E", 1450, 9))
    answer = check(log.store, NOW)
    seconds = (610, 1260, 1450)
    assert examples(answer) == {"overlapping": [f"listening:{SECOND + second}" for second in seconds]}
    assert answer.code == 0


def test_report_has_counts_and_a_few_examples(log: RedisLog) -> None:
    log.write(*(play("A", 1000 + 300 * number) for number in range(9)))
    log.raw.delete(INDEX, "gaps")
    answer = check(log.store, NOW)
    assert isinstance(answer.data, dict)
    assert answer.data["found"]["unlisted"]["count"] == 12
    assert len(answer.data["found"]["unlisted"]["first"]) == MAX_EXAMPLES
    head, table = answer.page
    assert isinstance(head, Formatted)
    assert "--repair" in head.for_people
    assert isinstance(table, Table)
    assert [row[:3] for row in table.rows] == [
        (12, FindingKind.UNLISTED.value, "repairable"),
        (1, FindingKind.UNLISTED_GAP.value, "repairable"),
    ]


class EventfulClient(RedisClient):
    """A client that calls `before` with the verb and the keys of each request."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: Callable[[str, Sequence[str]], object] = lambda *_: None

    def send(self, commands: Sequence[Command], server: object = None) -> list[Reply]:
        keys = [str(command[1]) for command in commands if len(command) > 1]
        self.before(str(commands[0][0]) if commands else "", keys)
        return super().send(commands, server)

    def archive(self) -> Archive:
        return Archive("", connect=lambda _: self, utc=lambda: NOW)


@pytest.fixture
def client(redis_url: str, log: RedisLog) -> Iterator[EventfulClient]:
    client = EventfulClient(redis_url)
    yield client
    client.close()


class TestDuringLogging:
    """The logger goes on writing during a check."""

    def test_open_play_grows_at_every_request(self, log: RedisLog, client: EventfulClient) -> None:
        lengths = iter(range(101, 9999))
        client.before = lambda *_: log.write(play("B", 600, next(lengths), None))
        assert examples(check(client.archive(), NOW, repair=True)) == {}

    def test_play_ends_just_before_its_index_line_is_repaired(
        self, log: RedisLog, client: EventfulClient
    ) -> None:
        log.raw.hset(INDEX, str(SECOND + 600), "track:A 5 open")
        log.store.close()

        def end(verb: str, keys: Sequence[str]) -> None:
            if verb == "HSET":
                client.before = lambda *_: None
                log.write(play("B", 600, 100, STOPPED))

        client.before = end
        expected = {"different": [f"{INDEX} {SECOND + 600}"]}
        assert examples(check(client.archive(), NOW, repair=True)) == expected
        assert log.raw.hget(INDEX, str(SECOND + 600)) == "track:B 100000 stopped"

    def test_gap_that_begins_after_the_scan_stays_in_its_index(
        self, log: RedisLog, client: EventfulClient
    ) -> None:
        def begin(verb: str, _: Sequence[str]) -> None:
            if verb == "HMGET":
                client.before = lambda *_: None
                with log.store.batch() as batch:
                    batch.write_gap(SECOND + 700, {**NIGHT, "to": "2026-11-22T19:00:00.000Z"})

        client.before = begin
        assert examples(check(client.archive(), NOW, repair=True)) == {}
        assert str(SECOND + 700) in log.kept("gaps")


OLD_CATALOG = {
    "track:A": ("Daft, Punk, Kali Uchis", "d k"),
    "track:B": ("Kali Uchis", "k"),
    "track:C": ("Crosby, Stills & Nash, Simon, Garfunkel", "c s"),
    "track:D": ("Air, Beck", ""),  # of an export
}


def test_artists_of_earlier_versions_are_told_apart(log: RedisLog) -> None:
    log.write(play("C", 1000), play("D", 2000))
    for key, (artists, ids) in OLD_CATALOG.items():
        log.raw.hset(key, mapping={"artists": artists, "artist_ids": ids})
        log.raw.hdel(key, "artist_list")
    answer = check(log.store, NOW)
    assert examples(answer) == {"joined_artists": ["track:A", "track:B"], "doubtful_artists": ["track:C"]}
    assert answer.code == 0
    check(log.store, NOW, repair=True)
    assert {key: log.kept(key).get("artist_list") for key in OLD_CATALOG} == {
        "track:A": '[{"name": "Daft, Punk", "id": "d"}, {"name": "Kali Uchis", "id": "k"}]',
        "track:B": '[{"name": "Kali Uchis", "id": "k"}]',
        "track:C": None,
        "track:D": None,
    }
    assert examples(check(log.store, NOW)) == {"doubtful_artists": ["track:C"]}
