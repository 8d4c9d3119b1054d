"""Builds loggers from their parts: the real one, and those that run in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR, PollSchedule
from spotify_logger.daemon.alerts import Alerts, Heartbeat
from spotify_logger.daemon.backfiller import Backfiller
from spotify_logger.daemon.failover import Failover, logger_id, was_standby
from spotify_logger.daemon.gap_monitor import GapMonitor
from spotify_logger.daemon.logger import Logger
from spotify_logger.daemon.poller import Poller
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.daemon.timings import DEFAULT_TIMINGS
from spotify_logger.spotify.api import Spotify
from spotify_logger.spotify.oauth import TOKEN_FILE, TokenFile
from spotify_logger.spotify.rate_limit import RATE_LIMIT_FILE, RateLimit
from spotify_logger.storage.client import RedisClient
from spotify_logger.storage.lease import Lease
from spotify_logger.storage.outbox import OUTBOX_FILE, Outbox
from spotify_logger.storage.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from spotify_logger.config.settings import Settings
    from spotify_logger.daemon.timings import DaemonTimings
    from spotify_logger.spotify.http import Send
    from spotify_logger.system.clock import Clock


@dataclass(frozen=True, slots=True)
class Environment:
    """What a logger needs from the outside.

    Attributes:
        clock: The time.
        send: Sends requests to Spotify.
        send_alert: Sends alerts and heartbeats.
        boot_id: The ID of this boot of the machine.
        chance: Returns a number from 0 to 1, for jitter.
        connect: Makes a client for a REDIS_URL.
        open_database: Opens the database of the outbox; None for SQLite on disk.
        may_write: Returns whether no other logger has taken over.
        timings: How long to wait for others.
    """

    clock: Clock
    send: Send
    send_alert: Send
    boot_id: str
    chance: Callable[[], float] = random.random
    connect: Callable[[str], RedisClient] = RedisClient
    open_database: Callable[[str], sqlite3.Connection] | None = None
    may_write: Callable[[], bool] = lambda: True
    timings: DaemonTimings = DEFAULT_TIMINGS


def build_logger(
    settings: Settings, environment: Environment, schedule: PollSchedule | None = None
) -> Logger:
    """Build a logger.

    Args:
        settings: The settings.
        environment: What it needs from the outside.
        schedule: When to poll; from the settings unless given.
    """
    clock, state_dir, timings = environment.clock, settings.state_dir, environment.timings
    store = Store(
        settings.redis_url, settings.redis_prefix, clock.utc, environment.connect, settings.listener
    )
    outbox = Outbox(state_dir / OUTBOX_FILE, clock.monotonic, environment.open_database, timings.disk_retry)
    rate_limit = RateLimit(state_dir / RATE_LIMIT_FILE, clock, environment.boot_id)
    spotify = Spotify(environment.send, settings, TokenFile(state_dir / TOKEN_FILE), clock, rate_limit)
    gap_monitor = GapMonitor(
        outbox,
        clock,
        Alerts(environment.send_alert, settings.alert_url, clock, outbox, environment.chance),
        Heartbeat(environment.send_alert, settings.heartbeat_url, clock),
        MAX_IDLE_FACTOR * settings.poll_max,
    )
    recorder = Recorder(
        store, outbox, clock, Backoff(1.0, timings.max_wait, environment.chance), environment.may_write
    )
    poller = Poller(
        spotify,
        recorder,
        outbox,
        Backfiller(spotify, outbox, clock, recorder),
        gap_monitor,
        clock,
        schedule or PollSchedule(settings.poll_min, settings.poll_max),
        Backoff(settings.poll_min, 2 * settings.poll_max, environment.chance),
        timings,
    )
    return Logger(poller, spotify, recorder, store, outbox)


def build_failover(
    settings: Settings, environment: Environment, machine: str, schedule: PollSchedule | None = None
) -> Failover:
    """Build a logger with failover to other loggers of the same log.

    Args:
        settings: The settings.
        environment: What it needs from the outside.
        machine: The name of this machine, for people.
        schedule: When to poll; from the settings unless given.
    """
    clock = environment.clock

    def make_lease(outbox: Outbox) -> Lease:
        client = environment.connect(settings.redis_url)
        prefix, identity = settings.redis_prefix, logger_id(outbox)
        renewal = environment.timings.lease_renewal
        return Lease(client, prefix, identity, machine, clock, stood_by=was_standby(outbox), renewal=renewal)

    def build_logger_for(failover: Failover) -> Logger:
        send, send_alert = failover.guarded(environment.send), failover.guarded(environment.send_alert)
        return build_logger(
            settings,
            replace(environment, send=send, send_alert=send_alert, may_write=failover.may_write),
            schedule,
        )

    def make_alerts(outbox: Outbox) -> Alerts:
        return Alerts(environment.send_alert, settings.alert_url, clock, outbox, environment.chance)

    return Failover(make_lease, build_logger_for, make_alerts, clock)
