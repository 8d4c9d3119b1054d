"""Find what a text names, in the whole log; and if it names nothing, what it may have meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.search_text import Match, TextSearch, bare_title, beginning, spellings
from spotify_logger.queries.tallies import ALBUMS, ARTISTS, TRACKS, groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spotify_logger.queries.log import Log

MIN_LIKENESS = 0.5  # of a text to what is close: the average similarity of its words
CANDIDATES, SUGGESTIONS = 50, 3
WORDS_IN_QUERY, WORDS_CORRECTED = 50, 8  # of a text, at most: the depth of expressions is limited


def find_items(log: Log, text: str, kind: str, *, exact: bool = False) -> dict[str, Match]:
    """Find the tracks, artists or albums that a text names, whenever they were played.

    Args:
        log: The log.
        text: Words of the name, and of its artists, in any order; or a key: "track:…", "spotify:artist:…".
        kind: TRACKS, ARTISTS or ALBUMS.
        exact: Whether each ID of a recording or an album is one of its own.

    Returns:
        How well each matches, the best first, by what `tallies.groups(kind, exact=exact)` groups by:
        recordings, persons or albums. Empty if nothing matches: see `close_names`.
    """
    searches = dict.fromkeys([text, bare_title(text)])
    for search in map(TextSearch, searches):
        found: dict[str, Match] = {}
        for grouped, match in _matches(log, search, kind, exact=exact):
            found[grouped] = max(match, found.get(grouped, Match.NONE))
        if found:
            return dict(sorted(found.items(), key=lambda each: -each[1]))
    return {}


def _matches(log: Log, search: TextSearch, kind: str, *, exact: bool) -> Iterator[tuple[str, Match]]:
    key = search.text.removeprefix("spotify:")
    own_key = {TRACKS: "key", ARTISTS: "'artist:' || spotify_id", ALBUMS: "'album:' || album_id"}[kind]
    if kind == ARTISTS:
        query = f"SELECT person, {own_key}, name, '', words FROM artists"
    else:
        query = f"""SELECT grouped, {own_key}, {"album" if kind == ALBUMS else "name"}, artists, words
            FROM items JOIN ({groups(kind, exact=exact)}) ON item = items.id"""
    condition, words = contains(search)
    rows = log.rows(f"{query} WHERE last IS NOT NULL AND ({own_key} = ? OR {condition})", key, *words)
    for grouped, its_key, name, artists, folded in rows:
        others = "" if kind == ARTISTS else folded.split("\n")[1]
        if its_key == key:
            yield grouped, Match.KEY
        elif search.text in (name, f"{artists} {name}", f"{artists} – {name}"):
            yield grouped, Match.EXACT
        elif match := search.match_title(name, others):
            yield grouped, match


def contains(search: TextSearch) -> tuple[str, Sequence[str]]:
    """Return the SQL condition for the column `words` to have the words of a text, and its parameters."""
    words = list(map(beginning, search.words[:WORDS_IN_QUERY]))
    return " AND ".join(["instr(words, ?)"] * len(words)) or "0", words


def close_names(log: Log, text: str, kind: str = "") -> list[str]:
    """Return up to three names that are like a text, for which `find_items` or a count has found nothing.

    `kind` is TRACKS, ARTISTS or ALBUMS, or "" for any of them.
    """
    search = TextSearch(text)
    of_kind = "last IS NOT NULL" + " AND NOT is_episode" * bool(kind)
    vocabulary = set[str]()
    for (words,) in log.database.execute(f"SELECT words FROM items WHERE {of_kind}"):
        vocabulary.update(words.split())
    meant = [{word: 1.0, **spellings(word, vocabulary)} for word in search.words[:WORDS_CORRECTED]]
    if not meant:
        return []
    one = "CASE {} ELSE 0 END"
    scores = " + ".join(one.format(" ".join(["WHEN instr(words, ?) THEN ?"] * len(each))) for each in meant)
    values = [
        value for each in meant for word, like in _best_first(each) for value in (beginning(word), like)
    ]
    query = f"""SELECT name, artists, album, {scores} AS score FROM items
        WHERE {of_kind} ORDER BY score DESC, length(name), last DESC LIMIT {CANDIDATES}"""
    found: dict[str, float] = {}
    for name, artists, album, score in log.rows(query, *values):
        title = f"{artists} – {name}" if artists else name
        names = {ARTISTS: artists, ALBUMS: album, TRACKS: title}  # the shortest first
        for each in [names[kind]] if kind else names.values():
            likeness = _likeness(TextSearch(each), meant)
            if each and likeness >= MIN_LIKENESS * len(meant) and (likeness >= score or kind):
                found.setdefault(each, likeness)
                break
    return sorted(found, key=lambda name: -found[name])[:SUGGESTIONS]


def _best_first(similar: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    return sorted(similar.items(), key=lambda each: -each[1])


def _likeness(name: TextSearch, meant: Sequence[Mapping[str, float]]) -> float:
    """Return the sum of the similarities of the words that a name has."""
    words = f" {name.whole}"
    return sum(
        max((like for word, like in each.items() if beginning(word) in words), default=0) for each in meant
    )
