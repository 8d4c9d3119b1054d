"""Repairs the append-only file of a Redis server after a power cut; as a program, that of Debian's server.

Servers repair a file that ends too early, but not one that ends in zeros or garbage, nor an empty manifest.
The server's own program checks a file when it is run under the name `redis-check-aof`.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from spotify_logger.system import log
from spotify_logger.system.atomic_file import write_atomically

COPY = "damaged"  # the folder, in the server's folder, for a copy of what was there before the last repair
MANIFEST = "appendonly.aof.manifest"
_CHECK = "redis-check-aof"
_LISTED = re.compile(r"file (\S+) seq \d+ type [bhi].*\n")
# A file of the folder; a base that a Redis before 7.0 wrote has no number.
_PART = re.compile(r"appendonly\.aof(?:\.(\d+)\.(base|incr)\.(?:rdb|aof))?")


def repair(directory: Path | str, program: str) -> None:
    """Cut damaged files after the last sound command, and write a damaged manifest anew; log what was done.

    A damaged snapshot (.rdb) is left as it is. Before anything changes in the server's folder, it is copied;
    raises OSError if that fails, or a file cannot be changed.
    """
    folder = Path(directory)
    parts = folder / "appendonlydir"
    # One by one: of several, the program cuts only the last. No snapshots: Valkey's does not know its own.
    files = [*folder.glob("appendonly.aof"), *parts.glob("*.aof")]
    damaged = [file for file in files if _check(program, file)]
    is_listed = not parts.is_dir() or _is_sound(parts / MANIFEST)  # a Redis before 7.0 has no parts
    if is_listed and not damaged:
        return
    copy = folder / COPY
    shutil.rmtree(copy, ignore_errors=True)
    try:
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(COPY))
    except OSError:
        shutil.rmtree(copy, ignore_errors=True)  # it may have filled the disk
        raise
    is_cut = [_check(program, "--fix", file) == 0 for file in damaged]
    if not is_listed:
        _list_parts(parts)
    if any(is_cut) or not is_listed:
        log.error(
            f"the data of the Redis server in {folder} was damaged and has been repaired."
            f" A copy of the damaged files is in {copy}; what the logger still has is written again"
        )


def _check(program: str, *arguments: Path | str) -> int:
    """Return the exit code of the check: 0 for a sound file, and for one that could be cut."""
    command = [_CHECK, *map(str, arguments)]
    run = subprocess.run(command, executable=program, input=b"y\n", capture_output=True, check=False)  # noqa: S603 - the server
    return run.returncode


def _is_sound(manifest: Path) -> bool:
    """Return whether a manifest names files, and all of them are there."""
    text = manifest.read_text(errors="replace") if manifest.exists() else ""
    files = [manifest.parent / name for name in _LISTED.findall(text)]
    return files != [] and not _LISTED.sub("", text) and all(file.exists() for file in files)


def _list_parts(folder: Path) -> None:
    """Write a manifest of the newest base, and of all that was appended since."""
    matches = (_PART.fullmatch(file.name) for file in folder.iterdir())
    found = sorted((int(match[1] or 1), match[2] or "base", match[0]) for match in matches if match)
    bases = [part for part in found if part[1] == "base"]
    parts = bases[-1:] + [part for part in found if part[1] == "incr"]
    (folder / MANIFEST).unlink(missing_ok=True)
    if parts:
        lines = (f"file {name} seq {number} type {kind[0]}\n" for number, kind, name in parts)
        write_atomically(folder / MANIFEST, "".join(lines))


if __name__ == "__main__":
    repair(*sys.argv[1:])  # the folder, and the program of the server
