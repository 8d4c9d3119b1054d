"""`spotify-logger forget`: show plays, ask for confirmation, and delete them.

They leave tombstones, so that neither backfill nor import restores them, and can be brought back for a day.
The writes are ordered so that another run completes an interrupted one: first what `undo` needs, then the
tombstone, then the play's hash and its index entry, and last its catalog item if no other play uses it.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple, TextIO

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.periods import Zone
from spotify_logger.core.play import Play, format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.search_text import Match, TextSearch, search_words
from spotify_logger.core.times import utc_time
from spotify_logger.report.answers import Answer, Block, Table, write_answer
from spotify_logger.report.progress import progress_bar
from spotify_logger.report.words import counted, format_time
from spotify_logger.storage.bulk import FIRST_SECOND, Archive
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.export import LogPeriod
from spotify_logger.transfer.hide import DeletedPlay, deleted_plays, keep

KEYS_PER_BATCH = 200  # plays, or catalog items, deleted per pipeline
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
