"""Convert persistent state to JSON and back; damaged, or of another version, it never raises. Pure."""

import json
import sys
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_cached_hints: Any = cache(get_type_hints)


def to_json(value: object, indent: int | None = None) -> str:
    """Return a value as JSON; dataclasses become objects, also inside lists and dicts."""
    return json.dumps(value, default=_as_dict, indent=indent)


def _as_dict(value: Any) -> dict[str, object]:  # noqa: ANN401 - any dataclass; `asdict` would copy what is in it
    return {field.name: getattr(value, field.name) for field in fields(value)}


def from_json(kind: type[T], text: str | bytes) -> T | None:
    """Parse JSON into a value of type `kind`; None if it is invalid, or of another type.

    Types are int, float (finite; from whole numbers, too), str, bool, object (anything), lists, tuples of
    fixed length, dicts by str or int, unions, and dataclasses of these. A field of a dataclass gets its
    default if it is missing or of another type; unknown fields are ignored.
    """
    with suppress(ValueError, TypeError, RecursionError):
        return cast("T", _read(kind, json.loads(text, parse_constant=int)))  # not a number: NaN is not JSON
    return None


def _read(kind: Any, value: Any) -> object:  # noqa: ANN401 - any type, any value
    if kind is float and type(value) in {int, float} and abs(value) <= sys.float_info.max:
        return float(value)
    if kind is object or (type(value) is kind and kind is not float):
        return value
    if is_dataclass(kind) and isinstance(value, dict):
        found = {}
        for name, hint in _cached_hints(kind).items():
            with suppress(KeyError, ValueError, TypeError):
                found[name] = _read(hint, value[name])
        return kind(**found)  # type: ignore[operator] # a TypeError if there is no default
    return _read_parts(get_origin(kind), get_args(kind), value)


def _read_parts(origin: object, kinds: tuple[Any, ...], value: object) -> object:
    if origin is list and isinstance(value, list):
        return [_read(kinds[0], element) for element in value]
    if origin is tuple and isinstance(value, list) and len(value) == len(kinds):
        return tuple(map(_read, kinds, value))
    if origin is dict and isinstance(value, dict):
        return {kinds[0](name): _read(kinds[1], element) for name, element in value.items()}
    for kind in kinds if origin is UnionType else ():
        with suppress(ValueError, TypeError):
            return _read(kind, value)
    raise ValueError
