"""The supervisor: restarts the poll loop when it dies or hangs, and runs a Redis server and the page.

A single `select` waits for signals (SIGCHLD among them), beats of the loop, and deadlines. The restart
policies decide what to do; this module does it. Standard library only: this process runs for years.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import MutableMapping, Sequence

from spotify_logger.storage.embedded_server import EmbeddedServer, is_listening, missing_server
from spotify_logger.supervisor import processes, restart_policy
from spotify_logger.supervisor.processes import ChildProcess
from spotify_logger.supervisor.restart_policy import Action, Beat, RestartPolicy, SupervisorTimings
from spotify_logger.system import lock_file, log, program
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

USAGE = """usage: run.py [--web [OPTION ...] | --demo [--web] [--for SECONDS]]

Log every play of a Spotify listener to Redis: run log.py, and restart it whenever it dies or hangs.

  --web            also serve the web page, with the options of `spotify-logger web`
  --demo           try it without a Spotify account, with a simulated listener and its own Redis server,
                   with --web a made-up year of listening, too
  --for SECONDS    stop the demo after that time
"""

STDERR = 2
EXIT_USAGE = 2  # of argparse


def main(arguments: Sequence[str], loop: Sequence[str] = (sys.executable, "log.py")) -> int:
    """Supervise the command of the poll loop, in the folder of the settings, and return the exit code."""
    if not arguments or arguments[0] == "--web":
        check = program.module_command("spotify_logger.daemon.preflight")
        page = program.module_command("spotify_logger", "web", *arguments[1:]) if arguments else None
        copy = program.module_command("spotify_logger.transfer.second_copy")
        return Supervisor(check, loop, SupervisorTimings(), page=page, copy=copy).run()
    if arguments[0] == "--demo":
        demo = program.module_command("spotify_logger.simulator.demo", *arguments[1:])
        os.execv(sys.executable, demo)  # noqa: S606 - this project
    if arguments[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return os.EX_OK
    sys.stderr.write(USAGE.partition("\n")[0] + "\n")
    return EXIT_USAGE


class Supervisor:
    """Runs the preflight check, then the poll loop; and, if wanted, a Redis server, the page and more."""

    def __init__(
        self,
        check: Sequence[str],
        loop: Sequence[str],
        timings: SupervisorTimings,
        page: Sequence[str] | None = None,
        copy: Sequence[str] | None = None,
    ) -> None:
        # What is closed of 0, 1 and 2 becomes /dev/null, so that no pipe becomes the stderr of the children.
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional-only
        os.close(descriptor)
        self._command, self._timings = loop, timings
        self._preflight = processes.PreflightProcess(check, timings)
        self._children: list[ChildProcess] = [self._preflight]
        self._loop: processes.LoopProcess | None = None
        self._redis: processes.RedisProcess | None = None
        policy = RestartPolicy(timings, final={os.EX_CONFIG, EXIT_USAGE})
        self._page = ChildProcess("the page", page, policy) if page else None
        self._copy = processes.CopyProcess(copy, timings) if copy else None
        self._systemd = Notifier(os.environ)
        self._stopping = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Supervise until asked to stop, and return the exit code."""
        wake_fd = program.catch_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        # A terminal may stop background processes that write to it, as the loop does, which inherits this.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        self._perform(self._preflight, self._preflight.policy.start(time.monotonic()))
        while self._exit_code is None:
            self._turn(wake_fd)
        if self._page:
            self._page.send(signal.SIGTERM)
        if self._redis:
            self._redis.server.stop()
        return self._exit_code

    def _turn(self, wake_fd: int) -> None:
        watched = [wake_fd, self._loop.beat_fd] if self._loop else [wake_fd]
        deadlines = [child.policy.deadline for child in self._children] + [self._systemd.deadline]
        soonest = min((deadline for deadline in deadlines if deadline is not None), default=None)
        timeout = None if soonest is None else max(0.0, soonest - time.monotonic())
        readable, _, _ = select.select(watched, [], [], timeout)
        # Events before deadlines: after a SIGSTOP, the pipe holds beats that arrived in time.
        if wake_fd in readable:
            for number in os.read(wake_fd, 4096):
                self._on_signal(number)
        if self._loop and self._loop.beat_fd in readable:
            for beat in self._loop.beats():
                self._loop.policy.on_beat(time.monotonic(), beat)
                if not self._stopping:
                    self._systemd.on_beat(time.monotonic(), beat)
        for child in self._children:
            self._perform(child, child.reap(time.monotonic()))
            self._perform(child, child.policy.on_deadline(time.monotonic()))
        self._systemd.on_deadline(time.monotonic())

    def _on_signal(self, number: int) -> None:
        child = self._loop or self._preflight
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
            self._preflight.interrupted = number == signal.SIGINT
            self._systemd.pause("STOPPING=1")
            self._perform(child, child.policy.stop(time.monotonic()))
        if number == signal.SIGHUP and child is self._loop:
            self._perform(child, child.policy.restart(time.monotonic()))

    def _perform(self, child: ChildProcess, actions: list[Action]) -> None:
        for action in actions:
            down = ""
            match action:
                case restart_policy.Start(should_log):
                    self._start(child, should_log=should_log)
                case restart_policy.Signal(number, reason):
                    down = f"{'killing' if number == signal.SIGKILL else 'stopping'} {child.name}"
                    if reason:
                        log.warning(f"{down}: it {reason}")
                    child.send(number)
                case restart_policy.ScheduleRestart(reason, delay, should_log):
                    down = f"{child.name} ended: {reason}; restarting in {delay:.0f} s"
                    if should_log:
                        log.warning(down)
                case restart_policy.Exit(code):
                    self._on_final_exit(child, code)
            if down and child is self._loop:
                self._systemd.pause(f"STATUS={log.sanitize(down)}")

    def _on_final_exit(self, child: ChildProcess, code: int) -> None:
        if child is self._page:
            log.warning(f"the page is not restarted after exit code {code}; plays are still logged")
        elif child is self._preflight and code == os.EX_OK and not self._stopping:
            self._start_services()
        else:
            self._exit_code = code

    def _start(self, child: ChildProcess, *, should_log: bool) -> None:
        try:
            child.launch()
        except (OSError, SpotifyLoggerError) as error:
            self._perform(child, child.policy.on_failure(time.monotonic(), str(error)))
        else:
            if should_log and child.process and child is not self._preflight:
                log.info(f"{child.name} started, pid {child.process.pid}")

    def _start_services(self) -> None:
        state_dir, redis = self._preflight.report()
        try:
            lock_fd = lock_file.acquire(state_dir, "run.py")
        except SpotifyLoggerError as error:
            log.error(str(error))
            self._exit_code = os.EX_CONFIG if isinstance(error, Misconfigured) else 1
            return
        if redis and not is_listening(*redis):
            server = EmbeddedServer(f"{state_dir}/redis", *redis, lock_fd)
            if why := missing_server(f"{state_dir}/redis"):
                where = f"nothing is listening on {server.address}"
                log.warning(f"{where}, and {why}; plays are queued until it runs")
            else:
                self._redis = processes.RedisProcess(server, self._timings)
        self._loop = processes.LoopProcess(self._command, lock_fd, self._timings)
        self._children = [child for child in (self._redis, self._loop, self._page) if child]
        for child in self._children:
            self._perform(child, child.policy.start(time.monotonic()))
        if self._copy:
            self._copy.policy.start_later(time.monotonic(), self._timings.first_copy)
            self._children.append(self._copy)


class Notifier:
    """Tells systemd how the loop is (sd_notify(3)); its variables are taken, so that no child has them."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        allowed, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        watched = allowed.isdigit() and int(allowed) > 0 and pid in {"", str(os.getpid())}
        # Seconds between two watchdog messages, half of what systemd allows; None without a watchdog.
        self._interval = int(allowed) / 2e6 if watched else None
        self._ready = "READY=1"  # until it was sent
        self.deadline: float | None = None  # monotonic seconds, at which `on_deadline` has to be called

    def on_beat(self, now: float, beat: Beat) -> None:
        """Say that the loop is ready and alive, even if it is in trouble."""
        self._send(self._watchdog(now), self._ready, f"STATUS={beat.status}")
        self._ready = ""

    def on_deadline(self, now: float) -> None:
        """Send the next watchdog message if it is due; the loop is not overdue."""
        if self.deadline is not None and now >= self.deadline:
            self._send(self._watchdog(now))

    def pause(self, line: str) -> None:
        """Send a line; watchdog messages pause until the next beat of the loop."""
        self.deadline = None
        self._send(line)

    def _watchdog(self, now: float) -> str:
        if self._interval is None:
            return ""
        self.deadline = now + self._interval
        return "WATCHDOG=1"

    def _send(self, *lines: str) -> None:
        if self._address[:1] not in {"/", "@"}:
            return
        # "@" marks an abstract socket, whose name starts with a zero byte.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        message = "\n".join(filter(None, lines)).encode(errors="replace")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # noqa: FBT003 - positional-only
            channel.sendto(message, address)
