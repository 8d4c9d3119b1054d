from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from tests.indexed_log import IndexedLog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    """An empty log, queried in Berlin on a Sunday evening."""
    log = IndexedLog(redis_url, Zone("Europe/Berlin"), "2026-11-22 19:00")
    yield log
    log.store.close()
