"""Whether Python is new enough for the rest of the package. Any Python 3 can read this file."""

import os
import sys

MINIMUM_VERSION = (3, 11)


def check(program: str) -> None:
    """End this program with 78 and a line on stderr where Python is too old.

    Args:
        program: What was started, as it is called after `python`, such as "run.py".
    """
    if sys.version_info < MINIMUM_VERSION:
        have, wanted = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, MINIMUM_VERSION))
        sys.stderr.write(
            f"Spotify Logger needs Python {wanted} or newer, and this is {have}: python{wanted} {program}\n"
        )
        sys.exit(os.EX_CONFIG)
