"""Findings of a check: counts by kind, with a few examples each."""

from collections import Counter, defaultdict
from enum import Enum

from spotify_logger.report.answers import Answer, Block, Table
from spotify_logger.report.words import count_cell, filled

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


class Findings:
    """What a check finds, and repairs as far as possible if `repair` is set."""

    def __init__(self, *, repair: bool) -> None:
        self.repair = repair
        self._counts: Counter[FindingKind] = Counter()
        self._examples: defaultdict[FindingKind, list[str]] = defaultdict(list)
        self.seen: Counter[str] = Counter()  # how many plays, items and so on were checked
        self.why_kept = ""  # why what is left of plays stays; "" if a repair deletes it

    def add(self, kind: FindingKind, *names: str) -> None:
        """Count findings at the keys `names`."""
        self._counts[kind] += len(names)
        self._examples[kind] = [*self._examples[kind], *names][:MAX_EXAMPLES]

    def answer(self) -> Answer:
        """Return the findings; exit code 1 if there is damage, or any is left after a repair."""
        rows, found, is_healthy = [], {}, True
        for kind in filter(self._counts.__getitem__, FindingKind):
            number, examples = self._counts[kind], self._examples[kind]
            is_kept = kind in LOST_KINDS and self.why_kept
            is_repairable = kind not in LEFT_TO_THE_USER and not is_kept
            is_healthy &= kind in HARMLESS or (self.repair and is_repairable)
            action = ("repaired" if self.repair else "repairable") if is_repairable else "not repairable"
            rows.append((number, kind.value, action, ", ".join(examples)))
            found[kind.name.lower()] = {"count": number, "first": examples}
        if is_healthy:
            outcome = "no problems left" if self.repair else "no problems"
        elif self.repair:
            outcome = "the rest is up to you"
        else:
            outcome = "there are problems; --repair fixes those marked as repairable"
        seen = [count_cell(self.seen[name], noun) for name, noun in NOUNS.items() if self.seen[name]]
        heads = ", ".join(["{}"] * len(seen)) or "nothing is logged yet"
        page: list[Block] = [filled(f"{heads}: {outcome}", *seen)]
        if rows:
            page.append(Table(rows, ("", "what", "", "examples"), right_aligned=[0], flexible=3))
        if any(self._counts[kind] for kind in LOST_KINDS) and not self.repair:
            page.append(f"{RESTORE_ADVICE}.")
        if self.why_kept:
            page.append(f"What is left of plays is kept: {self.why_kept}.")
        seen_counts = {name: self.seen[name] for name in NOUNS}
        data = {"well": is_healthy, "repaired": self.repair, "seen": seen_counts, "found": found}
        return Answer(data, page, code=not is_healthy)
