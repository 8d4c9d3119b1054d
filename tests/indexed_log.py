"""Plays in the index of a real Redis, and their catalog entries: everything that queries read."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.periods import Period, Zone, year
from spotify_logger.core.play import SKIPPED, TRACKDONE
from spotify_logger.core.player_state import encode_artists
from spotify_logger.core.redis_keys import OPEN, REVISIONS, day_of, index_key, row_value
from spotify_logger.core.times import to_iso
from spotify_logger.queries.index import Index
from spotify_logger.queries.question import Question
from spotify_logger.report.answers import Answer, Block, Note, Table, to_answer, write_answer
from spotify_logger.report.words import Cell, formatted
from spotify_logger.storage.bulk import Archive
from tests.report.samples import TerminalStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pytest

    from spotify_logger.storage.client import Command


class CatalogItem(NamedTuple):
    """The catalog entry of an item."""

    key: str
    name: str = ""
    artists: Sequence[str] = ()
    album: str = ""
    album_id: str = ""
    isrc: str = ""

    @property
    def fields(self) -> dict[str, str]:
        artists = [(name, "".join(filter(str.isalnum, name))) for name in self.artists]
        about = {"name": self.name, "album": self.album, "album_id": self.album_id, "isrc": self.isrc}
        found = {
            **about,
            "artists": ", ".join(self.artists),
            "artist_ids": " ".join(each for _, each in artists),
        }
        found["artist_list"] = encode_artists(artists)
        return {name: value for name, value in found.items() if value}


@dataclass
class IndexedLog:
    """A log, queried in a time zone at a local time."""

    url: str
    zone: Zone
    now: str
    prefix: str = ""

    def __post_init__(self) -> None:
        self.store = Archive(self.url, self.prefix, utc=lambda: self.second(self.now))

    def answer(self, query: Callable[..., object], *about: object, **more: object) -> Answer:
        """Ask a question of an index that is up to date; `more` is for `ask`."""
        question = self.ask(**more)
        with closing(Index(self.store)) as index:
            return to_answer(query(index.sync(), question, *about), question)

    def shown(self, result: object, now: float | None = None) -> Answer:
        """Return how the command shows the result of a query."""
        return to_answer(result, Question(self.second(self.now) if now is None else now))

    def second(self, moment: str) -> int:
        return self.zone.second(datetime.fromisoformat(moment))

    def to(self, item: CatalogItem, moment: str | int, heard: float = 200, end: str = TRACKDONE) -> None:
        """Add a play that starts at `moment` and was heard for `heard` seconds."""
        self.all([(item, moment, heard, end)])

    def all(self, plays: Iterable[tuple[CatalogItem, str | int, float, str]]) -> None:
        """Add many plays at once."""
        self.store.write([command for play in plays for command in self._commands(*play)])

    def _commands(self, item: CatalogItem, moment: str | int, heard: float, end: str) -> list[Command]:
        second = self.second(moment) if isinstance(moment, str) else moment
        row = row_value(item.key, round(heard * 1000), None if end == OPEN else end)
        fields = [part for pair in item.fields.items() for part in pair]
        catalog: list[Command] = [("HSET", self.store.key(item.key), *fields)] if fields else []
        day, revision = day_of(second), self.store.revision()
        return [
            ("HSET", self.store.key(index_key(day)), str(second), row),
            ("HSET", self.store.key(REVISIONS), str(day), revision),
            *catalog,
        ]

    def skipped(self, item: CatalogItem, moment: str) -> None:
        self.to(item, moment, 5, SKIPPED)

    def play(
        self, item: CatalogItem, moment: str, heard: float = 200, end: str = TRACKDONE, **more: str | int
    ) -> int:
        """Add a play with its hash, as the logger does; return its second."""
        second, milliseconds = self.second(moment), round(heard * 1000)
        fields: dict[str, str | int] = {
            **{name: text for name, text in item.fields.items() if name in ("name", "artists", "album")},
            "uri": f"spotify:{item.key}",
            "duration_ms": 345_000,
            "started_at": to_iso(second * 1000),
            "ended_at": to_iso(second * 1000 + milliseconds),
            "ms_played": milliseconds,
            "device_name": "Kitchen",
            "playing": 1,
            "progress_ms": milliseconds,
            **({} if end == OPEN else {"end_reason": end}),
            **more,
        }
        with self.store.batch() as batch:
            batch.write_play(second, fields, row_value(item.key, milliseconds, None if end == OPEN else end))
            batch.write_hash(item.key, item.fields)
        return second

    def gap(self, begin: str, end: str, reason: str = "offline") -> None:
        first, last = self.second(begin), self.second(end)
        with self.store.batch() as batch:
            gap_fields = {"from": to_iso(first * 1000), "to": to_iso(last * 1000), "reason": reason}
            batch.write_gap(first, gap_fields)

    def ask(self, **more: object) -> Question:
        """About all time, unless `year` or `period` says otherwise."""
        number = more.pop("year", None)
        if isinstance(number, int):
            more["period"] = year(self.zone, number)
        return Question(self.second(self.now), self.zone, **more)  # type: ignore[arg-type]

    def between(self, begin: str, end: str) -> Period:
        return Period(self.second(begin), self.second(end), "then")


def blocks(answer: Answer) -> list[Block]:
    """Return the blocks of the page, also those that are notes in a pipe."""
    return [block.block if isinstance(block, Note) else block for block in answer.page]


def for_people(cell: Cell) -> str:
    return formatted(cell).for_people


def rows(answer: Answer) -> dict[str, str]:
    """Return labels and values of all two-column tables without headings."""
    tables = [
        block
        for block in blocks(answer)
        if isinstance(block, Table) and not block.headings and not block.bars
    ]
    return {str(row[0]): for_people(row[1]) for table in tables for row in table.rows if len(row) == 2}


def table_rows(answer: Answer) -> list[list[str]]:
    """Return the rows of all tables."""
    return [
        [*map(for_people, row)] for block in blocks(answer) if isinstance(block, Table) for row in block.rows
    ]


def texts(answer: Answer) -> list[str]:
    return [block for block in blocks(answer) if isinstance(block, str)]


def drawn(answer: Answer, monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> list[str]:
    """Return the lines that a terminal shows."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "dumb")
    out = TerminalStream()
    write_answer(answer, out)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def data_of(answer: Answer) -> dict[str, object]:
    assert isinstance(answer.data, dict)
    return answer.data
