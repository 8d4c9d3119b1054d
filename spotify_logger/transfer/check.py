"""`spotify-logger check`: compare index, catalog and plays, and rebuild the index from the plays.

Plays and gaps are the source of truth, and are never changed here, unless they have lost fields. All keys
are scanned first, so that what the logger writes meanwhile is no difference; only a number is kept in memory
for each play.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from itertools import chain, compress, groupby
from typing import TextIO

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.catalog import CatalogEntry, tell_apart
from spotify_logger.core.matching import MINUTE_MS, SAME_END_MS, naming_seconds
from spotify_logger.core.play import BACKFILL, LIVE, PLAY_FIELDS, Play
from spotify_logger.core.player_state import ITEM_FIELDS, encode_artists, whole_number
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.report.answers import Answer, Block, Table
from spotify_logger.report.progress import Progress, progress_bar
from spotify_logger.report.words import counted, format_time, phrase
from spotify_logger.storage.bulk import DAYS_PER_BATCH, ITEM_KEYS, Archive
from spotify_logger.storage.client import Command
from spotify_logger.storage.store import HASHES_PER_BATCH, ITEMS_PER_BATCH
from spotify_logger.transfer.delete import Confirmation, remove_items

INDEXED_FIELDS = ("uri", "type", "id", "started_at", "ended_at", "ms_played", "end_reason", "source")
"""The fields of a play that its index entry depends on."""
MAX_TRIES = 3  # how many times an index entry is written if the logger changes the play meanwhile
MAX_EXAMPLES = 5  # examples kept of each kind
NOUNS = {"plays": "play", "days": "day", "items": "item", "gaps": "gap", "forgotten": "deleted play"}


class FindingKind(Enum):
    """A kind of problem; the value is shown to the user."""

    UNLISTED = "plays missing from the index"
    DIFFERENT = "index entries that differ from the play"
    LOST = "index entries without a play"
    INCOMPLETE = "plays that have lost some of their fields"
    ASTRAY = "index entries whose name is not a second of their day"
    UNKNOWN_ITEM = "items of plays missing from the catalog"
    UNUSED_ITEM = "catalog items that no play uses"
    UNLISTED_GAP = "gaps missing from their index, or different in it"
    LOST_GAP = "index entries without a gap"
    OLD_FORM = "index entries of the first version, which lack the end reason"
    STRANGE = "keys of plays, days or gaps that hold something else: inspect them with redis-cli"
    MISNAMED = "plays whose key is not the second of their start"
    BACK = "deleted plays that are back: delete them again"
    OVERLAPPING = "plays that began before the previous one was over"
    JOINED_ARTISTS = "items of earlier versions, without a list of their artists"
    DOUBTFUL_ARTISTS = "items of earlier versions whose artists cannot be told apart"


NOTICES = {FindingKind.OVERLAPPING, FindingKind.DOUBTFUL_ARTISTS}
LEFT_TO_THE_USER = NOTICES | {FindingKind.STRANGE, FindingKind.MISNAMED, FindingKind.BACK}  # by --repair
LOST_KINDS = {FindingKind.LOST, FindingKind.INCOMPLETE}  # of which --repair deletes what is left, if asked
RESTORE_ADVICE = "`spotify-logger restore` brings back plays that are in the second copy"
HARMLESS = NOTICES | {FindingKind.OLD_FORM, FindingKind.JOINED_ARTISTS}  # information rather than errors


def check(
    archive: Archive,
    now: float,
    confirmation: Confirmation | None = None,
    *,
    repair: bool = False,
    screen: TextIO | None = None,
) -> Answer:
    """Check that plays, index, catalog and gaps of a log agree, and repair index and catalog on request.

    Plays that have lost fields get them back from index and catalog. What is left of others is deleted with
    consent, or if `confirmation` is None. The exit code is 1 if there are problems, or some are left.
    """
    found = LogCheck(archive, repair=repair)
    with progress_bar(screen) as progress:
        found.scan()
        found.check_plays(progress)
    if repair:
        found.rebuild_lost()
    if found.lost:
        found.why_kept = archive.eviction()
        if repair and not found.why_kept and confirmation is not None:
            ends = (format_time(confirmation.zone, second) for second in (min(found.lost), max(found.lost)))
            left = f"all that is left of {counted(len(found.lost), 'play')}, {' to '.join(ends)}"
            found.why_kept = confirmation.refusal(f"Permanently delete {left}? ({RESTORE_ADVICE})")
        if repair and not found.why_kept:
            found.delete_lost()
    found.check_catalog(now)
    found.check_artists()
    found.check_gaps()
    found.forgotten = [keys.play_key(second) for second in sorted(archive.tombstones())]
    found.add(FindingKind.BACK, *compress(found.forgotten, archive.fields(found.forgotten, ["started_at"])))
    if repair:  # readers do not know what people have changed with redis-cli
        touched = {*map(str, found.days), *archive.hash(keys.REVISIONS), keys.CATALOG}
        archive.write([archive.touch(sorted(touched))])
    return found.answer()


class LogCheck:
    """Compares what is in a log, repairs it if asked, and reads differences again: open plays change."""

    def __init__(self, archive: Archive, *, repair: bool) -> None:
        self._archive, self._repair = archive, repair
        self._counts: Counter[FindingKind] = Counter()
        self._examples: defaultdict[FindingKind, list[str]] = defaultdict(list)
        self._checked = 0  # how many plays
        self.forgotten: list[str] = []  # the keys of deleted plays
        self.why_kept = ""  # why what is left of plays stays; "" if a repair deletes it
        self._catalog: set[str] = set()  # the keys of all items
        self._plays: set[int] = set()  # the seconds of all plays
        self._gaps: set[int] = set()
        self._listed_gaps: set[str] = set()  # in their index, before the scan
        self.days: set[date] = set()  # that have an index
        self._until_ms = 0  # when the previous play ended; the start of a backfilled one is an estimate
        self._played: dict[str, int] = {}  # the items of all plays, each with the second of one of them
        self.lost: dict[int, str] = {}  # the seconds of plays that are gone, or not whole, and their items

    def scan(self) -> None:
        """Find all keys."""
        self._listed_gaps.update(self._archive.hash(keys.GAPS))
        for name in chain.from_iterable(self._archive.scan("*")):
            second = keys.second_of_key(f"listening:{name.partition(':')[2]}")
            if name.startswith(ITEM_KEYS):
                self._catalog.add(name)
            elif second is not None and name == keys.play_key(second):
                self._plays.add(second)
            elif second is not None and name == keys.gap_key(second):
                self._gaps.add(second)
            elif name.startswith("plays:") and (day := keys.read_date(name.removeprefix("plays:"))):
                self.days.add(day)

    def check_plays(self, progress: Progress) -> None:
        """Compare the plays with the index, day by day."""
        plays = {day: list(some) for day, some in groupby(sorted(self._plays), keys.day_of)}
        done, days = 0, sorted(self.days | plays.keys())
        for some in batched(days, DAYS_PER_BATCH):
            lines, different = self._read_days(some), list[int]()
            seconds = sorted({*lines, *chain.from_iterable(plays.get(day, ()) for day in some)})
            hashes = self._archive.fields(map(keys.play_key, seconds), INDEXED_FIELDS)
            for second, play in zip(seconds, map(Play.from_hash, seconds, hashes), strict=True):
                if play is None or play.index != lines.get(second):
                    different.append(second)
                if play is not None:
                    self._check_play(play)
            self._report(different)
            done += len(some)
            progress("checking the plays", done, len(days))

    def _read_days(self, days: Sequence[date]) -> dict[int, str]:
        """Return the entries of some days by second; those that name none of their day are findings."""
        lines: dict[int, str] = {}
        for day, found in zip(days, self._archive.hashes(map(keys.index_key, days)), strict=True):
            index, wrong = keys.index_key(day), list[str]()
            if not found and day in self.days:  # its key has something, but no hash
                self.add(FindingKind.STRANGE, index)
            for name, line in found.items():
                second = keys.second_of_key(f"listening:{name}")
                if second is not None and str(second) == name and keys.day_of(second) == day:
                    lines[second] = line
                else:
                    wrong.append(name)
            self.add(FindingKind.ASTRAY, *(f"{index} {name}" for name in wrong))
            if wrong and self._repair:
                self._archive.write([("HDEL", self._archive.key(index), *wrong)])
        return lines

    def _check_play(self, play: Play) -> None:
        self._played[play.item.key] = play.second
        self._checked += 1
        if play.second not in naming_seconds(play.started_ms // 1000):
            self.add(FindingKind.MISNAMED, keys.play_key(play.second))
        if play.source != BACKFILL:
            tolerance_ms = SAME_END_MS if play.source == LIVE else MINUTE_MS
            if play.started_ms < self._until_ms - tolerance_ms:
                self.add(FindingKind.OVERLAPPING, keys.play_key(play.second))
            self._until_ms = max(self._until_ms, play.ended_ms)

    def _inspect(self, seconds: Sequence[int]) -> Iterator[tuple[int, FindingKind, Play | None, str]]:
        """Yield the problems of plays and their index entries, with both, which are read together."""
        commands: list[Command] = []
        for second in seconds:
            commands.append(("HGETALL", self._archive.key(keys.play_key(second))))
            commands.append(("HGET", self._index(second), second))
        replies = iter(self._archive.send(commands))
        for second, fields, line in zip(seconds, replies, replies, strict=True):
            play = Play.from_hash(second, fields or {})
            kind = _compare(play, line, fields)
            if kind is not None:
                yield second, kind, play, line or ""

    def _report(self, seconds: Sequence[int]) -> None:
        findings = list(self._inspect(seconds))
        for second, kind, _, line in findings:
            is_of_play = kind in {FindingKind.UNLISTED, FindingKind.INCOMPLETE, FindingKind.STRANGE}
            entry = f"{keys.index_key(keys.day_of(second))} {second}"
            self.add(kind, keys.play_key(second) if is_of_play else entry)
            if kind in LOST_KINDS:
                self.lost[second] = line.partition(" ")[0]
        for _ in range(MAX_TRIES if findings and self._repair else 0):
            plays = {second: play for second, _, play, _ in findings if play is not None}
            self._archive.write([("HSET", self._index(key), key, play.index) for key, play in plays.items()])
            findings = list(self._inspect([*plays]))

    def _index(self, second: int) -> str:
        return self._archive.key(keys.index_key(keys.day_of(second)))

    def rebuild_lost(self) -> None:
        """Write the lost plays that index and catalog know, unless they were deleted."""
        wanted = self.lost.keys() - self._archive.tombstones().keys()
        for seconds in batched(wanted, HASHES_PER_BATCH):
            items = self._archive.hashes(self.lost[second] for second in seconds)
            lines = self._archive.index_lines(seconds)
            with self._archive.batch() as batch:
                for (second, held), item in zip(self._archive.plays(seconds), items, strict=True):
                    play = _rebuild(second, held, lines.get(second, ""), item)
                    if play is not None:
                        batch.write_play(second, play.to_hash(), play.index)
                        self._played[play.item.key] = second
                        self._checked += 1
                        del self.lost[second]

    def delete_lost(self) -> None:
        """Delete what is left of the plays that are still lost."""
        for seconds in batched(self.lost, HASHES_PER_BATCH):
            lost = [second for second, kind, *_ in self._inspect(seconds) if kind in LOST_KINDS]
            self._archive.write([("HDEL", self._index(second), second) for second in lost])
            self._archive.write([("DEL", self._archive.key(keys.play_key(second))) for second in lost])

    def check_catalog(self, now: float) -> None:
        """Check that the catalog holds exactly the items that are played, or the last trace of plays."""
        archive, played = self._archive, self._played
        kept = self.lost.values() if self.why_kept else ()
        either = archive.catalog(sorted(played.keys() ^ (self._catalog - {*kept})), ["uri"])
        known = {key for key, (uri,) in either if uri}
        missing, unused = sorted(played.keys() - self._catalog - known), sorted(known - played.keys())
        self.add(FindingKind.UNKNOWN_ITEM, *missing)
        self.add(FindingKind.UNUSED_ITEM, *unused)
        for batch in batched(missing if self._repair else (), HASHES_PER_BATCH):
            plays = archive.fields((keys.play_key(played[key]) for key in batch), ITEM_FIELDS)
            both = zip(batch, plays, strict=True)
            archive.write([archive.hset(key, fields) for key, fields in both if fields])
        if self._repair:
            remove_items(archive, unused, now)

    def check_artists(self) -> None:
        """Check that the catalog has artists as a list, and add those that can be told apart."""
        names = ("artists", "artist_ids", "artist_list")  # all others would take much memory
        items, lists = sorted(self._played), list[Command]()
        read = zip(items, self._archive.fields(items, names), strict=True)
        entries = {key: CatalogEntry(**fields) for key, fields in read}
        found, doubtful = tell_apart(entries)
        for key, entry in entries.items():
            # Without IDs there is only one name: the album's artist of an export.
            if found[key] and entry.artist_ids and not entry.artist_list:
                kind = FindingKind.DOUBTFUL_ARTISTS if key in doubtful else FindingKind.JOINED_ARTISTS
                self.add(kind, key)
                if key not in doubtful and (text := encode_artists(found[key])):
                    lists.append(("HSETNX", self._archive.key(key), "artist_list", text))
        for batch in batched(lists if self._repair else (), ITEMS_PER_BATCH):
            self._archive.write(batch)

    def check_gaps(self) -> None:
        """Check that gaps and their index agree."""
        key, commands = self._archive.key(keys.GAPS), list[Command]()
        wrong, again = self._wrong_gaps(), self._wrong_gaps()  # one that is still open may grow meanwhile
        for name, (kind, line) in sorted(wrong.items() & again.items()):
            self.add(kind, f"{keys.GAPS} {name}" if kind is FindingKind.LOST_GAP else f"gap:{name}")
            if kind is not FindingKind.STRANGE:
                commands.append(("HSET", key, name, line) if line else ("HDEL", key, name))
        if self._repair:
            self._archive.write(commands)

    def _wrong_gaps(self) -> dict[str, tuple[FindingKind, str]]:
        """Return what is wrong with gaps and their index entries, and the correct entries."""
        hashes = zip(self._gaps, self._archive.hashes(map(keys.gap_key, self._gaps)), strict=True)
        wanted = {str(second): keys.gap_value(second, fields) for second, fields in hashes}
        lines = self._archive.hash(keys.GAPS)
        lost = self._listed_gaps & lines.keys() - wanted.keys()  # not those that began after the scan
        wrong = dict.fromkeys(lost, (FindingKind.LOST_GAP, ""))
        for name, line in wanted.items():
            if not line or line != lines.get(name):
                wrong[name] = FindingKind.UNLISTED_GAP if line else FindingKind.STRANGE, line
        return wrong

    def add(self, kind: FindingKind, *names: str) -> None:
        """Count findings at the keys `names`."""
        self._counts[kind] += len(names)
        self._examples[kind] = [*self._examples[kind], *names][:MAX_EXAMPLES]

    def answer(self) -> Answer:
        """Return the findings; exit code 1 if there is damage, or any is left after a repair."""
        rows, found, is_healthy = [], {}, True
        for kind in filter(self._counts.__getitem__, FindingKind):
            number, examples = self._counts[kind], self._examples[kind]
            is_repairable = kind not in LEFT_TO_THE_USER and not (kind in LOST_KINDS and self.why_kept)
            is_healthy &= kind in HARMLESS or (self._repair and is_repairable)
            action = ("repaired" if self._repair else "repairable") if is_repairable else "not repairable"
            rows.append((number, kind.value, action, ", ".join(examples)))
            found[kind.name.lower()] = {"count": number, "first": examples}
        if is_healthy:
            outcome = "no problems left" if self._repair else "no problems"
        elif self._repair:
            outcome = "the rest is up to you"
        else:
            outcome = "there are problems; --repair fixes those marked as repairable"
        numbers = self._checked, *map(len, (self.days, self._played, self._gaps, self.forgotten))
        seen = dict(zip(NOUNS, numbers, strict=True))
        heads = [counted(seen[name], noun) for name, noun in NOUNS.items() if seen[name]]
        head = phrase(*heads, sep=", ") if heads else "nothing is logged yet"
        page: list[Block] = [phrase(head, outcome, sep=": ")]
        if rows:
            page.append(Table(rows, ("", "what", "", "examples"), right_aligned=[0], flexible=3))
        if any(self._counts[kind] for kind in LOST_KINDS) and not self._repair:
            page.append(f"{RESTORE_ADVICE}.")
        if self.why_kept:
            page.append(f"What is left of plays is kept: {self.why_kept}.")
        data = {"well": is_healthy, "repaired": self._repair, "seen": seen, "found": found}
        return Answer(data, page, code=not is_healthy)


def _compare(play: Play | None, line: str | None, fields: Mapping[str, str] | None) -> FindingKind | None:
    """Return what is wrong with a play and its index entry; `fields` is None if its key holds no hash."""
    if play is None:
        if fields and PLAY_FIELDS.issuperset(fields):
            return FindingKind.INCOMPLETE
        lost = None if line is None else FindingKind.LOST
        return lost if fields == {} else FindingKind.STRANGE
    if line is None:
        return FindingKind.UNLISTED
    if line == play.index:
        return None
    return FindingKind.OLD_FORM if line == play.index.rpartition(" ")[0] else FindingKind.DIFFERENT


def _rebuild(second: int, held: Mapping[str, str], line: str, item: Mapping[str, str]) -> Play | None:
    """Return a play from what is left of it, its line in the index, and its item; None if it cannot be."""
    row = keys.read_row(str(second), line)
    if row is None or not held:
        return Play.from_hash(second, held)
    _, key, ms_played, end = row
    started_ms = from_iso(held.get("started_at", "")) or second * 1000
    ms_played = whole_number(held.get("ms_played")) or ms_played
    fields = {name: item[name] for name in ITEM_FIELDS if name in item}
    fields |= {} if key.startswith("local:") else {"id": key.partition(":")[2]}
    fields |= {} if end == keys.OPEN else {"end_reason": end}
    fields |= {"started_at": to_iso(started_ms), "ended_at": to_iso(started_ms + ms_played)}
    return Play.from_hash(second, {**fields, "ms_played": str(ms_played), **held})
