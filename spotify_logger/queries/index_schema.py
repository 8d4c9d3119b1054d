"""The tables of the local index."""

from spotify_logger.core import redis_keys as keys

SCHEMA_VERSION = 4  # an index of another one is made anew
ENDINGS = (keys.OPEN, *keys.END_REASONS)
OPEN, TRACKDONE, SKIPPED = (ENDINGS.index(ending) for ending in (keys.OPEN, "trackdone", "skipped"))

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS days (
    day TEXT PRIMARY KEY, -- UTC
    revision TEXT NOT NULL -- the one in Redis when the day was read; "" if it had none
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plays (
    second INTEGER PRIMARY KEY, -- that names the play: when it started
    item INTEGER NOT NULL,
    ms_played INTEGER NOT NULL,
    ending INTEGER NOT NULL -- index into `ENDINGS`
);
CREATE INDEX IF NOT EXISTS plays_of_item ON plays (item, second, ms_played, ending);
CREATE TABLE IF NOT EXISTS details ( -- what the day's index lacks, of the plays for which it has been asked
    second INTEGER PRIMARY KEY, source TEXT NOT NULL, device TEXT NOT NULL, context TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS hours ( -- the plays of each UTC hour, where half a minute counts
    hour INTEGER PRIMARY KEY, plays INTEGER NOT NULL, all_plays INTEGER NOT NULL, ms_played INTEGER NOT NULL,
    skips INTEGER NOT NULL, open INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (begin INTEGER PRIMARY KEY, end_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE, -- in the catalog
    is_episode INTEGER NOT NULL, -- not music
    name TEXT NOT NULL DEFAULT '',
    artists TEXT NOT NULL DEFAULT '', -- for people
    artist_ids TEXT NOT NULL DEFAULT '',
    artist_list TEXT NOT NULL DEFAULT '',
    album TEXT NOT NULL DEFAULT '',
    album_id TEXT NOT NULL DEFAULT '',
    isrc TEXT NOT NULL DEFAULT '',
    duration_ms INTEGER, -- NULL if unknown
    title TEXT NOT NULL DEFAULT '', -- the name, folded
    words TEXT NOT NULL DEFAULT (char(10, 10)), -- of name, artists and album, a line each
    recording TEXT NOT NULL, -- what all items of a recording share
    first_artist INTEGER, -- NULL if unknown
    is_doubtful INTEGER NOT NULL DEFAULT 0, -- its artists cannot be told apart yet
    first INTEGER, -- the second of its first play; NULL if all are gone
    last INTEGER -- and of its last one
);
CREATE INDEX IF NOT EXISTS items_of_recording ON items (recording, first);
CREATE INDEX IF NOT EXISTS items_of_title ON items (title);
CREATE INDEX IF NOT EXISTS items_of_album ON items (album_id, first_artist);
CREATE TABLE IF NOT EXISTS artists (
    id INTEGER PRIMARY KEY,
    spotify_id TEXT NOT NULL, -- "" if unknown
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    words TEXT NOT NULL, -- as `indexed_words` returns them
    first INTEGER, -- the second of the first play under this name
    last INTEGER, -- and of the last one
    person TEXT NOT NULL, -- what all names of an artist share: the ID, or the folded name without one
    UNIQUE (spotify_id, name)
);
CREATE INDEX IF NOT EXISTS artists_of_person ON artists (person, first);
CREATE INDEX IF NOT EXISTS artists_of_name ON artists (folded);
CREATE TABLE IF NOT EXISTS credits ( -- of music
    item INTEGER NOT NULL, position INTEGER NOT NULL, artist INTEGER NOT NULL, PRIMARY KEY (item, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS credits_of_artist ON credits (artist, item);
CREATE TABLE IF NOT EXISTS gaps (begin INTEGER PRIMARY KEY, end INTEGER NOT NULL, reason TEXT NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
"""
