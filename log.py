"""The poll loop. `run.py` keeps it alive; it also runs alone: `SPOTIFY_CLIENT_ID=… python log.py`."""

from __future__ import annotations

import sys

from spotify_logger.daemon import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
