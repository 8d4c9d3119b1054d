from __future__ import annotations

import json
import shlex
from collections import Counter
from contextlib import closing
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.periods import Period, Zone
from spotify_logger.core.play import TRACKDONE
from spotify_logger.queries import arguments, item_page
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS
from spotify_logger.report.blocks import BarChart, Columns, Sparkline, Table
from spotify_logger.storage.bulk import Archive
from tests.listened import CatalogItem, IndexedLog, data_of, drawn, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.embedded_server import EmbeddedServer

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
REMASTERED = CatalogItem(
    "track:remastered", "Veridis Quo (2021)", ["Daft Punk"], "Discovery", "r", "gbduw0000061"
)
AERODYNAMIC = CatalogItem("track:aero", "Aérodynamic", ["Daft Punk"], "Discovery", "d", "GBDUW0000055")
COVER = CatalogItem("track:cover", "Veridis Quo", ["Łukasz"], "Nocturnes", "n")
LIVE = CatalogItem("track:live", "Veridis Quo", ["Daft Punk"], "Alive", "a", "GBX")
IGOR = CatalogItem("track:igor", "Igor's Theme", ["Tyler, The Creator"], "IGOR", "i", "FR1")
DUET = CatalogItem("track:duet", "Duet", ["Air", "Daft Punk"], "Hits", "h", "FR2")
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Hits", "h", "FR3")
OTHER_HITS = CatalogItem("track:hit", "A Hit", ["Abba"], "Hits", "b", "FR4")
SHOUTED = CatalogItem("track:shout", "Shout", ["AIR"], "Shouts", "s", "FR5")
SUPPLY = CatalogItem("track:supply", "All Out of Love", ["Air Supply"], "Lost", "l", "FR6")
EPISODE = CatalogItem("episode:e", "Quo", ["Air"], "Discovery")
LIBRARY = (
    QUO,
    REMASTERED,
    AERODYNAMIC,
    COVER,
    LIVE,
    IGOR,
    DUET,
    SEXY,
    OTHER_HITS,
    SHOUTED,
    SUPPLY,
    EPISODE,
    CatalogItem("track:unknown"),
    CatalogItem("local:0123456789abcdef", "Demo", ["Me"], "Tapes"),
)


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    log = IndexedLog(redis_url, Zone("Europe/Berlin"), "2026-11-22 19:00")
    yield log
    log.store.close()


def ask(log: IndexedLog, kind: str, text: str, **more: object) -> Answer:
    return item_page.page(log.archive, log.ask(**more), kind, text)


def ask_of_2026(log: IndexedLog, kind: str, text: str, **more: object) -> Answer:
    """Of a year alone: quicker."""
    return ask(log, kind, text, **({"year": 2026} | more))


def found(answer: Answer) -> dict[str, object]:
    """Return the JSON of the thing that was found."""
    thing = data_of(answer)["found"]
    assert isinstance(thing, dict)
    return thing


def listed(answer: Answer) -> list[str]:
    """What is listed where several are meant."""
    candidates = data_of(answer)["candidates"]
    assert isinstance(candidates, list)
    return [f"{line['artists']} – {line['name']}".removeprefix(" – ") for line in candidates]


class TestWhichOne:
    @pytest.fixture(autouse=True)
    def history(self, log: IndexedLog) -> None:
        """Each of them was played, the first ones more often."""
        log.all(
            (item, f"2026-{min(number, 10):02}-{time:02} {number:02}:00", 200, TRACKDONE)
            for number, item in enumerate(LIBRARY, 1)
            for time in range(1, max(2, 15 - number))
        )

    @pytest.mark.parametrize(
        ("kind", "text", "name"),
        [
            (ARTISTS, "Daft Punk", "Daft Punk"),
            (ARTISTS, "daft PUNK", "Daft Punk"),
            (ARTISTS, "daft", "Daft Punk"),  # a part, but of one name alone
            (ARTISTS, "lukasz", "Łukasz"),
            (ARTISTS, "tyler, the creator", "Tyler, The Creator"),
            (ARTISTS, "air", "Air"),  # the whole name, which is a part of another one
            (ARTISTS, "AIR", "AIR"),
            (ALBUMS, "discovery", "Discovery"),
            (ALBUMS, "daft punk discovery", "Discovery"),
            (ALBUMS, "album:d", "Discovery"),
            (ALBUMS, "spotify:album:d", "Discovery"),
            (ALBUMS, "igor", "IGOR"),
            (ALBUMS, "abba hits", "Hits"),
            (TRACKS, "aerodynamic", "Aérodynamic"),
            (TRACKS, "aerodyn", "Aérodynamic"),
            (TRACKS, "lukasz veridis quo", "Veridis Quo"),
            (TRACKS, "Air, Daft Punk Duet", "Duet"),
            (TRACKS, "air duet", "Duet"),
            (TRACKS, "daft punk duet", "Duet"),
            (TRACKS, "punk aero", "Aérodynamic"),  # a part of both together
            (TRACKS, "veridis quo lukasz", "Veridis Quo"),  # the words of both in another order
            (ALBUMS, "discovery, daft punk", "Discovery"),
            (ARTISTS, "creator tyler", "Tyler, The Creator"),
            (TRACKS, "veridis quo (2021)", "Veridis Quo"),  # the same recording
            (TRACKS, "track:live", "Veridis Quo"),
            (TRACKS, "spotify:track:sexy", "Sexy Boy"),
            (TRACKS, "track:unknown", "track:unknown"),
        ],
    )
    def test_one_is_meant(self, log: IndexedLog, kind: str, text: str, name: str) -> None:
        answer = ask_of_2026(log, kind, text)
        assert listed(answer) == []
        assert found(answer)["name"] == name

    @pytest.mark.parametrize(
        ("kind", "text", "names"),
        [
            (ARTISTS, "a", ["Daft Punk", "Łukasz", "Tyler, The Creator", "Air", "Abba", "AIR", "Air Supply"]),
            (ALBUMS, "hits", ["Air – Hits", "Abba – Hits"]),
            (ALBUMS, "o", ["Daft Punk – Discovery", "Łukasz – Nocturnes", "Tyler, The Creator – IGOR"]),
            (TRACKS, "veridis quo", ["Daft Punk – Veridis Quo", "Łukasz – Veridis Quo"]),
            (TRACKS, "quo", ["Daft Punk – Veridis Quo", "Łukasz – Veridis Quo"]),  # no episode
            (TRACKS, "daft punk", ["Daft Punk – Veridis Quo", "Daft Punk – Aérodynamic"]),
        ],
    )
    def test_several_are_meant(self, log: IndexedLog, kind: str, text: str, names: list[str]) -> None:
        answer = ask_of_2026(log, kind, text)
        assert data_of(answer)["found"] is None
        assert set(names) <= set(listed(answer))
        assert [row["name"] for row in answer.csv_rows] == [
            name.rpartition(" – ")[2] for name in listed(answer)
        ]

    def test_how_to_tell_which(self, log: IndexedLog, monkeypatch: pytest.MonkeyPatch) -> None:
        assert drawn(ask_of_2026(log, TRACKS, "Veridis", limit=2), monkeypatch) == [
            "3 tracks match “Veridis”:",
            "",
            "track                    plays",
            "Daft Punk – Veridis Quo     25",
            "Łukasz – Veridis Quo        10",
            "",
            "and 1 more track",
            "",
            "tell which  spotify-logger track 'Daft Punk Veridis Quo'",
            "or          spotify-logger track track:quo",
        ]
        assert rows(ask_of_2026(log, ARTISTS, "ai")) == {"tell which": "spotify-logger artist Air"}
        assert rows(ask_of_2026(log, ALBUMS, "hits"))["or"] == "spotify-logger album album:h"

    def test_what_it_says_is_what_helps(self, log: IndexedLog) -> None:
        for kind, text in ((ARTISTS, "ai"), (ALBUMS, "hits"), (TRACKS, "veridis")):
            answer = ask_of_2026(log, kind, text)
            for command in rows(answer).values():
                options = arguments.parse(_words(command))
                again = ask_of_2026(log, options.kind, " ".join(options.text))
                assert (options.kind, found(again)["key"]) == (kind, answer.csv_rows[0]["key"])

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (ARTISTS, "discovery"),
            (ALBUMS, "aero"),
            (ALBUMS, "album:"),
            (TRACKS, "discovery"),
            (TRACKS, "quox"),
            (TRACKS, "quo discovery"),
        ],
    )
    def test_none_is_meant(self, log: IndexedLog, kind: str, text: str) -> None:
        answer = ask_of_2026(log, kind, text)
        assert answer.page == [f"No {kind[:-1]} with plays is called “{text}”: 2026."]
        assert (data_of(answer)["found"], listed(answer), answer.code) == (None, [], 0)

    def test_others_of_the_same_name(self, log: IndexedLog) -> None:
        answer = ask_of_2026(log, TRACKS, "daft punk veridis quo")
        assert found(answer)["plays"] == 25
        assert found(answer)["others"] == [{"text": "track:live", "plays": 9}]
        table = answer.page[-1]
        assert isinstance(table, Table)
        assert (table.headings[0], table.rows) == ("others with this name", [("track:live", "9")])

    def test_others_for_which_only_case_differs(self, log: IndexedLog) -> None:
        assert found(ask_of_2026(log, ARTISTS, "air"))["others"] == [{"text": "AIR", "plays": 4}]
        assert found(ask_of_2026(log, ARTISTS, "AIR"))["others"] == [{"text": "Air", "plays": 13}]

    def test_exact_tells_the_ids_apart(self, log: IndexedLog) -> None:
        answer = ask_of_2026(log, TRACKS, "track:quo", exact=True)
        assert found(answer)["plays"] == 13
        assert found(ask_of_2026(log, TRACKS, "track:quo"))["plays"] == 25

    def test_only_what_was_played_then(self, log: IndexedLog) -> None:
        answer = ask(log, TRACKS, "veridis quo", period=log.between("2026-04-01 00:00", "2026-05-01 00:00"))
        assert found(answer)["artists"] == "Łukasz"
        assert ask(log, TRACKS, "quo", year=2025).page == ["Nothing was played: 2025."]
        february = log.between("2026-02-01 00:00", "2026-03-01 00:00")
        assert ask(log, ARTISTS, "air", period=february).page == [
            "No artist with plays is called “air”: then."
        ]


def _words(command: str) -> list[str]:
    """The words of a command as a shell has them."""
    return shlex.split(command)[1:]


class TestFigures:
    def test_of_a_track(self, log: IndexedLog) -> None:
        log.to(SEXY, "2025-12-31 23:00")
        log.to(QUO, "2025-12-31 23:59:59")
        log.to(QUO, "2026-01-01 00:05")
        log.to(REMASTERED, "2026-01-01 00:10", 100, "unknown")
        log.skipped(QUO, "2026-01-01 00:15")
        log.skipped(SEXY, "2026-01-01 00:16")
        log.to(QUO, "2026-01-01 00:20")
        log.to(SEXY, "2026-01-01 00:25")
        log.to(QUO, "2026-01-01 00:30", 40, "skipped")
        log.to(DUET, "2026-01-01 00:35")
        log.to(QUO, "2026-01-01 00:40", 40, "open")
        answer = ask(log, TRACKS, "daft punk veridis quo")
        assert rows(answer) == {
            "track": "Daft Punk – Veridis Quo",
            "plays": "6 of at least 30 s, 1 other",
            "heard": "13 min",
            "rank": "1 of 3 tracks, 66.7 % of all plays",
            "skips": "2, 33.3 %",
            "first": "2025-12-31 23:59",
            "last": "2026-01-01 00:40",
            "most in a day": "5 on 2026-01-01",
            "most in a row": "4 from 2025-12-31 23:59",
        }
        ids = answer.page[1]
        assert isinstance(ids, Table)
        assert ids.rows == [("track:quo on Discovery", "5"), ("track:remastered on Discovery", "1")]
        thing = found(answer)
        assert {
            name: thing[name] for name in ("plays", "shorter", "skips", "heard_ms", "rank", "ranked")
        } == {
            "plays": 6,
            "shorter": 1,
            "skips": 2,
            "heard_ms": 785_000,
            "rank": 1,
            "ranked": 3,
        }
        assert thing["most_in_a_day"] == {"day": "2026-01-01", "plays": 5, "heard_ms": 585_000}
        assert thing["most_in_a_row"] == {"plays": 4, "from": "2025-12-31T22:59:59.000Z"}

    def test_of_a_track_with_one_id(self, log: IndexedLog) -> None:
        log.to(SEXY, "2026-06-01 12:00")
        answer = ask(log, TRACKS, "sexy boy", year=2026)
        assert rows(answer) == {
            "track": "Air – Sexy Boy",
            "album": "Hits",
            "key": "track:sexy",
            "stretch": "2026",
            "plays": "1 of at least 30 s, 0 others",
            "heard": "3 min",
            "rank": "1 of 1 track, 100.0 % of all plays",
            "skips": "0, 0.0 %",
            "first": "2026-06-01 12:00",
            "last": "2026-06-01 12:00",
            "most in a day": "1 on 2026-06-01",
        }

    def test_a_run_goes_on_from_day_to_day(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00")
        log.skipped(SEXY, "2026-06-02 12:00")
        log.to(QUO, "2026-06-03 12:00")
        labeled = rows(ask(log, TRACKS, "veridis quo"))
        assert labeled["most in a row"] == "2 from 2026-06-01 12:00"
        assert (labeled["first"], labeled["last"]) == ("2026-06-01 12:00", "2026-06-03 12:00")
        log.to(SEXY, "2026-06-02 13:00")
        assert "most in a row" not in rows(ask(log, TRACKS, "veridis quo"))

    def test_of_an_artist(self, log: IndexedLog) -> None:
        for minute, item in enumerate((QUO, QUO, REMASTERED, AERODYNAMIC, DUET, SEXY)):
            log.to(item, f"2026-06-01 12:0{minute}")
        answer = ask(log, ARTISTS, "daft punk", limit=2)
        labeled = rows(answer)
        assert (labeled["plays"], labeled["tracks"], labeled["albums"]) == (
            "5 of at least 30 s, 0 others",
            "3",
            "2",
        )
        columns = answer.page[1]
        assert isinstance(columns, Columns)
        assert columns.left.rows == [("1", "Veridis Quo", "3"), ("2", "Aérodynamic", "1")]
        assert columns.right.rows == [("1", "Discovery", "4"), ("2", "Hits", "1")]
        tracks = found(answer)["tracks"]
        assert isinstance(tracks, list)
        assert [(track["name"], track["plays"]) for track in tracks] == [
            ("Veridis Quo", 3),
            ("Aérodynamic", 1),
        ]

    def test_of_an_album_of_many_artists(self, log: IndexedLog) -> None:
        first = CatalogItem("track:one", "One", ["A"], "Now", "now")
        second = CatalogItem("track:two", "Two", ["B"], "Now", "now")
        for item, minute in ((second, 0), (first, 1), (second, 2)):
            log.to(item, f"2026-06-01 12:0{minute}")
        answer = ask(log, ALBUMS, "now")
        assert rows(answer)["album"] == "various artists – Now"
        tracks = answer.page[1]
        assert isinstance(tracks, Table)
        assert tracks.rows == [("1", "B – Two", "2"), ("2", "A – One", "1")]

    def test_by_time(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00", 60)
        log.to(QUO, "2026-06-01 12:10", 60)
        log.to(SEXY, "2026-06-01 12:20", 400)
        log.to(QUO, "2026-06-02 12:00", 250)
        answer = ask(log, TRACKS, "veridis quo", by="time")
        labeled = rows(answer)
        assert labeled["rank"] == "2 of 2 tracks, 48.1 % of all time heard"
        assert labeled["most in a day"] == "4 min on 2026-06-02"
        hours = answer.page[1]
        assert isinstance(hours, Sparkline)
        assert (hours.unit, hours.values[12]) == ("minutes", 6)

    def test_equals_share_a_rank(self, log: IndexedLog) -> None:
        for day, item in enumerate((QUO, SEXY, DUET, QUO), 1):
            log.to(item, f"2026-06-0{day} 12:00")
        log.skipped(COVER, "2026-06-05 12:00")
        ranks = [found(ask(log, TRACKS, item.key))["rank"] for item in (QUO, SEXY, DUET, COVER)]
        assert ranks == [1, 2, 2, None]

    def test_what_was_only_skipped(self, log: IndexedLog, monkeypatch: pytest.MonkeyPatch) -> None:
        log.skipped(COVER, "2026-06-05 12:00")
        answer = ask(log, TRACKS, "veridis quo")
        labeled = rows(answer)
        assert (labeled["plays"], labeled["skips"]) == ("0 of at least 30 s, 1 other", "1, 100.0 %")
        assert not {"rank", "first", "last", "most in a day", "most in a row"} & labeled.keys()
        assert drawn(answer, monkeypatch)

    @pytest.mark.parametrize(
        ("begin", "end", "periods"),
        [
            (None, None, ["2023", "2024", "2025", "2026"]),
            ("2023-01-01 00:00", "2026-01-01 00:00", ["2023"]),
            ("2026-01-01 00:00", "2027-01-01 00:00", ["2026-03", "2026-04", "2026-05"]),
        ],
    )
    def test_by_year_or_by_month(
        self, log: IndexedLog, begin: str | None, end: str | None, periods: list[str]
    ) -> None:
        for moment in (
            "2023-12-31 23:59:59",
            "2026-03-31 23:59:59",
            "2026-05-01 00:00:00",
            "2026-05-02 12:00",
        ):
            log.to(QUO, moment)
        more = {"period": log.between(begin, end)} if begin and end else {}
        answer = ask(log, TRACKS, "veridis quo", **more)
        labeled = found(answer)["periods"]
        assert isinstance(labeled, list)
        assert [period["period"] for period in labeled] == periods
        bars = [block for block in answer.page if isinstance(block, BarChart)]
        assert [[name for name, _, _ in block.rows] for block in bars] == (
            [periods] if len(periods) > 1 else []
        )
        if begin == "2026-01-01 00:00":
            assert bars[0].rows == [("2026-03", 1, "1"), ("2026-04", 0, "0"), ("2026-05", 2, "2")]

    def test_gaps(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00")
        log.gap("2026-06-02 12:00", "2026-06-02 14:00")
        answer = ask(log, ARTISTS, "daft punk")
        assert answer.page[-1] == "At least: 1 gap (2 h) was not observed."
        assert data_of(answer)["unseen"] == {"gaps": 1, "seconds": 7200}

    def test_for_programs(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-06-01 12:00")
        log.to(AERODYNAMIC, "2025-06-01 12:00")
        answer = ask(log, ARTISTS, "daft punk")
        assert json.loads(json.dumps(answer.data)) == answer.data
        assert len({tuple(row) for row in answer.csv_rows}) == 1
        assert [(row["what"], row["rank"], row["name"], row["plays"]) for row in answer.csv_rows] == [
            ("artist", 1, "Daft Punk", 2),
            ("period", None, "2025", 1),
            ("period", None, "2026", 1),
            ("track", 1, "Aérodynamic", 1),
            ("track", 2, "Veridis Quo", 1),
            ("album", 1, "Discovery", 2),
        ]

    def test_nothing_in_a_name_harms_a_terminal(
        self, log: IndexedLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(2):
            log.to(
                CatalogItem(f"track:{number}", f"\x1b[31m$(x) {number}", ["'; rm"]),
                f"2026-06-01 12:0{number}",
            )
        for text in ("rm", "\x1b[31m$(x)", "\x1b"):
            lines = drawn(ask(log, TRACKS, text), monkeypatch)
            assert all(line.isprintable() for line in lines)
        assert _words(rows(ask(log, TRACKS, "rm"))["tell which"]) == ["track", "'; rm \x1b[31m$(x) 0"]


class TestReading:
    @pytest.mark.parametrize(
        ("kind", "text", "times"),
        [
            (ARTISTS, "daft punk", 1),
            (ARTISTS, "supp", 1),
            (ALBUMS, "nocturnes", 1),
            (TRACKS, "sexy boy", 1),
            (TRACKS, "e", 1),  # too many: a list
            (TRACKS, "daft punk veridis quo", 2),  # there is another one of this name
        ],
    )
    def test_the_log_is_read_once_where_that_is_enough(
        self, log: IndexedLog, monkeypatch: pytest.MonkeyPatch, kind: str, text: str, times: int
    ) -> None:
        for number, item in enumerate(LIBRARY):
            log.to(item, f"2026-{number % 12 + 1:02}-01 12:{number:02}")
        read: list[object] = []
        rows_of_archive = Archive.rows

        def counted(self: Archive, begin: int = 0, end: int | None = None) -> Iterator[object]:
            read.append(begin)
            return rows_of_archive(self, begin, end)

        monkeypatch.setattr(Archive, "rows", counted)
        ask(log, kind, text)
        assert len(read) == times


# Random histories


class Play(NamedTuple):
    item: CatalogItem
    second: int
    heard: int


START = 1_774_650_000
"""28 March 2026, the day before clocks change in Berlin."""
one_of = st.sampled_from


@st.composite
def histories(draw: st.DrawFn) -> list[Play]:
    second, plays = START, []
    for _ in range(draw(st.integers(1, 30))):
        second += draw(one_of((1, 300, 3600, 20_000, 86_400, 30 * 86_400)))
        plays.append(Play(draw(one_of(LIBRARY)), second, draw(one_of((5, 30, 200)))))
    return plays


def belongs(kind: str, item: CatalogItem, other: CatalogItem) -> bool:
    """Whether an item has a thing of a kind in common with another one; for an artist, all of its artists."""
    if kind == ARTISTS:
        return set(other.artists) <= set(item.artists)
    if kind == ALBUMS:
        return (item.album, item.artists[:1]) == (other.album, other.artists[:1])
    return item is other or (bool(item.isrc) and item.isrc.upper() == other.isrc.upper())


@settings(max_examples=60, deadline=None)
@given(
    plays=histories(),
    wanted=one_of([item for item in LIBRARY[:11] if len(item.artists) == 1]),
    data=st.data(),
)
def test_what_is_followed_is_what_was_played(
    redis_server: EmbeddedServer, plays: Sequence[Play], wanted: CatalogItem, data: st.DataObject
) -> None:
    kind = data.draw(one_of((ARTISTS, ALBUMS, TRACKS)))
    text = {ARTISTS: wanted.artists[0], ALBUMS: f"album:{wanted.album_id}", TRACKS: wanted.key}[kind]
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    zone = Zone("Europe/Berlin")
    log = IndexedLog(redis_server.url, zone, "2028-12-01 00:00")
    with closing(log.store):
        log.all((*play, TRACKDONE) for play in plays)
        answer = ask(log, kind, text, period=Period(START))
    own = [play for play in plays if play.item is not EPISODE and belongs(kind, play.item, wanted)]
    is_known = any(play.item is wanted for play in plays) or (kind == ARTISTS and own)
    if not is_known:
        return
    counted = [play for play in own if play.heard >= 30]
    days = Counter(zone.day(play.second) for play in counted)
    runs = groupby((play for play in plays if play.heard >= 30), lambda play: play in own)
    thing = found(answer)
    assert (thing["plays"], thing["shorter"]) == (len(counted), len(own) - len(counted))
    assert thing["heard_ms"] == 1000 * sum(play.heard for play in own)
    best = thing["most_in_a_day"]
    assert isinstance(best, dict)
    assert best["plays"] == max(days.values(), default=0)
    if counted:
        assert date.fromisoformat(best["day"]) == min(day for day, n in days.items() if n == best["plays"])
    run = thing["most_in_a_row"]
    assert isinstance(run, dict)
    assert run["plays"] == max((len(list(group)) for is_own, group in runs if is_own), default=0)
