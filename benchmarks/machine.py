"""Drives the virtual machine of `machine.sh`: what happens to it, and what the logger makes of it.

    machine.py FOLDER [PART ...]

FOLDER has the kernel and the disks, of which copies are used. The listener is four times as fast as a real
one. Whatever the logger was shown, and had the time to write, has to be in the log, once.
"""

import argparse
import json
import re
import shlex
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from virtual_machine import PATIENCE, Machine

from spotify_logger.core.play import LIVE, Play
from spotify_logger.core.times import from_iso
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, AppLogin
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.faults import Fault, respond
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import PLAYER_PATH, Service
from spotify_logger.simulator.timeline import TruePlay
from spotify_logger.spotify.http import Request, Response
from tests.testbed.year import recordings

POWER_CUTS = 3
PACE = 4.0
HABITS = replace(
    Habits.plain(), nonstop=True, early_skip=0.1, late_skip=0.1, pause=0.1, seek=0.1, pause_seconds=(3, 60)
)
MAX_ERROR_MS = 2000
"""Milliseconds by which `ms_played` may exceed what was heard."""
MAX_CLOCK_ERROR = 5.0
"""Seconds by which what `status` says of the clock may be wrong."""
MAX_UNSAVED = 100.0
"""Seconds by which a gap may begin early: a power cut takes the answers since the last save."""
LISTENING_HOURS = 4.5
MAX_MEBIBYTES, MAX_FLUSHES = 20, 1500
"""What the logger may write in a day with that much listening."""
PHASES = (("listening", LISTENING_HOURS, 60, 480), ("silence", 24 - LISTENING_HOURS, 180, 960))
"""Their hours in a day, the seconds to wait, and those for which writes are counted.

The second copy, which is made ten minutes after the start, and then once a day, is made in between.
"""

SPOTIFY = "http://127.0.0.1:9000"
SETTINGS = (
    f"SPOTIFY_CLIENT_ID={DEMO_CLIENT_ID}\nSPOTIFY_CLIENT_SECRET={DEMO_CLIENT_SECRET}\n"
    f"SPOTIFY_API_URL={SPOTIFY}\nSPOTIFY_ACCOUNTS_URL={SPOTIFY}\nALERT_URL={SPOTIFY}/alert\n"
    "POLL_MIN=1\nPOLL_MAX=5\n"
)
AS_USER = "cd ~pi/spotify-logger; sudo -u pi"
STATE = "/var/lib/private/spotify-logger"
STATUS = "cd /; sudo -u pi spotify-logger status"
JOURNAL = "journalctl --boot --unit spotify-logger --output cat"
PAGE = "python3 -c 'from urllib.request import urlopen; print(urlopen(\"http://127.0.0.1:8877\").read())'"
# There, starting Python takes a good part of the 90 s.
RESTART = "SECONDS=0; timeout 90 systemctl restart spotify-logger && echo done in $SECONDS s"
DONE = r"^done in \d+ s"
FILL = "for dir in / /var/lib; do fallocate -l $(df -B1 --output=avail $dir | tail -n 1) $dir/filler; done"
AWAY = "(Redis at|nothing is listening on) 127.0.0.1:6379.*"
LACKS = "lacks the log that was kept so far.*spotify-logger move"
APPEND_ONLY = "redis-cli config set appendonly yes; redis-cli config set save ''; redis-cli config rewrite"
ELSEWHERE = "redis://127.0.0.1:6380/0"
PYTHON = "/opt/spotify-logger/.venv/bin/python -P -c"
LOGGED = """
import json, os, pathlib
from spotify_logger.config.settings import load
from spotify_logger.storage.bulk import Archive
settings = load(pathlib.Path("/"), os.environ, need_login=False)
print(json.dumps(Archive(settings.redis_url, settings.redis_prefix).recent(5000)))
"""
VISIT = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"
CODE = "import spotify_logger; print(spotify_logger.__cached__)"
NEW_VERSION = (
    "sed -Ei 's/^(version|__version__) = .*/\\1 = \"9.9\"/' pyproject.toml spotify_logger/__init__.py;"
    "sed -i 's/^WatchdogSec=.*/WatchdogSec=6min/' deploy/spotify-logger.service"
)
BROKEN_VERSION = "echo 1/0 >>spotify_logger/daemon/poller.py"
COMMIT = (
    "git -c user.name=pi -c user.email=pi@localhost commit --quiet --all --message new && git push --quiet"
)
UPDATE = "git pull --quiet && sudo -u pi sudo deploy/update; echo exit code $?"
OLD_FILE = "/root/Streaming_History_Audio_2020.json"
TITLE = "master_metadata_track_name"
OLD_PLAY = {
    "ts": "2020-02-02T20:20:20Z",
    "ms_played": 200_000,
    "spotify_track_uri": f"spotify:track:{'2' * 22}",
    TITLE: "Old Track",
    "master_metadata_album_artist_name": "Old Artist",
}
COUNT_OLD_PLAYS = "cd /; sudo -u pi spotify-logger stats --year 2020 --min 0"
WRITTEN = "sync; awk '$3 ~ /^vd[ab]$/ { print $3, $10 / 2048, $19 }' /proc/diskstats"


class Witness(SimulatorServer):
    """A simulated Spotify that knows which plays the logger has seen for certain, and receives its alerts."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.record = service.record
        self.seen: set[int] = set()
        """The numbers of the plays that an answer has shown, after which the logger has asked again."""
        self.shown: int | None = None
        self.counts = True
        self.answered: list[float] = []
        """When the logger asked what is playing."""
        self.alerts: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def respond(self, request: Request, body: bytes) -> Response:
        """Answer a request."""
        if request.url == "/alert":
            self.alerts.append(body.decode())
            return respond(204, "")
        before, now = self.shown, self.record.at(time.time()).play
        response = super().respond(request, body)
        if request.url.partition("?")[0] == PLAYER_PATH:
            self.answered.append(time.time())
            if self.counts:
                self.seen |= set() if before is None else {before}
                self.shown = now if self.record.at(time.time()).play == now else None
        return response


class Trial:
    """A machine, its listener, and what came of each check."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.failures = machine, 0
        self.spotify = Witness(Service(listen(1, 2.0, HABITS).moved(time.time(), PACE)))

    def check(self, what: str, said: str, *, is_right: bool) -> None:
        """Print the result of a check."""
        self.failures += not is_right
        print(f"{time.strftime('%H:%M:%S')} {'ok   ' if is_right else 'WRONG'} {what}: {said}", flush=True)

    def says(self, what: str, expected: str, command: str = STATUS) -> str:
        """Check that a command, by default any user's `status`, comes to print what matches `expected`."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(expected, said := self.machine.run(command), re.MULTILINE)):
            if time.monotonic() > deadline:
                break
            time.sleep(2)
        self.check(what, found[0] if found else said, is_right=found is not None)
        return said

    def alerts(self, *expected: str) -> None:
        """Check that the alerts since the last time match `expected`, each in its turn."""
        deadline = time.monotonic() + PATIENCE
        while len(self.spotify.alerts) < len(expected) and time.monotonic() < deadline:
            time.sleep(1)
        found, self.spotify.alerts[:] = self.spotify.alerts[:], []
        is_right = len(found) == len(expected) and all(map(re.search, expected, found))
        self.check("alerts", " | ".join(found), is_right=is_right)

    def boot(self, clock: str = "", *, online: bool = True) -> None:
        """Cut the power while music plays, and boot."""
        self.machine.cut_power()
        self.spotify.shown = None  # the logger may not have written what it has just seen
        seconds = self.machine.boot(clock, online=online)
        said = self.machine.run("systemctl is-system-running")
        self.check("the boot ends", f"{said} after {seconds:.0f} s", is_right=said == "running")

    def listen(self, plays: int = 2) -> None:
        """Wait until the logger has seen some more plays."""
        deadline, wanted = time.monotonic() + PATIENCE, len(self.spotify.seen) + plays
        while len(self.spotify.seen) < wanted and time.monotonic() < deadline:
            time.sleep(1)

    def log_is_right(self, when: str) -> None:
        """Check that all is well, each line of `status`, and the log against what was heard."""
        self.says(f"status {when}", r"^health\s+well")
        self.status_is_right(when)
        seen = set(self.spotify.seen)
        rows = json.loads(self.machine.run(f"{PYTHON} {shlex.quote(LOGGED)}"))
        plays = [
            play for row in rows if row[1].get("name") != OLD_PLAY[TITLE] and (play := Play.from_hash(*row))
        ]
        uris = recordings(self.spotify.record)  # `recently-played` may list another ID of the same
        truth = [replace(play, uri=uris.get(play.uri, play.uri)) for play in self.truth()]
        items = [replace(play.item, uri=uris.get(play.item.uri, play.item.uri)) for play in plays]
        found = compare(truth, map(lambda play, item: replace(play, item=item), plays, items))
        wrong = {
            "lost": [play for play in found.missed if truth.index(play) in seen],
            "doubled": found.duplicates,
            "never heard": found.phantoms,
            "credited with too much": [  # `recently-played` does not say how much was heard
                pair
                for pair in found.pairs
                if pair.logged.source == LIVE and pair.logged.ms_played > pair.truth.ms_played + MAX_ERROR_MS
            ],
        }
        bad = "; ".join(f"{word}: {plays}" for word, plays in wrong.items() if plays)
        counts = f"{len(truth)} plays heard, {len(seen)} seen, {len(found.pairs)} in the log"
        self.check(f"the log {when}", f"{counts}; wrong: {bad or 'none'}", is_right=not bad)

    def truth(self) -> list[TruePlay]:
        """Return what was heard so far."""
        return self.spotify.record.heard_by(time.time())

    def status_is_right(self, when: str) -> None:
        """Check the lines of `status` while all is well."""
        said = json.loads(self.machine.run(f"{STATUS} --json"))
        begun = time.time()
        guest, now = float(self.machine.run("date +%s.%N")), time.time()
        offset = guest - (begun + now) / 2

        def ago(text: str) -> float:
            return now - (from_iso(text) or 0) / 1000

        is_right = {
            "last poll": -5 < ago(said["last_poll"]) < 60,
            "last play": said["last_play"]["name"] in {play.name for play in self.truth()[-3:]},
            "gaps": not any(map(self.was_answered, said["gaps_30_days"])),
            "login": round(ago(said["login_valid_until"]) / 86_400) in range(-184, -178),
            "outbox": not said["outbox"],
            "clock": abs((said["clock_offset"] or 0) - offset) < MAX_CLOCK_ERROR,
            "Redis": said["redis"]["persistence"] == "append-only file",
        }
        wrong = ", ".join(line for line in is_right if not is_right[line])
        text = f"wrong: {wrong}; {offset:.1f} s ahead: {said}" if wrong else "wrong: none"
        self.check(f"its lines {when}", text, is_right=not wrong)

    def was_answered(self, gap: dict[str, str]) -> bool:
        """Return whether the logger was answered during what it calls a gap."""
        begin, end = ((from_iso(gap[name]) or 0) / 1000 for name in ("from", "to"))
        return any(begin + MAX_UNSAVED < moment < end - 5 for moment in self.spotify.answered)


def install(trial: Trial) -> None:
    """Do what docs/install-pi.md says, as a user at a terminal."""
    run, typed, port = trial.machine.run, SETTINGS.replace("\n", "\\n"), trial.spotify.server_address[1]
    run(f"echo PORT={port} >/etc/spotify; echo REDIS_PREFIX=music: >/etc/spotify-logger.conf")
    run(f"""printf '#!/bin/sh\\nprintf "{typed}" >"$1"' >/usr/local/bin/editor; chmod +x /usr/local/bin/*""")
    run("cd ~pi; sudo -u pi git clone --quiet /srv/spotify-logger.git")
    terminal = f"{AS_USER} script -qefc 'sudo deploy/install' /tmp/terminal"
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
    trial.says("systemctl restart", DONE, RESTART)
    machine.set_online(online=False)
    trial.says("systemctl restart while offline", DONE, RESTART)
    trial.says("systemctl status while offline", r'Status: ".*127.0.0.1:9000.*"', systemctl)
    trial.boot(online=False)
    machine.set_online(online=True)
    trial.log_is_right("after being offline")
    machine.run("systemctl stop redis-server")
    trial.says("systemctl restart without Redis", DONE, RESTART)
    trial.says("status without Redis", AWAY)
    machine.run("systemctl start redis-server")
    trial.log_is_right("after being without Redis")
    trial.spotify.alerts.clear()
    machine.run(FILL)
    trial.says("status with full disks", r"the disk with .* is full|is the disk full or read-only\?")
    trial.says("systemctl restart with full disks", DONE, RESTART)
    trial.says("systemctl status with full disks", r"Status: \S.*", systemctl)
    machine.run("rm /filler /var/lib/filler")
    trial.log_is_right("after full disks")
    trial.check("alerts", " | ".join(trial.spotify.alerts), is_right=len(trial.spotify.alerts) > 1)


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


def update(trial: Trial) -> None:
    """Update to a new version with a changed unit, and to one that does not come up."""
    run = trial.machine.run
    for what, change, code in (("", NEW_VERSION, 0), (" to a broken one", BROKEN_VERSION, 1)):
        run("rm -rf /tmp/new; sudo -u pi git clone --quiet /srv/spotify-logger.git /tmp/new")
        run(f"cd /tmp/new; sudo -u pi bash -c {shlex.quote(f'{change}; {COMMIT}')}")
        trial.says(f"deploy/update{what}", f"^exit code {code}$", f"{AS_USER} {UPDATE}")
        trial.says(f"the version after an update{what}", r"^version\s+9\.9$")
        unit_file = "systemctl show --property WatchdogUSec spotify-logger"
        trial.says(f"the unit after an update{what}", "=6min$", unit_file)
        trial.listen()
        trial.log_is_right(f"after an update{what}")


def redis(trial: Trial) -> None:
    """Let Debian's Redis leave and return, then leave for the logger's own, and return beside it."""
    run, apt = trial.machine.run, "DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes"

    def succeeds(command: str) -> None:
        trial.says(command, "^exit code 0$", f"{AS_USER} sudo {command}; echo exit code $?")

    run(f"{apt} remove redis-server")
    trial.says("status without Debian's Redis", AWAY)
    succeeds("deploy/install")
    trial.log_is_right("with Debian's Redis again")

    run(f"echo {shlex.quote(json.dumps([OLD_PLAY]))} >{OLD_FILE}; mkdir /var/lib/elsewhere")
    succeeds(f"spotify-logger import {OLD_FILE}")
    server = "redis-server --port 6380 --appendonly yes --dir /var/lib/elsewhere"
    run(f"systemd-run --unit elsewhere {server}")
    succeeds(f"spotify-logger move --to {ELSEWHERE}")
    run(f"echo REDIS_URL={ELSEWHERE} >>/etc/spotify-logger.conf; {apt} purge redis-server; {RESTART}")
    trial.listen()
    trial.log_is_right("in another Redis")

    run("sed -i /REDIS_URL/d /etc/spotify-logger.conf")
    run(f"mkdir {STATE}/redis; chown --reference={STATE} {STATE}/redis")
    succeeds("deploy/install --web")
    trial.says("systemctl restart", DONE, RESTART)
    trial.says("status with an empty Redis", LACKS)
    succeeds(f"spotify-logger move --from {ELSEWHERE}")
    run("systemctl stop elsewhere")
    trial.listen()
    trial.log_is_right("in the logger's own Redis")
    trial.spotify.alerts.clear()

    run(f"{apt} install redis-server")
    trial.boot()
    for what, command in (("log", JOURNAL), ("status", STATUS), ("page", PAGE)):
        trial.says(f"the {what} beside Debian's Redis", LACKS, command)
    trial.alerts(LACKS)
    run(APPEND_ONLY)
    succeeds("spotify-logger move")
    trial.says("an imported play", r"^plays\s+1\b", COUNT_OLD_PLAYS)
    run(RESTART)  # it looks once an hour how Redis saves
    trial.listen()
    trial.log_is_right("in Debian's Redis")


def writes(trial: Trial) -> None:
    """Count what reaches the disks at the pace of life; the machine's own journal stays in memory."""
    run = trial.machine.run
    login = AppLogin(refresh_token=json.loads(run(f"cat {STATE}/token.json"))["refresh_token"])
    service = Service(listen(3, 1.0, replace(Habits(), nonstop=True)).moved(time.time()), login=login)
    run(f"echo PORT={Witness(service).server_address[1]} >/etc/spotify; systemctl stop spotify")
    run("printf '[Journal]\\nStorage=volatile\\n' >/etc/systemd/journald.conf")
    run(f"sed -i /POLL_/d /etc/spotify-logger.env; systemctl restart systemd-journald; {RESTART}")
    day = {disk: [0.0, 0.0] for disk in written(trial.machine)}
    for what, hours, settling, measured in PHASES:
        if what == "silence":
            service.faults.add(Fault("nothing"), time.time())
        time.sleep(settling)
        before, begun = written(trial.machine), time.monotonic()
        time.sleep(measured)
        after, share = written(trial.machine), hours * 3600 / (time.monotonic() - begun)
        for disk, total in day.items():
            counts = [(now - then) * share for now, then in zip(after[disk], before[disk], strict=True)]
            total[:] = map(sum, zip(total, counts, strict=True))
            print(f"{disk}, {hours} h of {what}: {counts[0]:.1f} MiB, {counts[1]:.0f} flushes", flush=True)
    mebibytes, flushes = map(sum, zip(*day.values(), strict=True))
    is_right = mebibytes <= MAX_MEBIBYTES and flushes <= MAX_FLUSHES
    trial.check("writes in a day", f"{mebibytes:.1f} MiB, {flushes:.0f} flushes", is_right=is_right)


def written(machine: Machine) -> dict[str, list[float]]:
    """Return the MiB and the flushes that have reached each disk."""
    rows = map(str.split, machine.run(WRITTEN).splitlines())
    return {disk: list(map(float, counts)) for disk, *counts in rows}


PARTS = {part.__name__: part for part in (unit, power, clocks, read_only, update, redis, writes)}


def main() -> int:
    """Install, go through the parts, and return 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the machine, as Ctrl-C does
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
