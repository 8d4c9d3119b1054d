"""The log of a simulated listener, and Spotify's export of the same listening imported on top of it."""

from __future__ import annotations

import json
import random
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spotify_logger.core.play import LIVE, Play
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.streaming_history import streaming_history
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.importer.command import import_history
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.report.answers import Answer
    from spotify_logger.simulator.comparison import Comparison
    from spotify_logger.simulator.timeline import ListeningHistory, TruePlay

HOUR = 3600.0
OUTAGE = (600.0, 2400.0)
"""Seconds for which the logger does not run, once in every second history."""


@dataclass
class Agreement:
    """What a log and an export had to do with each other.

    Attributes:
        truth: What was heard.
        logged: The plays of the logger.
        imported: The plays after the import.
        later: The plays some hours after that, while the logger went on.
        counts: The results for the rows.
        repeated: The results for the same rows in a second import.
    """

    truth: ListeningHistory
    logged: list[Play]
    imported: list[Play]
    later: list[Play]
    counts: dict[str, int]
    repeated: dict[str, int]

    def compared(self, plays: list[Play]) -> Comparison:
        """Compare plays with the truth, of which each recording has one URI."""
        heard = [replace(play, uri=self._uri(play.uri)) for play in self.truth.plays]
        one_uri = (replace(play.item, uri=self._uri(play.item.uri)) for play in plays)
        return compare(heard, [replace(play, item=item) for play, item in zip(plays, one_uri, strict=True)])

    def _uri(self, uri: str) -> str:
        """Return the one URI of a recording."""
        items = (part.item for part in self.truth.segments if part.item is not None)
        return next(
            (
                min(item.uri, item.twin.uri)
                for item in items
                if item.twin and uri in (item.uri, item.twin.uri)
            ),
            uri,
        )

    def errors(self) -> list[str]:
        """Return what should not be: lost, doubled or changed plays."""
        alone, together = self.compared(self.logged), self.compared(self.imported)
        live = [play for play in self.logged if play.source == LIVE]
        found = {
            "lost": [play for play in together.missed if not self._is_in_another(play)],
            "doubled": together.duplicates[len(alone.duplicates) :],
            "phantom": together.phantoms[len(alone.phantoms) :],
            "changed": [play for play in live if play not in self.imported],
            "not kept": [play for play in self.imported if play not in self.later],
            "back": [play for play in self.later if play not in self.imported],
            "found again": [name for name in ("new", "improved") if self.repeated[name]],
        }
        return [f"{what}: {plays}" for what, plays in found.items() if plays]

    def _is_in_another(self, play: TruePlay) -> bool:
        """Return whether a play is in a logged one of its item: a start between two answers was not seen."""
        return any(
            self._uri(logged.item.uri) == play.uri
            and logged.started_ms <= 1000 * (play.started_at + 1)
            and logged.ended_ms >= 1000 * (play.ended_at - 1)
            for logged in self.imported
        )


def agree(seed: int, hours: float, folder: Path, redis_url: str, prefix: str = "") -> Agreement:
    """Log a listener made of chance, and import Spotify's export of the same listening."""
    chance, truth = random.Random(seed), listen(seed, hours / 24, replace(Habits(), nonstop=True))
    world, export = VirtualWorld.of(truth, seed), folder / "endsong_0.json"
    export.write_text(json.dumps(list(streaming_history(truth, seed))))
    run = VirtualRun(world, make_settings(folder, redis_url, prefix), seed=seed)
    with closing(run), closing(Archive(redis_url, prefix)) as archive:
        if seed % 2:
            run.run_until(truth.start + chance.uniform(0.2, 0.5) * hours * HOUR)
            run.close()
            world.clock.sleep(chance.uniform(*OUTAGE))
            run.start()
        run.run_until(truth.end + HOUR)
        logged = list(run.plays())
        counts = _counts(import_history(archive, [export]))
        imported = list(run.plays())
        repeated = _counts(import_history(archive, [export]))
        run.run_until(truth.end + 3 * HOUR)
        return Agreement(truth, logged, imported, list(run.plays()), counts, repeated)


def _counts(answer: Answer) -> dict[str, int]:
    assert isinstance(answer.data, dict)
    return {name: count for name, count in answer.data.items() if isinstance(count, int)}
