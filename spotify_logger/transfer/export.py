"""`spotify-logger export`: write the log for a later import, for spreadsheets, or for other services.

Rows of Spotify's extended streaming history, which statistics sites and other loggers read, have the fields
of its exports since 2024, where it also describes them; of what is not known, the value is null.
"""

import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO
from zipfile import ZIP_DEFLATED, ZipFile

from spotify_logger.core import forwarding
from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import CatalogEntry, artists_of
from spotify_logger.core.play import LIVE, SKIPPED, STOPPED, TRACKDONE
from spotify_logger.core.player_state import NUMERIC_FIELDS, FieldValue, whole_number
from spotify_logger.core.redis_keys import HIDDEN, Row, day_of, gap_key, play_key
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.report.answers import Answer, write_csv
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import FIRST_SECOND, Archive, Progress
from spotify_logger.system.atomic_file import replacing
from spotify_logger.system.errors import SpotifyLoggerError

PLAYS_PER_BATCH = 500  # plays read per pipeline, about half a megabyte
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
SOURCE_FIELD = "spotify_logger_source"  # ours, for `import`: the times of an observed play are not Spotify's
HISTORY_PLAY_FIELDS = (
    *("type", "uri", "name", "artists", "album", "device_name", "shuffle_state"),
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
)
TRACK_FIELDS = (
    *("master_metadata_track_name", "master_metadata_album_artist_name"),
    *("master_metadata_album_album_name", "spotify_track_uri"),
)
_EPISODE_FIELDS = ("episode_name", "episode_show_name", "spotify_episode_uri")
_HISTORY_FIELDS = (
    *("ts", "platform", "ms_played", "conn_country", "ip_addr", *TRACK_FIELDS, *_EPISODE_FIELDS),
    *("audiobook_title", "audiobook_uri", "audiobook_chapter_uri", "audiobook_chapter_title"),
    *("reason_start", "reason_end", "shuffle", "skipped", "offline", "offline_timestamp", "incognito_mode"),
)
_REASONS = {TRACKDONE: "trackdone", SKIPPED: "fwdbtn", STOPPED: "logout"}

ExportFormat = Literal["csv", "json", "jsonl", "listenbrainz", "spotify"]
"""A CSV row per play; our own records, in an array or one per line; listens, one per line; or rows of
Spotify's extended streaming history, in an array."""
ROWS_PER_FILE = 16_000  # about as many as Spotify's have
BYTE_ORDER_MARK = "\ufeff"  # without it, Excel takes UTF-8 for the code page of the machine
JsonObject = dict[str, Any]


class LogPeriod(NamedTuple):
    """What began from the second `begin` to before the second `end` in a log, or in all of it."""

    archive: Archive
    begin: int = FIRST_SECOND
    end: int | None = None
    progress: Progress | None = None  # gets how many of its days have been read

    def rows(self) -> Iterator[Row]:
        """Yield the rows of its plays, in chronological order."""
        return self.archive.rows(self.begin, self.end, self.progress)


class StoredPlay(NamedTuple):
    """A play in Redis: the second that names it, the key of its catalog item, and fields of its hash."""

    second: int
    item: str
    fields: Mapping[str, str]


def export(log: LogPeriod, form: ExportFormat, out: TextIO) -> None:
    """Write the plays of a period, and what else the format has."""
    _write(form, _READERS[form](log), out)


def export_file(log: LogPeriod, form: ExportFormat, path: Path) -> Answer:
    """Export into a file (mode 0600), a zip if its name ends so, or a folder for the rows of Spotify."""
    real, kinds = Path(os.path.realpath(path)), Counter[str]()

    def read() -> Iterator[JsonObject]:
        for row in _READERS[form](log):
            kinds[row.get("kind", "play")] += 1
            yield row

    suffix = real.suffix.lower()
    try:
        if form == "spotify" and suffix not in {".zip", ".json"}:
            real.mkdir(mode=0o700, exist_ok=True)
            if any(real.glob("Streaming_History_*")):
                why = "already holds a streaming history: name another folder, or a zip"
                raise SpotifyLoggerError(f"{path} {why}")
            for name, rows in _files(form, read()):
                with replacing(real / name) as out:
                    _write(form, rows, out)
        elif real.exists() and not real.is_file():
            raise SpotifyLoggerError(
                f"{path} is not a regular file: name a file to write, or omit it and redirect the output"
            )
        else:
            with replacing(real) as out:
                if suffix == ".zip":
                    _write_zip(form, read(), out)
                else:
                    _write(form, read(), out, BYTE_ORDER_MARK)
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write {path}: {error.strerror or error}") from None
    noun = "listen" if form == "listenbrainz" else "play"
    page = [f"{counted(kinds['play'], noun)} in {path}"]
    if form == "listenbrainz" and suffix == ".zip" and "listenbrainz" not in real.name:
        page.append("Koito takes only a zip with “listenbrainz” in its name: rename it for Koito.")
    return Answer({"file": str(path), f"{noun}s": kinds["play"]}, page)


def _files(form: ExportFormat, rows: Iterable[JsonObject]) -> Iterator[tuple[str, Iterable[JsonObject]]]:
    """Yield the names and rows of the files in a zip or a folder, which are named as by the services."""
    if form == "listenbrainz":  # Koito skips everything outside of this folder
        yield from groupby(rows, lambda each: f"listens/{day_of(each['listened_at']):%Y/%-m}.jsonl")
    elif form == "spotify":
        for number, some in enumerate(batched(rows, ROWS_PER_FILE)):
            years = dict.fromkeys(str(each["ts"])[:4] for each in (some[0], some[-1]))
            yield f"Streaming_History_Audio_{'-'.join(years)}_{number}.json", some
    else:
        yield f"spotify-logger.{form}", rows


def _write_zip(form: ExportFormat, rows: Iterable[JsonObject], out: TextIO) -> None:
    folder = "Spotify Extended Streaming History/" if form == "spotify" else ""  # as in Spotify's own
    with ZipFile(out.buffer, "w", ZIP_DEFLATED) as archive:
        for name, some in _files(form, rows):
            member = archive.open(folder + name, "w")
            with io.TextIOWrapper(member, "utf-8", newline="") as text:
                _write(form, some, text, BYTE_ORDER_MARK)


def _write(form: ExportFormat, rows: Iterable[JsonObject], out: TextIO, csv_mark: str = "") -> None:
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
    """Yield what `import` restores: of the whole log what is hidden, plays after their items, and gaps."""
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
    end = math.inf if log.end is None else log.end
    seconds = [begin for begin, *_ in log.archive.gaps() if log.begin <= begin < end]
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
    for *_, fields in completed_plays(log, HISTORY_PLAY_FIELDS, CatalogEntry._fields):
        started_ms, ended_ms = (from_iso(fields.get(name, "")) for name in ("started_at", "ended_at"))
        if started_ms is None or ended_ms is None or "end_reason" not in fields:
            continue  # it is not over
        entry = CatalogEntry(**{name: fields.get(name, "") for name in CatalogEntry._fields})
        artist, is_episode = next(map(str, artists_of(entry)), ""), fields.get("type") == "episode"
        names = (entry.name, entry.album) if is_episode else (entry.name, artist, entry.album)
        columns = _EPISODE_FIELDS if is_episode else TRACK_FIELDS
        about = dict(zip(columns, (*names, fields.get("uri", "")), strict=True))
        about["platform"] = fields.get("device_name", "")
        yield {
            **dict.fromkeys(_HISTORY_FIELDS),
            **{name: forwarding.plain_text(text) or None for name, text in about.items()},
            # In whole seconds: ListenBrainz's import fails at anything else.
            "ts": to_iso(ended_ms // 1000 * 1000).replace(".000", ""),
            "ms_played": whole_number(fields.get("ms_played")) or 0,
            "reason_end": _REASONS.get(fields["end_reason"], "unknown"),
            "shuffle": {"0": False, "1": True}.get(fields.get("shuffle_state", "")),
            "skipped": fields["end_reason"] == SKIPPED,
            "offline_timestamp": started_ms,  # Spotify had milliseconds here until 2022
            "incognito_mode": False,  # private sessions are not logged
            SOURCE_FIELD: fields.get("source", LIVE),
        }


_READERS: Mapping[ExportFormat, Callable[[LogPeriod], Iterator[JsonObject]]] = {
    "csv": _csv_rows,
    "json": records,
    "jsonl": records,
    "listenbrainz": _listens,
    "spotify": _history_rows,
}


def _read_plays(log: LogPeriod, names: Sequence[str] = ()) -> Iterator[list[StoredPlay]]:
    """Yield batches of the indexed plays, with the fields `names`, or with all, which is slower."""
    archive = log.archive
    for batch in batched(log.rows(), PLAYS_PER_BATCH):
        keys = [play_key(second) for second, *_ in batch]
        found = archive.fields(keys, names) if names else archive.hashes(keys)
        both = zip(batch, found, strict=True)
        yield [StoredPlay(second, item, fields) for (second, item, *_), fields in both if fields]


def completed_plays(log: LogPeriod, names: Sequence[str], of_items: Sequence[str]) -> Iterator[StoredPlay]:
    """Yield plays with fields of their items, which backfilled plays may lack, from the catalog."""
    for batch in _read_plays(log, names):
        keys = dict.fromkeys(play.item for play in batch)
        items = dict(zip(keys, log.archive.fields(keys, of_items), strict=True))
        yield from (play._replace(fields={**items[play.item], **play.fields}) for play in batch)


def _as_values(fields: Mapping[str, str]) -> dict[str, FieldValue]:
    """Return fields by name, which Redis may forget, and as numbers where `str` restores the text."""
    numeric = (NUMERIC_FIELDS | {"ms_played"}) & fields.keys()
    numbers = ((name, whole_number(fields[name])) for name in numeric)
    exact = {name: number for name, number in numbers if number is not None and str(number) == fields[name]}
    return {**dict(sorted(fields.items())), **exact}
