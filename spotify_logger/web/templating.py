"""Jinja templates and their filters."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from spotify_logger import __version__
from spotify_logger.core.display import format_duration
from spotify_logger.core.play import PLAY_FIELDS
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import from_iso, utc_time
from spotify_logger.monitoring.status import UNNAMED
from spotify_logger.report import words
from spotify_logger.web.covers import catalog_key_of_play, initial, small_cover, tile_color

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.web.static_files import Assets

NOBODY = "-"
"""Stands for the unnamed listener where an empty value means no choice."""
SHADES = 5
"""Shades of a heatmap, not counting the one for zero."""
ELLIPSIS = "…"
# Characters that XML forbids, and bidirectional control characters.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_JOINER = "\u200d"
_NARROW, _WIDE = frozenset(" .,:;'\u2019|!()[]/ijlftrI1-"), frozenset("mwMWOQ@%&—…")


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
    """Renders templates, with dates and times of a time zone and additional globals."""

    def __init__(self, assets: Assets, zone: Zone, more: Mapping[str, object]) -> None:
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
            "percent": lambda share: "–" if share is None else words.percentage(share, 1),
            "duration_in_words": words.rough_duration,
            "timestamp": _timestamp,
            "time": _local_time(zone, "%H:%M"),
            "date": _local_time(zone, "%Y-%m-%d"),
            "datetime": _local_time(zone, "%Y-%m-%d %H:%M"),
            "long_date": lambda day: f"{date.fromisoformat(day):%A, %-d %B %Y}",
            "tile_color": tile_color,
            "initial": initial,
            "small_cover": small_cover,
            "shade": _shade,
            "item_url": lambda kind, text: Markup(f"/{kind}?q={quote(text, safe='')}"),  # noqa: S704 - quoted
            "listener_name": lambda listener: listener or UNNAMED,
            "catalog_key": catalog_key_of_play,
            # Those that Spotify left out are None.
            "with_all_fields": lambda play: {**dict.fromkeys(PLAY_FIELDS), **play},
            # From its key, as its hash may be incomplete.
            "started_at": lambda play: utc_time(second_of_key(str(play["key"])) or 0) or "",
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
        if status == 200:  # noqa: PLR2004 - OK
            headers["etag"] = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            if request.headers.get("if-none-match") == headers["etag"]:
                return Response(None, 304, headers)
        return HTMLResponse(body, status, headers)


def _timestamp(stamp: str) -> float:
    """Return a UTC timestamp or date in seconds since the epoch; midnight for a date."""
    if len(stamp) == len("2026-11-22"):
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
    return (from_iso(stamp) or 0) / 1000


def _local_time(zone: Zone, layout: str) -> Callable[[str | None], str]:
    """Return a filter that shows a UTC timestamp in local time; "" for None."""
    return lambda stamp: "" if stamp is None else zone.local(_timestamp(stamp)).strftime(layout)


def _shade(value: float, maximum: float) -> int:
    """Return the shade of a value: 0 for zero, up to `SHADES` for the maximum."""
    return 0 if not value or not maximum else max(1, -int(-value * SHADES // maximum))


def fit_text(text: str, width: float, font_size: float) -> str:
    """Return `text` for SVG, which does not wrap: truncated with an ellipsis to fit into `width`.

    The font is unknown; widths are those of a wide one, so that text is cut too early rather than too late.
    `font_size` is in the unit of `width`.
    """
    whole = " ".join(_UNSAFE.sub(" ", text).split())
    left = width / font_size - _character_width(ELLIPSIS)
    fits = 0
    for number, character in enumerate(whole, 1):
        left -= _character_width(character)
        if left >= 0:
            fits = number
        elif left + _character_width(ELLIPSIS) < 0:
            return whole[:fits].rstrip(f" {_JOINER}") + ELLIPSIS
    return whole


def _character_width(character: str) -> float:
    """Return the maximum width of a character in common fonts, as a fraction of the font size."""
    if character == _JOINER or unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.25 if ord(character) > 0xFFFF else 1.0  # noqa: PLR2004 - emoji
    if character in _NARROW:
        return 0.38
    return 0.92 if character in _WIDE else 0.72 if character.isupper() else 0.6
