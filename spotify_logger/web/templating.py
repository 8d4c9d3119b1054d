"""Templates, and what they show figures and times with."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from spotify_logger import __version__
from spotify_logger.core.display import format_duration
from spotify_logger.core.redis_keys import PLAY_FIELDS, second_of_key
from spotify_logger.core.times import from_iso
from spotify_logger.queries.status import UNNAMED
from spotify_logger.report import words
from spotify_logger.web.covers import initial, key_of, small, tile
from spotify_logger.web.svg_text import fitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from spotify_logger.core.periods import Zone
    from spotify_logger.web.static_files import Assets

NOBODY = "-"
"""Stands for the listener without a name, where a blank would stand for no choice."""
STEPS = 5
"""Shades of a heatmap, beside that of nothing."""


class Household(NamedTuple):
    """Whose page it is.

    Attributes:
        listener: The name; "" for the one without a name.
        listeners: All that have a log.
    """

    listener: str
    listeners: Sequence[str]

    @property
    def others(self) -> list[str]:
        """All but this one."""
        return [name for name in self.listeners if name != self.listener]

    @property
    def query(self) -> str:
        """What an open page puts behind an address to ask about this one, whoever was chosen meanwhile."""
        return f"?listener={self.listener or NOBODY}" if self.others else ""


class Pages:
    """Makes pages of templates.

    Args:
        assets: The files that they refer to.
        zone: Whose clocks they show.
        more: What every template knows beside that.
    """

    def __init__(self, assets: Assets, zone: Zone, more: Mapping[str, object]) -> None:
        self._zone = zone
        self._templates = Environment(
            loader=PackageLoader("spotify_logger.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals |= {"asset": assets.address, "version": __version__, **more}
        self._templates.filters |= {
            "listened": words.listening_time,
            "minutes": format_duration,
            "number": "{:,}".format,
            "counted": words.counted,
            "percentage": _percentage,
            "span": words.rough_duration,
            "second": _second,
            "clock": self._clock,
            "day": self._day,
            "moment": self._moment,
            "weekday": _weekday,
            "tile": tile,
            "initial": initial,
            "small": small,
            "step": _step,
            "link": _link,
            "query": urlencode,
            "called": _called,
            "item": key_of,
            "whole": _whole,
            "begun": _begun,
            "fitted": fitted,
        }

    def text(self, template: str, **told: object) -> str:
        """What a template makes of what is told."""
        return self._templates.get_template(template).render(**told)

    def show(self, request: Request, template: str, status: int = 200, **told: object) -> Response:
        """A page, or that the browser has it already."""
        household = getattr(request.state, "household", Household("", ()))
        body = self.text(template, path=request.url.path, household=household, **told).encode()
        headers = {"cache-control": "private, no-cache", "vary": "accept-encoding, cookie"}
        if status != 200:  # noqa: PLR2004 - all is well
            return HTMLResponse(body, status, headers)
        headers["etag"] = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(body, status, headers)

    def _moment(self, stamp: str | None) -> str:
        """A UTC stamp as clocks show it: "2026-11-22 19:00"; "" for none."""
        return "" if stamp is None else f"{self._local(stamp):%Y-%m-%d %H:%M}"

    def _clock(self, stamp: str) -> str:
        """The same without the day: "19:00"."""
        return f"{self._local(stamp):%H:%M}"

    def _day(self, stamp: str) -> str:
        """The same without the time."""
        return f"{self._local(stamp):%Y-%m-%d}"

    def _local(self, stamp: str) -> datetime:
        return self._zone.local(_second(stamp))


def _second(stamp: str) -> float:
    """A UTC stamp in seconds since the epoch; a day's is its first."""
    if len(stamp) == len("2026-11-22"):
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
    return (from_iso(stamp) or 0) / 1000


def _whole(play: Mapping[str, Any]) -> dict[str, Any]:
    """A play with all its fields; what Spotify has left out is None."""
    return {**dict.fromkeys(PLAY_FIELDS), **play}


def _begun(play: Mapping[str, Any]) -> str:
    """When a play began, as a UTC stamp: its key tells it, whatever its hash has lost."""
    return words.utc_time(second_of_key(str(play["key"])) or 0) or ""


def _called(listener: str) -> str:
    return listener or UNNAMED


def _percentage(share: float | None) -> str:
    return "–" if share is None else words.percentage(share, 1)


def _weekday(day: str) -> str:
    """What to call a day: "Sunday, 22 November 2026"."""
    return f"{date.fromisoformat(day):%A, %-d %B %Y}"


def _step(value: float, most: float) -> int:
    """Which shade a value has, 0 for nothing up to `STEPS` for the most."""
    return 0 if not value or not most else max(1, -int(-value * STEPS // most))


def _link(kind: str, text: str) -> Markup:
    """The address of the page of a track, an artist or an album."""
    return Markup(f"/{kind}?q={quote(text, safe='')}")  # noqa: S704 - quoted
