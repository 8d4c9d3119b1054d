"""What monitors read: whether the logger is well, and its figures for Prometheus."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from spotify_logger.config.listeners import NOBODY
from spotify_logger.core.times import seconds_of
from spotify_logger.monitoring.status import LATE_AFTER, Status, is_overdue, status
from spotify_logger.queries.question import Question
from spotify_logger.storage.client import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from spotify_logger.queries.sql import Log
    from spotify_logger.web.listeners import ListenerPage


disable_created_metrics()  # type: ignore[no-untyped-call] # they would be the times of the requests


async def healthz(page: ListenerPage) -> Response:
    """Say in one word whether the logger is well, or why not; the status is 503 then."""
    found = await page.observe(status)
    return PlainTextResponse(f"{_word(found)}\n", 200 if found.well else 503)


def _word(it: Status) -> str:
    is_stopped = is_overdue({"next_poll": it.next_poll or ""}, _now(it), LATE_AFTER)
    words = {
        "ok": it.well,
        "redis": it.redis is None,
        "stopped": is_stopped or it.running_here is False,
        "login": it.login == "needed",
        "spotify": it.blind_since,
    }
    return next((word for word, is_true in words.items() if is_true), "storage")


def _now(it: Status) -> float:
    return time.time() - (it.clock_offset or 0)


def _totals(log: Log, _: Question) -> tuple[float, ...]:
    """Return the plays of at least half a minute, all plays, and the seconds that were heard."""
    query = "SELECT total(plays), total(all_plays), total(ms_played) / 1000 FROM hours"
    return tuple(log.rows(query)[0])


async def metrics(pages: Mapping[str, ListenerPage], request: Request) -> Response:
    """Return the figures of listeners as OpenMetrics, those that are known."""
    found: dict[str, Counter | Gauge] = {}
    for name, page in pages.items():
        it = await page.observe(status)
        now = _now(it)
        add = partial(_add, found, listener=name or NOBODY)
        until, blind_since = (seconds_of(each or "") for each in (it.login_valid_until, it.blind_since))
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
    registry = CollectorRegistry()
    for metric in found.values():
        registry.register(metric)
    text = generate_latest(registry)  # type: ignore[no-untyped-call]
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def _add(found: dict[str, Counter | Gauge], name: str, what: str, value: float | None, **labels: str) -> None:
    kind = Counter if name == "polls" else Gauge
    if value is not None:
        metric = found.setdefault(name, kind(f"spotify_logger_{name}", what, sorted(labels), registry=None))
        metric.labels(**labels).inc(value)
