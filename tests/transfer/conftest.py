from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage.store import Store
from tests.redis_log import RedisLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.storage.bulk import Archive


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with closing(Store(redis_url)) as store:
        yield store


@pytest.fixture
def archive(store: Store) -> Archive:
    return store.archive()


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    with closing(RedisLog(redis_url)) as log:
        yield log
