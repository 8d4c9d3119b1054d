"""What each address of the page shows: the command's answer, and a template to show it with."""

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
from spotify_logger.web.covers import key_of
from spotify_logger.web.day_strip import strip
from spotify_logger.web.request_params import Asked, Odd, text_of, year_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.store import Store
    from spotify_logger.web.covers import Covers
    from spotify_logger.web.live import Live
    from spotify_logger.web.login import SpotifyLogin
    from spotify_logger.web.query_service import Desk
    from spotify_logger.web.templating import Pages

NEWEST = 50
"""Plays among which a page that is not about a day looks."""
LINES = 50
"""Lines of a list of what was played most."""
LENGTHS = (LINES, 100, 500)
"""How many lines such a list can have."""
FORM = "application/x-www-form-urlencoded"
LONGEST_FORM = 16 * 1024
"""Bytes of what a form sends."""
MOST_FIELDS = 10
PARTS = (TRACKS, ALBUMS, IDS)
"""What a thing consists of."""
NOUNS = {TRACKS: "track", ARTISTS: "artist", ALBUMS: "album"}


class Views:
    """Answers requests.

    Args:
        desk: Knows the answers.
        pages: Show them.
        live: Tells what plays now.
        covers: Knows the images.
        login: Logs in at Spotify.
        zone: Whose days count.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everything that a page is made of
        self, desk: Desk, pages: Pages, live: Live, covers: Covers, login: SpotifyLogin, zone: Zone
    ) -> None:
        self._desk = desk
        self._pages = pages
        self._live = live
        self._covers = covers
        self._login = login
        self._zone = zone
        self._overview = Overview()

    async def warm(self) -> None:
        """Add the past up before anybody waits for it."""
        with suppress(SpotifyLoggerError):  # Redis is away; who comes is told so
            await self._desk.run(self._look_back)

    # What plays, and what played

    async def home(self, request: Request) -> Response:
        """The last twelve months at a glance, today, and what plays now."""
        now = await self._desk.ask("now")
        today = await self._latest_day()
        overview = await self._desk.run(self._look_back)
        playing = now["now"]
        plays = [*today["timeline"], *([playing] if playing else [])]
        return self._pages.show(
            request,
            "home.html",
            now=playing,
            unknown_since=now["unknown_since"],
            problem=now["problem"],
            open_key=playing and playing["key"],
            today=today,
            this_day=str(self._today),
            overview=overview,
            covers=await self._images([*_keys_of(overview["top"]), *_keys_of_plays(plays)]),
            albums=await self._albums(line["key"] for line in overview["top"][ALBUMS]),
        )

    async def today(self, request: Request) -> Response:
        """The part of the first page that changes with every play."""
        today = await self._latest_day()
        covers = await self._images(_keys_of_plays(today["timeline"]))
        return self._pages.show(
            request,
            "part_today.html",
            today=today,
            this_day=str(self._today),
            covers=covers,
            open_key=await self._open_key(),
        )

    async def live(self, request: Request) -> Response:
        """What plays now, as a stream."""
        if self._live.is_full:
            return Response("Too many listen already.\n", 503, {"retry-after": "60"}, "text/plain")
        is_signed_in = getattr(
            request.state, "is_signed_in", lambda: True
        )  # without a password, everybody is
        return StreamingResponse(
            self._live.events(is_signed_in),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def recent(self, request: Request) -> Response:
        """The newest plays, with the gaps between them."""
        timeline = await self._desk.ask("recent", f"-n{NEWEST}")
        days = [(day, list(eachs)[::-1]) for day, eachs in groupby(timeline, self._day_of)]
        return self._pages.show(
            request,
            "recent.html",
            days=days,
            covers=await self._images(_keys_of_plays(timeline)),
            open_key=await self._open_key(),
        )

    async def day(self, request: Request) -> Response:
        """A day from its first play to its last."""
        asked = self._asked(request, when=False)
        told = await self._desk.ask("day", *asked.options("min"), "--", request.path_params["day"])
        day = date.fromisoformat(told["day"])
        covers = await self._images(_keys_of_plays(told["timeline"]))
        later = day + timedelta(days=1)
        return self._pages.show(
            request,
            "day.html",
            told=told,
            before=str(day - timedelta(days=1)),
            after=str(later) if later <= self._today else "",
            covers=covers,
            open_key=await self._open_key(),
            strip=strip(self._zone, day, told["timeline"]),
        )

    async def some_day(self, request: Request) -> Response:
        """The day that somebody chose in a form."""
        day = text_of(request.query_params, "day") or "today"
        return RedirectResponse(f"/day/{quote(day, safe='')}", HTTPStatus.SEE_OTHER)

    # A stretch

    async def top(self, request: Request) -> Response:
        """What was played most."""
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise Odd(f"there is no list of {kind}")
        asked = self._asked(request)
        options = asked.options("by", "min", "n")
        told = await self._desk.ask("top", f"-n{LINES}", *options, kind)
        covers = {} if kind == ARTISTS else await self._images(line["key"] for line in told["top"])
        return self._pages.show(
            request,
            "top.html",
            kind=kind,
            kinds=KINDS,
            told=told,
            asked=asked,
            covers=covers,
            albums=await self._albums(line["key"] for line in told["top"] if kind == ALBUMS),
            lengths=LENGTHS,
        )

    async def compare(self, request: Request) -> Response:
        """What two listeners have in common."""
        asked = self._asked(request, whole=True)
        others = request.state.household.others
        chosen = request.query_params.get("with", "")
        other = chosen if chosen in others else next(iter(others), None)
        if other is None:
            raise Odd("there is nobody to compare with")
        told = await self._desk.ask("compare", f"-n{LINES}", *asked.options("by", "min"), "--", other or "-")
        covers = await self._images(line["key"] for line in told["tracks"])
        return self._pages.show(
            request, "compare.html", told=told, asked=asked, other=other, others=others, covers=covers
        )

    async def clock(self, request: Request) -> Response:
        """The hours of the week."""
        asked = self._asked(request)
        told = await self._desk.ask("clock", *asked.options("by", "min"))
        hours, weekdays = _summed(told["week"], "hour"), _summed(told["week"], "weekday")
        return self._pages.show(request, "clock.html", told=told, asked=asked, hours=hours, weekdays=weekdays)

    async def chart(self, request: Request) -> Response:
        """How listening went on."""
        asked = self._asked(request)
        per = request.query_params.get("per", WEEK)
        if per not in INTERVALS:
            raise Odd("per has to be day, week or month")
        told = await self._desk.ask("course", f"--per={per}", *asked.options("by", "min"))
        # There may be thousands of them, and nobody sees milliseconds.
        seconds = [round(each["heard_ms"] / 1000) for each in told["periods"]]
        return self._pages.show(
            request, "chart.html", told=told, asked=asked, per=per, periods=INTERVALS, seconds=seconds
        )

    async def calendar(self, request: Request) -> Response:
        """The days of a year."""
        year, asked = self._year(request), self._asked(request, when=False)
        told = await self._desk.ask("calendar", f"--year={year}", *asked.options("by", "min"))
        return self._pages.show(
            request,
            "calendar.html",
            told=told,
            months=[list(days) for _, days in groupby(told["calendar"], _month_of)],
            year=year,
            asked=asked,
            before=year - 1 if year > FIRST_DAY.year else None,
            after=self._later(year),
        )

    async def review(self, request: Request) -> Response:
        """A year in review."""
        year, asked = self._year(request), self._asked(request, when=False)
        told = await self._desk.ask("year", *asked.options("by", "min"), str(year))
        covers = await self._images(_keys_of(told["top"]))
        return self._pages.show(
            request,
            "review.html",
            told=told,
            year=year,
            asked=asked,
            covers=covers,
            albums=await self._albums(line["key"] for line in told["top"][ALBUMS]),
            before=year - 1 if year > FIRST_DAY.year else None,
            after=self._later(year),
        )

    async def review_image(self, request: Request) -> Response:
        """The same as an image to be shared: nothing but figures and names is in it."""
        year, asked = self._year(request), self._asked(request, when=False)
        told = await self._desk.ask("year", *asked.options("by", "min"), str(year))
        text = self._pages.text("review.svg", told=told, year=year, asked=asked)
        headers = {
            "cache-control": "private, no-cache",
            "content-disposition": f'inline; filename="spotify-{year}.svg"',
        }
        return Response(text, media_type="image/svg+xml", headers=headers)

    # One thing

    async def track(self, request: Request) -> Response:
        """One track's own page."""
        return await self._portrait(request, TRACKS)

    async def artist(self, request: Request) -> Response:
        """One artist's own page."""
        return await self._portrait(request, ARTISTS)

    async def album(self, request: Request) -> Response:
        """One album's own page."""
        return await self._portrait(request, ALBUMS)

    async def _portrait(self, request: Request, kind: str) -> Response:
        asked = self._asked(request, whole=True)
        text = text_of(request.query_params, "q")
        if not text:
            raise Odd("what is it called?")
        told = await self._desk.ask(NOUNS[kind], f"-n{LINES}", *asked.options("by", "min"), "--", text)
        found = told["found"]
        keys = [line["key"] for line in told["candidates"][:LINES]]
        about = CatalogEntry()
        if found:
            keys = [found["key"], *(line["key"] for part in PARTS for line in found.get(part, ()))]
            about = await self._desk.run(lambda store: _entry(store, found["key"]))
        return self._pages.show(
            request,
            "portrait.html",
            kind=NOUNS[kind],
            text=text,
            told=told,
            asked=asked,
            about=about,
            artists=artist_names(about),
            covers=await self._images(keys),
            albums=await self._albums(keys),
            lines=LINES,
        )

    async def search(self, request: Request) -> Response:
        """How many times?"""
        asked = self._asked(request, whole=True)
        text = text_of(request.query_params, "q")
        told = None
        covers: Mapping[str, str] = {}
        if text:
            told = await self._desk.ask("count", *asked.options("by", "min"), "--", text)
            covers = await self._images(track["keys"][0] for track in told["tracks"][:LINES])
        return self._pages.show(
            request,
            "search.html",
            text=text,
            told=told,
            asked=asked,
            covers=covers,
            lines=LINES,
            pages=[] if told is None else _pages_of(text, told["tracks"]),
        )

    # The logger

    async def health(self, request: Request) -> Response:
        """Is the logger alive and well, and the login? 503 when it is not, for what watches over it."""
        told = await self._desk.ask("status")
        code = HTTPStatus.OK if told["well"] else HTTPStatus.SERVICE_UNAVAILABLE
        about = {"told": told, "login": self._login, "now": time.time(), "overdue": OVERDUE_AFTER}
        return self._pages.show(request, "health.html", code, **about)

    async def log_in(self, request: Request) -> Response:
        """Begin a login at Spotify, or take what somebody pasted."""
        form = await form_of(request)
        pasted = form.get("address", "").strip()
        if pasted:
            self._login.paste(pasted)
        else:
            await self._desk.run(lambda _: self._login.begin())
        return RedirectResponse(f"/health{request.state.household.query}#login", HTTPStatus.SEE_OTHER)

    async def log_in_state(self, _: Request) -> Response:
        """How far the login is."""
        return JSONResponse(
            {"waiting": bool(self._login.url), "done": self._login.is_done, "lines": self._login.lines}
        )

    # Common to several

    def _look_back(self, store: Store) -> dict[str, Any]:
        now = time.time()
        begin = self._zone.midnight(year_before(self._zone.day(now)))
        question = Question(now, self._zone, between(begin, None, "the last 12 months"))
        found: dict[str, Any] = self._overview.data(store.archive(), question)
        return found

    async def _latest_day(self) -> dict[str, Any]:
        """Today, or yesterday as long as nothing was played today."""
        today: dict[str, Any] = await self._desk.ask("day", "today")
        if today["timeline"]:
            return today
        yesterday: dict[str, Any] = await self._desk.ask("day", "yesterday")
        return yesterday if yesterday["timeline"] else today

    async def _open_key(self) -> str | None:
        """The key of the play that goes on."""
        playing = (await self._desk.ask("now"))["now"]
        return playing and str(playing["key"])

    def _day_of(self, each: Mapping[str, Any]) -> str:
        """The local day of a play or a gap."""
        begin = from_iso(each["gap"]["from"]) if "gap" in each else None
        second = (second_of_key(each["key"]) or 0) if begin is None else begin / 1000
        return str(self._zone.day(second))

    @property
    def _today(self) -> date:
        return self._zone.day(time.time())

    def _asked(self, request: Request, *, whole: bool = False, when: bool = True) -> Asked:
        return Asked(request.query_params, self._today, whole=whole, when=when)

    def _year(self, request: Request) -> int:
        number = request.path_params.get("year")
        return self._today.year if number is None else int(number)

    def _later(self, year: int) -> int | None:
        """The year after, unless it is still to come."""
        return year + 1 if year < self._today.year else None

    async def _images(self, keys: Iterable[str]) -> dict[str, str]:
        wanted = list(keys)
        return await self._desk.run(lambda store: self._covers.of(store, wanted))

    async def _albums(self, keys: Iterable[str]) -> dict[str, str]:
        """What to ask for to see the album of an item, by its key: names alone may be those of several."""
        wanted = list(dict.fromkeys(keys))
        found = await self._desk.run(lambda store: list(store.archive().catalog(wanted, ["album_id"])))
        return {key: f"album:{album}" for key, (album,) in found if album}


def _keys_of(best: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    return [line["key"] for kind in (TRACKS, ALBUMS) for line in best[kind]]


def _keys_of_plays(timeline: Iterable[Mapping[str, Any]]) -> list[str]:
    return [key_of(play) for play in timeline if "gap" not in play]


def _pages_of(text: str, tracks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """The pages of artists and albums all of whose words a text has: the kind, the name, what to ask for."""
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


def _summed(cells: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, int]]:
    """What cells with the same hour, or the same weekday, have together, in their order."""
    found: dict[object, dict[str, int]] = {}
    for each in cells:
        sums = found.setdefault(each[name], {"plays": 0, "heard_ms": 0})
        for measure in sums:
            sums[measure] += each[measure]
    return list(found.values())


def _month_of(each: Mapping[str, str]) -> str:
    return each["day"][: len("2026-11")]


def _entry(store: Store, key: str) -> CatalogEntry:
    ((_, values),) = store.archive().catalog([key], CatalogEntry._fields)
    return CatalogEntry._make(values)


async def form_of(request: Request) -> dict[str, str]:
    """What a form sent.

    Raises:
        Odd: It is no form, or has too many fields or bytes.
    """
    kind = request.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    if kind != FORM:
        raise Odd(f"a form has to be sent as {FORM}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            raise Odd("that is too long")
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Odd(f"a form has at most {MOST_FIELDS} fields") from None
