"""Much, a little at a time. Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut values into lists of `size`; the last one may be shorter, and none is empty."""
    iterator = iter(values)
    while portion := list(islice(iterator, size)):
        yield portion
