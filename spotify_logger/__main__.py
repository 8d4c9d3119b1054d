"""`python -m spotify_logger`: the command if `spotify-logger` is not on the PATH."""

import sys

from spotify_logger.system import program

program.check_python("-m spotify_logger")

from spotify_logger.config import requirements  # noqa: E402 - an old Python cannot parse it

words = sys.argv[3:] if sys.argv[1:2] == ["--listener"] else sys.argv[1:]
requirements.check("spotify-logger", alert=words[:1] == ["run"])

from spotify_logger.cli.main import main  # noqa: E402 - needs the checked packages

sys.exit(main())
