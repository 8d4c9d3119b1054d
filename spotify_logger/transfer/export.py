"""`spotify-logger export`: write the log for a later import, for spreadsheets, or for other services.

Records are streamed in chronological order. Plays are found through the index.
"""

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO
from zipfile import ZIP_DEFLATED, ZipFile

from spotify_logger.core import forwarding
from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import CatalogEntry
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, FieldValue, whole_number
from spotify_logger.core.redis_keys import HIDDEN, day_of, gap_key, play_key
from spotify_logger.core.times import from_iso
from spotify_logger.report.answers import Answer, write_csv
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import FIRST_SECOND, Archive
from spotify_logger.system.atomic_file import replacing
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer import streaming_history

if TYPE_CHECKING:
    from spotify_logger.storage.bulk import Progress

PLAYS_PER_BATCH = 500  # plays read per pipeline, about half a megabyte
NUMERIC_FIELDS = INTEGER_FIELDS | BOOLEAN_FIELDS | {"ms_played"}
CSV_MILLISECONDS = {"started_ms": "started_at", "ended_ms": "ended_at"}
"""The columns with the milliseconds of times, as spreadsheets only take whole seconds for dates."""
CSV_COLUMNS = (  # after `second`
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
    *("type", "name", "artists", "album", "duration_ms", "explicit"),
    *("device_name", "device_type", "device_volume", "shuffle_state", "repeat_state"),
    *("context_uri", "uri", "isrc", "artist_list", "artist_ids", "album_id", "cover"),
    *("id", "logged_by", "timestamp", "progress_ms", "playing", *CSV_MILLISECONDS),
)
CSV_CATALOG_FIELDS = (*CatalogEntry._fields, "duration_ms", "cover")

ExportFormat = Literal["csv", "json", "jsonl", "listenbrainz", "spotify"]
"""A CSV row per play; our own records, in an array or one per line; listens, one per line; or rows of
Spotify's extended streaming history, in an array."""
FOLDER_IN_ZIP = "Spotify Extended Streaming History"  # as in Spotify's own
BYTE_ORDER_MARK = "\ufeff"  # without it, Excel takes UTF-8 for the code page of the machine
JsonObject = dict[str, object]


class LogPeriod(NamedTuple):
    """What began from the second `begin` to before the second `end` in a log, or in all of it."""

    archive: Archive
    begin: int = FIRST_SECOND
    end: int | None = None
    progress: "Progress | None" = None  # gets how many of its days have been read


class StoredPlay(NamedTuple):
    """A play in Redis: the second that names it, the key of its catalog item, and fields of its hash."""

    second: int
    item: str
    fields: Mapping[str, str]


def export(log: LogPeriod, form: ExportFormat, out: TextIO) -> None:
    """Write the plays and gaps of a period."""
    _write(form, _READERS[form](log), out)


def export_file(log: LogPeriod, form: ExportFormat, path: Path) -> Answer:
    """Export into a file with mode 0600, which is replaced when the export is complete.

    A name that ends in ".zip" makes a zip; the rows for Spotify may also be written into a folder.
    """
    real, plays = Path(os.path.realpath(path)), Counter[object]()
    rows = _counting(_READERS[form](log), plays)
    suffix = real.suffix.lower()
    try:
        if form == "spotify" and suffix not in {".zip", ".json"}:
            _write_folder(rows, real, path)
        elif os.path.exists(real) and not real.is_file():  # noqa: PTH110 - `Path.exists` raises for a name that is too long
            raise SpotifyLoggerError(
                f"{path} is not a regular file: name a file to write, or omit it and redirect the output"
            )
        else:
            with replacing(real) as out:
                if suffix == ".zip":
                    _write_zip(form, rows, out)
                else:
                    _write(form, rows, out, BYTE_ORDER_MARK)
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write {path}: {error.strerror or error}") from None
    noun = "listen" if form == "listenbrainz" else "play"
    page = [f"{counted(plays['play'], noun)} in {path}"]
    if form == "listenbrainz" and suffix == ".zip" and "listenbrainz" not in real.name:
        page.append("Koito takes only a zip with “listenbrainz” in its name: rename it for Koito.")
    return Answer({"file": str(path), f"{noun}s": plays["play"]}, page)


def _write_zip(form: ExportFormat, rows: Iterable[JsonObject], out: TextIO) -> None:
    members: Iterable[tuple[str, Iterable[JsonObject]]]
    if form == "listenbrainz":  # as in its own zip; Koito skips everything outside of this folder
        members = groupby(rows, _name_of_month)
    elif form == "spotify":
        files = streaming_history.files(rows)
        members = ((f"{FOLDER_IN_ZIP}/{name}", some) for name, some in files)
    else:
        members = [(f"spotify-logger.{form}", rows)]
    with ZipFile(out.buffer, "w", ZIP_DEFLATED) as archive:
        for name, some in members:
            with archive.open(name, "w") as member, io.TextIOWrapper(member, "utf-8", newline="") as text:
                _write(form, some, text, BYTE_ORDER_MARK)


def _name_of_month(listen: Mapping[str, Any]) -> str:
    day = day_of(listen["listened_at"])
    return f"listens/{day.year}/{day.month}.jsonl"


def _write_folder(rows: Iterable[JsonObject], real: Path, path: Path) -> None:
    real.mkdir(mode=0o700, exist_ok=True)
    if any(real.glob("Streaming_History_*")):
        raise SpotifyLoggerError(f"{path} already holds a streaming history: name another folder, or a zip")
    for name, some in streaming_history.files(rows):
        with replacing(real / name) as out:
            _write("spotify", some, out)


def _write(form: ExportFormat, rows: Iterable[Mapping[str, Any]], out: TextIO, csv_mark: str = "") -> None:
    """Write rows; JSON in ASCII: nothing is lost in any locale, and no title can control a terminal."""
    if form == "csv":
        out.write(csv_mark)
        write_csv(rows, out)
        return
    lines = map(json.dumps, rows)
    if form in {"json", "spotify"}:
        out.write("[")
        out.writelines(f"{',' if number else ''}\n{line}" for number, line in enumerate(lines))
        out.write("\n]\n")
    else:
        out.writelines(f"{line}\n" for line in lines)


def records(log: LogPeriod) -> Iterator[JsonObject]:
    """Yield plays and gaps so that `import` can restore them fully; each item comes before its first play.

    With the whole log, what is hidden from statistics comes first, in a record of its own.
    """
    is_whole = log.begin <= FIRST_SECOND and log.end is None
    if is_whole and (hidden := log.archive.hash(HIDDEN)):
        yield {"kind": "hidden", "fields": hidden}
    yield from map(itemgetter(1), merge(_play_records(log), _gap_records(log), key=itemgetter(0)))


def _play_records(log: LogPeriod) -> Iterator[tuple[int, JsonObject]]:
    written: set[str] = set()
    for batch in _read_plays(log):
        keys = list(dict.fromkeys(play.item for play in batch if play.item not in written))
        items = dict(zip(keys, log.archive.hashes(keys), strict=True))
        written.update(keys)
        for play in batch:
            if fields := items.pop(play.item, None):
                yield play.second, {"kind": "item", "key": play.item, "fields": _as_values(fields)}
            yield play.second, {"kind": "play", "second": play.second, "fields": _as_values(play.fields)}


def _gap_records(log: LogPeriod) -> Iterator[tuple[int, JsonObject]]:
    begins = (gap[0] for gap in log.archive.gaps())
    seconds = [second for second in begins if log.begin <= second and (log.end is None or second < log.end)]
    for second, fields in zip(seconds, log.archive.hashes(map(gap_key, seconds)), strict=True):
        if fields:
            yield second, {"kind": "gap", "second": second, "fields": fields}


def _csv_rows(log: LogPeriod) -> Iterator[JsonObject]:
    for play in completed_plays(log, CSV_COLUMNS, CSV_CATALOG_FIELDS):
        values = _as_values(play.fields)
        for column, name in CSV_MILLISECONDS.items():
            values[column] = (from_iso(play.fields.get(name, "")) or 0) % 1000
        yield {"second": play.second, **{name: values.get(name, "") for name in CSV_COLUMNS}}


def _listens(log: LogPeriod) -> Iterator[JsonObject]:
    for play in completed_plays(log, forwarding.PLAY_FIELDS, forwarding.CATALOG_FIELDS):
        if forwarding.counts(play.fields):
            yield forwarding.listen(*play)


def _history_rows(log: LogPeriod) -> Iterator[JsonObject]:
    plays = completed_plays(log, streaming_history.PLAY_FIELDS, streaming_history.CATALOG_FIELDS)
    return filter(None, (streaming_history.row(play.fields) for play in plays))


_READERS: Mapping[ExportFormat, Callable[[LogPeriod], Iterator[JsonObject]]] = {
    "csv": _csv_rows,
    "json": records,
    "jsonl": records,
    "listenbrainz": _listens,
    "spotify": _history_rows,
}


def _read_plays(log: LogPeriod, names: Sequence[str] = ()) -> Iterator[list[StoredPlay]]:
    """Yield batches of the indexed plays, with the fields `names`, or with all, which is slower."""
    days, archive = log.archive.rows(log.begin, log.end, log.progress), log.archive
    lines = (line for day in days for line in zip(day.seconds, day.items, strict=True))
    for batch in batched(lines, PLAYS_PER_BATCH):
        keys = [play_key(second) for second, _ in batch]
        some = (_present(names, values) for _, values in archive.catalog(keys, names)) if names else None
        both = zip(batch, some or archive.hashes(keys), strict=True)
        yield [StoredPlay(second, item, fields) for (second, item), fields in both if fields]


def completed_plays(log: LogPeriod, names: Sequence[str], of_items: Sequence[str]) -> Iterator[StoredPlay]:
    """Yield plays with fields of their items, which backfilled plays may lack, from the catalog."""
    for batch in _read_plays(log, names):
        keys = dict.fromkeys(play.item for play in batch)
        items = {key: _present(of_items, values) for key, values in log.archive.catalog(keys, of_items)}
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
