"""`spotify-logger undo`: bring back what `forget` deleted within a day, or show what `hide` has hidden.

Until then, each deleted play is in one key, with its line in the index and its catalog item.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
    name, items = archive.key(keys.UNDO), archive.hashes(each.item_key for each in plays.values())
    writes = list[Command]()
    for (second, each), item in zip(plays.items(), items, strict=True):
        # A play without its hash may be left of an interrupted deletion, which has kept all of it.
        command = "HSET" if each.play else "HSETNX"
        writes.append((command, name, second, to_json(replace(each, item=item))))
    archive.write([*writes, ("PEXPIRE", name, KEPT_SECONDS * 1000)])


def deleted_plays(
    archive: Archive, begin: int = 0, end: int | None = None
) -> Iterator[tuple[int, DeletedPlay]]:
    """Yield the plays from `begin` to before `end` that can be brought back, by second, in order."""
    (names,) = archive.send([("HKEYS", archive.key(keys.UNDO))])
    seconds = sorted(second for name in names or [] if (second := whole_number(name)) is not None)
    wanted = [second for second in seconds if begin <= second and (end is None or second < end)]
    for batch in batched(wanted, PLAYS_PER_BATCH):
        (texts,) = archive.send([("HMGET", archive.key(keys.UNDO), *batch)])
        plays = (from_json(DeletedPlay, text or "") for text in texts)
        yield from ((second, each) for second, each in zip(batch, plays, strict=True) if each)


def undo(archive: Archive, key: str = "") -> Answer:
    """Bring back the play, or show the hidden thing, that a key names; by default undo the latest of both.

    The exit code is 1 if there is none. After a StoreError, running it again completes it.
    """
    second = keys.second_of_key(key)
    span = (second, second + 1) if second is not None else (0, 0 if key else None)
    latest = max((each.deleted_at for _, each in deleted_plays(archive, *span)), default=0.0)
    hidden = [thing for thing in hidden_things(archive) if key in ("", thing.key)]
    if hidden and (key or (seconds_of(hidden[0].since) or 0.0) > latest):
        return show_again(archive, hidden[0])
    found = (play for play in deleted_plays(archive, *span) if play[1].deleted_at == latest)
    restored = sum(_restore(archive, dict(batch)) for batch in batched(found, PLAYS_PER_BATCH))
    words = f"{counted(restored, 'play')} brought back."
    page = [words if latest else "There is nothing to undo: a deletion can be undone for a day."]
    return Answer({"plays": restored}, page, code=int(not latest))


def _restore(archive: Archive, plays: Mapping[int, DeletedPlay]) -> int:
    """Restore plays, except those whose key is in use again; return how many."""
    key = archive.key
    taken = archive.send([("EXISTS", key(keys.play_key(second))) for second in plays])
    known = archive.send([("EXISTS", key(each.item_key)) for each in plays.values()])
    writes = list[Command]()
    for (second, each), is_taken, is_known in zip(plays.items(), taken, known, strict=True):
        hashes = {
            keys.play_key(second): each.play,
            each.item_key: {} if is_known else each.item,
            keys.index_key(keys.day_of(second)): {str(second): each.line} if each.line else {},
            keys.TOMBSTONES: {str(second): keys.RESTORED},
        }
        writes += [
            ("HSET", key(name), *chain.from_iterable(fields.items()))
            for name, fields in hashes.items()
            if fields and not is_taken
        ]
    archive.write([*writes, ("HDEL", key(keys.UNDO), *plays)])
    return taken.count(0)
