"""A simulated listener, a log with holes, and the export that comes later."""

from __future__ import annotations

import math
import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import redis

from spotify_logger.core.redis_keys import day_of
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.listener import listen
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.importer.command import import_history
from tests.exports import write
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item
    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.comparison import Comparison
    from spotify_logger.simulator.timeline import TruePlay

ENDS = {"trackdone": "trackdone", "skipped": "fwdbtn", "stopped": "logout"}


def export_row(play: TruePlay, item: ItemObject, chance: random.Random) -> dict[str, object]:
    """Return the row of a play; one that was stopped may have stayed loaded for hours."""
    left = play.ended_at + (chance.uniform(0, 9 * 3600) if play.end_reason == "stopped" else 0)
    is_episode = play.kind in {"episode", "chapter"}
    names: dict[str, object] = (
        {"episode_name": item.name, "episode_show_name": item.album, "spotify_episode_uri": item.uri}
        if is_episode
        else {
            "master_metadata_track_name": item.name,
            "master_metadata_album_artist_name": item.artists[0],
            "master_metadata_album_album_name": item.album,
            "spotify_track_uri": item.uri,
        }
    )
    return names | {
        "ts": to_iso(math.ceil(left + chance.uniform(0, 1.5)) * 1000),
        "platform": "android",
        "ms_played": play.ms_played,
        "reason_end": ENDS.get(play.end_reason, "endplay"),
        "offline_timestamp": int(play.started_at),
    }


def test_log_with_holes_and_export_together_have_every_play_once(tmp_path: Path, redis_url: str) -> None:
    chance, history = random.Random(1), listen(1, 0.3)
    items = {part.item.uri: part.item for part in history.segments if part.item is not None}
    twins = {uri: item.twin.uri for uri, item in items.items() if item.twin is not None}
    first_uri = {uri: min(pair) for pair in twins.items() for uri in pair}  # of two for one recording
    with (
        closing(VirtualRun(VirtualWorld.of(history), make_settings(tmp_path, redis_url), seed=1)) as run,
        redis.Redis.from_url(redis_url) as client,
    ):
        run.run_until(history.end + 600)
        for play in run.plays():
            if chance.random() < 0.3:
                client.delete(f"listening:{play.second}")
                client.hdel(f"plays:{day_of(play.second)}", str(play.second))
        before = list(run.plays())
        rows = []
        for true_play in history.plays:
            item = items[true_play.uri]
            rows.append(
                export_row(true_play, item.twin if item.twin and chance.random() < 0.3 else item, chance)
            )
        chance.shuffle(rows)
        import_history(Archive(redis_url), [write(tmp_path / "endsong_0.json", rows)])
        after = list(run.plays())
    logged = [play for play in after if play.source != "import"]
    assert logged == before
    assert len(after) >= len(logged) + 10

    def compared(plays: list[Play]) -> Comparison:
        truth = [replace(play, uri=first_uri.get(play.uri, play.uri)) for play in history.plays]
        return compare(truth, [replace(play, item=with_first_uri(play.item)) for play in plays])

    def with_first_uri(item: Item) -> Item:
        return replace(item, uri=first_uri.get(item.uri, item.uri))

    comparison = compared(after)
    assert (comparison.missed, comparison.duplicates) == ([], [])
    assert comparison.phantoms == compared(logged).phantoms
