"""How the simulated listener behaves, as probabilities, weights and durations.

The defaults describe an ordinary listener: four to five hours a day, three quarters of the items played to
the end, a fifth skipped within seconds, everything else rare. They are neither kind nor cruel to a logger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Self

from spotify_logger.simulator.bodies import DeviceObject

Span = tuple[float, float]
"""The bounds of a uniform distribution, in seconds unless stated otherwise."""

LISTENING_HOURS = (
    (6.8, 8.0, 0.75),
    (8.5, 12.0, 0.55),
    (12.5, 16.0, 0.55),
    (17.0, 19.0, 0.55),
    (19.5, 22.5, 0.85),
)
"""The sessions of a day: the hours between which each begins, and its probability."""

DEVICES = (
    DeviceObject("Pocket", "Smartphone", "5f1be0c2a47d4e8fb0a6c13b7d92e4f8a1c6d305", None),
    DeviceObject("Desk", "Computer", "0d5ad7e5f1c043f8a1e4f6f3c7d0b2a96c11e8f0", 72),
    DeviceObject("Kitchen", "Speaker", None, 35, restricted=True),
    DeviceObject("Living Room", "TV", "b7c3f2d94e0a4b6f8d1e5a7092c4f6e8d0b1a3c5", 48),
    DeviceObject("Car", "Automobile", "e2a9d4c8f7b14a6e93d05c1b8f6e7a2d4c9b0e13", 100),
    DeviceObject("Bath", "CastAudio", "91f0e6d2c8b74a3f5e1d0c9b8a7f6e5d4c3b2a10", 20),
)


@dataclass(frozen=True)
class Habits:
    """The behaviour of a listener: probabilities from 0 to 1, relative weights, and spans of seconds."""

    # What a session is about (weights).
    music: float = 0.76
    podcast: float = 0.12
    audiobook: float = 0.06
    local: float = 0.06

    # Probabilities per session.
    ads: float = 0.12  # an account without Premium, or a device that plays advertisements
    crossfade: float = 0.15  # the player moves on to the next track some seconds before the end
    private: float = 0.03  # a private session
    frozen_timestamp: float = 0.10  # `timestamp` is stuck at an older moment (spotify/web-api#640, #1073)
    first_skip: float = 0.10  # the first item is not what the listener wanted
    resume: float = 0.25  # the track paused last time is finished first
    speed: float = 0.35  # a podcast or an audiobook is played faster or slower
    speed_hidden: float = 0.5  # then the position seems to run at 1x, and jumps when the player reports it
    hiccup: float = 0.40  # one to three 204 answers while music plays (spotify/web-api#662, #1158)

    # Probabilities per step of a music session: what the listener does with the next item.
    flip: float = 0.05  # skips several tracks in a row, each within seconds
    early_skip: float = 0.025  # skips one track within its first seconds
    late_skip: float = 0.05  # skips it somewhere later
    repeat_one: float = 0.012  # plays it several times on repeat
    restart: float = 0.03  # starts it again before its end, by the "previous" button, once or a few times
    replay: float = 0.003  # leaves it, plays a bit of another one, and starts it again
    episode: float = 0.006  # plays part of a podcast episode between two tracks

    # Probabilities per item that is played.
    pause: float = 0.05
    long_pause: float = 0.004  # over half an hour
    seek: float = 0.025  # forwards or backwards
    handover: float = 0.015  # to another device
    private_moment: float = 0.004  # a private session begins and ends within the item

    # How a session ends (weights).
    ends_paused: float = 0.45  # in the middle of a track, which is shown as paused for a while
    ends_silent: float = 0.30  # after the last track, which is shown stopped at its beginning for a while
    ends_gone: float = 0.25  # after the last track: 204 from then on

    # Durations and counts.
    session: Span = (20 * 60, 150 * 60)
    flips: tuple[int, int] = (2, 6)  # tracks in a row
    flip_seconds: Span = (3, 20)  # of each
    other_seconds: Span = (10, 60)  # of another track before the first is started again
    early_seconds: Span = (2, 20)
    pause_seconds: Span = (3, 20 * 60)  # log-uniform: short ones are likelier
    long_pause_seconds: Span = (32 * 60, 90 * 60)
    fade_seconds: Span = (2, 12)  # before the end; the same for a whole session
    automix_seconds: Span = (8, 15)  # before the end; differs from track to track
    handover_seconds: Span = (2, 15)
    ad_seconds: Span = (15, 30)
    private_seconds: Span = (20, 80)
    load_seconds: Span = (0.0, 0.6)  # shown, but not yet audible
    paused_end_seconds: Span = (5 * 60, 28 * 60)
    silent_end_seconds: Span = (60, 20 * 60)
    report_seconds: Span = (30, 180)  # from one such report to the next
    repeats: tuple[int, int] = (2, 6)  # full plays of a track on repeat
    episode_part: Span = (5 * 60, 25 * 60)  # of an episode between two tracks
    shortest: float = 0.0  # the least that is played of any item
    lengths: Span = (0.0, math.inf)  # of the tracks and files to choose from

    hours: tuple[tuple[float, float, float], ...] = LISTENING_HOURS
    devices: tuple[DeviceObject, ...] = DEVICES
    nonstop: bool = False
    """Whether session follows session, without nights and idle hours."""

    @classmethod
    def plain(cls) -> Self:
        """Return the habits of a listener who plays one track after another to its end."""
        probabilities = {field.name: 0.0 for field in fields(cls) if isinstance(field.default, float)}
        probabilities |= {"music": 1.0, "ends_gone": 1.0}
        return replace(cls(), **probabilities, load_seconds=(0.0, 0.0))  # type: ignore[arg-type]

    @classmethod
    def dense(cls, pace: float) -> Self:
        """Return habits for a history at `pace` times real time: no idle hours, nothing too short to see.

        At 40, a track of four minutes takes six seconds. Whatever would last less than 0.3 s is lengthened,
        and whatever would hold up a demonstration is shortened or left out.
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
