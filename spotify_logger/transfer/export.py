"""`spotify-logger export`: write the log for a later import, for spreadsheets, or for ListenBrainz.

Records are streamed in chronological order. Plays are found through the index. A period begins with the
second `begin`, and ends before the second `end`, or never if that is None.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from spotify_logger.core import forwarding
from spotify_logger.core.batched import batched
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, FieldValue, whole_number
from spotify_logger.core.redis_keys import gap_key, play_key
from spotify_logger.report.blocks import Answer, CsvValue, write_csv
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import FIRST_SECOND, Archive
from spotify_logger.system.atomic_file import replacing
from spotify_logger.system.errors import SpotifyLoggerError

PLAYS_PER_BATCH = 500  # plays read per pipeline, about half a megabyte
NUMERIC_FIELDS = INTEGER_FIELDS | BOOLEAN_FIELDS | {"ms_played"}
CSV_COLUMNS = (  # after `second`
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
    *("type", "name", "artists", "album", "duration_ms", "explicit"),
    *("device_name", "device_type", "device_volume", "shuffle_state", "repeat_state"),
    *("context_uri", "uri", "isrc", "artist_list"),
)
CSV_CATALOG_FIELDS = ("name", "artists", "album", "duration_ms", "isrc", "artist_list")

ExportFormat = Literal["csv", "json", "jsonl", "listenbrainz"]
"""A CSV row per play; our own records, in an array or one per line; or listens, one per line."""
JsonObject = dict[str, object]


class StoredPlay(NamedTuple):
    """A play in Redis: the second that names it, the key of its catalog item, and fields of its hash."""

    second: int
    item: str
    fields: Mapping[str, str]


def export(
    archive: Archive, form: ExportFormat, out: TextIO, begin: int = FIRST_SECOND, end: int | None = None
) -> int:
    """Write the plays and gaps that began in a period, and return the number of plays, or of listens.

    JSON is in ASCII, so that nothing is lost in any locale, and no title can change the state of a terminal.
    """
    plays: Counter[object] = Counter()
    if form == "csv":
        write_csv(_counting(_csv_rows(archive, begin, end), plays), out)
        return plays["play"]
    read = _listens if form == "listenbrainz" else records
    lines = map(json.dumps, _counting(read(archive, begin, end), plays))
    if form == "json":
        out.write("[")
        out.writelines(f"{',' if number else ''}\n{line}" for number, line in enumerate(lines))
        out.write("\n]\n")
    else:
        out.writelines(f"{line}\n" for line in lines)
    return plays["play"]


def export_file(
    archive: Archive, form: ExportFormat, path: Path, begin: int = FIRST_SECOND, end: int | None = None
) -> Answer:
    """Export into a file with mode 0600, which is replaced when the export is complete (see `export`)."""
    real = Path(os.path.realpath(path))
    if os.path.exists(real) and not real.is_file():  # noqa: PTH110 - `Path.exists` raises for a name that is too long
        raise SpotifyLoggerError(
            f"{path} is not a regular file: name a file to write, or omit it and redirect the output"
        )
    try:
        with replacing(real) as out:
            number = export(archive, form, out, begin, end)
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write {path}: {error.strerror or error}") from None
    noun = "listen" if form == "listenbrainz" else "play"
    return Answer({"file": str(path), f"{noun}s": number}, [f"{counted(number, noun)} in {path}"])


def records(archive: Archive, begin: int, end: int | None) -> Iterator[JsonObject]:
    """Yield plays and gaps so that `import` can restore them fully; each item comes before its first play."""
    both = merge(_play_records(archive, begin, end), _gap_records(archive, begin, end), key=itemgetter(0))
    return map(itemgetter(1), both)


def _play_records(archive: Archive, begin: int, end: int | None) -> Iterator[tuple[int, JsonObject]]:
    written: set[str] = set()
    for batch in _read_plays(archive, begin, end):
        keys = list(dict.fromkeys(play.item for play in batch if play.item not in written))
        items = dict(zip(keys, archive.hashes(keys), strict=True))
        written.update(keys)
        for play in batch:
            if fields := items.pop(play.item, None):
                yield play.second, {"kind": "item", "key": play.item, "fields": _as_values(fields)}
            yield play.second, {"kind": "play", "second": play.second, "fields": _as_values(play.fields)}


def _gap_records(archive: Archive, begin: int, end: int | None) -> Iterator[tuple[int, JsonObject]]:
    seconds = [gap[0] for gap in archive.gaps() if begin <= gap[0] and (end is None or gap[0] < end)]
    for second, fields in zip(seconds, archive.hashes(map(gap_key, seconds)), strict=True):
        if fields:
            yield second, {"kind": "gap", "second": second, "fields": fields}


def _csv_rows(archive: Archive, begin: int, end: int | None) -> Iterator[dict[str, CsvValue]]:
    for play in completed_plays(archive, begin, end, CSV_COLUMNS, CSV_CATALOG_FIELDS):
        values = _as_values(play.fields)
        yield {"second": play.second, **{name: values.get(name, "") for name in CSV_COLUMNS}}


def _listens(archive: Archive, begin: int, end: int | None) -> Iterator[JsonObject]:
    fields = forwarding.PLAY_FIELDS, forwarding.CATALOG_FIELDS
    for play in completed_plays(archive, begin, end, *fields):
        if forwarding.counts(play.fields):
            yield forwarding.listen(*play)


def _read_plays(
    archive: Archive, begin: int, end: int | None, names: Sequence[str] = ()
) -> Iterator[list[StoredPlay]]:
    """Yield batches of the indexed plays, with the fields `names`, or with all, which is slower."""
    lines = (line for day in archive.rows(begin, end) for line in zip(day.seconds, day.items, strict=True))
    for batch in batched(lines, PLAYS_PER_BATCH):
        keys = [play_key(second) for second, _ in batch]
        some = (_present(names, values) for _, values in archive.catalog(keys, names)) if names else None
        both = zip(batch, some or archive.hashes(keys), strict=True)
        yield [StoredPlay(second, item, fields) for (second, item), fields in both if fields]


def completed_plays(
    archive: Archive, begin: int, end: int | None, names: Sequence[str], of_items: Sequence[str]
) -> Iterator[StoredPlay]:
    """Yield plays with fields of their items, which backfilled plays may lack, from the catalog."""
    for batch in _read_plays(archive, begin, end, names):
        keys = dict.fromkeys(play.item for play in batch)
        items = {key: _present(of_items, values) for key, values in archive.catalog(keys, of_items)}
        yield from (play._replace(fields={**items[play.item], **play.fields}) for play in batch)


def _present(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in zip(names, values, strict=True) if value}


def _as_values(fields: Mapping[str, str]) -> dict[str, FieldValue]:
    """Return fields by name, which Redis may forget, and as numbers where `str` restores the text."""
    numbers = ((name, whole_number(fields[name])) for name in NUMERIC_FIELDS & fields.keys())
    exact = {name: number for name, number in numbers if number is not None and str(number) == fields[name]}
    return {**dict(sorted(fields.items())), **exact}


def _counting(records: Iterable[dict[str, Any]], kinds: Counter[object]) -> Iterator[dict[str, Any]]:
    for each in records:
        kinds[each.get("kind", "play")] += 1
        yield each
