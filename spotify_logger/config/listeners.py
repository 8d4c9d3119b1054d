"""The settings of the other listeners, for what looks at several of them."""

from collections.abc import Iterable
from dataclasses import replace

from spotify_logger.config.settings import Settings
from spotify_logger.core.redis_keys import add_listener, remove_listener

UNNAMED = "(no name)"  # stands for the listener without a name
NOBODY = "-"  # the same, where a name is given or chosen


def unknown_listener(name: str, known: Iterable[str]) -> str:
    """Say that a listener has no log, and who has one."""
    names = ", ".join(each or NOBODY for each in known) or "none"
    return f"no listener called {name or NOBODY} has a log here; listeners: {names}"


def for_listener(settings: Settings, listener: str) -> Settings:
    """Return these settings for another listener; "" is the unnamed one."""
    prefix = add_listener(remove_listener(settings.redis_prefix, settings.listener), listener)
    folder = (settings.state_dir.parent if settings.listener else settings.state_dir) / listener
    return replace(settings, listener=listener, redis_prefix=prefix, state_dir=folder)
