"""Entry point of the `spotify-logger` command: turns failures into messages and exit codes."""

import errno
import io
import os
import sys
from collections.abc import Sequence

from spotify_logger.cli import commands
from spotify_logger.cli.arguments import parse_args
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.system.program import EXIT_INTERRUPTED

EXIT_BROKEN_PIPE = 141  # by shell convention: 128 + SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    sys.stdout = sys.stdout or io.StringIO()  # it may be closed: `>&-`
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title may have characters that the locale cannot encode
    try:
        code = commands.run(parse_args(commands.command_parser(), arguments))
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("spotify_logger"):
            raise
        from spotify_logger.config import requirements  # noqa: PLC0415 - start-up time

        requirements.refuse("spotify-logger", [error.name], alert=False)
    except Misconfigured as error:
        return _fail(error, os.EX_CONFIG)
    except SpotifyLoggerError as error:
        return _fail(error, 1)
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.ENOSPC}:
            raise
        # Python flushes standard output again at exit: give it a file descriptor that accepts the data.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return EXIT_BROKEN_PIPE
        return _fail(SpotifyLoggerError("the disk is full: the output is not complete"), 1)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _fail(error: SpotifyLoggerError, code: int) -> int:
    sys.stderr.write(f"spotify-logger: {log.sanitize(str(error))}\n")
    return code
