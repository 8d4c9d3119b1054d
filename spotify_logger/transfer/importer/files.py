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
from operator import attrgetter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO, cast

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.json_rows import (
    READ_ERRORS,
    UnreadableFile,
    describe_error,
    holds_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_COMPRESSION_RATIO = 250
"""The highest accepted ratio of a member's size to its compressed size; equal rows reach about 100."""
RATIO_EXEMPT_BYTES = 1 << 24
"""Bytes up to which the ratio of a member does not matter."""
MAX_MEMBER_BYTES = 1 << 32
"""Bytes of a member of a zip at most; Spotify's have 13 million."""
MAX_FOLDER_DEPTH = 32
"""Levels of nested folders that are searched."""
MAX_ZIP_MEMBERS = 2000
"""Members of a zip at most; Spotify's have some dozens. zipfile lists all of them whenever one is opened."""
MAX_DIRECTORY_BYTES = 1 << 20
"""Bytes of a zip's central directory at most, which zipfile reads as a whole."""

_HISTORY = re.compile(
    r"(streaming_history_audio_.*|endsong(_.*)?|streaminghistory(_[a-z]+)?_?[0-9]*)\.json", re.IGNORECASE
)
_VIDEO = re.compile(r"streaming_history_video_.*\.json", re.IGNORECASE)
_OWN_EXPORT = re.compile(r".*\.jsonl|spotify[-_]logger.*\.json", re.IGNORECASE)
_ENCRYPTED = 0x1
TOO_MANY = "contains far more files than Spotify's zips do: unpack it, and import the folder"
_STREAMABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods that zipfile decompresses in chunks; with others it may expand a whole member at once."""


class _DirectoryTooLong(Exception):  # noqa: N818 - a state of the zip
    """The central directory of a zip is too long to read."""


class _ZipBytes(io.FileIO):
    """The bytes of a zip, which refuses to read more at once than `MAX_DIRECTORY_BYTES`."""

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.FileIO.read`.

        Raises:
            _DirectoryTooLong: `size` is larger than `MAX_DIRECTORY_BYTES`.
        """
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise _DirectoryTooLong
        return super().read(size) or b""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that holds plays.

    Attributes:
        name: Its name in messages.
        path: The path of the file, or of the zip that contains it.
        member: Its name in the zip; empty if it is not in a zip.
        size: Its size in bytes; zipfile never returns more of a member than its stated size.
    """

    name: str
    path: Path
    member: str
    size: int

    @contextmanager
    def open(self) -> Iterator[io.TextIOWrapper[BinaryIO]]:
        """Open it for reading.

        Raises:
            UnreadableFile: It cannot be opened.
        """
        with ExitStack() as stack:
            try:
                stream = self._opened(stack)
            except READ_ERRORS as error:
                raise UnreadableFile(f"cannot be read: {describe_error(error)}") from None
            # Invalid UTF-8 is replaced when a text is stored.
            yield stack.enter_context(io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape"))

    def _opened(self, stack: ExitStack) -> BinaryIO:
        if not self.member:
            return stack.enter_context(self.path.open("rb"))
        archive = stack.enter_context(zipfile.ZipFile(self.path))
        return cast("BinaryIO", stack.enter_context(archive.open(self.member)))


@dataclass
class FoundFiles:
    """The files found at the given paths.

    Attributes:
        sources: The files that hold plays, sorted by name.
        videos: The number of files about videos.
        others: The number of files that hold something else.
        refused: The name of each file or folder that is not read, and why.
    """

    sources: list[SourceFile] = field(default_factory=list)
    videos: int = 0
    others: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def find_sources(paths: Iterable[Path]) -> FoundFiles:
    """Find the files that hold plays.

    Args:
        paths: Files with any name, zips, and folders, which are searched recursively.

    Raises:
        SpotifyLoggerError: One of the paths does not exist, or cannot be read.
    """
    search = _Search()
    for path in paths:
        search.look_at(path)
    search.found.sources.sort(key=attrgetter("name"))
    return search.found


class _Search:
    def __init__(self) -> None:
        self.found = FoundFiles()
        self._seen: set[tuple[int, int]] = set()

    def look_at(self, path: Path) -> None:
        """Search a path that the user named."""
        try:
            status = path.stat()
        except OSError as error:
            raise SpotifyLoggerError(f"cannot read {path}: {describe_error(error)}") from None
        if stat.S_ISDIR(status.st_mode):
            self._folder(path, MAX_FOLDER_DEPTH)
        elif not stat.S_ISREG(status.st_mode):
            raise SpotifyLoggerError(f"{path} is not a regular file: save its contents to a file first")
        elif self._is_new(status.st_dev, status.st_ino):
            self._named_file(SourceFile(str(path), path, "", status.st_size))

    def _named_file(self, source: SourceFile) -> None:
        if zipfile.is_zipfile(source.path) or _is_called_zip(source.path):
            self._zip(source)
        elif _HISTORY.fullmatch(source.path.name) or _holds_plays(source):
            self.found.sources.append(source)
        elif _VIDEO.fullmatch(source.path.name):
            self.found.videos += 1
        else:
            why = "contains no plays in the export format of Spotify or spotify-logger"
            self.found.refused.append((source.name, why))

    def _folder(self, path: Path, depth: int) -> None:
        try:
            status = path.stat()
            # A symbolic link may lead back to a folder that was searched already.
            is_new = self._is_new(status.st_dev, status.st_ino)
            entries = sorted(path.iterdir()) if is_new and depth else []
        except OSError as error:
            self.found.refused.append((str(path), f"cannot be read: {describe_error(error)}"))
            return
        if not depth:
            self.found.refused.append((str(path), "nested too deeply: name this folder itself"))
        for entry in entries:
            self._entry(entry, depth - 1)

    def _entry(self, path: Path, depth: int) -> None:
        try:
            status = path.stat()
        except OSError as error:
            self.found.refused.append((str(path), f"cannot be read: {describe_error(error)}"))
            return
        if stat.S_ISDIR(status.st_mode):
            self._folder(path, depth)
        elif stat.S_ISREG(status.st_mode) and self._is_new(status.st_dev, status.st_ino):
            source = SourceFile(str(path), path, "", status.st_size)
            if _is_called_zip(path):
                self._zip(source)
            else:
                self._file(source, path.name)

    def _is_new(self, device: int, number: int) -> bool:
        """Return whether a file or folder is seen for the first time, by whatever name."""
        is_new = (device, number) not in self._seen
        self._seen.add((device, number))
        return is_new

    def _file(self, source: SourceFile, name: str) -> None:
        if _HISTORY.fullmatch(name) or (_OWN_EXPORT.fullmatch(name) and _holds_plays(source)):
            self.found.sources.append(source)
        elif _VIDEO.fullmatch(name):
            self.found.videos += 1
        else:
            self.found.others += 1

    def _zip(self, source: SourceFile) -> None:
        try:
            with _ZipBytes(source.path) as file, zipfile.ZipFile(cast("BinaryIO", file)) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
        except _DirectoryTooLong:
            self.found.refused.append((source.name, TOO_MANY))
            return
        except READ_ERRORS as error:
            self.found.refused.append((source.name, f"not a readable zip: {describe_error(error)}"))
            return
        if len(members) > MAX_ZIP_MEMBERS:
            self.found.refused.append((source.name, TOO_MANY))
        elif len({member.filename for member in members}) < len(members):
            self.found.refused.append((source.name, "lists a file twice, which Spotify's zips never do"))
        elif any(_leads_outside(member.filename) for member in members):
            self.found.refused.append(
                (source.name, "contains paths that lead out of it, which Spotify's zips never do")
            )
        elif sum(member.compress_size for member in members) > source.size:
            self.found.refused.append((source.name, "its files overlap: it is a zip bomb"))
        else:
            for member in members:
                self._member(source.path, member)

    def _member(self, path: Path, member: zipfile.ZipInfo) -> None:
        name = f"{path}/{member.filename}"
        why = _refusal_reason(member)
        if why:
            self.found.refused.append((name, why))
        else:
            base = PurePosixPath(member.filename).name
            self._file(SourceFile(name, path, member.filename, member.file_size), base)


def _refusal_reason(member: zipfile.ZipInfo) -> str:
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


def _is_called_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _leads_outside(name: str) -> bool:
    """Return whether a member would be unpacked outside of the target folder."""
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return any(path.is_absolute() or path.drive or ".." in path.parts for path in paths)


def _holds_plays(source: SourceFile) -> bool:
    """Return whether a file begins like one of a known format."""
    try:
        with source.open() as text:
            return holds_rows(text)
    except UnreadableFile:
        return False
