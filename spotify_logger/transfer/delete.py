"""`spotify-logger forget` and `undo`: show plays, ask for confirmation, delete them, and bring them back.

They leave tombstones, so that neither backfill nor import restores them. For a day, a hash in Redis keeps
each of them with its line in the index and its catalog item.
The writes are ordered so that another run completes an interrupted one: first what `undo` needs, then the
tombstone, then the play's hash and its index entry, and last its catalog item if no other play uses it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, TextIO

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.periods import Zone
from spotify_logger.core.play import Play, format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.search_text import Match, TextSearch, search_words
from spotify_logger.core.times import seconds_of, utc_time
from spotify_logger.report.answers import Answer, Block, Table, write_answer
from spotify_logger.report.progress import progress_bar
from spotify_logger.report.words import counted, format_time
from spotify_logger.storage.bulk import FIRST_SECOND, Archive
from spotify_logger.storage.client import Command
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.state import from_json, to_json
from spotify_logger.transfer.export import LogPeriod
from spotify_logger.transfer.hide import hidden_things

KEYS_PER_BATCH = 200  # plays, or catalog items, deleted or brought back per pipeline
KEPT_SECONDS = 86_400  # for which a deletion can be undone
EVER = range(10**10)  # all seconds that can name a play
MAX_PLAYS_SHOWN = 10  # maximum number of plays listed in the preview
OPEN_PLAY_NOTE = "The play in progress was kept: delete it once it is over."
NO_TERMINAL = "there is no terminal to ask on; --yes skips the question"


class Confirmation(NamedTuple):
    """The terminals to ask on and to read the answer from, and the time zone in which times are shown."""

    keyboard: TextIO
    screen: TextIO
    zone: Zone

    def refusal(self, question: str, preview: Sequence[Block] = ()) -> str:
        """Ask a question, below a preview; return "" if the user agrees, or why nothing may be deleted."""
        if not (self.keyboard.isatty() and self.screen.isatty()):
            return NO_TERMINAL
        write_answer(Answer(None, preview), self.screen)
        self.screen.write(f"{question} [y/N] ")
        self.screen.flush()
        is_agreed = self.keyboard.readline().strip().casefold() in {"y", "yes"}
        return "" if is_agreed else "you chose to keep them"


def forget(
    log: LogPeriod,
    text: str,
    now: float,
    confirmation: Confirmation | None,  # None if nobody is to be asked
    screen: TextIO | None = None,
) -> Answer:
    """Preview the selected plays, ask, and delete them; exit code 1 if there are none, or if they stay."""
    archive = log.archive
    with progress_bar(screen) as show:
        found = find_plays(log._replace(progress=partial(show, "looking for plays")), text)
    seconds = without_open_play(archive, found, now)
    is_agreed = not seconds or confirmation is None or _is_confirmed(archive, seconds, confirmation)
    page = [] if is_agreed else ["Nothing was deleted."]
    deleted = delete(archive, seconds, now) if is_agreed else Deleted()
    if deleted.plays:
        items = f" and {counted(deleted.items, 'catalog item')}" if deleted.items else ""
        page.append(f"Deleted: {counted(deleted.plays, 'play')}{items}.")
    has_open_play = len(seconds) < len(found)
    if has_open_play:
        page.append(OPEN_PLAY_NOTE)
    if deleted.unrecognized:
        some = ", ".join(deleted.unrecognized[:MAX_PLAYS_SHOWN])
        page.append(f"These keys do not hold plays, and were kept; inspect them with redis-cli: {some}.")
    nothing = f"No play matches “{text}”." if text else "There are no plays in that period."
    data = {
        "plays": deleted.plays,
        "items": deleted.items,
        "first": utc_time(seconds[0] if seconds else None),
        "last": utc_time(seconds[-1] if seconds else None),
        "left_open": has_open_play,
        "left_strange": [*deleted.unrecognized],
    }
    return Answer(data, page or [nothing], code=int(not page or not is_agreed))


def find_plays(log: LogPeriod, text: str) -> list[int]:
    """Return the seconds of plays in ascending order.

    The text is a key ("listening:<second>", or only the second), which ignores the period; a title, an album
    or an artist, in full or, if nothing has that name, in part; or "" for all plays.
    """
    archive = log.archive
    is_bare = len(text) == len(str(FIRST_SECOND)) and text >= str(FIRST_SECOND)
    key = f"listening:{text}" if is_bare else text.removeprefix(archive.key(""))
    second = keys.second_of_key(key)
    if second is not None and key == keys.play_key(second):
        (exists,) = archive.send([("EXISTS", archive.key(key))])
        return [second] if exists or archive.index_lines([second]) else []
    wanted = _matching_items(log._replace(progress=None), text) if text else None
    return [second for second, item, _, _ in log.rows() if wanted is None or item in wanted]


def _matching_items(log: LogPeriod, text: str) -> set[str]:
    search, found = TextSearch(text), dict[str, Match]()
    items = {item for _, item, _, _ in log.rows()}
    for key, (name, artists, album) in log.archive.catalog(items, ("name", "artists", "album")):
        found[key] = search.match_item(name, search_words(artists), search_words(album))
    named = {key for key, match in found.items() if match >= Match.NAMED}
    return named or {key for key, match in found.items() if match}


def _is_confirmed(archive: Archive, seconds: Sequence[int], confirmation: Confirmation) -> bool:
    zone, rows = confirmation.zone, []
    for second, fields in archive.plays(seconds[-MAX_PLAYS_SHOWN:]):
        heard = format_duration(whole_number(fields.get("ms_played")) or 0)
        rows.append((format_time(zone, second), format_title(fields), heard, fields.get("device_name", "")))
    number, ends = counted(len(seconds), "play"), {format_time(zone, seconds[at]): None for at in (0, -1)}
    page: list[Block] = [f"{number}, {' to '.join(ends)}"]
    if len(seconds) > MAX_PLAYS_SHOWN:
        page.append(f"and {counted(len(seconds) - MAX_PLAYS_SHOWN, 'earlier play')}")
    question = f"Delete {number}? (For a day, `spotify-logger undo` brings back what was deleted.)"
    refusal = confirmation.refusal(question, [*page, Table(rows, right_aligned=[2])])
    if refusal == NO_TERMINAL:
        raise SpotifyLoggerError(f"nothing was deleted: {refusal}")
    return not refusal


class Deleted(NamedTuple):
    """What a deletion has deleted."""

    plays: int = 0
    items: int = 0  # of the catalog
    unrecognized: Sequence[str] = ()  # keys that were kept because they do not hold plays


def without_open_play(archive: Archive, seconds: Iterable[int], now: float) -> list[int]:
    """Return the seconds of the plays that are over: a running logger keeps writing its open play.

    A play that began more than a day ago is no longer in progress.
    """
    newest = None
    for second, _, _, end in archive.rows(int(now) - keys.ONE_DAY):
        newest = second if end == keys.OPEN else None
    still_open = {archive.now_playing(), newest}
    return [second for second in seconds if second not in still_open]


def delete(archive: Archive, seconds: Iterable[int], now: float) -> Deleted:
    """Delete the plays that `seconds` name, except the open one; another run completes one that broke off."""
    key, deleted, unrecognized = archive.key, 0, list[str]()
    for batch in batched(without_open_play(archive, seconds, now), KEYS_PER_BATCH):
        exist = archive.send([("EXISTS", key(keys.play_key(second))) for second in batch])
        lines, kept, ends = archive.index_lines(batch), dict[int, DeletedPlay](), dict[int, int]()
        for (second, fields), exists in zip(archive.plays(batch), exist, strict=True):
            line = lines.get(second, "")
            play, row = Play.from_hash(second, fields), keys.read_row(str(second), line)
            if play is not None:
                ends[second], kept[second] = play.ended_ms, DeletedPlay(now, play.item.key, line, fields)
            elif exists:
                unrecognized.append(keys.play_key(second))
            elif row is not None:  # it exists only in the index
                ends[second], kept[second] = second * 1000 + row[2], DeletedPlay(now, row[1], line, {})
        if ends:
            keep(archive, kept)
            tombstones = {str(second): max(second, -(-end_ms // 1000)) for second, end_ms in ends.items()}
            archive.write([archive.hset(keys.TOMBSTONES, tombstones)])
        archive.write([("DEL", key(keys.play_key(second))) for second in ends])
        # Only once these are gone: another run finds them by the index.
        archive.write([("HDEL", key(keys.index_key(keys.day_of(second))), second) for second in ends])
        deleted += len(ends)
    items = {play.item_key for _, play in deleted_plays(archive)}  # those of a run that was interrupted, too
    return Deleted(deleted, remove_unused(archive, items, now), unrecognized)


def remove_unused(archive: Archive, items: Iterable[str], now: float) -> int:
    """Delete those of some catalog items that no play uses, and return their number."""
    unused = set(items)
    days = {name for names in archive.scan("plays:*") for name in names}  # those of wrong clocks, too
    for lines in archive.hashes(days):
        unused.difference_update(item for _, item, _, _ in keys.read_day(lines))
    return remove_items(archive, unused, now)


def remove_items(archive: Archive, items: Iterable[str], now: float) -> int:
    """Delete items from the catalog, except those whose play began meanwhile, and return their number."""
    removed = 0
    for batch in batched(sorted(items), KEYS_PER_BATCH):
        found = zip(batch, archive.hashes(batch), strict=True)
        hashes = {key: fields for key, fields in found if "uri" in fields}  # others are not ours
        archive.send([("DEL", archive.key(key)) for key in hashes])
        back = hashes.keys() & {item for _, item, _, _ in archive.rows(int(now) - keys.ONE_DAY)}
        archive.write([archive.hset(key, hashes[key]) for key in back])
        removed += len(hashes) - len(back)
    return removed


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
    for batch in batched(wanted, KEYS_PER_BATCH):
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
    restored = sum(_restore(archive, dict(batch)) for batch in batched(found, KEYS_PER_BATCH))
    words = "There is nothing to undo: a deletion can be undone for a day."
    if latest:
        words = f"{counted(restored, 'play')} brought back."
    elif key:
        words = f"{key} is not hidden, and was not deleted in the last day: see `spotify-logger hide`."
    return Answer({"plays": restored}, [words], code=int(not latest))


def _restore(archive: Archive, plays: Mapping[int, DeletedPlay]) -> int:
    """Restore plays, except those whose key is in use again; return how many."""
    restored, key, writes = 0, archive.key, list[Command]()
    held = archive.hashes(map(keys.play_key, plays))
    known = archive.send([("EXISTS", key(each.item_key)) for each in plays.values()])
    for (second, each), found, is_known in zip(plays.items(), held, known, strict=True):
        if found not in ({}, each.play):  # or an earlier run was refused the rest
            continue
        restored += 1
        hashes = {
            keys.play_key(second): each.play,
            each.item_key: {} if is_known else each.item,
            keys.index_key(keys.day_of(second)): {str(second): each.line} if each.line else {},
            keys.TOMBSTONES: {str(second): keys.RESTORED},
        }
        writes += [archive.hset(name, fields) for name, fields in hashes.items() if fields]
    archive.write(writes)  # Redis may refuse them, for lack of memory
    archive.write([("HDEL", key(keys.UNDO), *plays)])
    return restored
