"""Map each query command to the function that answers it; shared by the command line and the web page."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger.queries import (
    compare,
    count,
    heatmaps,
    history_chart,
    item_page,
    status,
    summary,
    timeline,
    top,
    year_review,
)
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from spotify_logger.config.settings import Settings
    from spotify_logger.report.blocks import Answer


def answer(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    """Answer the question that `queries.arguments` has read.

    Raises:
        StoreError: Redis gives no answer.
    """
    return _COMMANDS[options.command](options, store, settings)


def _status(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    if options.all:
        return status.statuses(settings, options.question.now)
    return status.status(store, options.question.now, 2 * settings.poll_max, settings.state_dir)


def _now(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    return status.now_playing(store, options.question.now, 2 * settings.poll_max, settings.state_dir)


def _recent(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return timeline.recent(store, options.question)


def _day(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return timeline.day(store, options.question, options.day)


def _on_this_day(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return timeline.on_this_day(store, options.question)


def _count(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return count.count(store, options.question, " ".join(options.text))


def _top(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return top.top(store, options.question, options.kind)


def _stats(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return summary.stats(store, options.question)


def _clock(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return heatmaps.clock(store, options.question)


def _calendar(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return heatmaps.calendar(store, options.question)


def _year(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return year_review.year(store, options.question)


def _compare(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    name = resolve_listener(options.other, store)
    with closing(open_store(settings.for_listener(name))) as other:
        archives = store, other
        return compare.compare(archives, (settings.listener, name), options.question)


def resolve_listener(text: str, store: Archive) -> str:
    """Return the listener that a command-line argument names; "-" stands for the one without a name.

    Raises:
        SpotifyLoggerError: There is no such listener; the message lists the known ones.
    """
    name = "" if text == "-" else text
    known = store.listeners()
    if name not in known:
        there = ", ".join(each or "-" for each in known) or "none"
        raise SpotifyLoggerError(f"no listener called {text!r} has a log here (known: {there})")
    return name


def open_store(settings: Settings) -> Archive:
    """Open the store of the listener in the settings."""
    return Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)


def _course(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return history_chart.course(store, options.question, options.per)


def _page(options: argparse.Namespace, store: Archive, _: Settings) -> Answer:
    return item_page.page(store, options.question, options.kind, " ".join(options.text))


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Archive, Settings], Answer]] = {
    "status": _status,
    "now": _now,
    "recent": _recent,
    "day": _day,
    "on-this-day": _on_this_day,
    "count": _count,
    "top": _top,
    "stats": _stats,
    "clock": _clock,
    "calendar": _calendar,
    "year": _year,
    "compare": _compare,
    "course": _course,
    "artist": _page,
    "album": _page,
    "track": _page,
}
