"""What is playing now, and what was played when."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response, StreamingResponse

from spotify_logger.core.play import SKIPPED
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import from_iso
from spotify_logger.queries.ranking import ALBUMS
from spotify_logger.web.covers import catalog_key_of_play
from spotify_logger.web.request_params import search_text
from spotify_logger.web.views.periods import ranked_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.web.listeners import ListenerPage

RECENT_PLAYS = 50
"""Plays on the page of recent plays."""
DAY_MINUTES = 1440
HEARD, SKIPPED_PLAY, UNOBSERVED = "heard", "skipped", "unobserved"


async def home(page: ListenerPage, request: Request) -> Response:
    """Show what is playing, today's plays, and the last 12 months."""
    now, today, overview = await page.query("now"), await _latest_day(page), await page.overview()
    playing, ranked = now["now"], overview["top"]
    plays = [*today["timeline"], *([playing] if playing else [])]
    return page.render(
        request,
        "home.html",
        now=playing,
        unknown_since=now["unknown_since"],
        problem=now["problem"],
        open_key=playing and playing["key"],
        today=today,
        this_day=str(page.today),
        overview=overview,
        covers=await page.cover_urls([*ranked_keys(ranked), *_played_keys(plays)]),
        albums=await page.album_queries(line["key"] for line in ranked[ALBUMS]),
    )


async def today(page: ListenerPage, request: Request) -> Response:
    """Render today's plays, the part of the home page that changes with every play."""
    day = await _latest_day(page)
    about = await _about_plays(page, day["timeline"])
    return page.render(request, "today.html", today=day, this_day=str(page.today), **about)


async def live(page: ListenerPage, request: Request) -> Response:
    """Stream what is playing."""
    if page.live.is_full:
        text = "Too many open streams. Try again in a minute.\n"
        return Response(text, 503, {"retry-after": "60"}, "text/plain")
    # Without a password, everybody is signed in.
    events = page.live.events(getattr(request.state, "is_signed_in", lambda: True))
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def recent(page: ListenerPage, request: Request) -> Response:
    """Show the newest plays and the gaps between them."""

    def day_of(each: Mapping[str, Any]) -> str:
        begin = from_iso(each["gap"]["from"]) if "gap" in each else None
        second = (second_of_key(each["key"]) or 0) if begin is None else begin / 1000
        return str(page.zone.day(second))

    timeline = await page.query("recent", f"-n{RECENT_PLAYS}")
    days = [(day, list(eachs)[::-1]) for day, eachs in groupby(timeline, day_of)]
    return page.render(request, "recent.html", days=days, **await _about_plays(page, timeline))


async def day(page: ListenerPage, request: Request) -> Response:
    """Show the plays of a day."""
    options = page.params(request).options("min", period=False)
    data = await page.query("day", *options, "--", request.path_params["day"])
    this = date.fromisoformat(data["day"])
    return page.render(
        request,
        "day.html",
        data=data,
        before=str(this - timedelta(days=1)),
        after=str(this + timedelta(days=1)) if this < page.today else "",
        segments=day_segments(page.zone, this, data["timeline"]),
        **await _about_plays(page, data["timeline"]),
    )


async def pick_day(_: ListenerPage, request: Request) -> Response:
    """Redirect from the date form to a day."""
    wanted = search_text(request.query_params, "day") or "today"
    return RedirectResponse(f"/day/{quote(wanted, safe='')}", 303)


async def _latest_day(page: ListenerPage) -> dict[str, Any]:
    """Return today's plays, or yesterday's if there are none yet."""
    found: dict[str, Any] = await page.query("day", "today")
    if not found["timeline"]:
        yesterday: dict[str, Any] = await page.query("day", "yesterday")
        found = yesterday if yesterday["timeline"] else found
    return found


async def _about_plays(page: ListenerPage, timeline: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the covers of plays, and the key of the open play."""
    playing = (await page.query("now"))["now"]
    return {
        "covers": await page.cover_urls(_played_keys(timeline)),
        "open_key": playing and str(playing["key"]),
    }


def _played_keys(timeline: Iterable[Mapping[str, Any]]) -> list[str]:
    return [catalog_key_of_play(play) for play in timeline if "gap" not in play]


class Segment(NamedTuple):
    """A part of a day, in minutes after midnight: `HEARD`, `SKIPPED_PLAY` or `UNOBSERVED`, with a tooltip."""

    kind: str
    begin: int
    length: int
    title: str


def day_segments(zone: Zone, day: date, timeline: Iterable[Mapping[str, Any]]) -> list[Segment]:
    """Return the plays and gaps of a local day, as `spotify-logger day --json` lists them, as segments."""
    return [part for each in timeline if (part := _segment(zone, day, each)) is not None]


def _segment(zone: Zone, day: date, each: Mapping[str, Any]) -> Segment | None:
    gap = each.get("gap")
    stamps = (gap["from"], gap["to"]) if gap else (each.get("started_at", ""), each.get("ended_at", ""))
    begin, end = (from_iso(str(stamp)) for stamp in stamps)
    if begin is None or end is None:
        return None
    moments = [zone.local(stamp / 1000) for stamp in (begin, end)]
    # Cut at midnight what began the day before or ends the day after.
    first, last = (
        min(DAY_MINUTES, max(0, (moment.date() - day).days * DAY_MINUTES + moment.hour * 60 + moment.minute))
        for moment in moments
    )
    kind = UNOBSERVED if gap else SKIPPED_PLAY if each.get("end_reason") == SKIPPED else HEARD
    what = "not observed" if gap else str(each.get("name") or "?")
    title = f"{moments[0]:%H:%M} to {moments[1]:%H:%M}: {what}"
    return Segment(kind, first, max(0, last - first), title)
