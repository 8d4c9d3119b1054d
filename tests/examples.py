"""The example responses in tests/data, described in its README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent / "data"


def example(name: str) -> Any:  # noqa: ANN401 - JSON can be anything
    """Return an example by its path in tests/data: decoded if it is JSON, otherwise its text."""
    text = (_DATA / name).read_text(encoding="utf-8").rstrip("\n")
    return json.loads(text) if name.endswith(".json") else text


def examples(folder: str) -> list[Any]:
    """Return all JSON examples of a folder of tests/data, in the order of their names."""
    return [example(f"{folder}/{path.name}") for path in sorted(_DATA.glob(f"{folder}/*.json"))]
