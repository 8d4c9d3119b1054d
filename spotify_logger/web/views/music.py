"""Rankings, the page of a track, an artist or an album, and the search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spotify_logger.core.catalog import CatalogEntry, artist_names
from spotify_logger.core.text import fold, words_of
from spotify_logger.queries.item_report import IDS
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, KINDS, TRACKS
from spotify_logger.web.request_params import BadRequest, search_text
from spotify_logger.web.views.context import LIST_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.web.views.context import ViewContext

LIST_LENGTHS = (LIST_LENGTH, 100, 500)
"""Numbers of rows to choose from."""
ITEM_PARTS = (TRACKS, ALBUMS, IDS)
"""The parts of an item report that list other items."""
NOUNS = {TRACKS: "track", ARTISTS: "artist", ALBUMS: "album"}


class MusicViews:
    """The pages about tracks, artists, albums and shows.

    Args:
        context: What all views need.
    """

    def __init__(self, context: ViewContext) -> None:
        self._context = context

    async def top(self, request: Request) -> Response:
        """Show a ranking."""
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise BadRequest(f"unknown kind of list: {kind}")
        params = self._context.params(request)
        options = params.options("by", "min", "n")
        data = await self._context.service.query("top", f"-n{LIST_LENGTH}", *options, kind)
        covers = (
            {} if kind == ARTISTS else await self._context.cover_urls(line["key"] for line in data["top"])
        )
        return self._context.templates.render(
            request,
            "top.html",
            kind=kind,
            kinds=KINDS,
            data=data,
            params=params,
            covers=covers,
            albums=await self._context.album_queries(line["key"] for line in data["top"] if kind == ALBUMS),
            lengths=LIST_LENGTHS,
        )

    async def compare(self, request: Request) -> Response:
        """Compare two listeners."""
        params = self._context.params(request, default_all_time=True)
        others = request.state.listener.others
        chosen = request.query_params.get("with", "")
        other = chosen if chosen in others else next(iter(others), None)
        if other is None:
            raise BadRequest("there is no other listener to compare with")
        data = await self._context.service.query(
            "compare", f"-n{LIST_LENGTH}", *params.options("by", "min"), "--", other or "-"
        )
        covers = await self._context.cover_urls(line["key"] for line in data["tracks"])
        return self._context.templates.render(
            request, "compare.html", data=data, params=params, other=other, others=others, covers=covers
        )

    async def track(self, request: Request) -> Response:
        """Show a track."""
        return await self._item_page(request, TRACKS)

    async def artist(self, request: Request) -> Response:
        """Show an artist."""
        return await self._item_page(request, ARTISTS)

    async def album(self, request: Request) -> Response:
        """Show an album."""
        return await self._item_page(request, ALBUMS)

    async def search(self, request: Request) -> Response:
        """Show how many times something was played."""
        params = self._context.params(request, default_all_time=True)
        text = search_text(request.query_params, "q")
        data = None
        covers: Mapping[str, str] = {}
        if text:
            data = await self._context.service.query("count", *params.options("by", "min"), "--", text)
            covers = await self._context.cover_urls(
                track["keys"][0] for track in data["tracks"][:LIST_LENGTH]
            )
        return self._context.templates.render(
            request,
            "search.html",
            text=text,
            data=data,
            params=params,
            covers=covers,
            lines=LIST_LENGTH,
            pages=[] if data is None else _matching_pages(text, data["tracks"]),
        )

    async def _item_page(self, request: Request, kind: str) -> Response:
        params = self._context.params(request, default_all_time=True)
        text = search_text(request.query_params, "q")
        if not text:
            raise BadRequest("the parameter q is missing")
        data = await self._context.service.query(
            NOUNS[kind], f"-n{LIST_LENGTH}", *params.options("by", "min"), "--", text
        )
        found = data["found"]
        keys = [line["key"] for line in data["candidates"][:LIST_LENGTH]]
        about = CatalogEntry()
        if found:
            keys = [found["key"], *(line["key"] for part in ITEM_PARTS for line in found.get(part, ()))]
            about = await self._context.service.run(lambda store: _catalog_entry(store, found["key"]))
        return self._context.templates.render(
            request,
            "item.html",
            kind=NOUNS[kind],
            text=text,
            data=data,
            params=params,
            about=about,
            artists=artist_names(about),
            covers=await self._context.cover_urls(keys),
            albums=await self._context.album_queries(keys),
            lines=LIST_LENGTH,
        )


def _matching_pages(text: str, tracks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return kind, name and query of the artists and albums whose words all occur in `text`."""
    wanted, found = fold(text), {}
    words = words_of(wanted)

    def is_named(name: str) -> bool:
        own = words_of(fold(name))
        return own <= words if own else fold(name) == wanted != ""

    for track in tracks:
        for name in {track["artists"], *track["artists"].split(", ")}:
            if is_named(name):
                found["artist", fold(name)] = (name, name)
        album = track["album"]
        if is_named(album):
            found["album", fold(album)] = (album, album)
    return [(kind, name, target) for (kind, _), (name, target) in found.items()]


def _catalog_entry(store: Archive, key: str) -> CatalogEntry:
    ((_, values),) = store.catalog([key], CatalogEntry._fields)
    return CatalogEntry._make(values)
