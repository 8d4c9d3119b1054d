"""Answer the query commands, and open what they are answered from."""

import argparse
import time
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from spotify_logger.config.settings import Settings
from spotify_logger.queries.index import Index
from spotify_logger.queries.question import QUERIES, STATUS, Question
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
    question, query = options.question, QUERIES[options.command]
    if options.command == "status" and options.all:
        from spotify_logger.monitoring.status import statuses  # noqa: PLC0415 - start-up time

        return statuses(store, settings, time.time())
    if query.module == STATUS:
        observe = query.load()  # which may take seconds
        return observe(store, time.time(), 2 * settings.poll_max, settings.state_dir)
    with closing(Index(store, progress)) as index:
        if options.command == "compare":
            name, known = "" if options.other == NOBODY else options.other, store.listeners()
            if name not in known:
                raise SpotifyLoggerError(unknown_listener(name, known))
            return index.ask(lambda log: compare(settings, log, question, name))
        values = [getattr(options, name) for name in query.needed]
        return index.ask(lambda log: query.load()(log, question, *values))


def compare(settings: Settings, log: Log, question: Question, other: str) -> "Comparison":
    """Return what the listener in the settings, whose log is given, has in common with another one."""
    from spotify_logger.queries.compare import compare  # noqa: PLC0415 - start-up time

    with closing(open_store(settings.for_listener(other))) as store, closing(Index(store)) as index:
        return index.ask(lambda theirs: compare((log, theirs), (settings.listener, other), question))


def open_store(settings: Settings) -> Archive:
    """Open the store of the listener in the settings."""
    return Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)
