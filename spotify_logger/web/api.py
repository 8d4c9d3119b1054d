"""What programs read: the answers of the command as JSON, by paths that `openapi` describes, and metrics."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spotify_logger.config.settings import is_loopback
from spotify_logger.core.times import seconds_of
from spotify_logger.monitoring.status import LATE_AFTER, Status, is_overdue, status
from spotify_logger.queries.dispatch import NOBODY, unknown_listener
from spotify_logger.queries.question import QUERIES, STATUS, Query, Question
from spotify_logger.queries.sql import CHOICES, Log
from spotify_logger.report.answers import to_json
from spotify_logger.storage.client import StoreError
from spotify_logger.transfer import tokens
from spotify_logger.web.auth import Throttle, is_forwarded
from spotify_logger.web.listeners import ListenerPage, Listeners
from spotify_logger.web.request_params import BadRequest, read_day, read_question, search_text
from spotify_logger.web.templating import API_PATH, JSON, cacheable, problem

Families = dict[str, CounterMetricFamily | GaugeMetricFamily]
ASKED = ("now", "status", "recent", "count", "stats", "day", "clock", "calendar", "year")
NOUNS = ("track", "artist", "album", "episode", "show")
MAX_WRONG_TOKENS = 100  # in a minute, from an address: a dashboard with an old one sends many
ENDPOINTS: Mapping[str, Query] = {
    **{name: QUERIES[name] for name in ASKED},
    **{f"top/{kind}": QUERIES["top"]._replace(defaults={"kind": kind}) for kind in CHOICES},
    **{
        f"{noun}/{{{noun}}}": QUERIES["track"]._replace(defaults={"kind": f"{noun}s", "limit": 5})
        for noun in NOUNS
    },
}
"""The queries by their paths; a name in braces stands for the key, URI, ID or name of one."""


class Api:
    """The endpoints for programs, and whose logs a program may read."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._throttle = Throttle(time.monotonic, MAX_WRONG_TOKENS)
        self.routes = [
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
            if is_loopback(address) and not is_forwarded(request) and request.state.is_signed_in():
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
        """Say in one word whether the logger is well, or why not; the status is 503 then."""
        page = await self._listeners.default_page()
        it = await page.observe(status)
        is_stopped = is_overdue({"next_poll": it.next_poll or ""}, _now(it), LATE_AFTER)
        words = {
            "ok": it.well,
            "redis": it.redis is None,
            "stopped": is_stopped or it.running_here is False,
            "login": it.login == "needed",
            "spotify": it.blind_since,
            "storage": True,
        }
        word = next(word for word, is_true in words.items() if is_true)
        return PlainTextResponse(f"{word}\n", 200 if it.well else 503)

    async def _metrics(self, request: Request) -> Response:
        """Return the figures of listeners as OpenMetrics, those that are known."""
        found: Families = {}
        for name in await self._readable(request):
            await _add_figures(found, name, self._listeners.page_of(name), request)
        text = generate_latest(SimpleNamespace(collect=found.values))  # type: ignore[no-untyped-call]
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def _answer(self, query: Query, request: Request) -> Response:
        page = self._listeners.page_of((await self._readable(request))[0])
        texts = _read(request, (*query.parameters, "listener"))
        if query.module == STATUS:
            text = json.dumps(to_json(await page.observe(query.load())))
            return cacheable(request, text, JSON)
        question = read_question(texts, time.time(), tz=page.zone, **query.defaults)
        options = {**query.defaults, "day": read_day(question, texts.get("day", "today"))}
        candidates = [search_text(texts, "q")]
        for noun, text in request.path_params.items():  # an ID, which has no colon; or a key, a URI or a name
            is_whole = ":" in text or not text.strip()
            candidates = [text] if is_whole else [f"{noun}:{text}", text]
        for text in candidates:
            about = [{**options, "text": text}[name] for name in query.needed]
            is_known, body = await page.ask(request, _answered, question, query.load(), *about)
            if is_known or not request.path_params:
                return cacheable(request, body, JSON)
        return problem(404, "Not Found", "nothing that was played has this ID, key, URI or name")


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


def _now(it: Status) -> float:
    return time.time() - (it.clock_offset or 0)


async def _add_figures(found: Families, listener: str, page: ListenerPage, request: Request) -> None:
    def add(name: str, what: str, value: float | None, **labels: str) -> None:
        labels = {"listener": listener or NOBODY, **labels}
        kind = CounterMetricFamily if name == "polls" else GaugeMetricFamily
        if value is not None:
            new = kind(f"spotify_logger_{name}", what, labels=[*labels])
            found.setdefault(name, new).add_metric([*labels.values()], value)

    it = await page.observe(status)
    now = _now(it)
    until, blind_since = seconds_of(it.login_valid_until), seconds_of(it.blind_since)
    add("well", "1 if the logger is well", it.well)
    add("redis_up", "1 if Redis answers", it.redis is not None)
    add("blind_seconds", "Time for which Spotify has not answered", now - (blind_since or now))
    add("login_remaining_seconds", "Time until somebody has to log in again", until and until - now)
    add("requests_last_day", "Requests to Spotify in 24 hours", it.requests_24h)
    add("outbox_plays", "Plays that are not yet safe in Redis", it.outbox)
    for result, number in it.polls.items():
        add("polls", "Polls of Spotify since the logger started", number, result=result)
    for each in it.forwarding:
        add("forward_waiting", "Listens to be forwarded", each.waiting, receiver=each.host)
        add("forward_refused", "Listens that a receiver refuses", each.refused, receiver=each.host)
        add("forward_stopped", "1 if a receiver refuses its token", each.stopped, receiver=each.host)
    with suppress(StoreError):
        plays, all_plays, seconds = await page.ask(request, _totals, Question(now, page.zone))
        add("plays", "Plays of at least 30 s", plays)
        add("all_plays", "Plays of any length", all_plays)
        add("played_seconds", "Time heard", seconds)


def _totals(log: Log, _: Question) -> tuple[float, ...]:
    """Return the plays of at least half a minute, all plays, and the seconds that were heard."""
    query = "SELECT total(plays), total(all_plays), total(ms_played) / 1000 FROM hours"
    return tuple(log.rows(query)[0])
