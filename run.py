"""Run the logger forever: `python run.py`, or `python run.py --demo` without a Spotify account."""

import os
import sys

from spotify_logger.system import program

program.check_python("run.py")

from spotify_logger.supervisor.main import main  # noqa: E402 - an old Python cannot parse it

if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib takes half a megabyte
    sys.exit(main(sys.argv[1:]))
