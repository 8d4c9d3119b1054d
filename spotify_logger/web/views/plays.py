"""What is playing now, and what was played when."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from spotify_logger.core.day_sums import DAY
from spotify_logger.core.periods import Zone
from spotify_logger.core.play import SKIPPED
from spotify_logger.core.redis_keys import play_key, second_of_key
from spotify_logger.core.times import seconds_of, utc_time
from spotify_logger.monitoring.status import now_playing
from spotify_logger.queries import charts, summary
from spotify_logger.queries import timeline as queries
from spotify_logger.queries.question import Question
from spotify_logger.queries.sql import ALBUMS, ARTISTS, CONTEXTS, NOUNS, SHOWS, TRACKS, Log
from spotify_logger.queries.timeline import DayTimeline, Line, Timeline
from spotify_logger.queries.top import Top, names
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.delete import deleted_plays
from spotify_logger.web.auth import set_cookie
from spotify_logger.web.listeners import ListenerPage
from spotify_logger.web.request_params import TWELVE_MONTHS, RequestParams, read_day, search_text
from spotify_logger.web.templating import catalog_key_of_play
from spotify_logger.web.views.periods import rankings

PERIODS = {
    "day": "today",
    "week": "last 7 days",
    "month": "last 30 days",
    "year": TWELVE_MONTHS,
    "all": "all time",
}
"""The periods of the home page, as those of other views are called."""
DEFAULT_PERIOD = "year"
PERIOD_COOKIE = "spotify_logger_period"
RECENT_PLAYS = 50
LATEST_PLAYS = 20  # on the home page: as high as what is beside them
DAY_MINUTES, MINUTE = 1440, timedelta(minutes=1)
HEARD, SKIPPED_PLAY, UNOBSERVED = "heard", "skipped", "unobserved"


async def home(page: ListenerPage, request: Request) -> Response:
    """Show what is playing, the latest plays, a period that is remembered, and the activity of 12 months."""
    chosen = request.query_params.get("period", "")
    wanted = (chosen, request.cookies.get(PERIOD_COOKIE, ""))
    period = next((each for each in wanted if each in PERIODS), DEFAULT_PERIOD)
    query = page.params(request).choices()[PERIODS[period]]
    question = RequestParams(query).question(limit=summary.TOP_COUNT)
    (stats, ranked), more, activity, (timeline, day), memories, now = await asyncio.gather(
        page.ask(request, _stats, question),  # one half of the figures, which take equally long
        page.ask(request, rankings, question, ARTISTS, ALBUMS),
        page.ask(request, charts.course, RequestParams({}).question(), DAY),
        _latest_plays(page, request),
        page.ask(request, queries.on_this_day, page.params(request).question(period=False), page.today),
        page.observe(now_playing),
    )
    state = await page.live.status()
    ranked |= more
    keys = [line.key for each in ranked.values() for line in each.top]
    keys += [catalog_key_of_play(now.now)] if now.now else []
    answer = page.render(
        request,
        "home.html",
        **asdict(now),
        beginning=state if state.redis and not state.last_play else None,
        periods=PERIODS,
        period=PERIODS[period],
        query=query,
        stats=stats,
        tops=ranked,
        today=day,
        activity=activity.periods,
        memories=memories,
        **await _about_plays(page, timeline, keys),
    )
    if chosen in PERIODS:
        set_cookie(request, answer, PERIOD_COOKIE, chosen)
    return answer


async def today(page: ListenerPage, request: Request) -> Response:
    """Render the latest plays, the part of the home page that changes with every play."""
    timeline, day = await _latest_plays(page, request)
    return page.render(request, "today.html", today=day, **await _about_plays(page, timeline))


async def live(page: ListenerPage, request: Request) -> Response:
    """Stream what is playing."""
    if page.live.is_full:
        raise HTTPException(503, "too many open streams: try again in a minute", {"retry-after": "60"})
    events = page.live.events(request.state.is_signed_in)
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def recent(page: ListenerPage, request: Request) -> Response:
    """Show the newest plays and the gaps between them."""
    params = page.params(request, all_time=True)
    noun = next((noun for noun in NOUNS.values() if request.query_params.get(noun)), "")
    text = search_text(request.query_params, noun) if noun else ""
    question = params.question(limit=RECENT_PLAYS)
    timeline = await page.ask(request, queries.recent, question, noun and f"{noun}s", text)
    name = {"track": "name", "episode": "name", "album": "album", "show": "album"}.get(noun, "")
    title = next((line[name] for line in timeline.lines if line.get(name)), text)
    if noun == NOUNS[CONTEXTS]:
        title, _ = await page.ask(request, lambda log, _: names(log, CONTEXTS, text, ""), question)
    return page.render(
        request,
        "recent.html",
        noun=noun,
        text=text,
        title=title,
        newer=utc_time(timeline.newer),
        older=utc_time(timeline.older),
        **await _about_plays(page, timeline),
    )


async def day(page: ListenerPage, request: Request) -> Response:
    """Show the plays of a day."""
    question = page.params(request).question("min", period=False)
    text = request.path_params.get("day") or search_text(request.query_params, "day")  # of the date form
    this = read_day(question, text or "today")
    data = await page.ask(request, queries.day, question, this)
    return page.render(
        request,
        "day.html",
        data=data,
        before=str(this - timedelta(days=1)),
        after=str(this + timedelta(days=1)) if this < page.today else "",
        segments=day_segments(page.zone, this, data.timeline),
        memories=await page.ask(request, queries.on_this_day, question, this),
        deleted=await page.run(lambda store: _deleted(store, page.zone, this)),
        **await _about_plays(page, data.timeline),
    )


def _deleted(store: Archive, zone: Zone, day: date) -> list[tuple[str, str | None, Mapping[str, str]]]:
    """Return the plays of a local day that can be brought back: key, start, and fields with their names."""
    begin, end = zone.midnight(day), zone.midnight(day + timedelta(days=1))
    plays = deleted_plays(store, range(begin, end))
    return [(play_key(second), utc_time(second), {**it.item, **it.play}) for second, it in plays]


async def _latest_plays(page: ListenerPage, request: Request) -> tuple[Timeline, DayTimeline]:
    question = page.params(request).question(limit=LATEST_PLAYS, period=False)
    return await page.ask(request, _latest, question, page.today)


def _stats(log: Log, question: Question) -> tuple[summary.Stats, dict[str, Top]]:
    return summary.stats(log, question), rankings(log, question, TRACKS, SHOWS)


def _latest(log: Log, question: Question, today: date) -> tuple[Timeline, DayTimeline]:
    return queries.recent(log, question), queries.day(log, question, today)


async def _about_plays(page: ListenerPage, timeline: Timeline, more: Iterable[str] = ()) -> dict[str, Any]:
    """Return plays and gaps by local day, what they and `more` keys link to, and the key of the open play."""

    def day_of(line: Line) -> date:
        begin = seconds_of(line["gap"]["from"]) if "gap" in line else second_of_key(str(line["key"]))
        return page.zone.day(begin or 0)

    # The newest day first, and its lines from morning to evening.
    days = [(str(day), list(lines)[::-1]) for day, lines in groupby(timeline.lines, day_of)]
    keys = [*more, *(catalog_key_of_play(line) for line in timeline.lines if "gap" not in line)]
    return {"days": days, "links": await page.links(keys), "open_key": timeline.now_playing}


class Segment(NamedTuple):
    """A part of a day, in minutes after midnight: `HEARD`, `SKIPPED_PLAY` or `UNOBSERVED`, with a tooltip."""

    kind: str
    begin: int
    length: int
    title: str


def day_segments(zone: Zone, day: date, timeline: Timeline) -> list[Segment]:
    """Return the plays and gaps of a local day as segments."""
    midnight, found = datetime.combine(day, time.min), []
    for line in timeline.lines:
        kind = SKIPPED_PLAY if line.get("end_reason") == SKIPPED else HEARD
        what, ends = line.get("name") or "?", (line.get("started_at"), line.get("ended_at"))
        if gap := line.get("gap"):
            kind, what, ends = UNOBSERVED, "not observed", (gap["from"], gap["to"])
        moments = [zone.local(second) for each in ends if (second := seconds_of(each)) is not None]
        if len(moments) < len(ends):
            continue
        # Cut at midnight what began the day before or ends the day after.
        begin, end = (min(DAY_MINUTES, max(0, (moment - midnight) // MINUTE)) for moment in moments)
        title = f"{moments[0]:%H:%M} to {moments[1]:%H:%M}: {what}"
        found.append(Segment(kind, begin, max(0, end - begin), title))
    return found
