"""The expected answers: every figure computed from a plain list of plays, slowly and obviously.

Nothing here comes from the code under test, and nothing is fast: each figure goes through all plays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

Data = dict[str, object]
Gap = tuple[int, int, str]
HALF_AN_HOUR_MS = 1_800_000
ONE_DAY = timedelta(days=1)
KINDS = ("tracks", "artists", "albums", "shows")


@dataclass(frozen=True)
class ReferenceItem:
    """Something that can be played.

    `has_ids`: the catalog has the artists, rather than one name; `is_known`: it has an entry at all;
    `recording`: the ISRC of the recording that has its title and artists, where it has none itself.
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
    recording: str = ""

    @property
    def is_music(self) -> bool:
        return not self.key.startswith("episode:")

    @property
    def artists_text(self) -> str:
        return ", ".join(self.artists)

    @property
    def credited(self) -> list[str]:
        """The artists, each once."""
        if not self.artists:
            return []
        return list(dict.fromkeys(self.artists)) if self.has_ids else [self.artists_text]

    @property
    def first_artist(self) -> str:
        return self.credited[0] if self.artists else ""


@dataclass(frozen=True)
class ReferencePlay:
    """A play; `end` is "open" while it is not over."""

    second: int
    item: ReferenceItem
    ms_played: int
    end: str = "trackdone"
    device: str = "Kitchen"
    context: str = ""


class ReferencePeriod(NamedTuple):
    """A half-open range of seconds, and the first second of the period before it; None if there is none."""

    begin: int | None = None
    end: int | None = None
    earlier: int | None = None

    def has(self, second: int) -> bool:
        return (self.begin is None or self.begin <= second) and (self.end is None or second < self.end)

    @property
    def before(self) -> ReferencePeriod | None:
        return None if self.earlier is None else ReferencePeriod(self.earlier, self.begin)


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


def year(number: int, zone: str) -> ReferencePeriod:
    begin, end, earlier = (midnight(date(which, 1, 1), zone) for which in (number, number + 1, number - 1))
    return ReferencePeriod(begin, end, earlier)


# What counts


def counts(play: ReferencePlay, threshold: int | str) -> bool:
    """Return whether a play counts, by milliseconds heard, "half" or "finished"."""
    if threshold == "finished":
        return play.end == "trackdone"
    if threshold == "half":
        length = play.item.duration_ms
        return play.end == "trackdone" or bool(length and play.ms_played >= length / 2)
    return play.ms_played >= int(threshold)


@dataclass(frozen=True)
class ReferenceLog:
    """All plays and gaps in chronological order, and a question about them, asked at `now`.

    `exact`: every ID is counted separately.
    """

    plays: Sequence[ReferencePlay] = ()
    gaps: Sequence[Gap] = ()
    now: int = 0
    zone: str = "UTC"
    period: ReferencePeriod = ReferencePeriod()  # noqa: RUF009 - it never changes
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

    def alone(self) -> ReferenceLog:
        """Return the log without the period before."""
        return replace(self, period=ReferencePeriod(self.period.begin, self.period.end))

    # Sums

    def amounts(self, plays: Sequence[ReferencePlay]) -> tuple[int, int]:
        """Return the number of plays that count, and the milliseconds of all of them."""
        times = len([play for play in plays if counts(play, self.threshold)])
        return times, sum(play.ms_played for play in plays)

    def amount(self, plays: Sequence[ReferencePlay]) -> int:
        """Return the one of them by which things are ranked."""
        return self.amounts(plays)[1 if self.by == "time" else 0]

    def sums(self, plays: Sequence[ReferencePlay]) -> Data:
        return dict(zip(("plays", "heard_ms"), self.amounts(plays), strict=True))

    @property
    def bounds(self) -> Data:
        return {"from": iso(self.period.begin), "to": iso(self.period.end)}

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
        isrc = item.isrc.upper() or item.recording
        return item.key if self.exact or not isrc else isrc

    def album(self, item: ReferenceItem) -> tuple[str, str] | None:
        """An album is known by its name and artist; by its ID if several artists are on it."""
        if not item.album:
            return None
        on_it = {play.item.first_artist for play in self.plays if play.item.album_id == item.album_id}
        if item.album_id and (self.exact or len(on_it) > 1):
            return item.album, f"id {item.album_id}"
        return item.album, item.first_artist

    def things(self, kind: str, play: ReferencePlay) -> Sequence[object]:
        """Return the things of a kind that a play belongs to."""
        if kind == "devices":
            return [play.device or "unknown"]
        if kind == "contexts":
            return [play.context or "unknown"]
        if play.item.is_music != (kind != "shows"):
            return []
        if kind == "artists":
            return play.item.credited
        if kind == "tracks":
            return [self.track(play.item)]
        album = play.item.album if kind == "shows" else self.album(play.item)
        return [album] if album else []

    def most_played_item(self, plays: Sequence[ReferencePlay]) -> ReferenceItem:
        """Return the item with the most counting plays, then the most milliseconds, then the first key."""

        def order(item: ReferenceItem) -> tuple[int, int, str]:
            times, ms_played = self.amounts([play for play in plays if play.item == item])
            return -times, -ms_played, item.key

        return min({play.item for play in plays}, key=order)

    def most_first(self, plays: Sequence[ReferencePlay]) -> tuple[int, int]:
        times, ms_played = self.amounts(plays)
        return (-ms_played, -times) if self.by == "time" else (-times, -ms_played)

    def ranked(self, kind: str) -> list[tuple[object, list[ReferencePlay]]]:
        """Things that count at least once, the most played first, each with all its plays.

        Of equals, the one comes first that has the first key; of artists of one item, the first name.
        """
        things = {thing for play in self.counted for thing in self.things(kind, play)}
        found = [
            (thing, [play for play in self.inside if thing in self.things(kind, play)]) for thing in things
        ]
        return sorted(
            found, key=lambda each: (self.most_first(each[1]), self.first_key(kind, each[1]), str(each[0]))
        )

    def first_key(self, kind: str, plays: Sequence[ReferencePlay]) -> str:
        if kind in ("devices", "contexts"):
            return str(self.things(kind, plays[0])[0])
        return self.most_played_item(plays).key

    def line(self, kind: str, thing: object, own: Sequence[ReferencePlay]) -> Data:
        """Return a thing of a list."""
        name, artists = self._name(kind, thing, own)
        return {"name": name, "artists": artists, **self.sums(own), "key": self.first_key(kind, own)}

    def _name(self, kind: str, thing: object, own: Sequence[ReferencePlay]) -> tuple[str, str]:
        if kind == "tracks":
            item = self.most_played_item(own)
            return (item.name, item.artists_text) if item.is_known else (item.key, "")
        if kind == "albums":
            firsts = {play.item.first_artist for play in own}
            return own[0].item.album, firsts.pop() if len(firsts) == 1 else "various artists"
        if kind == "contexts":
            return self._context(str(thing))
        return str(thing), ""

    def _context(self, uri: str) -> tuple[str, str]:
        if uri.endswith(":collection"):
            return "Liked Songs", ""
        _, _, album_id = uri.rpartition(":album:")
        items = [play.item for play in self.plays if play.item.album_id == album_id]
        if not items:
            return uri.replace("spotify:album:", "https://open.spotify.com/album/"), ""
        return items[0].album, items[0].first_artist

    # The answers, as in JSON

    def of_kind(self, kind: str) -> list[ReferencePlay]:
        """Return the plays in the period that a list of a kind is about: music, or episodes."""
        is_any = kind in ("devices", "contexts")
        return [play for play in self.inside if is_any or play.item.is_music != (kind == "shows")]

    def top(self, kind: str) -> Data:
        everything = self.ranked(kind)
        return {
            "kind": kind,
            **self.bounds,
            "by": self.by,
            **self.sums(self.of_kind(kind)),
            "number": len(everything),
            "unseen": self.unseen(),
            "top": [
                {"rank": rank, **self._top_line(kind, thing, own)}
                for rank, (thing, own) in enumerate(everything, 1)
            ],
        }

    def _top_line(self, kind: str, thing: object, own: list[ReferencePlay]) -> Data:
        before = self.amounts([play for play in self.before if thing in self.things(kind, play)])
        is_compared, whole = self.period.before is not None, self.amount(self.of_kind(kind))
        return {
            **self.line(kind, thing, own),
            "share": round(self.amount(own) / whole, 6) if whole else 0.0,
            "plays_before": before[0] if is_compared else None,
            "heard_ms_before": before[1] if is_compared else None,
        }

    def stats(self) -> Data:
        variety = {kind: {thing for play in self.counted for thing in self.alone().things(kind, play)}
                   for kind in KINDS}  # fmt: skip
        sessions = self.sessions()
        longest = max(sessions, key=lambda session: (session[1] - session[0], -session[0]), default=None)
        session = longest and {"from": iso(longest[0] // 1000), "ms": longest[1] - longest[0]}
        return {
            **self.bounds,
            **self.sums(self.inside),
            "shorter": len(self.inside) - len(self.counted),
            **{kind: len(things) for kind, things in variety.items()},
            "new_tracks": len(variety["tracks"] - self.heard_before("tracks")),
            "new_artists": len(variety["artists"] - self.heard_before("artists")),
            "skips": len([play for play in self.inside if play.end == "skipped"]),
            "skip_rate": skip_rate(self.inside),
            "sessions": len(sessions),
            "longest_session": session,
            **self.days(),
            "unseen": self.unseen(),
        }

    def item(self, kind: str, thing: object) -> Data:
        """Return the figures of a track, an artist or an album."""
        own = [play for play in self.inside if thing in self.things(kind, play)]
        counted = [play for play in own if counts(play, self.threshold)]
        amounts, whole = [self.amount(each) for _, each in self.ranked(kind)], self.amount(self.of_kind(kind))
        hits = [play in counted for play in self.counted]
        runs = [next(n for n in range(len(hits) + 1) if not all(hits[at : at + n + 1]) or at + n == len(hits))
                for at in range(len(hits))]  # fmt: skip
        longest = max(runs, default=0)
        begins = [play.second for play in self.counted][runs.index(longest)] if longest else None
        by_day = {day: [play for play in own if day_of(play.second, self.zone) == day]
                  for day in sorted({day_of(play.second, self.zone) for play in own})}  # fmt: skip
        peak = max(by_day, key=lambda day: self.amount(by_day[day]))
        return {
            **self.sums(own),
            "shorter": len(own) - len(counted),
            "skips": len([play for play in own if play.end == "skipped"]),
            "skip_rate": skip_rate(own),
            "first": iso(min((play.second for play in counted), default=None)),
            "last": iso(max((play.second for play in counted), default=None)),
            "rank": 1 + len([each for each in amounts if each > self.amount(own)]) if counted else None,
            "ranked": len(amounts),
            "share": round(self.amount(own) / whole, 6) if whole else 0.0,
            "most_in_a_day": {"day": str(peak), **self.sums(by_day[peak])},
            "most_in_a_row": {"plays": longest, "from": iso(begins)},
            "hours": [
                {
                    "hour": hour,
                    **self.sums([play for play in own if shown(play.second, self.zone).hour == hour]),
                }
                for hour in range(24)
            ],
        }

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
        runs = [run_of_days(day, days) for day in days]
        yesterday = day_of(self.now, self.zone) - ONE_DAY
        return {
            "days": len(days),
            "longest_streak": streak(max(runs, key=len, default=[])),
            "current_streak": streak(next((run for run in runs if run[-1] >= yesterday), [])),
            "busiest_day": self._busiest_day(),
        }

    def _busiest_day(self) -> Data | None:
        """Return the first day with the most milliseconds."""
        by_day: dict[date, list[ReferencePlay]] = {}
        for play in self.inside:
            by_day.setdefault(day_of(play.second, self.zone), []).append(play)
        best = max(sorted(by_day), key=lambda day: self.amounts(by_day[day])[1], default=None)
        return None if best is None else {"day": str(best), **self.sums(by_day[best])}


def skip_rate(plays: Sequence[ReferencePlay]) -> float | None:
    """Return the share of skips among the plays that have ended."""
    ended = [play for play in plays if play.end != "open"]
    return round(len([play for play in ended if play.end == "skipped"]) / len(ended), 6) if ended else None


def run_of_days(first: date, days: Sequence[date]) -> list[date]:
    """Return the days in a row from one on."""
    run = [first]
    while run[-1] + ONE_DAY in days:
        run.append(run[-1] + ONE_DAY)
    return run


def streak(run: Sequence[date]) -> Data:
    return {"days": len(run), "from": str(run[0]) if run else None}


def iso(second: int | None) -> str | None:
    if second is None:
        return None
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
