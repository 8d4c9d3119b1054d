"""`log.py` with short timings; HASTY_TIMINGS in the environment, JSON, changes some of them."""

from __future__ import annotations

import json
import os
import sys

from spotify_logger.daemon.main import main
from spotify_logger.daemon.poller import DaemonTimings
from spotify_logger.spotify import http

HASTY = DaemonTimings(max_turn=1.5, max_wait=0.5, login_check_interval=0.3, disk_retry=0.5, lease_renewal=0.1)

if __name__ == "__main__":
    # The simulated Spotify tells the processes apart by their versions.
    http.__version__ = str(os.getpid())  # type: ignore[attr-defined]
    sys.exit(main(sys.argv[1:], HASTY._replace(**json.loads(os.environ.get("HASTY_TIMINGS", "{}")))))
