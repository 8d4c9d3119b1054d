"""Starts the loop again whenever it dies or hangs, and an embedded Redis server where one is wanted.

One `select` waits for all there is: signals (the end of a process is one), beats of the loop, and deadlines.
What follows is decided by the keepers and done here. Standard library only: this process lives for years.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from spotify_logger.storage.embedded_server import NO_SERVER, EmbeddedServer, find_server, is_listening
from spotify_logger.supervisor.processes import Check, Loop, Server, Ward
from spotify_logger.supervisor.restart_policy import Ask, End, Kill, Retry, Start
from spotify_logger.supervisor.sd_notify import Herald, Systemd
from spotify_logger.system import lock_file, log, program
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.supervisor.restart_policy import Action

USAGE = """usage: run.py [--demo [--web] [--for SECONDS]]

Keeps every play of a Spotify listener in Redis: runs log.py, and starts it again whenever it dies or hangs.

  --demo           needs no Spotify account: a simulated listener, and a Redis server of its own
  --web            with the page, and a made-up year of listening behind it
  --for SECONDS    end the demo after that time
"""

FIRST_BEAT = 60.0
"""Seconds that the loop may take until its first beat: Python, its libraries and a first answer, on a Pi."""

GRACE = 10.0
"""Seconds that a process gets to end when asked."""

STDERR = 2


def main(arguments: Sequence[str]) -> int:
    """Run what `run.py` was asked for, in the folder where `log.py` and the settings lie.

    Args:
        arguments: The command line, without the program.

    Returns:
        The exit code.
    """
    if not arguments:
        check = program.module_command("spotify_logger.daemon.preflight")
        return Supervisor(check, [sys.executable, "log.py"]).run()
    if arguments[0] == "--demo":
        demo = program.module_command("spotify_logger.simulator.demo", *arguments[1:])
        os.execv(sys.executable, demo)  # noqa: S606 - our own program
    if arguments[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return os.EX_OK
    sys.stderr.write(USAGE.partition("\n")[0] + "\n")
    return 2


class Supervisor:
    """The one that looks after the others.

    Args:
        check: The program that checks the settings, and its arguments.
        loop: The program that is kept alive, and its arguments.
        first_beat: Seconds that the loop may take until its first beat.
        grace: Seconds that a process gets to end when asked.
    """

    def __init__(
        self,
        check: Sequence[str],
        loop: Sequence[str],
        first_beat: float = FIRST_BEAT,
        grace: float = GRACE,
    ) -> None:
        self._command = loop
        self._first_beat = first_beat
        self._grace = grace
        self._check = Check(check, grace)
        self._loop: Loop | None = None
        self._server: Server | None = None
        self._systemd = Systemd(os.environ)
        self._herald = Herald(self._systemd.interval)
        self._stopping = False
        self._code: int | None = None

    def run(self) -> int:
        """Look after them until the end is asked for, and give the exit code."""
        _open_standard_descriptors()
        wake_fd = _catch_signals()
        self._do(self._check, self._check.keeper.start(time.monotonic()))
        while self._code is None:
            self._turn(wake_fd)
        if self._server:
            self._server.end()
        return self._code

    def _turn(self, wake_fd: int) -> None:
        beat_fd = self._loop.beat_fd if self._loop else -1
        watched = [fd for fd in (wake_fd, beat_fd) if fd >= 0]
        readable, _, _ = select.select(watched, [], [], self._time_left())
        # First what happened, then what did not: a supervisor that was stopped finds old beats in the pipe.
        if wake_fd in readable:
            for number in os.read(wake_fd, 4096):
                self._signalled(number)
        if beat_fd in readable:
            self._listen()
        for ward in self._wards():
            self._do(ward, ward.bury(time.monotonic()))
        for ward in self._wards():
            self._do(ward, ward.keeper.due(time.monotonic()))
        self._systemd.tell(self._herald.due(time.monotonic()))

    def _wards(self) -> list[Ward]:
        return [ward for ward in (self._server, self._loop or self._check) if ward]

    def _time_left(self) -> float | None:
        deadlines = [ward.keeper.deadline for ward in self._wards()] + [self._herald.deadline]
        soonest = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return None if soonest is None else max(0.0, soonest - time.monotonic())

    def _signalled(self, number: int) -> None:
        ward = self._loop or self._check
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
            self._check.interrupted = number == signal.SIGINT
            self._systemd.tell(self._herald.stopping())
            self._do(ward, ward.keeper.stop(time.monotonic()))
        if number == signal.SIGHUP and ward is self._loop:
            self._do(ward, ward.keeper.renew(time.monotonic()))

    def _listen(self) -> None:
        if self._loop:
            for beat in self._loop.beats():
                self._loop.keeper.heard(time.monotonic(), beat)
                if not self._stopping:
                    self._systemd.tell(self._herald.heard(time.monotonic(), beat))

    def _do(self, ward: Ward, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(aloud):
                    self._start(ward, aloud=aloud)
                case Ask():
                    self._lost(ward, f"{ward.name} is asked to end")
                    ward.ask()
                case Kill(why):
                    self._kill(ward, why)
                case Retry(words, delay, aloud):
                    self._retry(ward, words, delay, aloud=aloud)
                case End(code):
                    self._end(ward, code)

    def _start(self, ward: Ward, *, aloud: bool) -> None:
        try:
            ward.launch()
        except (OSError, SpotifyLoggerError) as error:
            self._do(ward, ward.keeper.failed(time.monotonic(), str(error)))
            return
        if aloud and ward is not self._check:
            log.info(f"{ward.name} started, pid {ward.pid}")

    def _kill(self, ward: Ward, why: str) -> None:
        if why:
            log.warning(f"{ward.name} {why} and is killed")
        self._lost(ward, f"{ward.name} is killed")
        ward.kill()

    def _retry(self, ward: Ward, words: str, delay: float, *, aloud: bool) -> None:
        text = f"{ward.name} ended: {words}; it starts again in {delay:.0f} s"
        if aloud:
            log.warning(text)
        self._lost(ward, text)

    def _lost(self, ward: Ward, words: str) -> None:
        if ward is self._loop:
            self._systemd.tell(self._herald.lost(log.sanitize(words)))

    def _end(self, ward: Ward, code: int) -> None:
        if ward is self._check and code == os.EX_OK and not self._stopping:
            self._begin()
        else:
            self._code = code

    def _begin(self) -> None:
        report = self._check.report()
        if report is None:
            self._do(self._check, self._check.keeper.failed(time.monotonic(), "it reported nothing"))
            return
        try:
            lock_fd = lock_file.acquire(report.state_dir, "run.py")
        except SpotifyLoggerError as error:
            log.error(str(error))
            self._code = os.EX_CONFIG if isinstance(error, Misconfigured) else 1
            return
        if report.redis:
            self._serve(f"{report.state_dir}/redis", lock_fd, *report.redis)
        self._loop = Loop(self._command, lock_fd, self._first_beat, self._grace)
        self._do(self._loop, self._loop.keeper.start(time.monotonic()))

    def _serve(self, directory: str, lock_fd: int, host: str, port: int) -> None:
        if is_listening(host, port):
            return
        if find_server() is None:
            log.warning(f"nothing listens at {host}:{port}, and {NO_SERVER}; what is heard waits for one")
            return
        self._server = Server(EmbeddedServer(directory, host, port, lock_fd))
        self._do(self._server, self._server.keeper.start(time.monotonic()))


def _catch_signals() -> int:
    """Turn signals into bytes of a pipe, from before the first child on; give its end to read."""
    wake_fd, write_fd = os.pipe()
    for descriptor in (wake_fd, write_fd):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    # A terminal may be set to stop what writes to it from the background, as the loop does; it inherits this.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return wake_fd


def _open_standard_descriptors() -> None:
    """Fill 0, 1 and 2 where somebody closed them, lest a pipe becomes the stderr of all children."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - so the library wants it
    os.close(descriptor)
