from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage.bulk import Archive
from tests.redis_log import RedisLog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def archive(redis_url: str) -> Iterator[Archive]:
    with closing(Archive(redis_url)) as archive:
        yield archive


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    with closing(RedisLog(redis_url)) as log:
        yield log
