"""The page of an artist, an album or a track: which one is meant, and all that is told of it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.core.text import fold
from spotify_logger.queries.find import How, Search, Wanted
from spotify_logger.queries.item_report import IDS, Portrait, blocks, cells, data_of, sheet
from spotify_logger.queries.phrases import at_least, nothing, unseen_data
from spotify_logger.queries.question import PLAYS
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, groups_of, ranked
from spotify_logger.queries.reader import Reading
from spotify_logger.queries.top import NOUNS, VARIOUS, Line, lines_of, sums
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, utc_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.storage.bulk import Archive


def page(archive: Archive, question: Question, kind: str, text: str) -> Answer:
    """The page of a thing; where several are meant, a list of these.

    Args:
        archive: The log.
        question: What is asked.
        kind: ARTISTS, ALBUMS or TRACKS.
        text: What it is called, see `Wanted`.
    """
    reading = Reading(archive, question)
    search = Search(reading, Wanted(kind, text))
    lines = lines_of(kind, search.candidates, search.entries)
    is_one = len({fold(line.title) for line in lines}) == 1
    candidates = [] if is_one else [cells(line) for line in lines]
    data = {
        "kind": NOUNS[kind],
        "text": text,
        "from": utc_time(question.stretch.begin),
        "to": utc_time(question.stretch.end),
        "by": question.by,
        "candidates": candidates,
        "found": None,
        "unseen": unseen_data(reading),
    }
    if not lines:
        return Answer(data, [_not_found(search, question)])
    if not is_one:
        return Answer(data, _choice(search, lines, question.number), sheet=candidates)
    found = _portrait(reading, search, lines)
    told = [*blocks(found), *at_least(reading)]
    return Answer({**data, "found": data_of(found)}, told, sheet=sheet(found))


def _not_found(search: Search, question: Question) -> str:
    stretch, wanted = question.stretch, search.wanted
    if not search.entries:
        return nothing(stretch)
    when = "" if stretch == Period() else f": {stretch.words}"
    return f"No {NOUNS[wanted.kind]} that was played is called “{wanted.text}”{when}."


def _choice(search: Search, lines: Sequence[Line], number: int) -> list[Block]:
    """What is said where several are meant: which ones, and how to ask for one of them."""
    noun = NOUNS[search.wanted.kind]
    page: list[Block] = [
        f"{counted(len(lines), noun)} match “{search.wanted.text}”:",
        Table([(line.title, f"{line.now.plays:,}") for line in lines[:number]], (noun, PLAYS), [1], wide=0),
    ]
    if len(lines) > number:
        page.append(f"and {counted(len(lines) - number, f'more {noun}')}")
    commands = [f"spotify-logger {noun} {shlex.quote(way)}" for way in _ways(search, lines[0])]
    return [*page, Table(list(zip(("tell which", "or"), commands, strict=False)))]


def _ways(search: Search, line: Line) -> list[str]:
    """What to ask for to see this thing and none of the others."""
    by_name = f"{line.about} {line.name}".strip()
    return list(dict.fromkeys([*([] if line.about == VARIOUS else [by_name]), _own_words(search, line)]))


def _own_words(search: Search, line: Line) -> str:
    """What to ask for to see this thing and no other of its name: its key, if it has one."""
    if search.wanted.kind == TRACKS:
        return line.now.keys[0]
    album = search.entries[line.now.keys[0]].album_id if search.wanted.kind == ALBUMS else ""
    return f"album:{album}" if album else f"{line.about} {line.name}".strip()


def _portrait(reading: Reading, search: Search, lines: Sequence[Line]) -> Portrait:
    """All that is told of the first one of things with the same name."""
    question, line, kind = reading.question, lines[0], search.wanted.kind
    everything = [each.measure(question.by) for each in search.ranking if each.plays]
    place = 1 + sum(measure > line.now.measure(question.by) for measure in everything)
    return Portrait(
        question,
        kind,
        line,
        search.follow(line.now),
        place if line.now.plays else None,
        len(everything),
        sums(search.tallies),
        _parts(reading, search, line.now.keys),
        [(_own_words(search, other), other.now.plays) for other in _others(search, lines)],
    )


def _others(search: Search, lines: Sequence[Line]) -> list[Line]:
    """Things with the same name as the first one, also those for which only case or accents differ."""
    less = lines_of(search.wanted.kind, search.fitting(How.EXACT), search.entries)
    name = fold(lines[0].title)
    alike = {line.now.group: line for line in (*lines, *less) if fold(line.title) == name}
    return list(alike.values())[1:]


def _parts(reading: Reading, search: Search, keys: Sequence[str]) -> dict[str, list[Line]]:
    kind, by, exact = search.wanted.kind, reading.question.by, reading.question.exact
    own, entries = ItemCounts(), reading.entries(keys)
    for key in keys:
        own.plays[key], own.heard[key] = search.tallies.plays[key], search.tallies.heard[key]
    if kind == TRACKS:
        ids = ranked(own, {key: [key] for key in keys}, by, counted=False)
        return {IDS: [Line(entries[each.keys[0]].album, "", each, None) for each in ids]}
    return {
        part: lines_of(part, ranked(own, groups_of(part, entries, exact=exact), by), entries)
        for part in ((TRACKS, ALBUMS) if kind == ARTISTS else (TRACKS,))
    }
