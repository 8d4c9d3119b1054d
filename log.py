"""Run the poll loop. `run.py` supervises it; it also runs alone: `SPOTIFY_CLIENT_ID=… python log.py`."""

import sys

from spotify_logger.system import program

program.check_python("log.py")

from spotify_logger.config import requirements  # noqa: E402 - an old Python cannot parse it

requirements.check("log.py", alert=True, imports=("dotenv", "redis", "requests"))

from spotify_logger.daemon.main import main  # noqa: E402 - needs the checked packages

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
