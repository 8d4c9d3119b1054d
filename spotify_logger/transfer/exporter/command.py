"""`spotify-logger export`: write the log for a later import, for spreadsheets, or for ListenBrainz.

Records are streamed in chronological order. Plays are found through the index.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO, TypeVar

from spotify_logger.report import csv_output
from spotify_logger.report.blocks import Answer
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import FIRST_SECOND
from spotify_logger.system.atomic_file import replacing
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.exporter.jsonl import records
from spotify_logger.transfer.exporter.listenbrainz import listens
from spotify_logger.transfer.exporter.spreadsheet import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spotify_logger.storage.bulk import Archive

ExportFormat = Literal["csv", "json", "jsonl", "listenbrainz"]
"""The export format: a CSV row per play; our own records, in an array or one per line; or listens in
ListenBrainz's format, one per line."""

T = TypeVar("T", bound="Mapping[str, object]")


def export(
    archive: Archive,
    export_format: ExportFormat,
    out: TextIO,
    begin: int = FIRST_SECOND,
    end: int | None = None,
) -> int:
    """Write the plays and gaps that began in a period.

    JSON is written in ASCII, so that nothing is lost in any locale, and no title can change the state of a
    terminal.

    Args:
        archive: The log.
        export_format: The format to write.
        out: The stream to write to.
        begin: The first second of the period.
        end: The second after the last one; None for no limit.

    Returns:
        The number of plays written; for ListenBrainz, of listens.

    Raises:
        StoreError: Redis went away.
        OSError: Writing to `out` failed.
    """
    plays: Counter[bool] = Counter()
    match export_format:
        case "csv":
            csv_output.write_csv(_counting(rows(archive, begin, end), plays), out)
        case "json":
            _write_array(_counting(records(archive, begin, end), plays), out)
        case "jsonl":
            _write_lines(_counting(records(archive, begin, end), plays), out)
        case "listenbrainz":
            _write_lines(_counting(listens(archive, begin, end), plays), out)
    return plays[True]


def export_file(
    archive: Archive,
    export_format: ExportFormat,
    path: Path,
    begin: int = FIRST_SECOND,
    end: int | None = None,
) -> Answer:
    """Export into a file with mode 0600, which is replaced when the export is complete (see `export`).

    Symbolic links are followed. The old file stays if the export fails.

    Raises:
        StoreError: Redis went away.
        SpotifyLoggerError: The file cannot be written.
    """
    real = Path(os.path.realpath(path))
    if os.path.exists(real) and not real.is_file():  # noqa: PTH110 - `Path.exists` raises for a name that is too long
        raise SpotifyLoggerError(
            f"{path} is not a regular file: name a file to write, or omit it and redirect the output"
        )
    try:
        with replacing(real) as out:
            number = export(archive, export_format, out, begin, end)
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write {path}: {error.strerror or error}") from None
    noun = "listen" if export_format == "listenbrainz" else "play"
    return Answer({"file": str(path), f"{noun}s": number}, [f"{counted(number, noun)} in {path}"])


def _counting(records: Iterable[T], plays: Counter[bool]) -> Iterator[T]:
    """Pass records on, counting plays and other records."""
    for each in records:
        plays[each.get("kind", "play") == "play"] += 1
        yield each


def _write_lines(records: Iterable[Mapping[str, object]], out: TextIO) -> None:
    out.writelines(json.dumps(each) + "\n" for each in records)


def _write_array(records: Iterable[Mapping[str, object]], out: TextIO) -> None:
    before = "["
    for each in records:
        out.write(f"{before}\n{json.dumps(each)}")
        before = ","
    out.write("[]\n" if before == "[" else "\n]\n")
