"""The views: each runs a query and renders a template."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from spotify_logger.core.catalog import CatalogEntry, artist_names
from spotify_logger.core.periods import between
from spotify_logger.core.redis_keys import FIRST_DAY, second_of_key
from spotify_logger.core.text import fold, words_of
from spotify_logger.core.times import from_iso
from spotify_logger.queries.health import OVERDUE_AFTER
from spotify_logger.queries.history_chart import INTERVALS, WEEK
from spotify_logger.queries.item_report import IDS
from spotify_logger.queries.overview import Overview
from spotify_logger.queries.question import Question
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, KINDS, TRACKS
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web.covers import catalog_key_of_play
from spotify_logger.web.day_strip import day_segments
from spotify_logger.web.request_params import BadRequest, RequestParams, search_text, start_of_twelve_months

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.store import Store
    from spotify_logger.web.covers import Covers
    from spotify_logger.web.live import NowPlayingStream
    from spotify_logger.web.login import SpotifyLogin
    from spotify_logger.web.query_service import QueryService
    from spotify_logger.web.templating import Templates

RECENT_PLAYS = 50
"""Plays on the page of recent plays."""
LIST_LENGTH = 50
"""Default number of rows of a ranking."""
LIST_LENGTHS = (LIST_LENGTH, 100, 500)
"""Numbers of rows to choose from."""
FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 16 * 1024
"""Maximum size of a submitted form, in bytes."""
MAX_FORM_FIELDS = 10
ITEM_PARTS = (TRACKS, ALBUMS, IDS)
"""The parts of an item report that list other items."""
NOUNS = {TRACKS: "track", ARTISTS: "artist", ALBUMS: "album"}


class Views:
    """The views of one listener.

    Args:
        service: Runs queries.
        templates: Renders the pages.
        live: Streams what is playing.
        covers: Looks up covers.
        login: Logs in to Spotify.
        zone: The local time zone.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - collaborators
        self,
        service: QueryService,
        templates: Templates,
        live: NowPlayingStream,
        covers: Covers,
        login: SpotifyLogin,
        zone: Zone,
    ) -> None:
        self._service = service
        self._templates = templates
        self._live = live
        self._covers = covers
        self._login = login
        self._zone = zone
        self._overview = Overview()

    async def warm(self) -> None:
        """Compute the overview before the first visitor comes."""
        with suppress(SpotifyLoggerError):  # Redis is unreachable; visitors will see that
            await self._service.run(self._twelve_months)

    # Now playing and recent plays

    async def home(self, request: Request) -> Response:
        """Show what is playing, today's plays, and the last 12 months."""
        now = await self._service.query("now")
        today = await self._latest_day()
        overview = await self._service.run(self._twelve_months)
        playing = now["now"]
        plays = [*today["timeline"], *([playing] if playing else [])]
        return self._templates.render(
            request,
            "home.html",
            now=playing,
            unknown_since=now["unknown_since"],
            problem=now["problem"],
            open_key=playing and playing["key"],
            today=today,
            this_day=str(self._today),
            overview=overview,
            covers=await self._cover_urls([*_ranked_keys(overview["top"]), *_played_keys(plays)]),
            albums=await self._album_queries(line["key"] for line in overview["top"][ALBUMS]),
        )

    async def today(self, request: Request) -> Response:
        """Render today's plays, the part of the home page that changes with every play."""
        today = await self._latest_day()
        covers = await self._cover_urls(_played_keys(today["timeline"]))
        return self._templates.render(
            request,
            "today.html",
            today=today,
            this_day=str(self._today),
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
        timeline = await self._service.query("recent", f"-n{RECENT_PLAYS}")
        days = [(day, list(eachs)[::-1]) for day, eachs in groupby(timeline, self._day_of)]
        return self._templates.render(
            request,
            "recent.html",
            days=days,
            covers=await self._cover_urls(_played_keys(timeline)),
            open_key=await self._open_key(),
        )

    async def day(self, request: Request) -> Response:
        """Show the plays of a day."""
        params = self._params(request, has_period=False)
        data = await self._service.query("day", *params.options("min"), "--", request.path_params["day"])
        day = date.fromisoformat(data["day"])
        covers = await self._cover_urls(_played_keys(data["timeline"]))
        later = day + timedelta(days=1)
        return self._templates.render(
            request,
            "day.html",
            data=data,
            before=str(day - timedelta(days=1)),
            after=str(later) if later <= self._today else "",
            covers=covers,
            open_key=await self._open_key(),
            segments=day_segments(self._zone, day, data["timeline"]),
        )

    async def pick_day(self, request: Request) -> Response:
        """Redirect from the date form to a day."""
        day = search_text(request.query_params, "day") or "today"
        return RedirectResponse(f"/day/{quote(day, safe='')}", HTTPStatus.SEE_OTHER)

    # Periods

    async def top(self, request: Request) -> Response:
        """Show a ranking."""
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise BadRequest(f"unknown kind of list: {kind}")
        params = self._params(request)
        options = params.options("by", "min", "n")
        data = await self._service.query("top", f"-n{LIST_LENGTH}", *options, kind)
        covers = {} if kind == ARTISTS else await self._cover_urls(line["key"] for line in data["top"])
        return self._templates.render(
            request,
            "top.html",
            kind=kind,
            kinds=KINDS,
            data=data,
            params=params,
            covers=covers,
            albums=await self._album_queries(line["key"] for line in data["top"] if kind == ALBUMS),
            lengths=LIST_LENGTHS,
        )

    async def compare(self, request: Request) -> Response:
        """Compare two listeners."""
        params = self._params(request, default_all_time=True)
        others = request.state.listener.others
        chosen = request.query_params.get("with", "")
        other = chosen if chosen in others else next(iter(others), None)
        if other is None:
            raise BadRequest("there is no other listener to compare with")
        data = await self._service.query(
            "compare", f"-n{LIST_LENGTH}", *params.options("by", "min"), "--", other or "-"
        )
        covers = await self._cover_urls(line["key"] for line in data["tracks"])
        return self._templates.render(
            request, "compare.html", data=data, params=params, other=other, others=others, covers=covers
        )

    async def clock(self, request: Request) -> Response:
        """Show plays by hour of the week."""
        params = self._params(request)
        data = await self._service.query("clock", *params.options("by", "min"))
        hours, weekdays = _sum_by(data["week"], "hour"), _sum_by(data["week"], "weekday")
        return self._templates.render(
            request, "clock.html", data=data, params=params, hours=hours, weekdays=weekdays
        )

    async def chart(self, request: Request) -> Response:
        """Show the history chart."""
        params = self._params(request)
        per = request.query_params.get("per", WEEK)
        if per not in INTERVALS:
            raise BadRequest("per must be day, week or month")
        data = await self._service.query("course", f"--per={per}", *params.options("by", "min"))
        # There may be thousands of them, and seconds are precise enough.
        seconds = [round(each["heard_ms"] / 1000) for each in data["periods"]]
        return self._templates.render(
            request, "chart.html", data=data, params=params, per=per, periods=INTERVALS, seconds=seconds
        )

    async def calendar(self, request: Request) -> Response:
        """Show a calendar heatmap of a year."""
        year, params = self._year(request), self._params(request, has_period=False)
        data = await self._service.query("calendar", f"--year={year}", *params.options("by", "min"))
        return self._templates.render(
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
        year, params = self._year(request), self._params(request, has_period=False)
        data = await self._service.query("year", *params.options("by", "min"), str(year))
        covers = await self._cover_urls(_ranked_keys(data["top"]))
        return self._templates.render(
            request,
            "review.html",
            data=data,
            year=year,
            params=params,
            covers=covers,
            albums=await self._album_queries(line["key"] for line in data["top"][ALBUMS]),
            before=year - 1 if year > FIRST_DAY.year else None,
            after=self._year_after(year),
        )

    async def review_image(self, request: Request) -> Response:
        """Render a year in review as an SVG image to share; it has only numbers and names."""
        year, params = self._year(request), self._params(request, has_period=False)
        data = await self._service.query("year", *params.options("by", "min"), str(year))
        text = self._templates.render_text("review.svg", data=data, year=year, params=params)
        headers = {
            "cache-control": "private, no-cache",
            "content-disposition": f'inline; filename="spotify-{year}.svg"',
        }
        return Response(text, media_type="image/svg+xml", headers=headers)

    # Items

    async def track(self, request: Request) -> Response:
        """Show a track."""
        return await self._item_page(request, TRACKS)

    async def artist(self, request: Request) -> Response:
        """Show an artist."""
        return await self._item_page(request, ARTISTS)

    async def album(self, request: Request) -> Response:
        """Show an album."""
        return await self._item_page(request, ALBUMS)

    async def _item_page(self, request: Request, kind: str) -> Response:
        params = self._params(request, default_all_time=True)
        text = search_text(request.query_params, "q")
        if not text:
            raise BadRequest("the parameter q is missing")
        data = await self._service.query(
            NOUNS[kind], f"-n{LIST_LENGTH}", *params.options("by", "min"), "--", text
        )
        found = data["found"]
        keys = [line["key"] for line in data["candidates"][:LIST_LENGTH]]
        about = CatalogEntry()
        if found:
            keys = [found["key"], *(line["key"] for part in ITEM_PARTS for line in found.get(part, ()))]
            about = await self._service.run(lambda store: _catalog_entry(store, found["key"]))
        return self._templates.render(
            request,
            "item.html",
            kind=NOUNS[kind],
            text=text,
            data=data,
            params=params,
            about=about,
            artists=artist_names(about),
            covers=await self._cover_urls(keys),
            albums=await self._album_queries(keys),
            lines=LIST_LENGTH,
        )

    async def search(self, request: Request) -> Response:
        """Show how many times something was played."""
        params = self._params(request, default_all_time=True)
        text = search_text(request.query_params, "q")
        data = None
        covers: Mapping[str, str] = {}
        if text:
            data = await self._service.query("count", *params.options("by", "min"), "--", text)
            covers = await self._cover_urls(track["keys"][0] for track in data["tracks"][:LIST_LENGTH])
        return self._templates.render(
            request,
            "search.html",
            text=text,
            data=data,
            params=params,
            covers=covers,
            lines=LIST_LENGTH,
            pages=[] if data is None else _matching_pages(text, data["tracks"]),
        )

    # The logger

    async def health(self, request: Request) -> Response:
        """Show the health of the logger; the status is 503 if it needs attention, for monitoring."""
        data = await self._service.query("status")
        code = HTTPStatus.OK if data["well"] else HTTPStatus.SERVICE_UNAVAILABLE
        about = {"data": data, "login": self._login, "now": time.time(), "overdue": OVERDUE_AFTER}
        return self._templates.render(request, "health.html", code, **about)

    async def log_in(self, request: Request) -> Response:
        """Begin a Spotify login, or complete it with a pasted URL."""
        form = await read_form(request)
        pasted = form.get("address", "").strip()
        if pasted:
            self._login.paste(pasted)
        else:
            await self._service.run(lambda _: self._login.begin())
        return RedirectResponse(f"/health{request.state.listener.query}#login", HTTPStatus.SEE_OTHER)

    async def login_state(self, _: Request) -> Response:
        """Return the state of the login as JSON."""
        return JSONResponse(
            {"waiting": bool(self._login.url), "done": self._login.is_done, "lines": self._login.lines}
        )

    # Helpers

    def _twelve_months(self, store: Store) -> dict[str, Any]:
        now = time.time()
        begin = self._zone.midnight(start_of_twelve_months(self._zone.day(now)))
        question = Question(now, self._zone, between(begin, None, "the last 12 months"))
        found: dict[str, Any] = self._overview.data(store.archive(), question)
        return found

    async def _latest_day(self) -> dict[str, Any]:
        """Return today's plays, or yesterday's if there are none yet."""
        today: dict[str, Any] = await self._service.query("day", "today")
        if today["timeline"]:
            return today
        yesterday: dict[str, Any] = await self._service.query("day", "yesterday")
        return yesterday if yesterday["timeline"] else today

    async def _open_key(self) -> str | None:
        """Return the key of the open play."""
        playing = (await self._service.query("now"))["now"]
        return playing and str(playing["key"])

    def _day_of(self, each: Mapping[str, Any]) -> str:
        """Return the local day of a play or a gap."""
        begin = from_iso(each["gap"]["from"]) if "gap" in each else None
        second = (second_of_key(each["key"]) or 0) if begin is None else begin / 1000
        return str(self._zone.day(second))

    @property
    def _today(self) -> date:
        return self._zone.day(time.time())

    def _params(
        self, request: Request, *, default_all_time: bool = False, has_period: bool = True
    ) -> RequestParams:
        return RequestParams(
            request.query_params, self._today, default_all_time=default_all_time, has_period=has_period
        )

    def _year(self, request: Request) -> int:
        number = request.path_params.get("year")
        return self._today.year if number is None else int(number)

    def _year_after(self, year: int) -> int | None:
        """Return the next year; None if it is in the future."""
        return year + 1 if year < self._today.year else None

    async def _cover_urls(self, keys: Iterable[str]) -> dict[str, str]:
        keys = list(keys)
        return await self._service.run(lambda store: self._covers.urls(store, keys))

    async def _album_queries(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the query of the album page of each item, by its key; album names are not unique."""
        keys = list(dict.fromkeys(keys))
        found = await self._service.run(lambda store: list(store.archive().catalog(keys, ["album_id"])))
        return {key: f"album:{album}" for key, (album,) in found if album}


def _ranked_keys(top: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    return [line["key"] for kind in (TRACKS, ALBUMS) for line in top[kind]]


def _played_keys(timeline: Iterable[Mapping[str, Any]]) -> list[str]:
    return [catalog_key_of_play(play) for play in timeline if "gap" not in play]


def _matching_pages(text: str, tracks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return kind, name and query of the artists and albums whose words all occur in `text`."""
    wanted, found = fold(text), {}
    words = words_of(wanted)

    def is_named(name: str) -> bool:
        own = words_of(fold(name))
        return own <= words if own else fold(name) == wanted != ""

    for track in tracks:
        for name in {track["artists"], *track["artists"].split(", ")}:
            if is_named(name):
                found["artist", fold(name)] = (name, name)
        album = track["album"]
        if is_named(album):
            found["album", fold(album)] = (album, album)
    return [(kind, name, target) for (kind, _), (name, target) in found.items()]


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


def _catalog_entry(store: Store, key: str) -> CatalogEntry:
    ((_, values),) = store.archive().catalog([key], CatalogEntry._fields)
    return CatalogEntry._make(values)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a submitted form.

    Raises:
        BadRequest: It is not a form, or has too many fields or bytes.
    """
    kind = request.headers.get("content-type", FORM_MEDIA_TYPE).partition(";")[0].strip().lower()
    if kind != FORM_MEDIA_TYPE:
        raise BadRequest(f"a form must be sent as {FORM_MEDIA_TYPE}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise BadRequest("the form is too large")
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=MAX_FORM_FIELDS))
    except ValueError:
        raise BadRequest(f"the form has more than {MAX_FORM_FIELDS} fields") from None
