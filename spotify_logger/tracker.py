"""The tracker: answers in, plays out. Pure: time comes in with each answer.

Four rules make the plays:

1. Listened time is advancing progress, and never more than the time since the last answer.
2. The start is the time of the answer minus its progress, where the time since the last answer allows it.
3. A play that was followed by another ends at that one's start.
4. An answer that says nothing, or repeats what was said, changes nothing.

A play's start is stamped with the wall clock once, when the play is first seen; its other stamps follow from
that one and the timeline of `player.Player`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.playback import Item, Kind, Playback
from spotify_logger.player import BLIP_MS, JITTER_MS, Player, Sample, step_back_ms, uri_of
from spotify_logger.plays import SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play, near_end_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

OVER_AFTER_MS = 30 * 60_000
"""A play that was paused or unseen for so long is over."""
AWAY_MS = 120_000
"""Unseen for so long, the same item at an earlier position is a new play and no seek."""
SEAMLESS_MS = 5_000
"""An item that starts so soon after the one before it could have ended followed it directly."""
SILENT_MS = 2_000
"""A player whose context is finished shows an item again, paused within so much of its beginning."""


class Tracker:
    """Follows the player from answer to answer.

    Attributes:
        play: The open play, if there is one.
    """

    def __init__(self) -> None:
        self.play: Play | None = None
        self._player = Player()
        self._begun = 0  # where the open play starts on the timeline
        self._heard_until = 0  # when the open play last advanced
        self._free_from_ms = 0  # stamp of the end of the play before: none may start earlier
        self._second = 0  # names the newest play

    def observe(self, playback: Playback, stamp_ms: int, monotonic_ms: int) -> list[Play]:
        """Take in an answer.

        Args:
            playback: What it said.
            stamp_ms: When it was true: milliseconds since the epoch, UTC.
            monotonic_ms: The same moment, for durations.

        Returns:
            The plays that it changed, in the order of their starts; closed ones have an `end_reason`.
        """
        player = self._player
        player.advance(stamp_ms, monotonic_ms)
        is_open = self.play is not None and self.play.item.uri == uri_of(playback)
        if (playback.kind is Kind.NOTHING and not playback.private) or (
            player.repeats(playback) and not self._starts_again(playback)
        ):
            player.miss(playback)
            changed = self._time_out(player.now)
        elif playback.private:
            changed = self._private(playback, is_same=is_open or playback.item is None)
        elif self.play is not None and is_open:
            changed = self._same(self.play, playback)
        else:
            changed = self._other(playback)
        player.answered = player.now
        return changed

    def lose_sight(self) -> None:
        """Take note that nobody could look since the last answer, for longer than was planned.

        A play that was left meanwhile ends where it was last heard, unless the next one followed directly;
        `recently-played` may know better.
        """
        self._player.lose_sight()

    # A restart

    def to_memory(self) -> str:
        """What has to be kept beside the newest play for another process to go on, as JSON."""
        play = None if self.play is None else [self.play.second, self.play.heard_ms]
        return json.dumps({"play": play, **self._player.to_memory()}, separators=(",", ":"))

    @classmethod
    def restore(cls, newest: tuple[int, Mapping[str, str]] | None, memory: str) -> Tracker:
        """Go on where another process stopped, at whichever write that was.

        Args:
            newest: Second and hash of the newest play kept, open or closed.
            memory: What `to_memory` said; garbage is as good as nothing.
        """
        tracker = cls()
        kept = _parse(memory)
        tracker._player.remember(kept)
        play = None if newest is None else Play.from_hash(*newest)
        if play is None:
            return tracker
        tracker._second = play.second
        if play.end_reason is not None:
            tracker._free_from_ms = play.ended_ms
        else:
            tracker.play = play
            tracker._begun, tracker._heard_until = play.started_ms, play.ended_ms
            if (tracker._player.answered or 0) - play.ended_ms > 2 * OVER_AFTER_MS:
                # Long before that it would have been over: this memory is of something else.
                tracker._player.forget()
        known = tracker._player.last
        is_older = known is None or known.at < play.ended_ms
        is_garbled = tracker.play is not None and known is not None and known.at < play.started_ms
        if is_garbled or (is_older and kept.get("play") != [play.second, play.heard_ms]):
            # The process died between writing the play and writing its memory: the play is the newer one.
            tracker._player.last = play.as_sample()
        return tracker

    # What follows from an answer

    def _time_out(self, until: int) -> list[Play]:
        """Close a play that was paused or unseen for too long; at its natural end if it went unseen there."""
        if self.play is None or until - self._heard_until < OVER_AFTER_MS:
            return []
        if self._player.hidden is not None:
            return [self._lose(self.play)]
        natural, unseen = self._natural_end(), self._player.unseen
        if natural is not None and unseen is not None and unseen >= natural:
            return [self._close(self.play, natural, natural - self._player.last_at, TRACKDONE)]
        if self._player.blind and self._player.was_playing:
            return [self._close(self.play, self._heard_until, 0, UNKNOWN)]
        reason = UNKNOWN if unseen is None and self._player.was_playing else STOPPED
        return [self._close(self.play, self._heard_until, 0, self._reason(self.play, 0, reason))]

    def _private(self, playback: Playback, *, is_same: bool) -> list[Play]:
        """What is heard in private is not counted; another item ends the play."""
        self._player.hide()
        if self.play is not None and is_same:
            return self._time_out(self._player.now)
        changed = [] if self.play is None else [self._lose(self.play)]
        self._player.see(playback, playing=False)
        return changed

    def _same(self, play: Play, playback: Playback) -> list[Play]:
        """The open play's item again."""
        if self._starts_again(playback):
            return self._again(play, playback)
        heard = self._heard_since_last(play, playback)
        if not self._played_on(playback):
            over = self._time_out(self._player.now - heard)
            if over or self._was_away(playback):
                return over + self._other(playback)
        if heard:
            end = self._player.now if playback.playing else self._player.last_at + heard
            self._heard_until = max(self._heard_until, min(end, self._player.now))
        self.play = replace(
            play,
            fields=playback.fields,
            heard_ms=min(play.heard_ms + heard, self._heard_until - self._begun),
            ended_ms=self._stamp(play, self._heard_until),
        )
        self._player.see(playback, playing=playback.playing)
        return [] if self.play == play else [self.play]

    def _again(self, play: Play, playback: Playback) -> list[Play]:
        """The same item from its beginning, after its end: a repeat, or a player that has fallen silent."""
        if playback.playing or (playback.progress_ms or 0) > SILENT_MS:
            return self._other(playback)
        end = min(self._natural_end() or self._heard_until, self._player.now)
        heard = max(0, end - self._player.last_at) if self._player.was_playing else 0
        self._player.see(playback, playing=False)
        return [self._close(play, end, heard, TRACKDONE)]

    def _other(self, playback: Playback) -> list[Play]:
        """An item, or an advertisement, that is not the open play."""
        player, begun, changed = self._player, self._beginning(playback), []
        if self.play is not None:
            left = self._guess(playback, player.last_at, player.now) if begun is None else begun
            changed.append(self._leave(self.play, left))
        doubted = begun if self._is_doubtful(playback) else None
        if begun is not None and doubted is None and playback.item is not None:
            changed.append(self._open(playback.item, playback, begun))
        player.see(playback, playing=playback.playing, doubted=doubted)
        return changed

    # What an answer means

    def _natural_end(self) -> int | None:
        """When the open play would end if it just played on."""
        last = self._player.last
        if self.play is None or last is None or not last.playing or last.progress_ms is None:
            return None
        duration = self.play.item.duration_ms
        return None if duration is None else last.at + max(0, duration - last.progress_ms)

    def _starts_again(self, playback: Playback) -> bool:
        """Whether the open play's item came to its end and is back near its beginning."""
        last = self._player.last
        if self.play is None or last is None or last.progress_ms is None or playback.progress_ms is None:
            return False
        duration = self.play.item.duration_ms
        if duration is None or playback.progress_ms >= last.progress_ms - step_back_ms(self.play.item):
            return False
        reached = last.progress_ms + (self._player.now - last.at if last.playing else 0)
        beyond = reached - (duration - near_end_ms(duration))
        return beyond >= 0 and playback.progress_ms <= beyond + JITTER_MS

    def _played_on(self, playback: Playback) -> bool:
        """Whether it advanced as the clock did: then it was heard, however long nobody looked."""
        last = self._player.last
        if last is None or last.progress_ms is None or playback.progress_ms is None:
            return False
        advanced = playback.progress_ms - last.progress_ms
        return (
            last.playing and playback.playing and abs(advanced - (self._player.now - last.at)) <= SEAMLESS_MS
        )

    def _was_away(self, playback: Playback) -> bool:
        """Whether the item was gone and came back from its beginning: then it was started again."""
        last = self._player.last
        if self._player.unseen is None or last is None or last.progress_ms is None:
            return False
        away, progress = self._player.now - last.at, playback.progress_ms or 0
        fell = progress < last.progress_ms - step_back_ms(playback.item)
        return fell and playback.playing and away > AWAY_MS and progress <= away

    def _is_doubtful(self, playback: Playback) -> bool:
        """An item that should long be over, said to be playing after a long look away, may be a stale one."""
        last, earliest = self._player.last, self._player.window()
        if playback.item is None or playback.item.duration_ms is None or not playback.playing:
            return False
        if last is not None and last.doubted is not None and last.uri == playback.item.uri:
            return False
        looked_away = earliest is None or self._player.now - earliest > AWAY_MS
        age = self._player.age(playback)
        return looked_away and age is not None and age > playback.item.duration_ms + AWAY_MS

    # How much was heard, and from when

    def _heard_since_last(self, play: Play, playback: Playback) -> int:
        """Milliseconds of the open play heard since the last sample."""
        last, progress = self._player.last, playback.progress_ms
        if progress is not None and last is not None and last.progress_ms is None:
            # Nobody knows where it was; it cannot have been heard for longer than it is open.
            return max(0, min(progress, self._player.now - self._begun) - play.heard_ms)
        return self._player.heard_since_last(playback)

    def _heard_before_leaving(self, left: int) -> int:
        """Milliseconds heard between the last sample and the moment at which the item was left."""
        player, natural = self._player, self._natural_end()
        if player.hidden is not None and player.blind:
            return 0  # nobody knows when it turned private
        if player.hidden is not None:
            return (player.hidden.begun - player.last_at) // 2 if player.was_playing else 0
        seen = player.unseen is None or left - player.last_at <= BLIP_MS
        if natural is None:
            # Nothing says when it would have ended; while it was seen, it did play until it was left.
            return left - player.last_at if player.was_playing and seen else 0
        if left > natural + SEAMLESS_MS:
            return natural - player.last_at if seen or (player.unseen or 0) >= natural else 0
        duration = natural - player.last_at + player.progress
        followed = natural - left <= near_end_ms(duration)
        return min(left, natural) - player.last_at if seen or followed else 0

    def _beginning(self, playback: Playback) -> int | None:
        """Where the play of an item that was not open begins on the timeline; None when none begins."""
        last = self._player.last
        if playback.kind is Kind.ADVERTISEMENT:
            return self._beginning_of_playing(playback)
        if self.play is None and last is not None and last.uri == uri_of(playback):
            return self._beginning_of_resumed(last, playback)
        return (
            self._beginning_of_playing(playback) if playback.playing else self._beginning_of_paused(playback)
        )

    def _beginning_of_playing(self, playback: Playback) -> int:
        """Receive time minus progress, where the time since the last answer allows it."""
        earliest, now = self._player.window(), self._player.now
        if playback.progress_ms is not None:
            begun = now - playback.progress_ms
            if earliest is None:
                return begun
            last_at = begun if self._player.last is None else self._player.last.at
            confirmed = self._player.changed(playback, begun - SILENT_MS, begun + SILENT_MS) is not None
            if begun >= earliest - SEAMLESS_MS or (confirmed and begun >= last_at):
                return max(begun, last_at)
            left = self._player.left_at(uri_of(playback))
            since = None if left is None else max(0, playback.progress_ms - left)
            if since is not None and playback.progress_ms > since and since <= now - earliest:
                return now - since
        return self._guess(playback, now if earliest is None else earliest, now)

    def _beginning_of_paused(self, playback: Playback) -> int | None:
        """A paused item was heard if it took over from a playing one, from its beginning on."""
        progress, earliest, now = playback.progress_ms, self._player.last_at, self._player.now
        if not progress or not self._player.was_playing or progress > now - earliest + JITTER_MS:
            return None
        changed = self._player.changed(playback, earliest + progress, now)
        if changed is not None:
            return changed - progress
        return self._guess(playback, earliest, max(earliest, now - progress))

    def _beginning_of_resumed(self, last: Sample, playback: Playback) -> int | None:
        """An item without a play goes on: it was paused for long, private, silent, or doubted."""
        if not playback.playing or playback.progress_ms is None:
            return None
        if last.doubted is not None:
            return last.doubted
        now, elapsed = self._player.now, self._player.now - last.at
        advanced = playback.progress_ms - (last.progress_ms or 0)
        if advanced > elapsed + JITTER_MS:
            return self._guess(playback, last.at, now)
        from_zero = now - playback.progress_ms
        anew = self._player.changed(playback, from_zero - SEAMLESS_MS, from_zero + SEAMLESS_MS) is not None
        return now - min(playback.progress_ms if anew or advanced < 0 else advanced, elapsed)

    def _guess(self, playback: Playback, earliest: int, latest: int) -> int:
        """A moment within a stretch: the end of what played before, the last change, or the middle."""
        natural = self._natural_end()
        if natural is not None and earliest <= natural <= latest:
            return natural
        changed = self._player.changed(playback, earliest, latest)
        return (earliest + latest) // 2 if changed is None else changed

    # Opening and closing

    def _open(self, item: Item, playback: Playback, begun: int) -> Play:
        now = self._player.now
        started = max(self._player.stamp(begun), self._free_from_ms)
        self._begun = min(now, begun + started - self._player.stamp(begun))
        heard = min(playback.progress_ms or 0, now - self._begun)
        self._heard_until = now if playback.playing else self._begun + heard
        self._second = max(started // 1000, self._second + 1)
        ended = started + self._heard_until - self._begun
        self.play = Play(self._second, item, started, ended, heard, fields=playback.fields)
        return self.play

    def _leave(self, play: Play, left: int) -> Play:
        """Close a play that another item, or an advertisement, followed at the moment `left`."""
        left = max(left, self._heard_until)
        heard = max(0, self._heard_before_leaving(left))
        heard_until = self._player.last_at + heard if heard else self._heard_until
        over = left - heard_until >= OVER_AFTER_MS
        lost = self._player.unseen is not None and not heard
        if lost and self._player.blind and self._player.was_playing:
            return self._close(play, self._heard_until, 0, UNKNOWN)
        reason = UNKNOWN if lost else STOPPED if over else SKIPPED
        return self._close(play, heard_until if over else left, heard, self._reason(play, heard, reason))

    def _lose(self, play: Play) -> Play:
        """Close a play that went on in private: where it was last heard, or a little later."""
        heard = self._heard_before_leaving(self._player.now)
        return self._close(play, self._heard_until + heard, heard, UNKNOWN)

    def _close(self, play: Play, end: int, heard: int, reason: str) -> Play:
        """Close the open play at a moment, `heard` milliseconds more than before."""
        end = max(end, self._heard_until)
        closed = replace(
            play,
            ended_ms=self._stamp(play, end),
            heard_ms=min(play.heard_ms + heard, end - self._begun),
            end_reason=reason,
        )
        self._free_from_ms = closed.ended_ms
        self.play = None
        return closed

    def _reason(self, play: Play, heard: int, otherwise: str) -> str:
        duration = play.item.duration_ms
        if duration is None or self._player.progress + heard < duration - near_end_ms(duration):
            return otherwise
        return TRACKDONE

    def _stamp(self, play: Play, moment: int) -> int:
        return play.started_ms + moment - self._begun


def age_of(memory: str) -> int:
    """The moment of the last answer that a memory knows, by which the newer of two is told; -1 for none."""
    answered = _parse(memory).get("answered")
    return answered if isinstance(answered, int) else -1


def _parse(memory: str) -> dict[str, object]:
    try:
        kept = json.loads(memory)
    except (ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
