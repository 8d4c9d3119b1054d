"""Map each query command to the function that answers it; shared by the command line and the web page."""

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING

from spotify_logger.config.settings import Settings
from spotify_logger.queries.index import Index
from spotify_logger.queries.question import Question
from spotify_logger.queries.sql import Log
from spotify_logger.storage.bulk import Archive, Progress
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from spotify_logger.queries.compare import Comparison

NOBODY = "-"  # the listener without a name, where a name is given or chosen


def unknown_listener(name: str, known: Iterable[str]) -> str:
    """Say that a listener has no log, and who has one."""
    names = ", ".join(each or NOBODY for each in known) or "none"
    return f"no listener called {name or NOBODY} has a log here; listeners: {names}"


def answer(
    options: argparse.Namespace, store: Archive, settings: Settings, progress: Progress | None = None
) -> object:
    """Answer the question that `cli.main` has read; raise StoreError if Redis does not answer.

    `progress` hears of the days that are read into the index. `report.answers.to_answer` shows the result.
    """
    question, pause = options.question, 2 * settings.poll_max
    if options.command in ("status", "now"):
        from spotify_logger.monitoring import status  # noqa: PLC0415 - start-up time

        if options.command == "status" and options.all:
            return status.statuses(store, settings, time.time())
        observe = status.now_playing if options.command == "now" else status.status
        return observe(store, time.time(), pause, settings.state_dir)  # the imports may have taken seconds
    with closing(Index(store, progress)) as index:
        if options.command == "compare":
            name, known = "" if options.other == NOBODY else options.other, store.listeners()
            if name not in known:
                raise SpotifyLoggerError(unknown_listener(name, known))
            return index.ask(lambda log: compare(settings, log, question, name))
        query, names = load_query(options.command), QUERIES[options.command][2:]
        return index.ask(lambda log: query(log, question, *(getattr(options, name) for name in names)))


def compare(settings: Settings, log: Log, question: Question, other: str) -> "Comparison":
    """Return what the listener in the settings, whose log is given, has in common with another one."""
    from spotify_logger.queries.compare import compare  # noqa: PLC0415 - start-up time

    with closing(open_store(settings.for_listener(other))) as store, closing(Index(store)) as index:
        return index.ask(lambda theirs: compare((log, theirs), (settings.listener, other), question))


def load_query(command: str) -> Callable[..., object]:
    """Import what answers a command, and nothing else."""
    module, name, *_ = QUERIES[command]
    query: Callable[..., object] = getattr(import_module(f"spotify_logger.queries.{module}"), name)
    return query


def open_store(settings: Settings) -> Archive:
    """Open the store of the listener in the settings."""
    return Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)


QUERIES: Mapping[str, Sequence[str]] = {
    "count": ("count", "count", "text"),
    "top": ("top", "top", "kind"),
    "stats": ("summary", "stats"),
    "clock": ("charts", "clock"),
    "calendar": ("charts", "calendar"),
    "course": ("charts", "course", "per"),
    "year": ("summary", "review"),
    "recent": ("timeline", "recent"),
    "day": ("timeline", "day", "day"),
    "on-this-day": ("timeline", "on_this_day", "day"),
    **dict.fromkeys(("artist", "album", "track"), ("item_page", "page", "kind", "text")),
}
"""The module and the function that answers each command, and the options that it needs."""
