"""The commands that import, export, delete and verify plays."""

import argparse
import json
import sys
from contextlib import ExitStack, closing
from functools import partial

from spotify_logger.cli.own_redis import copy_of_own_data
from spotify_logger.config.settings import Settings
from spotify_logger.queries.index import Index
from spotify_logger.report.answers import Answer
from spotify_logger.report.progress import progress_bar
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer import forwarding, tokens
from spotify_logger.transfer.check import check
from spotify_logger.transfer.delete import Confirmation, forget, undo
from spotify_logger.transfer.export import LogPeriod, export, export_file
from spotify_logger.transfer.hide import hidden, hide
from spotify_logger.transfer.importer.command import ImportOptions, import_history, import_samples
from spotify_logger.transfer.importer.files import SeveralUsers
from spotify_logger.transfer.move import accept, move
from spotify_logger.transfer.second_copy import restore


def answer(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    """Run the chosen command."""
    question = options.question
    period = LogPeriod(store, question.period.begin or 0, question.period.end)
    is_asked = "yes" in options and not options.yes
    confirmation = Confirmation(sys.stdin, sys.stderr, question.zone) if is_asked else None
    answers = {
        "forward": lambda: forwarding.answer(options, store, settings),
        "move": lambda: _move(options, store, settings),
        "token": lambda: tokens.answer(options, store, settings.listener),
        "import": lambda: _import(options, store, settings),
        "restore": lambda: _import(options, store, settings),
        "export": lambda: _export(options, period),
        "forget": lambda: forget(period, options.text, question.now, confirmation, sys.stderr),
        "undo": lambda: undo(store, options.key or ""),
        "hide": lambda: _hide(options, store),
        "check": lambda: check(store, question.now, confirmation, repair=options.repair, screen=sys.stderr),
    }
    return answers[options.command]()


def _import(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    if options.command == "restore":
        found = restore(store, settings, options.paths, sys.stderr)
    elif options.samples:
        found = import_samples(store, dry_run=options.dry_run, screen=sys.stderr)
    else:
        wanted = ImportOptions(options.user, options.private, options.dry_run, options.restore)
        try:
            screen = _report_progress if options.progress else sys.stderr
            found = import_history(store, options.paths, wanted, screen)
        except SeveralUsers as error:
            if options.progress:
                sys.stderr.write(f"{json.dumps({'users': error.users})}\n")
            raise
    if not options.dry_run:
        store.register_listener()
    return found


def _report_progress(step: str, done: int, of: int) -> None:
    """Write a line for the program that runs this command."""
    sys.stderr.write(f"{json.dumps({'step': step, 'done': done, 'of': of})}\n")


def _export(options: argparse.Namespace, period: LogPeriod) -> Answer:
    is_shown = options.output is None and sys.stdout.isatty()  # the export itself
    with progress_bar(None if is_shown else sys.stderr) as show:
        period = period._replace(progress=partial(show, "exporting"))
        if options.output is not None:
            return export_file(period, options.form, options.output)
        export(period, options.form, sys.stdout)
    return Answer({}, [])


def _hide(options: argparse.Namespace, store: Archive) -> Answer:
    if not options.kind:
        return hidden(store, options.question)
    with progress_bar(sys.stderr) as show, closing(Index(store, partial(show, "reading the log"))) as index:
        return index.ask(lambda log: hide(log, options.question, f"{options.kind}s", options.text))


def _move(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    if options.accept:
        return accept(store, settings)
    source, target = options.source, options.target
    with ExitStack() as stack:
        if not source and target in ("", settings.redis_url):
            source = stack.enter_context(copy_of_own_data(settings))
        source, target = source or settings.redis_url, target or settings.redis_url
        if source == target:
            advice = "name the Redis that has the log with --from, and the new one with --to"
            raise SpotifyLoggerError(f"source and target are the same: {advice}")
        show = stack.enter_context(progress_bar(sys.stderr))
        return move(settings, source, target, show)
