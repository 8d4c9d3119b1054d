"""Imports from the page: files are uploaded to a temporary folder, and the command imports them."""

import asyncio
import json
import os
import shutil
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import Request

from spotify_logger.config.settings import Settings
from spotify_logger.queries.index import cache_folder
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.program import module_command
from spotify_logger.web.request_params import BadRequest

MAX_UPLOAD_BYTES = 2 << 30  # Spotify's largest zips have some hundred megabytes
SPARE_BYTES = 256 << 20  # that an upload leaves free on the disk
MAX_FILES = 100
MAX_NAME_LENGTH = 60  # of a file, in characters; file systems take 255 bytes
MAX_TEXT_LENGTH = 100_000  # of what the command says
FOLDER = "page-"  # prefix of the folders of uploads and exports
FOLDER_SECONDS = 86_400  # after which such a folder was left by a page that was killed


class Import:
    """The import of one listener, or the result of the latest one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder: TemporaryDirectory[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self.state: Literal["", "uploading", "running", "choosing", "done"] = ""  # choosing whose plays
        self.step, self.percent = "", 0  # "reading" or "importing", and how much of it is done
        self.text = ""  # the report of the command
        self.is_complete = False  # whether everything was read
        self.users: Sequence[str] = ()  # to choose from

    @property
    def is_busy(self) -> bool:
        """Whether no other import can begin."""
        return self.state in ("uploading", "running")

    async def upload(self, request: Request) -> None:
        """Receive the files of a form, and begin to import them; raise BadRequest if that is impossible."""
        if self.is_busy:
            raise BadRequest("an import is already running: wait until it has finished")
        self._discard()
        self.state = "uploading"
        try:
            await self._receive(request)
            self._start()
        except MultipartError:
            raise BadRequest("the upload was cut off: try again") from None
        except OSError as error:
            raise SpotifyLoggerError(f"cannot save the uploaded files: {error.strerror or error}") from None
        finally:
            if self.state == "uploading":
                self._discard()

    def choose(self, user: str) -> None:
        """Import the plays of one of the users; without one, cancel the import."""
        if user in self.users:
            self._start(f"--user={user}")
        elif self.users:
            self._discard()

    async def stop(self) -> None:
        """End the import; what has been imported is kept."""
        if self._process and self._process.returncode is None:
            self._process.terminate()
        if self._task:
            await asyncio.wait([self._task])
        self._discard()

    def _discard(self) -> None:
        self.state, self.users = "", ()
        if self._folder:
            self._folder.cleanup()
        self._folder = None

    async def _receive(self, request: Request) -> None:
        kind, about = parse_options_header(request.headers.get("content-type", ""))
        if kind != "multipart/form-data" or not about.get("boundary"):
            raise BadRequest("the form has no files")
        self._folder = temporary_folder()
        folder, out = Path(self._folder.name), None
        room = min(MAX_UPLOAD_BYTES, shutil.disk_usage(folder).free - SPARE_BYTES)
        announced, received = int(request.headers.get("content-length") or 0), 0
        parser = PushMultipartParser(about["boundary"], max_segment_count=MAX_FILES)
        with ExitStack() as files, parser:
            async for chunk in request.stream():
                received += len(chunk)
                if max(announced, received) > room:
                    raise BadRequest("files too large for the page: run `spotify-logger import` instead")
                for part in parser.parse(chunk) if chunk else ():
                    if isinstance(part, MultipartSegment):
                        out = files.enter_context(_open(folder, part.filename)) if part.filename else None
                    elif out is not None and part:
                        await asyncio.to_thread(out.write, part)

    def _start(self, *options: str) -> None:
        folder = Path(self._folder.name if self._folder else "")
        paths = sorted(map(str, folder.iterdir()))
        if not paths:
            raise BadRequest("choose a file first")
        options = (f"--listener={self._settings.listener}", "import", "--progress", *options, "--", *paths)
        self.state, self.users, self.step, self.percent = "running", (), "", 0
        self._task = asyncio.create_task(self._run(module_command("spotify_logger", *options), f"{folder}/"))

    async def _run(self, command: Sequence[str], folder: str) -> None:
        """Run the command, follow its progress, and note how it ended."""
        self.text, self.is_complete = "The import could not be run: try again.", False
        shared = self._settings.for_listener("")
        settings = {"REDIS_PREFIX": shared.redis_prefix, "STATE_DIR": str(shared.state_dir)}
        settings["REDIS_URL"] = shared.redis_url
        with suppress(OSError, ValueError):  # there is no memory for a process, or its report is none
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env={**os.environ, **settings}
            )
            text = b""
            async for line in self._process.stdout or asyncio.StreamReader():
                if line.startswith(b"{"):  # it is for programs
                    report = json.loads(line)
                    self.users = report.get("users", ())
                    self.step = report.get("step", self.step)
                    self.percent = 100 * report.get("done", 0) // max(1, report.get("of", 0))
                else:
                    text += line
            self.is_complete = await self._process.wait() == 0
            self.text = text.decode(errors="replace").replace(folder, "")[:MAX_TEXT_LENGTH].strip()
        if not self.users:
            self._discard()
        self.state = "choosing" if self.users else "done"


def temporary_folder() -> TemporaryDirectory[str]:
    """Make a folder beside the index, which is on a disk, and delete those that a killed page has left."""
    parent = cache_folder()
    for left in parent.glob(f"{FOLDER}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > FOLDER_SECONDS:
                shutil.rmtree(left)
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return TemporaryDirectory(prefix=FOLDER, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write to {parent}: {error.strerror or error}") from None


def _open(folder: Path, filename: str) -> BinaryIO:
    """Open a new file (0600) in a folder, with the name that an uploaded one has, as far as that is safe."""
    name = "".join(filter(str.isprintable, PurePosixPath(filename.replace("\\", "/")).name))
    name = name[-MAX_NAME_LENGTH:].strip(" ")
    name = name if name.strip(".") else "file"
    if (folder / name).exists():
        name = f"{sum(1 for _ in folder.iterdir())}-{name}"
    return os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
