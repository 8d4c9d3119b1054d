"""`spotify-logger forget`: show plays, ask for confirmation, and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import play_key, second_of_key
from spotify_logger.core.search_text import Match, TextSearch, search_words
from spotify_logger.core.times import utc_time
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.output import write_answer
from spotify_logger.report.words import counted, format_time
from spotify_logger.storage.bulk import FIRST_SECOND
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.confirmation import NO_TERMINAL
from spotify_logger.transfer.delete.plays import Deletion, open_plays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.confirmation import Confirmation

MAX_PLAYS_SHOWN = 10
"""Maximum number of plays listed in the preview."""
OPEN_PLAY_NOTE = "The play in progress was kept: delete it once it is over."


class Selection(NamedTuple):
    """A selection of plays that started at or after the second `begin`, and before `end`.

    Attributes:
        text: A key ("listening:<second>", or only the second), which ignores the period; a title, an album or
            an artist, in full or, if nothing has that name, in part; or "" for all plays.
    """

    text: str = ""
    begin: int = FIRST_SECOND
    end: int | None = None


def forget(archive: Archive, selection: Selection, now: float, confirmation: Confirmation | None) -> Answer:
    """Preview the selected plays, ask for confirmation unless it is None, and delete them.

    The exit code is 1 if the user declined.

    Raises:
        SpotifyLoggerError: There is no terminal to ask on.
        StoreError: Redis went away. Running it again completes it.
    """
    found = find_plays(archive, selection)
    still_open = open_plays(archive, now)
    seconds = [second for second in found if second not in still_open]
    deletion = Deletion(archive, now)
    if seconds and confirmation is not None and not _is_confirmed(archive, seconds, confirmation):
        return Answer(_data(deletion, seconds), ["Nothing was deleted."], code=1)
    deletion.delete(seconds)
    deletion.has_open_play |= len(seconds) < len(found)
    return Answer(_data(deletion, seconds), _page(deletion, selection))


def find_plays(archive: Archive, selection: Selection) -> list[int]:
    """Return the seconds of the selected plays, in ascending order."""
    second = _second_of_key(archive, selection.text)
    if second is not None:
        (exists,) = archive.send([("EXISTS", archive.key(play_key(second)))])
        return [second] if exists or archive.index_lines([second]) else []
    days = archive.rows(selection.begin, selection.end)
    if not selection.text:
        return [second for rows in days for second in rows.seconds]
    keys = _matching_items(archive, selection)
    lines = (line for rows in days for line in zip(rows.seconds, rows.items, strict=True))
    return [second for second, item in lines if item in keys]


def _second_of_key(archive: Archive, text: str) -> int | None:
    """Return the second of a play's key, in full or as a bare number; None if the text is neither."""
    if text.isascii() and text.isdigit() and len(text) == len(str(FIRST_SECOND)):
        return int(text) if int(text) >= FIRST_SECOND else None
    second = second_of_key(text)
    keys = set() if second is None else {play_key(second), archive.key(play_key(second))}
    return second if text in keys else None


def _matching_items(archive: Archive, selection: Selection) -> set[str]:
    search, found = TextSearch(selection.text), dict[str, Match]()
    items = {item for rows in archive.rows(selection.begin, selection.end) for item in rows.items}
    for key, (name, artists, album) in archive.catalog(items, ("name", "artists", "album")):
        found[key] = search.match_item(name, search_words(artists), search_words(album))
    named = {key for key, match in found.items() if match >= Match.NAMED}
    return named or {key for key, match in found.items() if match}


def _is_confirmed(archive: Archive, seconds: Sequence[int], confirmation: Confirmation) -> bool:
    if not confirmation.is_possible:
        raise SpotifyLoggerError(f"nothing was deleted: {NO_TERMINAL}")
    write_answer(_preview(archive, seconds, confirmation.zone), confirmation.screen)
    these = "this play" if len(seconds) == 1 else f"these {len(seconds):,} plays"
    return confirmation.is_given(f"Permanently delete {these}?")


def _preview(archive: Archive, seconds: Sequence[int], zone: Zone) -> Answer:
    rows = []
    for second, fields in archive.plays(seconds[-MAX_PLAYS_SHOWN:]):
        heard = format_duration(whole_number(fields.get("ms_played")) or 0)
        rows.append((format_time(zone, second), format_title(fields), heard, fields.get("device_name", "")))
    first, last = format_time(zone, seconds[0]), format_time(zone, seconds[-1])
    when = first if len(seconds) == 1 else f"{first} to {last}"
    page: list[str | Table] = [f"{counted(len(seconds), 'play')}, {when}"]
    if len(seconds) > MAX_PLAYS_SHOWN:
        page.append(f"and {counted(len(seconds) - MAX_PLAYS_SHOWN, 'earlier play')}")
    return Answer(None, [*page, Table(rows, right_aligned=[2])])


def _data(deletion: Deletion, seconds: Sequence[int]) -> dict[str, object]:
    return {
        "plays": len(deletion.deleted),
        "items": deletion.items,
        "first": utc_time(seconds[0] if seconds else None),
        "last": utc_time(seconds[-1] if seconds else None),
        "left_open": deletion.has_open_play,
        "left_strange": deletion.unrecognized,
    }


def _page(deletion: Deletion, selection: Selection) -> list[str]:
    page = []
    if deletion.deleted:
        items = f" and {counted(deletion.items, 'catalog item')}" if deletion.items else ""
        page.append(f"Deleted: {counted(len(deletion.deleted), 'play')}{items}.")
    if deletion.has_open_play:
        page.append(OPEN_PLAY_NOTE)
    if deletion.unrecognized:
        some = ", ".join(deletion.unrecognized[:MAX_PLAYS_SHOWN])
        page.append(
            f"These keys were kept because they do not hold plays; inspect them with redis-cli: {some}."
        )
    text = selection.text
    return page or [f"No play matches “{text}”." if text else "There are no plays in that period."]
