"""Random logs, questions about them, and a real server that holds them, for the tests of the answers."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

import redis
from hypothesis import strategies as st

from spotify_logger import questions
from spotify_logger.keyspace import row_value
from spotify_logger.plays import to_iso
from spotify_logger.store import Store
from tests import reference
from tests.reference import Item, Log, Play, Stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.embedded import EmbeddedServer
    from spotify_logger.questions import Question
    from tests.reference import Gap

Asking = tuple[Log, list[str]]
"""A log with a question about it, and the question in the words of the command."""

ITEMS = (
    Item("track:quo1", "Veridis Quo", ("Daft Punk",), "Discovery", "disc1", "GBDUW0000061", 345_000),
    Item("track:quo2", "Veridis Quo - Live", ("Daft Punk",), "Discovery", "disc2", "gbduw0000061", 344_999),
    Item("track:quo3", "Veridis Quo", ("Daft Punk",), "Discovery (Deluxe)", "disc3", "GBDUW0000061", None),
    Item("track:aero", "Aerodynamic", ("Daft Punk",), "Discovery", "disc1", "GBDUW0000055", 59_999),
    Item("track:duet", "Duet", ("Daft Punk", "Air", "Air"), "Hits", "hits", "", 200_000),
    Item("track:sexy", "Sexy Boy", ("Air",), "Hits", "hits", "FRDUW0000001", 200_001),
    Item("track:hits", "Hits", ("Air",), "Hits", "hits2", "", 60_000),
    Item("track:igor", "Igor", ("Tyler, The Creator",), "IGOR", "igor", "USQX91900001", 1),
    Item("track:feat", "Feature", ("Air", "Tyler, The Creator"), "IGOR", "igor", "USQX91900002"),
    Item("track:years", "Old", ("Air", "Daft Punk"), "Years", has_ids=False),
    Item("track:nobody", "Untitled", (), "", ""),
    Item("track:gone", is_known=False),
    Item("local:0123456789abcdef", "Demo", ("Air",), "Discovery", has_ids=False),
    Item("episode:one", "On Daft Punk", (), "A Show", duration_ms=3_600_000),
    Item("episode:two", "Discovery", (), "Another Show", duration_ms=1_800_000),
    Item("episode:gone", is_known=False),
)
ENDS = ("trackdone", "trackdone", "skipped", "stopped", "unknown", "open")
HEARD_MS = (0, 1, 29_999, 30_000, 30_001, 100_000, 172_500, 345_000, 1_799_000, 1_800_000, 90_000_000)
WAITS = (1, 30, 200, 200, 350, 1799, 3600, 20_000, 86_399, 86_400, 86_400, 90_000, 3 * 86_400, 28 * 86_400)
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
"""When clocks change, or a year or a month begins; in the first years of Spotify: less is to be read then."""

RULES: dict[int | str, str] = {
    30_000: "30s",
    0: "0",
    173_000: "173",
    29_000: "29s",
    "half": "half",
    "finished": "finished",
}
"""What counts as a play, and the words of the command for it."""

one_of = st.sampled_from


@st.composite
def logs(draw: st.DrawFn) -> Asking:
    """A log of listening around a moment at which clocks change, and a question."""
    zone = draw(one_of(sorted(MOMENTS)))
    second = draw(one_of(MOMENTS[zone])) - draw(one_of((0, 1, 600, 7200, 86_400, 40 * 86_400)))
    plays: list[Play] = []
    items = draw(st.lists(one_of(ITEMS), min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 25))):
        play = Play(
            second,
            draw(one_of(items)),
            draw(one_of(HEARD_MS)),
            draw(one_of(ENDS)),
            draw(one_of(DEVICES)),
            draw(one_of(CONTEXTS)),
        )
        plays.append(play)
        after_a_pause = play.heard_ms // 1000 + 1800 + draw(one_of((-1, 0, 1)))
        second += draw(one_of((*WAITS, after_a_pause)))
    now = second + draw(one_of((0, 3600, 86_400, 40 * 86_400)))
    stretch, words = draw(stretches(zone, now, plays))
    least: int | str = draw(one_of(tuple(RULES)))
    by, exact = draw(one_of(("plays", "time"))), draw(st.booleans())
    words = [*words, "--tz", zone, "--by", by, "--min", RULES[least], *(["--exact"] if exact else [])]
    return Log(plays, draw(gaps(plays, now)), now, zone, stretch, least, by, exact), words


def stretches(zone: str, now: int, plays: Sequence[Play]) -> st.SearchStrategy[tuple[Stretch, list[str]]]:
    """Stretches as the reference has them, and in the words of the command."""
    return one_of([play.second for play in plays] or [now]).flatmap(
        lambda second: (
            st.just((Stretch(), [])) | calendars(zone, second) | backwards(zone, now) | betweens(zone, second)
        )
    )


@st.composite
def calendars(draw: st.DrawFn, zone: str, second: int) -> tuple[Stretch, list[str]]:
    day = reference.day_of(second, zone)
    if draw(st.booleans()):
        return reference.year(day.year, zone), ["--year", f"{day:%Y}"]
    return reference.month(day.replace(day=1), zone), ["--month", f"{day:%Y-%m}"]


@st.composite
def backwards(draw: st.DrawFn, zone: str, now: int) -> tuple[Stretch, list[str]]:
    number, unit = draw(st.integers(1, 40)), draw(one_of("hdwmy"))
    return reference.last(number, unit, now, zone), ["--last", f"{number}{unit}"]


@st.composite
def betweens(draw: st.DrawFn, zone: str, second: int) -> tuple[Stretch, list[str]]:
    day = reference.day_of(second, zone)
    last = day + timedelta(days=draw(one_of((0, 0, 1, 30))))
    begin, end = reference.midnight(day, zone), reference.midnight(last + timedelta(days=1), zone)
    since, until = ["--since", f"{day}"], ["--until", f"{last}"]
    moment = reference.shown(second, zone)
    return draw(
        one_of(
            (
                (Stretch(begin), since),
                (Stretch(None, end), until),
                (Stretch(begin, end, begin - (end - begin)), since + until),
                (Stretch(reference.first_second(moment, zone)), ["--since", moment.isoformat()]),
            )
        )
    )


@st.composite
def gaps(draw: st.DrawFn, plays: Sequence[Play], now: int) -> list[Gap]:
    """Gaps that do not overlap, around some of the plays."""
    found: dict[int, Gap] = {}
    for second in draw(st.lists(one_of([play.second for play in plays] or [now]), max_size=2, unique=True)):
        begin = second + draw(one_of((-3600, -100, 0, 50)))
        found[begin] = (begin, begin + draw(one_of((60, 100, 7200))), "offline")
    return [found[begin] for begin in sorted(found)]


def write(server: EmbeddedServer, log: Log, *, is_old: bool = False) -> Store:
    """Put a log into an empty server, as the daemon does; an old index does not tell of unknown ends."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    store = Store(server.url, "me:", utc=lambda: log.now)
    with store.batch() as batch:
        for play in log.plays:
            end = None if play.end == "open" else play.end
            row = row_value(play.item.key, play.heard_ms, end)
            batch.write_play(play.second, _hash(play), row.removesuffix(" unknown") if is_old else row)
        for item in {play.item for play in log.plays if play.item.is_known}:
            batch.write_catalogue(item.key, _entry(item))
        for begin, end_second, reason in log.gaps:
            told = {"from": to_iso(begin * 1000), "to": to_iso(end_second * 1000), "reason": reason}
            batch.write_gap(begin, told)
    return store


def _hash(play: Play) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"uri": f"spotify:{play.item.key}", "ms_played": play.heard_ms}
    told = {"device_name": play.device, "context_uri": play.context}
    told["end_reason"] = "" if play.end == "open" else play.end
    return fields | {name: text for name, text in told.items() if text}


def _entry(item: Item) -> dict[str, str | int]:
    ids = " ".join(f"id{number}" for number, _ in enumerate(item.artists)) if item.has_ids else ""
    told: dict[str, str | int] = {
        "name": item.name,
        "artists": item.artists_text,
        "artist_ids": ids,
        "album": item.album,
        "album_id": item.album_id,
        "isrc": item.isrc,
        "duration_ms": item.duration_ms or "",
    }
    return {name: value for name, value in told.items() if value}


def asked(log: Log, words: Sequence[str]) -> Question:
    """The question that words make."""
    parser = argparse.ArgumentParser()
    questions.add_stretch(parser)
    questions.add_least(parser)
    questions.add_ranking(parser)
    return questions.read(parser.parse_args(words), log.now)
