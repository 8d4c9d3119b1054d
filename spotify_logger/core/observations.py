"""What is known about the player so far. Pure: time comes in with each answer.

Moments are milliseconds on one timeline that follows the monotonic clock, so that a step of the wall clock
between two answers changes no duration. It starts at the wall-clock time of the first answer.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Self

from spotify_logger.core.play import Play, near_end_ms
from spotify_logger.core.player_state import NO_STATE, PlayerState, StateKind, whole_number
from spotify_logger.core.times import MAX_STAMP_MS
from spotify_logger.system.state import from_json, to_json

JITTER_MS = 750  # progress and clock may diverge by this much between two answers: requests take time
STEP_BACK_MS = 3_000  # a fall of progress that is not a seek: a device that takes over starts slightly behind
SKIP_BUTTON_MS = 15_000  # the buttons of a podcast jump this far back and forward
MAX_POSITIONS = (
    8  # items whose positions are remembered: podcasts and albums are resumed where they were left
)
BLIP_MS = 60_000  # answers may be empty for less than this while something plays (spotify/web-api#1158)
AWAY_MS = 120_000  # after this long, the same item at an earlier position is a new play, not a seek
SEAMLESS_MS = 5_000  # an item that starts this soon after the previous one could have ended followed directly


@dataclass(frozen=True, slots=True)
class Observation:
    """What is kept of an answer, to compare later ones with."""

    uri: str  # of the item; empty for an advertisement and in a private session
    at: int  # the moment of the answer
    progress_ms: int | None = None  # the position; None if the answer lacked it
    playing: bool = False  # in public
    changed_ms: int | None = None  # Spotify's `timestamp`
    doubted: int | None = None  # where the play would begin, if the answer proves not to be stale

    @classmethod
    def of_play(cls, play: Play) -> Self:
        """Return the last answer about a play, as far as the play itself records it."""
        progress, changed = (whole_number(play.fields.get(name)) for name in ("progress_ms", "timestamp"))
        return cls(play.item.uri, play.ended_ms, progress, play.fields.get("playing") == 1, changed)


@dataclass(frozen=True, slots=True)
class PrivateSession:
    """A private session, from the first answer that showed it to the last."""

    begun: int
    ended: int


@dataclass(frozen=True, slots=True)
class SavedObservations:
    """What is kept of the answers across a restart. The field names are keys of stored JSON."""

    play: tuple[int, int] | None = None  # the second and `ms_played` of the open play
    last: Observation | None = None  # the last answer that brought information
    previous: Observation | None = None  # the last one about the item before that of `last`
    unseen: int | None = None  # when the first answer without information came after `last`
    answered: int | None = None  # when the answer before the current one came
    hidden: PrivateSession | None = None  # the private session since `last`
    blind: bool = False  # whether there was a gap since `last`: what happened meanwhile is unknown
    left: dict[str, int] = field(default_factory=dict)  # the positions at which items were left, by URI

    def is_in_order(self) -> bool:
        """Return whether the moments are in chronological order; those of damaged JSON may not be."""
        seen = [observation for observation in (self.previous, self.last) if observation is not None]
        hidden = [] if self.hidden is None else [self.hidden.begun, self.hidden.ended]
        moments = [0, *(each.at for each in seen), *hidden, self.answered or 0, MAX_STAMP_MS]
        is_plausible = all(0 <= (each.doubted or 0) <= each.at for each in seen)
        return is_plausible and moments == sorted(moments) and 0 <= (self.unseen or 0) <= (self.answered or 0)


_SAVED = tuple(kept.name for kept in fields(SavedObservations))


@dataclass(frozen=True, slots=True)
class Observations(SavedObservations):
    """What is known about the player from its states so far."""

    state: PlayerState = NO_STATE  # the current answer
    before: PlayerState = NO_STATE  # the answer before it
    now: int = 0  # the moment of the current answer; before it came, that of the last one before a restart
    interval: int = 0  # milliseconds between these two
    stamp_ms: int = 0  # the same moment by the wall clock, in milliseconds since the epoch, UTC
    monotonic_ms: int | None = None  # and by the monotonic clock; None before the first answer

    def serialize(self) -> str:
        """Return the JSON that another process needs to continue."""
        return to_json({name: getattr(self, name) for name in _SAVED} | {"answered": self.now or None})

    @classmethod
    def restore(cls, memory: str) -> Self:
        """Return the observations from `serialize`; damaged JSON counts as none."""
        saved = from_json(SavedObservations, memory)
        if saved is None or not saved.is_in_order():
            return cls(play=None if saved is None else saved.play)
        return cls(**{name: getattr(saved, name) for name in _SAVED}, now=saved.answered or 0)

    def receive(self, state: PlayerState, stamp_ms: int, monotonic_ms: int) -> Self:
        """Return these observations with the next answer as the current one."""
        if self.monotonic_ms is None:
            interval, now = 0, max(self.now, stamp_ms)
        else:
            interval = max(0, monotonic_ms - self.monotonic_ms)
            now = self.now + interval
        seen = replace(self, before=self.state, state=state, answered=self.now or None)
        return replace(seen, now=now, interval=interval, stamp_ms=stamp_ms, monotonic_ms=monotonic_ms)

    def keep(self, doubted: int | None = None) -> Self:
        """Return these observations with the current answer as the last one with information."""
        state, last, previous, left = self.state, self.last, self.previous, self.left
        uri, is_playing = ("", False) if state.private else (state.uri, state.playing)
        if last is not None and last.uri != uri:
            previous = last
            if last.uri and last.progress_ms is not None:
                others = [(other, position) for other, position in left.items() if other != last.uri]
                left = dict([*others, (last.uri, last.progress_ms)][-MAX_POSITIONS:])
        kept = Observation(uri, self.now, state.progress_ms, is_playing, state.changed_ms, doubted)
        return replace(self, last=kept, previous=previous, left=left, unseen=None, hidden=None, blind=False)

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
        position, duration = self.state.progress_ms, self.state.duration_ms
        if position is None or duration is None or position >= duration:
            return None
        return duration - position

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

    def changed_within(self, earliest: int, latest: int) -> int | None:
        """Return when the state changed, by Spotify's `timestamp`; None unless within the two moments."""
        if self.state.changed_ms is None:
            return None
        changed = self.now - (self.stamp_ms - self.state.changed_ms)
        return changed if earliest <= changed <= latest else None

    def is_empty(self, play: Play | None) -> bool:
        """Return whether the answer says nothing, repeats an earlier one, or lacks what would show that."""
        last, previous, state = self.last, self.previous, self.state
        if state.kind is StateKind.NO_INFORMATION:
            return not state.private
        if self.starts_again(play):
            return False
        if previous is not None and previous.uri == state.uri and previous.changed_ms is not None:
            # A cached answer about the previous item, exactly repeated, while another already plays.
            return (previous.progress_ms, previous.changed_ms) == (state.progress_ms, state.changed_ms)
        if last is None or not last.uri or last.uri != state.uri or state.private:
            return False
        if self.advanced is None:
            return state.progress_ms is None
        stands_still = -step_back_ms(state.duration_ms) <= self.advanced <= 0
        return stands_still and self.was_playing and state.playing

    def may_be_over(self) -> bool:
        """Return whether an item that should have ended long ago is said to play: the answer may be stale."""
        last, state, earliest = self.last, self.state, self.earliest_start
        if state.duration_ms is None or state.changed_ms is None or not state.playing:
            return False
        if last is not None and last.doubted is not None and last.uri == state.uri:
            return False
        was_away = earliest is None or self.now - earliest > AWAY_MS
        return was_away and self.stamp_ms - state.changed_ms > state.duration_ms + AWAY_MS

    def natural_end(self, play: Play | None) -> int | None:
        """Return when a play that was playing would end if it simply played on; None if unknown."""
        last, duration = self.last, None if play is None else play.item.duration_ms
        if last is None or not last.playing or last.progress_ms is None or duration is None:
            return None
        return last.at + max(0, duration - last.progress_ms)

    def starts_again(self, play: Play | None) -> bool:
        """Return whether a play reached the end of its item, which is back near its beginning."""
        advanced, duration = self.advanced, None if play is None else play.item.duration_ms
        if advanced is None or duration is None or advanced >= -step_back_ms(duration):
            return False
        reached = self.progress + (self.elapsed if self.was_playing else 0)
        beyond_end = reached - duration + near_end_ms(duration)
        return beyond_end >= 0 and (self.state.progress_ms or 0) <= beyond_end + JITTER_MS

    def played_on(self) -> bool:
        """Return whether the item advanced as the clock did: then it played, seen or not."""
        if self.advanced is None or not self.was_playing or not self.state.playing:
            return False
        return abs(self.advanced - self.elapsed) <= SEAMLESS_MS

    def came_back(self) -> bool:
        """Return whether the item was gone and plays from its beginning: then it was started again."""
        last, state, position = self.last, self.state, self.state.progress_ms or 0
        if self.unseen is None or last is None or last.progress_ms is None or not state.playing:
            return False
        fell = position < last.progress_ms - step_back_ms(state.duration_ms)
        return fell and self.elapsed > AWAY_MS and position <= self.elapsed

    def played_since_last(self) -> int:  # noqa: PLR0911 - one for each case
        """Return the milliseconds of the same item played since `last`: as a rule, advancing progress."""
        advanced, elapsed = self.advanced, self.elapsed
        if advanced is None:
            return 0
        if self.hidden is not None:
            # It turned private and public again somewhere between two answers each: half of that is public.
            return max(0, min(advanced, elapsed) - (self.hidden.ended - self.hidden.begun)) // 2
        if not self.was_playing and not self.state.playing:
            return advanced if JITTER_MS < advanced <= elapsed + JITTER_MS else 0
        is_credible = -step_back_ms(self.state.duration_ms) <= advanced <= elapsed + JITTER_MS
        if self.was_playing and self.state.playing and (not is_credible or self._sought_back(advanced)):
            return elapsed
        if is_credible:
            return max(0, advanced)
        # The position jumped, and it was paused or resumed as well.
        changed = self.changed_within(self.last_at, self.now)
        if changed is None:
            return elapsed // 2
        return self.now - changed if self.state.playing else changed - self.last_at

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


def step_back_ms(duration: int | None) -> int:
    """Return how far progress may fall without a seek: less for short items, to not miss a repeat."""
    return STEP_BACK_MS if duration is None else min(STEP_BACK_MS, duration // 20)
