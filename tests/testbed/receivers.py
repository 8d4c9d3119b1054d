"""Stand-ins for the receivers of plays, which answer as ListenBrainz, Koito and Maloja were seen to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spotify_logger.spotify.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spotify_logger.spotify.http import Request

TOKEN = "0d5ec1a1-made-up"
FIRST_SECOND = 1_033_430_400  # 2002-10-01, before which ListenBrainz takes nothing
Json = dict[str, Any]


class ListenBrainz:
    """ListenBrainz: takes a request as a whole or not at all, and knows a listen by its second and texts.

    Attributes:
        listens: Those it took, by what identifies them, in the order of their arrival.
        playing: The titles that were sent as playing now.
        sizes: The number of listens in each request with any.
        answer: What it answers to everything instead, if set.
        taken: Called when listens were taken, before the answer leaves.
        invalid: Titles that it refuses.
    """

    invalid: Sequence[str] = ()

    def __init__(self, utc: Callable[[], float]) -> None:
        self.listens: dict[Any, Json] = {}
        self.playing: list[str] = []
        self.sizes: list[int] = []
        self.answer: Response | None = None
        self.taken: Callable[[], object] = lambda: None
        self._utc = utc

    @property
    def titles(self) -> list[str]:
        return [listen["track_metadata"]["track_name"] for listen in self.listens.values()]

    def handle(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer
        if request.headers["Authorization"] != f"Token {TOKEN}":
            return self._reply(401, error="Invalid authorization token.")
        body = json.loads(request.text or "")
        kind, payload = body["listen_type"], body["payload"]
        if kind == "playing_now":
            assert len(payload) == 1
            assert "listened_at" not in payload[0]
            self.playing.append(payload[0]["track_metadata"]["track_name"])
            return self._reply(200, status="ok")
        self.sizes.append(len(payload))
        if not 0 < len(payload) <= (1 if kind == "single" else 1000):
            return self._reply(400, error="wrong number of listens")
        response = self._take(payload)
        self.taken()
        return response

    def _take(self, payload: list[Json]) -> Response:
        if not all(map(self._is_valid, payload)):
            return self._reply(400, error="JSON document is invalid")
        for listen in payload:
            self.listens.setdefault(self._identity(listen), listen)
        return self._reply(200, status="ok")

    def _is_valid(self, listen: Json) -> bool:
        metadata, second = listen["track_metadata"], listen["listened_at"]
        names = [str(metadata.get(name, "")) for name in ("track_name", "artist_name")]
        is_possible = FIRST_SECOND < second < self._utc() + 3600
        if names[0] in self.invalid:
            return False
        return all(name.strip() for name in names) and "\\u0000" not in json.dumps(listen) and is_possible

    def _identity(self, listen: Json) -> object:
        metadata = listen["track_metadata"]
        names = (metadata.get(name) for name in ("track_name", "artist_name", "release_name"))
        return (listen["listened_at"], *names, metadata["additional_info"].get("duration_ms"))

    def _reply(self, code: int, /, **fields: object) -> Response:
        limit = {"x-ratelimit-remaining": "29", "x-ratelimit-reset-in": "10"}
        return Response(code, limit, json.dumps(fields).encode())


class Koito(ListenBrainz):
    """Koito: takes what comes before an invalid listen, and knows a listen by its second and track."""

    def _take(self, payload: list[Json]) -> Response:
        for listen in payload:
            if not all(listen["track_metadata"].get(name) for name in ("track_name", "artist_name")):
                return self._reply(400, error="Artist name or track name are missing")
            self.listens.setdefault(self._identity(listen), listen)
        return self._reply(200, status="ok")

    def _identity(self, listen: Json) -> object:
        return listen["listened_at"], listen["track_metadata"]["track_name"]

    def _reply(self, code: int, /, **fields: object) -> Response:
        return Response(code, {}, json.dumps(fields).encode())


class Maloja(Koito):
    """Maloja: knows a listen by its second alone, and ends with the first one that it knows.

    Attributes:
        broken: Titles at which it crashes.
    """

    broken: Sequence[str] = ()

    def _take(self, payload: list[Json]) -> Response:
        for listen in payload:
            title = listen["track_metadata"]["track_name"]
            if title in self.broken:
                return self._reply(500, error="Unspecified server error.")
            known = self.listens.setdefault(listen["listened_at"], listen)
            if known is not listen:
                is_same = known["track_metadata"]["track_name"] == title
                return self._reply(200, status="ok") if is_same else self._reply(409, status="error")
        return self._reply(200, status="ok")
