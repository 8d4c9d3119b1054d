from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.system.state import from_json, to_json


@dataclass(frozen=True)
class Inner:
    at: int
    note: str | None = None


@dataclass(frozen=True)
class Outer:
    seconds: float
    inner: Inner | None
    names: list[str] = field(default_factory=list)
    pairs: list[tuple[int, str]] = field(default_factory=list)
    inners: dict[str, Inner] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    done: bool = False


TEXT = st.text(max_size=5)
WHOLE = st.integers(-(2**60), 2**60)
INNER = st.builds(Inner, WHOLE, st.none() | TEXT)
OUTER = st.builds(
    Outer,
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | INNER,
    st.lists(TEXT, max_size=3),
    st.lists(st.tuples(WHOLE, TEXT), max_size=3),
    st.dictionaries(TEXT, INNER, max_size=3),
    st.dictionaries(WHOLE, WHOLE, max_size=3),
    st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40)
@given(OUTER)
def test_values_survive_a_round_trip(value: Outer) -> None:
    assert from_json(Outer, to_json(value)) == value
    assert from_json(Outer, to_json(value, indent=1).encode()) == value


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*Outer.__dataclass_fields__, "at"]), JSON, max_size=8))
def test_any_json_is_read_without_an_error(value: dict[str, object]) -> None:
    found = from_json(Outer, json.dumps(value))
    assert found is None or from_json(Outer, to_json(found)) == found


@pytest.mark.parametrize(
    "text", ["{", "[]", "\0" * 9, "[" * 50_000, b"\xff\xfe\0", '{"inner": null}'], ids=range(6)
)
def test_invalid_json_is_none(text: str | bytes) -> None:
    assert from_json(Outer, text) is None


@pytest.mark.parametrize("seconds", ['"5"', "true", "NaN", "Infinity", "1e999", "1" + 400 * "0"])
def test_only_finite_numbers_are_floats(seconds: str) -> None:
    assert from_json(Outer, f'{{"seconds": {seconds}, "inner": null}}') is None
    assert from_json(float, seconds) is None
    assert from_json(float, "5") == 5.0


def test_invalid_fields_take_their_defaults() -> None:
    odd = {"names": [5], "pairs": [[1]], "inners": {"a": {}}, "ends": {"a": 1}, "done": 1, "unknown": 7}
    odd |= {"seconds": 1, "inner": {"at": 2, "note": 5}}
    assert from_json(Outer, json.dumps(odd)) == Outer(1.0, Inner(2))
    assert from_json(Outer, '{"seconds": 1, "inner": {"at": "2"}}') is None
