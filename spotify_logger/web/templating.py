"""Jinja templates, and what they refer to: filters, static files, and the covers and links of rows."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from zlib import crc32

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from spotify_logger import __version__
from spotify_logger.core.catalog import Artist, CatalogEntry, artists_of
from spotify_logger.core.play import PLAY_FIELDS, format_duration
from spotify_logger.core.player_state import catalog_key, is_spotify_id
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import seconds_of, utc_time
from spotify_logger.queries.dispatch import NOBODY
from spotify_logger.queries.question import Question
from spotify_logger.report import words
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.request_params import DAY_FORM, ZONE

STATIC_FILES = Path(__file__).parent / "static"
# Chart.js with its date adapter. Chartkick's own code is neither used nor imported.
CHART_PACKAGE, CHART_FOLDER = "chartkick", "django/static/chartkick"
API_PATH = "/api/v1"
TOKEN_PATHS = (f"{API_PATH}/", "/metrics")  # are for programs: they need a token, and errors are problems
JSON, PROBLEM_JSON, SCRIPT = "application/json", "application/problem+json", "text/javascript"
CACHE_HEADERS = {"cache-control": "private, no-cache", "vary": "authorization, cookie"}
ON_SPOTIFY = ("track", "episode", "artist", "album", "show", "playlist")
# The prefix of an image's ID gives its size. Spotify has three of each album; the catalog stores the one of
# 640 pixels, which every API response lists. Other URLs are used unchanged.
SPOTIFY_COVER = re.compile(r"https://i\.scdn\.co/image/[0-9a-zA-Z]{1,100}")
DEMO_COVER = re.compile(r"/covers/[0-9a-zA-Z]{1,100}\.svg")  # the demo's page draws them
LARGE, MIDDLE, SMALL = "ab67616d0000b273", "ab67616d00001e02", "ab67616d00004851"
TILE_COLORS = 8
SHADES = 5  # of a heatmap, up to that for the maximum, besides 0


class Assets(StaticFiles):
    """The static files and the chart library; Misconfigured if that is not installed.

    Their URLs begin with `path`, which changes with their content, so browsers never ask for them again.
    """

    def __init__(self) -> None:
        if not find_spec(CHART_PACKAGE):  # does not import it
            raise Misconfigured("the chart library is missing: pip install 'spotify-logger[web]'")
        super().__init__(directory=STATIC_FILES, packages=[(CHART_PACKAGE, CHART_FOLDER)])
        paths = (path for folder in self.all_directories for path in sorted(Path(folder).iterdir()))
        digest = sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
        self.path = f"/static/{digest[:12]}"

    def file_response(self, *about: Any, **more: Any) -> Response:  # noqa: ANN401 - those of Starlette
        """Return a response that browsers cache."""
        response = super().file_response(*about, **more)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


class ItemLinks(NamedTuple):
    """What items link to, by their keys in the catalog."""

    covers: Mapping[str, str]  # URLs of images of 300 pixels
    albums: Mapping[str, str]  # the queries of their pages; album names are not unique
    artists: Mapping[str, Sequence[Artist]]


def item_links(store: Archive, keys: Iterable[str], *, covers: bool) -> ItemLinks:
    """Return what items link to, by their keys; `covers` allows those on Spotify's host."""
    form = SPOTIFY_COVER if covers else DEMO_COVER
    images, albums, artists = {}, {}, {}
    for key, (cover, *about) in store.catalog(list(dict.fromkeys(keys)), ["cover", *CatalogEntry._fields]):
        entry = CatalogEntry._make(about)
        artists[key] = artists_of(entry)
        if entry.album_id:
            albums[key] = f"{'show' if key.startswith('episode:') else 'album'}:{entry.album_id}"
        if form.fullmatch(cover):
            images[key] = cover.replace(LARGE, MIDDLE)
    return ItemLinks(images, albums, artists)


class CurrentListener(NamedTuple):
    """The name of the listener of a page ("" for the unnamed one), and of all that have a log."""

    name: str
    names: Sequence[str]

    @property
    def others(self) -> list[str]:
        """All other listeners."""
        return [name for name in self.names if name != self.name]

    @property
    def query(self) -> str:
        """The query string that pins requests of an open page to this listener."""
        return f"?listener={self.name or NOBODY}" if self.others else ""


class Templates:
    """Renders templates, with dates and times in the time zone of the request, and additional globals."""

    def __init__(self, assets: Assets, more: Mapping[str, object]) -> None:
        self._environment = Environment(
            loader=PackageLoader("spotify_logger.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"asset": f"{assets.path}/{{}}".format, "version": __version__, **more}
        self._environment.filters |= {
            "duration": words.listening_time,
            "minutes_seconds": format_duration,
            "number": "{:,}".format,
            "pluralize": lambda number, noun: str(words.counted(number, noun)),
            "percent": lambda share: "–" if share is None else words.share(share, 1).for_people,
            "duration_in_words": words.rough_duration,
            "timestamp": lambda stamp: seconds_of(stamp) or 0.0,
            "time": partial(_written, "%H:%M"),
            "date": partial(_written, "%Y-%m-%d"),
            "datetime": partial(_written, f"{DAY_FORM}, %H:%M"),
            "day": partial(_written, DAY_FORM),
            "long_date": partial(_written, f"%A, {DAY_FORM}"),
            "week_end": lambda monday: str(date.fromisoformat(monday) + timedelta(days=6)),
            "tile_color": lambda name: crc32(name.encode(errors="replace")) % TILE_COLORS,
            "initial": lambda name: next(filter(str.isalnum, name), "?").upper()[:1],
            "small_cover": lambda cover: cover.replace(MIDDLE, SMALL),
            "shade": lambda value, most: value and most and max(1, -int(-value * SHADES // most)),
            "item_url": item_url,
            "spotify_url": spotify_url,
            "listener_name": lambda listener: listener or words.UNNAMED,
            "catalog_key": catalog_key_of_play,
            # Those that Spotify left out are None.
            "with_all_fields": lambda play: {**dict.fromkeys(PLAY_FIELDS), **play},
            # From its key, as its hash may be incomplete.
            "started_at": lambda play: utc_time(second_of_key(str(play["key"])) or 0) or "",
        }

    async def compile(self) -> None:
        """Compile all templates, which takes a few tenths of a second, aside from the event loop."""
        for name in self._environment.list_templates():
            await asyncio.to_thread(self._environment.get_template, name)

    def render_text(self, template: str, **context: object) -> str:
        """Return a rendered template."""
        chosen = {"zone_name": ZONE.get().name, "rule": Question(0.0).rule_words}
        return self._environment.get_template(template).render(**chosen, **context)

    def render(
        self, request: Request, template: str, status: int = 200, media: str = "text/html", /, **about: object
    ) -> Response:
        """Return a rendered page, or 304 if the browser already has it; `media` is its type."""
        listener = getattr(request.state, "listener", CurrentListener("", ()))
        notice = getattr(request.state, "notice", None)
        text = self.render_text(template, path=request.url.path, listener=listener, notice=notice, **about)
        if status == HTTPStatus.OK:
            return cacheable(request, text, media)
        return HTMLResponse(text, status, CACHE_HEADERS)


def problem(status: int, title: str, detail: str) -> Response:
    """Return an error for programs (RFC 9457)."""
    return JSONResponse({"title": title, "status": status, "detail": detail}, status, media_type=PROBLEM_JSON)


def cacheable(request: Request, text: str, media_type: str) -> Response:
    """Return a response, or 304 if the client already has it."""
    tag = f'"{sha256(text.encode()).hexdigest()[:24]}"'
    headers, known = {**CACHE_HEADERS, "etag": f"W/{tag}"}, ",".join(request.headers.getlist("if-none-match"))
    if known.strip() == "*" or tag in re.findall(r'"[^"]*"', known):  # weak or not (RFC 9110, 13.1.2)
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    return Response(text, 200, headers, media_type)


def item_url(kind: str, text: str) -> str:
    """Return the path of the page of a thing; that of a track is that of an episode if `text` is its key."""
    kind = "episode" if kind == "track" and text.startswith("episode:") else kind
    return f"/{kind}?q={quote(text, safe='')}"


def spotify_url(name: str) -> str:
    """Return the link to something on Spotify, by its key or URI; "" if it is not there."""
    kind, _, identity = name.removeprefix("spotify:").partition(":")
    is_there = kind in ON_SPOTIFY and is_spotify_id(identity)
    return f"https://open.spotify.com/{kind}/{identity}" if is_there else ""


def catalog_key_of_play(play: Mapping[str, Any]) -> str:
    """Return the catalog key of the item of a play."""
    return catalog_key(str(play.get("type", "track")), str(play.get("id", "")), str(play.get("uri", "")))


def _written(form: str, stamp: str | None) -> str:
    """Return a UTC timestamp in local time, or an ISO date, in a format; "" for None."""
    if stamp is None:
        return ""
    is_day = len(stamp) == len("2026-11-22")
    moment = date.fromisoformat(stamp) if is_day else ZONE.get().local(seconds_of(stamp) or 0.0)
    return moment.strftime(form)
