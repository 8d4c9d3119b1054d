"""Drives the virtual machine of `machine.sh`: what a person and bad luck do to it, and what the logger makes of it.

    machine.py FOLDER [PART ...]

FOLDER has the kernel and the disks, which are not changed. The listener is four times as fast as a real one, except
for `writes`. Everything that was shown to the logger, and that it had the time to write, has to be in the log.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_logger.core.play import LIVE, Play
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import PLAYER_PATH, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.simulator.comparison import Pair
    from spotify_logger.spotify.http import Request, Response

PATIENCE = 600.0
"""Seconds to wait for anything at most: an emulated processor is slow."""
PROMPT = 90.0
"""Seconds that `systemctl` may take there; Python alone takes a good part of them."""
HABITS = replace(
    Habits.plain(), nonstop=True, early_skip=0.1, late_skip=0.1, pause=0.1, seek=0.1, pause_seconds=(3, 60)
)
MAX_ERROR_MS = 2000
"""Milliseconds by which `ms_played` may exceed what was heard."""
HOME = "/opt/spotify-logger"
POWER_CUTS = 5
LOGGED = """
import json
from spotify_logger.storage.bulk import Archive
print(json.dumps(Archive("redis://127.0.0.1:6379/0").recent(5000)))
"""


class Witness(SimulatorServer):
    """A simulated Spotify that knows which plays the logger has seen for certain."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.record = service.record
        self.seen: set[int] = set()
        """The numbers of the plays that an answer has shown, after which the logger has asked again."""
        self.shown: int | None = None
        self.counts = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def respond(self, request: Request, body: bytes) -> Response:
        """Answer a request."""
        before, now = self.shown, self.record.at(time.time()).play
        response = super().respond(request, body)
        if request.url.partition("?")[0] == PLAYER_PATH and self.counts:
            self.seen |= set() if before is None else {before}
            self.shown = now if self.record.at(time.time()).play == now else None
        return response


class Machine:
    """A virtual machine with disks that are copies of those in a folder."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self._work = folder, work
        self._process: subprocess.Popen[bytes] | None = None
        self._commands = 0
        for name in ("root", "lib"):
            disk = ("-b", folder / f"{name}.ext4", "-F", "raw", work / f"{name}.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *disk], check=True)

    def boot(self, clock: str = "", *, online: bool = True) -> float:
        """Boot, with a clock such as "2020-01-01T00:00:00", and return the seconds until that was done."""
        begun = time.monotonic()
        options = "-nodefaults -no-reboot -display none -accel tcg,thread=multi -smp 2 -m 1024 -device virtio-serial"
        drives = [f"file={self._work}/{name}.qcow2,if=virtio,cache=writeback" for name in ("root", "lib")]
        command = [
            *("nice", "-n", "10", "qemu-system-x86_64", *options.split()),
            *("-kernel", f"{self._folder}/kernel", "-initrd", f"{self._folder}/initrd"),
            *("-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=0"),
            *("-drive", drives[0], "-drive", drives[1]),
            *("-netdev", "user,id=net", "-device", "virtio-net,netdev=net,id=card"),
            *("-chardev", f"socket,id=agent,path={self._work}/agent,server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=agent"),
            *("-qmp", f"unix:{self._work}/qmp,server=on,wait=off"),
            *("-serial", f"file:{self._work}/console"),
            *(("-rtc", f"base={clock}") if clock else ()),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._qmp = self._connect("qmp")
        self.monitor("qmp_capabilities")
        self.set_online(online=online)
        self._agent = self._connect("agent")
        self.run("systemctl is-system-running --wait || true")
        return time.monotonic() - begun

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + 30
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(f"{self._work}/{name}")
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return connection

    def monitor(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run a command of QEMU's monitor, and return its answer."""
        self._qmp.settimeout(PATIENCE)
        self._qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        said = b""
        while True:
            said += self._qmp.recv(65536)
            *lines, said = said.split(b"\n")
            for answer in map(json.loads, lines):
                if "error" in answer:
                    raise RuntimeError(answer["error"]["desc"])
                if "return" in answer:
                    return answer["return"]

    def set_online(self, *, online: bool) -> None:
        """Plug in the network cable, or unplug it."""
        self.monitor("set_link", name="card", up=online)

    def run(self, command: str, seconds: float = PATIENCE, *, check: bool = False) -> str:
        """Run a command in a shell of root, and return what it has printed; TimeoutError after `seconds`."""
        self._commands += 1
        end = f"<{self._commands} "
        self._agent.settimeout(seconds)
        deadline = time.monotonic() + seconds
        self._agent.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo '{end}'$?'>'\n".encode())
        said = ""
        while not (found := re.search(rf"(.*){end}(\d+)>\n", said, re.DOTALL)):
            if time.monotonic() > deadline:
                raise TimeoutError(command)
            said += self._agent.recv(65536).decode(errors="replace")
        if check and found[2] != "0":
            raise RuntimeError(f"{command}: {found[1]}")
        return found[1].strip()

    def cut_power(self) -> None:
        """End it like a power cut."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._qmp.close()
            self._agent.close()

    def written(self) -> tuple[int, int]:
        """Return the bytes written to the disk of /var/lib so far, and the flushes."""
        self.run("sync")
        _, stats = (disk["stats"] for disk in self.monitor("query-blockstats"))
        return stats["wr_bytes"], stats["flush_operations"]


class Trial:
    """A machine, its listener, and what came of each check."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.failures = 0
        self.spotify = Witness(Service(listen(1, 2.0, HABITS).moved(time.time(), 4.0)))

    def check(self, what: str, is_right: object, said: object = "") -> None:
        """Print the result of a check."""
        self.failures += not is_right
        print(f"{'ok    ' if is_right else 'WRONG '} {what}: {said}", flush=True)

    def says(
        self, what: str, expected: str, command: str = "cd / && sudo -u pi spotify-logger status"
    ) -> None:
        """Check that a command prints what matches `expected`, at some time; by default `status`, as any user."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(expected, said := self.machine.run(command))):
            if time.monotonic() > deadline:
                break
            time.sleep(2)
        self.check(what, found, found[0] if found else said)

    def quickly(self, what: str, command: str) -> None:
        """Check that a command succeeds in reasonable time."""
        begun = time.monotonic()
        said = self.machine.run(f"{command} && echo done")
        seconds = time.monotonic() - begun
        self.check(what, said.endswith("done") and seconds < PROMPT, f"{seconds:.0f} s")

    def cut_power(self, clock: str = "", *, online: bool = True) -> None:
        """Cut the power while music plays, and boot again."""
        self.machine.cut_power()
        self.spotify.shown = None  # the logger may not have written what it has just seen
        seconds = self.machine.boot(clock, online=online)
        self.check("the boot ends", seconds < PATIENCE, f"{seconds:.0f} s")

    def listen(self, plays: int = 3) -> None:
        """Wait until the logger has seen some more plays."""
        deadline, wanted = time.monotonic() + PATIENCE, len(self.spotify.seen) + plays
        while len(self.spotify.seen) < wanted and time.monotonic() < deadline:
            time.sleep(1)

    def log_is_right(self, what: str) -> None:
        """Check that all is well, and compare the log with what was heard."""
        self.says(f"{what}, status", r"health\s+well")
        python = f"{HOME}/.venv/bin/python -P -c"
        logged = [
            Play.from_hash(*play) for play in json.loads(self.machine.run(f"{python} {shlex.quote(LOGGED)}"))
        ]
        truth = self.spotify.record.heard_by(time.time())
        found = compare(truth, [play for play in logged if play])
        # `recently-played` does not say how long a play was.
        more = [
            pair for pair in found.pairs if pair.logged.source == LIVE and _excess_ms(pair) > MAX_ERROR_MS
        ]
        wrong = {
            "lost": [play for play in found.missed if truth.index(play) in self.spotify.seen],
            "doubled": found.duplicates,
            "never heard": found.phantoms,
            "credited with too much": more,
        }
        said = f"{len(truth)} plays heard, {len(self.spotify.seen)} seen, {len(found.pairs)} in the log"
        bad = "; ".join(f"{word}: {plays}" for word, plays in wrong.items() if plays)
        self.check(
            what, not bad, f"{said}; {bad or 'none lost, doubled, made up, or credited with too much'}"
        )


def _excess_ms(pair: Pair) -> int:
    return pair.logged.ms_played - pair.truth.ms_played


def install(trial: Trial) -> None:
    """Do what docs/install-pi.md says, as a user at a terminal."""
    run, port = trial.machine.run, trial.spotify.server_address[1]
    settings = {
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID, "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET, "POLL_MIN": 1, "POLL_MAX": 5,
        **dict.fromkeys(("SPOTIFY_API_URL", "SPOTIFY_ACCOUNTS_URL"), "http://127.0.0.1:9000"),
    }  # fmt: skip
    typed = "\\n".join(f"{name}={value}" for name, value in settings.items())
    run(
        f'echo PORT={port} >/etc/spotify; printf \'#!/bin/sh\\nprintf "{typed}\\\\n" >"$1"\' >/usr/local/bin/editor'
    )
    run("chmod +x /usr/local/bin/editor")
    terminal = "cd /home/pi/spotify-logger && sudo -u pi script -qefc '{}' /tmp/terminal < <(sleep 1200)"
    run(f"({terminal.format('sudo deploy/install')}; echo $? >/tmp/result) &>/dev/null &")
    trial.says(
        "deploy/install asks for the login",
        "http://127.0.0.1:9000/authorize[^\\s]*",
        "cat /tmp/terminal /tmp/result",
    )
    visit = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
    run(f"python3 -c '{visit}' \"$(grep -ao 'http://127.0.0.1:9000/authorize[^[:space:]]*' /tmp/terminal)\"")
    trial.says("deploy/install succeeds", "^0$", "cat /tmp/result")
    trial.says("it runs", "^active$", "systemctl is-active spotify-logger")
    trial.log_is_right("after the installation")


def unit(trial: Trial) -> None:
    """Start, restart and boot without Spotify, Redis or space on the disk; and look at what is installed."""
    machine, restart = trial.machine, "systemctl restart spotify-logger"
    code = "import spotify_logger as package; print(package.__cached__)"
    both = f"cd {HOME} && .venv/bin/python -P -c '{code}'; cd / && $(sed 's/#!//;q' $(which spotify-logger)) -P -c '{code}'"
    trial.says(
        "the service and the command run one copy, compiled",
        r"^(\S+/site-packages/\S+)\n\1$",
        f"ls $({both})",
    )
    machine.set_online(online=False)
    trial.quickly("restart while offline", restart)
    trial.says(
        "systemctl status while offline", r'Status: ".*127.0.0.1.*"', "systemctl status spotify-logger"
    )
    trial.cut_power(online=False)
    trial.says("the boot while offline", "^running$", "systemctl is-system-running")
    machine.set_online(online=True)
    trial.log_is_right("after being offline")
    machine.run("systemctl stop redis-server")
    trial.quickly("restart without Redis", restart)
    trial.says("status without Redis", r"Redis at 127.0.0.1:6379 cannot be reached.*")
    machine.run("systemctl start redis-server")
    trial.log_is_right("after being without Redis")
    machine.run(
        "for folder in / /var/lib; do fallocate -l $(df -B1 --output=avail $folder | tail -n 1) $folder/filler; done"
    )
    trial.says("status with a full disk", r"the disk with \S+ is full: free some space")
    trial.quickly("restart with a full disk", restart)
    trial.says("systemctl status with a full disk", r"Status: \S.*", "systemctl status spotify-logger")
    machine.run("rm /filler /var/lib/filler")
    trial.log_is_right("after a full disk")


def power(trial: Trial) -> None:
    """Cut the power while music plays."""
    for number in range(1, POWER_CUTS + 1):
        trial.listen()
        trial.cut_power()
        trial.log_is_right(f"after power cut {number}")


def clocks(trial: Trial) -> None:
    """Boot with wrong clocks, and set the date forth and back."""
    for clock in ("2024-01-01T00:00:00", "2028-02-29T23:59:50"):
        trial.cut_power(clock)
        trial.says(f"status with a clock of {clock}", r"clock\s+\d.*")
        trial.listen()
    for change in ("+90 days", "-2 years", "+1 year"):
        trial.machine.run(f"date -s '{change}'")
        trial.listen()
        trial.log_is_right(f"with a date changed by {change}")
    trial.cut_power()
    trial.log_is_right("with the right clock")


def read_only(trial: Trial) -> None:
    """Let the kernel find an error in the file system, after which it is read-only; then power off."""
    trial.listen()
    trial.spotify.counts = False  # until the power is off, nothing can be kept
    trial.machine.run("echo 1 >/sys/fs/ext4/vdb/trigger_fs_error")
    trial.says("status with a read-only disk", r"the disk with \S+ is read-only.*")
    trial.cut_power()
    trial.spotify.counts = True
    trial.log_is_right("after a read-only disk")


def redis_server(trial: Trial) -> None:
    """Let Debian's Redis leave and come back; then let it arrive next to the logger's own."""
    machine = trial.machine
    machine.run("apt-get remove -qy redis-server")
    trial.says("status when Redis was removed", r"Redis at 127.0.0.1:6379 cannot be reached.*")
    machine.run("systemctl restart spotify-logger")
    trial.says(
        "the log then",
        "no Redis server on this machine: sudo apt install redis-server",
        "journalctl -eu spotify-logger",
    )
    trial.listen()
    machine.run("apt-get install -qy redis-server")
    trial.log_is_right("when Redis was installed again")
    # An installation of version 0.5.0 has a Redis of its own.
    machine.run(
        "systemctl stop spotify-logger && apt-get purge -qy redis-server && cd /var/lib/private/spotify-logger && rm -f outbox*"
    )
    machine.run(
        "mkdir -pm 700 redis && chown --reference . redis && cd ~pi/spotify-logger && deploy/install",
        check=True,
    )
    machine.run("systemctl restart spotify-logger")
    trial.spotify.seen.clear()
    trial.listen()
    trial.log_is_right("with a Redis of its own")
    machine.run("apt-get install -qy redis-server")
    trial.cut_power()
    trial.says("status when an empty Redis hides the log", r"lacks the log .*spotify-logger move.*")
    machine.run(
        "systemctl stop spotify-logger && STATE_DIR=/var/lib/private/spotify-logger spotify-logger move",
        check=True,
    )
    machine.run("systemctl start spotify-logger")
    trial.log_is_right("when the log was moved to Debian's Redis")


def update(trial: Trial) -> None:
    """Update to a version with another unit, then to one that does not come up."""
    run, pull = (
        trial.machine.run,
        "cd /home/pi/spotify-logger && sudo -u pi git pull -q && sudo -u pi sudo deploy/update",
    )
    run(f"cd /home/pi/spotify-logger && sudo -u pi sudo deploy/install --web; {NEW_CLONE}", check=True)
    run(
        "sed -i s/WatchdogSec=5min/WatchdogSec=4min/ deploy/spotify-logger.service; sed -i 's/^version = .*/version = \"9.9\"/' pyproject.toml"
    )
    before = "systemctl show -P InvocationID spotify-logger-web"
    old = run(f"cd /srv/new && git commit -qam new && git push -q; {before}")
    trial.says("update", "^updated$", f"{pull} && echo updated")


def main() -> int:
    """Run the parts, and return 1 if anything is not as it should be."""
    parts: dict[str, Callable[[Trial], None]] = {}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="by default, all of them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        machine = Machine(options.folder, Path(work))
        trial = Trial(machine)
        try:
            seconds = machine.boot()
            trial.check("the boot ends", seconds < PATIENCE, f"{seconds:.0f} s")
            install(trial)
            for name in options.parts or parts:
                print(f"== {name}", flush=True)
                parts[name](trial)
        finally:
            machine.cut_power()
    return int(trial.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
