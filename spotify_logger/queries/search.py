"""Find what a text names, in the whole log; and if it names nothing, what it may have meant."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.search_text import Match, TextSearch, bare_title, beginning, indexed_words, spellings
from spotify_logger.queries import sql
from spotify_logger.queries.sql import Log

MIN_LIKENESS = 0.5  # of a text to what is close: the average similarity of its words
CANDIDATES, SUGGESTIONS = 50, 3
WORDS_IN_QUERY, WORDS_CORRECTED = 50, 8  # of a text, at most: the depth of expressions is limited


class Found(NamedTuple):
    """An item or an artist that a text names."""

    item: int
    grouped: str  # by what `sql.groups` groups a kind
    match: Match
    match_by_name: Match  # without its album


def find(log: Log, text: str, kind: str, *, exact: bool) -> list[Found]:
    """Find what a text names, whenever it was played: words of its name and of its artists, or a key or URI.

    `kind` is one of `sql.KINDS`; or `sql.ANY` for recordings and episodes by any of their names, and for all
    of an artist who is, or was, called so. A text that names nothing is tried without what names an edition.
    """
    searches = map(TextSearch, dict.fromkeys([text, bare_title(text)]))
    return next(filter(None, (list(_matches(log, search, kind, exact=exact)) for search in searches)), [])


def matches(found: Iterable[Found]) -> dict[str, Match]:
    """Return how well each group matches."""
    return {each.grouped: each.match for each in sorted(found, key=lambda each: each.match)}


def _matches(log: Log, search: TextSearch, kind: str, *, exact: bool) -> Iterator[Found]:
    key = search.text.removeprefix("spotify:")
    if search.text.startswith("spotify:local:"):
        key = catalog_key("", "", search.text)
    own_key, title, is_credited = "key", "name", "FALSE"
    source = f"items CROSS JOIN ({sql.groups(kind, exact=exact)}) ON item = id"  # it looks up what matches
    if kind == sql.ARTISTS:
        own_key = "'artist:' || spotify_id"
        source = "(SELECT *, person AS grouped, '' AS artists FROM artists)"
    elif kind in (sql.ALBUMS, sql.SHOWS):
        own_key, title = f"'{sql.NOUNS[kind]}:' || album_id", "album"
    elif kind == sql.ANY:
        is_credited = """id IN (SELECT item FROM credits WHERE artist IN
            (SELECT id FROM artists WHERE person IN (SELECT person FROM artists WHERE words = :whole)))"""
    words = {f"word{number}": beginning(word) for number, word in enumerate(search.words[:WORDS_IN_QUERY])}
    condition = " AND ".join(f"instr(words, :{name})" for name in words) or "FALSE"
    query = f"""SELECT id, grouped, {own_key} AS own_key, {title}, artists, words, {is_credited} AS credited
        FROM {source} WHERE last IS NOT NULL AND (own_key = :key OR credited OR {condition})"""
    values = {"key": key, "whole": indexed_words(search.text), **words}
    for item, grouped, its_key, name, artists, folded, credited in log.database.execute(query, values):
        _, its_artists, album, *_ = (line.strip() for line in f"{folded}\n\n".split("\n"))
        by_name = search.match_title(name, its_artists)
        if its_key == key:
            by_name = Match.KEY
        elif kind and search.text in (name, f"{artists} {name}", f"{artists} – {name}"):
            by_name = Match.EXACT
        elif not kind and (credited or search.whole == its_artists):
            by_name = max(by_name, Match.NAMED)
        match = by_name if kind else max(by_name, search.match_item(name, its_artists, album))
        if match:
            yield Found(item, grouped, match, by_name)


def close_names(log: Log, text: str, kind: str) -> list[str]:
    """Return up to three names that are like a text for which `find` has found nothing."""
    is_spoken = kind in (sql.SHOWS, sql.EPISODES)
    of_kind = "last IS NOT NULL" + f" AND is_episode = {is_spoken}" * bool(kind)
    rows = log.database.execute(f"SELECT words FROM items WHERE {of_kind}")
    vocabulary = {word for (words,) in rows for word in words.split()}
    words_asked = TextSearch(text).words[:WORDS_CORRECTED]
    # What each word may have meant, the likeliest first.
    meant = [{word: 1.0, **spellings(word, vocabulary)} for word in words_asked]
    if not meant:
        return []
    cases = ("CASE" + " WHEN instr(words, ?) THEN ?" * len(each) + " ELSE 0 END" for each in meant)
    values = [value for each in meant for word, like in each.items() for value in (beginning(word), like)]
    query = f"""SELECT name, artists, album, {" + ".join(cases)} AS score FROM items
        WHERE {of_kind} ORDER BY score DESC, length(name), last DESC LIMIT {CANDIDATES}"""
    found: dict[str, float] = {}
    for name, artists, album, score in log.rows(query, *values):
        title = f"{artists} – {name}" if artists else name
        names = {sql.ARTISTS: artists, sql.ALBUMS: album, sql.TRACKS: title}  # the shortest first
        names_of_kind = names | {sql.SHOWS: album, sql.EPISODES: title}
        for each in [names_of_kind[kind]] if kind else names.values():
            words = indexed_words(each)
            likeness = sum(
                next((like for word, like in one.items() if beginning(word) in words), 0) for one in meant
            )
            if each and likeness >= MIN_LIKENESS * len(meant) and (likeness >= score or kind):
                found.setdefault(each, likeness)
                break
    return sorted(found, key=lambda name: -found[name])[:SUGGESTIONS]
