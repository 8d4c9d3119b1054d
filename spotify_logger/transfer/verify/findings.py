"""What a check finds, counted by kind, with the first few of each."""

from __future__ import annotations

from collections import Counter
from enum import Enum

MAX_EXAMPLES = 5
"""Of each kind so many are named."""


class FindingKind(Enum):
    """What can be wrong; the value says it to a person."""

    UNLISTED = "plays without a line in the index"
    DIFFERENT = "lines of the index that say something else than the play"
    LOST = "lines of the index without a play"
    ASTRAY = "lines of the index under another day"
    UNKNOWN_ITEM = "items of plays that the catalogue does not have"
    UNUSED_ITEM = "items of the catalogue that no play needs"
    UNLISTED_GAP = "gaps without a line in their index, or with another one"
    LOST_GAP = "lines of gaps without a gap"
    OLD_FORM = "lines of the first version, which do not tell how the play ended"
    STRANGE = "keys of plays or gaps that hold something else: look at them with redis-cli"
    MISNAMED = "plays whose key does not name their start"
    BACK = "plays that were forgotten and are there: forget them again"
    OVERLAPPING = "live plays that began before the one before was over"

    @property
    def is_repairable(self) -> bool:
        """Whether a repair makes it right; the others are a person's to decide."""
        return self not in {
            FindingKind.STRANGE,
            FindingKind.MISNAMED,
            FindingKind.BACK,
            FindingKind.OVERLAPPING,
        }

    @property
    def is_damage(self) -> bool:
        """Whether anything is wrong; the others are only worth knowing."""
        return self not in {FindingKind.OLD_FORM, FindingKind.OVERLAPPING}


class Findings:
    """What a check finds.

    Attributes:
        counts: How many of each kind.
        first: The first few of each.
        seen: How many plays, items and so on were looked at.
    """

    def __init__(self) -> None:
        self.counts: Counter[FindingKind] = Counter()
        self.examples: dict[FindingKind, list[str]] = {kind: [] for kind in FindingKind}
        self.seen: Counter[str] = Counter()

    def add(self, kind: FindingKind, name: str) -> None:
        """Something is found; the name tells where."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < MAX_EXAMPLES:
            self.examples[kind].append(name)

    def is_healthy(self, *, repaired: bool) -> bool:
        """Whether nothing is wrong (any more)."""
        return not any(kind.is_damage and not (repaired and kind.is_repairable) for kind in self.counts)
