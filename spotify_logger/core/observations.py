"""What is known about the player so far. Pure: time comes in with each answer.

Moments are milliseconds on one timeline that follows the monotonic clock, so that a step of the wall clock
between two answers changes no duration. It starts at the wall-clock time of the first answer.
"""

from dataclasses import dataclass, field, replace
from typing import Self

from spotify_logger.core import matching
from spotify_logger.core.play import Play, near_end_ms
from spotify_logger.core.player_state import NO_STATE, Item, PlayerState, is_episode, whole_number
from spotify_logger.core.times import MAX_STAMP_MS
from spotify_logger.system.state import from_json, to_json

MIN_RATE, MAX_RATE = 0.45, 3.75  # of an episode's position: players offer 0.5 to 3.5 times
SAME_RATE = 0.06  # two estimates of the rate may differ by this share
LONGEST_REPORT_MS = 300_000  # a position that runs in real time for longer is not waiting for a report
JITTER_MS = 750  # progress and clock may diverge by this much between two answers: requests take time
STEP_BACK_MS = 3_000  # a fall of progress that is not a seek: a device that takes over starts slightly behind
SKIP_BUTTON_MS = 15_000  # the buttons of a podcast jump this far back and forward
MAX_POSITIONS = 8  # items whose positions are remembered: podcasts and albums are resumed there
BLIP_MS = 60_000  # answers may be empty for less than this while something plays (spotify/web-api#1158)
SILENT_MS = 2_000  # at the end of a context, an item is shown again, paused this close to its beginning
AWAY_MS = 120_000  # after this long, the same item at an earlier position is a new play, not a seek
SEAMLESS_MS = 5_000  # an item that starts this soon after the previous one could have ended followed directly


@dataclass(frozen=True, slots=True)
class Observation:
    """What is kept of an answer, to compare later ones with."""

    uri: str = ""  # of the item; empty for an advertisement and in a private session
    at: int = 0  # the moment of the answer; 0 if there was none
    progress_ms: int | None = None  # the position; None if the answer lacked it
    playing: bool = False  # in public
    changed_ms: int | None = None  # Spotify's `timestamp`
    doubted: int | None = None  # where the play would begin, if the answer proves not to be stale


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the position of an episode advances, learnt while it plays on: 0.5 to 3.5 ms per millisecond.

    Players let listeners choose it. The position of the answers runs at that speed, or in real time with a
    jump whenever the player reports where it is; from its first answer on, both make the same line.
    """

    at: int = 0  # the moment of the first answer, and its position; 0 if there was none
    progress_ms: int = 0
    rate: float = 1.0
    estimate: float = 1.0  # the latest one; it is the rate when the next one confirms it

    def learn(self, now: int, progress_ms: int) -> "Pace":
        """Return the pace after an answer whose position did not advance in real time."""
        estimate = (progress_ms - self.progress_ms) / max(1, now - self.at)
        if not MIN_RATE <= estimate <= MAX_RATE:
            return Pace(now, progress_ms, self.rate)
        is_confirmed = abs(estimate - self.estimate) <= SAME_RATE * estimate
        is_other = abs(estimate - 1) > SAME_RATE
        return replace(self, estimate=estimate, rate=estimate if is_confirmed and is_other else self.rate)

    def position(self, at: int) -> int:
        """Return the position in milliseconds that is foreseen for a moment."""
        return self.progress_ms + round(self.rate * (at - self.at))


@dataclass(frozen=True, slots=True)
class PrivateSession:
    """A private session, from the first answer that showed it to the last."""

    begun: int
    ended: int


SAVED = ("play", "last", "previous", "unseen", "answered", "hidden", "blind", "left", "pace")
"""The fields that are kept across a restart: keys of stored JSON."""


@dataclass(frozen=True, slots=True)
class Observations:
    """What is known about the player from its states so far."""

    play: tuple[int, int] | None = None  # the second and `ms_played` of the open play
    last: Observation = Observation()  # the last answer that brought information
    previous: Observation = Observation()  # the last one about the item before that of `last`
    unseen: int | None = None  # when the first answer without information came after `last`
    answered: int | None = None  # when the answer before the current one came
    hidden: PrivateSession | None = None  # the private session since `last`
    blind: bool = False  # whether there was a gap since `last`: what happened meanwhile is unknown
    left: dict[str, int] = field(default_factory=dict)  # the positions at which items were left, by URI
    pace: Pace = Pace()  # of the latest episode
    state: PlayerState = NO_STATE  # the current answer
    before: PlayerState = NO_STATE  # the answer before it
    now: int = 0  # the moment of the current answer; before it came, that of the last one before a restart
    interval: int = 0  # milliseconds between these two
    stamp_ms: int = 0  # the same moment by the wall clock, in milliseconds since the epoch, UTC
    monotonic_ms: int | None = None  # and by the monotonic clock; None before the first answer

    def serialize(self) -> str:
        """Return the JSON that another process needs to continue."""
        saved = {name: getattr(self, name) for name in SAVED} | {"answered": self.now or None}
        # Earlier versions know no empty ones.
        return to_json({name: value for name, value in saved.items() if value not in (Observation(), Pace())})

    @classmethod
    def restore(cls, memory: str) -> Self:
        """Return the observations from `serialize`; damaged JSON counts as none."""
        saved = from_json(cls, memory) or cls()
        if not saved.is_in_order():
            return cls(play=saved.play)
        return cls(**{name: getattr(saved, name) for name in SAVED}, now=saved.answered or 0)

    def is_in_order(self) -> bool:
        """Return whether the moments are in chronological order; those of damaged JSON may not be."""
        seen, pace, answered = (self.previous, self.last), self.pace, self.answered or 0
        hidden = [] if self.hidden is None else [self.hidden.begun, self.hidden.ended]
        moments = [0, *(each.at for each in seen), *hidden, answered, MAX_STAMP_MS]
        is_plausible = all(0 <= (each.doubted or 0) <= each.at for each in seen)
        is_plausible &= pace.at <= answered
        is_plausible &= all(MIN_RATE <= rate <= MAX_RATE for rate in (pace.rate, pace.estimate))
        return is_plausible and moments == sorted(moments) and 0 <= (self.unseen or 0) <= answered

    def recall(self, play: Play) -> Self:
        """Return these observations with the last answer about a play, as far as its fields tell it."""
        progress, changed = (whole_number(play.fields.get(name)) for name in ("progress_ms", "timestamp"))
        is_playing = play.fields.get("playing") == 1
        last = Observation(play.item.uri, play.ended_ms, progress, is_playing, changed)
        return replace(self, last=last, now=max(self.now, play.ended_ms))

    def receive(self, state: PlayerState, stamp_ms: int, monotonic_ms: int) -> Self:
        """Return these observations with the next answer as the current one."""
        if self.monotonic_ms is None:
            interval, now = 0, max(self.now, stamp_ms)
        else:
            interval = max(0, monotonic_ms - self.monotonic_ms)
            now = self.now + interval
        return replace(
            self,
            before=self.state,
            state=state,
            answered=self.now or None,
            now=now,
            interval=interval,
            stamp_ms=stamp_ms,
            monotonic_ms=monotonic_ms,
        )

    def keep(self, doubted: int | None = None) -> Self:
        """Return these observations with the current answer as the last one with information."""
        state, last, previous, left = self.state, self.last, self.previous, self.left
        uri, is_playing = ("", False) if state.private else (state.uri, state.playing)
        if last.uri != uri:
            previous = last
            if last.uri and last.progress_ms is not None:
                others = [(other, position) for other, position in left.items() if other != last.uri]
                left = dict([*others, (last.uri, last.progress_ms)][-MAX_POSITIONS:])
        kept = Observation(uri, self.now, state.progress_ms, is_playing, state.changed_ms, doubted)
        pace = self._learnt_pace()
        return replace(
            self, last=kept, previous=previous, left=left, pace=pace, unseen=None, hidden=None, blind=False
        )

    def _learnt_pace(self) -> Pace:
        """Return the pace after the current answer; a pause or another episode begins another line."""
        last, pace, position = self.last, self.pace, self.state.progress_ms
        if not is_episode(self.state.item) or position is None or not self.state.playing:
            return pace
        is_same = pace.at > 0 and last.uri == self.state.uri and last.playing
        is_sought = pace.rate != 1 and self.changed_within(self.last_at, self.now) is not None
        if not is_same or self.advanced is None or self.blind or self.hidden is not None or is_sought:
            return Pace(self.now, position, pace.rate)
        if abs(self.advanced - self.elapsed) > JITTER_MS:
            return pace.learn(self.now, position)
        is_real_time = abs(pace.position(self.now) - position) > abs(pace.rate - 1) * LONGEST_REPORT_MS
        return Pace(self.now, position) if pace.rate != 1 and is_real_time else pace

    def rate_of(self, item: Item | None) -> float:
        """Return the milliseconds that the position of an item advances in one while it plays."""
        return self.pace.rate if is_episode(item) else 1.0

    def longest_ms(self, progress: int) -> int:
        """Return the most milliseconds in which the current item, at any rate, has reached its position."""
        rate = self.rate_of(self.state.item)
        slowest = MIN_RATE if progress <= BLIP_MS else rate * (1 - SAME_RATE)
        return round(progress / (slowest if is_episode(self.state.item) else rate))

    def position_after(self, item: Item, played: int) -> int:
        """Return the position of an item after it has played for so long since `last`."""
        position = (self.last.progress_ms or 0) + played
        return self._foreseen(item, position, self.last_at + played) if self.last.playing else position

    def _foreseen(self, item: Item | None, position: int, at: int) -> int:
        """Return the position of an item at a moment, from its pace, or else a position."""
        return position if self.rate_of(item) == 1 else self.pace.position(at)

    def hide(self) -> Self:
        """Return these observations with the current answer as one from a private session."""
        return replace(self, hidden=PrivateSession(self.hidden.begun if self.hidden else self.now, self.now))

    def ignore(self) -> Self:
        """Return these observations with the current answer as one without information, or as a duplicate."""
        is_twice = self.state.item is not None and self.elapsed <= JITTER_MS
        return self if self.unseen is not None or is_twice else replace(self, unseen=self.now)

    @property
    def remaining_ms(self) -> int | None:
        """Milliseconds until the current item ends if it plays on; None if unknown, or overdue."""
        left = self._left_ms(self.state.item, self.state.progress_ms, self.now)
        return left if left and left > 0 else None

    def natural_end(self, play: Play | None) -> int | None:
        """Return when a play that was playing would end if it simply played on; None if unknown."""
        if play is None or not self.last.playing:
            return None
        left = self._left_ms(play.item, self.last.progress_ms, self.last.at)
        return None if left is None else self.last.at + max(0, left)

    def _left_ms(self, item: Item | None, position: int | None, at: int) -> int | None:
        """Return the milliseconds until an item ends if it plays on from its position at a moment."""
        if item is None or item.duration_ms is None or position is None:
            return None
        return round((item.duration_ms - self._foreseen(item, position, at)) / self.rate_of(item))

    @property
    def last_at(self) -> int:
        """When information last came; `now` if never."""
        return self.last.at or self.now

    @property
    def elapsed(self) -> int:
        """Milliseconds since information last came."""
        return self.now - self.last_at

    @property
    def advanced(self) -> int | None:
        """By how many milliseconds the position differs from the last known one; None if unknown."""
        if self.last.progress_ms is None or self.state.progress_ms is None:
            return None
        return self.state.progress_ms - self.last.progress_ms

    @property
    def earliest_start(self) -> int | None:
        """The earliest moment at which a new item can have begun; None if there is no limit."""
        if self.answered is not None and self.unseen is not None and self.answered - self.unseen >= BLIP_MS:
            return self.answered
        return self.last.at or None

    def changed_within(self, earliest: int, latest: int) -> int | None:
        """Return when the state changed, by Spotify's `timestamp`; None unless within the two moments."""
        if self.state.changed_ms is None:
            return None
        changed = self.now - (self.stamp_ms - self.state.changed_ms)
        return changed if earliest <= changed <= latest else None

    def is_empty(self, play: Play | None) -> bool:
        """Return whether the answer says nothing, repeats an earlier one, or lacks what would show that."""
        last, previous, state = self.last, self.previous, self.state
        if state.item is None and not state.is_advertisement:
            return not state.private
        if self.starts_again(play):
            return False
        if previous.uri == state.uri and previous.changed_ms is not None:
            # A cached answer about the previous item, exactly repeated, while another already plays.
            return (previous.progress_ms, previous.changed_ms) == (state.progress_ms, state.changed_ms)
        if not last.uri or last.uri != state.uri or state.private:
            return False
        if self.advanced is None:
            return state.progress_ms is None and not (state.playing or self.last.playing)
        stands_still = -step_back_ms(state.duration_ms) <= self.advanced <= 0
        return stands_still and self.last.playing and state.playing

    def may_be_over(self) -> bool:
        """Return whether an item that should have ended long ago is said to play: the answer may be stale."""
        last, state, earliest = self.last, self.state, self.earliest_start
        if state.duration_ms is None or state.changed_ms is None or not state.playing:
            return False
        if last.doubted is not None and last.uri == state.uri:
            return False
        was_away = earliest is None or self.now - earliest > AWAY_MS
        return was_away and self.stamp_ms - state.changed_ms > state.duration_ms + AWAY_MS

    def starts_again(self, play: Play | None) -> bool:
        """Return whether the item of a play is where it is if it was started again since `last`.

        A fall to anywhere else is a seek; so is any fall that a short gap or a private session hid, unless
        the item had come to its end.
        """
        if play is None or self.advanced is None:
            return False
        position, duration = self.state.progress_ms or 0, play.item.duration_ms
        has_fallen = self.advanced < -step_back_ms(duration)
        reached = self.position_after(play.item, self.elapsed if self.last.playing else 0)
        if has_fallen and duration is not None:
            beyond_end = reached - duration + near_end_ms(duration)
            if beyond_end >= 0 and position <= beyond_end + JITTER_MS:
                return True
        is_hidden = self.hidden is not None or (self.blind and self.elapsed <= AWAY_MS)
        if is_hidden or position > self.elapsed + JITTER_MS:
            return False
        changed = self.changed_within(self.last_at, self.now)
        if not self.state.playing:
            return has_fallen and (self.last.playing or position <= SILENT_MS)
        is_behind = has_fallen or (changed is not None and reached - position > SEAMLESS_MS)
        return is_behind and (changed is None or abs(self.now - position - changed) <= SILENT_MS)

    def is_relinked(self, play: Play) -> bool:
        """Return whether a play goes on under another ID of its recording: at the same position."""
        last, item, advanced = self.last, self.state.item, self.advanced
        if item is None or item.uri == play.item.uri or last.uri != play.item.uri:
            return False
        if advanced is None or not -step_back_ms(item.duration_ms) <= advanced <= self.elapsed + JITTER_MS:
            return False
        known = matching.recording_of(play.item, play.fields)
        return matching.is_same_recording(known, matching.recording_of(item, self.state.fields))

    def played_since_last(self) -> int:
        """Return the milliseconds of the same item played since `last`: as a rule, advancing progress.

        Where Spotify's `timestamp` says when the state changed last, what was played after that is known, and
        the position tells the rest. A position that the time cannot explain was sought: then only time tells.
        """
        advanced, elapsed = self.advanced, self.elapsed
        was, is_playing = self.last.playing, self.state.playing
        if self.hidden is not None and advanced is not None:
            # It turned private and public again somewhere between two answers each: half of that is public.
            return max(0, min(advanced, elapsed) - (self.hidden.ended - self.hidden.begun)) // 2
        if not was and not is_playing:
            return advanced if advanced and JITTER_MS < advanced <= elapsed + JITTER_MS else 0
        changed = self.changed_within(self.last_at, self.now)
        until = self.now if changed is None else changed
        after = self.now - until if is_playing else 0
        before, room = (advanced or 0) - after, until - self.last_at
        slack = step_back_ms(self.state.duration_ms) if changed is None else JITTER_MS
        if advanced is not None and self._is_position_real(changed) and -slack <= before <= room + JITTER_MS:
            return max(0, before) + after
        if changed is None and was != is_playing:
            return elapsed // 2
        return (room if was else 0) + after

    def _is_position_real(self, changed: int | None) -> bool:
        """Return whether the position advances in real time, which that of an episode may not do."""
        if self.blind or not is_episode(self.state.item):
            return True
        if not self.last.playing or not self.state.playing:
            return changed is None
        is_back = abs(self.elapsed - (self.advanced or 0) - SKIP_BUTTON_MS) <= JITTER_MS
        is_report = self.state.changed_ms == self.last.changed_ms
        return not is_back and not is_report and self.rate_of(self.state.item) == 1


def step_back_ms(duration: int | None) -> int:
    """Return how far progress may fall without a seek: less for short items, to not miss a repeat."""
    return STEP_BACK_MS if duration is None else min(STEP_BACK_MS, duration // 20)
