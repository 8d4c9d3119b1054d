"""The arguments of the commands that import, export, delete and verify plays."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_logger.cli.arguments import PERIOD, add_command, add_options, search_text
from spotify_logger.config.settings import URL_FORMS, is_redis_url, is_visible_ascii
from spotify_logger.core import periods
from spotify_logger.core.redis_keys import second_of_key

if TYPE_CHECKING:
    from spotify_logger.cli.arguments import Commands

HIDEABLE = ("track", "artist", "show")
HIDDEN_KEYS = ("track:", "local:", "artist:", "show:")  # prefixes of the keys of what is hidden
TRANSFER_COMMANDS = (
    "import",
    "export",
    "forward",
    "forget",
    "hide",
    "undo",
    "check",
    "restore",
    "move",
    "token",
)


def add_transfer_commands(commands: Commands) -> None:
    """Add the commands that import, export, delete, hide and verify plays."""
    bring = add_command(commands, "import", "import earlier plays from data exports", csv=False)
    bring.add_argument("paths", nargs="*", type=Path, metavar="FILE", help="files, folders or ZIP archives")
    bring.add_argument("--samples", action="store_true", help="import what the 2019 script left in Redis")
    bring.add_argument("--private", action="store_true", help="include private sessions")
    what = "whose plays to import, if the files belong to several users (repeatable)"
    bring.add_argument("--user", action="append", default=[], metavar="NAME", help=what)
    bring.add_argument("--restore", action="store_true", help="include plays that you have deleted")
    what = "write nothing; only report what would be imported"
    bring.add_argument("--dry-run", action="store_true", help=what)
    what = "report progress as lines of JSON on standard error, for programs"
    bring.add_argument("--progress", action="store_true", help=what)
    bring.set_defaults(check=_check)
    export = add_command(commands, "export", "export the log, or one period of it", csv=False, json=False)
    forms = export.add_mutually_exclusive_group()
    for form, what in (
        ("jsonl", "one JSON record per line, with every field; `import` reads it back (default)"),
        ("json", "the same records in one JSON array"),
        ("csv", "one row per play, for spreadsheets"),
        ("listenbrainz", "listens in ListenBrainz's format"),
        ("spotify", "Spotify's extended streaming history, which statistics sites and other loggers read"),
    ):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=what)
    what = "file or .zip to write, with --spotify also a folder (default: standard output)"
    export.add_argument("--output", type=Path, metavar="FILE", help=what)
    add_options(export, PERIOD)
    export.set_defaults(form="jsonl")
    what = "show or control the forwarding of plays to ListenBrainz and others"
    forward = add_command(commands, "forward", what, csv=False)
    actions = {
        "status": "show what is waiting",
        "check": "ask the receivers whether they accept the tokens",
        "backlog": "send earlier plays, from --since on",
        "retry": "retry everything now",
    }
    what = "; ".join(f"{action}: {words}" for action, words in actions.items())
    forward.add_argument("action", choices=tuple(actions), metavar="ACTION", help=what)
    forward.add_argument("--since", metavar="DAY", type=str.strip, help=f"for backlog: {periods.DAY_FORMS}")
    forward.set_defaults(check=_check)
    _add_delete_and_hide(commands)
    _add_check_and_restore(commands)
    _add_move(commands)
    what = "manage the tokens that let programs on other machines read your log"
    token = add_command(commands, "token", what, csv=False)
    what = "new: create a token and show it once; list: list all tokens; revoke: delete a token"
    token.add_argument("action", choices=("new", "list", "revoke"), metavar="ACTION", help=what)
    what = "name of the token, such as that of the program that uses it"
    token.add_argument("name", nargs="?", metavar="NAME", help=what)
    what = "for new: whose logs it can read (default: that of --listener; - is the one without a name)"
    token.add_argument("listeners", nargs="*", default=[], metavar="LISTENER", help=what)
    token.set_defaults(check=_check)


def _add_delete_and_hide(commands: Commands) -> None:
    what = "delete plays, after showing them and asking"
    forget = add_command(commands, "forget", what, csv=False)
    what = "a title, artist or album, or a key such as listening:<second>"
    forget.add_argument("text", nargs="*", metavar="TEXT", type=search_text, help=what)
    forget.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_options(forget, PERIOD)
    forget.set_defaults(check=_check)
    what = "take a track, an artist or a show out of the statistics, or list what is hidden"
    hide = add_command(commands, "hide", what, csv=False)
    what = f"{', '.join(HIDEABLE)} (default: list what is hidden)"
    hide.add_argument("kind", nargs="?", choices=HIDEABLE, metavar="KIND", help=what)
    hide.add_argument("text", nargs="*", metavar="NAME", type=search_text, help="its name or key")
    add_options(hide, "tz")
    hide.set_defaults(check=_check)
    what = "bring back what was deleted last, for a day, or show what was hidden last"
    undo = add_command(commands, "undo", what, csv=False)
    what = "key of a play, or of something hidden (default: the latest)"
    undo.add_argument("key", nargs="?", type=_key, metavar="KEY", help=what)


def _key(text: str) -> str:
    key = text if ":" in text else f"listening:{text}"
    if second_of_key(key) is None and not key.startswith(HIDDEN_KEYS):
        raise argparse.ArgumentTypeError(f"not a key: {text!r} (try listening:1795377734)")
    return key


def _add_check_and_restore(commands: Commands) -> None:
    what = "verify that the index, catalog and plays agree (exit code 1 if not)"
    check = add_command(commands, "check", what, csv=False)
    what = "rebuild the index, and complete plays that have lost fields"
    check.add_argument("--repair", action="store_true", help=what)
    what = "do not ask before deleting what is left of lost plays"
    check.add_argument("--yes", action="store_true", help=what)
    what = "bring back what Redis has lost, from the second copy in the state folder; may be repeated"
    restore = add_command(commands, "restore", what, csv=False)
    what = "files of another copy, or their folder (default: the one in the state folder)"
    restore.add_argument("paths", nargs="*", type=Path, metavar="FILE", help=what)
    restore.set_defaults(dry_run=False)


def _add_move(commands: Commands) -> None:
    what = (
        "copy the logs of all listeners to another Redis; may be repeated (exit code 1 if plays are missing)"
    )
    mover = add_command(commands, "move", what, csv=False)
    what = "where to (default: REDIS_URL)"
    mover.add_argument("--to", dest="target", metavar="URL", type=_redis_url, default="", help=what)
    what = "where from (default: REDIS_URL with --to, else the data of the logger's own Redis)"
    mover.add_argument("--from", dest="source", metavar="URL", type=_redis_url, default="", help=what)
    what = "copy nothing: go on with the log in REDIS_URL, although it is not the one known so far"
    mover.add_argument("--accept", action="store_true", help=what)
    mover.set_defaults(check=_check)


def _redis_url(text: str) -> str:
    if not text or (is_visible_ascii(text) and is_redis_url(text)):  # or the default
        return text
    raise argparse.ArgumentTypeError(f"not the address of a Redis server: it must look like {URL_FORMS}")


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for arguments that do not go together."""
    period = options.question.period
    if options.command == "import" and options.samples == bool(options.paths):
        raise ValueError("import needs files, folders or ZIP archives, or --samples instead")
    if options.command == "move" and options.accept and (options.source or options.target):
        raise ValueError("move --accept copies nothing: leave out --from and --to")
    if options.command == "forward" and (options.action == "backlog") != (options.since is not None):
        raise ValueError("forward backlog needs --since DAY; the other actions do not take it")
    if options.command == "token" and (
        (options.action == "list") == bool(options.name) or (options.action != "new" and options.listeners)
    ):
        raise ValueError("usage: token list, token revoke NAME, or token new NAME [LISTENER ...]")
    if options.command == "hide" and bool(options.kind) != bool(options.text):
        raise ValueError(f"hide {options.kind} needs a name or a key")
    if options.command == "forget" and not options.text and period.begin is None and period.end is None:
        raise ValueError(
            "forget needs a text, a key or a period such as --last 2h: it does not delete the whole log"
        )
