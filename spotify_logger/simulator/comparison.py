"""Compare the logged plays with those that the simulated listener really heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.simulator.timeline import TruePlay

MAX_DISTANCE_MS = 5_000
"""Milliseconds between two plays that may still be the same play with wrong stamps."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A true play and the logged play that matches it."""

    truth: TruePlay
    logged: Play

    @property
    def start_error_ms(self) -> float:
        """The error of the logged start, in milliseconds."""
        return abs(self.logged.started_ms - self.truth.started_at * 1000)

    @property
    def played_error_ms(self) -> int:
        """The error of the logged `ms_played`, in milliseconds."""
        return abs(self.logged.ms_played - self.truth.ms_played)


@dataclass
class Comparison:
    """The result of comparing the logged plays with the true ones.

    Attributes:
        pairs: True plays that were logged.
        missed: True plays that were not logged.
        duplicates: Logged plays of a true play that has another one already: split, or recorded twice.
        phantoms: Logged plays that were never heard.
    """

    pairs: list[Pair] = field(default_factory=list)
    missed: list[TruePlay] = field(default_factory=list)
    duplicates: list[Play] = field(default_factory=list)
    phantoms: list[Play] = field(default_factory=list)


def compare(truth: Sequence[TruePlay], logged: Iterable[Play]) -> Comparison:
    """Match each true play with the logged play of the same item that overlaps it most."""
    comparison = Comparison()
    by_uri: dict[str, list[Play]] = {}
    for play in logged:
        by_uri.setdefault(play.item.uri, []).append(play)
    heard_by_uri: dict[str, list[TruePlay]] = {}
    for true_play in truth:
        heard_by_uri.setdefault(true_play.uri, []).append(true_play)
    for uri, heard in heard_by_uri.items():
        _match(heard, by_uri.pop(uri, []), comparison)
    for plays in by_uri.values():
        comparison.phantoms += plays
    return comparison


def _match(heard: list[TruePlay], logged: list[Play], comparison: Comparison) -> None:
    """Match the plays of one item, those that overlap most first."""
    near = sorted(
        (
            (overlap, t, p)
            for t, truth in enumerate(heard)
            for p, play in enumerate(logged)
            if (overlap := _shared_ms(truth, play)) >= -MAX_DISTANCE_MS
        ),
        reverse=True,
    )
    found: dict[int, int] = {}  # by number of the true play
    taken: set[int] = set()
    for _, t, p in near:
        if t not in found and p not in taken:
            found[t] = p
            taken.add(p)
    comparison.pairs += [Pair(heard[t], logged[p]) for t, p in found.items()]
    comparison.missed += [truth for t, truth in enumerate(heard) if t not in found]
    touching = {p for _, _, p in near}
    for p, play in enumerate(logged):
        if p not in taken:
            (comparison.duplicates if p in touching else comparison.phantoms).append(play)


def _shared_ms(truth: TruePlay, play: Play) -> float:
    """Return the milliseconds that two plays overlap; if negative, how far they are apart."""
    return min(truth.ended_at * 1000, play.ended_ms) - max(truth.started_at * 1000, play.started_ms)
