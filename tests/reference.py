"""The expected answers: every figure computed from a plain list of plays, slowly and obviously.

Nothing here comes from the code under test, and nothing is fast: each figure goes through all plays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Data = dict[str, object]
Gap = tuple[int, int, str]
HALF_AN_HOUR_MS = 1_800_000
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ReferenceItem:
    """Something that can be played.

    `has_ids`: the catalog has the IDs of the artists; `is_known`: it has an entry at all.
    """

    key: str
    name: str = ""
    artists: tuple[str, ...] = ()
    album: str = ""
    album_id: str = ""
    isrc: str = ""
    duration_ms: int | None = 200_000
    has_ids: bool = True
    is_known: bool = True

    @property
    def is_music(self) -> bool:
        return not self.key.startswith("episode:")

    @property
    def artists_text(self) -> str:
        return ", ".join(self.artists)

    @property
    def credited(self) -> list[str]:
        """The artists, each once, as far as the catalog can tell them apart."""
        if not self.artists:
            return []
        can_be_told = self.has_ids and not any(", " in name for name in self.artists)
        return list(dict.fromkeys(self.artists)) if can_be_told else [self.artists_text]

    @property
    def first_artist(self) -> str:
        return self.credited[0] if self.artists else ""

    def known(self) -> ReferenceItem:
        """Return the item as the catalog knows it."""
        return self if self.is_known else ReferenceItem(self.key, duration_ms=None)


@dataclass(frozen=True)
class ReferencePlay:
    """A play; `end` is "open" while it is not over."""

    second: int
    item: ReferenceItem
    ms_played: int
    end: str = "trackdone"
    device: str = "Kitchen"
    context: str = ""


class Period(NamedTuple):
    """A half-open range of seconds, and the first second of the period before it; None if there is none."""

    begin: int | None = None
    end: int | None = None
    earlier: int | None = None

    def has(self, second: int) -> bool:
        return (self.begin is None or self.begin <= second) and (self.end is None or second < self.end)

    @property
    def before(self) -> Period | None:
        return None if self.earlier is None else Period(self.earlier, self.begin)


# Clocks


@cache
def shown(second: int, zone: str) -> datetime:
    """Return the local time in a zone."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def day_of(second: int, zone: str) -> date:
    return shown(second, zone).date()


def first_second(moment: datetime, zone: str) -> int:
    """The first second at which clocks show a moment; the one at which they leave it out."""
    as_utc = int(moment.replace(tzinfo=UTC).timestamp())
    near = range(as_utc - 30 * 3600, as_utc + 30 * 3600, 900)
    offsets = {int((shown(second, zone) - shown(second, "UTC")).total_seconds()) for second in near}
    found = [as_utc - offset for offset in offsets if shown(as_utc - offset, zone) == moment]
    if found:
        return min(found)
    later = next(second for second in near if shown(second, zone) > moment)
    return next(second for second in range(later - 900, later + 1) if shown(second, zone) > moment)


def midnight(day: date, zone: str) -> int:
    return first_second(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001 - what clocks show


def year(number: int, zone: str) -> Period:
    begin, end, earlier = (midnight(date(which, 1, 1), zone) for which in (number, number + 1, number - 1))
    return Period(begin, end, earlier)


def month(first: date, zone: str) -> Period:
    after, before = (first + 31 * ONE_DAY).replace(day=1), (first - ONE_DAY).replace(day=1)
    return Period(*(midnight(day, zone) for day in (first, after, before)))


def day(which: date, zone: str) -> Period:
    return Period(*(midnight(day, zone) for day in (which, which + ONE_DAY, which - ONE_DAY)))


def last(number: int, unit: str, now: float, zone: str) -> Period:
    end = int(now) + 1
    return Period(_back(end, number, unit, zone), end, _back(end, 2 * number, unit, zone))


def _back(second: int, number: int, unit: str, zone: str) -> int:
    if unit == "h":
        return second - number * 3600
    moment = shown(second, zone)
    if unit in ("d", "w"):
        return first_second(moment - number * ONE_DAY * (7 if unit == "w" else 1), zone)
    first = moment.replace(day=1)
    for _ in range(number * (12 if unit == "y" else 1)):
        first = (first - ONE_DAY).replace(day=1)
    while first.day < moment.day and (first + ONE_DAY).month == first.month:  # 31 January, and then February
        first += ONE_DAY
    return first_second(first, zone)


# What counts


def counts(play: ReferencePlay, threshold: int | str) -> bool:
    """Return whether a play counts, by milliseconds heard, "half" or "finished"."""
    if threshold == "finished":
        return play.end == "trackdone"
    if threshold == "half":
        length = play.item.known().duration_ms
        return play.end == "trackdone" or bool(length and play.ms_played >= length / 2)
    return play.ms_played >= int(threshold)


@dataclass(frozen=True)
class ReferenceLog:
    """All plays, and a question about them.

    Attributes:
        plays: In chronological order.
        gaps: From, to, and the reason.
        now: The second at which the question is asked.
        zone: The time zone.
        period: The period of the question.
        threshold: How much has to be heard for a play to count.
        by: "plays" or "time".
        exact: Whether every ID is counted separately.
    """

    plays: Sequence[ReferencePlay] = ()
    gaps: Sequence[Gap] = ()
    now: int = 0
    zone: str = "UTC"
    period: Period = Period()  # noqa: RUF009 - it never changes
    threshold: int | str = 30_000
    by: str = "plays"
    exact: bool = False

    @cached_property
    def inside(self) -> list[ReferencePlay]:
        return [play for play in self.plays if self.period.has(play.second)]

    @cached_property
    def counted(self) -> list[ReferencePlay]:
        return [play for play in self.inside if counts(play, self.threshold)]

    @cached_property
    def before(self) -> list[ReferencePlay]:
        """The plays in the period before."""
        before = self.period.before
        return [play for play in self.plays if before is not None and before.has(play.second)]

    @property
    def ms_played(self) -> int:
        return sum(play.ms_played for play in self.inside)

    def on(self, period: Period) -> ReferenceLog:
        return replace(self, period=period)

    def unseen(self) -> Data:
        """Return the number of gaps from the first play on, and their seconds."""
        begin, end = self.period.begin, self.period.end
        if begin is None:
            if not self.inside:
                return {"gaps": 0, "seconds": 0}
            begin = min(play.second for play in self.inside)
        end = self.now if end is None else end
        parts = [min(to, end) - max(since, begin) for since, to, _ in self.gaps if since < end and to > begin]
        return {"gaps": len(parts), "seconds": sum(parts)}

    # What is ranked

    def track(self, item: ReferenceItem) -> str:
        return item.key if self.exact or not item.known().isrc else item.known().isrc.upper()

    def album(self, item: ReferenceItem, among: Sequence[ReferencePlay]) -> tuple[str, str] | None:
        """An album is known by its name and artist; by its id if several artists are on it."""
        known = item.known()
        if not known.album or not item.is_music:
            return None
        on_it = {play.item.first_artist for play in among if play.item.known().album_id == known.album_id}
        if known.album_id and (self.exact or len(on_it) > 1):
            return known.album, f"id {known.album_id}"
        return known.album, known.first_artist

    def things(self, kind: str, play: ReferencePlay) -> Sequence[object]:
        """Return the things of a kind that a play belongs to."""
        known = play.item.known()
        if kind == "devices":
            return [play.device or "unknown"]
        if kind == "contexts":
            return [play.context or "unknown"]
        if kind == "shows":
            return [known.album] if not known.is_music and known.album else []
        return self._music(kind, play.item) if known.is_music else []

    def _music(self, kind: str, item: ReferenceItem) -> Sequence[object]:
        if kind == "artists":
            return item.known().credited
        if kind == "tracks":
            return [self.track(item)]
        album = self.album(item, [*self.inside, *self.before])
        return [] if album is None else [album]

    def amounts(self, plays: Sequence[ReferencePlay]) -> tuple[int, int]:
        """Return the number of plays that count, and the milliseconds of all of them."""
        return len([play for play in plays if counts(play, self.threshold)]), sum(
            play.ms_played for play in plays
        )

    def most_first(self, plays: int, ms_played: int) -> tuple[int, int]:
        return (-ms_played, -plays) if self.by == "time" else (-plays, -ms_played)

    def most_played_item(self, plays: Sequence[ReferencePlay]) -> ReferenceItem:
        """Return the item with the most counting plays, then the most milliseconds, then the first key."""

        def order(item: ReferenceItem) -> tuple[int, int, str]:
            times, ms_played = self.amounts([play for play in plays if play.item == item])
            return -times, -ms_played, item.key

        return min({play.item for play in plays}, key=order)

    def ranked(self, kind: str) -> list[tuple[object, list[ReferencePlay]]]:
        """Things that count at least once, the most played first, each with all its plays.

        Of equals, the one comes first that has the first key; of artists of one item, the first name.
        """
        things = {thing for play in self.counted for thing in self.things(kind, play)}
        found = [
            (thing, [play for play in self.inside if thing in self.things(kind, play)]) for thing in things
        ]

        def order(each: tuple[object, list[ReferencePlay]]) -> tuple[int, int, str, str]:
            thing, plays = each
            return *self.most_first(*self.amounts(plays)), self.first_key(kind, plays), str(thing)

        return sorted(found, key=order)

    def first_key(self, kind: str, plays: Sequence[ReferencePlay]) -> str:
        if kind in ("devices", "contexts"):
            return str(self.things(kind, plays[0])[0])
        return self.most_played_item(plays).key

    # The answers, as in JSON

    def top(self, kind: str, number: int) -> Data:
        everything = self.ranked(kind)
        plays, ms_played = self.amounts(self.inside)
        return {
            "kind": kind,
            "from": iso(self.period.begin),
            "to": iso(self.period.end),
            "by": self.by,
            "plays": plays,
            "heard_ms": ms_played,
            "number": len(everything),
            "unseen": self.unseen(),
            "top": [
                {"rank": rank, **self._top_line(kind, thing, own)}
                for rank, (thing, own) in enumerate(everything[:number], 1)
            ],
        }

    def _top_line(self, kind: str, thing: object, own: list[ReferencePlay]) -> Data:
        plays, ms_played = self.amounts(own)
        part = (ms_played, self.ms_played) if self.by == "time" else (plays, len(self.counted))
        before = self.amounts([play for play in self.before if thing in self.things(kind, play)])
        is_compared = self.period.before is not None
        name, artists = self.called(kind, thing, own)
        return {
            "name": name,
            "artists": artists,
            "plays": plays,
            "heard_ms": ms_played,
            "share": round(part[0] / part[1], 6) if part[1] else 0.0,
            "plays_before": before[0] if is_compared else None,
            "heard_ms_before": before[1] if is_compared else None,
            "key": self.first_key(kind, own),
        }

    def called(self, kind: str, thing: object, own: list[ReferencePlay]) -> tuple[str, str]:
        if kind == "tracks":
            item = self.most_played_item(own)
            return (item.name, item.artists_text) if item.is_known else (item.key, "")
        if kind == "albums":
            firsts = {play.item.first_artist for play in own}
            return own[0].item.album, firsts.pop() if len(firsts) == 1 else "various artists"
        return "Liked Songs" if str(thing).endswith(":collection") else str(thing), ""

    def count(self, text: str) -> Data:
        items = {play.item for play in self.inside if play.item.is_known}
        ways: tuple[Callable[[str, ReferenceItem], bool], ...] = (is_whole, is_part, has_words)
        fits = next((way for way in ways if any(way(text, item) for item in items)), has_words)
        fitting = {item for item in items if fits(text, item)}
        named = {self.track(item) for item in fitting if fits(text, replace(item, album=""))}
        meant = fitting | {item for item in items if self.track(item) in named}
        tracks = [self._counted_track({item for item in meant if self.track(item) == track}, track)
                  for track in {self.track(item) for item in meant}]  # fmt: skip
        return {
            "text": text,
            "whole": fits is is_whole,
            "at_least_ms": self.threshold if isinstance(self.threshold, int) else None,
            "from": iso(self.period.begin),
            "to": iso(self.period.end),
            **self.play_summary([play for play in self.inside if play.item in meant]),
            "ranked": len(self.ranked("tracks")),
            "unseen": self.unseen(),
            "tracks": sorted(tracks, key=self._track_order),
        }

    def left_out(self, text: str) -> int:
        """Count the recordings that match a text less closely than those that are counted."""
        items = {play.item for play in self.inside if play.item.is_known}
        counted: list[Data] = self.count(text)["tracks"]  # type: ignore[assignment]
        meant = {self.track(item) for item in items for track in counted if item.key in str(track["keys"])}
        fitting = {item for item in items if is_part(text, item) or has_words(text, item)}
        return len({self.track(item) for item in fitting} - meant)

    def _track_order(self, track: Data) -> tuple[int, int, str, str]:
        plays, ms_played = int(str(track["plays"])), int(str(track["heard_ms"]))
        title = f"{track['artists'] or track['album']} – {track['name']}"
        return *self.most_first(plays, ms_played), title, str(track["keys"])

    def _counted_track(self, items: set[ReferenceItem], track: str) -> Data:
        plays = [play for play in self.inside if play.item in items]
        keys: list[str] = []
        while rest := [play for play in plays if play.item.key not in keys]:
            keys.append(self.most_played_item(rest).key)
        item = self.most_played_item(plays)
        about = {"keys": keys, "name": item.name, "artists": item.artists_text, "album": item.album}
        return {**about, **self.play_summary(plays), "rank": self.rank(track)}

    def rank(self, track: str) -> int | None:
        """One more than there are recordings with more plays, or more time."""
        amounts = {thing: self.amounts(plays) for thing, plays in self.ranked("tracks")}
        if track not in amounts:
            return None
        which = 1 if self.by == "time" else 0
        return 1 + len([1 for each in amounts.values() if each[which] > amounts[track][which]])

    def play_summary(self, plays: Sequence[ReferencePlay]) -> Data:
        """Summarize the plays of a track."""
        seconds = [play.second for play in plays if counts(play, self.threshold)]
        return {
            "plays": len(seconds),
            "shorter": len(plays) - len(seconds),
            "skips": len([play for play in plays if play.end == "skipped"]),
            "heard_ms": sum(play.ms_played for play in plays),
            "first": iso(min(seconds)) if seconds else None,
            "last": iso(max(seconds)) if seconds else None,
        }

    def stats(self) -> Data:
        inside, counted = self.inside, self.counted
        over = [play for play in inside if play.end != "open"]
        skips = [play for play in inside if play.end == "skipped"]
        variety = {kind: {thing for play in counted for thing in self.things_in_period(kind, play)}
                   for kind in ("tracks", "artists", "albums", "shows")}  # fmt: skip
        sessions = self.sessions()
        longest = max(sessions, key=lambda session: (session[1] - session[0], -session[0]), default=None)
        return {
            "from": iso(self.period.begin),
            "to": iso(self.period.end),
            "plays": len(counted),
            "shorter": len(inside) - len(counted),
            "heard_ms": self.ms_played,
            **{kind: len(things) for kind, things in variety.items()},
            "new_tracks": len(variety["tracks"] - self.heard_before("tracks")),
            "new_artists": len(variety["artists"] - self.heard_before("artists")),
            "skips": len(skips),
            "skip_rate": round(len(skips) / len(over), 6) if over else None,
            "sessions": len(sessions),
            "longest_session": longest
            and {"from": iso(longest[0] // 1000), "ms": longest[1] - longest[0]},
            **self.days(),
            "unseen": self.unseen(),
        }  # fmt: skip

    def things_in_period(self, kind: str, play: ReferencePlay) -> Sequence[object]:
        """Return the things of a kind that a play belongs to, regardless of the period before."""
        return self.on(Period(self.period.begin, self.period.end)).things(kind, play)

    def heard_before(self, kind: str) -> set[object]:
        """Return what was heard before the period, however briefly."""
        begin = self.period.begin
        earlier = [play for play in self.plays if begin is not None and play.second < begin]
        return {thing for play in earlier for thing in self.things(kind, play)}

    def sessions(self) -> list[tuple[int, int]]:
        """From and to in milliseconds: each begins with a play before which half an hour was silent."""
        heard = [
            (play.second * 1000, play.second * 1000 + play.ms_played)
            for play in self.inside
            if play.ms_played
        ]
        firsts = [
            start
            for start, _ in heard
            if all(start - end >= HALF_AN_HOUR_MS for begin, end in heard if begin < start)
        ]
        return [
            (first, max(end for begin, end in heard if first <= begin < after))
            for first, after in pairwise([*firsts, 10**15])
        ]

    def days(self) -> Data:
        """Return how the plays spread over the local days."""
        days = sorted({day_of(play.second, self.zone) for play in self.counted})
        runs = [self._run(day, days) for day in days]
        longest = max(runs, key=len, default=[])
        today = day_of(self.now, self.zone)
        lasting = next((run for run in runs if run[-1] >= today - ONE_DAY), [])
        heard = {day_of(play.second, self.zone) for play in self.inside}
        busiest = min(heard, key=lambda day: (-self._heard_on(day), day), default=None)
        return {
            "days": len(days),
            "longest_streak": _streak(longest),
            "current_streak": _streak(lasting),
            "busiest_day": busiest
            and {"day": str(busiest), "plays": self._plays_on(busiest), "heard_ms": self._heard_on(busiest)},
        }

    def _run(self, first: date, days: Sequence[date]) -> list[date]:
        """The days in a row from one on."""
        run = [first]
        while run[-1] + ONE_DAY in days:
            run.append(run[-1] + ONE_DAY)
        return run

    def _plays_on(self, day: date) -> int:
        return len([play for play in self.counted if day_of(play.second, self.zone) == day])

    def _heard_on(self, day: date) -> int:
        return sum(play.ms_played for play in self.inside if day_of(play.second, self.zone) == day)

    def day(self, which: date) -> Data:
        """A day: what began on it, and the gaps that reach into it."""
        plays = [play for play in self.plays if day_of(play.second, self.zone) == which]
        begin, end, _ = day(which, self.zone)
        end = min(end or 0, self.now)
        lines: list[tuple[int, int, object]] = [
            (play.second, 0, f"listening:{play.second}") for play in plays
        ]
        lines += [
            (since, 1, {"from": iso(since), "to": iso(to), "reason": reason})
            for since, to, reason in self.gaps
            if since < end and to > (begin or 0)
        ]
        times, ms_played = self.amounts(plays)
        timeline = [each for *_, each in sorted(lines, key=lambda line: line[:2])]
        return {"day": str(which), "plays": times, "heard_ms": ms_played, "timeline": timeline}

    def on_this_day(self) -> list[Data]:
        """Return what was played on the same date in earlier years, the latest first."""
        today = day_of(self.now, self.zone)
        days = {day_of(play.second, self.zone) for play in self.plays}
        same = [day for day in days if (day.month, day.day) == (today.month, today.day) and day < today]
        return [self._memory(day) for day in sorted(same, reverse=True)]

    def _memory(self, which: date) -> Data:
        plays = [play for play in self.plays if day_of(play.second, self.zone) == which]
        tracks = {self.track(play.item) for play in plays}
        best = min(
            ([play for play in plays if self.track(play.item) == track] for track in tracks),
            key=lambda own: (*self.most_first(*self.amounts(own)), self.most_played_item(own).key),
        )
        item = self.most_played_item(best)
        times, ms_played = self.amounts(plays)
        whose = item.artists_text or item.album
        named = (f"{whose} – {item.name}" if whose else item.name) if item.is_known else item.key
        return {"day": str(which), "plays": times, "heard_ms": ms_played, "most": named, "key": item.key}

    def week(self) -> list[Data]:
        """By hour of the week, Monday's first one first."""
        hours = [(weekday, hour) for weekday in range(7) for hour in range(24)]
        return [self._hour(weekday, hour) for weekday, hour in hours]

    def _hour(self, weekday: int, hour: int) -> Data:
        plays = [
            play
            for play in self.inside
            if (shown(play.second, self.zone).weekday(), shown(play.second, self.zone).hour)
            == (weekday, hour)
        ]
        times, ms_played = self.amounts(plays)
        name = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[weekday]
        return {"weekday": name, "hour": hour, "plays": times, "heard_ms": ms_played}


def _streak(run: Sequence[date]) -> Data:
    return {"days": len(run), "from": str(run[0]) if run else None}


def iso(second: int | None) -> str | None:
    if second is None:
        return None
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def is_whole(text: str, item: ReferenceItem) -> bool:
    """Whether a text is the whole title, album or artist; case aside."""
    names = (item.name, item.album, item.artists_text, *item.credited)
    return text.lower() in [name.lower() for name in names]


def is_part(text: str, item: ReferenceItem) -> bool:
    everything = f"{item.artists_text} {item.name} {item.album}".strip()
    return text.lower() in everything.lower()


def has_words(text: str, item: ReferenceItem) -> bool:
    """Whether each word of a text begins a word of the title, the album or an artist; case aside."""
    words = words_of(f"{item.artists_text} {item.name} {item.album}")
    return all(any(word.startswith(part) for word in words) for part in words_of(text))


def words_of(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())
