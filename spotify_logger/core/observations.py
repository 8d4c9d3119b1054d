"""What is known about the player so far. Pure: each answer turns one frozen value into the next.

Moments are milliseconds on one timeline that follows the monotonic clock, so that a step of the wall clock
between two answers changes no duration. It starts at the wall-clock time of the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from spotify_logger.core.play import near_end_ms
from spotify_logger.core.player_state import NO_STATE, StateKind, whole_number
from spotify_logger.core.times import MAX_STAMP_MS
from spotify_logger.system.state import from_plain

if TYPE_CHECKING:
    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item, PlayerState

JITTER_MS = 750
"""Progress and clock may diverge by this much between two answers: requests take time."""
STEP_BACK_MS = 3_000
"""Progress that falls by no more than this is not a seek: a device that takes over starts slightly behind."""
SKIP_BUTTON_MS = 15_000
"""The buttons of a podcast jump this far back and forward."""
MAX_POSITIONS = 8
"""Items whose positions are remembered: podcasts and albums are resumed where they were left."""
BLIP_MS = 60_000
"""Answers without information for less than this do not mean that nothing plays (spotify/web-api#1158)."""
AWAY_MS = 120_000
"""After this long without information, the same item at an earlier position is a new play, not a seek."""
SEAMLESS_MS = 5_000
"""An item that starts this soon after the previous one could have ended followed it directly."""
EXPECTED_TOLERANCE_MS = 3_000
"""A position this close to the predicted one was expected."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of the player after an answer.

    Attributes:
        is_advancing: Whether something plays and its position advances.
        is_advertisement: Whether that is an advertisement.
        progress_ms: The position; None if unknown.
        remaining_ms: Milliseconds to the end of the item; None if unknown, or if it should have ended.
        since_user_action_ms: Milliseconds since the listener did something unexpected; None if nothing was.
    """

    is_advancing: bool
    is_advertisement: bool = False
    progress_ms: int | None = None
    remaining_ms: int | None = None
    since_user_action_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What is kept of an answer, to compare later ones with.

    Attributes:
        uri: The URI of the item; empty for an advertisement and in a private session.
        at: The moment of the answer on the timeline.
        progress_ms: The position; None if the answer lacked it.
        playing: Whether it was playing, in public.
        changed_ms: Spotify's `timestamp`.
        doubted: Where the play would begin if the item proves to advance; None if the answer was credible.
    """

    uri: str
    at: int
    progress_ms: int | None = None
    playing: bool = False
    changed_ms: int | None = None
    doubted: int | None = None

    @classmethod
    def of_play(cls, play: Play) -> Observation:
        """Return the last answer about a play, as far as the play itself records it."""
        fields = play.fields
        progress, changed = whole_number(fields.get("progress_ms")), whole_number(fields.get("timestamp"))
        return cls(play.item.uri, play.ended_ms, progress, fields.get("playing") == 1, changed)


@dataclass(frozen=True, slots=True)
class PrivateSession:
    """A private session, from the first answer that showed it to the last."""

    begun: int
    ended: int


@dataclass(frozen=True, slots=True)
class SavedObservations:
    """What is kept of the answers across a restart. The field names are keys of stored JSON.

    Attributes:
        last: The last answer that brought information.
        previous: The last one about the item before that of `last`.
        unseen: When the first answer without information came after `last`; None if none did.
        answered: When the answer before the current one came.
        hidden: The private session since `last`, if any.
        blind: Whether there was a gap since `last`: what happened meanwhile is unknown.
        left: The positions in milliseconds at which items were left, by URI.
    """

    last: Observation | None = None
    previous: Observation | None = None
    unseen: int | None = None
    answered: int | None = None
    hidden: PrivateSession | None = None
    blind: bool = False
    left: dict[str, int] = field(default_factory=dict)

    def is_in_order(self) -> bool:
        """Return whether the moments are in chronological order; those of damaged JSON may not be."""
        if self.last is not None and self.answered is None:
            return False
        seen = [seen for seen in (self.previous, self.last) if seen is not None]
        hidden = [] if self.hidden is None else [self.hidden.begun, self.hidden.ended]
        answered = [] if self.answered is None else [self.answered]
        moments = [0, *(observation.at for observation in seen), *hidden, *answered, MAX_STAMP_MS]
        is_plausible = all(0 <= (observation.doubted or 0) <= observation.at for observation in seen)
        return is_plausible and moments == sorted(moments) and 0 <= (self.unseen or 0) <= (self.answered or 0)


@dataclass(frozen=True, slots=True)
class Observations(SavedObservations):
    """What is known about the player from its states so far.

    Attributes:
        state: The current answer.
        now: Its moment on the timeline.
        interval: Milliseconds since the answer before it.
        stamp_ms: Its wall-clock time, in milliseconds since the epoch, UTC.
        monotonic_ms: Its time by the monotonic clock; None before the first answer.
    """

    state: PlayerState = NO_STATE
    now: int = 0
    interval: int = 0
    stamp_ms: int = 0
    monotonic_ms: int | None = None

    # Transitions

    def receive(self, state: PlayerState, stamp_ms: int, monotonic_ms: int) -> Observations:
        """Return these observations with the next answer as the current one."""
        interval, now = 0, max(self.answered or 0, stamp_ms)
        if self.monotonic_ms is not None:
            interval = max(0, monotonic_ms - self.monotonic_ms)
            now = self.now + interval
        seen = replace(self, state=state, now=now, interval=interval, answered=self.last_answered)
        return replace(seen, stamp_ms=stamp_ms, monotonic_ms=monotonic_ms)

    def keep(self, doubted: int | None = None) -> Observations:
        """Return these observations with the current answer as the last one with information."""
        state = self.state
        uri = "" if state.private else self.uri
        is_playing = state.playing and not state.private
        last = Observation(uri, self.now, state.progress_ms, is_playing, state.changed_ms, doubted)
        seen = replace(self, last=last, unseen=None, hidden=None, blind=False)
        if self.last is None or self.last.uri == uri:
            return seen
        return replace(seen, previous=self.last, left=_with_position(self.left, self.last))

    def ignore(self) -> Observations:
        """Return these observations with the current answer as one without information.

        A duplicate of the previous answer changes nothing.
        """
        is_twice = self.state.item is not None and self.elapsed <= JITTER_MS
        return self if self.unseen is not None or is_twice else replace(self, unseen=self.now)

    def hide(self) -> Observations:
        """Return these observations with the current answer as one from a private session."""
        return replace(self, hidden=PrivateSession(self.hidden.begun if self.hidden else self.now, self.now))

    def after_gap(self) -> Observations:
        """Return these observations with a gap between the current answer and the next."""
        if self.last is None:
            return self
        return replace(self, blind=True, unseen=self.last.at if self.unseen is None else self.unseen)

    # What the current answer means

    @property
    def uri(self) -> str:
        """The URI of the item; empty for an advertisement."""
        return "" if self.state.item is None else self.state.item.uri

    @property
    def duration_ms(self) -> int | None:
        """The duration of the item; None if unknown."""
        return None if self.state.item is None else self.state.item.duration_ms

    @property
    def last_answered(self) -> int | None:
        """When the newest answer came, possibly to an earlier process; None before the first."""
        return self.answered if self.monotonic_ms is None else self.now

    @property
    def last_at(self) -> int:
        """When information last came; `now` if never."""
        return self.now if self.last is None else self.last.at

    @property
    def elapsed(self) -> int:
        """Milliseconds since information last came."""
        return self.now - self.last_at

    @property
    def progress(self) -> int:
        """The last known position in milliseconds, 0 if unknown."""
        return 0 if self.last is None else self.last.progress_ms or 0

    @property
    def was_playing(self) -> bool:
        """Whether it was playing, not in private, when information last came."""
        return self.last is not None and self.last.playing

    @property
    def plays_on(self) -> bool:
        """Whether it was playing then, and is playing now."""
        return self.was_playing and self.state.playing

    @property
    def advanced(self) -> int | None:
        """By how many milliseconds the position differs from the last known one; None if unknown."""
        if self.last is None or self.last.progress_ms is None or self.state.progress_ms is None:
            return None
        return self.state.progress_ms - self.last.progress_ms

    @property
    def earliest_start(self) -> int | None:
        """The earliest moment at which a new item can have begun; None if there is no limit."""
        if self.answered is not None and self.unseen is not None and self.answered - self.unseen >= BLIP_MS:
            return self.answered
        return None if self.last is None else self.last.at

    def age_ms(self) -> int | None:
        """Return the milliseconds since the state changed, by Spotify's `timestamp`; None without one."""
        return None if self.state.changed_ms is None else self.stamp_ms - self.state.changed_ms

    def changed_within(self, earliest: int, latest: int) -> int | None:
        """Return when the state changed, by Spotify's `timestamp`; None unless within the two moments."""
        age = self.age_ms()
        return self.now - age if age is not None and earliest <= self.now - age <= latest else None

    def outlook(self, before: Observations) -> Outlook:
        """Return what to expect of the player, from the current answer and the one before it."""
        state, duration = self.state, self.duration_ms
        position, remaining, surprise = state.progress_ms, None, None
        if position is not None and duration is not None and position < duration:
            remaining = duration - position
        if not self.was_expected(before):
            is_new = before.uri != self.uri and position is not None
            surprise = min(position or 0, self.interval) if is_new else 0
        moves = state.playing and not self.is_stuck(before)
        return Outlook(moves, state.kind is StateKind.ADVERTISEMENT, position, remaining, surprise)

    def is_stuck(self, before: Observations) -> bool:
        """Return whether the player claims to play but does not advance (spotify/web-api#626)."""
        position = self.state.progress_ms
        is_same = before.state.playing and before.uri == self.uri and position is not None
        return is_same and before.state.progress_ms == position and self.interval > EXPECTED_TOLERANCE_MS

    def was_expected(self, before: Observations) -> bool:
        """Return whether the player just played on: the same item, or the next one after its end."""
        if not before.state.playing or not before.uri:
            return before.state.playing  # what follows an advertisement is never a choice
        position, position_before = self.state.progress_ms, before.state.progress_ms
        if position is None or position_before is None:
            return before.uri == self.uri
        expected = position_before + self.interval
        if before.uri == self.uri and abs(position - expected) <= EXPECTED_TOLERANCE_MS:
            return True
        if before.duration_ms is None:
            return False
        beyond_end = expected - before.duration_ms + near_end_ms(before.duration_ms)
        return beyond_end >= 0 and position <= beyond_end + EXPECTED_TOLERANCE_MS

    def is_stale(self) -> bool:
        """Return whether the answer repeats an earlier one, or lacks the progress that would show it."""
        last, previous, state = self.last, self.previous, self.state
        if previous is not None and previous.uri == self.uri and previous.changed_ms is not None:
            # A cached answer about the previous item, exactly repeated, while another already plays.
            return (previous.progress_ms, previous.changed_ms) == (state.progress_ms, state.changed_ms)
        if last is None or not last.uri or last.uri != self.uri or state.private:
            return False
        if state.progress_ms is None:
            return True
        advanced, step_back = self.advanced, step_back_ms(state.item)
        return self.plays_on and advanced is not None and -step_back <= advanced <= 0

    def may_be_over(self) -> bool:
        """Return whether an item that should have ended long ago is said to play: the answer may be stale."""
        duration, age, earliest = self.duration_ms, self.age_ms(), self.earliest_start
        if duration is None or age is None or not self.state.playing:
            return False
        if self.last is not None and self.last.doubted is not None and self.last.uri == self.uri:
            return False
        was_away = earliest is None or self.now - earliest > AWAY_MS
        return was_away and age > duration + AWAY_MS

    def natural_end(self, item: Item | None) -> int | None:
        """Return when the item that was playing would end if it simply played on; None if unknown."""
        last = self.last
        if last is None or not last.playing or last.progress_ms is None:
            return None
        if item is None or item.duration_ms is None:
            return None
        return last.at + max(0, item.duration_ms - last.progress_ms)

    def starts_again(self, item: Item | None) -> bool:
        """Return whether the item reached its end and is back near its beginning."""
        advanced, position = self.advanced, self.state.progress_ms or 0
        if advanced is None or item is None or item.duration_ms is None or advanced >= -step_back_ms(item):
            return False
        reached = self.progress + (self.elapsed if self.was_playing else 0)
        beyond_end = reached - item.duration_ms + near_end_ms(item.duration_ms)
        return beyond_end >= 0 and position <= beyond_end + JITTER_MS

    def played_on(self) -> bool:
        """Return whether the item advanced as the clock did: then it played, seen or not."""
        advanced = self.advanced
        return advanced is not None and self.plays_on and abs(advanced - self.elapsed) <= SEAMLESS_MS

    def came_back(self) -> bool:
        """Return whether the item was gone and plays from its beginning: then it was started again."""
        last, state = self.last, self.state
        if self.unseen is None or last is None or last.progress_ms is None or not state.playing:
            return False
        position = state.progress_ms or 0
        fell = position < last.progress_ms - step_back_ms(state.item)
        return fell and self.elapsed > AWAY_MS and position <= self.elapsed

    def played_since_last(self) -> int:
        """Return the milliseconds of the same item played since `last`: as a rule, advancing progress."""
        advanced, elapsed = self.advanced, self.elapsed
        if advanced is None:
            return 0
        if self.hidden is not None:
            # It turned private and public again somewhere between two answers each: half of that is public.
            return max(0, min(advanced, elapsed) - (self.hidden.ended - self.hidden.begun)) // 2
        if not self.was_playing and not self.state.playing:
            return advanced if JITTER_MS < advanced <= elapsed + JITTER_MS else 0
        if self.plays_on and self._sought_back(advanced):
            return elapsed
        if -step_back_ms(self.state.item) <= advanced <= elapsed + JITTER_MS:
            return max(0, advanced)
        return elapsed if self.plays_on else self._played_around_seek()

    def _sought_back(self, advanced: int) -> bool:
        """Return whether progress lags behind the clock because of a seek back rather than a pause.

        Episodes have a button for that. Otherwise the `timestamp` decides: if the position at the last change
        was behind that of `last`, a pause cannot explain it.
        """
        lag, item = self.elapsed - advanced, self.state.item
        if lag <= JITTER_MS:
            return False
        is_episode = item is not None and item.key.startswith("episode:")
        if is_episode and abs(lag - SKIP_BUTTON_MS) <= JITTER_MS:
            return True
        changed = self.changed_within(self.last_at, self.now)
        return changed is not None and advanced - (self.now - changed) < -JITTER_MS

    def _played_around_seek(self) -> int:
        """Return the milliseconds played where the position jumped, and it was paused or resumed as well."""
        changed = self.changed_within(self.last_at, self.now)
        if changed is None:
            return self.elapsed // 2
        return self.now - changed if self.state.playing else changed - self.last_at

    # A restart

    def to_plain(self) -> dict[str, object]:
        """Return what another process needs to continue, for JSON."""
        kept = {kept.name: getattr(self, kept.name) for kept in fields(SavedObservations)}
        return {**kept, "answered": self.last_answered}

    @classmethod
    def from_plain(cls, kept: object) -> Observations:
        """Return the observations from `to_plain`; damaged data counts as none."""
        memory = from_plain(SavedObservations, kept)
        if memory is None or not memory.is_in_order():
            return cls()
        return cls(*(getattr(memory, kept.name) for kept in fields(SavedObservations)))


def step_back_ms(item: Item | None) -> int:
    """Return how far progress may fall without a seek: less for short items, to not miss a repeat."""
    duration = None if item is None else item.duration_ms
    return STEP_BACK_MS if duration is None else min(STEP_BACK_MS, duration // 20)


def _with_position(left: dict[str, int], last: Observation) -> dict[str, int]:
    """Return the positions with that of the item just left as the newest."""
    if not last.uri or last.progress_ms is None:
        return left
    others = [(uri, position) for uri, position in left.items() if uri != last.uri]
    return dict([*others, (last.uri, last.progress_ms)][-MAX_POSITIONS:])
