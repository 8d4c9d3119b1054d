"""Describe plays in one line of text."""

from collections.abc import Mapping

from spotify_logger.core.play import Play


def format_title(fields: Mapping[str, object]) -> str:
    """Return artist and title: "Daft Punk – Veridis Quo"; for an episode, show and title."""
    artist = fields.get("artists") or fields.get("album")
    name = str(fields.get("name") or fields.get("uri") or "untitled")
    return f"{artist} – {name}" if artist else name


def format_duration(milliseconds: int) -> str:
    """Format a duration as "5:45", or "1:01:01" from one hour on."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_play(play: Play) -> str:
    """Describe a play: "Daft Punk – Veridis Quo, 5:45 of 5:45, Kitchen"."""
    length = "" if play.item.duration_ms is None else f" of {format_duration(play.item.duration_ms)}"
    device = f", {play.fields['device_name']}" if play.fields.get("device_name") else ""
    return f"{format_title(play.fields)}, {format_duration(play.ms_played)}{length}{device}"
