"""A simulated listener, a log with holes, and the export that comes later."""

from __future__ import annotations

import math
import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.redis_keys import day_of
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.listener import listen
from spotify_logger.transfer.importer.command import import_history
from tests.exports import write
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.timeline import ListeningHistory, TruePlay

ENDS = {"trackdone": "trackdone", "skipped": "fwdbtn", "stopped": "logout"}


def row(play: TruePlay, item: ItemObject, chance: random.Random) -> dict[str, object]:
    """What an export tells of a play; one that was stopped may have stayed loaded for hours."""
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


class Shop:
    """All that was played; some of it is to be had under two ids."""

    def __init__(self, record: ListeningHistory) -> None:
        items = [part.item for part in record.segments if part.item is not None]
        self.items = {item.uri: item for item in items}
        twins = {item.uri: item.twin.uri for item in items if item.twin is not None}
        self._first = {uri: min(pair) for pair in twins.items() for uri in pair}

    def heard(self, play: TruePlay) -> TruePlay:
        """A play, under one of the ids."""
        return replace(play, uri=self._first.get(play.uri, play.uri))

    def logged(self, play: Play) -> Play:
        """A logged play, under the same."""
        return replace(play, item=replace(play.item, uri=self._first.get(play.item.uri, play.item.uri)))


@pytest.mark.parametrize("seed", [1])
def test_log_and_export_together_have_every_play_once(tmp_path: Path, redis_url: str, seed: int) -> None:
    chance, record = random.Random(seed), listen(seed, 1)
    world, shop = VirtualWorld.of(record), Shop(record)
    truth = list(map(shop.heard, record.plays))
    with (
        closing(VirtualRun(world, make_settings(tmp_path, redis_url), seed=seed)) as run,
        redis.Redis.from_url(redis_url) as client,
    ):
        run.run_until(record.end + 600)
        for logged in run.plays():
            if chance.random() < 0.3:
                client.delete(f"listening:{logged.second}")
                client.hdel(f"plays:{day_of(logged.second)}", str(logged.second))
        before = list(run.plays())
        rows = []
        for heard in record.plays:
            item = shop.items[heard.uri]
            rows.append(row(heard, item.twin if item.twin and chance.random() < 0.3 else item, chance))
        chance.shuffle(rows)
        path = write(tmp_path / "endsong_0.json", rows)
        import_history(run.store.archive(), [path])
        after = list(run.plays())
    live = [play for play in after if play.source != "import"]
    assert len(after) >= len(live) + 20
    assert live == before
    verdict = compare(truth, map(shop.logged, after))
    assert (verdict.missed, verdict.duplicates) == ([], [])
    assert verdict.phantoms == compare(truth, map(shop.logged, live)).phantoms
