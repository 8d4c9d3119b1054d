"""The commands that import, export, delete and verify plays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spotify_logger.queries.tallies import bounds
from spotify_logger.transfer import forwarding
from spotify_logger.transfer.confirmation import Confirmation
from spotify_logger.transfer.delete.command import Selection, forget
from spotify_logger.transfer.exporter.command import export, export_file
from spotify_logger.transfer.importer.command import ImportOptions, import_history, import_samples
from spotify_logger.transfer.verify.command import check

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from spotify_logger.config.settings import Settings
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.bulk import Archive


def answer(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer | None:
    """Run the chosen command; return None if it has written its own output."""
    if options.command == "forward":
        return forwarding.answer(options, store, settings)
    return _COMMANDS[options.command](options, store)


def _import(options: argparse.Namespace, store: Archive) -> Answer:
    if options.samples:
        return import_samples(store, dry_run=options.dry_run, screen=sys.stderr)
    wanted = ImportOptions(options.user, options.private, options.dry_run, options.restore)
    return import_history(store, options.paths, wanted, sys.stderr)


def _export(options: argparse.Namespace, store: Archive) -> Answer | None:
    period = options.question.period
    begin, end = bounds(period).begin, period.end
    if options.output is not None:
        return export_file(store, options.form, options.output, begin, end)
    export(store, options.form, sys.stdout, begin, end)
    return None


def _forget(options: argparse.Namespace, store: Archive) -> Answer:
    question = options.question
    wanted = Selection(" ".join(options.text), bounds(question.period).begin, question.period.end)
    return forget(store, wanted, question.now, _confirmation(options))


def _check(options: argparse.Namespace, store: Archive) -> Answer:
    return check(store, options.question.now, _confirmation(options), repair=options.repair)


def _confirmation(options: argparse.Namespace) -> Confirmation | None:
    return None if options.yes else Confirmation(sys.stdin, sys.stderr, options.question.zone)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Archive], Answer | None]] = {
    "import": _import,
    "export": _export,
    "forget": _forget,
    "check": _check,
}
