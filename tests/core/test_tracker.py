from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.observations import Observation, Observations
from spotify_logger.core.poll_schedule import PollSchedule
from spotify_logger.core.tracker import Tracker
from tests.histories import (
    A_ELSEWHERE,
    EPISODE,
    NOON,
    A,
    B,
    C,
    ExpectedPlay,
    TimedState,
    advertisement,
    after_gap,
    at,
    follow,
    heard,
    item,
    none,
    observe,
    played,
    reread,
    twice,
)

if TYPE_CHECKING:
    from spotify_logger.core.play import Play

DAY = 86_400

HISTORIES: dict[str, tuple[list[TimedState], list[ExpectedPlay]]] = {
    "played to its end": (
        [*played(A, 0, (1, 31, 61, 91, 121, 151, 181)), *played(B, 200, (201, 231))],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 31, None)],
    ),
    "skipped": (
        [*played(A, 0, (1,)), *played(B, 5, (31,))],
        [ExpectedPlay("A", 0, 5, 5, "skipped"), ExpectedPlay("B", 5, None, 26, None)],
    ),
    "paused and resumed between two answers": (
        [*played(A, 0, (1, 31)), at(61, A, 41), *played(A, 20, (91, 121, 211)), *played(B, 220, (221,))],
        [ExpectedPlay("A", 0, 220, 200, "trackdone"), ExpectedPlay("B", 220, None, 1, None)],
    ),
    "paused across answers": (
        [
            *played(A, 0, (1, 31)),
            at(41, A, 35, playing=False),
            at(101, A, 35, playing=False),
            *played(A, 105, (141, 171), 35),
            *played(B, 270, (271,)),
        ],
        [ExpectedPlay("A", 0, 270, 200, "trackdone"), ExpectedPlay("B", 270, None, 1, None)],
    ),
    "seek forward": (
        [*played(A, 0, (1, 31)), *played(A, 0, (61, 91), 80), *played(B, 120, (121,))],
        [ExpectedPlay("A", 0, 120, 120, "trackdone"), ExpectedPlay("B", 120, None, 1, None)],
    ),
    "seek back": (
        [*played(A, 0, (1, 31, 61, 91)), *played(A, 0, (121, 151), -70), *played(B, 270, (271,))],
        [ExpectedPlay("A", 0, 270, 270, "trackdone"), ExpectedPlay("B", 270, None, 1, None)],
    ),
    "seek a little back, which only Spotify's timestamp distinguishes from a pause": (
        [*played(A, 0, (1, 31)), at(61, A, 41, changed=52), *played(A, 20, (91,)), *played(B, 220, (221,))],
        [ExpectedPlay("A", 0, 220, 200, "trackdone"), ExpectedPlay("B", 220, None, 1, None)],
    ),
    "seek back, at a moment that the timestamp gives": (
        [*played(A, 0, (1, 31)), at(61, A, 41, changed=50), *played(A, 20, (91,)), *played(B, 220, (221,))],
        [ExpectedPlay("A", 0, 220, 220, "trackdone"), ExpectedPlay("B", 220, None, 1, None)],
    ),
    "a podcast's button for fifteen seconds back": (
        [*played(EPISODE, 0, (1, 31)), *played(EPISODE, 15, (61, 91))],
        [ExpectedPlay("E", 0, None, 91, None)],
    ),
    "started again by the button for the previous track": (
        [*played(A, 0, (1, 31, 61, 91)), *played(A, 100, (101, 131, 161, 299)), *played(B, 300, (301,))],
        [
            ExpectedPlay("A", 0, 100, 100, "skipped"),
            ExpectedPlay("A", 100, 300, 200, "trackdone"),
            ExpectedPlay("B", 300, None, 1, None),
        ],
    ),
    "started again three times within 75 s": (
        [
            *played(A, 0, (1, 11, 21)),
            *played(A, 23, (31, 41)),
            *played(A, 48, (51, 71)),
            *played(A, 73, (76,)),
        ],
        [
            ExpectedPlay("A", 0, 23, 23, "skipped"),
            ExpectedPlay("A", 23, 48, 25, "skipped"),
            ExpectedPlay("A", 48, 73, 25, "skipped"),
            ExpectedPlay("A", 73, None, 3, None),
        ],
    ),
    "started again, and at a later position by the next answer: the timestamp says so": (
        [at(1, A, 1, changed=0), at(21, A, 21, changed=0), at(51, A, 28, changed=23)],
        [ExpectedPlay("A", 0, 23, 23, "skipped"), ExpectedPlay("A", 23, None, 28, None)],
    ),
    "started again, then paused": (
        [*played(A, 0, (1, 31, 61)), at(91, A, 10, playing=False, changed=80), *played(A, 110, (121,), 10)],
        [ExpectedPlay("A", 0, 70, 70, "skipped"), ExpectedPlay("A", 70, None, 21, None)],
    ),
    "back at the beginning, and paused": (
        [*played(A, 0, (1, 31, 61)), at(91, A, 0, playing=False, changed=81), *played(A, 300, (310,))],
        [ExpectedPlay("A", 0, 81, 81, "skipped"), ExpectedPlay("A", 300, None, 10, None)],
    ),
    "a seek to near the beginning, at a moment that the timestamp gives": (
        [*(at(second, A, second, changed=0) for second in (1, 31, 61)), at(91, A, 20, changed=80)],
        [ExpectedPlay("A", 0, None, 91, None)],
    ),
    "started again, while the timestamp is frozen": (
        [
            at(1, A, 1),
            *(at(second, A, second, changed=-7200) for second in (31, 61)),
            at(91, A, 20, changed=-7200),
        ],
        [ExpectedPlay("A", 0, 71, 71, "skipped"), ExpectedPlay("A", 71, None, 20, None)],
    ),
    "a seek while paused adds nothing": (
        [*played(A, 0, (1, 31)), at(41, A, 41, playing=False), at(51, A, 150, playing=False), at(61, A, 150)],
        [ExpectedPlay("A", 0, None, 41, None)],
    ),
    "on repeat": (
        [*played(A, 0, (1, 31, 181)), *played(A, 200, (201, 231, 381)), *played(A, 400, (401, 431))],
        [
            ExpectedPlay("A", 0, 200, 200, "trackdone"),
            ExpectedPlay("A", 200, 400, 200, "trackdone"),
            ExpectedPlay("A", 400, None, 31, None),
        ],
    ),
    "another device, after answers of 204": (
        [*played(A, 0, (1, 31)), none(41), none(51), *played(A, 8, (61, 91, 121)), *played(B, 208, (209,))],
        [ExpectedPlay("A", 0, 208, 200, "trackdone"), ExpectedPlay("B", 208, None, 1, None)],
    ),
    "one answer of 204 while music plays": (
        [*played(A, 0, (1, 31)), none(61), *played(A, 0, (71, 101)), *played(B, 200, (201,))],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 1, None)],
    ),
    "204 for good, from the middle of a track on": (
        [*played(A, 0, (1, 31, 61)), *(none(second) for second in range(71, 2000, 60))],
        [ExpectedPlay("A", 0, 61, 61, "stopped")],
    ),
    "the context is finished, and the player silent": (
        [
            *played(A, 0, (1, 181)),
            at(201, A, 0, playing=False),
            at(261, A, 0, playing=False),
            *played(A, 500, (520,)),
        ],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("A", 500, None, 20, None)],
    ),
    "paused for good": (
        [*played(A, 0, (1, 31)), *(at(second, A, 40, playing=False) for second in range(41, 2000, 60))],
        [ExpectedPlay("A", 0, 40, 40, "stopped")],
    ),
    "resumed within half an hour: the same play": (
        [
            *played(A, 0, (1, 31)),
            *(at(second, A, 40, playing=False) for second in range(41, 1800, 60)),
            *played(A, 1830, (1845,), 40),
        ],
        [ExpectedPlay("A", 0, None, 55, None)],
    ),
    "a private session in the middle is not counted": (
        [
            *played(A, 0, (1, 31)),
            at(61, A, 61, private=True),
            at(91, A, 91, private=True),
            *played(A, 0, (121, 151)),
        ],
        [ExpectedPlay("A", 0, None, 91, None)],
    ),
    "what begins in private is not a play": (
        [
            *played(A, 0, (1, 31)),
            at(61, B, 10, private=True),
            at(301, C, 40, private=True),
            *played(C, 261, (311,)),
        ],
        [ExpectedPlay("A", 0, 46, 46, "unknown"), ExpectedPlay("C", 306, None, 5, None)],
    ),
    "an advertisement between tracks": (
        [*played(A, 0, (1, 181)), advertisement(201, 1), advertisement(211, 11), *played(B, 230, (231,))],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 230, None, 1, None)],
    ),
    "a podcast resumed the next day": (
        [
            *played(EPISODE, 0, (1, 31, 601)),
            at(610, EPISODE, 605, playing=False),
            *(none(second) for second in range(660, 3000, 60)),
            none(DAY),
            *played(EPISODE, DAY + 20, (DAY + 50, DAY + 80), 605),
        ],
        [ExpectedPlay("E", 0, 605, 605, "stopped"), ExpectedPlay("E", DAY + 20, None, 60, None)],
    ),
    "automix ends a track 15 s early": (
        [*played(A, 0, (1, 31, 181)), *played(B, 185, (201, 231))],
        [ExpectedPlay("A", 0, 185, 185, "trackdone"), ExpectedPlay("B", 185, None, 46, None)],
    ),
    "stale answers for an hour add nothing": (
        [
            *played(A, 0, (1, 31)),
            *(at(second, A, 40, changed=0) for second in range(41, 3700, 60)),
            *played(B, 3720, (3721,)),
        ],
        [ExpectedPlay("A", 0, 41, 40, "stopped"), ExpectedPlay("B", 3720, None, 1, None)],
    ),
    "a stale answer between two current ones": (
        [*played(A, 0, (1, 31)), at(51, A, 31), *played(A, 0, (61, 91))],
        [ExpectedPlay("A", 0, None, 91, None)],
    ),
    "a stale answer about the previous track": (
        [
            *(at(second, A, second, changed=0) for second in (1, 31)),
            at(51, B, 11, changed=40),
            at(56, A, 31, changed=0),
            at(61, B, 21, changed=40),
        ],
        [ExpectedPlay("A", 0, 40, 40, "skipped"), ExpectedPlay("B", 40, None, 21, None)],
    ),
    "progress at the end of the track adds nothing more": (
        [*played(A, 0, (1, 181)), at(216, A, 200), at(221, A, 200), *played(B, 230, (231,))],
        [ExpectedPlay("A", 0, 216, 200, "trackdone"), ExpectedPlay("B", 230, None, 1, None)],
    ),
    "the clock is set a day ahead": (
        [*played(A, 0, (1, 31)), at(61, A, 61, step=DAY), at(201, B, 1, step=DAY), at(221, B, 21, step=DAY)],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", DAY + 200, None, 21, None)],
    ),
    "the clock is set a day back": (
        [
            *played(A, 0, (1, 31)),
            at(61, A, 61, step=-DAY),
            at(201, B, 1, step=-DAY),
            at(221, B, 21, step=-DAY),
        ],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 20, None)],
    ),
    "the first answer is stale": ([at(second, A, 100, changed=-7200) for second in range(0, 3600, 30)], []),
    "the first answer is paused": (
        [at(0, A, 100, playing=False), at(60, A, 100, playing=False), at(90, A, 110)],
        [ExpectedPlay("A", 80, None, 10, None)],
    ),
    "the first play after idle time is observed late": (
        [*(none(second) for second in range(0, 600, 60)), at(600, A, 28), *played(A, 572, (605,))],
        [ExpectedPlay("A", 572, None, 33, None)],
    ),
    "a track that was only chosen is not a play": (
        [*played(A, 0, (1, 31)), at(61, B, 0, playing=False, changed=40), at(91, B, 0, playing=False)],
        [ExpectedPlay("A", 0, 40, 40, "skipped")],
    ),
    "paused, moved and resumed, at a moment that the timestamp gives": (
        [*played(A, 0, (1, 31)), at(41, A, 41, playing=False), at(101, A, 158, changed=93)],
        [ExpectedPlay("A", 0, None, 49, None)],
    ),
    "a private session of more than half an hour": (
        [*played(A, 0, (1, 31)), *(at(second, A, 61, private=True) for second in range(61, 2000, 60))],
        [ExpectedPlay("A", 0, 46, 46, "unknown")],
    ),
    "the first answer only looks stale": (
        [at(0, A, 100, changed=-7200), at(5, A, 105, changed=-7200)],
        [ExpectedPlay("A", 0, None, 5, None)],
    ),
    "a new track is paused at once": (
        [*played(A, 0, (1, 181)), at(221, B, 8, playing=False), at(261, B, 8, playing=False)],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 8, None)],
    ),
    "progress missing at first": (
        [*played(A, 0, (1, 181)), at(201, B, None), *played(B, 200, (231, 261))],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 61, None)],
    ),
    "a new track is paused at a moment that the timestamp gives": (
        [*played(A, 0, (1, 181)), at(221, B, 8, playing=False, changed=212)],
        [ExpectedPlay("A", 0, 204, 200, "trackdone"), ExpectedPlay("B", 204, None, 8, None)],
    ),
    "after silence, a new track is paused already, and the timestamp is of an hour that was observed": (
        [
            *played(A, 0, (1, 181)),
            *map(none, (201, 401, 901, 951)),
            at(1003, B, 32, playing=False, changed=600),
            *played(B, 1100, (1101,), 32),
        ],
        [ExpectedPlay("A", 0, 181, 181, "unknown"), ExpectedPlay("B", 961, None, 33, None)],
    ),
    "an answer that is late: nobody saw the end": (
        [*played(A, 0, (1, 181)), none(215), *played(B, 240, (243,))],
        [ExpectedPlay("A", 0, 181, 181, "unknown"), ExpectedPlay("B", 240, None, 3, None)],
    ),
    "silence from about its end on: it may have been left before": (
        [*played(A, 0, (1, 181)), *map(none, (201, 211)), *played(B, 600, (603,))],
        [ExpectedPlay("A", 0, 181, 181, "unknown"), ExpectedPlay("B", 600, None, 3, None)],
    ),
    "silence from about its end on, for good": (
        [*played(A, 0, (1, 181)), *map(none, range(201, 2100, 60))],
        [ExpectedPlay("A", 0, 181, 181, "unknown")],
    ),
    "silence from about its end on, and only the last seconds were not seen": (
        [*played(A, 0, (1, 191)), *map(none, (201, 211)), *played(B, 600, (603,))],
        [ExpectedPlay("A", 0, 191, 191, "unknown"), ExpectedPlay("B", 600, None, 3, None)],
    ),
    "paused, and then another track": (
        [
            *played(A, 0, (1, 31)),
            *(at(second, A, 40, playing=False) for second in (41, 61)),
            *played(B, 80, (91,)),
        ],
        [ExpectedPlay("A", 0, 61, 40, "skipped"), ExpectedPlay("B", 80, None, 11, None)],
    ),
    "paused at twice the speed, at a moment that the timestamp gives": (
        [
            *(at(second, EPISODE, 2 * second, changed=0) for second in (1, 11, 21, 31)),
            at(61, EPISODE, 80, playing=False, changed=40),
        ],
        [ExpectedPlay("E", 0, None, 40, None)],
    ),
    "it ends before a private session begins": (
        [*played(A, 0, (1, 191)), at(231, B, 5, private=True)],
        [ExpectedPlay("A", 0, 200, 200, "unknown")],
    ),
    "an audiobook is resumed before the first answer ever": (
        [at(second, EPISODE, 1800 + second, changed=0) for second in (20, 50)],
        [ExpectedPlay("E", 0, None, 50, None)],
    ),
    "an audiobook is resumed in a gap, and only the first answer after it is known": (
        [*played(A, 0, (1, 31)), *after_gap([at(9000, EPISODE, 1800)]), at(9030, EPISODE, 1830)],
        [ExpectedPlay("A", 0, 31, 31, "unknown"), ExpectedPlay("E", 9000, None, 30, None)],
    ),
    "an audiobook begins in a gap, and its position is behind what its timestamp foresees": (
        [*played(A, 0, (1, 31)), *after_gap([at(400, EPISODE, 299, changed=100)]), at(430, EPISODE, 329)],
        [ExpectedPlay("A", 0, 31, 31, "unknown"), ExpectedPlay("E", 100, None, 330, None)],
    ),
    "an audiobook is resumed in a gap, where it was left": (
        [
            *played(EPISODE, 0, (1, 601)),
            *played(A, 602, (603,)),
            *after_gap(played(EPISODE, 8980, (9000,), 601)),
        ],
        [
            ExpectedPlay("E", 0, 602, 602, "skipped"),
            ExpectedPlay("A", 602, 603, 1, "unknown"),
            ExpectedPlay("E", 8980, None, 20, None),
        ],
    ),
    "without positions, time is what passes while it is shown playing": (
        [*(at(second, A, None, changed=0) for second in range(0, 200, 20)), at(205, B, 5, changed=200)],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 5, None)],
    ),
    "without positions for longer than the track": (
        [at(second, A, None, changed=0) for second in range(0, 2400, 30)],
        [ExpectedPlay("A", 0, 210, 200, "trackdone")],
    ),
    "without positions for a while": (
        [*played(A, 0, (1, 31)), *(at(second, A, None) for second in (61, 91)), *played(A, 0, (121,))],
        [ExpectedPlay("A", 0, None, 121, None)],
    ),
    "under another id of the same recording from now on": (
        [
            *played(A, 0, (1, 31)),
            *played(A_ELSEWHERE, 0, (61, 91)),
            none(101),
            *played(A_ELSEWHERE, 15, (111, 141)),
        ],
        [ExpectedPlay("A", 0, None, 126, None)],
    ),
    "another id of the same recording, from its beginning": (
        [*played(A, 0, (1, 31)), *played(A_ELSEWHERE, 40, (61,))],
        [ExpectedPlay("A", 0, 40, 40, "skipped"), ExpectedPlay("A", 40, None, 21, None)],
    ),
    "204 for minutes, and an episode was started again": (
        [*played(EPISODE, 0, (1, 91)), *map(none, (101, 161, 221, 281)), *played(EPISODE, 300, (301,))],
        [ExpectedPlay("E", 0, 91, 91, "unknown"), ExpectedPlay("E", 300, None, 1, None)],
    ),
    "a gap, then another item in private, begun at an unknown time": (
        [*played(A, 0, (1, 31)), *after_gap([at(900, B, 10, private=True)])],
        [ExpectedPlay("A", 0, 31, 31, "unknown")],
    ),
    "a gap, and the track went on": (
        [*played(A, 0, (1, 31)), *after_gap(played(A, 0, (151, 181)))],
        [ExpectedPlay("A", 0, None, 181, None)],
    ),
    "a gap, and the next one followed directly": (
        [*played(A, 0, (1, 31)), *after_gap(played(B, 200, (231, 261)))],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, None, 61, None)],
    ),
    "a gap, and another track was started after some time": (
        [*played(A, 0, (1, 31)), *after_gap(played(B, 150, (231,)))],
        [ExpectedPlay("A", 0, 31, 31, "unknown"), ExpectedPlay("B", 150, None, 81, None)],
    ),
    "a gap of twenty minutes: the end is not known": (
        [*played(A, 0, (1, 31)), *after_gap(played(C, 1180, (1231,)))],
        [ExpectedPlay("A", 0, 31, 31, "unknown"), ExpectedPlay("C", 1180, None, 51, None)],
    ),
    "a gap, and it was paused meanwhile": (
        [*played(A, 0, (1, 31)), *after_gap([at(1000, A, 90, playing=False), at(1010, A, 90)])],
        [ExpectedPlay("A", 0, None, 90, None)],
    ),
    "a gap of an hour, and it was resumed where it was paused": (
        [*played(A, 0, (1, 31)), *after_gap(played(A, 3570, (3600, 3630), 70))],
        [ExpectedPlay("A", 0, 31, 31, "unknown"), ExpectedPlay("A", 3531, None, 99, None)],
    ),
    "a gap, and it was started again": (
        [*played(A, 0, (1, 91)), *after_gap(played(A, 600, (640, 670)))],
        [ExpectedPlay("A", 0, 91, 91, "unknown"), ExpectedPlay("A", 600, None, 70, None)],
    ),
    "a gap while paused, and it is still paused": (
        [
            *played(A, 0, (1, 31)),
            at(41, A, 35, playing=False),
            *after_gap([at(1000, A, 35, playing=False)]),
            *played(A, 1010, (1040,), 35),
        ],
        [ExpectedPlay("A", 0, None, 65, None)],
    ),
    "hours later, the next one is paused at its end, and then nothing is shown": (
        [at(0, A, 0), at(5000, B, 200, playing=False), none(5010)],
        [ExpectedPlay("A", 0, 200, 200, "trackdone"), ExpectedPlay("B", 200, 400, 200, "trackdone")],
    ),
    "a gap, and the first answer is stale": (
        [*played(A, 0, (1, 31)), *after_gap([at(900, A, 31)]), *played(B, 950, (961,))],
        [ExpectedPlay("A", 0, 31, 31, "unknown"), ExpectedPlay("B", 950, None, 11, None)],
    ),
    "plays within one second have different keys": (
        [*played(A, 0.1, (0.2,)), *played(B, 0.3, (0.4,)), *played(C, 0.5, (0.6,))],
        [
            ExpectedPlay("A", 0.1, 0.3, 0.2, "skipped"),
            ExpectedPlay("B", 0.3, 0.5, 0.2, "skipped"),
            ExpectedPlay("C", 0.5, None, 0.1, None),
        ],
    ),
}


@pytest.mark.parametrize(("history", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_a_history_yields_the_expected_plays(history: list[TimedState], expected: list[ExpectedPlay]) -> None:
    assert heard(follow(history)) == expected
    assert heard(follow(twice(history))) == expected, "with every answer delivered twice"


@pytest.mark.parametrize("name", [name for name in HISTORIES if "clock" not in name])
def test_a_restart_after_any_answer_changes_nothing(name: str) -> None:
    history, _ = HISTORIES[name]
    unbroken = follow(history)

    for cut in range(1, len(history), 1 + len(history) // 20):
        first = Tracker()
        plays = follow(history[:cut], first)
        newest = max(plays.values(), key=lambda play: play.second, default=None)
        second = Tracker(newest and reread(newest), first.serialize())
        plays |= follow(history[cut:], second)

        assert [p.to_hash() for p in plays.values()] == [p.to_hash() for p in unbroken.values()], cut


SAVED_JSON = (
    '{"play":[1790000040,11000],'
    '"last":{"uri":"spotify:track:B","progress_ms":11000,"playing":true,"changed_ms":null,'
    '"at":1790000051000,"doubted":null},'
    '"previous":{"uri":"spotify:track:A","progress_ms":31000,"playing":true,"changed_ms":null,'
    '"at":1790000031000,"doubted":null},'
    '"unseen":1790000051000,"answered":1790000051000,"hidden":null,"blind":true,'
    '"left":{"spotify:track:A":31000},"pace":null}'
)


def test_the_saved_json_is_read_and_written_also_that_of_0_5_0() -> None:
    history = [*played(A, 0, (1, 31)), *played(B, 40, (51,))]
    tracker = Tracker()
    newest = list(follow(history, tracker).values())[-1]
    tracker.note_gap()

    assert json.loads(tracker.serialize()) == json.loads(SAVED_JSON.replace(',"pace":null', ""))
    for saved in (SAVED_JSON, SAVED_JSON.replace(',"pace":null', "")):
        assert heard(follow(played(A, 900, (910,)), Tracker(reread(newest), saved))) == [
            ExpectedPlay("track:B", 40, 51, 11, "unknown"),
            ExpectedPlay("A", 900, None, 10, None),
        ]


def test_a_wrong_moment_in_the_saved_json_ends_no_play_centuries_later() -> None:
    tracker = Tracker()
    newest = list(follow(played(A, 0, (1, 31)), tracker).values())[-1]
    saved = json.loads(tracker.serialize()) | {"answered": 10**13}
    restored = Tracker(reread(newest), json.dumps(saved))

    assert heard(follow([at(36, A, 36)], restored)) == [ExpectedPlay("track:A", 0, None, 36, None)]


def test_a_rate_in_the_saved_json_that_no_player_has_counts_as_damage() -> None:
    tracker = Tracker()
    (newest,) = follow(played(EPISODE, 0, (60, 90)), tracker).values()
    saved = json.loads(tracker.serialize())
    saved["pace"]["rate"] = 1e308

    restored = Tracker(reread(newest), json.dumps(saved))

    follow([at(120, EPISODE, 120)], restored)
    assert restored.seen.remaining_ms == 3_480_000


@pytest.mark.parametrize("step", [-3, -60, -3600])
def test_a_clock_that_was_set_back_takes_nothing_from_an_open_play_without_saved_json(step: float) -> None:
    (newest,) = follow(played(A, 0, (60,))).values()

    (play,) = follow([at(65, A, 65, step=step)], Tracker(reread(newest))).values()

    assert 60_000 <= play.ms_played <= 65_000


def spoken(speed: float, report: float, timestamp: str) -> tuple[list[Play], int]:
    """Follow an episode at a speed, and the track after it; return the plays and the requests of an hour.

    Its position runs at that speed if `report` is 0; else it runs in real time from one report, every
    `report` seconds, to the next.
    """
    length, now, count = 7200, 0.0, 0
    tracker, schedule, episode = Tracker(), PollSchedule(5, 30), item("E", length * speed, "episode")
    plays: dict[int, Play] = {}
    while now < length + 60:
        since = now % report if report else 0
        position = min((now - since) * speed + since, length * speed)
        changed = {"of the start": 0, "of the report": now - since}.get(timestamp)
        state = at(now, episode, position, changed=changed) if now < length else at(now, A, now - length)
        plays |= {play.second: play for play in observe(tracker, state)}
        count += 600 < now < length
        now += schedule.wait_after(tracker.seen, now)
    return list(plays.values()), round(count * 3600 / (length - 600))


@pytest.mark.parametrize("timestamp", ["of the start", "of the report", "missing"])
@pytest.mark.parametrize("report", [0, 45])
@pytest.mark.parametrize("speed", [0.5, 0.8, 1.2, 2.0, 3.5])
def test_an_episode_is_followed_at_any_speed(speed: float, report: float, timestamp: str) -> None:
    (episode, _), requests = spoken(speed, report, timestamp)

    assert requests <= 195
    assert episode.end_reason == "trackdone"
    assert episode.ms_played == pytest.approx(7_200_000, rel=0.02)


def test_a_crash_before_the_json_was_written_counts_nothing_twice() -> None:
    tracker = Tracker()
    follow([*played(A, 0, (1, 31)), at(41, A, 35, playing=False), *played(A, 105, (141,), 35)], tracker)
    memory = tracker.serialize()
    (play,) = observe(tracker, at(171, A, 101))

    restored = Tracker(reread(play), memory)

    assert heard(follow([at(201, A, 131)], restored)) == [ExpectedPlay("track:A", 0, None, 131, None)]


def test_the_last_answer_about_a_play_is_in_its_hash() -> None:
    (play,) = follow([at(61, A, 61, changed=0)]).values()
    expected = Observation(A.uri, NOON + 61_000, 61_000, playing=True, changed_ms=NOON)
    assert Observations().recall(play).last == expected

    invalid = replace(play, fields={"playing": 2, "progress_ms": "", "timestamp": "-1"})
    assert Observations().recall(invalid).last == Observation(A.uri, NOON + 61_000)
