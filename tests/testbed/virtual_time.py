"""The simulator in the same process, in virtual time: a clock, a way to send, a world from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.simulator.faults import WireFault
from spotify_logger.simulator.listener import DEFAULT_START, listen
from spotify_logger.simulator.service import Service
from spotify_logger.system.clock import DATE_TOLERANCE, Clock
from spotify_logger.system.errors import Unreachable

if TYPE_CHECKING:
    from spotify_logger.simulator.habits import Habits, Span
    from spotify_logger.simulator.timeline import ListeningHistory
    from spotify_logger.spotify.http import Request, Response

LATENCY: Span = (0.03, 0.3)
"""Seconds that a request takes."""
READ_TIMEOUT = 10.0
"""Seconds without a byte, after which a client gives up."""
DEADLINE = 20.0
"""Seconds after which a client gives up whatever comes."""
BODY_LIMIT = 2 * 1024 * 1024
"""Bytes beyond which a client reads no further."""


class VirtualClock(Clock):
    """Time that passes only when someone sleeps or sends; stamps are corrected as `Clock` does it.

    Args:
        start: The true time, in seconds since the epoch.
        ahead: Seconds by which the machine's own clock is ahead of it; negative for one that is late.
    """

    def __init__(self, start: float, ahead: float = 0.0) -> None:
        self.now = start
        """The true time, in seconds since the epoch; what the simulated service goes by."""
        self.synchronized = False
        """Whether a time service looks after the machine's own clock."""
        self._started = start
        self._ahead = ahead
        self._offset: float | None = None

    def monotonic(self) -> float:
        """See `clock.Clock.monotonic`."""
        return self.now - self._started

    def utc(self) -> float:
        """See `clock.Clock.utc`."""
        return self.now + self._ahead if self._offset is None else self._offset + self.monotonic()

    def correct(self, date: float) -> None:
        """See `clock.Clock.correct`."""
        truth = date + 0.5
        system = self.now + self._ahead
        if abs(system - truth) <= DATE_TOLERANCE:
            self._offset = system - self.monotonic()
        elif self._offset is None or abs(self.utc() - truth) > DATE_TOLERANCE:
            self._offset = truth - self.monotonic()

    def is_synchronized(self) -> bool:
        """See `clock.Clock.is_synchronized`."""
        return self.synchronized and abs(self._ahead) <= 1.0

    def sleep(self, seconds: float) -> None:
        """See `clock.Clock.sleep`."""
        self.now += max(0.0, seconds)

    def is_woken(self) -> bool:
        """See `clock.Clock.is_woken`."""
        return False

    def set_right(self) -> None:
        """Let a time service set the machine's clock right, and look after it from now on."""
        self._ahead, self.synchronized = 0.0, True

    def step(self, seconds: float) -> None:
        """Let somebody set the machine's clock forward, or back."""
        self._ahead += seconds

    def reboot(self, ahead: float = 0.0) -> VirtualClock:
        """Return the clock of the same machine after a restart."""
        return VirtualClock(self.now, ahead)


class VirtualSend:
    """Carries requests to a simulated service, which takes virtual time; the state is looked at half-way.

    Args:
        service: What answers.
        clock: What goes on meanwhile.
        seed: Chance, for the latency.

    Attributes:
        answered_at: The moment, in seconds since the epoch, that the last answer is about.
    """

    def __init__(self, service: Service, clock: VirtualClock, *, seed: int = 0) -> None:
        self.clock = clock
        self.answered_at = 0.0
        self._service = service
        self._chance = random.Random(f"latency {seed}")

    def __call__(self, request: Request) -> Response:
        """See `http.Send`."""
        half = self._chance.uniform(*LATENCY) / 2
        self.clock.sleep(half)
        self.answered_at = self.clock.now
        try:
            response = self._service.handle(request, self.answered_at)
        except WireFault as fault:
            return self._suffer(fault)
        self.clock.sleep(half)
        if len(response.body) > BODY_LIMIT:
            raise Unreachable("the answer was too long")
        return response

    def _suffer(self, fault: WireFault) -> Response:
        """Let a fault of the wire take its time, and return the answer if it still came in time."""
        silence, whole = _timing(fault)
        if silence > READ_TIMEOUT or whole > DEADLINE:
            self.clock.sleep(READ_TIMEOUT if silence > READ_TIMEOUT else DEADLINE)
            raise Unreachable("no whole answer came in time")
        self.clock.sleep(whole)
        if fault.response is None or fault.name == "cut":
            raise Unreachable("the connection was closed")
        return fault.response


def _timing(fault: WireFault) -> tuple[float, float]:
    """Return the longest silence and the whole time of a faulty answer, in seconds."""
    size = 0 if fault.response is None else len(fault.response.body)
    if fault.name in {"drip", "drip_headers"}:
        return fault.seconds, fault.seconds * size
    seconds = {"hang": READ_TIMEOUT + 1, "slow": fault.seconds}.get(fault.name, 0.0)
    return seconds, seconds


@dataclass
class VirtualWorld:
    """A listener, the service that shows them, and a machine's clock and connection to it.

    Attributes:
        record: What the listener does, and the truth about it.
        service: What answers.
        clock: The machine's clock; `clock.now` is the true time.
        send: The machine's connection.
    """

    record: ListeningHistory
    service: Service
    clock: VirtualClock
    send: VirtualSend

    @classmethod
    def of(cls, record: ListeningHistory, seed: int = 0) -> VirtualWorld:
        """Return a world around a history."""
        service = Service(record, seed=seed)
        clock = VirtualClock(record.start)
        return cls(record, service, clock, VirtualSend(service, clock, seed=seed))


def make_virtual_world(
    seed: int, days: float, habits: Habits | None = None, *, start: float = DEFAULT_START
) -> VirtualWorld:
    """Return the world of a listener made of chance; the same one for the same arguments."""
    return VirtualWorld.of(listen(seed, days, habits, start=start), seed)
