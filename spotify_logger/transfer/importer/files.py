"""Find the files that hold plays, in the files, folders and zips that the user names.

They are recognized by their first rows, whatever they are called: browsers, file managers and translators
rename them. Zips, also in zips, are read in place and never unpacked to disk.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TextIO, cast

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.csv_rows import read_csv
from spotify_logger.transfer.importer.formats import format_of
from spotify_logger.transfer.importer.json_rows import READ_ERRORS, UnreadableFile, describe_error, read_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

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
MAX_ZIP_DEPTH = 2
"""How many zips may be in each other; the bomb that contains itself has no end."""

_HISTORY = re.compile(r"streaming.?history|endsong|endvideo", re.IGNORECASE)
"""What Spotify calls its files: one that is damaged from its first row on is said to be so."""
_DATA = re.compile(r"(?!\._).*\.(?:json|jsonl|csv)", re.IGNORECASE)
"""The name of a file that should hold rows; macOS puts further ones, beginning with "._", into zips."""
_HEAD_CHARS = 1 << 16
_ROWS_TO_TRY = 10
_BROKEN = {
    r"[\s\[\]]*\Z": "empty: download or export it again",
    r"(?i)\s*<(!doctype\s+html|html)": "a web page: download the file itself",
    r"version https://git-lfs": "a Git LFS pointer, not the file itself: run `git lfs pull`",
}
"""The beginning of what may be in place of a file, whatever its name."""
_OTHERS = {
    r"%PDF": "a PDF: the plays are in the JSON files beside it",
    r'\s*\[\s*\{\s*"header"\s*:\s*"YouTube': "of YouTube, which is not read",
    r".*(Apple Music|Play Duration Milliseconds)": "of Apple Music, which is not read",
    r"artist_name,track_title,entry_date": "of Tidal, which is not read",
    r"second,started_at,": "spotify-logger's CSV, for spreadsheets: import what `export --jsonl` writes",
}
_UNKNOWN = (
    "contains no plays in a known format: of Spotify, spotify-logger, ListenBrainz, Last.fm, Koito or Maloja"
)
_USER = re.compile(r'"(?:user_?name|user)"\s*:\s*"([^"]+)"|;Date#([^\n"]+)')
"""The user whom an export names: in a field, or in the header of the CSV of lastfmstats.com."""
_ACCOUNT = re.compile(r'\s*\{[^{}\[\]]*"username"\s*:')
"""The beginning of the file with the user's own data, beside those with the plays."""
_ENCRYPTED = 0x1
_TOO_MANY = "contains far more files than Spotify's zips do: unpack it, and import the folder"
_STREAMABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods that zipfile decompresses in chunks; with others it may expand a whole member at once."""


class _ZipBytes:
    """The bytes of a zip, which refuse to be read by more at once than `MAX_DIRECTORY_BYTES`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase.read`; raise UnreadableFile for a larger size."""
        if size > MAX_DIRECTORY_BYTES:
            raise UnreadableFile(_TOO_MANY)
        return self._file.read(size)


class SourceFile(NamedTuple):
    """A file that holds plays.

    Attributes:
        name: Its name in messages.
        path: The path of the file, or of the zip that it is in.
        members: Its name in that zip; before that, the name of the zip in the zip that it is in.
        size: Its size in bytes; zipfile never returns more of a member than its stated size.
        is_csv: Whether its rows are CSV, not JSON.
        service: Whose export it is.
        user: The user whose export it is; "" if it does not say so.
    """

    name: str
    path: Path
    members: tuple[str, ...]
    size: int
    is_csv: bool = False
    service: str = ""
    user: str = ""

    @contextmanager
    def open(self) -> Iterator[io.TextIOWrapper[BinaryIO]]:
        """Open it for reading; raise UnreadableFile if that is impossible."""
        with _opened(self.path, self.members) as file:
            encoding, errors = _encoding(file)
            with io.TextIOWrapper(file, encoding, errors) as text:
                yield text

    def rows(self, text: TextIO) -> Iterator[object]:
        """Yield the rows of its text; raise UnreadableFile if it cannot be read any further."""
        return read_csv(text) if self.is_csv else read_rows(text)


@contextmanager
def _opened(path: Path, members: Iterable[str]) -> Iterator[BinaryIO]:
    """Open a file, or a member of a zip; raise UnreadableFile if that is impossible."""
    with ExitStack() as stack:
        try:
            file: BinaryIO = stack.enter_context(path.open("rb"))
            for member in members:
                archive = stack.enter_context(zipfile.ZipFile(file))
                file = cast("BinaryIO", stack.enter_context(archive.open(member)))
        except READ_ERRORS as error:
            raise UnreadableFile(f"cannot be read: {describe_error(error)}") from None
        yield file


def _encoding(file: BinaryIO) -> tuple[str, str]:
    """Return the encoding of text, and what to do with invalid bytes: rows are refused because of them."""
    start = cast("io.BufferedReader", file).peek(2)[:2]
    if start in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16", "surrogatepass"
    if 0 in start and start.strip(b"\0") in {b"[", b"{"}:
        return "utf-16-le" if start[1] == 0 else "utf-16-be", "surrogatepass"
    return "utf-8-sig", "surrogateescape"


@dataclass
class FoundFiles:
    """The files that hold plays, the numbers of other files and of other users' files, and what is refused.

    Each refused file or folder has its name, and why it is not read.
    """

    sources: list[SourceFile] = field(default_factory=list)
    others: int = 0
    other_users: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set, compare=False)
    _users: dict[str, str] = field(default_factory=dict, compare=False)  # by folder

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
        source = SourceFile(str(path), path, (), size)
        if path.suffix.lower() == ".zip" or (is_named and zipfile.is_zipfile(path)):
            self._add_zip(source)
        else:
            self._add_source(source, is_named=is_named)

    def _add_zip(self, outer: SourceFile) -> None:
        try:
            members = _members(outer)
        except UnreadableFile as error:
            self.refused.append((outer.name, str(error)))
            return
        for member in members:
            # Some programs of Windows write backslashes.
            name = f"{outer.name}/{member.filename}".replace("\\", "/")
            source = SourceFile(name, outer.path, (*outer.members, member.filename), member.file_size)
            is_zip = name.lower().endswith(".zip")
            if why := _refusal(member):
                self.refused.append((name, why))
            elif is_zip and len(source.members) < MAX_ZIP_DEPTH:
                self._add_zip(source)
            elif is_zip:
                self.refused.append((name, "a zip inside a zip inside a zip: unpack the outer ones"))
            else:
                self._add_source(source)

    def _add_source(self, source: SourceFile, *, is_named: bool = False) -> None:
        """Add a file if its first rows are of a known format."""
        name = PurePosixPath(source.name).name
        try:
            with source.open() as text:
                head = text.read(_HEAD_CHARS)
        except (UnreadableFile, *READ_ERRORS) as error:
            self._set_aside(source, str(error), is_said=is_named or _is_history(name))
            return
        start = head.lstrip()[:1]
        source = source._replace(is_csv=start not in {"[", "{"})
        known = None
        with suppress(UnreadableFile):
            readable = head.encode("utf-8", "replace").decode()  # its rows are refused one by one
            rows = islice(source.rows(io.StringIO(readable)), _ROWS_TO_TRY)
            known = next(filter(None, map(format_of, rows)), None)
        user = _USER.search(head)
        names_user = "" if user is None else user[1] or user[2]
        if known is not None:
            self.sources.append(source._replace(service=known.service, user=names_user))
        elif _is_history(name) and not source.is_csv:
            self.sources.append(source._replace(service="Spotify", user=names_user))
        else:
            if names_user and _ACCOUNT.match(head):
                self._users[str(PurePosixPath(source.name).parent)] = names_user
            broken = _word(_BROKEN, head)
            is_misplaced = broken and start != "[" and _DATA.fullmatch(name)
            is_said = is_named or _is_history(name) or bool(is_misplaced)
            self._set_aside(source, broken or _word(_OTHERS, head) or _UNKNOWN, is_said=is_said)

    def _set_aside(self, source: SourceFile, why: str, *, is_said: bool) -> None:
        if is_said:
            self.refused.append((source.name, why))
        else:
            self.others += 1

    def choose(self, users: Collection[str]) -> None:
        """Leave the files of other users aside; raise SpotifyLoggerError if a user has to be chosen."""
        self.sources = sorted(each._replace(user=each.user or self._user(each)) for each in self.sources)
        found = {(source.service, source.user) for source in self.sources if source.user}
        names = {user for _, user in found}
        is_ambiguous = not users and len(found) > len({service for service, _ in found})
        if is_ambiguous or not names.issuperset(users):
            raise SpotifyLoggerError(
                f"the files are of {', '.join(sorted(names)) or 'unnamed users'}: choose with --user NAME"
            )
        kept = [source for source in self.sources if not (users and source.user) or source.user in users]
        self.other_users, self.sources = len(self.sources) - len(kept), kept

    def _user(self, source: SourceFile) -> str:
        """Return the user that a file beside another one names, or in the nearest folder around it."""
        folders = (str(folder) for folder in PurePosixPath(source.name).parents)
        return next((self._users[folder] for folder in folders if folder in self._users), "")


def _is_history(name: str) -> bool:
    return _DATA.fullmatch(name) is not None and _HISTORY.search(name) is not None


def _word(known: Mapping[str, str], head: str) -> str:
    return next((words for beginning, words in known.items() if re.match(beginning, head)), "")


def find_sources(paths: Iterable[Path], users: Collection[str] = ()) -> FoundFiles:
    """Find the files of some users, or of one, that hold plays: in folders, those inside them, and zips.

    Raises:
        SpotifyLoggerError: One of the paths does not exist or cannot be read, or a user has to be chosen.
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
    found.choose(users)
    return found


def _members(outer: SourceFile) -> list[zipfile.ZipInfo]:
    """Return the files in a zip; raise UnreadableFile if it is damaged or suspicious."""
    try:
        with (
            _opened(outer.path, outer.members) as file,
            zipfile.ZipFile(cast("BinaryIO", _ZipBytes(file))) as archive,
        ):
            members = [member for member in archive.infolist() if not member.is_dir()]
    except READ_ERRORS as error:
        raise UnreadableFile(f"not a readable zip: {describe_error(error)}") from None
    if len(members) > MAX_ZIP_MEMBERS:
        raise UnreadableFile(_TOO_MANY)
    if len({member.filename for member in members}) < len(members):
        raise UnreadableFile("lists a file twice, which Spotify's zips never do")
    if sum(member.compress_size for member in members) > outer.size:
        raise UnreadableFile("its files overlap: it is a zip bomb")
    return members


def _refusal(member: zipfile.ZipInfo) -> str:
    """Return why a member of a zip is not read, or ""."""
    if member.flag_bits & _ENCRYPTED:
        return "encrypted: unpack it with its password"
    if member.compress_type not in _STREAMABLE_METHODS:
        return "uses a compression method that Spotify does not use: unpack it"
    if member.file_size > min(
        MAX_MEMBER_BYTES, max(RATIO_EXEMPT_BYTES, MAX_COMPRESSION_RATIO * member.compress_size)
    ):
        return "far too large when unpacked: it is a zip bomb"
    return ""
