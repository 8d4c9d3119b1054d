"""Jinja templates and their filters."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from spotify_logger import __version__
from spotify_logger.core.display import format_duration
from spotify_logger.core.redis_keys import PLAY_FIELDS, second_of_key
from spotify_logger.core.times import from_iso
from spotify_logger.queries.status import UNNAMED
from spotify_logger.report import words
from spotify_logger.web.covers import catalog_key_of_play, initial, small_cover, tile_color
from spotify_logger.web.svg_text import fit_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.web.static_files import Assets

NOBODY = "-"
"""Stands for the unnamed listener where an empty value means no choice."""
SHADES = 5
"""Shades of a heatmap, not counting the one for zero."""


class CurrentListener(NamedTuple):
    """The listener of a page.

    Attributes:
        name: "" for the unnamed listener.
        names: All listeners that have a log.
    """

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
    """Renders templates.

    Args:
        assets: The static files.
        zone: The time zone for dates and times.
        more: Additional globals for all templates.
    """

    def __init__(self, assets: Assets, zone: Zone, more: Mapping[str, object]) -> None:
        self._zone = zone
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
            "percent": _percentage,
            "duration_in_words": words.rough_duration,
            "timestamp": _timestamp,
            "time": self._time,
            "date": self._date,
            "datetime": self._datetime,
            "long_date": _long_date,
            "tile_color": tile_color,
            "initial": initial,
            "small_cover": small_cover,
            "shade": _shade,
            "item_url": _item_url,
            "listener_name": _listener_name,
            "catalog_key": catalog_key_of_play,
            "with_all_fields": _with_all_fields,
            "started_at": _started_at,
            "fit_text": fit_text,
        }

    def render_text(self, template: str, **context: object) -> str:
        """Return a rendered template."""
        return self._environment.get_template(template).render(**context)

    def render(self, request: Request, template: str, status: int = 200, **context: object) -> Response:
        """Return a rendered page, or 304 if the browser already has it."""
        listener = getattr(request.state, "listener", CurrentListener("", ()))
        body = self.render_text(template, path=request.url.path, listener=listener, **context).encode()
        headers = {"cache-control": "private, no-cache", "vary": "accept-encoding, cookie"}
        if status != 200:  # noqa: PLR2004 - OK
            return HTMLResponse(body, status, headers)
        headers["etag"] = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(body, status, headers)

    def _datetime(self, stamp: str | None) -> str:
        """Format a UTC timestamp in local time: "2026-11-22 19:00"; "" for None."""
        return "" if stamp is None else f"{self._local(stamp):%Y-%m-%d %H:%M}"

    def _time(self, stamp: str) -> str:
        """Format a UTC timestamp as a local time: "19:00"."""
        return f"{self._local(stamp):%H:%M}"

    def _date(self, stamp: str) -> str:
        """Format a UTC timestamp as a local date: "2026-11-22"."""
        return f"{self._local(stamp):%Y-%m-%d}"

    def _local(self, stamp: str) -> datetime:
        return self._zone.local(_timestamp(stamp))


def _timestamp(stamp: str) -> float:
    """Return a UTC timestamp or date in seconds since the epoch; midnight for a date."""
    if len(stamp) == len("2026-11-22"):
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
    return (from_iso(stamp) or 0) / 1000


def _with_all_fields(play: Mapping[str, Any]) -> dict[str, Any]:
    """Return a play with all fields; those that Spotify left out are None."""
    return {**dict.fromkeys(PLAY_FIELDS), **play}


def _started_at(play: Mapping[str, Any]) -> str:
    """Return the start of a play as a UTC timestamp, from its key, as its hash may be incomplete."""
    return words.utc_time(second_of_key(str(play["key"])) or 0) or ""


def _listener_name(listener: str) -> str:
    return listener or UNNAMED


def _percentage(share: float | None) -> str:
    return "–" if share is None else words.percentage(share, 1)


def _long_date(day: str) -> str:
    """Format a date: "Sunday, 22 November 2026"."""
    return f"{date.fromisoformat(day):%A, %-d %B %Y}"


def _shade(value: float, maximum: float) -> int:
    """Return the shade of a value: 0 for zero, up to `SHADES` for the maximum."""
    return 0 if not value or not maximum else max(1, -int(-value * SHADES // maximum))


def _item_url(kind: str, text: str) -> Markup:
    """Return the URL of the page of a track, an artist or an album."""
    return Markup(f"/{kind}?q={quote(text, safe='')}")  # noqa: S704 - quoted
