"""`spotify-logger forget`: show plays, ask for confirmation, and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.queries.phrases import format_time
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.output import write_answer
from spotify_logger.report.words import counted, utc_time
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete.plays import Deletion, delete
from spotify_logger.transfer.delete.selection import Selection, find_plays, open_plays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.confirmation import Confirmation

MAX_PLAYS_SHOWN = 10
"""Plays listed in the preview, at most."""
OPEN_PLAY_NOTE = "The play in progress was kept: delete it once it is over."


def forget(archive: Archive, selection: Selection, now: float, confirmation: Confirmation | None) -> Answer:
    """Preview the selected plays, ask for confirmation, and delete them.

    Args:
        archive: The log.
        selection: Which plays to delete.
        now: Seconds since the epoch.
        confirmation: How to ask for consent; None to delete without asking.

    Returns:
        What was deleted; exit code 1 if the user declined.

    Raises:
        SpotifyLoggerError: There is no terminal to ask on.
        StoreError: Redis went away. Running it again completes it.
    """
    found = find_plays(archive, selection)
    still_open = open_plays(archive, now)
    seconds = [second for second in found if second not in still_open]
    if seconds and confirmation is not None and not _is_confirmed(archive, seconds, confirmation):
        return Answer(_data(Deletion(), seconds), ["Nothing was deleted."], code=1)
    deletion = delete(archive, seconds, now)
    deletion.has_open_play |= len(seconds) < len(found)
    return Answer(_data(deletion, seconds), _page(deletion, selection))


def _is_confirmed(archive: Archive, seconds: Sequence[int], confirmation: Confirmation) -> bool:
    if not confirmation.is_possible:
        raise SpotifyLoggerError(
            "nothing was deleted: there is no terminal to ask on; --yes skips the question"
        )
    write_answer(preview(archive, seconds, confirmation.zone), confirmation.screen)
    these = "this play" if len(seconds) == 1 else f"these {len(seconds):,} plays"
    return confirmation.is_given(f"Permanently delete {these}?")


def preview(archive: Archive, seconds: Sequence[int], zone: Zone) -> Answer:
    """Return a preview of the plays to be deleted.

    Args:
        archive: The log.
        seconds: The seconds that name the plays, in ascending order.
        zone: The time zone in which times are shown.
    """
    rows = []
    for second, fields in archive.plays(seconds[-MAX_PLAYS_SHOWN:]):
        heard = whole_number(fields.get("ms_played")) or 0
        rows.append(
            (
                format_time(zone, second),
                format_title(fields),
                format_duration(heard),
                fields.get("device_name", ""),
            )
        )
    first, last = format_time(zone, seconds[0]), format_time(zone, seconds[-1])
    when = first if len(seconds) == 1 else f"{first} to {last}"
    more = (
        [f"and {counted(len(seconds) - MAX_PLAYS_SHOWN, 'earlier play')}"]
        if len(seconds) > MAX_PLAYS_SHOWN
        else []
    )
    return Answer(None, [f"{counted(len(seconds), 'play')}, {when}", *more, Table(rows, right_aligned=[2])])


def _data(deletion: Deletion, seconds: Sequence[int]) -> dict[str, object]:
    return {
        "plays": deletion.plays,
        "items": deletion.items,
        "first": utc_time(seconds[0] if seconds else None),
        "last": utc_time(seconds[-1] if seconds else None),
        "left_open": deletion.has_open_play,
        "left_strange": deletion.unrecognized,
    }


def _page(deletion: Deletion, selection: Selection) -> list[str]:
    page = []
    if deletion.plays:
        items = f" and {counted(deletion.items, 'catalog item')}" if deletion.items else ""
        page.append(f"Deleted: {counted(deletion.plays, 'play')}{items}.")
    if deletion.has_open_play:
        page.append(OPEN_PLAY_NOTE)
    if deletion.unrecognized:
        some = ", ".join(deletion.unrecognized[:MAX_PLAYS_SHOWN])
        page.append(
            f"These keys were kept because they do not hold plays; inspect them with redis-cli: {some}."
        )
    nothing = (
        f"No play matches “{selection.text}”." if selection.text else "There are no plays in that period."
    )
    return page or [nothing]
