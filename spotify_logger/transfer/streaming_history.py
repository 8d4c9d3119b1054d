"""Turn plays into rows of Spotify's extended streaming history. Pure.

Statistics sites and other loggers read these files. The fields are those of Spotify's exports since 2024,
where it also describes them. Of what is not known, the value is null.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import CatalogEntry, artists_of
from spotify_logger.core.forwarding import plain_text
from spotify_logger.core.play import LIVE, SKIPPED, STOPPED, TRACKDONE
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.times import from_iso, to_iso

SOURCE_FIELD = "spotify_logger_source"  # ours, for `import`: the times of an observed play are not Spotify's
ROWS_PER_FILE = 16_000  # about as many as Spotify's have
CATALOG_FIELDS = CatalogEntry._fields
PLAY_FIELDS = (
    *("type", "uri", "name", "artists", "album", "device_name", "shuffle_state"),
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
)
_TRACK_FIELDS = (
    "master_metadata_track_name",
    "master_metadata_album_artist_name",
    "master_metadata_album_album_name",
    "spotify_track_uri",
)
_EPISODE_FIELDS = ("episode_name", "episode_show_name", "spotify_episode_uri")
_FIELDS = (
    *("ts", "platform", "ms_played", "conn_country", "ip_addr", *_TRACK_FIELDS, *_EPISODE_FIELDS),
    *("audiobook_title", "audiobook_uri", "audiobook_chapter_uri", "audiobook_chapter_title"),
    *("reason_start", "reason_end", "shuffle", "skipped", "offline", "offline_timestamp", "incognito_mode"),
)
_REASONS = {TRACKDONE: "trackdone", SKIPPED: "fwdbtn", STOPPED: "logout"}


def row(fields: Mapping[str, str]) -> dict[str, object] | None:
    """Return the row of a play with the fields above; None if it is not over."""
    started_ms, ended_ms = (from_iso(fields.get(name, "")) for name in ("started_at", "ended_at"))
    if started_ms is None or ended_ms is None or "end_reason" not in fields:
        return None
    entry = CatalogEntry(**{name: fields.get(name, "") for name in CATALOG_FIELDS})
    artist = next(map(str, artists_of(entry)), "")
    if fields.get("type") == "episode":
        about = dict(zip(_EPISODE_FIELDS, (entry.name, entry.album, fields.get("uri", "")), strict=True))
    else:
        names = entry.name, artist, entry.album, fields.get("uri", "")
        about = dict(zip(_TRACK_FIELDS, names, strict=True))
    about["platform"] = fields.get("device_name", "")
    return {
        **dict.fromkeys(_FIELDS),
        **{name: plain_text(text) or None for name, text in about.items()},
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


def files(rows: Iterable[dict[str, object]]) -> Iterator[tuple[str, Sequence[dict[str, object]]]]:
    """Yield the rows of each file with its name, which has the years and the number of the file."""
    for number, some in enumerate(batched(rows, ROWS_PER_FILE)):
        years = dict.fromkeys(str(each["ts"])[:4] for each in (some[0], some[-1]))
        yield f"Streaming_History_Audio_{'-'.join(years)}_{number}.json", some
