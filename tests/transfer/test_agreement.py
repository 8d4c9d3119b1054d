"""A simulated listener: what the logger has of them, and the export that comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.testbed.agreement import agree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", range(4))
def test_the_log_and_the_export_of_the_same_listening_agree(
    tmp_path: Path, redis_url: str, seed: int
) -> None:
    found = agree(seed, 1.5, tmp_path, redis_url)
    assert found.errors() == []
