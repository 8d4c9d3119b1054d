"""How people listen, as rates: in one place, each with what it means.

The defaults are an ordinary listener: four to five hours a day, three quarters of the items heard through,
a fifth flipped past within seconds, everything else rare. They are neither kind nor cruel to a logger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Self

Span = tuple[float, float]
"""From and to, in seconds by default; anything between is as likely."""


@dataclass(frozen=True)
class Habits:
    """Chances are between 0 and 1; weights are compared with each other; spans are seconds."""

    # What a session is about (weights).
    music: float = 0.76
    podcast: float = 0.12
    audiobook: float = 0.06
    local: float = 0.06

    # Chances per session.
    ads: float = 0.12  # an account without Premium, or a device that plays advertisements
    crossfade: float = 0.15  # the player turns to the next track some seconds before the end
    private: float = 0.03  # all of it in private
    frozen_timestamp: float = 0.10  # `timestamp` goes on saying an older moment (spotify/web-api#640, #1073)
    first_skip: float = 0.10  # the first thing that plays is not what was wanted
    resume: float = 0.25  # the track that was paused last time is finished first
    hiccup: float = 0.40  # one to three answers of 204 while music plays (spotify/web-api#662, #1158)

    # Chances per turn of a music session: what the listener does with the next item.
    flip: float = 0.05  # flips through several tracks in a row
    early_skip: float = 0.025  # skips one track within its first seconds
    late_skip: float = 0.05  # leaves it somewhere later
    repeat_one: float = 0.012  # hears it several times over
    replay: float = 0.003  # leaves it, hears a bit of another one, and chooses it again
    episode: float = 0.006  # hears a podcast episode between two tracks

    # Chances per item that is heard.
    pause: float = 0.05
    long_pause: float = 0.004  # beyond half an hour
    seek: float = 0.025  # forward or back
    restart: float = 0.008  # back to its beginning, by the "previous" button
    handover: float = 0.015  # to another device
    private_moment: float = 0.004  # a private session begins and ends within the item

    # How a session ends (weights).
    ends_paused: float = 0.45  # in the middle of a track, shown as paused for a while
    ends_silent: float = 0.30  # after the last track: shown at its beginning, not playing, for a while
    ends_gone: float = 0.25  # after the last track: 204 at once

    # Lengths.
    session: Span = (20 * 60, 150 * 60)
    flips: tuple[int, int] = (2, 6)  # tracks in a row
    flip_seconds: Span = (3, 20)  # heard of each
    other_seconds: Span = (10, 60)  # heard of another track before the first is chosen again
    early_seconds: Span = (2, 20)
    pause_seconds: Span = (3, 20 * 60)  # short ones are likelier
    long_pause_seconds: Span = (32 * 60, 90 * 60)
    fade_seconds: Span = (2, 12)  # before the end, the same for a whole session
    automix_seconds: Span = (8, 15)  # before the end, where the player finds it fitting
    handover_seconds: Span = (2, 15)
    ad_seconds: Span = (15, 30)
    private_seconds: Span = (20, 80)
    load_seconds: Span = (0.0, 0.6)  # shown, but not yet to be heard
    paused_end_seconds: Span = (5 * 60, 28 * 60)
    silent_end_seconds: Span = (60, 20 * 60)
    repeats: tuple[int, int] = (2, 6)  # full plays of the track on repeat
    episode_part: Span = (5 * 60, 25 * 60)  # heard of an episode between two tracks
    shortest: float = 0.0  # no item is heard for less
    lengths: Span = (0.0, math.inf)  # of the tracks and files that are chosen

    nonstop: bool = False
    """One session after the other, without nights and idle hours."""

    @classmethod
    def plain(cls) -> Self:
        """Return the habits of one who hears one track after the other to its end, and does nothing else."""
        chances = {field.name: 0.0 for field in fields(cls) if isinstance(field.default, float)}
        chances |= {"music": 1.0, "ends_gone": 1.0}
        return replace(cls(), **chances, load_seconds=(0.0, 0.0))  # type: ignore[arg-type]

    @classmethod
    def dense(cls, pace: float) -> Self:
        """Return habits for a history shown at `pace`: always listening, and nothing too short to see.

        At 40 a track of four minutes takes six seconds. What would last less than 0.3 seconds is made longer,
        and what would hold up a demonstration is left out or made shorter.
        """
        shortest = max(2.0, 0.3 * pace)
        return replace(
            cls(),
            nonstop=True,
            podcast=0.06,
            session=(6 * 60, 15 * 60),
            flip_seconds=(shortest, max(15.0, 2 * shortest)),
            early_seconds=(shortest, max(20.0, 2 * shortest)),
            shortest=shortest,
            lengths=(2 * shortest, max(600.0, 4 * shortest)),
            long_pause=0.0,
            pause_seconds=(3, 120),
            episode_part=(3 * 60, 8 * 60),
        )
