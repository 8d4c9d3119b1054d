"""Where the command looks for a user's settings."""

import os
from collections.abc import Mapping
from pathlib import Path

from spotify_logger.config.sources import AUTH_FILE, DOTENV_FILE, EXAMPLE_FILE, xdg_folder


def settings_folder(here: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of a user's settings: the current one if it has any, else one in the home folder."""
    if any(os.access(here / name, os.R_OK) for name in (DOTENV_FILE, AUTH_FILE, EXAMPLE_FILE)):
        return here
    try:
        return Path(xdg_folder("XDG_CONFIG_HOME", "~/.config", environ)).expanduser()
    except RuntimeError:  # a user without a home folder
        return here
