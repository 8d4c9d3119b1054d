"""Listening over time: by hour, the history chart, the calendar and the year in review."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from spotify_logger.core.redis_keys import FIRST_DAY
from spotify_logger.queries.arguments import INTERVALS, WEEK
from spotify_logger.queries.ranking import ALBUMS
from spotify_logger.web.request_params import BadRequest
from spotify_logger.web.views.context import ranked_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from spotify_logger.web.views.context import ViewContext


class PeriodViews:
    """The pages about hours, days, weeks and years.

    Args:
        context: What all views need.
    """

    def __init__(self, context: ViewContext) -> None:
        self._context = context

    async def clock(self, request: Request) -> Response:
        """Show plays by hour of the week."""
        params = self._context.params(request)
        data = await self._context.service.query("clock", *params.options("by", "min"))
        hours, weekdays = _sum_by(data["week"], "hour"), _sum_by(data["week"], "weekday")
        return self._context.templates.render(
            request, "clock.html", data=data, params=params, hours=hours, weekdays=weekdays
        )

    async def chart(self, request: Request) -> Response:
        """Show the history chart."""
        params = self._context.params(request)
        per = request.query_params.get("per", WEEK)
        if per not in INTERVALS:
            raise BadRequest("per must be day, week or month")
        data = await self._context.service.query("course", f"--per={per}", *params.options("by", "min"))
        # There may be thousands of them, and seconds are precise enough.
        seconds = [round(each["heard_ms"] / 1000) for each in data["periods"]]
        return self._context.templates.render(
            request, "chart.html", data=data, params=params, per=per, periods=INTERVALS, seconds=seconds
        )

    async def calendar(self, request: Request) -> Response:
        """Show a calendar heatmap of a year."""
        year, params = self._year(request), self._context.params(request, has_period=False)
        data = await self._context.service.query("calendar", f"--year={year}", *params.options("by", "min"))
        return self._context.templates.render(
            request,
            "calendar.html",
            data=data,
            months=[list(days) for _, days in groupby(data["calendar"], _month_of)],
            year=year,
            params=params,
            before=year - 1 if year > FIRST_DAY.year else None,
            after=self._year_after(year),
        )

    async def review(self, request: Request) -> Response:
        """Show a year in review."""
        year, params = self._year(request), self._context.params(request, has_period=False)
        data = await self._context.service.query("year", *params.options("by", "min"), str(year))
        covers = await self._context.cover_urls(ranked_keys(data["top"]))
        return self._context.templates.render(
            request,
            "review.html",
            data=data,
            year=year,
            params=params,
            covers=covers,
            albums=await self._context.album_queries(line["key"] for line in data["top"][ALBUMS]),
            before=year - 1 if year > FIRST_DAY.year else None,
            after=self._year_after(year),
        )

    async def review_image(self, request: Request) -> Response:
        """Render a year in review as an SVG image to share; it has only numbers and names."""
        year, params = self._year(request), self._context.params(request, has_period=False)
        data = await self._context.service.query("year", *params.options("by", "min"), str(year))
        text = self._context.templates.render_text("review.svg", data=data, year=year, params=params)
        headers = {
            "cache-control": "private, no-cache",
            "content-disposition": f'inline; filename="spotify-{year}.svg"',
        }
        return Response(text, media_type="image/svg+xml", headers=headers)

    def _year(self, request: Request) -> int:
        number = request.path_params.get("year")
        return self._context.today.year if number is None else int(number)

    def _year_after(self, year: int) -> int | None:
        """Return the next year; None if it is in the future."""
        return year + 1 if year < self._context.today.year else None


def _sum_by(cells: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, int]]:
    """Return the sums of the cells that share the value of `name` (hour or weekday), in order."""
    found: dict[object, dict[str, int]] = {}
    for each in cells:
        sums = found.setdefault(each[name], {"plays": 0, "heard_ms": 0})
        for measure in sums:
            sums[measure] += each[measure]
    return list(found.values())


def _month_of(each: Mapping[str, str]) -> str:
    return each["day"][: len("2026-11")]
