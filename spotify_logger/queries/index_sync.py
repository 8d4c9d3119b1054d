"""Brings a local index up to date: reads from Redis what has changed since it was last read.

Every writer touches the revision of a day together with the day, so only those days are read again.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import Artist, CatalogEntry, recordings, tell_apart
from spotify_logger.core.day_sums import sessions
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.search_text import indexed_words
from spotify_logger.core.text import fold
from spotify_logger.queries import sql
from spotify_logger.queries.question import MIN_LISTENED_MS
from spotify_logger.queries.sql import ONE_OF, Log
from spotify_logger.storage.bulk import Progress

Span = tuple[int, int]  # the first second, and the one after the last

DAYS_PER_BATCH = 64
ITEMS_PER_BATCH = 2048
DAYS_APART = 31  # changed days up to which each one is counted anew by itself
SETTLED_MS = 10_000  # the nodes of a cluster may get a batch of writes in any order, but within this time
NOT_DAYS = {keys.CATALOG, keys.NEWEST}
UNSETTLED = "?"  # stands for a revision that is younger than that
TEXTS = CatalogEntry._fields
COLUMNS = ", ".join((*TEXTS, "duration_ms"))
WITHIN = "WHERE second >= ? AND second < ?"
PLAYS_OF_ITEM = """CREATE INDEX IF NOT EXISTS plays_of_item
    ON logged (item, second, ms_played, ending, is_hidden)"""
# Albums by several artists: Spotify has one ID for each. Pressings of other albums have several.
BY_SEVERAL = f"""album_id <> '' AND 1 < (SELECT count(DISTINCT person)
    FROM items other {sql.FIRST_ARTISTS} WHERE other.album_id = items.album_id)"""
GROUPS = {  # what an item belongs to, by kind
    sql.TRACKS: "SELECT id AS item, recording FROM items WHERE NOT is_episode",
    sql.ARTISTS: "SELECT DISTINCT item, person FROM credits JOIN artists ON artists.id = artist WHERE TRUE",
    sql.ALBUMS: sql.ALBUMS_OF_ITEMS.format(BY_SEVERAL),
    sql.SHOWS: "SELECT id AS item, album FROM items WHERE is_episode AND album <> ''",
}
HIDDEN_ITEMS = """SELECT id FROM items WHERE recording IN (SELECT recording FROM items WHERE key IN hidden)
    UNION SELECT item FROM credits JOIN artists ON artists.id = artist WHERE person IN
        (SELECT person FROM artists WHERE 'artist:' || spotify_id IN hidden OR 'artist:' || folded IN hidden)
    UNION SELECT id FROM items WHERE is_episode AND album IN (SELECT album FROM items
        WHERE is_episode AND ('show:' || album_id IN hidden OR 'show:' || album IN hidden))"""


class IndexSync:
    """Brings one index up to date, in one transaction."""

    def __init__(self, log: Log, progress: Progress | None) -> None:
        self._log, self._rows, self._progress = log, log.rows, progress
        self._database, self._store = log.database, log.store
        self._items: dict[str, int] = {}  # the IDs of items by catalog key, as far as they were needed
        self._touched: set[int] = set()  # items whose catalog entry may have changed
        self._changed: set[int] = set()  # items whose plays have changed, or whose groups may have
        self._credited: set[int] = set()  # artists of items whose credits were read again

    def run(self) -> None:
        """Read what has changed; StoreError leaves the index as it was."""
        gaps = self._store.gaps()
        hidden = sorted((key,) for key in self._store.hash(keys.HIDDEN) if key.partition(":")[2])
        is_known = (gaps, hidden) == (self._rows("SELECT * FROM gaps"), self._rows("SELECT * FROM hidden"))
        newest = [values for _, values in self._store.catalog([keys.REVISIONS], [keys.NEWEST])]
        if is_known and newest == self._rows("SELECT revision FROM days WHERE day = ?", keys.NEWEST):
            return  # nothing was written since the index was brought up to date
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")  # another process may be reading the same days
            days = self._changed_days(self._store.hash(keys.REVISIONS))
            if is_known and not days:
                return
            if keys.CATALOG in days:
                self._touched = self._ids("SELECT id FROM items")
            if not self._rows("SELECT 1 FROM logged LIMIT 1"):  # sorting at the end is faster
                self._database.execute("DROP INDEX plays_of_item")
            changed = self._read_days(days)
            self._database.execute(PLAYS_OF_ITEM)
            touched = sorted(self._touched | self._changed)
            for items in batched(touched, ITEMS_PER_BATCH):  # entries need much memory
                self._read_catalog(items)
            for span in _spans(changed | self._hide(hidden)):
                self._count_hours(span)
                self._find_sessions(span)
            for items in batched(sorted(self._changed), ITEMS_PER_BATCH):
                self._count_plays(items)
            self._database.execute("DELETE FROM gaps")
            self._database.executemany("INSERT INTO gaps VALUES (?, ?, ?)", gaps)

    def _ids(self, query: str, *values: object) -> set[int]:
        return {number for (number,) in self._rows(query, *values)}

    def _changed_days(self, revisions: dict[str, str]) -> dict[str, str]:
        """Return the days to read, and the revisions to keep for them."""
        known = dict(self._database.execute("SELECT day, revision FROM days"))
        # A log of earlier versions has no revisions; it may have been emptied or replaced.
        without = [date.fromisoformat(day) for day, revision in known.items() if not revision]
        if not known or self._store.count_days(without) < len(without):
            known = dict.fromkeys(known, UNSETTLED)
            revisions = dict.fromkeys(map(str, self._store.days()), "") | revisions
        changed = {day: "" for day in known.keys() - revisions.keys() if known[day]}
        now_ms = int(self._store.revision())
        # Of thousands, most are the same.
        for day in [day for day, revision in revisions.items() if known.get(day) != revision]:
            if keys.read_date(day) or day in NOT_DAYS:
                is_settled = abs(now_ms - (whole_number(revisions[day]) or 0)) >= SETTLED_MS
                changed[day] = revisions[day] if is_settled else UNSETTLED
        if UNSETTLED in changed.values():
            changed[keys.NEWEST] = UNSETTLED
        return changed

    def _read_days(self, days: Mapping[str, str]) -> set[str]:
        """Read days, and return those whose plays have changed."""
        wanted, changed = sorted(days.keys() - NOT_DAYS), set()
        kept = {name for name in NOT_DAYS if days.get(name)}
        for some in batched(wanted, DAYS_PER_BATCH):
            hashes = self._store.hashes(keys.index_key(date.fromisoformat(day)) for day in some)
            for day, lines in zip(some, hashes, strict=True):
                if self._write_day(_span(day), lines):
                    changed.add(day)
                if lines or days[day]:  # an empty day without a revision would count as lost
                    kept.add(day)
            if self._progress:
                self._progress(wanted.index(some[-1]) + 1, len(wanted))
        self._rows(f"DELETE FROM days WHERE day {ONE_OF}", days)
        self._items.clear()  # what follows needs the memory
        self._database.executemany("INSERT INTO days VALUES (?, ?)", ((day, days[day]) for day in kept))
        return changed

    def _write_day(self, span: Span, lines: Mapping[str, str]) -> bool:
        """Write the plays of a day, and return whether they have changed."""
        read = filter(None, map(keys.read_row, lines.keys(), lines.values()))
        rows = [row for row in read if span[0] <= row[0] < span[1]]
        unknown = dict.fromkeys(item for _, item, _, _ in rows if item not in self._items)
        insert = """INSERT INTO items (key, recording, is_episode) VALUES (?, ?, ? GLOB 'episode:*')
            ON CONFLICT DO UPDATE SET key = key RETURNING id"""
        for key in unknown:
            ((self._items[key],),) = self._rows(insert, key, key, key)
        plays = {(second, self._items[item], ms, sql.ENDINGS.index(end)) for second, item, ms, end in rows}
        known = set(self._rows(f"SELECT second, item, ms_played, ending FROM logged {WITHIN}", *span))
        self._rows(f"DELETE FROM logged WHERE second {ONE_OF}", {second for second, *_ in known - plays})
        self._database.executemany("INSERT INTO logged VALUES (?, ?, ?, ?, FALSE)", sorted(plays - known))
        self._database.execute(f"DELETE FROM details {WITHIN}", span)
        self._touched.update(item for _, item, *_ in plays & known)
        self._changed.update(item for _, item, *_ in plays ^ known)
        return plays != known

    def _hide(self, hidden: Iterable[tuple[str]]) -> set[str]:
        """Take the plays of what is hidden out of `plays`, no others; return the days that this changes."""
        self._database.execute("DELETE FROM hidden")
        self._database.executemany("INSERT INTO hidden VALUES (?)", hidden)
        items = self._ids(HIDDEN_ITEMS) if hidden else set()
        update = "UPDATE logged SET is_hidden = NOT is_hidden WHERE {} RETURNING second, item"
        changed = self._rows(update.format(f"NOT is_hidden AND item {ONE_OF}"), items)
        changed += self._rows(update.format(f"is_hidden AND item NOT {ONE_OF}"), items)
        self._changed.update(item for _, item in changed)
        return {str(keys.day_of(second)) for second, _ in changed}

    def _count_hours(self, span: Span) -> None:
        self._database.execute("DELETE FROM hours WHERE hour >= ? / 3600 AND hour < ? / 3600", span)
        query = f"""INSERT INTO hours
            SELECT second / 3600, sum(ms_played >= {MIN_LISTENED_MS}), count(*), sum(ms_played),
                sum(ending = {sql.SKIPPED}), sum(ending = {sql.OPEN})
            FROM plays {WITHIN} GROUP BY 1"""
        self._database.execute(query, span)

    def _find_sessions(self, span: Span) -> None:
        """Find the sessions of a span anew: from the last one before it to the first after it that stays."""
        ((first,),) = self._rows("SELECT coalesce(max(begin), 0) FROM sessions WHERE begin < ?", span[0])
        after = self._ids("SELECT begin FROM sessions WHERE begin >= ?", span[1])
        query = "SELECT second, ms_played FROM plays WHERE second >= ? AND ms_played > 0 ORDER BY second"
        found, until = {}, sql.LAST_SECOND
        for begin, end_ms in sessions(self._database.execute(query, (first,))):
            if begin in after:
                until = begin
                break
            found[begin] = end_ms
        self._database.execute("DELETE FROM sessions WHERE begin >= ? AND begin < ?", (first, until))
        self._database.executemany("INSERT INTO sessions VALUES (?, ?)", found.items())

    def _read_catalog(self, items: Sequence[int]) -> None:
        """Read the entries of items, and derive what depends on those that have changed."""
        self._credited = set()
        query = f"SELECT key, id, {COLUMNS} FROM items WHERE id {ONE_OF}"
        stored = {key: (item, fields) for key, item, *fields in self._rows(query, items)}
        changed: dict[int, CatalogEntry] = {}
        titles: set[str] = set()
        left: set[str] = set()  # albums that may have lost an artist
        places = ", ".join("?" * len(TEXTS))
        update = f"UPDATE items SET ({COLUMNS}, title, words) = ({places}, ?, ?, ?) WHERE id = ?"
        for key, (*texts, duration) in self._store.catalog(stored, (*TEXTS, "duration_ms")):
            item, known = stored[key]
            fields = [*texts, whole_number(duration)]
            if fields == known:
                continue
            entry = CatalogEntry._make(texts)
            if not key.startswith("episode:"):  # they have shows, no artists
                changed[item] = entry
                titles.add(fold(known[0]))
            left.add(known[TEXTS.index("album_id")])
            self._changed.add(item)
            words = indexed_words(entry.name, entry.artists, entry.album)
            self._database.execute(update, (*fields, fold(entry.name), words, item))
        update = f"""UPDATE items SET first = (SELECT min(second) FROM logged WHERE item = items.id),
            last = (SELECT max(second) FROM logged WHERE item = items.id) WHERE id {ONE_OF}"""
        touched = self._changed.intersection(items)
        self._rows(update, touched)
        gone = self._entries("last IS NULL AND id", touched)
        left.update(entry.album_id for entry in gone.values())
        self._changed |= self._ids(f"SELECT id FROM items WHERE album_id {ONE_OF}", left - {""})
        titles |= {fold(entry.name) for entry in gone.values()}
        # As an index made anew would not have them.
        self._rows(f"DELETE FROM items WHERE id {ONE_OF}", gone)
        self._forget_credits(gone)
        credited = self._credit_artists({item: changed[item] for item in changed.keys() - gone.keys()})
        self._unite_artists({*touched, *credited})
        titles |= {fold(entry.name) for entry in credited.values()}
        self._join_recordings(credited, titles - {""})

    def _entries(self, condition: str, values: Iterable[int | str]) -> dict[int, CatalogEntry]:
        """Return the catalog entries of items by their IDs."""
        query = f"SELECT id, {', '.join(TEXTS)} FROM items WHERE {condition} {ONE_OF}"
        return {item: CatalogEntry._make(texts) for item, *texts in self._rows(query, values)}

    def _forget_credits(self, items: Iterable[int]) -> None:
        self._credited |= self._ids(f"DELETE FROM credits WHERE item {ONE_OF} RETURNING artist", items)

    def _credit_artists(self, changed: Mapping[int, CatalogEntry]) -> dict[int, CatalogEntry]:
        """Tell the artists of changed and of doubtful items apart; return all these items."""
        wanted = {**self._entries("is_doubtful", [1]), **changed} if changed else {}
        ids = {
            each for entry in wanted.values() if " " in entry.artist_ids for each in entry.artist_ids.split()
        }
        credited = f"SELECT item FROM credits JOIN artists ON artists.id = artist WHERE spotify_id {ONE_OF}"
        helpful = self._entries("id", self._ids(credited, ids))
        found, doubtful = tell_apart({str(item): each for item, each in (helpful | wanted).items()})
        self._forget_credits(wanted)
        for item in wanted:
            artists = list(dict.fromkeys(map(self._artist, found[str(item)])))
            rows = ((item, position, artist) for position, artist in enumerate(artists))
            self._database.executemany("INSERT INTO credits VALUES (?, ?, ?)", rows)
            update = "UPDATE items SET first_artist = ?, is_doubtful = ? WHERE id = ?"
            self._database.execute(update, (artists[0] if artists else None, str(item) in doubtful, item))
        return wanted

    def _artist(self, artist: Artist) -> int:
        insert = """INSERT INTO artists (spotify_id, name, folded, words, person) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET name = excluded.name RETURNING id"""
        name, folded = artist.name, fold(artist.name)
        row = artist.id, name, folded, indexed_words(name), artist.id or folded
        return int(self._rows(insert, *row)[0][0])

    def _unite_artists(self, items: Iterable[int]) -> None:
        """Find out which artists are one: those with the same ID; a name without one joins the newest."""
        credited = f"SELECT artist FROM credits WHERE item {ONE_OF}"
        artists = self._credited | self._ids(credited, items)
        update = f"""UPDATE artists SET (first, last) = (
                SELECT min(items.first), max(items.last)
                FROM credits JOIN items ON items.id = item WHERE artist = artists.id
            ) WHERE id {ONE_OF}"""
        self._rows(update, artists)
        update = f"""UPDATE artists SET person = newest FROM (SELECT id AS artist, coalesce((
                SELECT spotify_id FROM artists other
                WHERE other.folded = artists.folded AND spotify_id <> '' AND last IS NOT NULL
                ORDER BY last DESC, spotify_id LIMIT 1
            ), folded) AS newest FROM artists
                WHERE spotify_id = '' AND folded IN (SELECT folded FROM artists WHERE id {ONE_OF}))
            WHERE id = artist AND person <> newest RETURNING id"""
        others = self._ids(update, artists)
        self._changed |= self._ids(f"SELECT item FROM credits WHERE artist {ONE_OF}", others)
        self._database.execute("DELETE FROM artists WHERE last IS NULL")

    def _join_recordings(self, changed: Mapping[int, CatalogEntry], titles: Iterable[str]) -> None:
        """Find the recordings of changed items, and of those with the same titles."""
        entries: dict[str, CatalogEntry] = {}
        artists: dict[str, Sequence[Artist]] = {}
        condition = f"id {ONE_OF} OR title {ONE_OF}"
        for item, key, _, entry, credited in read_entries(self._log, condition, changed, titles):
            self._changed.add(item)
            entries[key], artists[key] = entry, credited
        update = "UPDATE items SET recording = ? WHERE key = ?"
        rows = ((recording, key) for key, recording in recordings(entries, artists).items())
        self._database.executemany(update, rows)

    def _count_plays(self, items: Sequence[int]) -> None:
        """Recount the plays of changed items, and of the groups that they belong or belonged to."""
        albums = f"SELECT album_id FROM items WHERE id {ONE_OF} AND album_id <> ''"
        mates = self._ids(f"SELECT id FROM items WHERE album_id IN ({albums})", items)
        items = [*items, *mates]  # of albums that may have got another artist
        counts, one_of = f"ms_played >= {MIN_LISTENED_MS}", f"WHERE item {ONE_OF}"
        year = "CAST(strftime('%Y', second, 'unixepoch') AS INTEGER)"
        sums = {
            "tally": (f"item, sum({counts}), sum(ms_played)", "item"),
            "years": (f"item, {year}, sum({counts}), sum(ms_played)", "1, 2"),
        }
        for table, (columns, groups_of) in sums.items():
            self._rows(f"DELETE FROM main.{table} {one_of}", items)
            insert = f"INSERT INTO main.{table} SELECT {columns} FROM plays {one_of} GROUP BY {groups_of}"
            self._rows(insert, items)
        for kind, belonging in GROUPS.items():
            groups = set(self._rows(f"DELETE FROM items_of_{kind} {one_of} RETURNING grouped", items))
            insert = f"INSERT INTO items_of_{kind} SELECT * FROM ({belonging}) {one_of} RETURNING grouped"
            groups.update(self._rows(insert, items))
            self._database.executemany(f"DELETE FROM main.{kind}_of_tally WHERE grouped = ?", groups)
            insert = f"""INSERT INTO main.{kind}_of_tally SELECT grouped, sum(plays), sum(ms_played)
                FROM items_of_{kind} CROSS JOIN main.tally USING (item) WHERE grouped = ? GROUP BY grouped"""
            self._database.executemany(insert, groups)


def read_entries(
    log: Log, condition: str, *values: object
) -> Iterator[tuple[int, str, str, CatalogEntry, Sequence[Artist]]]:
    """Yield ID, key, recording, name and ISRC, and the names of the artists of items."""
    credited = """SELECT json_group_array(name) FROM (SELECT name
        FROM credits JOIN artists ON artists.id = artist WHERE item = items.id ORDER BY position)"""
    query = f"SELECT id, key, recording, name, isrc, ({credited}) FROM items WHERE {condition}"
    for *own, name, isrc, names in log.rows(query, *values):
        yield *own, CatalogEntry(name, isrc=isrc), [*map(Artist, json.loads(names))]


def _span(day: str) -> Span:
    begin = keys.second_of_day(date.fromisoformat(day))
    return begin, begin + keys.ONE_DAY


def _spans(days: Collection[str]) -> list[Span]:
    """Return the spans to count anew: of many days, as an import touches them, one around all is faster."""
    spans = sorted(map(_span, days))
    return [(spans[0][0], spans[-1][1])] if len(spans) > DAYS_APART else spans
