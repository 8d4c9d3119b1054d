"""Hand-written histories of player states, for the tests of tracker and poll schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spotify_logger.core.play import Play
from spotify_logger.core.player_state import NO_STATE, Item, PlayerState
from spotify_logger.core.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOON = 1_790_000_000_000
"""The stamp of second 0 of every history, in milliseconds since the epoch."""


@dataclass(frozen=True)
class TimedState:
    """A player state `at` seconds after noon, by a wall clock that is off by `step` seconds."""

    at: float
    state: PlayerState
    step: float = 0
    after_gap: bool = False


@dataclass(frozen=True)
class ExpectedPlay:
    """A play that a history must yield: seconds after noon, and seconds played; `end` is None while open."""

    name: str
    start: float
    end: float | None
    heard: float
    reason: str | None


def item(name: str, duration: float | None = 200, kind: str = "track") -> Item:
    milliseconds = None if duration is None else round(duration * 1000)
    identity = name.replace(" ", "")  # Spotify's are words
    return Item(f"{kind}:{identity}", f"spotify:{kind}:{identity}", milliseconds, {"name": name})


A, B, C = item("A"), item("B"), item("C")
EPISODE = item("E", 3600, "episode")
A_ELSEWHERE = replace(item("A2", 200.4), catalog={"name": "A"})
"""The same recording under another ID."""
LOCAL = Item("local:0123456789abcdef", "spotify:local:Me::Demo:200", 200_000, {"name": "Demo"})


def at(
    second: float,
    what: Item,
    progress: float | None,
    *,
    playing: bool = True,
    private: bool = False,
    changed: float | None = None,
    step: float = 0,
) -> TimedState:
    """Return a state of an item at a position; `changed` is Spotify's timestamp in seconds after noon."""
    progress_ms = None if progress is None else round(progress * 1000)
    changed_ms = None if changed is None else NOON + round(changed * 1000)
    numbers = {"progress_ms": progress_ms, "timestamp": changed_ms, "duration_ms": what.duration_ms}
    fields: dict[str, str | int] = {name: number for name, number in numbers.items() if number is not None}
    fields |= {
        "uri": what.uri,
        "name": str(what.catalog["name"]),
        "type": what.key.partition(":")[0],
        "playing": int(playing),
    }
    if not what.key.startswith("local:"):
        fields["id"] = what.key.partition(":")[2]
    state = PlayerState(what, playing, progress_ms, changed_ms, private, fields)
    return TimedState(second, state, step)


def none(second: float) -> TimedState:
    return TimedState(second, NO_STATE)


def advertisement(second: float, progress: float) -> TimedState:
    state = PlayerState(playing=True, progress_ms=round(progress * 1000), is_advertisement=True)
    return TimedState(second, state)


def played(what: Item, start: float, seconds: Iterable[float], position: float = 0) -> list[TimedState]:
    """Return states of an item that plays from `position` since `start`."""
    return [at(second, what, position + second - start) for second in seconds]


def after_gap(history: Sequence[TimedState]) -> list[TimedState]:
    """Return the same states, the first of them after a gap."""
    return [replace(answer, after_gap=number == 0) for number, answer in enumerate(history)]


def twice(history: Iterable[TimedState]) -> list[TimedState]:
    """Return the same states, each delivered twice."""
    return [again for answer in history for again in (answer, replace(answer, after_gap=False))]


def follow(history: Sequence[TimedState], tracker: Tracker | None = None) -> dict[int, Play]:
    """Run a history through a tracker; return the final versions of its plays by second."""
    tracker = tracker or Tracker()
    plays: dict[int, Play] = {}
    for answer in history:
        for play in observe(tracker, answer):
            plays[play.second] = play
    return plays


def observe(tracker: Tracker, answer: TimedState) -> list[Play]:
    stamp = NOON + round((answer.at + answer.step) * 1000)
    if answer.after_gap:
        tracker.note_gap()
    return tracker.observe(answer.state, stamp, 5_000_000 + round(answer.at * 1000))


def reread(play: Play) -> Play | None:
    """Return the play as read back from its hash."""
    return Play.from_hash(play.second, {name: str(value) for name, value in play.to_hash().items()})


def heard(plays: dict[int, Play]) -> list[ExpectedPlay]:
    return [
        ExpectedPlay(
            str(play.item.catalog.get("name", play.item.key)),
            (play.started_ms - NOON) / 1000,
            None if play.end_reason is None else (play.ended_ms - NOON) / 1000,
            play.ms_played / 1000,
            play.end_reason,
        )
        for _, play in sorted(plays.items())
    ]
