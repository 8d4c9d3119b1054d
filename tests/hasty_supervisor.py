"""The supervisor with short timings, and other commands than those of `run.py`.

Its argument is JSON: the command of the preflight check, that of the poll loop, timings to change, and
the commands of the page and of the second copy, or null.
"""

from __future__ import annotations

import json
import sys

from spotify_logger.supervisor.main import Supervisor
from spotify_logger.supervisor.restart_policy import SupervisorTimings

HASTY = SupervisorTimings(beat_grace=0.5, shortest_delay=0.1, longest_delay=0.4)

if __name__ == "__main__":
    check, loop, timings, page, copy = json.loads(sys.argv[1])
    sys.exit(Supervisor(check, loop, HASTY._replace(**timings), page, copy).run())
