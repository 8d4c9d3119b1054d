"""Read submitted forms."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from spotify_logger.web.request_params import BadRequest

if TYPE_CHECKING:
    from starlette.requests import Request

FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 16 * 1024
"""Maximum size of a submitted form, in bytes."""
MAX_FORM_FIELDS = 10


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a submitted form.

    Raises:
        BadRequest: It is not a form, or has too many fields or bytes.
    """
    kind = request.headers.get("content-type", FORM_MEDIA_TYPE).partition(";")[0].strip().lower()
    if kind != FORM_MEDIA_TYPE:
        raise BadRequest(f"a form must be sent as {FORM_MEDIA_TYPE}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise BadRequest("the form is too large")
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=MAX_FORM_FIELDS))
    except ValueError:
        raise BadRequest(f"the form has more than {MAX_FORM_FIELDS} fields") from None
