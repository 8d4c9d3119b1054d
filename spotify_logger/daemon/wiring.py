"""The rooms put together to a logger: the real one, and those that live in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR, PollSchedule
from spotify_logger.daemon.alerts import Alerts, Heartbeat
from spotify_logger.daemon.backfiller import Repairer
from spotify_logger.daemon.failover import Duty, identity_of, stood_by
from spotify_logger.daemon.gap_monitor import Watch
from spotify_logger.daemon.logger import Logger
from spotify_logger.daemon.poller import LONGEST_WAIT, Poller
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.oauth import TOKEN_FILE, TokenFile
from spotify_logger.spotify.rate_limit import GATE_FILE, Gate
from spotify_logger.storage.connect import open_link
from spotify_logger.storage.lease import Lease
from spotify_logger.storage.outbox import OUTBOX_FILE, Outbox
from spotify_logger.storage.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send
    from spotify_logger.storage.connection import Link
    from spotify_logger.system.clock import Clock


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a logger runs on.

    Attributes:
        clock: Time.
        send: The way to Spotify.
        tell: The way to whoever is alerted.
        boot: Which run of the machine it is.
        chance: Gives a number from 0 to 1.
        connect: The way to Redis.
        open_database: The way to the disk of the outbox; None for the usual one.
        may_write: Tells whether another logger has not taken over.
    """

    clock: Clock
    send: Send
    tell: Send
    boot: str
    chance: Callable[[], float] = random.random
    connect: Callable[[str], Link] = open_link
    open_database: Callable[[str], sqlite3.Connection] | None = None
    may_write: Callable[[], bool] = lambda: True


def assemble(settings: Settings, around: Surroundings, schedule: PollSchedule | None = None) -> Logger:
    """Put a logger together.

    Args:
        settings: What the person who runs it has decided.
        around: What it runs on.
        schedule: When to ask; as the settings say unless given.
    """
    clock, state_dir = around.clock, settings.state_dir
    store = Store(settings.redis_url, settings.redis_prefix, clock.utc, around.connect, settings.listener)
    outbox = Outbox(state_dir / OUTBOX_FILE, clock.monotonic, around.open_database)
    gate = Gate(state_dir / GATE_FILE, clock, around.boot)
    spotify = Spotify(around.send, settings, TokenFile(state_dir / TOKEN_FILE), clock, gate)
    watch = Watch(
        outbox,
        clock,
        Alerts(around.tell, settings.alert_url, clock, outbox, around.chance),
        Heartbeat(around.tell, settings.heartbeat_url, clock),
        MAX_IDLE_FACTOR * settings.poll_max,
    )
    recorder = Recorder(store, outbox, clock, Backoff(1.0, LONGEST_WAIT, around.chance), around.may_write)
    poller = Poller(
        spotify,
        recorder,
        outbox,
        Repairer(spotify, outbox, clock, recorder),
        watch,
        clock,
        schedule or PollSchedule(settings.poll_min, settings.poll_max),
        Backoff(settings.poll_min, 2 * settings.poll_max, around.chance),
    )
    return Logger(poller, spotify, recorder, store, outbox)


def make_duty(
    settings: Settings, around: Surroundings, machine: str, schedule: PollSchedule | None = None
) -> Duty:
    """Put together a logger that gives way to another one which keeps the same log.

    Args:
        settings: See `assemble`.
        around: See `assemble`.
        machine: The machine's name, for people.
        schedule: See `assemble`.
    """
    clock = around.clock

    def make_lease(outbox: Outbox) -> Lease:
        link = around.connect(settings.redis_url)
        prefix, identity = settings.redis_prefix, identity_of(outbox)
        return Lease(link, prefix, identity, machine, clock, stood_by=stood_by(outbox))

    def assemble_for(duty: Duty) -> Logger:
        send, tell = duty.sending(around.send), duty.sending(around.tell)
        return assemble(settings, replace(around, send=send, tell=tell, may_write=duty.may_write), schedule)

    def make_alerts(outbox: Outbox) -> Alerts:
        return Alerts(around.tell, settings.alert_url, clock, outbox, around.chance)

    return Duty(make_lease, assemble_for, make_alerts, clock)
