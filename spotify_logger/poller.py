"""The loop: ask, follow, record, wait."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger import __version__, journal
from spotify_logger.errors import LoginNeeded, NotBefore, TryLater
from spotify_logger.playback import Kind, Playback, read_playback
from spotify_logger.plays import summary, title, to_iso
from spotify_logger.tracker import Tracker
from spotify_logger.usage import Usage

if TYPE_CHECKING:
    from spotify_logger.clock import Clock
    from spotify_logger.pacing import Backoff, Pacer
    from spotify_logger.playback import Value
    from spotify_logger.recorder import Recorder
    from spotify_logger.spotify import Answer, Spotify

LONGEST_WAIT = 60.0
"""Seconds between two turns at most, so that the supervisor hears of a loop that waits out a rate limit."""
LOGIN_CHECK = 5.0
"""Seconds between two looks at the token file while only a login can help."""
LONGEST_MEMORY = 2000
"""Answers kept until Redis has told where the process before this one stopped; half a day of listening."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one turn of the loop.

    Attributes:
        due: When the next one is, in seconds of the monotonic clock.
        ok: Whether Spotify answered and Redis took it.
        words: What the logger is doing, for people.
    """

    due: float
    ok: bool
    words: str


class Poller:
    """Asks Spotify, hands the answers to the tracker and what comes of them to the recorder.

    Args:
        spotify: Whom to ask.
        recorder: Who keeps the plays.
        clock: Tells the time.
        pacer: Says when to ask after an answer.
        backoff: Says when to ask after a failure.
    """

    def __init__(
        self,
        spotify: Spotify,
        recorder: Recorder,
        clock: Clock,
        pacer: Pacer,
        backoff: Backoff,
    ) -> None:
        self._spotify = spotify
        self._recorder = recorder
        self._clock = clock
        self._pacer = pacer
        self._backoff = backoff
        self._tracker: Tracker | None = None
        self._unfollowed: list[tuple[Playback, int, int]] = []
        self._usage = Usage()
        self._counted = 0
        self._status: dict[str, Value] = {"pid": os.getpid(), "version": __version__}
        self._trouble: str | None = ""  # what is wrong with Spotify; nobody knows before the first answer

    def turn(self) -> Turn:
        """Ask once, and say when to ask again."""
        if self._tracker is None:
            self._tracker = self._restored()
        try:
            answer = self._spotify.playback()
        except NotBefore as error:
            until = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._clock.utc() + error.seconds))
            return self._troubled(
                error, min(error.seconds, LONGEST_WAIT), f"; nothing is asked until {until}"
            )
        except LoginNeeded as error:
            return self._troubled(error, LOGIN_CHECK)
        except TryLater as error:
            return self._troubled(error, self._backoff.failed(), "; it is asked again")
        self._backoff.succeeded()
        return self._answered(answer)

    def _answered(self, answer: Answer) -> Turn:
        playback = read_playback(answer.body)
        if self._trouble is not None:
            journal.info(f"Spotify answers{' again' if self._trouble else ''}: {describe(playback)}")
            self._trouble = None
        self._follow(playback, round(answer.utc * 1000), round(answer.monotonic * 1000))
        due = answer.monotonic + self._pacer.after_answer(playback, answer.monotonic)
        self._status["login"] = "ok"
        self._status["last_poll"] = to_iso(round(answer.utc * 1000))
        recorded = self._record(due, describe(playback), playback)
        return Turn(due, recorded, self._recorder.trouble or describe(playback))

    def _troubled(self, error: Exception, wait: float, what_next: str = "") -> Turn:
        words = f"{error}{what_next}"
        if str(error) != self._trouble:
            say = journal.error if isinstance(error, LoginNeeded) else journal.warning
            say(words)
            self._trouble = str(error)
        due = self._clock.monotonic() + wait
        if isinstance(error, LoginNeeded):  # other errors tell nothing about the login
            self._status["login"] = "needed"
        self._record(due, words, None)
        return Turn(due, ok=False, words=words)

    def _follow(self, playback: Playback, stamp_ms: int, monotonic_ms: int) -> None:
        """Hand an answer to the tracker, as soon as Redis has told where to go on."""
        self._unfollowed.append((playback, stamp_ms, monotonic_ms))
        if self._tracker is None:
            return
        for answer in self._unfollowed:
            changed = self._tracker.observe(*answer)
            self._recorder.add(changed)
            for play in changed:
                if play.end_reason is not None:
                    journal.info(summary(play))
        self._unfollowed.clear()

    def _restored(self) -> Tracker | None:
        loaded = self._recorder.load()
        if loaded is None:
            # After so long there is nothing to be continued, and memory is small.
            return Tracker() if len(self._unfollowed) >= LONGEST_MEMORY else None
        newest, status = loaded
        self._usage = Usage(status.get("requests_by_hour", ""))
        return Tracker.restore(newest, status.get("tracker", ""))

    def _record(self, due: float, words: str, playback: Playback | None) -> bool:
        now = self._clock.utc()
        wait = due - self._clock.monotonic()
        until = self._spotify.login_valid_until
        status: dict[str, Value] = {
            **self._status,
            "next_poll": to_iso(round((now + wait) * 1000)),
            "state": journal.clean(words),
            "login_valid_until": "" if until is None else to_iso(round(until * 1000)),
        }
        if self._tracker is None:  # what Redis has of it is not known yet, and must not be written over
            return self._recorder.write(None, wait, status)
        self._usage.add(self._spotify.requests - self._counted, now)
        self._counted = self._spotify.requests
        status["requests_24h"] = self._usage.total(now)
        status["requests_by_hour"] = self._usage.to_text()
        status["tracker"] = self._tracker.to_memory()
        shown = None if playback is None or playback.kind is Kind.NOTHING else self._tracker.play
        return self._recorder.write(shown, wait, status)


def describe(playback: Playback) -> str:
    """What the player does, for people."""
    if playback.private:
        return "a private session, which is not logged"
    if playback.kind is Kind.NOTHING:
        return "nothing plays"
    if playback.kind is Kind.ADVERTISEMENT:
        return "an advertisement plays"
    doing = "playing" if playback.playing else "paused"
    device = playback.fields.get("device_name")
    return f"{doing} {title(playback.fields)}" + (f", {device}" if device else "")
