"""Simulate a logger over virtual time under random faults, and check its invariants.

The logger is the real one; Spotify, its listener, the Redis server, the machine and time are simulated. What
is found to be wrong is raised, with its seed.
"""

from __future__ import annotations

import errno
import io
import os
import random
import re
import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from heapq import heappop, heappush
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import urlsplit

from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.core.matching import identity
from spotify_logger.core.play import BACKFILL, Play
from spotify_logger.daemon.poller import Environment, Poller
from spotify_logger.simulator.accounts import DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN, six_months_after
from spotify_logger.simulator.comparison import Comparison, compare
from spotify_logger.simulator.faults import API_PATH, TOKEN_PATH, Fault
from spotify_logger.simulator.listener import DEFAULT_START, listen
from spotify_logger.simulator.recently_played import MAX_PLAYED_AT_ERROR
from spotify_logger.simulator.service import PLAYER_PATH, RECENTLY_PATH, Service
from spotify_logger.spotify.http import Response
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.storage import outbox
from spotify_logger.system import atomic_file
from spotify_logger.system.errors import Unreachable
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.fault_schedule import DAY, HOUR, MINUTE, ScheduledFault, make_fault_schedule
from tests.testbed.virtual_run import make_settings
from tests.testbed.virtual_time import LATENCY, VirtualClock, VirtualSend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.simulator.timeline import ListeningHistory, TruePlay
    from spotify_logger.spotify.http import Request
    from tests.testbed.fake_redis import Persistence

ALERT_URL = "https://alerts.example/spotify-logger"
SECRET = re.compile(f"{DEMO_CLIENT_SECRET}|{DEMO_REFRESH_TOKEN}|spotify-logger-|[AB]Q[0-9A-Za-z]{{88}}")
"""What must not be logged: secrets of the app, of the alerts (this, and a code), and every token."""
LONGEST_WAIT = 240.0
"""Seconds between two turns at most: idle, and slowed by limits."""
MAX_ERROR_MS = 5_000
"""Milliseconds by which the time heard of a play that could be seen may be off."""
MIN_GAP_SECONDS = 300.0
"""Seconds that are the shortest gap."""
RECENT_PLAYS = 200
"""Plays that are checked after each fault."""


class SimulatedCrash(BaseException):
    """The logger is killed here."""


class YearFailure(AssertionError):  # noqa: N818 - the name says it
    """An invariant is violated."""


@dataclass
class YearResult:
    """The result of a simulated run.

    Attributes:
        heard: Plays that were heard in public.
        live: Those of them that were found by polling; `repaired` ones were brought by `recently-played`.
        in_gaps: Those that could be neither seen nor learned of, and lie in a recorded gap.
        in_blinks: Over before the next question, which an outage too short for a gap may have put off.
        merged: Started again so soon, after something that nobody saw, that they are one play with the next.
        lost: Polled or listed, and not in Redis.
        doubled: In Redis, and not heard, or more often than heard.
        close: The share of plays seen from start to end whose time heard is off by five seconds at most.
    """

    heard: int = 0
    live: int = 0
    repaired: int = 0
    in_gaps: int = 0
    in_blinks: int = 0
    merged: int = 0
    lost: int = 0
    doubled: int = 0
    requests: int = 0
    alerts: int = 0
    gaps: int = 0
    gap_hours: float = 0.0
    close: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)


class LogCapture(io.StringIO):
    """Captures the log, keeping the last lines and rejecting secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=25)

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`."""
        if SECRET.search(text):
            raise YearFailure(f"a secret is in the log: {SECRET.sub('***', text)}")
        self.lines.append(text)
        return len(text)


class YearSimulation:
    """A logger, its machine and its listener over some days; `run` simulates them.

    Args:
        folder: For the logger's files.
        per_day: Faults a day, on average.
        persistence: How the Redis server keeps what it is given.
        quiet_hours: How long at the end nothing goes wrong any more.
    """

    def __init__(
        self,
        seed: int,
        days: float,
        folder: Path,
        per_day: float = 4.0,
        persistence: Persistence = "aof",
        *,
        quiet_hours: float = 36.0,
    ) -> None:
        self.seed = seed
        self.days = days
        self._chance = random.Random(f"life {seed}")
        self.record = listen(seed, days)
        # In half of the runs that are too short for it, the login expires all the same.
        ending = 180 * DAY - self._chance.uniform(0.2, 0.8) * days * DAY
        self._consented = DEFAULT_START - self._chance.choice((0.0, max(0.0, ending)))
        self.service = Service(self.record, seed=seed, consented_at=self._consented, late_rate=0.03)
        self.clock = VirtualClock(DEFAULT_START)
        self._network = VirtualSend(self.service, self.clock, seed=seed)
        self.redis = FakeRedis(lambda: self.clock.now, self._sleep, persistence)
        self.redis.before_send = lambda _: self._crash_if_due("redis before")
        self.redis.after_send = lambda _: self._crash_if_due("redis after")
        self._folder = folder
        self._settings = replace(make_settings(folder, "redis://stand-in/0"), alert_url=ALERT_URL)
        self._poller: Poller | None = None
        self._databases: list[sqlite3.Connection] = []
        self._start_at = DEFAULT_START
        self._next_crash: ScheduledFault | None = None
        self._writes_left = 0.0
        self.crashes: list[str] = []
        """The writes at which the loop died."""
        self._is_full = False
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0
        self.log = LogCapture()
        self._limits: dict[str, float] = {}
        self._found: dict[tuple[int, str], Play] = {}
        self._seen_now: set[int] = set()
        self._listed_now: set[int] = set()
        self.seen: Counter[int] = Counter()
        self.listed: set[int] = set()
        self._recording = recordings(self.record)
        self._truth = [
            replace(play, uri=self._recording.get(play.uri, play.uri)) for play in self.record.plays
        ]
        self._number_of = {id(play): number for number, play in enumerate(self._truth)}
        self._starts_of = _starts_by_uri(self._truth)
        self.result = YearResult()
        self._recent_faults: list[ScheduledFault] = []
        self._end = DEFAULT_START + days * DAY
        self.schedule = make_fault_schedule(
            seed, DEFAULT_START + HOUR, self._end - quiet_hours * HOUR, per_day
        )

    def run(self) -> YearResult:
        """Simulate the days, and check the invariants.

        Raises:
            YearFailure: One of them is violated.
        """
        TokenFile(self._folder / TOKEN_FILE).save(Token(DEMO_REFRESH_TOKEN, authorized_at=self._consented))
        self._at(six_months_after(self._consented) + self._chance.uniform(0.2, 30) * HOUR, self._log_in)
        for fault in self.schedule:
            self._at(fault.at, partial(self._apply, fault))
        with self._patched_files(), _cached_parsing(), redirect_stderr(self.log):
            try:
                self._run_until(self._end)
                self._settle()
                self._sum_up()
            except Exception as error:
                raise YearFailure(self._report(error)) from error
            finally:
                self._kill()
        return self.result

    # The machine

    def _sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)  # the present one: a reboot brings another

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        self._scheduled += 1
        heappush(self._due, (moment, self._scheduled, action))

    def _run_until(self, end: float) -> None:
        turn_due = self.clock.now
        while self.clock.now < end:
            next_action = self._due[0][0] if self._due else end
            moment = min(max(turn_due, self._start_at), next_action, end)
            self.clock.sleep(moment - self.clock.now)
            if self._due and self._due[0][0] <= self.clock.now:
                heappop(self._due)[2]()
            elif self.clock.now >= max(turn_due, self._start_at):
                turn_due = self._turn()

    def _turn(self) -> float:
        """Let the logger take a turn, which it may not survive; return when the next one is due."""
        self._seen_now.clear()
        self._listed_now.clear()
        limits = dict(self._limits)
        try:
            poller = self._poller or self._start()
            now = self.clock.now
            turn = poller.turn()
        except SimulatedCrash:
            self._limits = limits  # a limit that was answered a moment ago may not have reached the disk
            self._kill()
            self._start_at = self.clock.now + self._chance.uniform(1.0, 3.0)
            return self._start_at
        if turn.due - self.clock.monotonic() > LONGEST_WAIT or self.clock.now - now > 150:
            raise YearFailure(
                f"a turn of {self.clock.now - now} s, the next in {turn.due - self.clock.monotonic()} s"
            )
        self.seen.update(self._seen_now)
        self.listed |= self._listed_now
        return self.clock.now + max(0.0, turn.due - self.clock.monotonic())

    def _start(self) -> Poller:
        environment = Environment(
            self.clock,
            self._send,
            self._receive_alert,
            self._chance.random,
            self.redis.client,
            self._open_database,
        )
        self._poller = poller = Poller(self._settings, environment)
        add = poller.recorder.add

        def add_and_note(plays: Sequence[Play], memory: str = "") -> None:
            add(plays, memory)
            for play in plays:
                if play.end_reason is not None:
                    self._found[identity(play)] = play

        poller.recorder.add = add_and_note  # type: ignore[method-assign]
        return poller

    def _kill(self) -> None:
        """Kill the logger: what is only in memory is lost."""
        if self._poller is not None:
            self.result.requests += self._poller.spotify.requests
            self._poller.store.close()
        self._poller, self._next_crash = None, None
        for database in self._databases:
            with suppress(sqlite3.Error):
                database.close()
        self._databases.clear()

    def _open_database(self, name: str) -> sqlite3.Connection:
        simulation = self

        class MortalConnection(sqlite3.Connection):
            def commit(self) -> None:
                if simulation._is_full:
                    raise sqlite3.OperationalError("database or disk is full")
                simulation._crash_if_due("disk before")
                super().commit()
                simulation._crash_if_due("disk after")

        database = sqlite3.connect(name, isolation_level=None, factory=MortalConnection)
        self._databases.append(database)
        return database

    @contextmanager
    def _patched_files(self) -> Iterator[None]:
        """Let writes of small files fail and crash as scheduled."""
        write_atomically = atomic_file.write_atomically

        def write(path: Path, text: str) -> None:
            if self._is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._crash_if_due("file before")
            write_atomically(path, text)
            self._crash_if_due("file after")

        atomic_file.write_atomically = write
        try:
            yield
        finally:
            atomic_file.write_atomically = write_atomically

    def _crash_if_due(self, moment: str) -> None:
        """Crash here, if the schedule says so."""
        crash = self._next_crash
        if crash is None or crash.detail != moment or self._poller is None:
            return
        self._writes_left -= 1
        if self._writes_left <= 0:
            self._next_crash = None
            self.crashes.append(moment)
            raise SimulatedCrash

    # Requests

    def _send(self, request: Request) -> Response:
        path = urlsplit(request.url).path
        family = "api" if path.startswith(API_PATH) else "accounts"
        if self.clock.now < self._limits.get(family, 0.0):
            raise YearFailure(
                f"{path} is asked {self._limits[family] - self.clock.now:.0f} s before its time"
            )
        response = self._network(request)
        if response.status == 429 and "retry-after" in response.headers:
            asked = response.retry_after(self.clock.now) or 0.0
            self._limits[family] = self.clock.now + asked - LATENCY[1]  # it was said a moment ago
        if response.status == 200:
            self._note_answer(path)
        return response

    def _note_answer(self, path: str) -> None:
        """Note what an answer shows."""
        is_faulty = any(name != "expired" for name in self.service.faults.names)
        if path == PLAYER_PATH and not is_faulty:
            segment = self.record.at(self._network.answered_at)
            if segment.play is not None and segment.visible == "item" and segment.moving:
                self._seen_now.add(segment.play)
        elif path == RECENTLY_PATH and not is_faulty:
            for leaving in self.service.recently.offered(self.clock.now - 0.3):
                uri = leaving.item.uri
                number = self._play_of(self._recording.get(uri, uri), leaving.left_at - 0.001)
                # One that was paused for long is two plays to us, and one of them is known.
                if number is not None and leaving.ms_played <= self._truth[number].ms_played + MAX_ERROR_MS:
                    self._listed_now.add(number)

    def _play_of(self, uri: str, left_at: float) -> int | None:
        """The play that a leaving is about: the last one of that track which had begun."""
        starts, numbers = self._starts_of.get(uri, ([], []))
        index = bisect_right(starts, left_at) - 1
        return numbers[index] if index >= 0 else None

    def _receive_alert(self, request: Request) -> Response:
        if self._chance.random() < 0.2:
            raise Unreachable("alerts.example: connection refused")
        self.result.alerts += request.method == "POST"
        return Response(200, {}, b"")

    # Faults

    def _apply(self, fault: ScheduledFault) -> None:
        self._recent_faults = [*self._recent_faults[-12:], fault]
        self.result.faults[fault.name] += 1
        getattr(self, "_" + fault.name.replace(" ", "_"))(fault)
        self._check()

    def _fault(self, name: str, path: str, fault: ScheduledFault) -> None:
        requests = int(fault.number) if fault.number else None
        self.service.faults.add(Fault(name, path, requests=requests, seconds=fault.seconds), self.clock.now)

    def _spotify(self, fault: ScheduledFault) -> None:
        self._fault(fault.detail, API_PATH, fault)

    def _offline(self, fault: ScheduledFault) -> None:
        self._fault(fault.detail, "", fault)

    _limit = _unauthorised = _spotify

    def _accounts(self, fault: ScheduledFault) -> None:
        self._fault(fault.detail, TOKEN_PATH, fault)
        self._fault("expired", API_PATH, replace(fault, number=1))

    _invalid_grant = _accounts

    def _set_for_a_while(self, fault: ScheduledFault, name: str, value: object, usual: object) -> None:
        setattr(self.redis, name, value)
        self._at(self.clock.now + fault.seconds, partial(setattr, self.redis, name, usual))

    def _redis_away(self, fault: ScheduledFault) -> None:
        self._set_for_a_while(fault, "down", value=True, usual=False)

    def _redis_refuses(self, fault: ScheduledFault) -> None:
        self._set_for_a_while(fault, "refusing", fault.detail, "")

    def _redis_hangs(self, fault: ScheduledFault) -> None:
        self._set_for_a_while(fault, "hanging", value=True, usual=False)

    def _redis_slow(self, fault: ScheduledFault) -> None:
        self._set_for_a_while(fault, "slow", fault.number, 0.0)

    def _redis_deaf(self, fault: ScheduledFault) -> None:
        self.redis.deaf_after_write = fault.number

    def _redis_crash(self, fault: ScheduledFault) -> None:
        self.redis.crash()
        self._at(self.clock.now + fault.seconds, self.redis.restart)

    def _crash(self, fault: ScheduledFault) -> None:
        self._kill()
        self._start_at = max(self._start_at, self.clock.now + fault.seconds)

    _stop = _crash

    def _crash_at_a_write(self, fault: ScheduledFault) -> None:
        self._next_crash, self._writes_left = fault, fault.number

    def _suspend(self, fault: ScheduledFault) -> None:
        self.clock.sleep(fault.seconds)

    def _reboot(self, fault: ScheduledFault) -> None:
        """Cut the power, for Redis too; the machine comes back with a clock that is right or wrong."""
        self._kill()
        self.redis.crash()
        self._start_at = max(self._start_at, self.clock.now + fault.seconds)
        back = self.clock.now + fault.seconds
        clock = VirtualClock(back, fault.number)
        clock.now = self.clock.now  # it is off until then; nobody reads it
        self.clock = self._network.clock = clock
        self._at(back - 1, self.redis.restart)
        if self._chance.random() < 0.7:
            self._at(back + self._chance.uniform(1, 300), clock.set_right)

    def _clock_step(self, fault: ScheduledFault) -> None:
        clock = self.clock
        clock.step(fault.number)
        clock.synchronized = False
        self._at(self.clock.now + self._chance.uniform(60, 40 * HOUR), clock.set_right)

    def _disk_full(self, fault: ScheduledFault) -> None:
        self._is_full, self._next_crash = True, None
        self._at(self.clock.now + fault.seconds, lambda: setattr(self, "_is_full", False))

    def _log_in(self) -> None:
        """Log in on another terminal, as the listener does after an alert."""
        token = self.service.log_in(self.clock.now)
        TokenFile(self._folder / TOKEN_FILE).save(Token(token, authorized_at=self.clock.now))
        self._at(six_months_after(self.clock.now) + self._chance.uniform(0.2, 30) * HOUR, self._log_in)

    # Invariants

    def _plays(self, count: int | None = None) -> list[Play]:
        """The plays that are in Redis, the newest ones or all."""
        keys: list[int] = []
        for day in sorted((key for key in self.redis.names() if key.startswith("plays:")), reverse=True):
            keys += sorted(map(int, self.redis.fields(day)), reverse=True)
            if count is not None and len(keys) >= count:
                break
        plays = []
        for key in keys[:count]:
            kept = self.redis.fields(f"listening:{key}")
            if (play := Play.from_hash(key, kept)) is None:
                raise YearFailure(f"listening:{key} holds no play: {kept}")
            plays.append(play)
        return sorted(plays, key=attrgetter("started_ms"))

    def _check(self) -> None:
        """Check after every fault that no play is logged twice, and that every recorded one is somewhere."""
        if self.redis.down or self.redis.refusing or not self.redis.running:
            return
        if plays := self._plays(RECENT_PLAYS):
            oldest = plays[0].started_ms
            there = {identity(play) for play in plays} | self._kept(oldest)
            for started_ms, uri in islice(reversed(self._found), RECENT_PLAYS):
                if started_ms > oldest and (started_ms, uri) not in there:
                    raise YearFailure(f"neither Redis nor the outbox has the play of {started_ms}: {uri}")
            self._judge(plays, plays[0].started_ms / 1000 - HOUR)

    def _kept(self, since_ms: int) -> set[tuple[int, str]]:
        """The plays of the outbox that ended since then, as another process would see them."""
        if self._poller is not None:
            return {identity(play) for play in self._poller.outbox.kept(since_ms)}
        name = self._folder / "outbox.sqlite"
        if not name.exists():
            return set()
        database = sqlite3.connect(name)
        rows = database.execute(
            "SELECT started_ms, uri FROM plays WHERE ended_ms >= ?", (since_ms,)
        ).fetchall()
        database.close()
        return {(started_ms, uri) for started_ms, uri in rows}

    def _judge(self, plays: list[Play], since: float = 0.0) -> Comparison:
        now = self.clock.now
        first = bisect_left(self._truth, since, key=attrgetter("ended_at"))
        truth = self._truth[first : bisect_right(self._truth, now, key=attrgetter("started_at"))]
        verdict = compare(truth, [self._comparable(play) for play in plays])
        extra = [*verdict.duplicates, *verdict.phantoms]
        self.result.doubled = max(self.result.doubled, len(extra))
        if extra:
            raise YearFailure(f"{len(extra)} plays were not heard, or not as often: {extra[0]}")
        return verdict

    def _comparable(self, play: Play) -> Play:
        """A play under the uri that all pressings of its recording share here.

        What `recently-played` brought ends where the track was left, which may be long after it was paused.
        """
        uri = self._recording.get(play.item.uri, play.item.uri)
        play = replace(play, item=replace(play.item, uri=uri))
        left_at = (
            play.ended_ms / 1000 - MAX_PLAYED_AT_ERROR - 0.1
        )  # at the latest, or a repetition would begin by then
        number = self._play_of(uri, left_at) if play.source == BACKFILL else None
        later = self._play_of(uri, left_at + 2 * MAX_PLAYED_AT_ERROR)
        if number is not None and self._truth[number].ended_at < play.started_ms / 1000 - HOUR:
            number = later  # it was left a moment after it began, and restarted
        if number is None:
            return play
        truth = self._truth[number]
        return replace(play, started_ms=round(truth.started_at * 1000), ended_ms=round(truth.ended_at * 1000))

    def _settle(self) -> None:
        """Restart the logger without faults, and let it settle."""
        self._kill()
        self._start_at = self.clock.now
        self._run_until(self.clock.now + 20 * MINUTE)

    def _sum_up(self) -> None:
        plays = self._plays()
        verdict = self._judge(plays)
        total = self.result
        total.heard = sum(play.started_at <= self.clock.now for play in self._truth)
        live = [pair for pair in verdict.pairs if pair.logged.source == "live"]
        total.live, total.repaired = len(live), len(verdict.pairs) - len(live)
        gaps = self._gaps()
        total.gaps, total.gap_hours = len(gaps), sum(end - begin for begin, end in gaps) / HOUR
        logged: dict[str, list[Play]] = {}
        for pair in verdict.pairs:
            logged.setdefault(pair.truth.uri, []).append(pair.logged)
        lost = [
            play
            for play in verdict.missed
            if not self._is_accounted_for(play, logged.get(play.uri, ()), gaps)
        ]
        total.close = sum(pair.played_error_ms <= MAX_ERROR_MS for pair in live) / max(1, len(live))
        total.lost = len(lost)
        if lost:
            raise YearFailure(f"{total.lost} plays are lost, such as {lost[0]}")

    def _is_required(self, play: TruePlay) -> bool:
        number = self._number_of[id(play)]
        return bool(self.seen[number]) or number in self.listed

    def _is_accounted_for(
        self, play: TruePlay, logged: Sequence[Play], gaps: list[tuple[float, float]]
    ) -> bool:
        """Whether a play that is not in Redis, as others of its recording are, could not be, and why."""
        if any(_is_part(play, other) for other in logged):
            self.result.merged += 1
        elif self._is_required(play):
            return False
        elif any(begin - MINUTE <= play.ended_at and play.started_at <= end + MINUTE for begin, end in gaps):
            self.result.in_gaps += 1
        elif play.ended_at - play.started_at < MIN_GAP_SECONDS:
            self.result.in_blinks += 1
        else:
            return False
        return True

    def _gaps(self) -> list[tuple[float, float]]:
        gaps = self.redis.fields("gaps")
        return [(float(begin), float(end.partition(" ")[0])) for begin, end in gaps.items()]

    def _report(self, error: Exception) -> str:
        """Return what a person needs to find the bug."""
        events = "\n".join(f"  {fault}" for fault in self._recent_faults)
        lines = "".join(self.log.lines)
        return f"seed {self.seed}, at {self.clock.now:.0f}: {error}\nfaults:\n{events}\nlog:\n{lines}"


@contextmanager
def _cached_parsing() -> Iterator[None]:
    """Parse no play twice: every hour the logger looks through those of two days."""
    from_hash, read_play = Play.from_hash, lru_cache(4096)(outbox.read_play)
    parse = lru_cache(4096)(lambda second, *kept: from_hash(second, dict(kept)))

    def parse_once(second: int, kept: Mapping[str, str], *catalog: Mapping[str, FieldValue]) -> Play | None:
        return from_hash(second, kept, *catalog) if catalog else parse(second, *kept.items())

    with patch.object(Play, "from_hash", parse_once), patch.object(outbox, "read_play", read_play):
        yield


def _is_part(play: TruePlay, logged: Play) -> bool:
    """Whether a play lies within a logged one of the same recording."""
    return logged.started_ms / 1000 - 5 <= play.started_at and play.ended_at <= logged.ended_ms / 1000 + 5


def recordings(record: ListeningHistory) -> dict[str, str]:
    """The uri that stands for a recording, by the uris of its pressings."""
    items = [segment.item for segment in record.segments if segment.item is not None]
    twins = [(item.uri, item.twin.uri) for item in items if item.twin is not None]
    return {uri: min(pair) for pair in twins for uri in pair}


def _starts_by_uri(truth: Sequence[TruePlay]) -> dict[str, tuple[list[float], list[int]]]:
    """When the plays of each uri began, and their numbers."""
    found: dict[str, tuple[list[float], list[int]]] = {}
    for number, play in enumerate(truth):
        starts, numbers = found.setdefault(play.uri, ([], []))
        starts.append(play.started_at)
        numbers.append(number)
    return found
