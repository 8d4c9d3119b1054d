"""Drives the virtual machine of `machine.sh`: what happens to it, and what the logger makes of it.

    machine.py FOLDER [PART ...]

FOLDER has the kernel and the disks, of which copies are used. The listener is four times as fast as a real
one. Whatever the logger was shown, and had the time to write, has to be in the log, once.
"""

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
from typing import Any

from spotify_logger.core.play import LIVE, Play
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import PLAYER_PATH, Service
from spotify_logger.spotify.http import Request, Response

PATIENCE = 900.0
"""Seconds to wait for anything at most: an emulated processor is slow."""
POWER_CUTS = 5
PACE = 4.0
HABITS = replace(
    Habits.plain(), nonstop=True, early_skip=0.1, late_skip=0.1, pause=0.1, seek=0.1, pause_seconds=(3, 60)
)
MAX_ERROR_MS = 2000
"""Milliseconds by which `ms_played` may exceed what was heard."""
SPOTIFY = "http://127.0.0.1:9000"
SETTINGS = (
    f"SPOTIFY_CLIENT_ID={DEMO_CLIENT_ID}\nSPOTIFY_CLIENT_SECRET={DEMO_CLIENT_SECRET}\n"
    f"SPOTIFY_API_URL={SPOTIFY}\nSPOTIFY_ACCOUNTS_URL={SPOTIFY}\nPOLL_MIN=1\nPOLL_MAX=5\n"
)
STATUS = "cd / && sudo -u pi spotify-logger status"
# There, starting Python takes a good part of the 90 s.
RESTART = "SECONDS=0; timeout 90 systemctl restart spotify-logger && echo done in $SECONDS s"
DONE = r"^done in \d+ s"
FILL = "for dir in / /var/lib; do fallocate -l $(df -B1 --output=avail $dir | tail -n 1) $dir/filler; done"
PYTHON = "/opt/spotify-logger/.venv/bin/python -P -c"
LOGGED = """
import json
from spotify_logger.storage.bulk import Archive
print(json.dumps(Archive("redis://127.0.0.1:6379/0", "music:").recent(5000)))
"""
VISIT = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"
CODE = "import spotify_logger; print(spotify_logger.__cached__)"


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
    """A virtual machine, whose disks are copies of those in a folder."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self._work, self._commands = folder, work, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners = {}
        for name in ("monitor", "agent"):
            self._listeners[name] = socket.socket(socket.AF_UNIX)
            self._listeners[name].bind(f"{work}/{name}")
            self._listeners[name].listen()
            self._listeners[name].settimeout(PATIENCE)
        for name in ("root", "lib"):
            disk = ("-b", f"{folder}/{name}.ext4", "-F", "raw", f"{work}/{name}.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *disk], check=True)  # noqa: S607

    def boot(self, clock: str = "", *, online: bool = True) -> float:
        """Boot, with a clock such as "2020-01-01T00:00:00", and return the seconds until that was done."""
        begun = time.monotonic()
        options = (
            "-nodefaults -no-reboot -display none -accel tcg -smp 2 -m 1024 -netdev user,id=net"
            " -device virtio-net,netdev=net,id=card -device virtio-serial -chardev socket,id=agent,path=agent"
            " -device virtserialport,chardev=agent,name=agent -qmp unix:monitor -serial file:console"
            " -drive file=root.qcow2,if=virtio -drive file=lib.qcow2,if=virtio"
            f" -kernel {self._folder}/kernel -initrd {self._folder}/initrd"
        ).split()
        kernel = ("-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=0")
        time_base = ("-rtc", f"base={clock or 'utc'}")
        command = ["nice", "-n", "10", "qemu-system-x86_64", *options, *kernel, *time_base]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self._work)
        self._agent, self._monitor = (self._listeners[name].accept()[0] for name in ("agent", "monitor"))
        self.monitor("qmp_capabilities")
        self.set_online(online=online)
        self.run("systemctl is-system-running --wait")
        return time.monotonic() - begun

    def monitor(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run a command of QEMU's monitor, and return its answer."""
        self._monitor.settimeout(PATIENCE)
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self._monitor.makefile():
            if "return" in (answer := json.loads(line)):
                return answer["return"]
        raise ConnectionError(command)

    def set_online(self, *, online: bool) -> None:
        """Plug in the network cable, or unplug it."""
        self.monitor("set_link", name="card", up=online)

    def run(self, command: str) -> str:
        """Run a command in a shell of root, and return what it has printed; TimeoutError if it hangs."""
        self._commands += 1
        end, deadline, said = f"<{self._commands}>", time.monotonic() + PATIENCE, b""
        self._agent.settimeout(PATIENCE)
        self._agent.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo '{end}'\n".encode())
        while end.encode() not in said:
            if time.monotonic() > deadline:
                raise TimeoutError(command)
            said += self._agent.recv(65536)
        return said.decode(errors="replace").rpartition(end)[0].strip()

    def cut_power(self) -> None:
        """End it like a power cut."""
        if self._process:
            self._process.kill()
            self._process.wait()


class Trial:
    """A machine, its listener, and what came of each check."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.failures = machine, 0
        self.spotify = Witness(Service(listen(1, 2.0, HABITS).moved(time.time(), PACE)))

    def check(self, what: str, said: str, *, is_right: bool) -> None:
        """Print the result of a check."""
        self.failures += not is_right
        print(f"{'ok    ' if is_right else 'WRONG '} {what}: {said}", flush=True)

    def says(self, what: str, expected: str, command: str = STATUS) -> None:
        """Check that a command, by default any user's `status`, comes to print what matches `expected`."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(expected, said := self.machine.run(command), re.MULTILINE)):
            if time.monotonic() > deadline:
                break
            time.sleep(2)
        self.check(what, found[0] if found else said, is_right=found is not None)

    def boot(self, clock: str = "", *, online: bool = True) -> None:
        """Cut the power while music plays, and boot."""
        self.machine.cut_power()
        self.spotify.shown = None  # the logger may not have written what it has just seen
        seconds = self.machine.boot(clock, online=online)
        said = self.machine.run("systemctl is-system-running")
        self.check("the boot ends", f"{said} after {seconds:.0f} s", is_right=said == "running")

    def listen(self, plays: int = 3) -> None:
        """Wait until the logger has seen some more plays."""
        deadline, wanted = time.monotonic() + PATIENCE, len(self.spotify.seen) + plays
        while len(self.spotify.seen) < wanted and time.monotonic() < deadline:
            time.sleep(1)

    def log_is_right(self, when: str) -> None:
        """Check that all is well, and compare the log with what was heard."""
        self.says(f"status {when}", r"^health\s+well")
        rows = json.loads(self.machine.run(f"{PYTHON} {shlex.quote(LOGGED)}"))
        truth = self.spotify.record.heard_by(time.time())
        found = compare(truth, filter(None, (Play.from_hash(*row) for row in rows)))
        wrong = {
            "lost": [play for play in found.missed if truth.index(play) in self.spotify.seen],
            "doubled": found.duplicates,
            "never heard": found.phantoms,
            "credited with too much": [  # `recently-played` does not say how much was heard
                pair
                for pair in found.pairs
                if pair.logged.source == LIVE and pair.logged.ms_played > pair.truth.ms_played + MAX_ERROR_MS
            ],
        }
        bad = "; ".join(f"{word}: {plays}" for word, plays in wrong.items() if plays)
        counts = f"{len(truth)} plays heard, {len(self.spotify.seen)} seen, {len(found.pairs)} in the log"
        self.check(f"the log {when}", f"{counts}; wrong: {bad or 'none'}", is_right=not bad)


def install(trial: Trial) -> None:
    """Do what docs/install-pi.md says, as a user at a terminal."""
    run, typed, port = trial.machine.run, SETTINGS.replace("\n", "\\n"), trial.spotify.server_address[1]
    run(f"echo PORT={port} >/etc/spotify; echo REDIS_PREFIX=music: >/etc/spotify-logger.conf")
    run(f"""printf '#!/bin/sh\\nprintf "{typed}" >"$1"' >/usr/local/bin/editor; chmod +x /usr/local/bin/*""")
    terminal = "cd ~pi/spotify-logger; sudo -u pi script -qefc 'sudo deploy/install' /tmp/terminal"
    run(f"({terminal} < <(sleep 1200); echo $? >/tmp/result) &>/dev/null &")
    trial.says("deploy/install asks for the login", rf"{SPOTIFY}/authorize\S+", "cat /tmp/terminal")
    run(f"python3 -c '{VISIT}' \"$(grep -ao '{SPOTIFY}/authorize[^[:space:]]*' /tmp/terminal)\"")
    trial.says("deploy/install succeeds", "^0$", "cat /tmp/result")
    trial.says("it runs", "^active$", "systemctl is-active spotify-logger")
    both = f"cd /opt; {PYTHON} '{CODE}'; cd /; $(sed 's/#!//;q' $(which spotify-logger)) -P -c '{CODE}'"
    trial.says("one copy runs, compiled", r"^(\S+/site-packages/\S+)\n\1$", f"ls $({both})")
    trial.listen()
    trial.log_is_right("after the installation")


def unit(trial: Trial) -> None:
    """Start, restart and boot without Spotify, without Redis, and with full disks."""
    machine, systemctl = trial.machine, "systemctl status spotify-logger"
    machine.set_online(online=False)
    trial.says("systemctl restart while offline", DONE, RESTART)
    trial.says("systemctl status while offline", r'Status: ".*127.0.0.1:9000.*"', systemctl)
    trial.boot(online=False)
    machine.set_online(online=True)
    trial.log_is_right("after being offline")
    machine.run("systemctl stop redis-server")
    trial.says("systemctl restart without Redis", DONE, RESTART)
    trial.says("status without Redis", "(Redis at|nothing is listening on) 127.0.0.1:6379.*")
    machine.run("systemctl start redis-server")
    trial.log_is_right("after being without Redis")
    machine.run(FILL)
    trial.says("status with full disks", r"the disk with .* is full|is the disk full or read-only\?")
    trial.says("systemctl restart with full disks", DONE, RESTART)
    trial.says("systemctl status with full disks", r"Status: \S.*", systemctl)
    machine.run("rm /filler /var/lib/filler")
    trial.log_is_right("after full disks")


def power(trial: Trial) -> None:
    """Cut the power while music plays."""
    for number in range(1, POWER_CUTS + 1):
        trial.listen()
        trial.boot()
        trial.log_is_right(f"after power cut {number}")


def clocks(trial: Trial) -> None:
    """Boot with wrong clocks, and set the date forward and back."""
    for clock in ("2024-01-01T00:00:00", "2028-02-29T23:59:50"):
        trial.boot(clock)
        trial.says(f"status with a clock of {clock}", r"^clock\s+.*")
        trial.listen()
        trial.log_is_right(f"with a clock of {clock}")
    for change in ("+90 days", "-2 years"):
        trial.machine.run(f"date -s '{change}'")
        trial.listen()
        trial.log_is_right(f"with a date changed by {change}")
    trial.boot()
    trial.log_is_right("with the right clock")


def read_only(trial: Trial) -> None:
    """Let the kernel find an error in a file system, which becomes read-only; then turn the power off."""
    trial.listen()
    trial.spotify.counts = False  # from now on, nothing can be kept
    trial.machine.run("echo 1 >/sys/fs/ext4/vdb/trigger_fs_error")
    trial.says(
        "status with a read-only disk", r"the disk with .* is read-only|is the disk full or read-only\?"
    )
    trial.boot()
    trial.spotify.counts = True
    trial.log_is_right("after a read-only disk")


PARTS = {part.__name__: part for part in (unit, power, clocks, read_only)}


def main() -> int:
    """Install, go through the parts, and return 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        trial = Trial(Machine(options.folder, Path(work)))
        try:
            trial.boot()
            for part in (install, *(PARTS[name] for name in options.parts or PARTS)):
                print(f"== {part.__name__}", flush=True)
                part(trial)
        finally:
            trial.machine.cut_power()
    return int(trial.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
