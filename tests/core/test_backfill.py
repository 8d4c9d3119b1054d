"""Known plays, items of `recently-played`, and the expected plays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.core.backfill import (
    MAX_ITEMS,
    RecentPlay,
    backfill_plays,
    read_recently_played,
)
from spotify_logger.core.matching import identity
from spotify_logger.core.play import BACKFILL, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play, near_end_ms
from spotify_logger.core.player_state import Item, playback_fields
from spotify_logger.core.times import to_iso
from tests.histories import NOON

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MINUTE, HOUR = 60, 3600


def recording(name: str, seconds: float | None = 200, *, track_id: str = "", isrc: str = "") -> Item:
    uri = f"spotify:track:{track_id or name}"
    catalog: dict[str, str | int] = {"uri": uri, "type": "track", "name": name, "artists": "Somebody"}
    duration_ms = None if seconds is None else round(seconds * 1000)
    return Item(uri.removeprefix("spotify:"), uri, duration_ms, catalog | ({"isrc": isrc} if isrc else {}))


ITEMS = {
    "A": recording("A", isrc="DEA1"),
    "A'": recording("A (Deluxe)", 201, track_id="A2", isrc="DEA1"),
    "B": recording("B"),
    "B'": recording("B", 202, track_id="B2"),
    "C": recording("C"),
    "Long": recording("Long", 400),
    "Short": recording("Short", 30),
    "Blink": recording("Blink", 3),
    "Unknown": recording("Unknown", None),
}
NAMES = {item.uri: name for name, item in ITEMS.items()}

Reported = tuple[str, float]
"""An item of `recently-played`: its name, and its end in seconds after noon."""


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
        fields = playback_fields(item, {}) | {
            "playing": int(self.playing),
            "progress_ms": round(progress * 1000),
        }
        ms_played = round(self.heard * 1000)
        return Play(
            started_ms // 1000, item, started_ms, ms(self.end), ms_played, self.reason, "live", fields
        )


class Found(NamedTuple):
    """An expected play, new or updated, in seconds after noon."""

    name: str
    start: float
    end: float
    heard: float
    reason: str | None
    source: str = BACKFILL


@dataclass(frozen=True)
class Case:
    """Known plays, reported items, the expected plays, the time, and the periods without answers."""

    known: Sequence[Known]
    items: Sequence[Reported]
    found: Sequence[Found]
    now: float = 10 * HOUR
    unobserved: Sequence[tuple[float, float]] = ()

    def backfill(self, known: Sequence[Play], later: float = 0) -> list[Play]:
        unobserved = [(ms(begin), ms(end)) for begin, end in self.unobserved]
        return backfill_plays(known, history(self.items), ms(self.now + later), unobserved)


def ms(second: float) -> int:
    return NOON + round(second * 1000)


def history(items: Iterable[Reported]) -> list[RecentPlay]:
    in_order = sorted(items, key=lambda item: item[1])
    return [RecentPlay(ITEMS[name], ms(end), playback_fields(ITEMS[name], {})) for name, end in in_order]


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
    return list({identity(play): play for play in (*known, *changed)}.values())


B_OPEN = Known("B", 1000, 1010, 10, None)
"""The open play at the first answer after a thousand seconds."""
LOST = Known("A", 0, 100, 100, UNKNOWN)
"""Its end was not observed."""
PAUSED = Known("A", 0, 100, 100, STOPPED, playing=False)

CASES = {
    "without known plays, the item is a whole play": Case(
        [], [("A", 300)], [Found("A", 100, 300, 200, TRACKDONE)]
    ),
    "three items of an outage fill the time from its end on": Case(
        [Known("Long", 0, 100, 100, SKIPPED), B_OPEN],
        [("Long", 100.5), ("A", 400), ("B", 640), ("C", 1000.4)],
        [
            Found("A", 200, 400, 200, TRACKDONE),
            Found("B", 440, 640, 200, TRACKDONE),
            Found("C", 800, 1000, 200, TRACKDONE),
        ],
        now=1010,
    ),
    "the next play starts before the item's end": Case(
        [Known("A", 0, 200, 200, TRACKDONE), Known("C", 300, 320, 20, None)],
        [("B", 300.8)],
        [Found("B", 200, 300, 100, UNKNOWN)],
        now=320,
    ),
    "two items ended as the next play started: one gets the time": Case(
        [Known("A", 0, 200, 200, TRACKDONE), Known("C", 300, 320, 20, None)],
        [("A", 200), ("B", 300.3), ("Long", 301)],
        [Found("B", 200, 300, 100, UNKNOWN), Found("Long", 300, 300, 0, UNKNOWN)],
        now=320,
    ),
    "the answers stopped as soon as the next play had started: no time is left": Case(
        [Known("C", 300, 302, 2, None)],
        [("B", 303)],
        [Found("B", 300, 300, 0, UNKNOWN)],
        now=700,
        unobserved=[(302, 699)],
    ),
    "unobserved, played to its end": Case(
        [LOST, B_OPEN], [("A", 200.4)], [Found("A", 0, 200.4, 200, TRACKDONE, "live")], now=1010
    ),
    "unobserved after a seek: the position says how much was left": Case(
        [Known("A", 0, 100, 100, UNKNOWN, progress=180), B_OPEN],
        [("A", 125)],
        [Found("A", 0, 125, 120, TRACKDONE, "live")],
        now=1010,
    ),
    "unobserved, and Spotify's clock is ahead": Case(
        [LOST], [("A", 125)], [Found("A", 0, 120, 120, SKIPPED, "live")], now=120
    ),
    "unobserved after a restart": Case(
        [Known("A", 0, 300, 300, UNKNOWN, progress=180), B_OPEN],
        [("A", 120), ("A", 600)],
        [Found("A", 0, 600, 320, TRACKDONE, "live")],
        now=1010,
    ),
    "on repeat, unobserved from the middle of the first play": Case(
        [LOST, B_OPEN],
        [("A", 200.2), ("A", 400.1)],
        [Found("A", 0, 200.2, 200, TRACKDONE, "live"), Found("A", 200.2, 400.1, 199.9, TRACKDONE)],
        now=1010,
    ),
    "a play of a few seconds is reported with the time of its start": Case(
        [Known("B", 0, 80, 80, TRACKDONE), Known("A", 100, 108, 8, SKIPPED)], [("A", 100.3)], []
    ),
    "paused, reported hours later, observed standing still": Case([PAUSED], [("A", 5 * HOUR)], []),
    "paused just before its end: the rest may have been played between two answers": Case(
        [Known("A", 0, 150, 150, STOPPED, playing=False)],
        [("A", 5 * HOUR)],
        [Found("A", 5 * HOUR - 50, 5 * HOUR, 50, UNKNOWN)],
    ),
    "paused, reported hours later, in an outage": Case(
        [PAUSED],
        [("A", 5 * HOUR)],
        [Found("A", 5 * HOUR - 100, 5 * HOUR, 100, UNKNOWN)],
        unobserved=[(-9 * HOUR, -8 * HOUR), (HOUR, 6 * HOUR)],
    ),
    "the open play is reported in an outage": Case(
        [Known("A", 0, 100, 100, None)], [("A", HOUR)], [], now=2 * HOUR, unobserved=[(100, 2 * HOUR)]
    ),
    "a paused play leaves time for another": Case(
        [Known("A", 0, 1000, 100, SKIPPED)], [("B", 600)], [Found("B", 400, 600, 200, TRACKDONE)]
    ),
    "an observed play leaves no time for another": Case(
        [Known("Long", 0, 400, 400, TRACKDONE)], [("B", 300)], [Found("B", 300, 300, 0, UNKNOWN)]
    ),
    "the first play after silence was not seen: it cannot have begun before the last answer": Case(
        [Known("C", 45.7, 52.4, 6.7, None)],
        [("A", 45.7)],
        [Found("A", 0, 45.7, 45.7, UNKNOWN)],
        now=60,
        unobserved=[(0, 52.4)],
    ),
    "what was taken for the end of a skipped play was another one": Case(
        [Known("A", 0, 140, 140, SKIPPED, progress=111), Known("C", 140, 160, 20, None)],
        [("A", 128.3), ("B", 140.2)],
        [Found("A", 0, 128.3, 128.3, SKIPPED, "live"), Found("B", 128.3, 140, 11.7, UNKNOWN)],
        now=160,
    ),
    "an unknown duration: no time played": Case(
        [Known("A", 0, 200, 200, TRACKDONE)], [("Unknown", 500)], [Found("Unknown", 500, 500, 0, UNKNOWN)]
    ),
    "an item that ends in the future is ignored": Case(
        [Known("A", 0, 100, 100, None)], [("B", 100 + HOUR), ("A", 100 + HOUR)], [], now=100
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_missing_plays_are_found_once(case: Case) -> None:
    known = [play.as_play() for play in case.known]

    plays = case.backfill(known)

    assert found(plays) == list(case.found)
    assert all(play.second == play.started_ms // 1000 for play in plays)
    for later in (0, 20 * MINUTE, 50 * MINUTE):
        assert case.backfill(merged(known, plays), later=later) == []


@pytest.mark.parametrize(
    ("known", "first", "second", "expected"),
    [
        pytest.param(
            [],
            [("Long", 1000)],
            [("A", 800), ("Long", 1000)],
            [Found("A", 600, 800, 200, TRACKDONE), Found("Long", 600, 1000, 200, UNKNOWN)],
            id="a late item takes time from an earlier backfilled play, whose start was an estimate",
        ),
        pytest.param(
            [],
            [("A", 300)],
            [("A", 340)],
            [Found("A", 300, 340, 40, UNKNOWN)],
            id="a backfilled play matches no second item",
        ),
        pytest.param(
            [],
            [("A", 300)],
            [("A", 200), ("A", 300)],
            [Found("A", 0, 200, 200, TRACKDONE), Found("A", 100, 300, 100, UNKNOWN)],
            id="a late repetition within another backfilled play is a play",
        ),
        pytest.param(
            [Known("B", 0, 200, 200, TRACKDONE)],
            [("A", 224)],
            [("A", 212), ("A", 224)],
            [Found("A", 200, 224, 12, UNKNOWN), Found("A", 200.001, 212, 11.999, UNKNOWN)],
            id="two plays of one item in the same free time get different starts, which identify them",
        ),
        pytest.param(
            [Known("A", 0, 200, 200, TRACKDONE), Known("A", 200, 250, 50, SKIPPED)],
            [],
            [("A", 200.1), ("A", 200.7)],
            [],
            id="a repetition without free time is not a play: it would replace the observed one",
        ),
        pytest.param(
            [Known("A", 0, 10, 10, UNKNOWN)],
            [("B", 30)],
            [("A", 30)],
            [],
            id="an unobserved play gets no time of another that ended at the same moment",
        ),
        pytest.param(
            [LOST, Known("C", 470, 480, 10, SKIPPED)],
            [("Long", 470)],
            [("A", 190), ("Long", 470)],
            [Found("A", 0, 190, 190, TRACKDONE, "live"), Found("Long", 100, 470, 280, UNKNOWN)],
            id="an unobserved play takes back time from the next one",
        ),
    ],
)
def test_items_that_arrive_late(
    known: list[Known], first: list[Reported], second: list[Reported], expected: list[Found]
) -> None:
    plays = [play.as_play() for play in known]
    plays = merged(plays, backfill_plays(plays, history(first), ms(2000), []))

    assert sorted(found(backfill_plays(plays, history(second), ms(2000), []))) == expected


def test_without_a_catalog_the_fields_of_a_play_identify_its_recording() -> None:
    """For example, of a play that was read from Redis."""
    play = Known("B", 0, 200, 200, TRACKDONE).as_play()
    stored = replace(play, item=replace(play.item, catalog={}))

    assert backfill_plays([stored], history([("B'", 200.5)]), ms(300), []) == []
    assert len(backfill_plays([stored], history([("C", 200.5)]), ms(300), [])) == 1


class Evening(NamedTuple):
    """An evening of music: what was played, what is known of it, and what is reported of it.

    `first`: of `items`, the one whose play was not observed to its end. If it and a repetition of it are
    late, the repetition could as well be the end of a pause. None: all can come in any order.
    """

    played: list[Reported]
    known: list[Play]
    items: list[Reported]
    first: int | None
    unobserved: list[tuple[int, int]]
    now: float


@st.composite
def evenings(draw: st.DrawFn) -> Evening:
    """Generate tracks in a row, with pauses and a period without answers."""
    plays: list[Known] = []
    second, count = 0.0, draw(st.integers(1, 7))
    lost = draw(st.integers(-1, count - 1))
    regained = draw(st.integers(lost + 1, count))
    for _ in range(count):
        name = draw(st.sampled_from(("A", "A", "B", "Long", "Short")))
        length = (ITEMS[name].duration_ms or 0) / 1000
        heard = draw(st.just(length) | st.integers(12, int(length) - 5).map(float))
        end = second + heard + draw(st.sampled_from((0, 0, 13)))
        plays.append(Known(name, second, end, heard, TRACKDONE if heard == length else SKIPPED))
        second = end + draw(st.sampled_from((0, 0, 0, 20, 300)))
    unobserved = []
    known = [play for number, play in enumerate(plays) if number < lost or number >= regained]
    over, now = plays, second + 100
    if regained < count and draw(st.booleans()):  # the last play is still open
        over, now = plays[:-1], plays[-1].end
        known[-1] = known[-1]._replace(reason=None)
    if lost >= 0:
        name, start, _, heard = plays[lost][:4]
        cut = draw(st.integers(6, int(heard) - 1))
        known.append(Known(name, start, start + cut, cut, UNKNOWN))
        unobserved = [(ms(start + cut), ms(plays[regained].start if regained < count else now))]
    delays, other_ids = st.sampled_from((0.0, 0.3, 0.9)), {"A": "A'", "B": "B'"}
    played = [(play.name, play.end) for play in over]
    items = [
        (draw(st.sampled_from((name, other_ids.get(name, name)))), end + draw(delays)) for name, end in played
    ]
    first = lost if lost >= 0 else None
    return Evening(played, [play.as_play() for play in known], items, first, unobserved, now)


@given(evenings(), st.data())
def test_every_play_is_found_once_in_any_order_and_batches(evening: Evening, data: st.DataObject) -> None:
    """Spotify returns items late, out of order, and repeatedly."""
    order = data.draw(st.permutations(range(len(evening.items))))
    if evening.first is not None:
        order.remove(evening.first)
        order.insert(0, evening.first)
    known = evening.known
    cuts = data.draw(st.sets(st.integers(0, len(order)))) | {len(order)}

    for cut in sorted(cuts):
        items = history(evening.items[number] for number in order[:cut])
        known = merged(known, backfill_plays(known, items, ms(evening.now), evening.unobserved))
        check(known, evening.now)
        assert backfill_plays(known, items, ms(evening.now), evening.unobserved) == []

    observed = [play for play in evening.known if play.end_reason != UNKNOWN]
    assert all(play in known for play in observed)
    closed = (play for play in known if play.end_reason is not None)
    ends = sorted((NAMES[play.item.uri].rstrip("'"), play.ended_ms) for play in closed)
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
    periods = sorted(period_played(play) for play in plays if play.ms_played)
    for (_, end), (begin, _) in pairwise(periods):
        assert end <= begin
    if periods:
        assert sum(play.ms_played for play in plays) <= ms(now) - periods[0][0]
    assert len({identity(play) for play in plays}) == len(plays)


def period_played(play: Play) -> tuple[int, int]:
    """Return when it was played: an observed play from its beginning on, a backfilled one up to its end."""
    if play.source == BACKFILL:
        return play.ended_ms - play.ms_played, play.ended_ms
    return play.started_ms, play.started_ms + play.ms_played


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


class TestReadRecentlyPlayed:
    def test_all_fields_are_kept_in_the_hash_of_the_play(self) -> None:
        (recent,) = read_recently_played({"items": [entry("A", 300)]})
        (play,) = backfill_plays([], [recent], ms(400), [])

        assert recent.item.catalog["isrc"] == "DEA1"
        fields = {name: str(value) for name, value in play.to_hash().items()}
        assert fields == {
            "id": "A",
            "uri": "spotify:track:A",
            "type": "track",
            "name": "A",
            "artists": "Somebody",
            "album": "Album",
            "duration_ms": "200000",
            "explicit": "1",
            "context_uri": "spotify:playlist:1",
            "started_at": to_iso(ms(100)),
            "ended_at": to_iso(ms(300)),
            "ms_played": "200000",
            "end_reason": TRACKDONE,
            "source": BACKFILL,
        }
        again = Play.from_hash(play.second, fields)
        assert again is not None
        assert again.to_hash() == play.to_hash()

    def test_items_are_sorted_and_deduplicated_and_invalid_ones_left_out(self) -> None:
        entries = [entry("B", 500), None, entry("A", 300), {"track": 7}, entry("B", 500), entry("B", 300)]

        assert [
            (NAMES[recent.item.uri], recent.ended_ms) for recent in read_recently_played({"items": entries})
        ] == [("A", ms(300)), ("B", ms(300)), ("B", ms(500))]

    def test_the_context_may_be_missing(self) -> None:
        (recent,) = read_recently_played({"items": [entry("A", 300, context=None)]})

        assert "context_uri" not in recent.fields

    @pytest.mark.parametrize(
        "body",
        [
            None,
            "items",
            {"items": None},
            {"items": [None, 7, "A", [], {}, [entry("A", 300)]]},
            {"items": [entry("A", 300, track={"type": "ad", "id": "1"})]},
            {"items": [entry("A", 300, played_at=300), entry("A", 300, played_at="yesterday")]},
            {"items": [entry("A", 300, played_at="1969-12-31T23:59:59.999Z")]},
            {"items": [entry("A", 300, played_at="9999-12-31T23:59:59.999Z")]},
        ],
    )
    def test_invalid_bodies_yield_nothing(self, body: object) -> None:
        assert read_recently_played(body) == []

    def test_the_number_of_items_is_limited(self) -> None:
        body = {"items": [entry("A", 300 * number) for number in range(1, 151)]}

        assert len(read_recently_played(body)) == MAX_ITEMS == 100
