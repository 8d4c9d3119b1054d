"""Backfill scenarios: known plays, items of `recently-played`, and the expected plays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.backfill import (
    MAX_ITEMS,
    RecentPlay,
    backfill_plays,
    item_fields,
    read_recently_played,
)
from spotify_logger.core.matching import SAME_END_MS, identity
from spotify_logger.core.play import BACKFILL, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play, near_end_ms
from spotify_logger.core.player_state import Item
from spotify_logger.core.times import from_iso, to_iso
from tests.examples import example
from tests.histories import NOON

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MINUTE, HOUR = 60, 3600


def recording(
    name: str, seconds: float | None = 200, *, identity: str = "", isrc: str = "", artists: str = "Somebody"
) -> Item:
    identity = identity or name.replace(" ", "")
    uri = f"spotify:track:{identity}"
    catalog: dict[str, str | int] = {"uri": uri, "type": "track", "name": name, "artists": artists}
    duration_ms = None if seconds is None else round(seconds * 1000)
    return Item(f"track:{identity}", uri, duration_ms, catalog | ({"isrc": isrc} if isrc else {}))


A = recording("A", isrc="DEA1")
ITEMS = {
    "A": A,
    "A'": recording("A (Deluxe)", 201, identity="A2", isrc="DEA1"),
    "B": recording("B"),
    "B'": recording("B", 202, identity="B2"),
    "C": recording("C"),
    "Long": recording("Long", 400),
    "Short": recording("Short", 30),
    "Blink": recording("Blink", 3),
    "Nobody knows": recording("Nobody knows", None),
    "Variation 9": recording("Variation 9", 60),
    "Variation 10": recording("Variation 10", 60),
    "Variation 9, live": recording("Variation 9", 75, identity="Variation9live"),
}
NAMES = {item.uri: name for name, item in ITEMS.items()}


class Known(NamedTuple):
    """A known play, in seconds after noon; `progress` is its last position, if not `heard`."""

    name: str
    start: float
    end: float
    heard: float
    reason: str | None
    playing: bool = True
    progress: float | None = None

    def as_play(self) -> Play:
        item, started_ms = ITEMS[self.name], ms(self.start)
        progress = self.heard if self.progress is None else self.progress
        fields = item_fields(item, {}, None) | {
            "playing": int(self.playing),
            "progress_ms": round(progress * 1000),
        }
        ms_played = round(self.heard * 1000)
        return Play(
            started_ms // 1000, item, started_ms, ms(self.end), ms_played, self.reason, "live", fields
        )


class Found(NamedTuple):
    """An expected play: new, or updated."""

    name: str
    start: float
    end: float
    heard: float
    reason: str | None
    source: str = BACKFILL


@dataclass(frozen=True)
class Scenario:
    """Known plays, items (names and ends), the expected plays, and the time."""

    known: Sequence[Known]
    told: Sequence[tuple[str, float]]
    found: Sequence[Found]
    now: float = 10 * HOUR
    blind: Sequence[tuple[float, float]] = ()


def ms(second: float) -> int:
    return NOON + round(second * 1000)


def history(told: Iterable[tuple[str, float]]) -> list[RecentPlay]:
    items = sorted(told, key=lambda item: item[1])
    return [RecentPlay(ITEMS[name], ms(end), item_fields(ITEMS[name], {}, None)) for name, end in items]


def found(plays: Iterable[Play]) -> list[Found]:
    return [
        Found(
            NAMES[play.item.uri],
            (play.started_ms - NOON) / 1000,
            (play.ended_ms - NOON) / 1000,
            play.ms_played / 1000,
            play.end_reason,
            play.source,
        )
        for play in plays
    ]


def merged(known: Iterable[Play], changed: Iterable[Play]) -> list[Play]:
    """Return the known plays afterwards, one version of each, as in the outbox."""
    plays = {identity(play): play for play in (*known, *changed)}
    return list(plays.values())


B_OPEN = Known("B", 1000, 1010, 10, None)
"""The open play at the first answer after a thousand seconds."""

SCENARIOS = {
    "nothing is known, nothing is told": Scenario([], [], []),
    "the very first one": Scenario([], [("A", 300)], [Found("A", 100, 300, 200, TRACKDONE)]),
    "everything is known": Scenario(
        [
            Known("A", 0, 200, 200, TRACKDONE),
            Known("B", 200, 240, 40, SKIPPED),
            Known("C", 240, 340, 60, SKIPPED),
            Known("A", 340, 400, 60, None),
        ],
        [("A", 200.3), ("B", 240.8), ("C", 340)],
        [],
        now=400,
    ),
    "three were played in an outage": Scenario(
        [Known("Long", 0, 100, 100, SKIPPED), B_OPEN],
        [("Long", 100.5), ("A", 400), ("B", 640), ("C", 1000.4)],
        # As much as there is room for; what was heard before somebody paused cannot be told.
        [
            Found("A", 200, 400, 200, TRACKDONE),
            Found("B", 440, 640, 200, TRACKDONE),
            Found("C", 800, 1000, 200, TRACKDONE),
        ],
        now=1010,
    ),
    "one that was skipped fills the room that its neighbours leave": Scenario(
        [Known("A", 0, 200, 200, TRACKDONE), Known("B", 260, 300, 40, None)],
        [("A", 200), ("Long", 260)],
        [Found("Long", 200, 260, 60, UNKNOWN)],
        now=300,
    ),
    "a crossfade leaves a little less than the whole": Scenario(
        [Known("A", 0, 200, 200, TRACKDONE), Known("C", 388, 390, 2, None)],
        [("A", 200), ("B", 388)],
        [Found("B", 200, 388, 188, TRACKDONE)],
        now=390,
    ),
    "the next one starts before the item's end": Scenario(
        [Known("A", 0, 200, 200, TRACKDONE), Known("C", 300, 320, 20, None)],
        [("B", 300.8)],
        [Found("B", 200, 300, 100, UNKNOWN)],
        now=320,
    ),
    "two ended as the next one started: the room goes to one of them": Scenario(
        [Known("A", 0, 200, 200, TRACKDONE), Known("C", 300, 320, 20, None)],
        [("A", 200), ("B", 300.3), ("Long", 301)],
        [Found("B", 200, 300, 100, UNKNOWN), Found("Long", 300, 300, 0, UNKNOWN)],
        now=320,
    ),
    # What was playing when sight was lost
    "out of sight, heard through": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 200.4)],
        [Found("A", 0, 200.4, 200, TRACKDONE, "live")],
        now=1010,
    ),
    "out of sight, skipped": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 150)],
        [Found("A", 0, 150, 150, SKIPPED, "live")],
        now=1010,
    ),
    "out of sight, skipped within seconds": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 102)],
        [Found("A", 0, 102, 102, SKIPPED, "live")],
        now=1010,
    ),
    "out of sight, left just before its end": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 186)],
        [Found("A", 0, 186, 186, TRACKDONE, "live")],
        now=1010,
    ),
    "out of sight, paused in between": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 700)],
        [Found("A", 0, 700, 200, TRACKDONE, "live")],
        now=1010,
    ),
    "out of sight after a seek: the position says how much was left": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN, progress=180), B_OPEN],
        [("A", 125)],
        [Found("A", 0, 125, 120, TRACKDONE, "live")],
        now=1010,
    ),
    "out of sight, left when the next one started, and told a little late": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), Known("B", 150, 160, 10, None)],
        [("A", 150.8)],
        [Found("A", 0, 150, 150, SKIPPED, "live")],
        now=160,
    ),
    "out of sight, paused, and left when the next one started": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), Known("B", 700, 710, 10, None)],
        [("A", 703)],
        [Found("A", 0, 700, 200, TRACKDONE, "live")],
        now=710,
    ),
    "out of sight, and back in it before the clock of Spotify says so": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN)], [("A", 125)], [Found("A", 0, 120, 120, SKIPPED, "live")], now=120
    ),
    "out of sight, and taken back to its beginning before": Scenario(
        [Known("A", 0, 300, 300, UNKNOWN, progress=180), B_OPEN],
        [("A", 120), ("A", 600)],
        [Found("A", 0, 600, 320, TRACKDONE, "live")],
        now=1010,
    ),
    "out of sight, and nothing is told": Scenario([Known("A", 0, 100, 100, UNKNOWN), B_OPEN], [], []),
    "out of sight, and others are told": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("C", 320)],
        [Found("C", 120, 320, 200, TRACKDONE)],
        now=1010,
    ),
    "out of sight while paused: nothing was heard meanwhile": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN, playing=False), B_OPEN], [("A", 700)], [], now=1010
    ),
    "out of sight, the length unknown": Scenario(
        [Known("Nobody knows", 0, 100, 100, UNKNOWN), B_OPEN], [("Nobody knows", 700)], [], now=1010
    ),
    "out of sight, told under another id": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A'", 200)],
        [Found("A", 0, 200, 200, TRACKDONE, "live")],
        now=1010,
    ),
    "out of sight, and another one in its turn": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 170), ("Long", 500)],
        [Found("A", 0, 170, 170, SKIPPED, "live"), Found("Long", 170, 500, 330, UNKNOWN)],
        now=1010,
    ),
    # Repeats
    "on repeat, five times, of which the first was seen": Scenario(
        [Known("A", 0, 200, 200, TRACKDONE), B_OPEN],
        [("A", 200), ("A", 400), ("A", 600), ("A", 800), ("A", 1000)],
        [Found("A", start, start + 200, 200, TRACKDONE) for start in (200, 400, 600, 800)],
        now=1010,
    ),
    "on repeat, out of sight in the middle of the first": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), B_OPEN],
        [("A", 200.2), ("A", 400.1), ("A", 600), ("A", 800), ("A", 1000)],
        [
            Found("A", 0, 200.2, 200, TRACKDONE, "live"),
            Found("A", 200.2, 400.1, 199.9, TRACKDONE),
            Found("A", 400.1, 600, 199.9, TRACKDONE),
            Found("A", 600, 800, 200, TRACKDONE),
            Found("A", 800, 1000, 200, TRACKDONE),
        ],
        now=1010,
    ),
    "on repeat, and still when sight is regained": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), Known("A", 600, 650, 50, None)],
        [("A", 200), ("A", 400), ("A", 600.7)],
        [
            Found("A", 0, 200, 200, TRACKDONE, "live"),
            Found("A", 200, 400, 200, TRACKDONE),
            Found("A", 400, 600, 200, TRACKDONE),
        ],
        now=650,
    ),
    "on repeat since before the logger ran": Scenario(
        [Known("A", 400, 450, 50, None)],
        [("A", 200.5), ("A", 400.5)],
        [Found("A", 0.5, 200.5, 200, TRACKDONE), Found("A", 200.5, 400, 199.5, TRACKDONE)],
        now=450,
    ),
    "on repeat since before the logger ran, and skipped": Scenario(
        [Known("A", 400, 440, 40, SKIPPED), Known("B", 440, 450, 10, None)],
        [("A", 400.5), ("A", 440.5)],
        [Found("A", 200, 400, 200, TRACKDONE)],
        now=450,
    ),
    "on repeat, and the first one's own item is late": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), Known("B", 400, 450, 50, None)],
        [("A", 401.5)],
        [Found("A", 200, 400, 200, TRACKDONE)],
        now=450,
    ),
    "on repeat, and only the third one's item is there": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN), Known("B", 600, 650, 50, None)],
        [("A", 600)],
        [Found("A", 400, 600, 200, TRACKDONE)],
        now=650,
    ),
    "a short one on repeat, and the first one's own item is late": Scenario(
        [Known("Short", 0, 20, 20, UNKNOWN), Known("B", 60, 70, 10, None)],
        [("Short", 60)],
        [Found("Short", 30, 60, 30, TRACKDONE)],
        now=70,
    ),
    "a very short one on repeat": Scenario(
        [Known("Blink", 0, 3, 3, TRACKDONE), Known("A", 12, 20, 8, None)],
        [("Blink", 3), ("Blink", 6), ("Blink", 9), ("Blink", 12)],
        [Found("Blink", start, start + 3, 3, TRACKDONE) for start in (3, 6, 9)],
        now=20,
    ),
    "the same on repeat, all of it seen": Scenario(
        [
            Known("A", 0, 200, 200, TRACKDONE),
            Known("A", 200, 400, 200, TRACKDONE),
            Known("A", 400, 450, 50, None),
        ],
        [("A", 200.9), ("A", 400.9)],
        [],
        now=450,
    ),
    "taken back to its beginning: of one play Spotify may make two": Scenario(
        [Known("A", 0, 320, 320, TRACKDONE), Known("B", 320, 330, 10, None)],
        [("A", 120), ("A", 320)],
        [],
        now=330,
    ),
    # Who is who
    "another id, the same ISRC": Scenario([Known("A", 0, 200, 200, TRACKDONE)], [("A'", 200.5)], [], now=300),
    "another id, no ISRC, the same names and about the same length": Scenario(
        [Known("B", 0, 200, 200, TRACKDONE)], [("B'", 200.5)], [], now=300
    ),
    "like titles": Scenario(
        [Known("Variation 9", 0, 60, 60, TRACKDONE), Known("A", 120, 150, 30, None)],
        [("Variation 9", 60), ("Variation 10", 120)],
        [Found("Variation 10", 60, 120, 60, TRACKDONE)],
        now=150,
    ),
    "the same title, another length": Scenario(
        [Known("Variation 9", 0, 60, 60, TRACKDONE), Known("A", 135, 150, 15, None)],
        [("Variation 9", 60), ("Variation 9, live", 135)],
        [Found("Variation 9, live", 60, 135, 75, TRACKDONE)],
        now=150,
    ),
    # Pauses
    "paused, and told of half an hour later": Scenario(
        [Known("A", 0, 100, 100, STOPPED, playing=False)], [("A", 100 + 30 * MINUTE)], []
    ),
    "paused, and told of hours later, while it was seen to stand still": Scenario(
        [Known("A", 0, 100, 100, STOPPED, playing=False)], [("A", 5 * HOUR)], []
    ),
    "paused just before its end: what is told of hours later may be its rest, heard unseen": Scenario(
        [Known("A", 0, 150, 150, STOPPED, playing=False)],
        [("A", 5 * HOUR)],
        [Found("A", 5 * HOUR - 50, 5 * HOUR, 50, UNKNOWN)],
    ),
    "the same with an outage while the play was not over yet": Scenario(
        [Known("A", 0, 100, 100, STOPPED, playing=False)], [("A", 5 * HOUR)], [], blind=[(200, 30 * MINUTE)]
    ),
    "told of hours later, while nobody could see": Scenario(
        [Known("A", 0, 100, 100, STOPPED, playing=False)],
        [("A", 5 * HOUR)],
        [Found("A", 5 * HOUR - 100, 5 * HOUR, 100, UNKNOWN)],
        blind=[(-9 * HOUR, -8 * HOUR), (HOUR, 6 * HOUR)],
    ),
    "out of sight, and told of hours later": Scenario(
        [Known("A", 0, 100, 100, UNKNOWN)],
        [("A", 5 * HOUR)],
        [Found("A", 5 * HOUR - 200, 5 * HOUR, 200, TRACKDONE)],
        blind=[(100, 6 * HOUR)],
    ),
    "paused, and another one was played before it is told of": Scenario(
        [Known("A", 0, 100, 100, STOPPED, playing=False), Known("B", 600, 800, 200, TRACKDONE)],
        [("A", 1000)],
        [Found("A", 800, 1000, 200, TRACKDONE)],
    ),
    "resumed when it was over: the item is of the resumption": Scenario(
        [
            Known("A", 0, 100, 100, STOPPED, playing=False),
            Known("A", 2 * HOUR, 2 * HOUR + 100, 100, TRACKDONE),
        ],
        [("A", 2 * HOUR + 100)],
        [],
    ),
    "the open play, paused: it is told of when another device takes over": Scenario(
        [Known("A", 0, 100, 100, None, playing=False)], [("A", 900)], [], now=1000
    ),
    "the open play, told of while nobody can see what became of it": Scenario(
        [Known("A", 0, 100, 100, None)], [("A", HOUR)], [], now=2 * HOUR, blind=[(100, 2 * HOUR)]
    ),
    # Odds and ends
    "what was left between two answers may be off": Scenario(
        [Known("A", 0, 100, 100, SKIPPED), Known("B", 130, 150, 20, None)],
        [("A", 129)],
        [],
        now=150,
    ),
    "in a play that was paused there is room": Scenario(
        [Known("A", 0, 1000, 100, SKIPPED)], [("B", 600)], [Found("B", 400, 600, 200, TRACKDONE)]
    ),
    "in a play that was heard there is none": Scenario(
        [Known("Long", 0, 400, 400, TRACKDONE)], [("B", 300)], [Found("B", 300, 300, 0, UNKNOWN)]
    ),
    "the length is missing: nobody knows how much was heard": Scenario(
        [Known("A", 0, 200, 200, TRACKDONE)],
        [("Nobody knows", 500)],
        [Found("Nobody knows", 500, 500, 0, UNKNOWN)],
    ),
    "what ends in the future is no play yet": Scenario(
        [Known("A", 0, 100, 100, None)], [("B", 100 + HOUR), ("A", 100 + HOUR)], [], now=100
    ),
}

SHARED = [name for name in SCENARIOS if "ended as the next one started" not in name]
"""Scenarios that do not depend on the order of the items."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_plays_of_a_history(name: str) -> None:
    case = SCENARIOS[name]
    blind = [(ms(begin), ms(end)) for begin, end in case.blind]

    plays = backfill_plays([known.as_play() for known in case.known], history(case.told), ms(case.now), blind)

    assert found(plays) == list(case.found)
    assert all(play.second == play.started_ms // 1000 for play in plays)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_items_again_add_nothing(name: str) -> None:
    case = SCENARIOS[name]
    blind = [(ms(begin), ms(end)) for begin, end in case.blind]
    known = [known.as_play() for known in case.known]
    known = merged(known, backfill_plays(known, history(case.told), ms(case.now), blind))

    for later in (0, 20 * MINUTE, 50 * MINUTE):
        assert backfill_plays(known, history(case.told), ms(case.now + later), blind) == []


@pytest.mark.parametrize("name", SHARED)
def test_items_one_by_one_give_the_same_plays(name: str) -> None:
    case = SCENARIOS[name]
    blind = [(ms(begin), ms(end)) for begin, end in case.blind]
    known = [known.as_play() for known in case.known]
    at_once = merged(known, backfill_plays(known, history(case.told), ms(case.now), blind))

    for count in range(len(case.told) + 1):
        known = merged(known, backfill_plays(known, history(case.told[:count]), ms(case.now), blind))

    assert sorted(found(known)) == sorted(found(at_once))


def test_without_a_log_the_fifty_items_of_the_first_start_are_plays() -> None:
    told = [("ABC"[number % 3], 300.0 * number) for number in range(1, 51)]

    plays = backfill_plays([], history(told), ms(16_000))

    assert [(NAMES[play.item.uri], play.ended_ms) for play in plays] == [
        (name, ms(end)) for name, end in told
    ]
    assert {play.ms_played for play in plays} == {200_000}


def test_a_late_item_takes_time_from_an_earlier_backfilled_play() -> None:
    """The end of a play is known, its beginning only an estimate: the other play may still appear."""
    first = backfill_plays([], history([("Long", 1000)]), ms(2000))
    assert found(first) == [Found("Long", 600, 1000, 400, TRACKDONE)]

    second = backfill_plays(first, history([("A", 800), ("Long", 1000)]), ms(2000))

    assert sorted(found(second)) == [
        Found("A", 600, 800, 200, TRACKDONE),
        Found("Long", 600, 1000, 200, UNKNOWN),
    ]


def test_an_item_that_ended_where_another_may_have_begun_keeps_its_end() -> None:
    first = backfill_plays([], history([("B", 1000)]), ms(2000))

    second = backfill_plays(first, history([("A", 803), ("B", 1000)]), ms(2000))

    assert found(second) == [Found("A", 603, 803, 200, TRACKDONE), Found("B", 800, 1000, 197, TRACKDONE)]


def test_a_completed_play_matches_no_second_item() -> None:
    first = backfill_plays([], history([("A", 300)]), ms(2000))

    assert found(backfill_plays(first, history([("A", 340)]), ms(2000))) == [
        Found("A", 300, 340, 40, UNKNOWN)
    ]


def test_a_late_repetition_within_another_backfilled_play_is_a_play() -> None:
    known = backfill_plays([], history([("A", 300)]), ms(2000))

    assert sorted(found(backfill_plays(known, history([("A", 200), ("A", 300)]), ms(2000)))) == [
        Found("A", 0, 200, 200, TRACKDONE),
        Found("A", 100, 300, 100, UNKNOWN),
    ]


def test_two_plays_of_one_item_in_the_same_free_time_get_different_starts() -> None:
    """Plays are identified by their starts, and both could have started at the same time."""
    known = [Known("B", 0, 200, 200, TRACKDONE).as_play()]
    first = backfill_plays(known, history([("A", 224)]), ms(300))
    assert found(first) == [Found("A", 200, 224, 24, UNKNOWN)]

    second = backfill_plays(merged(known, first), history([("A", 212), ("A", 224)]), ms(300))

    assert found(second) == [Found("A", 200, 224, 12, UNKNOWN), Found("A", 200.001, 212, 11.999, UNKNOWN)]


def test_a_repetition_without_free_time_is_not_a_play() -> None:
    """It would have the start of the observed play, and replace it."""
    known = [Known("A", 0, 200, 200, TRACKDONE).as_play(), Known("A", 200, 250, 50, None).as_play()]

    assert backfill_plays(known, history([("A", 200.1), ("A", 200.7)]), ms(250)) == []


def test_an_unobserved_play_gets_no_time_of_another_play() -> None:
    """According to Spotify, both were left at the same moment."""
    known = [Known("A", 0, 10, 10, UNKNOWN).as_play()]
    known = merged(known, backfill_plays(known, history([("B", 30)]), ms(100)))

    assert backfill_plays(known, history([("A", 30)]), ms(100)) == []


def test_an_unobserved_play_takes_back_time_from_the_next_one() -> None:
    """In either order: it continued beyond the estimated beginning of the next one."""
    known = [Known("A", 0, 100, 100, UNKNOWN).as_play(), Known("C", 470, 480, 10, None).as_play()]
    first = backfill_plays(known, history([("Long", 470)]), ms(480))
    assert found(first) == [Found("Long", 100, 470, 370, UNKNOWN)]

    second = backfill_plays(merged(known, first), history([("A", 190), ("Long", 470)]), ms(500))

    assert found(second) == [
        Found("A", 0, 190, 190, TRACKDONE, "live"),
        Found("Long", 100, 470, 280, UNKNOWN),
    ]


def test_a_play_shortened_by_another_is_not_finished() -> None:
    known = backfill_plays([], history([("A", 1000)]), ms(2000))

    (_, cut) = backfill_plays(known, history([("B", 900), ("A", 1000)]), ms(2000))

    assert found([cut]) == [Found("A", 800, 1000, 100, UNKNOWN)]


class TestSameRecording:
    def test_without_a_catalog_the_fields_of_the_play_decide(self) -> None:
        """For example, of a play that was read from Redis."""
        kept = Known("B", 0, 200, 200, TRACKDONE).as_play()
        bare = replace(kept, item=replace(kept.item, catalog={}))

        assert backfill_plays([bare], history([("B'", 200.5)]), ms(300)) == []
        assert len(backfill_plays([bare], history([("C", 200.5)]), ms(300))) == 1


# Whatever the order


class Evening(NamedTuple):
    """An evening of music: what was played (name, end), what is known of it, and what is told of it.

    Of `told` the item at `first` is the one that went out of sight: where it and a repetition of it are late,
    the repetition could as well be the end of a pause. None: all can come in any order.
    """

    played: list[tuple[str, float]]
    known: list[Play]
    told: list[tuple[str, float]]
    first: int | None
    blind: list[tuple[int, int]]
    now: float


TWIN = {"A": "A'", "B": "B'"}


@st.composite
def evenings(draw: st.DrawFn) -> Evening:
    """Generate tracks in a row, with pauses and a period without answers."""
    spans: list[Known] = []
    second, count = 0.0, draw(st.integers(1, 7))
    lost = draw(st.integers(-1, count - 1))
    regained = draw(st.integers(lost + 1, count))
    for _ in range(count):
        name = draw(st.sampled_from(("A", "A", "B", "Long", "Short")))
        length = (ITEMS[name].duration_ms or 0) / 1000
        heard = draw(st.just(length) | st.integers(12, int(length) - 5).map(float))
        end = second + heard + draw(st.sampled_from((0, 0, 13)))
        spans.append(Known(name, second, end, heard, TRACKDONE if heard == length else SKIPPED))
        second = end + draw(st.sampled_from((0, 0, 0, 20, 300)))
    blind = []
    known = [span for number, span in enumerate(spans) if number < lost or number >= regained]
    over, now = spans, second + 100
    if regained < count and draw(st.booleans()):  # the last one is still played
        over, now = spans[:-1], spans[-1].end
        known[-1] = known[-1]._replace(reason=None)
    if lost >= 0:
        name, start, _, heard = spans[lost][:4]
        cut = draw(st.integers(6, int(heard) - 1))
        known.append(Known(name, start, start + cut, cut, UNKNOWN))
        blind = [(ms(start + cut), ms(spans[regained].start if regained < count else now))]
    late = st.sampled_from((0.0, 0.3, 0.9))
    played = [(span.name, span.end) for span in over]
    told = [(draw(st.sampled_from((name, TWIN.get(name, name)))), end + draw(late)) for name, end in played]
    first = lost if lost >= 0 else None
    return Evening(played, [span.as_play() for span in known], told, first, blind, now)


def root(play: Play) -> str:
    return NAMES[play.item.uri].rstrip("'")


@given(evenings(), st.data())
@settings(max_examples=100, deadline=None)
def test_every_play_is_found_once_in_any_order_and_batches(evening: Evening, data: st.DataObject) -> None:
    """Spotify returns items late, out of order, and repeatedly."""
    order = data.draw(st.permutations(range(len(evening.told))))
    if evening.first is not None:
        order.remove(evening.first)
        order.insert(0, evening.first)
    known = evening.known
    cuts = data.draw(st.sets(st.integers(0, len(order)))) | {len(order)}

    for cut in sorted(cuts):
        told = history(evening.told[number] for number in order[:cut])
        known = merged(known, backfill_plays(known, told, ms(evening.now), evening.blind))
        check(known, evening.now)
        assert backfill_plays(known, told, ms(evening.now), evening.blind) == []

    ends = sorted((root(play), play.ended_ms) for play in known if play.end_reason is not None)
    expected = sorted((name, ms(end)) for name, end in evening.played)
    assert [name for name, _ in ends] == [name for name, _ in expected]
    for (_, end), (_, truth) in zip(ends, expected, strict=True):
        assert abs(end - truth) <= 1000


def check(plays: Sequence[Play], now: float) -> None:
    """Check that plays do not overlap, and never exceed the time that passed."""
    for play in plays:
        assert 0 <= play.ms_played <= play.ended_ms - play.started_ms
        assert play.end_reason in (None, TRACKDONE, SKIPPED, STOPPED, UNKNOWN)
        duration = play.item.duration_ms
        if play.source == BACKFILL and duration is not None:
            assert play.ms_played <= duration
            is_done = play.ms_played >= duration - near_end_ms(duration)
            assert play.end_reason == (TRACKDONE if is_done else UNKNOWN)
    stretches = sorted(stretch(play) for play in plays if play.ms_played)
    for (_, end), (begin, _) in pairwise(stretches):
        assert end <= begin
    if stretches:
        assert sum(play.ms_played for play in plays) <= ms(now) - stretches[0][0]
    assert len({identity(play) for play in plays}) == len(plays)


def stretch(play: Play) -> tuple[int, int]:
    """When it was heard, as far as that is known: what was seen, from its beginning; else up to its end."""
    if play.source == BACKFILL:
        return play.ended_ms - play.ms_played, play.ended_ms
    return play.started_ms, play.started_ms + play.ms_played


@st.composite
def wild_logs(draw: st.DrawFn) -> list[Play]:
    """Generate consecutive plays, each played for a part of its time."""
    second, plays = 0, []
    for _ in range(draw(st.integers(0, 6))):
        second += draw(st.sampled_from((0, 1, 7, 100, 1000)))
        length, name = draw(st.sampled_from((1, 4, 30, 200, 700))), draw(st.sampled_from(sorted(ITEMS)))
        heard = draw(st.sampled_from((0, length // 2, length)))
        reason, playing = draw(st.sampled_from((TRACKDONE, SKIPPED, UNKNOWN, UNKNOWN))), draw(st.booleans())
        plays.append(Known(name, second, second + length, heard, reason, playing, progress=heard).as_play())
        second += length
    is_open = draw(st.booleans())
    if plays and is_open:
        plays[-1] = replace(plays[-1], end_reason=None)
    return plays


wild_items = st.lists(st.tuples(st.sampled_from(sorted(ITEMS)), st.integers(1, 5000).map(float)), max_size=8)


@given(wild_logs(), st.lists(wild_items, min_size=1, max_size=4), st.sets(st.integers(0, 4000), max_size=4))
@settings(max_examples=100, deadline=None)
def test_plays_never_exceed_the_time_that_passed(
    known: list[Play], answers: list[list[tuple[str, float]]], edges: set[int]
) -> None:
    blind = [(ms(begin), ms(end)) for begin, end in list(pairwise(sorted(edges)))[::2]]
    live = {identity(play): play for play in known}

    for told in answers:
        known = merged(known, backfill_plays(known, history(told), ms(5000), blind))
        check(known, 5000)

    for play in known:
        before = live.get(identity(play))
        if before is not None and before.end_reason != UNKNOWN:
            assert play == before  # what was seen stays as it was seen


# Bodies


def entry(name: str, end: float, **changes: object) -> dict[str, object]:
    item = ITEMS[name]
    track = {
        "type": "track",
        "id": item.key.partition(":")[2],
        "uri": item.uri,
        "name": item.catalog["name"],
        "artists": [{"name": "Somebody", "id": "7"}],
        "album": {"name": "Album", "id": "8"},
        "duration_ms": item.duration_ms,
        "explicit": True,
        "external_ids": {"isrc": "DEA1"},
    }
    context = {"type": "playlist", "uri": "spotify:playlist:1"}
    return {"track": track, "played_at": to_iso(ms(end)), "context": context, **changes}


class TestBody:
    def test_all_fields_are_kept(self) -> None:
        (heard,) = read_recently_played({"items": [entry("A", 300)]})

        assert heard.ended_ms == ms(300)
        assert heard.item.catalog["isrc"] == "DEA1"
        assert heard.fields == {
            "id": "A",
            "uri": "spotify:track:A",
            "type": "track",
            "name": "A",
            "artists": "Somebody",
            "album": "Album",
            "duration_ms": 200_000,
            "explicit": 1,
            "context_uri": "spotify:playlist:1",
        }

    def test_its_play_survives_its_hash(self) -> None:
        (play,) = backfill_plays([], read_recently_played({"items": [entry("A", 300)]}), ms(400))

        kept = {name: str(value) for name, value in play.to_hash().items()}
        again = Play.from_hash(play.second, kept)
        assert again is not None
        assert kept["source"] == BACKFILL
        assert "progress_ms" not in kept  # nobody saw it
        assert again.to_hash() == play.to_hash()

    def test_oldest_first_and_each_once(self) -> None:
        body = {"items": [entry("B", 500), entry("A", 300), entry("B", 500), entry("B", 300)]}

        assert [(NAMES[heard.item.uri], heard.ended_ms) for heard in read_recently_played(body)] == [
            ("A", ms(300)),
            ("B", ms(300)),
            ("B", ms(500)),
        ]

    @pytest.mark.parametrize("context", [None, {}, {"uri": None}, {"uri": ""}, "spotify:playlist:1", 7])
    def test_the_context_may_be_missing(self, context: object) -> None:
        (heard,) = read_recently_played({"items": [entry("A", 300, context=context)]})

        assert "context_uri" not in heard.fields
        assert len(backfill_plays([], [heard], ms(400))) == 1

    def test_a_context_that_cannot_be_encoded_is_replaced(self) -> None:
        (heard,) = read_recently_played({"items": [entry("A", 300, context={"uri": "\ud83d" * 5000})]})

        assert heard.fields["context_uri"] == "?" * 4096

    def test_the_length_may_be_missing(self) -> None:
        (heard,) = read_recently_played({"items": [entry("Nobody knows", 300)]})

        assert "duration_ms" not in heard.fields
        assert found(backfill_plays([], [heard], ms(400))) == [Found("Nobody knows", 300, 300, 0, UNKNOWN)]

    def test_a_local_file_has_no_id(self) -> None:
        track = {"type": "track", "id": None, "uri": "spotify:local:Me::Demo:200", "name": "Demo"}
        (heard,) = read_recently_played({"items": [entry("A", 300, track=track)]})

        assert heard.item.key.startswith("local:")
        assert "id" not in heard.fields

    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            "items",
            {},
            {"items": None},
            {"items": {"0": entry("A", 300)}},
            {"items": [None, 7, "A", [], {}, [entry("A", 300)]]},
            {"items": [entry("A", 300, track=None)]},
            {"items": [entry("A", 300, track={"type": "ad", "id": "1"})]},
            {"items": [entry("A", 300, track={"type": "track", "id": "two words"})]},
            {"items": [entry("A", 300, played_at=None), entry("A", 300, played_at=300)]},
            {"items": [entry("A", 300, played_at=""), entry("A", 300, played_at="yesterday")]},
            {"items": [entry("A", 300, played_at="1969-12-31T23:59:59.999Z")]},
            {"items": [entry("A", 300, played_at="9999-12-31T23:59:59.999Z")]},
            {"items": [entry("A", 300, played_at="0001-01-01T00:00:00+23:59")]},
        ],
    )
    def test_invalid_bodies_yield_nothing(self, body: object) -> None:
        assert read_recently_played(body) == []

    def test_valid_items_are_kept_beside_invalid_ones(self) -> None:
        assert (
            len(read_recently_played({"items": [None, entry("A", 300), {"track": 7}, entry("B", 500)]})) == 2
        )

    def test_the_number_of_items_is_limited(self) -> None:
        body = {"items": [entry("A", 300 * number) for number in range(1, 151)]}

        assert len(read_recently_played(body)) == MAX_ITEMS == 100


class TestExamples:
    @pytest.mark.parametrize(("name", "count"), [("page", 6), ("exhausted", 0)])
    def test_each_item_is_a_play_once(self, name: str, count: int) -> None:
        body = example(f"recently_played/{name}.json")
        history = read_recently_played(body)
        now_ms = max((heard.ended_ms for heard in history), default=NOON) + 60_000

        plays = backfill_plays([], history, now_ms)

        told = sorted((from_iso(item["played_at"]), item["track"]["uri"]) for item in body["items"])
        assert [(play.ended_ms, play.item.uri) for play in plays] == told
        assert len(plays) == count
        for play, following in pairwise(plays):
            assert play.ended_ms <= following.ended_ms - following.ms_played
        assert backfill_plays(plays, history, now_ms + SAME_END_MS) == []
        assert backfill_plays([], list(reversed(history)), now_ms) != [] or not count

    def test_all_but_the_skipped_one_were_finished(self) -> None:
        """The gaps between the items are about as long as the tracks, as those of ends are."""
        history = read_recently_played(example("recently_played/page.json"))

        plays = backfill_plays([], history, history[-1].ended_ms)

        reasons = [TRACKDONE, TRACKDONE, TRACKDONE, UNKNOWN, TRACKDONE, TRACKDONE]
        assert [play.end_reason for play in plays] == reasons
