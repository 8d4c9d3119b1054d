"""Compare the logged plays with what was really heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.simulator.timeline import TruePlay

MAX_DISTANCE_MS = 5_000
"""Milliseconds by which two stretches may miss each other and still be the same play, badly stamped."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A play that was heard, and how it was logged; times in milliseconds."""

    truth: TruePlay
    logged: Play

    @property
    def start_error_ms(self) -> float:
        """How far the start is off."""
        return abs(self.logged.started_ms - self.truth.started_at * 1000)

    @property
    def heard_error_ms(self) -> int:
        """How far the time heard is off."""
        return abs(self.logged.ms_played - self.truth.ms_played)


@dataclass
class Comparison:
    """How the logged plays compare with the truth.

    Attributes:
        pairs: Plays that were found.
        missed: Plays that were heard and not logged.
        doubles: Logged once more than heard: split, or recorded twice.
        phantoms: Logged, and never heard.
    """

    pairs: list[Pair] = field(default_factory=list)
    missed: list[TruePlay] = field(default_factory=list)
    doubles: list[Play] = field(default_factory=list)
    phantoms: list[Play] = field(default_factory=list)


def judge(truth: Sequence[TruePlay], logged: Iterable[Play]) -> Comparison:
    """Match each play that was heard with the logged one of the same item that shares most time with it."""
    verdict = Comparison()
    by_uri: dict[str, list[Play]] = {}
    for play in logged:
        by_uri.setdefault(play.item.uri, []).append(play)
    heard_by_uri: dict[str, list[TruePlay]] = {}
    for true_play in truth:
        heard_by_uri.setdefault(true_play.uri, []).append(true_play)
    for uri, heard in heard_by_uri.items():
        _match(heard, by_uri.pop(uri, []), verdict)
    for plays in by_uri.values():
        verdict.phantoms += plays
    return verdict


def _match(heard: list[TruePlay], logged: list[Play], verdict: Comparison) -> None:
    """Match the plays of one item, the best fitting first."""
    shared = sorted(
        ((_shared_ms(truth, play), t, p) for t, truth in enumerate(heard) for p, play in enumerate(logged)),
        reverse=True,
    )
    found: dict[int, int] = {}
    for overlap, t, p in shared:
        if overlap >= -MAX_DISTANCE_MS and t not in found and p not in found.values():
            found[t] = p
    verdict.pairs += [Pair(heard[t], logged[p]) for t, p in found.items()]
    verdict.missed += [truth for t, truth in enumerate(heard) if t not in found]
    for play in (play for p, play in enumerate(logged) if p not in found.values()):
        touches = any(_shared_ms(truth, play) >= -MAX_DISTANCE_MS for truth in heard)
        (verdict.doubles if touches else verdict.phantoms).append(play)


def _shared_ms(truth: TruePlay, play: Play) -> float:
    """Milliseconds that two stretches have in common; negative: how far they are apart."""
    return min(truth.ended_at * 1000, play.ended_ms) - max(truth.started_at * 1000, play.started_ms)
