"""How much does the logger write to the disk? Bytes, writes and flushes per hour of listening and of silence.

It runs the real `run.py` with `log.py`, the embedded server, and a simulated Spotify in real time, and counts
what reaches the block device below: as root, that of an ext4 image made for it, whose journal counts too.
Otherwise it reports what the kernel says that each process has written (proc(5), io). On Linux only:

    sudo .venv/bin/python benchmarks/disk.py [--minutes 10] [--root OTHER_CHECKOUT]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from footprint import ROOT, RunningLogger

from spotify_logger.config.sources import DEFAULTS
from spotify_logger.system.errors import SpotifyLoggerError

PARTS = ("redis", "state")
"""The folders that are measured on their own as well: the embedded server's, and the one with the outbox."""
SETTLING = 60.0
"""Seconds before the counting starts."""
IMAGE_MEGABYTES = 192
SECTOR = 512
"""Bytes in a sector, as the kernel counts them (Documentation/block/stat.rst)."""
NAMESPACE = "SPOTIFY_LOGGER_MOUNTS"
"""Set in the process with mounts of its own, which end with it."""


class Written(NamedTuple):
    """What was written up to a moment, in seconds of the monotonic clock."""

    at: float
    kilobytes: float
    writes: int
    flushes: int

    def per_hour(self, earlier: Written) -> str:
        """Return what was written since an earlier moment, per hour."""
        hours = (self.at - earlier.at) / 3600
        numbers = [now - then for now, then in zip(self[1:], earlier[1:], strict=True)]
        return "".join(f"{number / hours:>10,.0f}" for number in numbers)


def mount_image(resources: ExitStack, folder: Path) -> None:
    """Mount a new ext4 image at a folder, as a Raspberry Pi would."""
    image = folder.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(IMAGE_MEGABYTES << 20)
    # Initialized at once: the kernel would do so in the background, and be counted.
    _run("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    folder.mkdir()
    _run("mount", "-o", "loop,noatime", str(image), str(folder))
    resources.callback(_run, "umount", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def on_device(folder: Path) -> Written:
    """Return what has reached the block device of a folder."""
    _run("sync", "--file-system", str(folder))
    number = folder.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    fields = list(map(int, device.read_text(encoding="ascii").split()))
    return Written(time.monotonic(), fields[6] * SECTOR / 1024, fields[4], fields[15])


def by_processes(pids: list[int]) -> Written:
    """Return what processes have written, as the kernel counts it; it tells nothing of flushes."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    return Written(time.monotonic(), total / 1024, 0, 0)


def measure(seconds: float, root: Path) -> None:
    """Measure listening and silence at the same time, and print a line for each."""
    is_root = os.geteuid() == 0
    with ExitStack() as resources:
        base = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="spotify-logger-disk-")))
        stages: dict[str, RunningLogger] = {}
        folders: dict[str, Path] = {}
        for name, silent, apart in (
            ("listening", False, False),
            ("silence", True, False),
            ("listening, apart", False, True),
            ("silence, apart", True, True),
        ):
            if apart and not is_root:
                continue
            folder = base / name.replace(", ", "-")
            if is_root:
                mount_image(resources, folder)
            else:
                folder.mkdir()
            folders[name] = folder
            for part in PARTS if apart else ():
                mount_image(resources, folder / part)
                (folder / part).chmod(0o700)
                folders[f"{name.partition(',')[0]}, {part}"] = folder / part
            stages[name] = RunningLogger(
                resources,
                DEFAULTS["POLL_MIN"],
                DEFAULTS["POLL_MAX"],
                silent=silent,
                pace=1.0,
                folder=folder,
                root=root,
            )

        def look() -> dict[str, Written]:
            if is_root:
                return {name: on_device(folder) for name, folder in folders.items() if "apart" not in name}
            return {
                name: by_processes([stage.supervisor, stage.loop, stage.server or 0])
                for name, stage in stages.items()
            }

        _wait(stages, SETTLING)
        before, polls = look(), {name: stage.polls() for name, stage in stages.items()}
        _wait(stages, seconds)
        after = look()
        print(f"{'per hour':<24}{'KiB':>10}{'writes':>10}{'flushes':>10}{'requests':>10}")
        for name, written in after.items():
            asked = stages[name].polls() - polls[name] if name in stages else 0
            rate = f"{asked * 3600 / seconds:>10,.0f}" if asked else ""
            print(f"{name:<24}{written.per_hour(before[name])}{rate}", flush=True)
        if not is_root:
            print("not root: bytes by process; the file system's own, writes and flushes are not counted")


def _wait(stages: dict[str, RunningLogger], seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for stage in stages.values():
            stage.status()  # raises if the server is gone
        time.sleep(min(left, 10))


def main() -> int:
    """Run the measurement, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to measure (default: 10)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure (default: this one)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what was started, as Ctrl-C does
    if os.geteuid() == 0 and NAMESPACE not in os.environ:
        os.environ[NAMESPACE] = "own"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])  # noqa: S606, S607
    try:
        measure(options.minutes * 60, options.root.resolve())
    except (SpotifyLoggerError, OSError, subprocess.SubprocessError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
