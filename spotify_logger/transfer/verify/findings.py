"""Findings of a check: counts by kind, with a few examples each."""

from __future__ import annotations

from collections import Counter
from enum import Enum

MAX_EXAMPLES = 5
"""Examples kept of each kind."""


class FindingKind(Enum):
    """A kind of problem; the value is shown to the user."""

    UNLISTED = "plays missing from the index"
    DIFFERENT = "index entries that differ from the play"
    LOST = "index entries without a play"
    ASTRAY = "index entries under the wrong day"
    UNKNOWN_ITEM = "items of plays missing from the catalog"
    UNUSED_ITEM = "catalog items that no play uses"
    UNLISTED_GAP = "gaps missing from their index, or different in it"
    LOST_GAP = "index entries without a gap"
    OLD_FORM = "index entries of the first version, which lack the end reason"
    STRANGE = "keys of plays or gaps that hold something else: look at them with redis-cli"
    MISNAMED = "plays whose key is not the second of their start"
    BACK = "deleted plays that are back: delete them again"
    OVERLAPPING = "live plays that began before the previous one was over"

    @property
    def is_repairable(self) -> bool:
        """Whether --repair fixes it; the others are left to the user."""
        return self not in {
            FindingKind.STRANGE,
            FindingKind.MISNAMED,
            FindingKind.BACK,
            FindingKind.OVERLAPPING,
        }

    @property
    def is_damage(self) -> bool:
        """Whether it is an error rather than just information."""
        return self not in {FindingKind.OLD_FORM, FindingKind.OVERLAPPING}


class Findings:
    """What a check finds.

    Attributes:
        counts: The number of findings of each kind.
        examples: The first few of each kind.
        seen: The number of plays, items and so on that were checked.
        why_kept: Why index entries of plays that are gone stay; "" if a repair deletes them.
    """

    def __init__(self) -> None:
        self.counts: Counter[FindingKind] = Counter()
        self.examples: dict[FindingKind, list[str]] = {kind: [] for kind in FindingKind}
        self.seen: Counter[str] = Counter()
        self.why_kept = ""

    def add(self, kind: FindingKind, name: str) -> None:
        """Count a finding at the key `name`."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < MAX_EXAMPLES:
            self.examples[kind].append(name)

    def is_repairable(self, kind: FindingKind) -> bool:
        """Return whether a repair fixes all of a kind."""
        return kind.is_repairable and not (kind is FindingKind.LOST and self.why_kept)

    def is_healthy(self, *, repaired: bool) -> bool:
        """Return whether there is no damage, or none left after a repair."""
        return not any(kind.is_damage and not (repaired and self.is_repairable(kind)) for kind in self.counts)
