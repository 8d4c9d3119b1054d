"""`spotify-logger hide`: take something out of the statistics, and leave it in the log.

What is hidden is in one hash in Redis, by key, which the index reads with the log.
"""

from collections.abc import Mapping
from typing import NamedTuple

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.times import seconds_of, to_iso
from spotify_logger.queries import sql
from spotify_logger.queries.question import Question
from spotify_logger.queries.search import find
from spotify_logger.queries.top import names
from spotify_logger.report.answers import Answer, Table
from spotify_logger.report.words import format_time
from spotify_logger.storage.bulk import Archive

MAX_CHOICES = 10
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
