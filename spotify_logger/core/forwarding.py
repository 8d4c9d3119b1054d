"""Turn plays into listens in ListenBrainz's JSON, and tell what a receiver with its API means. Pure.

The fields are those of <https://listenbrainz.readthedocs.io/en/latest/users/json.html>; those with "spotify"
in their names are those of its own importer for Spotify's exports. What receivers answer is from the code of
ListenBrainz (2026-08), Koito (0.2) and Maloja (3.2.6).
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

from spotify_logger import __version__
from spotify_logger.core.catalog import CatalogEntry, artists_of
from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.player_state import FieldValue, whole_number

SUBMIT_PATH, VALIDATE_PATH = "/1/submit-listens", "/1/validate-token"
MIN_DURATION_MS = 30_000  # shorter tracks are not forwarded: Last.fm's rule
ALWAYS_COUNTS_MS = 240_000  # a listen needs half of the track or four minutes, whichever is less
MIN_UNKNOWN_LENGTH_MS = 30_000  # for an unknown length, as in ListenBrainz's importer for exports
MAX_PAUSE, DEFAULT_PAUSE = 3600.0, 60.0  # seconds of a rate limit: at most, and if it is not said
CATALOG_FIELDS = (*CatalogEntry._fields, "duration_ms")
PLAY_FIELDS = ("type", "name", "artists", "album", "duration_ms", "ms_played", "end_reason")
OPEN_SPOTIFY_URL = "https://open.spotify.com"
_CONTROL_CHARACTERS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")


class Verdict(Enum):
    """What an answer means for the listens that were sent, and the HTTP statuses that say so."""

    TAKEN = (200,)  # if the body says so, too
    REFUSED = (400, 409, 413, 422)  # at least one of them is invalid
    FAILED = (500,)  # the receiver crashed, perhaps because of one of them
    UNAUTHORIZED = (401, 403)
    LATER = ()


class Outcome(NamedTuple):
    """What a receiver answered."""

    verdict: Verdict
    why: str = ""  # they were not taken
    pause: float = 0.0  # seconds for which its rate limit allows no request
    max_batch: int = 1  # listens that it takes at once


@dataclass(frozen=True)
class ReceiverStatus:
    """A receiver, as the logger's status has it in JSON."""

    setting: str  # the name of the one with its token
    host: str
    waiting: int  # listens
    refused: int  # listens that it does not take
    last_refused: str
    trouble: str
    stopped: bool


def plain_text(value: FieldValue) -> str:
    """Return a text without control characters."""
    return str(value).translate(_CONTROL_CHARACTERS).strip()


def is_music(fields: Mapping[str, FieldValue]) -> bool:
    """Return whether an item is a track whose title and artists are known."""
    names = (plain_text(fields.get(name, "")) for name in ("name", "artists"))
    return fields.get("type") == "track" and all(names)


def counts(fields: Mapping[str, FieldValue]) -> bool:
    """Return whether a play is a listen: enough of a track, whose title and artists are known."""
    ms_played, duration_ms = (whole_number(fields.get(name)) or 0 for name in ("ms_played", "duration_ms"))
    enough_ms = min(duration_ms / 2, ALWAYS_COUNTS_MS) if duration_ms else MIN_UNKNOWN_LENGTH_MS
    is_done = not duration_ms and fields.get("end_reason") == TRACKDONE
    return (ms_played >= enough_ms or is_done) and is_music(fields)


def listen(second: int, item: str, fields: Mapping[str, FieldValue]) -> dict[str, object]:
    """Return the listen of a play: the second of its start, the key of its item, and the fields above."""
    return {"listened_at": second, "track_metadata": track_metadata(item, fields)}


def track_metadata(item: str, fields: Mapping[str, FieldValue]) -> dict[str, object]:
    """Return what a listen says about its track, and how many seconds of it were really heard.

    ListenBrainz refuses NUL characters and blank names, and with one such listen all that are sent with it.
    """
    entry = CatalogEntry(**{name: plain_text(fields.get(name, "")) for name in CatalogEntry._fields})
    names, ids = [*filter(None, map(plain_text, map(str, artists_of(entry))))], entry.artist_ids.split()
    about: dict[str, object] = {
        "duration_ms": whole_number(fields.get("duration_ms")),
        "duration_played": (whole_number(fields.get("ms_played")) or 0) // 1000,
        "artist_names": names if len(names) >= len(ids) else [],  # they are told apart
        "isrc": entry.isrc,
        "media_player": "Spotify",
        "submission_client": "Spotify Logger",
        "submission_client_version": __version__,
    }
    if item.startswith("track:"):
        url = f"{OPEN_SPOTIFY_URL}/track/{item.removeprefix('track:')}"
        about |= {
            "music_service": "spotify.com",
            "origin_url": url,
            "spotify_id": url,
            "spotify_album_id": entry.album_id and f"{OPEN_SPOTIFY_URL}/album/{entry.album_id}",
            "spotify_artist_ids": [f"{OPEN_SPOTIFY_URL}/artist/{artist}" for artist in ids],
        }
    track = {"artist_name": entry.artists, "track_name": entry.name, "release_name": entry.album}
    return _without_blanks({**track, "additional_info": _without_blanks(about)})


def encode_listen(second: int, item: str, fields: Mapping[str, FieldValue]) -> str:
    """Return the listen of a play as JSON; "" if it does not count."""
    duration_ms = whole_number(fields.get("duration_ms"))
    if not counts(fields) or (duration_ms and duration_ms < MIN_DURATION_MS):
        return ""
    return json.dumps(listen(second, item, fields))


def encode_request(listen_type: str, listens: Sequence[str]) -> str:
    """Return the body of a request, in which the JSON of the listens stays as it is.

    For ListenBrainz, a listen that is sent again with another title or length is another listen.
    """
    return f'{{"listen_type": "{listen_type}", "payload": [{", ".join(listens)}]}}'


def read_answer(
    status: int, headers: Mapping[str, str], body: Mapping[str, object] | None, count: int
) -> Outcome:
    """Return what an answer to `count` listens means; `body` is its JSON object if it has one."""
    pause, remaining = 0.0, headers.get("x-ratelimit-remaining")
    if remaining == "0" or status == HTTPStatus.TOO_MANY_REQUESTS:
        pause = DEFAULT_PAUSE
        with suppress(ValueError):
            pause = min(max(0.0, float(headers.get("x-ratelimit-reset-in", ""))), MAX_PAUSE)
    # Only ListenBrainz says its rate limit. Others get one listen at a time: after one that it knows, Maloja
    # drops the rest. ListenBrainz takes 1,000, but not always before the deadline.
    max_batch = 1 if remaining is None else 100
    is_api = body is not None and "error" not in body
    # Maloja answers 409 as long as it has another track in the second of a listen: forever.
    if is_api if status == HTTPStatus.OK else status == HTTPStatus.CONFLICT and count == 1:
        return Outcome(Verdict.TAKEN, "", pause, max_batch)
    known = (each for each in Verdict if status in each.value and each is not Verdict.TAKEN)
    verdict = next(known, Verdict.LATER)
    detail = f": {body['error']}" if body and "error" in body else ""
    if body is None and status < HTTPStatus.INTERNAL_SERVER_ERROR and verdict is Verdict.LATER:
        detail = ", but not as ListenBrainz does: is its URL right?"
    return Outcome(verdict, f"answered {status}{detail}", pause, max_batch)


def _without_blanks(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
