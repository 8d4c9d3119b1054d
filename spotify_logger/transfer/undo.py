"""`spotify-logger undo`: bring back what `forget` deleted within a day, or show what `hide` has hidden.

Until then, each deleted play is in one key, with its line in the index and its catalog item.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.times import seconds_of
from spotify_logger.report.answers import Answer
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import Command
from spotify_logger.system.state import from_json, to_json
from spotify_logger.transfer.hide import hidden_things, show_again

KEPT_SECONDS = 86_400  # for which a deletion can be undone
PLAYS_PER_BATCH = 200


@dataclass(frozen=True, slots=True)
class DeletedPlay:
    """What a deletion removes with a play."""

    deleted_at: float  # seconds since the epoch, the same for all plays of a deletion
    item_key: str
    line: str  # in the index of its day; "" without one
    play: dict[str, str]  # its hash
    item: dict[str, str] = field(default_factory=dict)  # the hash of its catalog item


def keep(archive: Archive, plays: Mapping[int, DeletedPlay]) -> None:
    """Keep plays that are about to be deleted, by the seconds that name them, with their items."""
    name = archive.key(keys.UNDO)
    writes = list[Command]()
    for (second, each), item in zip(
        plays.items(), archive.hashes(it.item_key for it in plays.values()), strict=True
    ):
        kept = DeletedPlay(each.deleted_at, each.item_key, each.line, each.play, item)
        # A play without its hash may be left of an interrupted deletion, which has kept all of it.
        writes.append(("HSET" if each.play else "HSETNX", name, second, to_json(kept)))
    archive.write([*writes, ("PEXPIRE", name, KEPT_SECONDS * 1000)])


def deleted_plays(archive: Archive, begin: int = 0, end: int | None = None) -> dict[int, DeletedPlay]:
    """Return the plays from `begin` to before `end` that can be brought back, by their seconds."""
    (names,) = archive.send([("HKEYS", archive.key(keys.UNDO))])
    seconds = sorted(second for name in names or [] if (second := whole_number(name)) is not None)
    wanted = [second for second in seconds if begin <= second and (end is None or second < end)]
    found: dict[int, DeletedPlay] = {}
    for batch in batched(wanted, PLAYS_PER_BATCH):
        (texts,) = archive.send([("HMGET", archive.key(keys.UNDO), *batch)])
        plays = (from_json(DeletedPlay, text or "") for text in texts)
        found |= {second: each for second, each in zip(batch, plays, strict=True) if each}
    return found


def undo(archive: Archive, key: str = "") -> Answer:
    """Bring back the play, or show the hidden thing, that a key names; by default undo the latest of both.

    The exit code is 1 if there is none. After a StoreError, running it again completes it.
    """
    second = keys.second_of_key(key)
    hidden = [thing for thing in hidden_things(archive) if key in ("", thing.key)]
    deleted = {}
    if second is not None:
        deleted = deleted_plays(archive, second, second + 1)
    elif not key:
        deleted = deleted_plays(archive)
    latest = max((each.deleted_at for each in deleted.values()), default=0.0)
    if hidden and (key or (seconds_of(hidden[0].since) or 0.0) > latest):
        return show_again(archive, hidden[0])
    restored = 0
    for batch in batched(
        sorted(at for at, each in deleted.items() if each.deleted_at == latest), PLAYS_PER_BATCH
    ):
        restored += _restore(archive, {at: deleted[at] for at in batch})
    words = f"{counted(restored, 'play')} brought back."
    return Answer(
        {"plays": restored},
        [words if deleted else "There is nothing to undo: a deletion can be undone for a day."],
        code=int(not deleted),
    )


def _restore(archive: Archive, plays: Mapping[int, DeletedPlay]) -> int:
    """Restore plays, except those whose key is in use again; return how many."""
    key = archive.key
    taken = archive.send([("EXISTS", key(keys.play_key(second))) for second in plays])
    known = archive.send([("EXISTS", key(each.item_key)) for each in plays.values()])
    writes = list[Command]()
    restored = 0
    for (second, each), is_taken, is_known in zip(plays.items(), taken, known, strict=True):
        if is_taken:
            continue
        restored += 1
        hashes = {keys.play_key(second): each.play, each.item_key: {} if is_known else each.item}
        if each.line:
            hashes[keys.index_key(keys.day_of(second))] = {str(second): each.line}
        hashes[keys.TOMBSTONES] = {str(second): keys.RESTORED}
        writes += [
            ("HSET", key(name), *chain.from_iterable(fields.items()))
            for name, fields in hashes.items()
            if fields
        ]
    archive.write([*writes, ("HDEL", key(keys.UNDO), *plays)])
    return restored
