"""`python -m spotify_logger`: the command, where it is not on the PATH."""

import sys

from spotify_logger.cli import main

sys.exit(main())
