"""What the views of one listener have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spotify_logger.queries.ranking import ALBUMS, TRACKS
from spotify_logger.web.request_params import RequestParams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.web.covers import Covers
    from spotify_logger.web.query_service import QueryService
    from spotify_logger.web.templating import Templates

LIST_LENGTH = 50
"""Default number of rows of a list."""


@dataclass(frozen=True, slots=True)
class ViewContext:
    """What the views of one listener need.

    Attributes:
        service: Runs queries.
        templates: Renders the pages.
        covers: Looks up covers.
        zone: The local time zone.
    """

    service: QueryService
    templates: Templates
    covers: Covers
    zone: Zone

    @property
    def today(self) -> date:
        """Return the local date."""
        return self.zone.day(time.time())

    def params(
        self, request: Request, *, default_all_time: bool = False, has_period: bool = True
    ) -> RequestParams:
        """Parse the query string of a request."""
        return RequestParams(
            request.query_params, self.today, default_all_time=default_all_time, has_period=has_period
        )

    async def cover_urls(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the URLs of the covers, by catalog key."""
        keys = list(keys)
        return await self.service.run(lambda store: self.covers.urls(store, keys))

    async def album_queries(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the query of the album page of each item, by its key; album names are not unique."""
        keys = list(dict.fromkeys(keys))
        found = await self.service.run(lambda store: list(store.catalog(keys, ["album_id"])))
        return {key: f"album:{album}" for key, (album,) in found if album}


def ranked_keys(top: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Return the catalog keys of the tracks and albums of rankings."""
    return [line["key"] for kind in (TRACKS, ALBUMS) for line in top[kind]]
