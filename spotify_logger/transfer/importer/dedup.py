"""Decide which rows of exports are new plays, and which are better accounts of known ones. Pure.

Rows and known plays that are accounts of one play are grouped, and the best account of each group stays in
the log. Rows are decided in chronological order, whatever the order of the files, and each step matches the
best pairs first, so the log does not depend on what was imported before. Moments are in milliseconds since
the epoch, UTC.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from itertools import chain, product, starmap
from operator import itemgetter
from typing import TypeVar

from spotify_logger.core import matching
from spotify_logger.core import matching_exports as rules
from spotify_logger.core.matching import LISTEN_TOLERANCE_MS, MINUTE_MS, AccountRank, Identity, identity
from spotify_logger.core.matching_exports import PART_COST, PlayEvidence, cost, is_part
from spotify_logger.core.play import IMPORT, LIVE, Play
from spotify_logger.core.player_state import ONE_DAY_MS
from spotify_logger.transfer.importer.export_rows import ImportedPlay

T = TypeVar("T")

CONTEXT_MS = ONE_DAY_MS  # around a row, within which all known plays are needed to decide about it
NAMES = ("name", "artists", "album")  # which a better account takes over from a worse one if it lacks them


class RowStatus(Enum):
    """The result for a row; the value is shown to the user."""

    NEW = "new"
    IMPROVED = "improved: a better record of a logged play"
    LIVE = "already logged"
    IMPORTED = "already imported"
    DOUBLE = "duplicates within these files"
    FORGOTTEN = "deleted before (--restore imports them again)"


class Candidate:
    """An account of a play: a row, or a known play, which is logged already or new in this import.

    The result for a row is in `status`, and in what follows it.
    """

    def __init__(
        self, entry: ImportedPlay, isrcs: Mapping[str, str], known_as: RowStatus | None = None
    ) -> None:
        isrc = isrcs.get(entry.play.item.key, "")
        self.entry = entry
        self.evidence = PlayEvidence(entry.play, entry.kind, entry.reported_end_ms, isrc)
        self.known_as = known_as  # the result for rows with a known play that is the best account
        self.accounts = [self]  # all of the same play, this one included
        self.used_ms = 0  # of a known play, how much matching rows account for
        self.is_claimed = False  # whether an account of another kind matches it
        self.status = RowStatus.NEW
        self.is_written = False  # whether its play is new, or the best account of a known play
        self.replaced: Sequence[Play] = ()  # known plays with a better account, here or in the log
        self.named: Play | None = None  # the known play that takes over names that it lacks from this row

    def may_be(self, other: "Candidate") -> bool:
        """Return whether another account may be of the same play: no log, ours or exported, has both."""
        both = self.accounts, other.accounts
        are_known = all(any(each.known_as is not None for each in some) for some in both)
        are_exported = all(any(each.entry.stored_hash is not None for each in some) for some in both)
        return not (are_known or are_exported)

    @property
    def origin(self) -> tuple[object, bool]:
        """Which export it is of: of a kind, or of another logger, in minutes or not; each has a play once."""
        return self.entry.play.fields.get("logged_by", self.evidence.kind), self.evidence.has_only_minute

    def join(self, other: "Candidate") -> None:
        """Note that another account is of the same play."""
        if self.accounts is not other.accounts:
            self.accounts += other.accounts
            for each in other.accounts:
                each.accounts = self.accounts


class Deduplicator:
    """Decides about batches of rows in chronological order; deleted plays come back only with `restore`."""

    def __init__(self, tombstones: Iterable[tuple[int, int]] = (), *, restore: bool = False) -> None:
        spans = ((begin * 1000, end * 1000, (begin, end)) for begin, end in tombstones)
        self._tombstones_near = _overlapping(spans, LISTEN_TOLERANCE_MS + MINUTE_MS)
        self._restore = restore
        self._changed: dict[Identity, Candidate | None] = {}  # new plays; None for those that are replaced

    def decide(
        self, entries: Iterable[ImportedPlay], known: Iterable[Play], isrcs: Mapping[str, str]
    ) -> tuple[list[Candidate], set[int]]:
        """Return the result for each row of a batch, by start, and the tombstones of plays that come back.

        No other row is near, unless the batch is full. `known` are the logged plays within `CONTEXT_MS`.
        """
        rows = [Candidate(entry, isrcs) for entry in _split_uploads(sorted(entries, key=_sort_key))]
        found = [(row, second) for row in rows for second in self._tombstones_on(row.evidence)]
        for row, _ in found:
            row.status = RowStatus.FORGOTTEN  # unless `_settle` decides otherwise
        left = [row for row in rows if self._restore or row.status is not RowStatus.FORGOTTEN]
        plays = self._with_new_plays(rows, known, isrcs)
        _match(left, plays)
        nearest = self._nearest_tombstones(left, {(row.origin, second) for row, second in found})
        for row, _ in nearest:
            row.status = RowStatus.FORGOTTEN
        left = [row for row in left if self._restore or row.status is not RowStatus.FORGOTTEN]
        for accounts in {id(row.accounts): row.accounts for row in left}.values():
            _settle(accounts)
        for row in left:
            self._changed |= dict.fromkeys(map(identity, row.replaced))
            if row.is_written:
                row.known_as = RowStatus.DOUBLE
                self._changed[identity(row.entry.play)] = row
        for each in (*rows, *plays):
            each.accounts = []  # a batch that held itself would stay in memory for long
        lifted = {second for _, second in (*found, *nearest)} if self._restore else set()
        return rows, lifted

    def _with_new_plays(
        self, rows: Sequence[Candidate], known: Iterable[Play], isrcs: Mapping[str, str]
    ) -> list[Candidate]:
        """Return the known plays and the new ones, which keep the evidence of their rows."""
        since = min((row.evidence.begin_ms for row in rows), default=0) - CONTEXT_MS
        self._changed = {
            name: new
            for name, new in self._changed.items()
            if since <= (new.evidence.reported_end_ms if new else name[0] + CONTEXT_MS)
        }
        found = list(filter(None, self._changed.values()))
        for play in known:
            name, status = identity(play), RowStatus.IMPORTED if play.source == IMPORT else RowStatus.LIVE
            if name not in self._changed:
                found.append(Candidate(ImportedPlay(play, rules.kind_of(play), play.ended_ms), isrcs, status))
            elif new := self._changed[name]:  # it has been written, perhaps under a later second
                new.entry = new.entry._replace(play=play)
        for each in found:
            each.accounts = [each]
        return found

    def _nearest_tombstones(
        self, rows: Iterable[Candidate], taken: set[tuple[object, int]]
    ) -> list[tuple[Candidate, int]]:
        """Return inexact rows of plays that nothing else knows, with the tombstones nearest to them.

        Each source has each play once; `taken` are the sources and tombstones of the rows found before.
        """
        costs = []
        for row in rows:
            kinds = {each.evidence.kind if each.known_as is None else None for each in row.accounts}
            # Others tell by their times whether they are a play that was deleted.
            if kinds <= {AccountRank.ACCOUNT_DATA, AccountRank.LISTEN}:
                for begin, end in self._tombstones_near(row.evidence):
                    apart_ms = rules.tombstone_cost(row.evidence, begin * 1000, end * 1000)
                    costs += [] if apart_ms is None else [(apart_ms, begin, row)]
        found: list[tuple[Candidate, int]] = []
        decided: set[Candidate] = set()
        for _, begin, row in sorted(costs, key=itemgetter(0, 1)):
            both = {(each.origin, begin) for each in row.accounts}
            if row not in decided and taken.isdisjoint(both):
                taken |= both
                decided.update(row.accounts)
                found += [(each, begin) for each in row.accounts]
        return found

    def _tombstones_on(self, row: PlayEvidence) -> set[int]:
        """Return the tombstones that keep a row away: they cover at least half of it."""
        if row.has_only_minute:
            return set()  # it may have begun when they were over
        least_ms = row.ms_played // 2 - rules.TOMBSTONE_MS
        shared: dict[int, int] = {}
        for begin, end in self._tombstones_near(row):
            shared_ms = rules.deleted_ms(row, begin * 1000, end * 1000)
            if shared_ms >= min(least_ms, (end - begin) * 500):
                shared[begin] = max(0, shared_ms)
        return set(shared) if sum(shared.values()) >= least_ms else set()


def _sort_key(entry: ImportedPlay) -> tuple[object, ...]:
    """Sort by start, and rows with the same start always in the same order."""
    play = entry.play
    return play.started_ms, -play.ms_played, entry.reported_end_ms, -entry.kind, play.item.uri


def _split_uploads(entries: Sequence[ImportedPlay]) -> Iterator[ImportedPlay]:
    """Correct the end of rows that were uploaded together, which all report the same end."""
    # A row that began just before the reported end was the last one, and was skipped at once.
    last = {
        entry.reported_end_ms: entry.play.started_ms
        for entry in entries
        if entry.kind is AccountRank.EXTENDED
        and entry.play.started_ms < entry.reported_end_ms - rules.TIME_TOLERANCE_MS
    }
    for entry in entries:
        play = entry.play
        follows_ms = last.get(entry.reported_end_ms, 0) - play.started_ms
        # A second export has a finer start.
        if entry.kind is AccountRank.EXTENDED and follows_ms >= rules.SAME_START_MS:
            play = replace(play, ended_ms=play.started_ms + play.ms_played)
        yield entry._replace(play=play)


def _match(rows: Sequence[Candidate], known: Sequence[Candidate]) -> None:
    """Join the rows, by start, with the other accounts of their plays."""
    first: dict[Identity, Candidate] = {}
    by_kind: dict[AccountRank, list[Candidate]] = defaultdict(list)
    for each in (*rows, *known):  # a row stands for a known play: the log does not keep the reported end
        same = first.setdefault(identity(each.entry.play), each)
        if same is each or same.evidence.kind is not each.evidence.kind:
            by_kind[each.evidence.kind].append(each)
        same.join(each)
    observed = by_kind[AccountRank.LIVE]
    samples = [row for row in observed if row.known_as is None and row.entry.stored_hash is None]
    extended, accounts = _without_duplicates(by_kind[AccountRank.EXTENDED]), by_kind[AccountRank.ACCOUNT_DATA]
    recent = by_kind[AccountRank.BACKFILLED]
    _find_in_plays(samples, [play for play in observed if play not in samples])
    _find_in_plays(observed, recent)
    _find_in_plays(extended, [*observed, *recent])
    _pair_exports(accounts, extended)
    _find_in_plays([row for row in accounts if not row.is_claimed], [*observed, *recent])
    if listens := by_kind[AccountRank.LISTEN]:
        _find_listens(listens, [*observed, *recent, *extended, *accounts, *listens])


def _without_duplicates(rows: Iterable[Candidate]) -> list[Candidate]:
    """Join the extended rows and known plays that are duplicates, and return one of each."""
    found: list[Candidate] = []
    recent: list[Candidate] = []
    for row in sorted(rows, key=lambda row: row.evidence.begin_ms):
        since_ms = row.evidence.begin_ms - rules.DUPLICATE_END_MS
        recent = [other for other in recent if other.evidence.end_ms >= since_ms]
        same = (other for other in recent if rules.is_duplicate(row.evidence, other.evidence))
        partner = next(filter(row.may_be, same), None)
        if partner is None:
            recent.append(row)
            found.append(row)
        else:
            partner.evidence = row.evidence if partner.known_as is not None else partner.evidence
            partner.join(row)
    return found


def _settle(accounts: Sequence[Candidate]) -> None:
    """Decide about the rows among all accounts of a play."""
    by_worth = sorted(
        accounts, key=lambda each: (rules.account_order(each.entry.play), each.known_as is not None)
    )
    known = [each for each in by_worth if each.known_as is not None]
    rows = [each for each in by_worth if each.known_as is None]
    best, row = by_worth[-1], rows[-1]
    replaced = [each.entry.play for each in known if each is not best and each.entry.play.source != LIVE]
    for each in rows:
        each.status = best.known_as or RowStatus.DOUBLE
    is_improved = any(each.known_as is not RowStatus.DOUBLE for each in known)
    written_as = RowStatus.IMPROVED if is_improved else RowStatus.DOUBLE if known else RowStatus.NEW
    lacks = any(name in row.entry.play.fields and name not in best.entry.play.fields for name in NAMES)
    row.status, row.is_written, row.replaced = best.known_as or written_as, best is row, replaced
    row.named = best.entry.play if lacks else None


def _by_cost(
    rows: Sequence[Candidate],
    near: Callable[[PlayEvidence], Iterable[Candidate]],
    cost_of: Callable[[PlayEvidence, PlayEvidence], int | None],
) -> list[tuple[int, Candidate, Candidate]]:
    """Return rows and plays near them of the same recording, the best pairs first: mismatch, row and play."""
    found = []
    for row, play in ((each, play) for each in rows for play in near(each.evidence)):
        one, it = row.evidence, play.evidence
        value = cost_of(one, it)
        if value is not None and row.may_be(play) and matching.is_same_recording(one.recording, it.recording):
            found.append((value, row, play))
    return sorted(found, key=itemgetter(0))


def _pair_exports(accounts: Sequence[Candidate], extended: Iterable[Candidate]) -> None:
    """Join rows of the account data with the extended history, one to one."""
    plays: dict[int, list[Candidate]] = defaultdict(list)
    for play in extended:
        plays[play.evidence.ms_played // rules.MS_PLAYED_TOLERANCE_MS].append(play)

    def near(row: PlayEvidence) -> Iterator[Candidate]:
        length = row.ms_played // rules.MS_PLAYED_TOLERANCE_MS
        return chain.from_iterable(plays.get(length + more, ()) for more in (-1, 0, 1))

    for _, row, play in _by_cost(accounts, near, rules.account_cost):
        if not (row.is_claimed or play.is_claimed):
            row.is_claimed = play.is_claimed = True
            row.join(play)


def _find_in_plays(rows: Sequence[Candidate], plays: Iterable[Candidate]) -> None:
    """Join rows with the observed and backfilled plays that they match, or are parts of."""
    matched: set[Candidate] = set()
    for value, row, play in _by_cost(rows, _near(plays, rules.TIME_TOLERANCE_MS), cost):
        fits = is_part(row.evidence, play.evidence, play.used_ms) if play.used_ms else value < PART_COST
        if row not in matched and fits:
            matched.add(row)
            row.join(play)
            play.used_ms += row.evidence.ms_played


def _find_listens(listens: Sequence[Candidate], accounts: Iterable[Candidate]) -> None:
    """Join the listens of other loggers with plays, of which each logger has one listen."""
    near = _near(accounts, LISTEN_TOLERANCE_MS + MINUTE_MS)
    matched: set[Candidate] = set()  # a listen near two plays must not make one of them
    for _, listen, play in _by_cost(listens, near, rules.listen_cost):
        if listen not in matched and listen.may_be(play) and listen.accounts is not play.accounts:
            pairs = product(*([each.entry.play for each in one.accounts] for one in (listen, play)))
            if all(starmap(rules.may_be_one_listen, pairs)):
                matched.add(listen)
                listen.join(play)


def _near(plays: Iterable[Candidate], tolerance_ms: int) -> Callable[[PlayEvidence], Iterator[Candidate]]:
    spans = ((play.evidence.begin_ms, play.evidence.end_ms, play) for play in plays)
    return _overlapping(spans, tolerance_ms)


def _overlapping(
    spans: Iterable[tuple[int, int, T]], tolerance_ms: int
) -> Callable[[PlayEvidence], Iterator[T]]:
    """Return what finds the spans, each with a begin and an end, that overlap a row, by their begins."""
    ordered = sorted(spans, key=itemgetter(0))
    longest_ms = max((end_ms - begin_ms for begin_ms, end_ms, _ in ordered), default=0)

    def near(row: PlayEvidence) -> Iterator[T]:
        since_ms, until_ms = row.begin_ms - tolerance_ms, max(row.end_ms, row.reported_end_ms) + tolerance_ms
        first = bisect_left(ordered, since_ms - longest_ms, key=itemgetter(0))
        last = bisect_right(ordered, until_ms, key=itemgetter(0))
        return (found for _, end_ms, found in ordered[first:last] if end_ms >= since_ms)

    return near
