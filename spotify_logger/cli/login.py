"""`spotify-logger login`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from spotify_logger.report.blocks import Answer
from spotify_logger.report.words import utc_time
from spotify_logger.spotify.login import login_on_terminal
from spotify_logger.spotify.oauth import valid_until

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings


def login(settings: Settings, screen: TextIO) -> Answer:
    """Log in on a terminal, and return until when the login is valid."""
    token = login_on_terminal(settings, screen)
    return Answer({"login_valid_until": utc_time(valid_until(token))}, [])
