"""The arguments of the commands that import, export, delete and verify plays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spotify_logger.queries import question

if TYPE_CHECKING:
    import argparse

    from spotify_logger.queries.arguments import Subcommands

TRANSFER_COMMANDS = ("import", "export", "forget", "check")


def add_transfer_commands(add: Subcommands) -> None:
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
    what = "do not ask before deleting index entries of plays that are gone"
    check.add_argument("--yes", action="store_true", help=what)


def _check_import(options: argparse.Namespace) -> None:
    if options.samples == bool(options.paths):
        raise ValueError("import needs files, folders or ZIP archives, or else --samples")


def _check_forget(options: argparse.Namespace) -> None:
    period = options.question.period
    if not options.text and period.begin is None and period.end is None:
        raise ValueError(
            "forget needs a text, a key or a period such as --last 2h: it does not delete the whole log"
        )
