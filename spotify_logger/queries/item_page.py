"""Answer `artist`, `album` and `track`: find the thing by its name, and report on it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.core.text import fold
from spotify_logger.queries.find import ItemMatch, ItemQuery, ItemSearch
from spotify_logger.queries.item_report import IDS, ItemReport, to_blocks, to_csv_row, to_csv_rows, to_json
from spotify_logger.queries.phrases import gap_note, nothing_played, unobserved_data
from spotify_logger.queries.question import PLAYS
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, groups_of, ranked
from spotify_logger.queries.reader import PlayReader
from spotify_logger.queries.top import NOUNS, VARIOUS, RankedLine, lines_of, totals
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, utc_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.storage.bulk import Archive


def page(archive: Archive, question: Question, kind: str, text: str) -> Answer:
    """Report on one thing, or list the candidates if several match.

    Args:
        archive: The log.
        question: The question to answer.
        kind: ARTISTS, ALBUMS or TRACKS.
        text: Its name or key, see `ItemQuery`.
    """
    reader = PlayReader(archive, question)
    search = ItemSearch(reader, ItemQuery(kind, text))
    lines = lines_of(kind, search.candidates, search.entries)
    is_one = len({fold(line.title) for line in lines}) == 1
    candidates = [] if is_one else [to_csv_row(line) for line in lines]
    data = {
        "kind": NOUNS[kind],
        "text": text,
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "by": question.by,
        "candidates": candidates,
        "found": None,
        "unseen": unobserved_data(reader),
    }
    if not lines:
        return Answer(data, [_not_found(search, question)])
    if not is_one:
        return Answer(data, _choice(search, lines, question.limit), csv_rows=candidates)
    found = _report(reader, search, lines)
    page = [*to_blocks(found), *gap_note(reader)]
    return Answer({**data, "found": to_json(found)}, page, csv_rows=to_csv_rows(found))


def _not_found(search: ItemSearch, question: Question) -> str:
    period, query = question.period, search.query
    if not search.entries:
        return nothing_played(period)
    when = "" if period == Period() else f": {period.words}"
    return f"No {NOUNS[query.kind]} with plays is called “{query.text}”{when}."


def _choice(search: ItemSearch, lines: Sequence[RankedLine], number: int) -> list[Block]:
    """Return the list of several candidates, and the commands that select one of them."""
    noun = NOUNS[search.query.kind]
    page: list[Block] = [
        f"{counted(len(lines), noun)} match “{search.query.text}”:",
        Table(
            [(line.title, f"{line.now.plays:,}") for line in lines[:number]], (noun, PLAYS), [1], flexible=0
        ),
    ]
    if len(lines) > number:
        page.append(f"and {counted(len(lines) - number, f'more {noun}')}")
    commands = [f"spotify-logger {noun} {shlex.quote(text)}" for text in _search_texts(search, lines[0])]
    return [*page, Table(list(zip(("tell which", "or"), commands, strict=False)))]


def _search_texts(search: ItemSearch, line: RankedLine) -> list[str]:
    """Return the search texts that match this thing only."""
    by_name = f"{line.artists} {line.name}".strip()
    return list(dict.fromkeys([*([] if line.artists == VARIOUS else [by_name]), _own_words(search, line)]))


def _own_words(search: ItemSearch, line: RankedLine) -> str:
    """Return the text that selects this thing among others with its name: its key, if it has one."""
    if search.query.kind == TRACKS:
        return line.now.keys[0]
    album = search.entries[line.now.keys[0]].album_id if search.query.kind == ALBUMS else ""
    return f"album:{album}" if album else f"{line.artists} {line.name}".strip()


def _report(reader: PlayReader, search: ItemSearch, lines: Sequence[RankedLine]) -> ItemReport:
    """Build the report on the first of several things with the same name."""
    question, line, kind = reader.question, lines[0], search.query.kind
    everything = [each.measure(question.by) for each in search.ranking if each.plays]
    place = 1 + sum(measure > line.now.measure(question.by) for measure in everything)
    return ItemReport(
        question,
        kind,
        line,
        search.follow(line.now),
        place if line.now.plays else None,
        len(everything),
        totals(search.tallies),
        _parts(reader, search, line.now.keys),
        [(_own_words(search, other), other.now.plays) for other in _others(search, lines)],
    )


def _others(search: ItemSearch, lines: Sequence[RankedLine]) -> list[RankedLine]:
    """Return things with the same name as the first one, ignoring case and accents."""
    less = lines_of(search.query.kind, search.matching(ItemMatch.EXACT), search.entries)
    name = fold(lines[0].title)
    alike = {line.now.group: line for line in (*lines, *less) if fold(line.title) == name}
    return list(alike.values())[1:]


def _parts(reader: PlayReader, search: ItemSearch, keys: Sequence[str]) -> dict[str, list[RankedLine]]:
    kind, by, exact = search.query.kind, reader.question.by, reader.question.exact
    own, entries = ItemCounts(), reader.entries(keys)
    for key in keys:
        own.plays[key], own.ms_played[key] = search.tallies.plays[key], search.tallies.ms_played[key]
    if kind == TRACKS:
        ids = ranked(own, {key: [key] for key in keys}, by, counted_only=False)
        return {IDS: [RankedLine(entries[each.keys[0]].album, "", each, None) for each in ids]}
    return {
        part: lines_of(part, ranked(own, groups_of(part, entries, exact=exact), by), entries)
        for part in ((TRACKS, ALBUMS) if kind == ARTISTS else (TRACKS,))
    }
