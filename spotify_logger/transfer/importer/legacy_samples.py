"""Turn the samples of the 2019 script, one hash per answer, into plays. Pure.

The script flattened the answers of `/v1/me/player`. Its field names are not known for certain, so every name
that can only mean one thing is accepted.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from spotify_logger.core import player_state
from spotify_logger.core.matching import AccountRank
from spotify_logger.core.observations import AWAY_MS
from spotify_logger.core.play import IMPORT
from spotify_logger.core.player_state import NO_STATE, PlayerState
from spotify_logger.core.tracker import Tracker
from spotify_logger.system.state import from_json
from spotify_logger.transfer.importer.export_rows import ImportedPlay

_ALIASES = (
    dict.fromkeys(("track", "title", "song"), "name")
    | dict.fromkeys(("artist", "artist_name", "artists_name"), "artists")
    | dict.fromkeys(("device_volume_percent", "volume_percent", "volume"), "device_volume")
    | {"album_name": "album", "duration": "duration_ms", "progress": "progress_ms", "is_playing": "playing"}
    | {"device": "device_name", "shuffle": "shuffle_state", "repeat": "repeat_state"}
    | {"context": "context_uri", "currently_playing_type": "type"}
)
"""Other names that fields may have, in lower case, with underscores, and without "item_" or "track_"."""
_URI = re.compile(r"spotify:(track|episode):([\w.~-]{1,64})")
_END = 10**10  # a second long after all samples: their keys have fewer digits


def read_sample(fields: Mapping[str, str]) -> PlayerState:
    """Return the player state of a sample; `NO_STATE` if it names no item."""
    # A sample that does not say whether it was paused is taken as playing.
    sample = defaultdict(str, playing="1")
    for name, value in fields.items():
        plain = re.sub(r"\W", "_", name.lower()).removeprefix("item_").removeprefix("track_")
        if value.lower() not in {"", "none", "null"}:
            sample[_ALIASES.get(plain, plain)] = value
    uri, album, artists = _URI.fullmatch(sample["uri"]), {"name": sample["album"]}, sample["artists"]
    # They may be a JSON list of names or of artist objects.
    listed = from_json(list[object], artists) if artists.startswith("[") else None
    listed = [artists] if listed is None else listed
    item = {
        "type": uri[1] if uri else "episode" if sample["type"] == "episode" else "track",
        "id": sample["id"] or (uri[2] if uri else None),
        "uri": sample["uri"] or None,
        "name": sample["name"],
        "artists": [each if isinstance(each, dict) else {"name": each} for each in listed],
        "album": album,
        "show": album,
        "duration_ms": _value("duration_ms", sample["duration_ms"]),
    }
    body: dict[str, Any] = {"item": item, "device": {}, "context": {}}
    for name, path in player_state.FIELD_PATHS.items():
        outer, _, inner = path.rpartition(".")
        (body[outer] if outer else body)[inner] = _value(name, sample[name])
    return player_state.read_player_state(body)


def plays_of(samples: Iterable[tuple[int, PlayerState]]) -> Iterator[ImportedPlay]:
    """Yield the finished plays that samples show: their seconds and player states, in chronological order."""
    tracker, last_ms = Tracker(), 0
    for second, state in chain(samples, [(_END, NO_STATE)]):
        now_ms = second * 1000
        if last_ms and now_ms - last_ms > AWAY_MS:  # the script took one every few seconds
            tracker.note_gap()
        for play in tracker.observe(state, now_ms, now_ms):
            if play.end_reason is not None:
                yield ImportedPlay(replace(play, source=IMPORT), AccountRank.LIVE, play.ended_ms)
        last_ms = now_ms


def _value(name: str, text: str) -> object:
    """Return the value of a field as in Spotify's response; None if it is missing."""
    if name in player_state.BOOLEAN_FIELDS:
        return text.lower() in {"1", "1.0", "true"} if text else None
    return player_state.whole_number(text.removesuffix(".0")) if name in player_state.INTEGER_FIELDS else text
