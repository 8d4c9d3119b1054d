"""Listening over time: by hour, the history chart, the calendar and the year in review."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from spotify_logger.core import periods
from spotify_logger.core.day_sums import INTERVALS, WEEK
from spotify_logger.core.redis_keys import FIRST_DAY
from spotify_logger.queries import charts, summary
from spotify_logger.web.request_params import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from spotify_logger.queries.charts import HourOfWeek
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.summary import Best
    from spotify_logger.web.listeners import ListenerPage


async def clock(page: ListenerPage, request: Request) -> Response:
    """Show plays by hour of the week."""
    params = page.params(request)
    data = await page.ask(request, charts.clock, params.question("by", "min"))
    hours = [_sum(data.week[hour::24]) for hour in range(24)]
    weekdays = [_sum(data.week[first : first + 24]) for first in range(0, len(data.week), 24)]
    return page.render(request, "clock.html", data=data, params=params, hours=hours, weekdays=weekdays)


async def chart(page: ListenerPage, request: Request) -> Response:
    """Show the history chart."""
    params = page.params(request)
    per = request.query_params.get("per", WEEK)
    if per not in INTERVALS:
        raise BadRequest("per must be day, week or month")
    data = await page.ask(request, charts.course, params.question("by", "min"), per)
    # There may be thousands of them, and seconds are precise enough.
    seconds = [round(each.heard_ms / 1000) for each in data.periods]
    return page.render(
        request, "chart.html", data=data, params=params, per=per, periods=INTERVALS, seconds=seconds
    )


async def calendar(page: ListenerPage, request: Request) -> Response:
    """Show a calendar heatmap of a year."""
    question, about = _about_year(page, request)
    data = await page.ask(request, charts.calendar, question)
    months = [list(days) for _, days in groupby(data.calendar, lambda each: str(each.when)[: len("2026-11")])]
    return page.render(request, "calendar.html", data=data, months=months, years=page.years, **about)


async def review(page: ListenerPage, request: Request) -> Response:
    """Show a year in review."""
    question, about = _about_year(page, request)
    data = await page.ask(request, summary.year, question)
    links = await page.links(ranked_keys(data.top))
    return page.render(request, "review.html", data=data, links=links, years=page.years, **about)


async def review_image(page: ListenerPage, request: Request) -> Response:
    """Render a year in review as an SVG image to share; it has only numbers and names."""
    question, about = _about_year(page, request)
    data = await page.ask(request, summary.year, question)
    headers = {
        "cache-control": "private, no-cache",
        "content-disposition": f'inline; filename="spotify-{data.year}.svg"',
    }
    text = page.render_text("review.svg", data=data, **about)
    return Response(text, media_type="image/svg+xml", headers=headers)


def _about_year(page: ListenerPage, request: Request) -> tuple[Question, dict[str, Any]]:
    """Return the question about the year of a request, and what its view shows besides the answer."""
    this_year, params = page.today.year, page.params(request)
    year = request.path_params.get("year", this_year)
    try:
        period = periods.year(page.zone, periods.parse_year(str(year)))
    except ValueError:
        raise BadRequest(f"not a year: {year} (try {this_year})") from None
    about = {
        "year": year,
        "params": params,
        "before": year - 1 if year > FIRST_DAY.year else None,
        "after": year + 1 if year < this_year else None,
    }
    return replace(params.question("by", "min", period=False), period=period), about


def _sum(hours: Sequence[HourOfWeek]) -> HourOfWeek:
    """Return the first of some hours, with what was played in all of them."""
    plays, heard_ms = sum(each.plays for each in hours), sum(each.heard_ms for each in hours)
    return replace(hours[0], plays=plays, heard_ms=heard_ms)


def ranked_keys(top: Best) -> list[str]:
    """Return the catalog keys of the lines of rankings."""
    return [line.key for lines in top.values() for line in lines]
