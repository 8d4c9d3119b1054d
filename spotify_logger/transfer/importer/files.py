"""Find the files that hold plays, in the files, folders and zips that the user names.

Spotify calls them `Streaming_History_Audio_*.json`, before 2023 `endsong_*.json` (the extended history), and
`StreamingHistory*.json` (account data: the last year). Zips are read in place and never unpacked to disk.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.json_rows import READ_ERRORS, UnreadableFile, describe_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_COMPRESSION_RATIO = 250
"""The highest accepted ratio of a member's size to its compressed size; equal rows reach about 100."""
RATIO_EXEMPT_BYTES = 1 << 24
"""Bytes up to which the ratio of a member does not matter."""
MAX_MEMBER_BYTES = 1 << 32
"""Maximum size of a member of a zip, in bytes; Spotify's have 13 million."""
MAX_ZIP_MEMBERS = 2000
"""Maximum number of members; Spotify's zips have a few dozen. zipfile lists all whenever one is opened."""
MAX_DIRECTORY_BYTES = 1 << 20
"""Maximum size of a zip's central directory, in bytes; zipfile reads it as a whole."""

_HISTORY = re.compile(
    r"(streaming_history_audio_.*|endsong(_.*)?|streaminghistory(_[a-z]+)?_?[0-9]*)\.json", re.IGNORECASE
)
_VIDEO = re.compile(r"streaming_history_video_.*\.json", re.IGNORECASE)
_OWN_EXPORT = re.compile(r".*\.jsonl|spotify[-_]logger.*\.json", re.IGNORECASE)
_FIRST_ROW = re.compile(r'[\s\[]*\{[^{}]*"(ts|endTime|kind)"\s*:')
"""The beginning of a file with rows of a known format, each of which is recognized by a field."""
_HEAD_CHARS = 4096
_ENCRYPTED = 0x1
_TOO_MANY = "contains far more files than Spotify's zips do: unpack it, and import the folder"
_STREAMABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods that zipfile decompresses in chunks; with others it may expand a whole member at once."""


class _ZipBytes(io.FileIO):
    """The bytes of a zip, which refuses to read more at once than `MAX_DIRECTORY_BYTES`."""

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.FileIO.read`; raise UnreadableFile for a larger size."""
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise UnreadableFile(_TOO_MANY)
        return super().read(size) or b""


class SourceFile(NamedTuple):
    """A file that holds plays.

    Attributes:
        name: Its name in messages.
        path: The path of the file, or of the zip in which it is `member`.
        size: Its size in bytes; zipfile never returns more of a member than its stated size.
    """

    name: str
    path: Path
    member: str
    size: int

    @contextmanager
    def open(self) -> Iterator[io.TextIOWrapper[BinaryIO]]:
        """Open it for reading; raise UnreadableFile if that is impossible."""
        with ExitStack() as stack:
            try:
                file: BinaryIO = stack.enter_context(self.path.open("rb"))
                if self.member:
                    archive = stack.enter_context(zipfile.ZipFile(file))
                    file = cast("BinaryIO", stack.enter_context(archive.open(self.member)))
            except READ_ERRORS as error:
                raise UnreadableFile(f"cannot be read: {describe_error(error)}") from None
            # Invalid UTF-8 is replaced when a text is stored.
            yield stack.enter_context(io.TextIOWrapper(file, "utf-8-sig", "surrogateescape"))


@dataclass
class FoundFiles:
    """The files that hold plays, the numbers of video histories and of other files, and what is refused.

    Each refused file or folder has its name, and why it is not read.
    """

    sources: list[SourceFile] = field(default_factory=list)
    videos: int = 0
    others: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set, compare=False)

    def add(self, path: Path) -> None:
        """Add a file, or everything in a folder."""
        pending = [path]
        while pending:
            each = pending.pop()
            try:
                status = each.stat()
                # A symbolic link may lead back to a file or folder that was seen already.
                is_new = (status.st_dev, status.st_ino) not in self._seen
                self._seen.add((status.st_dev, status.st_ino))
                if is_new and stat.S_ISDIR(status.st_mode):
                    pending += sorted(each.iterdir(), reverse=True)
            except OSError as error:
                self.refused.append((str(each), f"cannot be read: {describe_error(error)}"))
                continue
            if is_new and stat.S_ISREG(status.st_mode):
                self._add_file(each, status.st_size, is_named=each is path)

    def _add_file(self, path: Path, size: int, *, is_named: bool) -> None:
        if path.suffix.lower() == ".zip" or (is_named and zipfile.is_zipfile(path)):
            self._add_zip(path, size)
        else:
            self._add_source(SourceFile(str(path), path, "", size), path.name, is_named=is_named)

    def _add_zip(self, path: Path, size: int) -> None:
        try:
            members = _members(path, size)
        except UnreadableFile as error:
            self.refused.append((str(path), str(error)))
            return
        for member in members:
            name = f"{path}/{member.filename}"
            if why := _refusal(member):
                self.refused.append((name, why))
            else:
                source = SourceFile(name, path, member.filename, member.file_size)
                self._add_source(source, PurePosixPath(member.filename).name)

    def _add_source(self, source: SourceFile, name: str, *, is_named: bool = False) -> None:
        may_hold_plays = is_named or _OWN_EXPORT.fullmatch(name)
        if _HISTORY.fullmatch(name) or (may_hold_plays and _holds_plays(source)):
            self.sources.append(source)
        elif _VIDEO.fullmatch(name):
            self.videos += 1
        elif is_named:
            why = "contains no plays in the export format of Spotify or spotify-logger"
            self.refused.append((source.name, why))
        else:
            self.others += 1


def find_sources(paths: Iterable[Path]) -> FoundFiles:
    """Find the files that hold plays in files with any name, in zips, and in folders and those inside them.

    Raises:
        SpotifyLoggerError: One of the paths does not exist, or cannot be read.
    """
    found = FoundFiles()
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise SpotifyLoggerError(f"cannot read {path}: {describe_error(error)}") from None
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise SpotifyLoggerError(f"{path} is not a regular file: save its contents to a file first")
        found.add(path)
    found.sources.sort()
    return found


def _members(path: Path, size: int) -> list[zipfile.ZipInfo]:
    """Return the files in a zip of a size in bytes; raise UnreadableFile if it is damaged or suspicious."""
    try:
        with _ZipBytes(path) as file, zipfile.ZipFile(cast("BinaryIO", file)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except READ_ERRORS as error:
        raise UnreadableFile(f"not a readable zip: {describe_error(error)}") from None
    if len(members) > MAX_ZIP_MEMBERS:
        raise UnreadableFile(_TOO_MANY)
    if len({member.filename for member in members}) < len(members):
        raise UnreadableFile("lists a file twice, which Spotify's zips never do")
    if any(_leads_outside(member.filename) for member in members):
        raise UnreadableFile("contains paths that lead out of it, which Spotify's zips never do")
    if sum(member.compress_size for member in members) > size:
        raise UnreadableFile("its files overlap: it is a zip bomb")
    return members


def _refusal(member: zipfile.ZipInfo) -> str:
    """Return why a member of a zip is not read, or ""."""
    if member.filename.lower().endswith(".zip"):
        return "a zip inside a zip: unpack the outer one"
    if member.flag_bits & _ENCRYPTED:
        return "encrypted: unpack it with its password"
    if member.compress_type not in _STREAMABLE_METHODS:
        return "uses a compression method that Spotify does not use: unpack it"
    if member.file_size > min(
        MAX_MEMBER_BYTES, max(RATIO_EXEMPT_BYTES, MAX_COMPRESSION_RATIO * member.compress_size)
    ):
        return "far too large when unpacked: it is a zip bomb"
    return ""


def _leads_outside(name: str) -> bool:
    """Return whether a member would be unpacked outside of the target folder."""
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return any(path.is_absolute() or path.drive or ".." in path.parts for path in paths)


def _holds_plays(source: SourceFile) -> bool:
    try:
        with source.open() as text:
            return _FIRST_ROW.match(text.read(_HEAD_CHARS)) is not None
    except (UnreadableFile, *READ_ERRORS):
        return False
