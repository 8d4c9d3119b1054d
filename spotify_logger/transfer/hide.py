"""`spotify-logger hide` and `undo`: take something out of the statistics, and bring back what was taken out.

What is hidden is in one hash in Redis, by key, which the index reads with the log. What `forget` deletes is
kept for a day in another one, each play with its line in the index and its catalog item.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.times import seconds_of, to_iso
from spotify_logger.queries import sql
from spotify_logger.queries.question import Question
from spotify_logger.queries.search import find
from spotify_logger.queries.top import names
from spotify_logger.report.answers import Answer, Table
from spotify_logger.report.words import counted, format_time
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import Command
from spotify_logger.system.state import from_json, to_json

KEPT_SECONDS = 86_400  # for which a deletion can be undone
PLAYS_PER_BATCH = 200
MAX_CHOICES = 10
EVER = range(10**10)  # all seconds that can name a play
KEYS: Mapping[str, str] = {
    sql.TRACKS: "SELECT key FROM items WHERE id = ?",
    sql.ARTISTS: "SELECT 'artist:' || person FROM artists WHERE id = ?",
    sql.SHOWS: "SELECT 'show:' || coalesce(nullif(album_id, ''), album) FROM items WHERE id = ?",
}
"""What can be hidden, and the query for its key."""


class HiddenThing(NamedTuple):
    """A track, an artist or a show that is hidden."""

    key: str
    since: str  # UTC
    title: str


def hidden_things(archive: Archive) -> list[HiddenThing]:
    """Return what is hidden, the latest first."""
    found = archive.hash(keys.HIDDEN).items()
    things = [HiddenThing(key, *value.partition(" ")[::2]) for key, value in found]
    return sorted(things, key=lambda thing: thing.since, reverse=True)


def hidden(archive: Archive, question: Question) -> Answer:
    """List what is hidden."""
    things = hidden_things(archive)
    rows = [(format_time(question.zone, seconds_of(each.since)), each.title, each.key) for each in things]
    page = [Table(rows, ("since", "hidden", "key"))] if rows else ["Nothing is hidden."]
    return Answer({"hidden": [each._asdict() for each in things]}, page)


def hide(log: sql.Log, question: Question, kind: str, text: str) -> Answer:
    """Hide what a name or key stands for; exit code 1 if that is nothing, or several things."""
    found = find(log, text, kind, exact=False)
    closest = max((each.match for each in found), default=None)
    things: dict[str, str] = {}
    for grouped, item in {each.grouped: each.item for each in found if each.match == closest}.items():
        ((key,),) = log.rows(KEYS[kind], item)
        name, artists = names(log, kind, grouped, key)
        things[key] = f"{artists} – {name}" if artists else name
    data = {"hidden": [*things] if len(things) == 1 else []}
    if not things:
        return Answer(data, [f"No {sql.NOUNS[kind]} matches “{text}”."], 1)
    if len(things) > 1:
        choices = Table([(title, key) for key, title in things.items()][:MAX_CHOICES])
        return Answer(data, [f"Several {kind} match “{text}”. Name one by its key:", choices], 1)
    ((key, title),) = things.items()
    since = to_iso(round(question.now * 1000))
    log.store.write([("HSET", log.store.key(keys.HIDDEN), key, f"{since} {title}")])
    return Answer(data, [f"Hidden from statistics: {title}. `spotify-logger undo {key}` shows it again."])


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


def deleted_plays(archive: Archive, seconds: range = EVER) -> Iterator[tuple[int, DeletedPlay]]:
    """Yield the plays that can be brought back, by second, in order."""
    (names,) = archive.send([("HKEYS", archive.key(keys.UNDO))])
    wanted = sorted(second for name in names or [] if (second := whole_number(name) or -1) in seconds)
    for batch in batched(wanted, PLAYS_PER_BATCH):
        (texts,) = archive.send([("HMGET", archive.key(keys.UNDO), *batch)])
        plays = (from_json(DeletedPlay, text or "") for text in texts)
        yield from ((second, each) for second, each in zip(batch, plays, strict=True) if each)


def undo(archive: Archive, key: str = "") -> Answer:
    """Bring back the play, or show the hidden thing, that a key names; by default undo the latest of both.

    The exit code is 1 if there is none. After a StoreError, running it again completes it.
    """
    second = keys.second_of_key(key)
    span = range(second, second + 1) if second is not None else range(0) if key else EVER
    latest = max((each.deleted_at for _, each in deleted_plays(archive, span)), default=0.0)
    shown = [thing for thing in hidden_things(archive) if key in ("", thing.key)]
    if shown and (key or (seconds_of(shown[0].since) or 0.0) > latest):
        archive.write([("HDEL", archive.key(keys.HIDDEN), shown[0].key)])
        page = [f"Shown in statistics again: {shown[0].title}."]
        return Answer({"plays": 0, "shown": shown[0].key}, page)
    found = (play for play in deleted_plays(archive, span) if play[1].deleted_at == latest)
    restored = sum(_restore(archive, dict(batch)) for batch in batched(found, PLAYS_PER_BATCH))
    words = "There is nothing to undo: a deletion can be undone for a day."
    if latest:
        words = f"{counted(restored, 'play')} brought back."
    elif key:
        words = f"{key} is not hidden, and was not deleted in the last day: see `spotify-logger hide`."
    return Answer({"plays": restored}, [words], code=int(not latest))


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
        writes += [archive.hset(name, fields) for name, fields in hashes.items() if fields and not is_taken]
    archive.write(writes)  # Redis may refuse them, for lack of memory
    archive.write([("HDEL", key(keys.UNDO), *plays)])
    return taken.count(0)
