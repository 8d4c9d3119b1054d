"""Convert persistent state to JSON and back: dataclasses and plain values. Pure.

The JSON may be damaged, or written by another version: reading it never raises.
"""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, asdict, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from spotify_logger.system.errors import bounded_nesting

T = TypeVar("T")


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
        return cast("T", _read(kind, value))
    except ValueError:
        return None


# These raise ValueError if the value is not of the type.


def _read(kind: Any, value: object) -> object:  # noqa: ANN401 - any type annotation
    if is_dataclass(kind):
        return _read_dataclass(kind, value)
    if get_origin(kind) in {Union, UnionType}:
        return _read_union(get_args(kind), value)
    return _read_container(kind, value) if get_args(kind) else _read_scalar(kind, value)


def _read_dataclass(kind: Any, value: object) -> object:  # noqa: ANN401
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - as for all other values
    kinds, found = get_type_hints(kind), {}
    for field in fields(kind):
        try:
            found[field.name] = _read(kinds[field.name], value[field.name])
        except (KeyError, ValueError):
            if field.default is MISSING and field.default_factory is MISSING:
                raise ValueError from None
    return kind(**found)


def _read_union(kinds: tuple[Any, ...], value: object) -> object:
    for kind in kinds:
        try:
            return _read(kind, value)
        except ValueError:
            continue
    raise ValueError


def _read_container(kind: Any, value: object) -> object:  # noqa: ANN401
    origin, kinds = get_origin(kind), get_args(kind)
    if origin is list and isinstance(value, list):
        return [_read(kinds[0], element) for element in value]
    if origin is tuple and isinstance(value, list) and len(value) == len(kinds):
        return tuple(map(_read, kinds, value))
    if origin is dict and isinstance(value, dict):
        key, content = kinds
        return {key(name): _read(content, element) for name, element in value.items()}
    raise ValueError


def _read_scalar(kind: Any, value: object) -> object:  # noqa: ANN401
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:  # neither infinite nor NaN
            return float(value)
    elif kind is object or type(value) is kind:
        return value
    raise ValueError
