"""The extended streaming history: what Spotify's data export says of what the simulated listener heard."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from spotify_logger.core.times import to_iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.timeline import FinishedTrack, ListeningHistory, TruePlay

REPORT_DELAY = 1.5
"""Maximum seconds after which the end of a play is stamped."""
RELINKED = 0.1
"""The probability that a track with two IDs is reported under the other one (spotify/web-api#1232)."""

_REASONS = {"trackdone": "trackdone", "skipped": "fwdbtn", "stopped": "logout"}


def streaming_history(history: ListeningHistory, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield the rows of all plays, in chronological order; plays in private sessions are left out."""
    chance = random.Random(f"export {seed}")
    items = {part.item.uri: part.item for part in history.segments if part.item is not None}
    starts = [*(play.started_at for play in history.plays[1:]), math.inf]
    for play, following in zip(history.plays, starts, strict=False):
        # A track that was stopped stays loaded; only when it is left, Spotify reports it, here and elsewhere.
        left = min((track.left_at for track in history.finished_tracks if _is_of(track, play)), default=0.0)
        left = max(play.ended_at, min(following, left))
        item = items[play.uri]
        if item.twin is not None and chance.random() < RELINKED:
            item = item.twin
        yield _row(play, item, left + chance.uniform(0, REPORT_DELAY))


def _is_of(track: FinishedTrack, play: TruePlay) -> bool:
    return track.item.uri == play.uri and track.left_at >= play.ended_at


def _row(play: TruePlay, item: ItemObject, left: float) -> dict[str, object]:
    names: dict[str, object] = {
        "master_metadata_track_name": item.name,
        "master_metadata_album_artist_name": item.artists[0] if item.artists else None,
        "master_metadata_album_album_name": item.album,
        "spotify_track_uri": item.uri,
    }
    if play.kind in {"episode", "chapter"}:
        names = {"episode_name": item.name, "episode_show_name": item.album, "spotify_episode_uri": item.uri}
    return {
        "ts": to_iso(math.ceil(left) * 1000).replace(".000", ""),
        "platform": "android",
        "ms_played": play.ms_played,
        **names,
        "reason_end": _REASONS.get(play.end_reason, "unknown"),
        "skipped": play.end_reason == "skipped",
        "offline": False,
        "offline_timestamp": int(play.started_at),
        "incognito_mode": False,
    }
