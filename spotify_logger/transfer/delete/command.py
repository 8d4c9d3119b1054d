"""`spotify-logger forget`: plays are shown, and deleted when a person has agreed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.queries.phrases import moment
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.output import show
from spotify_logger.report.words import counted, utc_time
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.delete.plays import Gone, delete
from spotify_logger.transfer.delete.selection import Wanted, find, open_plays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.bulk import Archive

SHOWN = 10
"""Plays that are shown before they are deleted, at most."""
OPEN = "The play that is not over stays: forget it when it is."


@dataclass(frozen=True, slots=True)
class Person:
    """Who is asked.

    Attributes:
        keyboard: Where the answer comes from.
        screen: Where to ask.
        zone: Whose clocks are shown.
    """

    keyboard: TextIO
    screen: TextIO
    zone: Zone

    def agrees(self, archive: Archive, seconds: Sequence[int]) -> bool:
        """Show plays, and ask whether to forget them.

        Raises:
            SpotifyLoggerError: There is nobody to be asked.
        """
        if not (self.keyboard.isatty() and self.screen.isatty()):
            raise SpotifyLoggerError(
                "nothing is forgotten: there is no terminal to ask on; --yes does without"
            )
        show(preview(archive, seconds, self.zone), self.screen)
        these = "this play" if len(seconds) == 1 else f"these {len(seconds):,} plays"
        self.screen.write(f"Forget {these} for good? [y/N] ")
        self.screen.flush()
        return self.keyboard.readline().strip().casefold() in {"y", "yes"}


def forget(archive: Archive, wanted: Wanted, now: float, person: Person | None) -> Answer:
    """Show which plays are meant, ask, and delete them.

    Args:
        archive: The log.
        wanted: Which plays.
        now: Seconds since the epoch.
        person: Who has to agree; None where nobody is asked.

    Returns:
        What was deleted; exit code 1 where a person did not agree, and nothing was.

    Raises:
        SpotifyLoggerError: There is nobody to be asked.
        StoreError: Redis went away. Done again, it comes to its end.
    """
    found = find(archive, wanted)
    still_open = open_plays(archive, now)
    seconds = [second for second in found if second not in still_open]
    if seconds and person is not None and not person.agrees(archive, seconds):
        return Answer(_data(Gone(), seconds), ["Nothing is forgotten."], code=1)
    gone = delete(archive, seconds, now)
    gone.is_open |= len(seconds) < len(found)
    return Answer(_data(gone, seconds), _page(gone, wanted))


def preview(archive: Archive, seconds: Sequence[int], zone: Zone) -> Answer:
    """What would go.

    Args:
        archive: The log.
        seconds: They name the plays, in the order of time.
        zone: Whose clocks are shown.
    """
    rows = []
    for second, fields in archive.plays(seconds[-SHOWN:]):
        heard = whole_number(fields.get("ms_played")) or 0
        rows.append(
            (
                moment(zone, second),
                format_title(fields),
                format_duration(heard),
                fields.get("device_name", ""),
            )
        )
    first, last = moment(zone, seconds[0]), moment(zone, seconds[-1])
    when = first if len(seconds) == 1 else f"{first} to {last}"
    more = [f"and {counted(len(seconds) - SHOWN, 'play')} before"] if len(seconds) > SHOWN else []
    return Answer(None, [f"{counted(len(seconds), 'play')}, {when}", *more, Table(rows, numbers=[2])])


def _data(gone: Gone, seconds: Sequence[int]) -> dict[str, object]:
    return {
        "plays": gone.plays,
        "items": gone.items,
        "first": utc_time(seconds[0] if seconds else None),
        "last": utc_time(seconds[-1] if seconds else None),
        "left_open": gone.is_open,
        "left_strange": gone.strange,
    }


def _page(gone: Gone, wanted: Wanted) -> list[str]:
    page = []
    if gone.plays:
        items = f", and {counted(gone.items, 'item')} of the catalogue" if gone.items else ""
        page.append(f"Forgotten: {counted(gone.plays, 'play')}{items}.")
    if gone.is_open:
        page.append(OPEN)
    if gone.strange:
        some = ", ".join(gone.strange[:SHOWN])
        page.append(f"What is no play of ours stays, look at it with redis-cli: {some}.")
    nothing = (
        f"Nothing that was played matches “{wanted.text}”." if wanted.text else "Nothing was played then."
    )
    return page or [nothing]
