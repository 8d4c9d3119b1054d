"""The timings of the logger process, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from spotify_logger.storage.lease import RENEW_INTERVAL
from spotify_logger.storage.sqlite_file import DISK_RETRY
from spotify_logger.system.lock_file import ORPHAN_TIMEOUT


@dataclass(frozen=True, slots=True)
class DaemonTimings:
    """All in seconds.

    Attributes:
        max_turn: The longest a turn may take before the loop counts as hung: two API calls and a token
            refresh of 20 s each, an alert and a heartbeat of 5 s each, queued plays (10 s), slow name
            servers, a hanging Redis.
        max_wait: The longest time between two turns, so that the supervisor gets heartbeats during a rate
            limit, and between two attempts to reach Redis.
        read_timeout: Silence after which a request to Spotify is given up.
        request_deadline: The longest a request to Spotify may take.
        login_check_interval: Time between checks of the token file while a login is needed.
        disk_retry: Time between attempts to use a failed disk again.
        lease_renewal: Time between renewals of the lease while a standby waits, and between its checks.
        orphan_timeout: How long to wait for a lock that the children of a killed supervisor still hold.
    """

    max_turn: float = 120.0
    max_wait: float = 60.0
    read_timeout: float = 10.0
    request_deadline: float = 20.0
    login_check_interval: float = 5.0
    disk_retry: float = DISK_RETRY
    lease_renewal: float = RENEW_INTERVAL
    orphan_timeout: float = ORPHAN_TIMEOUT


DEFAULT_TIMINGS = DaemonTimings()
