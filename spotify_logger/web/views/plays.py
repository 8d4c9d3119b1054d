"""What is playing now, and what was played when."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response, StreamingResponse

from spotify_logger.core.periods import between
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import from_iso
from spotify_logger.queries.overview import Overview
from spotify_logger.queries.question import Question
from spotify_logger.queries.ranking import ALBUMS
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web.covers import catalog_key_of_play
from spotify_logger.web.day_strip import day_segments
from spotify_logger.web.request_params import search_text, start_of_twelve_months
from spotify_logger.web.views.context import ranked_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.web.live import NowPlayingStream
    from spotify_logger.web.views.context import ViewContext

RECENT_PLAYS = 50
"""Plays on the page of recent plays."""


class PlayViews:
    """The home page, the stream of what is playing, and the lists of plays.

    Args:
        context: What all views need.
        live: Streams what is playing.
    """

    def __init__(self, context: ViewContext, live: NowPlayingStream) -> None:
        self._context = context
        self._live = live
        self._overview = Overview()

    async def warm(self) -> None:
        """Compute the overview before the first visitor comes."""
        with suppress(SpotifyLoggerError):  # Redis is unreachable; visitors will see that
            await self._context.service.run(self._twelve_months)

    async def home(self, request: Request) -> Response:
        """Show what is playing, today's plays, and the last 12 months."""
        now = await self._context.service.query("now")
        today = await self._latest_day()
        overview = await self._context.service.run(self._twelve_months)
        playing = now["now"]
        plays = [*today["timeline"], *([playing] if playing else [])]
        return self._context.templates.render(
            request,
            "home.html",
            now=playing,
            unknown_since=now["unknown_since"],
            problem=now["problem"],
            open_key=playing and playing["key"],
            today=today,
            this_day=str(self._context.today),
            overview=overview,
            covers=await self._context.cover_urls([*ranked_keys(overview["top"]), *_played_keys(plays)]),
            albums=await self._context.album_queries(line["key"] for line in overview["top"][ALBUMS]),
        )

    async def today(self, request: Request) -> Response:
        """Render today's plays, the part of the home page that changes with every play."""
        today = await self._latest_day()
        covers = await self._context.cover_urls(_played_keys(today["timeline"]))
        return self._context.templates.render(
            request,
            "today.html",
            today=today,
            this_day=str(self._context.today),
            covers=covers,
            open_key=await self._open_key(),
        )

    async def live(self, request: Request) -> Response:
        """Stream what is playing."""
        if self._live.is_full:
            return Response(
                "Too many open streams. Try again in a minute.\n", 503, {"retry-after": "60"}, "text/plain"
            )
        is_signed_in = getattr(
            request.state, "is_signed_in", lambda: True
        )  # without a password, everybody is
        return StreamingResponse(
            self._live.events(is_signed_in),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def recent(self, request: Request) -> Response:
        """Show the newest plays and the gaps between them."""
        timeline = await self._context.service.query("recent", f"-n{RECENT_PLAYS}")
        days = [(day, list(eachs)[::-1]) for day, eachs in groupby(timeline, self._day_of)]
        return self._context.templates.render(
            request,
            "recent.html",
            days=days,
            covers=await self._context.cover_urls(_played_keys(timeline)),
            open_key=await self._open_key(),
        )

    async def day(self, request: Request) -> Response:
        """Show the plays of a day."""
        params = self._context.params(request, has_period=False)
        data = await self._context.service.query(
            "day", *params.options("min"), "--", request.path_params["day"]
        )
        day = date.fromisoformat(data["day"])
        covers = await self._context.cover_urls(_played_keys(data["timeline"]))
        later = day + timedelta(days=1)
        return self._context.templates.render(
            request,
            "day.html",
            data=data,
            before=str(day - timedelta(days=1)),
            after=str(later) if later <= self._context.today else "",
            covers=covers,
            open_key=await self._open_key(),
            segments=day_segments(self._context.zone, day, data["timeline"]),
        )

    async def pick_day(self, request: Request) -> Response:
        """Redirect from the date form to a day."""
        day = search_text(request.query_params, "day") or "today"
        return RedirectResponse(f"/day/{quote(day, safe='')}", HTTPStatus.SEE_OTHER)

    def _twelve_months(self, store: Archive) -> dict[str, Any]:
        now = time.time()
        begin = self._context.zone.midnight(start_of_twelve_months(self._context.zone.day(now)))
        question = Question(now, self._context.zone, between(begin, None, "the last 12 months"))
        found: dict[str, Any] = self._overview.data(store, question)
        return found

    async def _latest_day(self) -> dict[str, Any]:
        """Return today's plays, or yesterday's if there are none yet."""
        today: dict[str, Any] = await self._context.service.query("day", "today")
        if today["timeline"]:
            return today
        yesterday: dict[str, Any] = await self._context.service.query("day", "yesterday")
        return yesterday if yesterday["timeline"] else today

    async def _open_key(self) -> str | None:
        """Return the key of the open play."""
        playing = (await self._context.service.query("now"))["now"]
        return playing and str(playing["key"])

    def _day_of(self, each: Mapping[str, Any]) -> str:
        """Return the local day of a play or a gap."""
        begin = from_iso(each["gap"]["from"]) if "gap" in each else None
        second = (second_of_key(each["key"]) or 0) if begin is None else begin / 1000
        return str(self._context.zone.day(second))


def _played_keys(timeline: Iterable[Mapping[str, Any]]) -> list[str]:
    return [catalog_key_of_play(play) for play in timeline if "gap" not in play]
