"""The expected heatmaps, year reviews and item pages; builds on `tests.reference`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from tests.reference import ONE_DAY, Data, Period, ReferenceLog, ReferencePlay, day_of, iso, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEST, NIGHT_ENDS = 5, 5
MUSIC = ("tracks", "artists")
KINDS = ("tracks", "artists", "albums", "shows")
LONGEST_BY_MONTH = 366 * 86_400 + 3600


def alone(log: ReferenceLog) -> ReferenceLog:
    """Return the log without the period before."""
    return log.on(Period(log.period.begin, log.period.end))


def _heading(log: ReferenceLog) -> Data:
    plays, ms_played = log.amounts(log.inside)
    bounds = {"from": iso(log.period.begin), "to": iso(log.period.end)}
    return {**bounds, "by": log.by, "plays": plays, "heard_ms": ms_played}


def clock(log: ReferenceLog) -> Data:
    return {**_heading(log), "week": log.week(), "unseen": log.unseen()}


def calendar(log: ReferenceLog, year: int) -> Data:
    """Every day of a year, up to today."""
    today, day, days = day_of(log.now, log.zone), date(year, 1, 1), []
    while day.year == year:
        own = [play for play in log.inside if day_of(play.second, log.zone) == day]
        plays, ms_played = log.amounts(own)
        if day <= today:
            days.append({"day": str(day), "plays": plays, "heard_ms": ms_played})
        day += ONE_DAY
    return {"year": year, **_heading(log), **log.days(), "calendar": days, "unseen": log.unseen()}


# A year in review


def review(log: ReferenceLog, year: int) -> Data:
    log = alone(log)
    stats, end = log.stats(), log.period.end
    before = {kind: log.heard_before(kind) for kind in MUSIC}
    new = (
        [each for each in log.ranked("tracks") if each[0] not in before["tracks"]]
        if any(before.values())
        else []
    )
    named = ("plays", "shorter", "skips", "heard_ms", "days", "sessions", "longest_session")
    return {
        "year": year,
        "over": end is not None and log.now >= end,
        "from": iso(log.period.begin),
        "to": iso(end),
        "by": log.by,
        **{name: stats[name] for name in (*named, "longest_streak", "busiest_day")},
        "new_tracks": stats["new_tracks"] if any(before.values()) else None,
        "new_artists": stats["new_artists"] if any(before.values()) else None,
        "first_play": _first(log.counted),
        "most_repeated": _repeated(log),
        "late_night": _late(log),
        "discovery": _cells(log, "tracks", *new[0]) if new else None,
        "months": [_month(log, f"{year}-{month:02}") for month in range(1, 13)],
        "top": {kind: [_cells(log, kind, *each) for each in log.ranked(kind)[:BEST]] for kind in KINDS},
        "unseen": log.unseen(),
    }


def _cells(log: ReferenceLog, kind: str, thing: object, own: Sequence[ReferencePlay], **more: object) -> Data:
    name, artists = log.called(kind, thing, list(own))
    plays, ms_played = log.amounts(own)
    cells = {"name": name, "artists": artists, "plays": plays, "heard_ms": ms_played, "when": None}
    return {**cells, "key": log.first_key(kind, own), **more}


def _first(plays: Sequence[ReferencePlay]) -> Data | None:
    if not plays:
        return None
    item = plays[0].item.known()
    cells = {"name": item.name, "artists": item.artists_text, "plays": None, "heard_ms": None}
    return {**cells, "when": iso(plays[0].second), "key": item.key}


def _repeated(log: ReferenceLog) -> Data | None:
    """The track that counts most often on one day; of equals, the one that was so often first."""
    found: list[tuple[int, int, object, str]] = []
    for play in log.counted:
        for track in log.things("tracks", play):
            day = day_of(play.second, log.zone)
            same = [
                other
                for other in log.counted
                if day_of(other.second, log.zone) == day and track in log.things("tracks", other)
            ]
            found.append((-len(same), play.second, track, str(day)))
    if not found or min(found)[0] > -2:
        return None
    plays, _, track, day_text = min(found)
    own = [play for play in log.inside if track in log.things("tracks", play)]
    return _cells(log, "tracks", track, own, plays=-plays, heard_ms=None, when=day_text)


def _late(log: ReferenceLog) -> Data | None:
    """The track that was played most between midnight and five."""
    night = only(log, [play for play in log.inside if shown(play.second, log.zone).hour < NIGHT_ENDS])
    ranked = night.ranked("tracks")
    return _cells(night, "tracks", *ranked[0]) if ranked else None


def only(log: ReferenceLog, plays: Sequence[ReferencePlay]) -> ReferenceLog:
    """The same question about some of the plays alone."""
    return replace(log, plays=plays, period=Period())


def _month(log: ReferenceLog, month: str) -> Data:
    plays, ms_played = log.amounts(
        [play for play in log.inside if str(shown(play.second, log.zone)).startswith(month)]
    )
    return {"month": month, "plays": plays, "heard_ms": ms_played}


# The page of one thing


@dataclass(frozen=True)
class ReferencePage:
    """The page of one thing; the log has no period before."""

    log: ReferenceLog
    kind: str
    thing: object

    @property
    def own(self) -> list[ReferencePlay]:
        return [play for play in self.log.inside if self.thing in self.log.things(self.kind, play)]

    def data(self, number: int) -> Data:
        """Return the JSON of the page, with at most `number` parts of each kind."""
        log, own = self.log, self.own
        summary = log.play_summary(own)
        over = [play for play in own if play.end != "open"]
        measure = 1 if log.by == "time" else 0
        amounts = [log.amounts(plays)[measure] for _, plays in log.ranked(self.kind)]
        return {
            **_line(log, self.kind, self.thing, own),
            **{name: summary[name] for name in ("shorter", "skips", "first", "last")},
            "skip_rate": round(int(str(summary["skips"])) / len(over), 6) if over else None,
            "rank": 1 + len([each for each in amounts if each > log.amounts(own)[measure]])
            if summary["plays"]
            else None,
            "ranked": len(amounts),
            "most_in_a_day": self._best_day(),
            "most_in_a_row": self._run(),
            "periods": self._periods(),
            "hours": self._hours(),
            **{part: lines[:number] for part, lines in self._parts().items()},
            "others": [],
        }

    def _on(self, days: Iterable[str]) -> list[tuple[str, int, int]]:
        """Return its plays on days, or in months or years."""
        times = [(str(day_of(play.second, self.log.zone)), play) for play in self.own]
        return [
            (day, *self.log.amounts([play for when, play in times if when.startswith(day)])) for day in days
        ]

    def _best_day(self) -> Data:
        days = self._on(sorted({str(day_of(play.second, self.log.zone)) for play in self.own}))
        measure = 2 if self.log.by == "time" else 1
        best = max(days, key=lambda day: day[measure])
        return dict(zip(("day", "plays", "heard_ms"), best, strict=True))

    def _run(self) -> Data:
        """The longest run of plays of it that count, with no other one that counts between them."""
        counted, own = self.log.counted, self.own
        runs = []
        for first, play in enumerate(counted):
            after = [place for place, other in enumerate(counted) if place >= first and other not in own]
            runs.append((-((after or [len(counted)])[0] - first), play.second))
        plays, begin = min(runs, default=(0, 0))
        return {"plays": -plays, "from": iso(begin) if plays else None}

    def _periods(self) -> list[Data]:
        begin, end, _ = self.log.period
        is_short = begin is not None and end is not None and end - begin <= LONGEST_BY_MONTH
        days = [day_of(play.second, self.log.zone) for play in self.own]
        names, day = [], min(days)
        while day <= max(days):
            names.append(str(day)[: 7 if is_short else 4])
            day += ONE_DAY
        periods = self._on(dict.fromkeys(names))
        return [dict(zip(("period", "plays", "heard_ms"), each, strict=True)) for each in periods]

    def _hours(self) -> list[Data]:
        hours = [
            (hour, [play for play in self.own if shown(play.second, self.log.zone).hour == hour])
            for hour in range(24)
        ]
        amounts = [(hour, *self.log.amounts(plays)) for hour, plays in hours]
        return [dict(zip(("hour", "plays", "heard_ms"), each, strict=True)) for each in amounts]

    def _parts(self) -> dict[str, list[Data]]:
        """An artist's tracks and albums, an album's tracks, and a track's ids."""
        own = only(self.log, self.own)
        if self.kind == "tracks":
            return {"ids": self._ids()}
        parts = ("tracks", "albums") if self.kind == "artists" else ("tracks",)
        return {part: [_line(own, part, *each) for each in own.ranked(part)] for part in parts}

    def _ids(self) -> list[Data]:
        lines = []
        for item in {play.item for play in self.own}:
            plays, ms_played = self.log.amounts([play for play in self.own if play.item == item])
            cells = {"name": item.known().album, "artists": "", "plays": plays, "heard_ms": ms_played}
            lines.append((self.log.most_first(plays, ms_played), item.key, {**cells, "key": item.key}))
        return [line for *_, line in sorted(lines, key=lambda line: line[:2])]


def _line(log: ReferenceLog, kind: str, thing: object, own: Sequence[ReferencePlay]) -> Data:
    cells = _cells(log, kind, thing, own)
    del cells["when"]
    return cells
