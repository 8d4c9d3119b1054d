"""The tracker: answers in, plays out. Pure: time comes in with each answer.

Four rules make the plays:

1. Advancing progress counts as time played, but never more than the time since the last answer.
2. A play starts at the time of the answer minus its progress, if the time since the last answer allows it.
3. A play that is followed by another ends at the start of that one.
4. An answer that is empty, or repeats an earlier one, changes nothing.

The start of a play is stamped by the wall clock once, when the play is first observed; its other stamps
follow from that one and the timeline of `Observations`.
"""

from dataclasses import replace

from spotify_logger.core.observations import AWAY_MS, BLIP_MS, JITTER_MS, SEAMLESS_MS, SILENT_MS, Observations
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play, near_end_ms
from spotify_logger.core.player_state import ITEM_FIELDS, MAX_ITEM_MS, Item, PlayerState, is_episode

OVER_AFTER_MS = 30 * 60_000  # a play that was paused or not observed for this long is over


class Tracker:
    """Follows the player from answer to answer, from where another process stopped, at whichever write.

    That left the newest stored play, open or closed, and a memory from `serialize`, perhaps damaged.
    """

    def __init__(self, newest: Play | None = None, memory: str = "") -> None:
        self.seen = Observations.restore(memory)
        self._newest = newest
        self._ahead_ms = 0  # of the timeline: how far the stamps of the open play are
        if newest is None:
            return
        remembered, is_open = self.seen.play, newest.end_reason is None
        is_current = remembered == (newest.second, newest.ms_played)
        # A play may be seen only long after its end; `last` is that answer then.
        seen_at = self.seen.last.at if is_current else 0
        if is_open and self.seen.now - max(newest.ended_ms, seen_at) > 2 * OVER_AFTER_MS:
            # It would have ended long before: this memory is damaged, or belongs to another one.
            self.seen = Observations().recall(newest)
        last = self.seen.last
        # A memory without a play, from after the newest one's end, knows of that end.
        is_complete = not is_open and remembered is None and self.seen.now >= newest.ended_ms
        is_older = not is_complete and last.at < newest.ended_ms
        is_garbled = is_open and 0 < last.at < newest.started_ms
        if is_garbled or (is_older and not is_current):
            # The process died between writing the play and writing its memory: the play is newer.
            self.seen = self.seen.recall(newest)

    @property
    def play(self) -> Play | None:
        """The open play."""
        newest = self._newest
        return newest if newest is not None and newest.end_reason is None else None

    def serialize(self) -> str:
        """Return the JSON that another process needs to continue, besides the newest play."""
        play = None if self.play is None else (self.play.second, self.play.ms_played)
        return replace(self.seen, play=play).serialize()

    def observe(self, state: PlayerState, stamp_ms: int, monotonic_ms: int) -> list[Play]:
        """Process an answer, and return the plays that changed, in the order of their starts."""
        play, seen = self.play, self.seen.receive(state, stamp_ms, monotonic_ms)
        if play is not None and seen.is_relinked(play):
            # Spotify plays on with another ID of the recording; the play keeps its own.
            fields = {name: value for name, value in play.fields.items() if name in {"id", *ITEM_FIELDS}}
            state = replace(state, item=play.item, fields={**state.fields, **fields})
            seen = replace(seen, state=state)
        is_empty = seen.is_empty(play)
        self.seen = seen.ignore() if is_empty else seen
        if is_empty:
            return self._time_out(seen.now)
        is_same = play is not None and play.item.uri == state.uri
        if state.private:  # it is not logged, and another item ends the play
            self.seen = seen = seen.hide()
            if play is not None and (is_same or state.item is None):
                return self._time_out(seen.now)
            changed = [] if play is None else [self._lose(play)]
            self.seen = seen.keep()
            return changed
        return self._same(play, state) if play is not None and is_same else self._other(state)

    def note_gap(self) -> None:
        """Note that no answer came for longer than planned: what was played meanwhile is unknown."""
        seen = self.seen
        if seen.last.at:
            self.seen = replace(seen, blind=True, unseen=seen.last.at if seen.unseen is None else seen.unseen)

    def _time_out(self, until: int) -> list[Play]:
        """Close a play that was paused or unobserved for too long, where it last advanced."""
        seen, play, natural = self.seen, self.play, self.seen.natural_end(self.play) or until
        if play is None or until - self._played_until(play) < OVER_AFTER_MS:
            return []
        if seen.hidden is not None:
            return [self._lose(play)]
        reason = self._reason(play, 0, UNKNOWN if seen.unseen is None and seen.last.playing else STOPPED)
        is_hidden = seen.blind or natural < (seen.unseen or 0)
        is_unknown = is_hidden and seen.last.playing and natural > seen.last_at
        return [self._close(play, self._played_until(play), 0, UNKNOWN if is_unknown else reason)]

    @staticmethod
    def _longest(play: Play) -> int:
        """Return how much longer a play can have gone on at an unknown position, in milliseconds."""
        return max(0, (play.item.duration_ms or MAX_ITEM_MS) - play.ms_played)

    def _same(self, play: Play, state: PlayerState) -> list[Play]:
        """Continue the open play, or start its item again."""
        seen = self.seen
        if seen.starts_again(play):
            return self._other(state)
        played = seen.played_since_last()
        if seen.advanced is None:
            played = min(played, self._longest(play))
        if over := self._time_out(seen.now - played):
            return over + self._other(state)
        end = seen.now if state.playing else min(seen.last_at + played, seen.now)
        self._newest = replace(self._extended(play, end, played) if played else play, fields=state.fields)
        self.seen = seen.keep()
        return [] if self._newest == play else [self._newest]

    def _other(self, state: PlayerState) -> list[Play]:
        """Leave the open play for another item, an advertisement, or the beginning of its own item."""
        seen, changed = self.seen, []
        if self.play is None and seen.last.uri == state.uri:
            begun = self._beginning_of_resumed(state)
        elif state.playing or state.is_advertisement:
            begun = self._beginning_of_playing(state)
        else:
            begun = self._beginning_of_paused(state)
        if self.play is not None:
            left = self._guess(seen.last_at, seen.now) if begun is None else begun
            changed.append(self._leave(self.play, left))
        doubted = begun if seen.may_be_over() else None
        if begun is not None and doubted is None and state.item is not None:
            changed.append(self._open(state.item, state, begun))
        self.seen = seen.keep(doubted)
        return changed

    def _played_before_leaving(self, play: Play, left: int) -> int:
        """Return the milliseconds from the last answer with information to where the item was left."""
        seen, natural = self.seen, self.seen.natural_end(play)
        longest = self._longest(play) if natural is None else natural - seen.last_at
        if seen.hidden is not None:
            # After a gap, the start of the private session is unknown.
            is_known = seen.last.playing and not seen.blind
            return min((seen.hidden.begun - seen.last_at) // 2, longest) if is_known else 0
        was_seen = seen.unseen is None or left - seen.last_at <= BLIP_MS
        if natural is None:
            # Its natural end is unknown; while it was observed, it played until it was left.
            return min(left - seen.last_at, longest) if seen.last.playing and was_seen else 0
        if seen.rate_of(play.item) != 1:
            natural = max(natural, min(left, natural + BLIP_MS))  # it is only estimated
        if left > natural + SEAMLESS_MS:
            return 0  # only `recently-played` can tell whether it was played to its end
        was_followed = natural - left <= near_end_ms(natural + self._ahead_ms - play.started_ms)
        return min(left, natural) - seen.last_at if was_seen or was_followed else 0

    def _beginning_of_playing(self, state: PlayerState) -> int:
        """Return now minus progress, if the time since the last answer allows it."""
        seen, earliest, progress = self.seen, self.seen.earliest_start, state.progress_ms
        if progress is None:
            return self._guess(seen.now if earliest is None else earliest, seen.now)
        rate, is_spoken = seen.rate_of(state.item), is_episode(state.item)
        begun = seen.now - round(progress / rate)
        last_at = seen.last.at or begun
        is_confirmed = seen.changed_within(begun - SILENT_MS, begun + SILENT_MS) is not None
        if is_confirmed and begun >= last_at and not is_spoken:
            return begun
        left = seen.left.get(state.uri)
        resumed = seen.now - round(max(0, progress - left) / rate) if left and progress else None
        is_hidden = earliest is None or seen.blind or seen.now - earliest > AWAY_MS
        if is_hidden or is_spoken:
            # It may have been resumed: where it was left, at the last change, or only now.
            since = max(seen.now - seen.longest_ms(progress), earliest or last_at)
            changed = seen.changed_within(since, seen.now)
            known = [moment for moment in (changed, resumed if is_hidden and is_spoken else None) if moment]
            if known:
                return max(*known, last_at)
            is_unknown = progress > BLIP_MS if is_spoken else not earliest and state.changed_ms is not None
            if is_hidden and is_unknown:
                return seen.now
        if earliest is None or begun >= earliest - SEAMLESS_MS:
            return max(begun, last_at)
        return self._guess(earliest, seen.now) if resumed is None or resumed < earliest else resumed

    def _beginning_of_paused(self, state: PlayerState) -> int | None:
        """Return where a paused item began, if it took over from a playing one at its own beginning."""
        seen, progress, earliest = self.seen, state.progress_ms, self.seen.earliest_start
        if progress is None or not seen.last.playing or earliest is None:
            return None
        if not SILENT_MS < progress <= seen.now - earliest + JITTER_MS:
            return None
        changed = seen.changed_within(earliest + progress, seen.now)
        guess = self._guess(earliest, max(earliest, seen.now - progress))
        return guess if changed is None else changed - progress

    def _beginning_of_resumed(self, state: PlayerState) -> int | None:
        """Return where an item without a play continues, e.g. after a long pause or a private session."""
        seen, last, progress = self.seen, self.seen.last, state.progress_ms
        if not state.playing or progress is None:
            return None
        if last.doubted is not None:
            return last.doubted
        advanced, from_zero = progress - (last.progress_ms or 0), seen.now - progress
        if advanced > seen.elapsed + JITTER_MS:
            return self._guess(last.at, seen.now)
        is_new = seen.changed_within(from_zero - SEAMLESS_MS, from_zero + SEAMLESS_MS) is not None
        changed = seen.changed_within(last.at, seen.now) if seen.elapsed > AWAY_MS else None
        begun = seen.now - min(progress if is_new or advanced < 0 else advanced, seen.elapsed)
        return max(begun, changed or begun)

    def _guess(self, earliest: int, latest: int) -> int:
        """Return a moment between two: the end of what played before, the last change, or the middle."""
        natural = self.seen.natural_end(self.play)
        if natural is not None and earliest <= natural <= latest:
            return natural
        changed = self.seen.changed_within(earliest, latest)
        return (earliest + latest) // 2 if changed is None else changed

    def _open(self, item: Item, state: PlayerState, begun: int) -> Play:
        now, stamp_ms, second, free_from_ms = self.seen.now, self.seen.stamp_ms, 0, 0
        if self._newest is not None:  # the next may not start before it ended
            second, free_from_ms = self._newest.second + 1, self._newest.ended_ms
        started_ms = max(stamp_ms - (now - begun), free_from_ms)
        self._ahead_ms = max(started_ms, stamp_ms) - now
        lasted = played = now + self._ahead_ms - started_ms
        if not (state.playing and is_episode(item)):
            known = item.duration_ms if state.progress_ms is None else state.progress_ms
            played = lasted if known is None else min(lasted, known)
        ended_ms = started_ms + (lasted if state.playing else played)
        second = max(started_ms // 1000, second)
        self._newest = Play(second, item, started_ms, ended_ms, played, fields=state.fields)
        return self._newest

    def _leave(self, play: Play, left: int) -> Play:
        """Close a play that another item, or an advertisement, followed at the moment `left`."""
        seen, played_until = self.seen, self._played_until(play)
        left = max(left, played_until)
        played = max(0, self._played_before_leaving(play, left))
        may_have_gone_on = seen.last.playing and (seen.natural_end(play) or left) > seen.last_at
        if may_have_gone_on and not played and left - seen.last_at > SEAMLESS_MS:
            return self._close(play, played_until, 0, UNKNOWN)
        played_until = seen.last_at + played if played else played_until
        if left - played_until >= OVER_AFTER_MS:
            return self._close(play, played_until, played, self._reason(play, played, STOPPED))
        shown_until = played_until if seen.last.playing or seen.unseen is not None else seen.last_at
        end = left if left - shown_until <= SEAMLESS_MS else shown_until  # followed by silence
        return self._close(play, end, played, self._reason(play, played, SKIPPED))

    def _lose(self, play: Play) -> Play:
        """Close a play that continued in private: where it last advanced, or a little later."""
        played = self._played_before_leaving(play, self.seen.now)
        return self._close(play, self._played_until(play) + played, played, UNKNOWN)

    def _close(self, play: Play, end: int, played: int, reason: str) -> Play:
        """Close the open play at a moment, `played` milliseconds longer than before."""
        self._newest = replace(self._extended(play, end, played), end_reason=reason)
        return self._newest

    def _played_until(self, play: Play) -> int:
        """Return the moment at which the open play last advanced."""
        return play.ended_ms - self._ahead_ms

    def _extended(self, play: Play, end: int, played: int) -> Play:
        """Return the open play with a later end, `played` milliseconds longer, never longer than it took."""
        ended_ms = max(play.ended_ms, end + self._ahead_ms)
        ms_played = min(play.ms_played + played, ended_ms - play.started_ms)
        return replace(play, ended_ms=ended_ms, ms_played=ms_played)

    def _reason(self, play: Play, played: int, otherwise: str) -> str:
        duration, position = play.item.duration_ms, self.seen.position_after(play.item, played)
        if self.seen.last.progress_ms is None:
            position = play.ms_played + played
        rate = self.seen.rate_of(play.item)
        is_unfinished = duration is None or position < duration - rate * near_end_ms(duration)
        return otherwise if is_unfinished else TRACKDONE
