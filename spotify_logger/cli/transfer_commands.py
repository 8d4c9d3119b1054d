"""The commands that import, export, delete and verify plays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_logger.queries import question

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from spotify_logger.queries.arguments import Subcommands
    from spotify_logger.report.blocks import Answer
    from spotify_logger.storage.store import Store


def add_commands(add: Subcommands) -> None:
    """Add the import, export, forget and check commands."""
    bring = add.command("import", "import earlier plays from Spotify's data export", csv=False)
    bring.add_argument("paths", nargs="*", type=Path, metavar="FILE", help="files, folders or ZIP archives")
    bring.add_argument("--samples", action="store_true", help="import what the 2019 script left in Redis")
    bring.add_argument("--private", action="store_true", help="include private sessions")
    bring.add_argument(
        "--dry-run", action="store_true", help="write nothing, only report what would be imported"
    )
    bring.set_defaults(check=_check_import)
    export = add.command("export", "export the log, or one period of it", csv=False, json=False)
    forms = export.add_mutually_exclusive_group()
    for form, what in (
        ("jsonl", "one JSON record per line, with every field; `import` reads it back (default)"),
        ("json", "the same records in one JSON array"),
        ("csv", "one row per play, for spreadsheets"),
        ("listenbrainz", "listens in ListenBrainz's format"),
    ):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=what)
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="file to write (default: standard output)"
    )
    question.add_period(export)
    export.set_defaults(form="jsonl")
    forget = add.command("forget", "permanently delete plays, after showing them and asking", csv=False)
    what = "a title, artist or album, or a key such as listening:<second>"
    forget.add_argument("text", nargs="*", metavar="TEXT", type=question.search_text, help=what)
    forget.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    question.add_period(forget)
    forget.set_defaults(check=_check_forget)
    check = add.command("check", "verify that index, catalog and plays agree (exit code 1 if not)", csv=False)
    check.add_argument("--repair", action="store_true", help="rebuild the index from the plays")


def answer(options: argparse.Namespace, store: Store) -> Answer | None:
    """Run the chosen command; return None if it has written its own output."""
    return COMMANDS[options.command](options, store)


def _check_import(options: argparse.Namespace) -> None:
    if options.samples == bool(options.paths):
        raise ValueError("import needs files, folders or ZIP archives, or else --samples")


def _import(options: argparse.Namespace, store: Store) -> Answer:
    from spotify_logger.transfer.importer.command import import_history, import_samples  # noqa: PLC0415

    if options.samples:
        return import_samples(store.archive(), dry_run=options.dry_run, screen=sys.stderr)
    return import_history(
        store.archive(),
        options.paths,
        private=options.private,
        dry_run=options.dry_run,
        screen=sys.stderr,
    )


def _export(options: argparse.Namespace, store: Store) -> Answer | None:
    from spotify_logger.queries.reader import first_second  # noqa: PLC0415
    from spotify_logger.transfer.exporter.command import export, export_file  # noqa: PLC0415

    period = options.question.period
    begin, end = first_second(period), period.end
    if options.output is not None:
        return export_file(store.archive(), options.form, options.output, begin, end)
    export(store.archive(), options.form, sys.stdout, begin, end)
    return None


def _check_forget(options: argparse.Namespace) -> None:
    period = options.question.period
    if not options.text and period.begin is None and period.end is None:
        raise ValueError(
            "forget needs a text, a key or a period such as --last 2h: it does not delete the whole log"
        )


def _forget(options: argparse.Namespace, store: Store) -> Answer:
    from spotify_logger.queries.reader import first_second  # noqa: PLC0415
    from spotify_logger.transfer.delete.command import Confirmation, forget  # noqa: PLC0415
    from spotify_logger.transfer.delete.selection import Selection  # noqa: PLC0415

    question = options.question
    wanted = Selection(" ".join(options.text), first_second(question.period), question.period.end)
    confirmation = None if options.yes else Confirmation(sys.stdin, sys.stderr, question.zone)
    return forget(store.archive(), wanted, question.now, confirmation)


def _check(options: argparse.Namespace, store: Store) -> Answer:
    from spotify_logger.transfer.verify.command import check  # noqa: PLC0415

    return check(store.archive(), options.question.now, repair=options.repair)


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Store], Answer | None]] = {
    "import": _import,
    "export": _export,
    "forget": _forget,
    "check": _check,
}
