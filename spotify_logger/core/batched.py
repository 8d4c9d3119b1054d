"""Split iterables into batches. Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split values into lists of `size` elements; the last may be shorter, and none is empty."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
