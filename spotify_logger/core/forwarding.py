"""Decide what is forwarded, and what a receiver with ListenBrainz's API means by its answers. Pure.

Sources: the code of ListenBrainz (2026-08), Koito (0.2) and Maloja (3.2.6).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.listens import counts, listen
from spotify_logger.core.player_state import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.core.player_state import FieldValue

SUBMIT_PATH, VALIDATE_PATH = "/1/submit-listens", "/1/validate-token"
MIN_DURATION_MS = 30_000  # shorter tracks are not forwarded: Last.fm's rule
MAX_PAUSE, DEFAULT_PAUSE = 3600.0, 60.0  # seconds of a rate limit: at most, and if it is not said


class Verdict(Enum):
    """What an answer means for the listens that were sent."""

    TAKEN = "taken"
    REFUSED = "refused"  # at least one of them is invalid
    FAILED = "failed"  # the receiver crashed, perhaps because of one of them
    UNAUTHORIZED = "unauthorized"
    LATER = "later"


_VERDICTS = {
    **dict.fromkeys((400, 409, 413, 422), Verdict.REFUSED),
    **dict.fromkeys((401, 403), Verdict.UNAUTHORIZED),
    500: Verdict.FAILED,
}


class Outcome(NamedTuple):
    """What a receiver answered."""

    verdict: Verdict
    why: str = ""  # they were not taken
    pause: float = 0.0  # seconds for which its rate limit allows no request
    max_batch: int = 1  # listens that it takes at once


@dataclass(frozen=True)
class ReceiverStatus:
    """A receiver in the logger's status, as JSON."""

    setting: str  # the name of the one with its token
    host: str
    waiting: int  # listens
    refused: int  # listens that it does not take
    last_refused: str
    trouble: str
    stopped: bool


def encode_listen(second: int, item: str, fields: Mapping[str, FieldValue]) -> str | None:
    """Return the listen of a play as JSON; None if it does not count (see `listens.listen`)."""
    duration_ms = whole_number(fields.get("duration_ms"))
    if not counts(fields) or (duration_ms and duration_ms < MIN_DURATION_MS):
        return None
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
    is_taken = is_api if status == HTTPStatus.OK else status == HTTPStatus.CONFLICT and count == 1
    if is_taken:
        return Outcome(Verdict.TAKEN, "", pause, max_batch)
    detail = f": {body['error']}" if body and "error" in body else ""
    if body is None and status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _VERDICTS:
        detail = ", but not as ListenBrainz does: is its URL right?"
    return Outcome(_VERDICTS.get(status, Verdict.LATER), f"answered {status}{detail}", pause, max_batch)
