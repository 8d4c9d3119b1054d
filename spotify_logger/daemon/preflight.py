"""Checks settings and login before the loop starts, and asks for missing ones on a terminal.

The supervisor runs this in a process of its own, so that none of it stays in memory while the loop runs.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    # Until `main` can handle Ctrl-C, it just ends the process; the imports below take a moment.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from spotify_logger.config import requirements

    requirements.check("run.py", alert=True, imports=("dotenv",))

from collections.abc import Sequence

from spotify_logger.config.settings import NotConfigured, Settings, load
from spotify_logger.config.sources import AUTH_FILE, DOTENV_FILE, TOKEN_FILE
from spotify_logger.daemon.standalone import own_address
from spotify_logger.system import log
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, SpotifyLoggerError
from spotify_logger.system.program import EXIT_INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Check settings and login, and report; return 0, 78 if a person has to act first, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m spotify_logger.daemon.preflight")
    parser.add_argument("--report-fd", type=int, help="file descriptor to write one line of JSON to")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        settings = _settings(Path.cwd())
        _ensure_login(settings)
    except SpotifyLoggerError as error:
        log.error(str(error))
        return os.EX_CONFIG
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        return EXIT_INTERRUPTED
    if options.report_fd is not None:
        address = own_address(settings)
        redis = None if address is None else {"host": address[0], "port": address[1]}
        report = {"state_dir": str(settings.state_dir), "redis": redis}
        with contextlib.suppress(BrokenPipeError):  # the supervisor has been killed
            os.write(options.report_fd, f"{json.dumps(report)}\n".encode())
    return os.EX_OK


def _settings(directory: Path) -> Settings:
    try:
        settings = load(directory, os.environ)
    except NotConfigured:
        if not _on_terminal():
            raise
        from spotify_logger.daemon import first_start  # noqa: PLC0415 - slow, and seldom needed

        first_start.set_up(directory)
        settings = load(directory, os.environ)
    for path in (directory / AUTH_FILE, directory / DOTENV_FILE):
        if path.exists() and path.stat().st_mode & 0o077:
            log.warning(f"other users of this machine can read {path}: chmod 600 {path}")
    return settings


def _ensure_login(settings: Settings) -> None:
    has_file = (settings.state_dir / TOKEN_FILE).exists()
    if settings.refresh_token or (has_file and not _on_terminal()):
        return  # with a damaged token file the loop waits, as with an expired login
    if not _on_terminal():
        raise LoginNeeded(f"not logged in to Spotify yet: {LOGIN_ADVICE} in a terminal, as this user")
    from spotify_logger.daemon import first_start  # noqa: PLC0415 - slow, and a service does not need it

    first_start.log_in(settings)


def _on_terminal() -> bool:
    return all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
