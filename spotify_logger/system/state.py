"""Convert persistent state to JSON and back: dataclasses and plain values. Pure.

The JSON may be damaged, or written by another version: reading it never raises.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache, partial
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from spotify_logger.system.errors import bounded_nesting

T = TypeVar("T")
Reader = Callable[[object], object]
"""Converts what `json.loads` returned to one type, or raises ValueError if it does not match."""


def to_json(value: object, indent: int | None = None) -> str:
    """Return a value as JSON; dataclasses become objects, also inside lists and dicts."""
    return json.dumps(value, default=asdict, indent=indent)


def from_json(kind: type[T], text: str | bytes) -> T | None:
    """Parse JSON into a value of type `kind`, see `from_plain`; None if it is invalid."""
    try:
        with bounded_nesting():
            return from_plain(kind, json.loads(text))
    except (ValueError, TypeError):
        return None


def from_plain(kind: type[T], value: object) -> T | None:
    """Convert decoded JSON into a value of type `kind`; None if it does not match.

    A dataclass field gets its default if it is missing or of another type; without a default, the whole value
    is None. Unknown fields are ignored.

    Args:
        kind: int, float (finite; whole numbers become floats), str, bool, object (anything), a list, a tuple
            of fixed length, a dict with keys of type str or int, a union, or a dataclass of these.
        value: What `json.loads` returned.
    """
    try:
        return cast("T", _reader(kind)(value))  # type: ignore[arg-type] # a type is hashable
    except ValueError:
        return None


@cache
def _reader(kind: Any) -> Reader:  # noqa: ANN401 - any type annotation
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return partial(
            _read_dataclass, kind, {field.name: _reader(hints[field.name]) for field in fields(kind)}
        )
    origin, kinds = get_origin(kind), get_args(kind)
    readers = tuple(map(_reader, kinds))
    if origin is list:
        return partial(_read_list, *readers)
    if origin is tuple:
        return partial(_read_tuple, readers)
    if origin is dict:
        return partial(_read_dict, kinds[0], readers[1])
    return partial(_read_union, readers) if kinds else partial(_read_scalar, kind)


def _read_dataclass(kind: Any, readers: dict[str, Reader], value: object) -> object:  # noqa: ANN401
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - as for all other values
    found = {}
    for field in fields(kind):
        try:
            found[field.name] = readers[field.name](value[field.name])
        except (KeyError, ValueError):
            if field.default is MISSING and field.default_factory is MISSING:
                raise ValueError from None
    return kind(**found)


def _read_list(reader: Reader, value: object) -> object:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004
    return list(map(reader, value))


def _read_tuple(readers: tuple[Reader, ...], value: object) -> object:
    if not isinstance(value, list) or len(value) != len(readers):
        raise ValueError
    return tuple(reader(element) for reader, element in zip(readers, value, strict=True))


def _read_dict(key: type, reader: Reader, value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004
    return {key(name): reader(element) for name, element in value.items()}


def _read_union(readers: tuple[Reader, ...], value: object) -> object:
    for reader in readers:
        try:
            return reader(value)
        except ValueError:
            continue
    raise ValueError


def _read_scalar(kind: Any, value: object) -> object:  # noqa: ANN401
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:  # neither infinite nor NaN
            return float(value)
    elif kind is object or type(value) is kind:
        return value
    raise ValueError
