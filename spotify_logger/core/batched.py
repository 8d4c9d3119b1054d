"""`itertools.batched`, which Python 3.11 lacks."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split values into lists of `size` elements; the last may be shorter, and none is empty."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
