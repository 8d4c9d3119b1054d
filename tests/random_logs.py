"""Random logs with questions about them, and writing them to a real server, for the tests of queries."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import redis
from hypothesis import strategies as st

from spotify_logger.cli.commands import CommandParser
from spotify_logger.core.player_state import encode_artists
from spotify_logger.core.redis_keys import row_value
from spotify_logger.core.times import to_iso
from spotify_logger.queries import question
from spotify_logger.storage.bulk import Archive
from tests import reference
from tests.reference import ReferenceItem, ReferenceLog, ReferencePeriod, ReferencePlay

if TYPE_CHECKING:
    from collections.abc import Sequence

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
ACCOUNT = ReferenceItem(
    "local:fedcba9876543210", "AERODYNAMIC", ("Daft Punk",), has_ids=False, recording="GBDUW0000055"
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
GONE = ReferenceItem("track:gone", duration_ms=None, is_known=False)
EPISODE = ReferenceItem("episode:one", "On Daft Punk", (), "A Show", duration_ms=3_600_000)
OTHER_EPISODE = ReferenceItem("episode:two", "Discovery", (), "Another Show", duration_ms=1_800_000)
GONE_EPISODE = ReferenceItem("episode:gone", duration_ms=None, is_known=False)

FAMILIES = (
    (QUO1, QUO2, QUO3),
    (QUO2, QUO1, AERO, DEMO, ACCOUNT),
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
    "Australia/Lord_Howe": (1_162_049_400, 1_174_748_400),  # half an hour
    "America/Havana": (1_162_098_000, 1_173_589_200),  # a day with two midnights
    "Asia/Kolkata": (1_167_589_800, 1_172_687_400),  # half past six in the evening, in UTC
    "UTC": (1_167_609_600, 1_172_707_200),
}
"""When clocks change, or a year or a month begins; in the first years of Spotify, so that little is read."""

RULES: dict[int | str, str] = {30_000: "30s", 0: "0", 173_000: "173", "half": "half", "finished": "finished"}
"""Thresholds for a play to count, and the values of --min for them."""


def logs() -> st.SearchStrategy[LogAndArguments]:
    """Logs generated from a seed: much faster than by Hypothesis."""
    return st.builds(_random_log, st.integers(0, 2**40), st.integers(0, 30))


def _random_log(seed: int, number: int) -> LogAndArguments:
    """Return a log around a clock change, and a question about it."""
    chance = Random(seed)
    zone = chance.choice(sorted(MOMENTS))
    plays = _random_plays(chance, zone, number)
    second = chance.choice(plays).second if plays else MOMENTS[zone][0]
    last = plays[-1].second if plays else second
    now = last + chance.choice((0, 1, HOUR, DAY, 40 * DAY))
    period, words = _random_period(chance, zone, second)
    rule, by, exact = chance.choice([*RULES]), chance.choice(("plays", "time")), chance.random() < 0.3
    words = [*words, "--tz", zone, "--by", by, "--min", RULES[rule], *["--exact"] * exact]
    gaps = _random_gaps(chance, [each for each in (second, period.begin, period.end, now) if each])
    return ReferenceLog(plays, gaps, now, zone, period, rule, by, exact), words


def _random_plays(chance: Random, zone: str, number: int) -> list[ReferencePlay]:
    one_of = chance.choice
    items = (*one_of(FAMILIES), *one_of(FAMILIES))
    ms_played = [one_of(HEARD_MS) for _ in range(3)]
    pace = one_of(PACES)
    second = one_of(MOMENTS[zone]) - one_of((0, 1, 600, 7200, DAY, 40 * DAY))
    plays: list[ReferencePlay] = []
    for _ in range(number):
        heard = one_of(ms_played)
        plays.append(
            ReferencePlay(second, one_of(items), heard, one_of(ENDS), one_of(DEVICES), one_of(CONTEXTS))
        )
        second += one_of((*pace, heard // 1000 + 1800 + one_of((-1, 0, 1))))
    return plays


def _random_period(chance: Random, zone: str, second: int) -> tuple[ReferencePeriod, list[str]]:
    """Return a period around a second for the reference, and as command-line arguments."""
    day = reference.day_of(second, zone)
    last = day + timedelta(days=chance.choice((0, 1, 4, 30)))
    begin, end = reference.midnight(day, zone), reference.midnight(last + timedelta(days=1), zone)
    since, until = ["--since", f"{day}"], ["--until", f"{last}"]
    periods: tuple[tuple[ReferencePeriod, list[str]], ...] = (
        (ReferencePeriod(), []),
        (reference.year(day.year, zone), ["--year", f"{day:%Y}"]),
        (ReferencePeriod(begin), since),
        (ReferencePeriod(None, end), until),
        (ReferencePeriod(begin, end, begin - (end - begin)), since + until),
    )
    return chance.choice(periods)


def _random_gaps(chance: Random, seconds: Sequence[int]) -> list[Gap]:
    """Return gaps around some seconds, some ending exactly there."""
    found: dict[int, Gap] = {}
    for _ in range(chance.choice((0, 1, 3))):
        begin = chance.choice(seconds) + chance.choice((-HOUR, -100, 0, 50))
        found[begin] = (begin, begin + chance.choice((60, 100, HOUR, 2 * HOUR)), "offline")
    return [found[begin] for begin in sorted(found)]


def write(server: EmbeddedServer, log: ReferenceLog) -> Archive:
    """Write a log to an empty server, as the daemon does."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    store = Archive(server.url, "me:", utc=lambda: log.now)
    with store.batch() as batch:
        for play in log.plays:
            end = None if play.end == "open" else play.end
            batch.write_play(play.second, _hash(play), row_value(play.item.key, play.ms_played, end))
        for item in {play.item for play in log.plays if play.item.is_known}:
            batch.write_hash(item.key, _entry(item))
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
    artists = [(name, name.replace(" ", "-")) for name in item.artists] if item.has_ids else []
    texts: dict[str, str | int] = {
        "name": item.name,
        "artists": item.artists_text,
        "artist_ids": " ".join(each for _, each in artists),
        "artist_list": encode_artists(artists),
        "album": item.album,
        "album_id": item.album_id,
        "isrc": item.isrc,
        "duration_ms": item.duration_ms or "",
    }
    return {name: value for name, value in texts.items() if value}


def question_from(log: ReferenceLog, words: Sequence[str]) -> Question:
    """Parse command-line arguments into a question."""
    parser = CommandParser()
    parser.add_options(*question.RANKED)
    return question.from_values(vars(parser.parse_args(words)), log.now, "--")
