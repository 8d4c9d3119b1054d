"""Listening over time: by hour, the history chart, the calendar and the year in review."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from spotify_logger.core.day_sums import INTERVALS, WEEK
from spotify_logger.core.redis_keys import FIRST_DAY
from spotify_logger.queries import charts, milestones, summary, top
from spotify_logger.queries.charts import HourOfWeek
from spotify_logger.queries.question import Question
from spotify_logger.queries.sql import KINDS, Log
from spotify_logger.queries.summary import Review
from spotify_logger.queries.top import Top
from spotify_logger.web.listeners import ListenerPage
from spotify_logger.web.request_params import BadRequest, RequestParams


async def clock(page: ListenerPage, request: Request) -> Response:
    """Show plays by hour of the week."""
    params = page.params(request)
    data = await page.ask(request, charts.clock, params.question("by", "min"))
    hours = [_sum(data.week[hour::24]) for hour in range(24)]
    weekdays = [_sum(data.week[first : first + 24]) for first in range(0, len(data.week), 24)]
    return page.render(request, "clock.html", data=data, params=params, hours=hours, weekdays=weekdays)


async def stats(page: ListenerPage, request: Request) -> Response:
    """Show the statistics of a period."""
    params = page.params(request)
    data = await page.ask(request, summary.stats, params.question("min"))
    return page.render(request, "stats.html", data=data, params=params)


async def chart(page: ListenerPage, request: Request) -> Response:
    """Show the history chart."""
    params = page.params(request)
    per = request.query_params.get("per", WEEK)
    if per not in INTERVALS:
        raise BadRequest("per must be day, week or month")
    data = await page.ask(request, charts.course, params.question("by", "min"), per)
    # There may be thousands of them, and seconds are precise enough.
    seconds = [round(each.heard_ms / 1000) for each in data.periods]
    return page.render(request, "chart.html", data=data, params=params, per=per, seconds=seconds)


async def calendar(page: ListenerPage, request: Request) -> Response:
    """Show a calendar heatmap of a year."""
    question, about = about_period(page, request)
    data = await page.ask(request, charts.calendar, question)
    months = [list(days) for _, days in groupby(data.calendar, lambda each: str(each.when)[: len("2026-11")])]
    return page.render(request, "calendar.html", data=data, months=months, **about)


async def review(page: ListenerPage, request: Request) -> Response:
    """Show a year or a month in review."""
    question, about = about_period(page, request)
    (data, ranked), (highlights, reached) = await asyncio.gather(  # the two parts take equally long
        page.ask(request, _review, replace(question, limit=summary.TOP_COUNT)),
        page.ask(request, _moments, question),
    )
    data = replace(data, **vars(highlights))
    lines = [line for each in ranked.values() for line in each.top]
    shown = (*lines, *reached, data.first_play, data.most_repeated, data.late_night, data.discovery)
    about["links"] = await page.links(each.key for each in shown if each)
    return page.render(request, "review.html", data=data, tops=ranked, milestones=reached, **about)


def _review(log: Log, question: Question) -> tuple[Review, dict[str, Top]]:
    return summary.review(log, question, summary.Highlights()), rankings(log, question, *KINDS)


def _moments(log: Log, question: Question) -> tuple[summary.Highlights, Sequence[milestones.Milestone]]:
    return summary.find_highlights(log, question), milestones.milestones(log, question)


def rankings(log: Log, question: Question, *kinds: str) -> dict[str, Top]:
    """Return the ranking of each kind, with its movement."""
    return {kind: top.top(log, question, kind) for kind in kinds}


def about_period(page: ListenerPage, request: Request) -> tuple[Question, dict[str, Any]]:
    """Return the question about the year or month of a request, and what its view shows besides."""
    noun, layout = ("month", "%Y-%m") if request.url.path.startswith("/month") else ("year", "%Y")
    text = str(request.path_params.get(noun, "")).strip() or f"{page.today:{layout}}"
    params = page.params(request)
    question = RequestParams({**params.without_period, noun: text}).question("by", "min")
    period, earlier = question.period, question.period.previous or question.period
    before, first, after = (page.zone.day(at or 0) for at in (earlier.begin, period.begin, period.end))
    about = {
        "noun": noun,
        "text": text,
        "title": f"{first:%B %Y}" if noun == "month" else text,
        "year": first.year,
        "years": page.years,
        "month_choices": [
            f"{first.year}-{month:02}" for month in range(1, 13) if date(first.year, month, 1) <= page.today
        ],
        "params": params,
        "before": f"{before:{layout}}" if before.year >= FIRST_DAY.year else None,
        "after": f"{after:{layout}}" if after <= page.today else None,
    }
    return question, about


def _sum(hours: Sequence[HourOfWeek]) -> HourOfWeek:
    """Return the first of some hours, with what was played in all of them."""
    plays, heard_ms = sum(each.plays for each in hours), sum(each.heard_ms for each in hours)
    return replace(hours[0], plays=plays, heard_ms=heard_ms)
