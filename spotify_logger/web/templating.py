"""Jinja templates and their filters."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, JSONResponse, Response

from spotify_logger import __version__
from spotify_logger.config.listeners import NOBODY, UNNAMED
from spotify_logger.core.display import format_duration
from spotify_logger.core.play import PLAY_FIELDS
from spotify_logger.core.player_state import is_spotify_id
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import from_iso, utc_time
from spotify_logger.queries.question import Question
from spotify_logger.report import words
from spotify_logger.web.covers import catalog_key_of_play, initial, small_cover, tile_color
from spotify_logger.web.preferences import ZONE
from spotify_logger.web.text_width import fit_text, largest_font_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from spotify_logger.web.static_files import Assets

API_PATH = "/api/v1"
TOKEN_PATHS = (f"{API_PATH}/", "/metrics")  # are for programs: they need a token, and errors are problems
PROBLEM_JSON = "application/problem+json"
CACHE_HEADERS = {"cache-control": "private, no-cache", "vary": "authorization, cookie"}
ON_SPOTIFY = ("track", "episode", "artist", "album", "show", "playlist")
DAY_FORM = "%-d %b %Y"  # in which views write days, maybe with a weekday before or a time after
TIME_FORM = f"{DAY_FORM}, %H:%M"
SHADES = 5  # of a heatmap, not counting the one for zero


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
        self._environment.globals |= {"asset": assets.url, "version": __version__, **more}
        self._environment.filters |= {
            "duration": words.listening_time,
            "minutes_seconds": format_duration,
            "number": "{:,}".format,
            "pluralize": words.counted,
            "percent": lambda share: "–" if share is None else words.share(share, 1).for_people,
            "duration_in_words": words.rough_duration,
            "timestamp": _timestamp,
            "time": _local_time("%H:%M"),
            "date": _local_time("%Y-%m-%d"),
            "datetime": _local_time(TIME_FORM),
            "day": lambda text: f"{_day_of(text):{DAY_FORM}}",
            "week_end": lambda monday: str(date.fromisoformat(monday) + timedelta(days=6)),
            "long_date": lambda day: f"{date.fromisoformat(day):%A, {DAY_FORM}}",
            "tile_color": tile_color,
            "initial": initial,
            "small_cover": small_cover,
            "shade": _shade,
            "item_url": item_url,
            "spotify_url": spotify_url,
            "listener_name": lambda listener: listener or UNNAMED,
            "catalog_key": catalog_key_of_play,
            # Those that Spotify left out are None.
            "with_all_fields": lambda play: {**dict.fromkeys(PLAY_FIELDS), **play},
            # From its key, as its hash may be incomplete.
            "started_at": lambda play: utc_time(second_of_key(str(play["key"])) or 0) or "",
            "fit_text": fit_text,
            "font_size": largest_font_size,
        }

    def render_text(self, template: str, **context: object) -> str:
        """Return a rendered template."""
        chosen = {"zone_name": ZONE.get().name, "rule": Question(0.0).rule_words}
        return self._environment.get_template(template).render(**chosen, **context)

    def render(self, request: Request, template: str, status: int = 200, **context: object) -> Response:
        """Return a rendered page, or 304 if the browser already has it."""
        listener = getattr(request.state, "listener", CurrentListener("", ()))
        notice = getattr(request.state, "notice", None)
        about = {"path": request.url.path, "listener": listener, "notice": notice}
        text = self.render_text(template, **about, **context)
        if status == HTTPStatus.OK:
            return cacheable(request, text, "text/html")
        return HTMLResponse(text, status, CACHE_HEADERS)


def problem(status: int, title: str, detail: str) -> Response:
    """Return an error for programs (RFC 9457)."""
    return JSONResponse({"title": title, "status": status, "detail": detail}, status, media_type=PROBLEM_JSON)


def cacheable(request: Request, text: str, media_type: str) -> Response:
    """Return a response, or 304 if the client already has it."""
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
    headers, known = {**CACHE_HEADERS, "etag": f"W/{tag}"}, ",".join(request.headers.getlist("if-none-match"))
    if known.strip() == "*" or tag in re.findall(r'"[^"]*"', known):  # weak or not (RFC 9110, 13.1.2)
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    return Response(text, 200, headers, media_type)


def item_url(kind: str, text: str) -> Markup:
    """Return the path of the page of a thing; that of a track is that of an episode if `text` is its key."""
    kind = "episode" if kind == "track" and text.startswith("episode:") else kind
    return Markup(f"/{kind}?q={quote(text, safe='')}")  # noqa: S704 - quoted


def spotify_url(name: str) -> str:
    """Return the link to something on Spotify, by its key or URI; "" if it is not there."""
    kind, _, identity = name.removeprefix("spotify:").partition(":")
    return (
        f"https://open.spotify.com/{kind}/{identity}"
        if kind in ON_SPOTIFY and is_spotify_id(identity)
        else ""
    )


def shown_period(text: str) -> str:
    """Return an ISO day or month as views write it: "22 Nov 2026", "Nov 2026"; anything else unchanged."""
    for given, form in (("%Y-%m-%d", DAY_FORM), ("%Y-%m", "%b %Y")):
        with suppress(ValueError):
            return f"{datetime.strptime(text, given):{form}}"  # noqa: DTZ007 - a day
    return text


def _timestamp(stamp: str) -> float:
    """Return a UTC timestamp or date in seconds since the epoch; midnight for a date."""
    if len(stamp) == len("2026-11-22"):
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
    return (from_iso(stamp) or 0) / 1000


def _day_of(stamp: str) -> date:
    """Return the day that an ISO date names, or on which a UTC timestamp is."""
    is_day = len(stamp) == len("2026-11-22")
    return date.fromisoformat(stamp) if is_day else ZONE.get().day(_timestamp(stamp))


def _local_time(layout: str) -> Callable[[str | None], str]:
    """Return a filter that shows a UTC timestamp in local time; "" for None."""
    return lambda stamp: "" if stamp is None else ZONE.get().local(_timestamp(stamp)).strftime(layout)


def _shade(value: float, maximum: float) -> int:
    """Return the shade of a value: 0 for zero, up to `SHADES` for the maximum."""
    return 0 if not value or not maximum else max(1, -int(-value * SHADES // maximum))
