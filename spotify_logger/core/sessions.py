"""Divide plays into listening sessions. Pure."""

from collections.abc import Iterable, Iterator

SESSION_PAUSE_MS = 30 * 60_000  # a listening session ends when nothing is played for this long

Session = tuple[int, int]
"""The second in which its first play started, and the millisecond in which the last one ended."""


def sessions(plays: Iterable[tuple[int, int]]) -> Iterator[Session]:
    """Yield the sessions of plays, given as seconds and milliseconds played, in chronological order."""
    begin, end_ms = 0, -SESSION_PAUSE_MS
    for second, ms_played in plays:
        if second * 1000 - end_ms >= SESSION_PAUSE_MS:
            if end_ms >= 0:
                yield begin, end_ms
            begin, end_ms = second, second * 1000
        end_ms = max(end_ms, second * 1000 + ms_played)
    if end_ms >= 0:
        yield begin, end_ms
