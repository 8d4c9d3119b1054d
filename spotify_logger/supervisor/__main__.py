"""`python -m spotify_logger.supervisor`: what `run.py` does, for an installed package."""

import sys

from spotify_logger.supervisor.main import main
from spotify_logger.system import program

sys.exit(main(sys.argv[1:], program.module_command("spotify_logger.daemon.main")))
