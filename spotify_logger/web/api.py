"""The API: questions by their paths, answered with the JSON of the command; `openapi` describes them."""

from __future__ import annotations

import json
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.routing import Route

from spotify_logger.config.listeners import NOBODY, unknown_listener
from spotify_logger.config.settings import is_loopback
from spotify_logger.monitoring import status
from spotify_logger.queries.dispatch import QUERIES, load_query
from spotify_logger.queries.sql import CHOICES
from spotify_logger.report.answers import to_json
from spotify_logger.transfer import tokens
from spotify_logger.web.auth import Throttle
from spotify_logger.web.middleware import is_forwarded
from spotify_logger.web.monitors import healthz, metrics
from spotify_logger.web.request_params import BadRequest, read_day, read_question, search_text
from spotify_logger.web.templating import API_PATH, cacheable, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.queries.question import Question
    from spotify_logger.queries.sql import Log
    from spotify_logger.web.listeners import Listeners

COUNTED = ("min", *(PERIOD := ("since", "until", "year", "month", "last", "tz")))
NOUNS = ("track", "artist", "album", "episode", "show")
KINDS_OF_KEY = {*NOUNS, "spotify", "local"}  # what keys and URIs begin with
RANKED = ("by", "n", "exact", *COUNTED)
MAX_WRONG_TOKENS = 100  # in a minute, from an address: a dashboard with an old one sends many
OF_A_YEAR = ("year", "tz", "min", "by")
OBSERVATIONS: Mapping[str, Callable[..., Any]] = {"now": status.now_playing, "status": status.status}
"""What answers the commands that are not asked of the index."""


class Endpoint(NamedTuple):
    """A command, its options that are parameters, and those that are fixed."""

    command: str
    parameters: Sequence[str] = ()
    options: Mapping[str, Any] = {}


ENDPOINTS: Mapping[str, Endpoint] = {
    "now": Endpoint("now"),
    "status": Endpoint("status"),
    "recent": Endpoint("recent", ("n", *PERIOD), {"limit": 20}),
    **{f"top/{kind}": Endpoint("top", RANKED, {"kind": kind}) for kind in CHOICES},
    "count": Endpoint("count", ("q", *RANKED)),
    "stats": Endpoint("stats", ("exact", *COUNTED)),
    **{f"{noun}/{{{noun}}}": Endpoint("track", RANKED, {"kind": f"{noun}s", "limit": 5}) for noun in NOUNS},
    "day": Endpoint("day", ("day", "tz", "min")),
    "clock": Endpoint("clock", ("by", *COUNTED)),
    "calendar": Endpoint("calendar", OF_A_YEAR, {"year": 0}),
    "year": Endpoint("year", OF_A_YEAR, {"year": 0}),
}
"""The commands by their paths; a name in braces stands for what selects one, see `_texts`."""


class Api:
    """The endpoints for programs, and whose logs a program may read."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._throttle = Throttle(time.monotonic, MAX_WRONG_TOKENS)
        self.routes = [
            Route(f"{API_PATH}/openapi.json", _describe),
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthz),
            *(
                Route(f"{API_PATH}/{path.replace('}', ':path}')}", partial(self._answer, each))
                for path, each in ENDPOINTS.items()  # a name or a URI may have a slash
            ),
        ]

    async def _readable(self, request: Request) -> list[str]:
        """Return the listener in the query of a request, or all that it may read, the default one first."""
        token, known = await self._token(request), await self._listeners.names()
        names = token.listeners if token else list(dict.fromkeys([self._listeners.default(known), *known]))
        requested = request.query_params.get("listener", names[0] or NOBODY)
        name = "" if requested == NOBODY else requested
        if name in names:
            return [name] if "listener" in request.query_params else names
        if token:
            raise HTTPException(403, f"the token {token.name} is not for this listener")
        raise BadRequest(unknown_listener(name, names))

    async def _token(self, request: Request) -> tokens.ApiToken | None:
        """Return the token of a request; None if it may read what the page shows on this machine."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        address = request.client.host if request.client else ""
        if scheme.lower() != "bearer":
            is_signed_in = getattr(request.state, "is_signed_in", lambda: True)  # or there is no password
            if is_loopback(address) and not is_forwarded(request) and is_signed_in():
                return None
            advice = "this needs a token: create one with `spotify-logger token new NAME`"
            raise HTTPException(401, advice, {"www-authenticate": "Bearer"})
        page = await self._listeners.default_page()
        if found := await page.run(lambda store: tokens.find(store, text.strip())):
            return found  # without a wait, as another program on its machine may still send a revoked one
        if wait := self._throttle.retry_after(address):
            raise HTTPException(429, "too many wrong tokens", {"retry-after": str(math.ceil(wait))})
        self._throttle.record_failure(address)
        advice = "this token is wrong or has been revoked: see `spotify-logger token list`"
        raise HTTPException(401, advice, {"www-authenticate": 'Bearer error="invalid_token"'})

    async def _healthz(self, _: Request) -> Response:
        return await healthz(await self._listeners.default_page())

    async def _metrics(self, request: Request) -> Response:
        pages = {name: self._listeners.page_of(name) for name in await self._readable(request)}
        return await metrics(pages, request)

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        page = self._listeners.page_of((await self._readable(request))[0])
        texts = _read(request, (*endpoint.parameters, "listener"))
        if observation := OBSERVATIONS.get(endpoint.command):
            text = json.dumps(to_json(await page.observe(observation)))
            return cacheable(request, text, "application/json")
        question = read_question(texts, time.time(), tz=page.zone, **endpoint.options)
        query, names = load_query(endpoint.command), QUERIES[endpoint.command][2:]
        options = {**endpoint.options, "day": read_day(question, texts.get("day", "today"))}
        for text in _texts(request.path_params) or [search_text(texts, "q")]:
            about = [{**options, "text": text}[name] for name in names]
            is_known, body = await page.ask(request, _answered, question, query, *about)
            if is_known or not request.path_params:
                return cacheable(request, body, "application/json")
        return problem(404, "Not Found", "nothing that was played has this ID, key, URI or name")


def _texts(path_params: Mapping[str, str]) -> list[str]:
    """Return what the end of a path may mean: only a key or a URI, if it is one; else an ID, or a name."""
    found: list[str] = []
    for noun, text in path_params.items():
        is_key = text.partition(":")[0] in KINDS_OF_KEY
        found = [text] if is_key or not text.strip() else [f"{noun}:{text}", text]
    return found


def _read(request: Request, allowed: Sequence[str]) -> dict[str, str]:
    """Return the parameters in the query of a request; raise BadRequest for others."""
    texts: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name not in allowed:
            raise BadRequest(f"unknown parameter {name!r} (known: {', '.join(allowed)})")
        if name in texts or not text.strip():
            raise BadRequest(f"{name} is empty or given twice")
        texts[name] = text
    if "q" in allowed and "q" not in texts:
        raise BadRequest("the parameter q is missing")
    return texts


def _answered(log: Log, question: Question, query: Callable[..., Any], *about: object) -> tuple[bool, str]:
    """Return whether anything matches, and the JSON of the answer."""
    result = query(log, question, *about)
    return getattr(result, "known", True), json.dumps(to_json(result))


async def _describe(request: Request) -> Response:
    from spotify_logger.web.openapi import description  # noqa: PLC0415 - it describes this module

    return cacheable(request, description(), "application/json")
