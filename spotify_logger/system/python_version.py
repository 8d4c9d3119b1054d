"""Check that Python is new enough for this package. Any Python 3 can import this file."""

import os
import sys

MINIMUM_VERSION = (3, 11)


def check(program: str) -> None:
    """Exit with code 78 and a line on stderr if Python is too old for `program`, such as "run.py"."""
    if sys.version_info < MINIMUM_VERSION:
        have, wanted = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, MINIMUM_VERSION))
        sys.stderr.write(
            f"Spotify Logger needs Python {wanted} or newer, not {have}. Try: python{wanted} {program}\n"
        )
        sys.exit(os.EX_CONFIG)
