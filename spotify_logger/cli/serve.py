"""Start the web page, if its extra is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    import argparse

    from spotify_logger.config.settings import Settings


def serve(options: argparse.Namespace, settings: Settings) -> int:
    """Serve the web page until the process is stopped, and return the exit code.

    Args:
        options: host, port, names, covers, behind_proxy.
        settings: The Redis URL, the password, the Spotify app to log in with.

    Raises:
        Misconfigured: The extra is not installed, or a setting is wrong.
    """
    try:
        from spotify_logger.web.app import serve  # noqa: PLC0415 - an optional extra, and slow to import
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("spotify_logger"):
            raise
        raise Misconfigured(
            f"the web page needs a package that is not installed ({error.name}): "
            "pip install 'spotify-logger[web]', or '.[web]' in a clone"
        ) from None
    return serve(
        options.host,
        options.port,
        options.names,
        settings,
        covers=options.covers,
        behind_proxy=options.behind_proxy,
    )
