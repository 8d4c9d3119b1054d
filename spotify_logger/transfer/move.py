"""`spotify-logger move`: copy the logs of all listeners from one Redis to another, of whatever kind.

Nothing is deleted, and what the other one has in a newer state stays, so it can be repeated at any time.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain

from spotify_logger.config.settings import Settings
from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.matching import identity, newness
from spotify_logger.core.play import Play
from spotify_logger.core.times import to_iso
from spotify_logger.report.answers import Answer
from spotify_logger.report.progress import Progress
from spotify_logger.report.words import counted
from spotify_logger.storage.bulk import ITEM_KEYS, Archive
from spotify_logger.storage.outbox import known_log
from spotify_logger.storage.store import HASHES_PER_BATCH, Batch
from spotify_logger.system.errors import SpotifyLoggerError

# Of a listener; gaps and days get theirs from the rest.
HASHES = (keys.STATUS, keys.TOMBSTONES, keys.HIDDEN, keys.REVISIONS)
SETTLED_AFTER = 3600.0  # seconds after its end for which a play may change; its logger writes it again, too
_PLAY, _GAP = re.compile(r"listening:[0-9]{1,10}"), re.compile(r"gap:[0-9]{1,10}")


def move(settings: Settings, source_url: str, target_url: str, progress: Progress) -> Answer:
    """Copy the logs of all listeners, and compare them afterwards; exit code 1 if they still differed."""
    with ExitStack() as stack:

        def opened(url: str, listener: str) -> Archive:
            prefix = settings.for_listener(listener).redis_prefix
            return stack.enter_context(closing(Archive(url, prefix, listener=listener)))

        first = opened(source_url, "")
        logs = [(name, opened(source_url, name), opened(target_url, name)) for name in first.listeners()]
        if not logs:
            raise SpotifyLoggerError(f"there is no log in the Redis at {first.where}: nothing to move")
        for _, source, target in logs:
            theirs, ours = target.owner(""), source.owner("")
            if theirs and ours and theirs != ours:
                raise SpotifyLoggerError(
                    f"the Redis at {target.where} has the plays of another Spotify account ({theirs}, not"
                    f" {ours}): choose another database there (the number at the end of its address)"
                )
        total = sum(1 for _, source, _ in logs for _ in source.rows())

        def run(step: str, until: str) -> int:
            read = changed = 0
            copies = (_copy(source, target, until) for _, source, target in logs)
            for plays, changes in chain.from_iterable(copies):
                read, changed = read + plays, changed + changes
                progress(step, read, total)
            return changed

        recently = to_iso(round((time.time() - SETTLED_AFTER) * 1000))
        copied, left = run("copying", "~"), run("comparing", recently)
        for name, source, target in () if left else logs:
            known = known_log(settings.for_listener(name).state_dir)
            _add_ids(target, [*(source.log_id() or "").split(), known])
    advice = "the logger goes on by itself"
    if left:
        advice = "something has changed meanwhile: run this command again"
    elif target_url != settings.redis_url:
        advice = "set REDIS_URL to the address given with --to, and restart the logger"
    page = f"{counted(copied, 'play')} copied to the Redis at {logs[0][2].where}: {advice}"
    data = {"complete": not left, "copied": copied, "left": left, "listeners": [name for name, *_ in logs]}
    return Answer(data, [page], code=int(left > 0))


def accept(store: Archive, settings: Settings) -> Answer:
    """Let the log in Redis be the one that the state folder belongs to, as it is."""
    known = known_log(settings.state_dir)
    if not known:
        raise SpotifyLoggerError(f"the state folder {settings.state_dir} knows no log yet: nothing to accept")
    _add_ids(store, [known])
    text = f"the logger goes on with the log in the Redis at {store.where}"
    return Answer({"log_id": store.log_id()}, [text])


def _add_ids(target: Archive, new: Sequence[str]) -> None:
    ids = dict.fromkeys([*(target.log_id() or "").split(), *filter(None, new)])
    if ids:
        target.write([("HSET", target.key(keys.STATUS), keys.LOG_ID_FIELD, " ".join(ids))])


def _copy(source: Archive, target: Archive, until: str) -> Iterator[tuple[int, int]]:
    """Copy what the target lacks; yield how many plays were read, and copied if they ended before `until`."""
    tombstones = target.tombstones() | source.tombstones()
    for names in batched(chain.from_iterable(source.scan("*")), HASHES_PER_BATCH):
        seconds = [int(name.partition(":")[2]) for name in names if _PLAY.fullmatch(name)]
        kept = [second for second in seconds if second not in tombstones]
        others = [key for key in names if key in HASHES or key.startswith(ITEM_KEYS) or _GAP.fullmatch(key)]
        plays = 0
        with target.batch() as batch:
            for second, fields, line in _newer_plays(source, target, kept):
                batch.write_play(second, fields, line)
                plays += fields["ended_at"] < until
            for each in zip(others, source.hashes(others), target.hashes(others), strict=True):
                _copy_hash(batch, target.revision(), *each)
        yield len(seconds), plays
    for key in map(source.shared_key, (keys.LISTENERS, keys.TOKENS)):
        ours, theirs = (store.send([("HGETALL", key)])[0] or {} for store in (source, target))
        target.write([("HSET", key, name, value) for name, value in ours.items() if name not in theirs])


def _newer_plays(
    source: Archive, target: Archive, seconds: Sequence[int]
) -> Iterator[tuple[int, Mapping[str, str], str]]:
    """Yield the key, hash and index line of each play that the target lacks in this state."""
    held, lines, claimed = dict(target.plays(seconds)), target.index_lines(seconds), set[int]()

    def is_taken(key: int) -> bool:
        return key in claimed or bool(source.hash(keys.play_key(key)))

    for second, fields in source.plays(seconds):
        play, another = (Play.from_hash(second, state) for state in (fields, held[second]))
        if play is None:
            continue  # something else, or what is left of a play
        key, line = second, lines.get(second)
        if another is not None and identity(another) != identity(play):
            key = target.claim(second, to_iso(play.started_ms), play.item.uri, is_taken)
            claimed.add(key)
            another = Play.from_hash(key, target.hash(keys.play_key(key)))
            line = target.index_lines([key]).get(key)
        if another is None or newness(play) > newness(another):
            yield key, fields, play.index
        elif line is None:
            yield key, target.hash(keys.play_key(key)), another.index


def _copy_hash(
    batch: Batch, revision: str, name: str, ours: Mapping[str, str], theirs: Mapping[str, str]
) -> None:
    """Copy the fields that the target lacks, or a gap that was shorter."""
    missing = {field: value for field, value in ours.items() if field not in {*theirs, keys.LOG_ID_FIELD}}
    if _GAP.fullmatch(name):
        if ours.get("to", "") > theirs.get("to", ""):
            batch.write_gap(int(name.partition(":")[2]), ours)
    elif missing:
        batch.write_hash(name, missing)
        if name.startswith(ITEM_KEYS):  # readers may have read its plays before
            batch.write_hash(keys.REVISIONS, dict.fromkeys((keys.CATALOG, keys.NEWEST), revision))
