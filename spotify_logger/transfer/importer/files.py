"""Find the files that hold plays, in the files, folders and zips that the user names.

They are recognized by their first rows, whatever they are called: browsers, file managers and translators
rename them. Zips, also in zips, and what gzip has compressed are read in place and never unpacked to disk.

Files may have any length, so their rows are read one by one: of an array, as Spotify's are, of lines, of CSV,
as the tools for Last.fm write, or of arrays in objects, as other loggers write an answer or all pages of it.
"""

import codecs
import csv
import gzip
import io
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from string import whitespace
from typing import BinaryIO, NamedTuple, TextIO, cast

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.formats import format_of, is_damaged, user_of

MAX_MEMBER_BYTES = 1 << 30  # maximum size of a member of a zip, in bytes; Spotify's have 13 million
MAX_ZIP_MEMBERS = 2000  # Spotify's zips have a few dozen, and zipfile lists all whenever one is opened
MAX_ZIP_DEPTH = 2  # how many zips may be in each other; the bomb that contains itself has no end

_HISTORY = re.compile(r"streaming.?history|endsong|endvideo", re.IGNORECASE)
"""What Spotify calls its files: one that is damaged from its first row on is said to be so."""
_JSON = re.compile(r"(?!\._).*\.jsonl?(\.gz)?", re.IGNORECASE)  # macOS puts files named "._..." into zips
_HEAD_CHARS = 1 << 16
_EMPTY = r"\s*(\[\s*\]\s*)?\Z"
_MISTAKEN = {
    _EMPTY: "empty: download or export it again",
    r"(?i)\s*<(!doctype\s+html|html)": "a web page: download the file itself",
    r"version https://git-lfs": "a Git LFS pointer, not the file itself: run `git lfs pull`",
    r'\s*\[\s*\{\s*"header"\s*:\s*"YouTube': "from YouTube, which is not supported",
    r".*(Apple Music|Play Duration Milliseconds)": "from Apple Music, which is not supported",
    r"second,started_at,": "CSV of an earlier spotify-logger: export it again, or with `export --jsonl`",
    "": "contains no plays in a known format:"
    " of Spotify, spotify-logger, ListenBrainz, Last.fm, Koito or Maloja",
}
"""What a file is that holds no plays, by its beginning."""
_USER = re.compile(r'(?:"user(?:_?name)?"\s*:\s*"|;Date#)([^\n"]+)')
"""The user whom an export names: in a field, or in the header of the CSV of lastfmstats.com."""
_ACCOUNT = re.compile(r'\s*\{[^{}\[\]]*"username"\s*:')  # the file with the user's own data begins so

MAX_ROW_CHARS = 1 << 20  # maximum length of a row, in characters; no record is longer
CHARS_PER_READ = 1 << 13
CUT_OFF = "the file is cut off, or not JSON from there on"
READ_ERRORS = (OSError, EOFError, RuntimeError, UnicodeError, zipfile.BadZipFile, zlib.error, csv.Error)
"""The errors that reading a file or a member of a zip can raise."""

_DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN, of a file that pandas wrote
_BETWEEN_ENTRIES = f"{whitespace},"  # of a list inside an object
_BETWEEN_ROWS = f"{whitespace},[]"
_LIST = r'"(?:listens|scrobbles|track)"\s*:\s*\['
_NEXT_LIST = re.compile(_LIST)
_FIRST_LIST = re.compile(
    r'\s*+\[?\s*+\{(?:\s*"(?:recenttracks|payload)"\s*:\s*\{)?(?:[^\[\]{}]|\{[^\[\]{}]*\})*?' + _LIST
)
"""The beginning of a file whose rows are in a list inside an object."""
_CSV_COLUMNS = ["artist", "album", "track", "date"]  # without a header, as lastfm-to-csv writes them
_CSV_DATE = re.compile(r"([0-9]{1,2} [A-Z][a-z]{2} [0-9]{4},? [0-9:]+)?")
"""What the last of them looks like; it is empty for what was playing at the time."""


class UnreadableFile(SpotifyLoggerError):  # noqa: N818 - the state of a file
    """A file cannot be read, or is not JSON, from the next row on."""


class SeveralUsers(SpotifyLoggerError):  # noqa: N818 - named after what is wrong
    """The files belong to several users: one has to be chosen."""

    def __init__(self, users: Sequence[str]) -> None:
        whose = ", ".join(users) or "unnamed users"
        super().__init__(f"the files belong to {whose}: choose with --user NAME")
        self.users = users


class SourceFile(NamedTuple):
    """A file that holds plays."""

    name: str  # in messages
    path: Path  # of the file, or of the zip that it is in
    members: tuple[str, ...] = ()  # its name in that zip, after that of the zip in the zip that it is in
    size: int = 0  # in bytes; zipfile never returns more of a member than its stated size
    is_csv: bool = False
    service: str = ""  # whose export it is
    users: frozenset[str] = frozenset()  # whom it names, or a file beside it does

    @contextmanager
    def open(self) -> Iterator["io.TextIOWrapper[BinaryIO]"]:
        """Open it for reading; raise UnreadableFile if that, or reading it in the block, is impossible."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self.path.open("rb"))
                if self.path.suffix.lower() == ".gz":
                    file = cast("io.BufferedReader", stack.enter_context(gzip.open(file)))
                for member in self.members:
                    archive = stack.enter_context(zipfile.ZipFile(file))
                    file = cast("io.BufferedReader", stack.enter_context(archive.open(member)))
                is_utf_16 = file.peek(2)[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
                # Rows with bytes that are not UTF-8 are refused one by one.
                encoding = ("utf-16", "surrogatepass") if is_utf_16 else ("utf-8-sig", "surrogateescape")
                yield stack.enter_context(io.TextIOWrapper(cast("BinaryIO", file), *encoding))
            except READ_ERRORS as error:
                raise UnreadableFile(f"cannot be read: {describe_error(error)}") from None

    def rows(self, text: TextIO) -> Iterator[object]:
        """Yield the rows in its text; as text, a line that is not JSON, and a row that is not UTF-8."""
        return _csv_rows(text) if self.is_csv else _json_rows(text)


@dataclass
class FoundFiles:
    """The files that hold plays, and the numbers of other files and of other users' files."""

    sources: list[SourceFile] = field(default_factory=list)
    others: int = 0
    other_users: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # files and folders, and why
    _users: dict[PurePosixPath, frozenset[str]] = field(default_factory=dict, compare=False)  # by folder

    def add(self, source: SourceFile, *, is_named: bool = False) -> None:
        """Add a file if it holds plays, or those in it if it is a zip."""
        if source.members and source.size > MAX_MEMBER_BYTES:
            self.refused.append((source.name, "larger than a gigabyte: unpack it"))
            return
        if source.name.lower().endswith(".zip") or (is_named and zipfile.is_zipfile(source.path)):
            try:
                for member in _members(source):
                    self.add(member)
            except UnreadableFile as error:
                self.refused.append((source.name, f"not a readable zip ({error})"))
            return
        name = PurePosixPath(source.name)
        is_json = _JSON.fullmatch(name.name) is not None
        is_history = is_json and _HISTORY.search(name.name) is not None
        head = why = ""
        try:
            with source.open() as text:
                head = text.read(_HEAD_CHARS)
        except UnreadableFile as error:
            why = str(error)
        user, is_csv = _USER.search(head), head.lstrip()[:1] not in {"[", "{"}
        source = source._replace(is_csv=is_csv, users=frozenset([user[1]] if user else []))
        service = _service(source, head)
        source = source._replace(service=service or "Spotify")
        # The zips of ListenBrainz have a file for what there is none of, too.
        is_needless = bool(source.members) and not why and re.match(_EMPTY, head) is not None
        if service or (is_history and not is_csv):
            self.sources.append(source)
        elif is_named or is_history or (is_json and is_csv and not is_needless):
            why = why or next(words for start, words in _MISTAKEN.items() if re.match(start, head))
            self.refused.append((source.name, why))
        else:
            self.others += 1
            if source.users and _ACCOUNT.match(head):
                self._users[name.parent] = source.users

    def choose(self, users: Collection[str]) -> None:
        """Leave the files of other users aside; raise SpotifyLoggerError if a user has to be chosen."""
        unique = {(each.path.resolve(), each.members): each for each in self.sources}
        self.sources = sorted(each._replace(users=self._users_of(each)) for each in unique.values())
        found = {(source.service, user) for source in self.sources for user in source.users}
        names = {user for _, user in found}
        is_ambiguous = not users and len(found) > len({service for service, _ in found})
        if is_ambiguous or not names.issuperset(users):
            raise SeveralUsers(sorted(names))
        kept = [each for each in self.sources if not (users and each.users) or each.users & {*users}]
        self.other_users, self.sources = len(self.sources) - len(kept), kept

    def _users_of(self, source: SourceFile) -> frozenset[str]:
        """Return whom a file names, or its rows, as some of Spotify's do, or the nearest file around it."""
        users = set(source.users)
        if users and source.service == "Spotify":
            with suppress(UnreadableFile), source.open() as text:  # what is wrong is said when it is imported
                users.update(filter(None, map(user_of, source.rows(text))))
        folders = PurePosixPath(source.name).parents
        return frozenset(users) or next(filter(None, map(self._users.get, folders)), frozenset())


def _members(outer: SourceFile) -> Iterator[SourceFile]:
    """Yield what is in a zip; raise UnreadableFile if that is too much, or damaged."""
    if len(outer.members) == MAX_ZIP_DEPTH:
        raise UnreadableFile("a zip inside a zip inside a zip: unpack the outer ones")
    with outer.open() as text, zipfile.ZipFile(text.buffer) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_ZIP_MEMBERS:
        raise UnreadableFile("contains very many files: unpack it, and import the folder")
    for member in members:
        # Some programs of Windows write backslashes.
        name = f"{outer.name}/{member.filename}".replace("\\", "/")
        yield SourceFile(name, outer.path, (*outer.members, member.filename), member.file_size)


def _service(source: SourceFile, head: str) -> str:
    """Return whose format the first rows of a file have; "" if it is not a known one."""
    readable = head.encode("utf-8", "replace").decode()  # its rows are refused one by one
    with suppress(UnreadableFile, csv.Error):
        rows = islice(source.rows(io.StringIO(readable)), 10)
        return next((known.service for known in map(format_of, rows) if known is not None), "")
    return ""


def find_sources(paths: Iterable[Path], users: Collection[str] = ()) -> FoundFiles:
    """Find the files of some users, or of one, that hold plays: in folders, those inside them, and zips."""
    found = FoundFiles()

    def refuse(error: OSError) -> None:
        found.refused.append((error.filename, f"cannot be read: {describe_error(error)}"))

    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            raise SpotifyLoggerError(f"cannot read {path}: {describe_error(error)}") from None
        folders = os.walk(path, onerror=refuse) if is_folder else [(path.parent, (), [path.name])]
        for file in sorted(Path(folder, name) for folder, _, names in folders for name in names):
            try:
                status = file.stat()
            except OSError as error:
                refuse(error)
                continue
            if stat.S_ISREG(status.st_mode):
                found.add(SourceFile(str(file), file, (), status.st_size), is_named=not is_folder)
            elif not is_folder:
                why = "a pipe or a device: save its content to a file, and import that"
                found.refused.append((str(file), why))
    found.choose(users)
    return found


def _json_rows(text: TextIO) -> Iterator[object]:
    rest = first = last = ""
    more, between = True, _BETWEEN_ROWS
    while more or rest:
        read = text.read(CHARS_PER_READ)
        rest, more = rest + read, bool(read)
        if not first and (beginning := _FIRST_LIST.match(rest)):
            rest, between = rest[beginning.end() :], _BETWEEN_ENTRIES
        first, last = first or read.strip()[:1], read.strip()[-1:] or last
        with suppress(ValueError, RecursionError):
            while rest := rest.lstrip(between):
                row, rest = _first_row(rest, more=more)
                yield row
        is_complete = not more or len(rest) > MAX_ROW_CHARS
        if between is _BETWEEN_ENTRIES and rest.startswith("]"):
            if following := _NEXT_LIST.search(rest):
                rest = rest[following.end() :]
            elif is_complete:
                break
        elif rest and is_complete:
            line, newline, rest = rest.partition("\n")
            if first != "{" or between is _BETWEEN_ENTRIES or not newline:
                raise UnreadableFile(CUT_OFF)
            yield line
    is_in_list = between is _BETWEEN_ENTRIES and not rest.startswith("]")
    if is_in_list or (first == "[" and last != "]"):
        raise UnreadableFile(CUT_OFF)


def _first_row(text: str, *, more: bool) -> tuple[object, str]:
    """Return the row that a text begins with, and the rest; raise ValueError if it is not complete."""
    row, end = _DECODER.raw_decode(text)
    if more and not text[end:].strip("+-.Ee"):
        raise ValueError("a number may have more digits")
    return text[:end] if is_damaged(text[:end]) else row, text[end:]


def _csv_rows(text: TextIO) -> Iterator[object]:
    lines = iter(partial(text.readline, MAX_ROW_CHARS), "")
    first = next(lines, "")
    rows: Iterator[list[str]] = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count))
    header = next(rows, [])
    # lastfmstats.com appends the user to the name of the last column.
    names = [name.strip().lower().partition("#")[0] for name in header]
    if len(names) == len(_CSV_COLUMNS) and _CSV_DATE.fullmatch(header[-1]):
        names, rows = _CSV_COLUMNS, chain([header], rows)
    for values in rows:
        if line := ", ".join(values):
            yield line if is_damaged(line) else dict(zip(names, values, strict=False))


def describe_error(error: Exception) -> str:
    """Return why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "the file ends too early"
