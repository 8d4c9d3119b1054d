"""Map each query command to the function that answers it; shared by the command line and the web page."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from spotify_logger.config.listeners import for_listener
from spotify_logger.monitoring import status
from spotify_logger.queries import charts, compare, count, item_page, review, summary, timeline, top
from spotify_logger.queries.index import Index
from spotify_logger.queries.log import Log
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from spotify_logger.config.settings import Settings
    from spotify_logger.queries.index_sync import Progress


def answer(
    options: argparse.Namespace, store: Archive, settings: Settings, progress: Progress | None = None
) -> object:
    """Answer the question that `cli.arguments` has read; raise StoreError if Redis does not answer.

    `progress` hears of the days that are read into the index. `report.answers.to_answer` shows the result.
    """
    if options.command in _FROM_REDIS:
        return _FROM_REDIS[options.command](options, store, settings)
    with closing(Index(store, progress)) as index:
        return _FROM_INDEX[options.command](options, Log(index.sync(), store))


def open_store(settings: Settings) -> Archive:
    """Open the store of the listener in the settings."""
    return Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)


def resolve_listener(text: str, store: Archive) -> str:
    """Return the listener that an argument names ("-": the unnamed one), or raise an error that lists all."""
    name = "" if text == "-" else text
    known = store.listeners()
    if name not in known:
        there = ", ".join(each or "-" for each in known) or "none"
        raise SpotifyLoggerError(f"no listener called {text!r} has a log here (known: {there})")
    return name


def _status(options: argparse.Namespace, store: Archive, settings: Settings) -> object:
    if options.all:
        return status.statuses(settings, options.question.now)
    return status.status(store, options.question.now, 2 * settings.poll_max, settings.state_dir)


def _compare(options: argparse.Namespace, store: Archive, settings: Settings) -> object:
    name = resolve_listener(options.other, store)
    with ExitStack() as stack:
        other = stack.enter_context(closing(open_store(for_listener(settings, name))))
        logs = [Log(stack.enter_context(closing(Index(each))).sync(), each) for each in (store, other)]
        return compare.compare(logs, (settings.listener, name), options.question)


def _page(options: argparse.Namespace, log: Log) -> object:
    return item_page.page(log, options.question, options.kind, " ".join(options.text))


_FROM_INDEX: Mapping[str, Callable[[argparse.Namespace, Log], object]] = {
    "count": lambda options, log: count.count(log, options.question, " ".join(options.text)),
    "top": lambda options, log: top.top(log, options.question, options.kind),
    "stats": lambda options, log: summary.stats(log, options.question),
    "clock": lambda options, log: charts.clock(log, options.question),
    "calendar": lambda options, log: charts.calendar(log, options.question),
    "course": lambda options, log: charts.course(log, options.question, options.per),
    "year": lambda options, log: review.year(log, options.question),
    "recent": lambda options, log: timeline.recent(log, options.question),
    "day": lambda options, log: timeline.day(log, options.question, options.day),
    "on-this-day": lambda options, log: timeline.on_this_day(log, options.question),
    "artist": _page,
    "album": _page,
    "track": _page,
}
_FROM_REDIS: Mapping[str, Callable[[argparse.Namespace, Archive, Settings], object]] = {
    "status": _status,
    "now": lambda options, store, settings: status.now_playing(
        store, options.question.now, 2 * settings.poll_max, settings.state_dir
    ),
    "compare": _compare,
}
