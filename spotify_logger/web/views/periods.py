"""Listening over time: by hour, the history chart, the calendar and the year in review."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from spotify_logger.core.redis_keys import FIRST_DAY
from spotify_logger.queries.arguments import INTERVALS, WEEK
from spotify_logger.queries.ranking import ALBUMS, TRACKS
from spotify_logger.web.request_params import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from spotify_logger.web.listeners import ListenerPage


async def clock(page: ListenerPage, request: Request) -> Response:
    """Show plays by hour of the week."""
    params = page.params(request)
    data = await page.query("clock", *params.options("by", "min"))
    hours, weekdays = _sum_by(data["week"], "hour"), _sum_by(data["week"], "weekday")
    return page.render(request, "clock.html", data=data, params=params, hours=hours, weekdays=weekdays)


async def chart(page: ListenerPage, request: Request) -> Response:
    """Show the history chart."""
    params = page.params(request)
    per = request.query_params.get("per", WEEK)
    if per not in INTERVALS:
        raise BadRequest("per must be day, week or month")
    data = await page.query("course", f"--per={per}", *params.options("by", "min"))
    # There may be thousands of them, and seconds are precise enough.
    seconds = [round(each["heard_ms"] / 1000) for each in data["periods"]]
    return page.render(
        request, "chart.html", data=data, params=params, per=per, periods=INTERVALS, seconds=seconds
    )


async def calendar(page: ListenerPage, request: Request) -> Response:
    """Show a calendar heatmap of a year."""
    about = _about_year(page, request)
    options = about["params"].options("by", "min", period=False)
    data = await page.query("calendar", f"--year={about['year']}", *options)
    months = [list(days) for _, days in groupby(data["calendar"], lambda each: each["day"][: len("2026-11")])]
    return page.render(request, "calendar.html", data=data, months=months, **about)


async def review(page: ListenerPage, request: Request) -> Response:
    """Show a year in review."""
    about = _about_year(page, request)
    data = await page.query("year", *about["params"].options("by", "min", period=False), str(about["year"]))
    ranked = data["top"]
    covers = await page.cover_urls(ranked_keys(ranked))
    albums = await page.album_queries(line["key"] for line in ranked[ALBUMS])
    return page.render(request, "review.html", data=data, covers=covers, albums=albums, **about)


async def review_image(page: ListenerPage, request: Request) -> Response:
    """Render a year in review as an SVG image to share; it has only numbers and names."""
    about = _about_year(page, request)
    data = await page.query("year", *about["params"].options("by", "min", period=False), str(about["year"]))
    headers = {
        "cache-control": "private, no-cache",
        "content-disposition": f'inline; filename="spotify-{about["year"]}.svg"',
    }
    text = page.render_text("review.svg", data=data, **about)
    return Response(text, media_type="image/svg+xml", headers=headers)


def _about_year(page: ListenerPage, request: Request) -> dict[str, Any]:
    """Return the year of a request, the years that it links to, and the other parameters."""
    this_year = page.today.year
    year = request.path_params.get("year", this_year)
    return {
        "year": year,
        "params": page.params(request),
        "before": year - 1 if year > FIRST_DAY.year else None,
        "after": year + 1 if year < this_year else None,
    }


def _sum_by(cells: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, int]]:
    """Return the sums of the cells that share the value of `name` (hour or weekday), in order."""
    found: dict[object, dict[str, int]] = {}
    for each in cells:
        sums = found.setdefault(each[name], {"plays": 0, "heard_ms": 0})
        for measure in sums:
            sums[measure] += each[measure]
    return list(found.values())


def ranked_keys(top: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Return the catalog keys of the tracks and albums of rankings."""
    return [line["key"] for kind in (TRACKS, ALBUMS) for line in top[kind]]
