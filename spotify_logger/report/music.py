"""Show the answers about music: `top`, `compare`, `count`, and everything about one thing."""

import shlex
from collections.abc import Sequence
from itertools import chain, repeat

from spotify_logger.core.periods import Period
from spotify_logger.core.times import seconds_of
from spotify_logger.queries import compare, count, item_page, top
from spotify_logger.queries.question import PLAYS, TIME, Question, measure
from spotify_logger.queries.sql import NOUNS
from spotify_logger.report import answers, words
from spotify_logger.report.answers import Block, Chart, Columns, Note, Table, blocks, figures, gap_note
from spotify_logger.system.log import sanitize

FIGURES = ("plays", "shorter", "skips", "heard_ms", "first", "last", "rank")
COUNTED = ("name", "artists", "album", *FIGURES, "key")
CANDIDATE = ("name", "artists", "plays", "heard_ms", "key")
REPORTED = ("what", *CANDIDATE, "rank", "skips", "first", "last")


def _first(table: Table, limit: int) -> list[Block]:
    """Return the first rows of a table, and how many more there are."""
    more = len(table.rows) - limit
    notes = [Note(f"and {words.counted(more, f'more {table.headings[0]}')}")] if more > 0 else []
    return [table._replace(rows=table.rows[:limit]), *notes]


@blocks.register(top.Top)
def _(result: top.Top, question: Question) -> Sequence[Block]:
    noun, period, by = NOUNS[result.kind], question.period, result.by
    if not result.top:
        return [Note(f"No {noun} has plays {question.rule_words} ({period.words}).")]
    headings = ["", noun, "plays", "heard", "share", *([period.previous.words] if period.previous else [])]
    rows = []
    for line in result.top:
        now, before = measure(line, by), line.heard_ms_before if by == TIME else line.plays_before
        amounts = line.plays, words.heard(line.heard_ms), words.share(now, measure(result, by))
        row = line.rank, line.title, *amounts, words.change(now, before or 0, is_time=by == TIME)
        rows.append(row[: len(headings)])
    plays, number = words.counted(result.plays, "play"), words.counted(result.number, noun)
    total = f"{period.words}: {plays} {question.rule_words}, of {number}"
    in_all = f"{total}; {words.listening_time(result.heard_ms)} heard in all"
    return [Table(rows, headings, [0, 2, 3, 4, 5]), Note(in_all), *gap_note(result.unseen)]


@blocks.register(compare.Comparison)
def _(result: compare.Comparison, question: Question) -> list[Block]:
    names = [each["name"] or words.UNNAMED for each in result.listeners]
    both = [{**each, "heard": words.heard(each["heard_ms"])} for each in result.listeners]
    sums = [[name, *(each[name] for each in both)] for name in ("plays", "heard", "artists", "tracks")]
    in_common = ", ".join(f"{words.counted(number, NOUNS[kind])}" for kind, number in result.common.items())
    rows: list[list[words.Cell]] = []
    for noun, line in [*zip(repeat("artist"), result.artists), *zip(repeat("track"), result.tracks)]:
        amounts = map(words.heard, line.heard_ms) if question.by == TIME else line.plays
        left, right = (seconds_of(each) or 0 for each in line.first)
        first = "both" if left == right else names[left > right]
        day = question.zone.day(min(left, right))
        rows.append([line.rank, noun, line.name, *amounts, f"{first}, {day}"])
    return [
        Note(Table(sums, [question.period.words, *names], right_aligned=[1, 2], flexible=0)),
        Note(f"In common: {in_common}."),
        *([Table(rows, ["", "", "", *names, "first"], [0, 3, 4], flexible=2)] if rows else []),
    ]


@blocks.register(count.Count)
def _(result: count.Count, question: Question) -> list[Block]:
    tracks = result.tracks
    song = result.song if len(tracks) == 1 or not question.exact else None
    if not tracks:
        return [_not_found(result, question, f"Nothing matches “{result.text}”.")]
    rank = tracks[0].rank if len(tracks) == 1 else None
    what = song.title if song else words.phrase(len(tracks), "tracks")
    rows: list[answers.Row] = [("what", what), ("plays", result.plays), ("shorter", result.shorter)]
    rows += [("skipped", result.skips), ("heard", words.duration(result.heard_ms))]
    rows.append(("rank", rank and words.phrase(rank, "of", result.ranked, "tracks")))
    page: list[Block] = [figures(result, question, *rows, "first", "last")]
    if song:
        page += _editions(tracks)
    else:
        lines = [(it.title, it.plays, words.duration(it.heard_ms), it.rank, it.album) for it in tracks]
        headings = ("track", "plays", "heard", "rank", "album")
        table, *more = _first(Table(lines, headings, [1, 2, 3], flexible=0), question.limit)
        page += [Note(table), *more]
    if result.less_close:
        page.append(Note(f"Not counted: {words.counted(result.less_close, 'track')} matching less closely."))
    return [*page, *gap_note(result.unseen)]


def _editions(tracks: Sequence[count.CountedTrack]) -> list[Block]:
    """Return which editions of a song were counted together, if there are several."""
    found: dict[tuple[str, str], list[int]] = {}
    for edition in chain.from_iterable(track.editions for track in tracks):
        sums = found.setdefault((edition["name"], edition["album"]), [0, 0])
        sums[:] = sums[0] + edition["plays"], sums[1] + edition["heard_ms"]
    rows = [(*names, plays, words.duration(heard_ms)) for names, (plays, heard_ms) in found.items()]
    table = Table(rows, ("counted together", "album", "plays", "heard"), [2, 3], flexible=0)
    return [Note(table)] if len(rows) > 1 else []


def _not_found(result: count.Count | item_page.ItemPage, question: Question, problem: str) -> Note:
    """Return that nothing was played, or that nothing was found; and ask for what is close to it."""
    if result.known:
        hint = ": it is hidden, see `spotify-logger hide`" * (question.period == Period())
        return Note(f"“{result.text}” was not played in this period ({question.period.words}){hint}.")
    if not result.close:
        return Note(problem)
    *names, last = (f"“{sanitize(name, 80)}”" for name in result.close)
    return Note(f"{problem} Did you mean {', '.join(names)}{' or ' * bool(names)}{last}?")


@answers.csv_rows.register(count.Count)
def _(result: count.Count) -> list[answers.CsvRow]:
    return [answers.columns(track, COUNTED, key=track.keys[0]) for track in result.tracks]


@blocks.register(item_page.ItemPage)
def _(result: item_page.ItemPage, question: Question) -> Sequence[Block]:
    if result.found:
        return [*_report(result, result.found, question), *gap_note(result.unseen)]
    noun, lines = result.kind, result.candidates
    if not lines:
        return [_not_found(result, question, f"No {noun} is called “{result.text}”.")]
    candidates = Table([(line.title, line.plays) for line in lines], (noun, PLAYS), [1], flexible=0)
    command = f"spotify-logger {noun} {shlex.quote(lines[0].text)}"  # selects the first of them
    return [
        Note(f"{words.counted(len(lines), noun)} match “{result.text}”:"),
        *_first(candidates, question.limit),
        Note(Table([("try", command)])),
    ]


@answers.csv_rows.register(item_page.ItemPage)
def _(result: item_page.ItemPage) -> Sequence[answers.CsvRow]:
    if not (found := result.found):
        return [answers.columns(line, CANDIDATE) for line in result.candidates]
    parts = {"track": found.tracks, "album": found.albums, "id": found.ids}
    ranked = [(what, *each) for what, lines in parts.items() for each in enumerate(lines, 1)]
    return [
        answers.columns(found, REPORTED, what=result.kind),
        *(answers.columns(each, REPORTED, what="period", name=each.when) for each in found.periods),
        *(answers.columns(line, REPORTED, what=what, rank=rank) for what, rank, line in ranked),
    ]


def _report(result: item_page.ItemPage, found: item_page.ItemReport, question: Question) -> list[Block]:
    by = result.by

    def shown(lines: Sequence[top.Line]) -> list[answers.Row]:
        """Return titles and amounts; an artist whom all lines share is in the first table."""
        names = (line.title if found.artists == top.VARIOUS else line.name for line in lines)
        return [(name, answers.amount(line, by)) for name, line in zip(names, lines, strict=True)]

    parts = [("track", found.tracks), ("album", found.albums)]
    tables = [answers.ranking(noun, by, shown(lines)) for noun, lines in parts if len(lines) > 1]
    page: list[Block] = [Columns(*tables)] if len(tables) == len(parts) else [*tables]
    if len(found.ids) > 1:
        rows = [(f"{line.key} on {line.name}", answers.amount(line, by)) for line in found.ids]
        page.append(Table(rows, ("ids", "heard" if by == TIME else PLAYS), [1], flexible=0))
    if len(found.periods) > 1:
        page.append(answers.bars(found.periods, by))
    unit, unit_ms = answers.UNITS[by]
    hours = [(str(each.when), measure(each, by) // unit_ms) for each in found.hours]
    page.append(Chart("heights", hours, unit))
    if found.others:
        others = [(other["text"], other["plays"]) for other in found.others[: question.limit]]
        page.append(Table(others, ("others with this name", PLAYS), [1], flexible=0))
    return [_facts(result, found, question), *map(Note, page)]


def _facts(result: item_page.ItemPage, found: item_page.ItemReport, question: Question) -> Table:
    by, ids, best, run = question.by, found.ids, found.most_in_a_day, found.most_in_a_row
    of_all = f"{words.share(found.share, 1)} of all {'time heard' if by == TIME else PLAYS}"
    things = f"{result.kind}{'s' * (found.ranked > 1)}, {of_all}"
    skip_rate = "" if found.skip_rate is None else f"({words.share(found.skip_rate, 1)})"
    in_a_row = words.phrase(run["plays"], f"from {answers.cell(run['from'], question)}")
    return figures(
        found,
        question,
        (result.kind, found.title),
        *([("album", ids[0].name), ("key", ids[0].key)] if len(ids) == 1 else []),
        ("period", "" if question.period == Period() else question.period.words),
        "plays",
        "heard",
        ("rank", found.rank and words.phrase(found.rank, "of", found.ranked, things)),
        ("tracks", found.number_of_tracks or None),
        ("albums", found.number_of_albums or None),
        ("skips", words.phrase(found.skips, skip_rate)),
        "first",
        "last",
        ("most in a day", words.phrase(answers.amount(best, by), f"on {best.when}") if found.plays else None),
        ("most in a row", in_a_row if run["plays"] > 1 else None),
    )
