"""Random logs with questions about them, and writing them to a real server, for the tests of queries."""

from __future__ import annotations

import argparse
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import redis
from hypothesis import strategies as st

from spotify_logger.core.redis_keys import row_value
from spotify_logger.core.times import to_iso
from spotify_logger.queries import question
from spotify_logger.storage.store import Store
from tests import reference
from tests.reference import Period, ReferenceItem, ReferenceLog, ReferencePlay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from spotify_logger.queries.question import Question
    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.reference import Gap

LogAndArguments = tuple[ReferenceLog, list[str]]
"""A log with a question about it, and the question as command-line arguments."""

QUO1 = ReferenceItem(
    "track:quo1", "Veridis Quo", ("Daft Punk",), "Discovery", "disc1", "GBDUW0000061", 345_000
)
QUO2 = ReferenceItem(
    "track:quo2", "Veridis Quo - Live", ("Daft Punk",), "Discovery", "disc2", "gbduw0000061", 344_999
)
QUO3 = ReferenceItem(
    "track:quo3", "Veridis Quo", ("Daft Punk",), "Discovery (Deluxe)", "disc3", "GBDUW0000061", None
)
AERO = ReferenceItem(
    "track:aero", "Aerodynamic", ("Daft Punk",), "Discovery", "disc1", "GBDUW0000055", 60_000
)
DEMO = ReferenceItem("local:0123456789abcdef", "Demo", ("Daft Punk",), "Discovery", has_ids=False)
DUET = ReferenceItem("track:duet", "Duet", ("Daft Punk", "Air", "Air"), "Hits", "hits", "", 200_000)
SEXY = ReferenceItem("track:sexy", "Sexy Boy", ("Air",), "Hits", "hits", "FRDUW0000001", 200_001)
HITS = ReferenceItem("track:hits", "Hits", ("Air",), "Hits", "hits2", "", 60_000)
IGOR = ReferenceItem("track:igor", "Igor", ("Tyler, The Creator",), "IGOR", "igor", "USQX91900001", 1)
FEATURE = ReferenceItem(
    "track:feat", "Feature", ("Air", "Tyler, The Creator"), "IGOR", "igor", "USQX91900002"
)
OLD = ReferenceItem("track:years", "Old", ("Air", "Daft Punk"), "Years", has_ids=False)
NAMELESS = ReferenceItem("track:nobody", "Untitled")
GONE = ReferenceItem("track:gone", is_known=False)
EPISODE = ReferenceItem("episode:one", "On Daft Punk", (), "A Show", duration_ms=3_600_000)
OTHER_EPISODE = ReferenceItem("episode:two", "Discovery", (), "Another Show", duration_ms=1_800_000)
GONE_EPISODE = ReferenceItem("episode:gone", is_known=False)

FAMILIES = (
    (QUO1, QUO2, QUO3),
    (QUO2, QUO1, AERO, DEMO),
    (DUET, SEXY, HITS),
    (DUET, SEXY, QUO1, OLD),
    (IGOR, FEATURE, SEXY),
    (GONE, NAMELESS, OLD, GONE_EPISODE),
    (EPISODE, OTHER_EPISODE, AERO),
)
"""Items that are easily confused: pressings, albums of several artists, names with commas."""
ENDS = ("trackdone", "trackdone", "skipped", "stopped", "unknown", "open")
HEARD_MS = (0, 1, 29_999, 30_000, 100_000, 172_500, 345_000, 1_799_000, 1_800_000)
HOUR, DAY = 3600, 86_400
PACES = (
    (1, 200, 200, 350, HOUR),
    (200, 1799, HOUR, 20_000, DAY),
    (350, DAY - 1, DAY, DAY, DAY + 1, 90_000),
    (200, HOUR, 3 * DAY, 28 * DAY, 31 * DAY),
)
"""Seconds from one play to the next: over an evening, days, months."""
DEVICES = ("Kitchen", "Phone", "")
CONTEXTS = ("spotify:album:disc1", "spotify:user:me:collection", "")

MOMENTS = {
    "Europe/Berlin": (1_162_083_600, 1_174_784_400),  # one hour more, one hour less
    "America/Sao_Paulo": (1_162_695_600, 1_172_368_800),  # a day that begins at 1:00; one with two 23:00
    "Africa/Cairo": (1_158_872_400, 1_177_624_800),  # the other way round
    "Australia/Lord_Howe": (1_162_049_400, 1_174_748_400),  # half an hour
    "America/Havana": (1_162_098_000, 1_173_589_200),  # a day with two midnights
    "Asia/Kolkata": (1_167_589_800, 1_172_687_400),  # half past six in the evening, in UTC
    "Pacific/Kiritimati": (1_167_559_200, 1_172_656_800),  # fourteen hours ahead
    "UTC": (1_167_609_600, 1_172_707_200),
}
"""When clocks change, or a year or a month begins; in the first years of Spotify, so that little is read."""

RULES: dict[int | str, str] = {
    30_000: "30s",
    0: "0",
    173_000: "173",
    29_000: "29s",
    "half": "half",
    "finished": "finished",
}
"""Thresholds for a play to count, and the values of --min for them."""


def logs(max_plays: int = 30) -> st.SearchStrategy[LogAndArguments]:
    """Logs with at most `max_plays` plays, generated from a seed: much faster than by Hypothesis."""
    return st.builds(
        lambda seed, plays: RandomLog(Random(seed), plays).case,
        st.integers(0, 2**40),
        st.integers(0, max_plays),
    )


class RandomLog:
    """A random log of plays around a clock change, and a random question.

    Args:
        chance: The random number generator.
        number: The number of plays.
    """

    def __init__(self, chance: Random, number: int) -> None:
        self._one_of = chance.choice
        self._zone = self._one_of(sorted(MOMENTS))
        self._plays = self._listened(number)
        self._now = self._last_second() + self._one_of((0, 1, HOUR, DAY, 40 * DAY))
        period, words = self._period()
        rule, by, exact = (
            self._one_of(tuple(RULES)),
            self._one_of(("plays", "time")),
            self._one_of((True, False, False)),
        )
        words = [
            *words,
            "--tz",
            self._zone,
            "--by",
            by,
            "--min",
            RULES[rule],
            *(["--exact"] if exact else []),
        ]
        gaps = self._gaps(period)
        self.case = ReferenceLog(self._plays, gaps, self._now, self._zone, period, rule, by, exact), words

    def _listened(self, number: int) -> list[ReferencePlay]:
        items = (*self._one_of(FAMILIES), *self._one_of(FAMILIES))
        ms_played = [self._one_of(HEARD_MS) for _ in range(3)]
        pace = self._one_of(PACES)
        second = self._one_of(MOMENTS[self._zone]) - self._one_of((0, 1, 600, 7200, DAY, 40 * DAY))
        plays: list[ReferencePlay] = []
        for _ in range(number):
            plays.append(self._play(second, items, ms_played))
            pause = plays[-1].ms_played // 1000 + 1800 + self._one_of((-1, 0, 1))
            second += self._one_of((*pace, pause))
        return plays

    def _play(self, second: int, items: Sequence[ReferenceItem], ms_played: Sequence[int]) -> ReferencePlay:
        return ReferencePlay(
            second,
            self._one_of(items),
            self._one_of(ms_played),
            self._one_of(ENDS),
            self._one_of(DEVICES),
            self._one_of(CONTEXTS),
        )

    def _last_second(self) -> int:
        return self._plays[-1].second if self._plays else MOMENTS[self._zone][0]

    def _some_second(self) -> int:
        return self._one_of(self._plays).second if self._plays else self._last_second()

    def _period(self) -> tuple[Period, list[str]]:
        """Return a period for the reference, and as command-line arguments."""
        zone, second = self._zone, self._some_second()
        day, moment = reference.day_of(second, zone), reference.shown(second, zone)
        kind = self._one_of(
            ("all", "year", "month", "last", "moment", "since", "until", "between", "between")
        )
        if kind == "year":
            return reference.year(day.year, zone), ["--year", f"{day:%Y}"]
        if kind == "month":
            return reference.month(day.replace(day=1), zone), ["--month", f"{day:%Y-%m}"]
        if kind == "last":
            number, unit = self._one_of(((2, "h"), (1, "d"), (5, "d"), (2, "w"), (1, "m"), (1, "y")))
            return reference.last(number, unit, self._now, zone), ["--last", f"{number}{unit}"]
        if kind == "moment":
            return Period(reference.first_second(moment, zone)), ["--since", moment.isoformat()]
        return self._between(kind, day) if kind != "all" else (Period(), [])

    def _between(self, kind: str, day: date) -> tuple[Period, list[str]]:
        last = day + timedelta(days=self._one_of((0, 1, 4, 30)))
        begin = reference.midnight(day, self._zone)
        end = reference.midnight(last + timedelta(days=1), self._zone)
        since, until = ["--since", f"{day}"], ["--until", f"{last}"]
        if kind == "between":
            return Period(begin, end, begin - (end - begin)), since + until
        return (Period(begin), since) if kind == "since" else (Period(None, end), until)

    def _gaps(self, period: Period) -> list[Gap]:
        """Return gaps around a play and around the bounds of the period, some ending exactly there."""
        moments = [second for second in (self._some_second(), period.begin, period.end, self._now) if second]
        found: dict[int, Gap] = {}
        for _ in range(self._one_of((0, 1, 3))):
            begin = self._one_of(moments) + self._one_of((-HOUR, -100, 0, 50))
            found[begin] = (begin, begin + self._one_of((60, 100, HOUR, 2 * HOUR)), "offline")
        return [found[begin] for begin in sorted(found)]


def write(server: EmbeddedServer, log: ReferenceLog, *, is_old: bool = False) -> Store:
    """Write a log to an empty server, as the daemon does; an old index does not record unknown ends."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    store = Store(server.url, "me:", utc=lambda: log.now)
    with store.batch() as batch:
        for play in log.plays:
            end = None if play.end == "open" else play.end
            row = row_value(play.item.key, play.ms_played, end)
            batch.write_play(play.second, _hash(play), row.removesuffix(" unknown") if is_old else row)
        for item in {play.item for play in log.plays if play.item.is_known}:
            batch.write_catalog(item.key, _entry(item))
        for begin, end_second, reason in log.gaps:
            texts = {"from": to_iso(begin * 1000), "to": to_iso(end_second * 1000), "reason": reason}
            batch.write_gap(begin, texts)
    return store


def _hash(play: ReferencePlay) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"uri": f"spotify:{play.item.key}", "ms_played": play.ms_played}
    texts = {"device_name": play.device, "context_uri": play.context}
    texts["end_reason"] = "" if play.end == "open" else play.end
    return fields | {name: text for name, text in texts.items() if text}


def _entry(item: ReferenceItem) -> dict[str, str | int]:
    ids = " ".join(f"id{number}" for number, _ in enumerate(item.artists)) if item.has_ids else ""
    texts: dict[str, str | int] = {
        "name": item.name,
        "artists": item.artists_text,
        "artist_ids": ids,
        "album": item.album,
        "album_id": item.album_id,
        "isrc": item.isrc,
        "duration_ms": item.duration_ms or "",
    }
    return {name: value for name, value in texts.items() if value}


def question_from(log: ReferenceLog, words: Sequence[str]) -> Question:
    """Parse command-line arguments into a question."""
    parser = argparse.ArgumentParser()
    question.add_period(parser)
    question.add_threshold(parser)
    question.add_ranking(parser)
    return question.from_options(parser.parse_args(words), log.now)
