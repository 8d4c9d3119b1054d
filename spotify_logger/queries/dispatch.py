"""Map each query command to the function that answers it; shared by the command line and the web page."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger.config.listeners import for_listener
from spotify_logger.queries import charts, compare, count, item_page, review, status, summary, timeline, top
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from spotify_logger.config.settings import Settings
    from spotify_logger.report.blocks import Answer


def answer(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    """Answer the question that `queries.arguments` has read; raise StoreError if Redis does not answer."""
    return _COMMANDS[options.command](options, store, settings)


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


def _status(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    if options.all:
        return status.statuses(settings, options.question.now)
    return status.status(store, options.question.now, 2 * settings.poll_max, settings.state_dir)


def _compare(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    name = resolve_listener(options.other, store)
    with closing(open_store(for_listener(settings, name))) as other:
        return compare.compare((store, other), (settings.listener, name), options.question)


def _page(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return item_page.page(store, options.question, options.kind, " ".join(options.text))


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Archive, Settings], Answer]] = {
    "status": _status,
    "now": lambda options, store, settings: status.now_playing(
        store, options.question.now, 2 * settings.poll_max, settings.state_dir
    ),
    "recent": lambda options, store, _: timeline.recent(store, options.question),
    "day": lambda options, store, _: timeline.day(store, options.question, options.day),
    "on-this-day": lambda options, store, _: timeline.on_this_day(store, options.question),
    "count": lambda options, store, _: count.count(store, options.question, " ".join(options.text)),
    "top": lambda options, store, _: top.top(store, options.question, options.kind),
    "stats": lambda options, store, _: summary.stats(store, options.question),
    "clock": lambda options, store, _: charts.clock(store, options.question),
    "calendar": lambda options, store, _: charts.calendar(store, options.question),
    "course": lambda options, store, _: charts.course(store, options.question, options.per),
    "year": lambda options, store, _: review.year(store, options.question),
    "compare": _compare,
    "artist": _page,
    "album": _page,
    "track": _page,
}
