"""`python -m spotify_logger.daemon`: what `log.py` does, for an installed package."""

import sys

from spotify_logger.config import requirements

requirements.check("log.py", alert=True, imports=("dotenv", "redis", "requests"))

from spotify_logger.daemon.main import main  # noqa: E402 - needs the checked packages

sys.exit(main(sys.argv[1:]))
