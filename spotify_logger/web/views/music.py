"""Rankings, the page of a track, an artist or an album, and the search."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from spotify_logger.core.search_text import TextSearch
from spotify_logger.queries import count, item_page, timeline
from spotify_logger.queries import top as rankings
from spotify_logger.queries.count import CountedTrack
from spotify_logger.queries.sql import CHOICES
from spotify_logger.queries.top import Top
from spotify_logger.web.listeners import ListenerPage
from spotify_logger.web.request_params import DEFAULT_LIMIT, BadRequest, RequestParams, search_text
from spotify_logger.web.templating import catalog_key_of_play

SUGGESTIONS = 4  # of each kind
PLAYS_OF_ITEM = 10  # on its page; a link leads to all


async def top(page: ListenerPage, request: Request) -> Response:
    """Show a ranking."""
    data, params = await ask_top(page, request)
    links = await page.links(line.key for line in data.top)
    return page.render(request, "top.html", data=data, params=params, links=links, kinds=CHOICES)


async def ask_top(page: ListenerPage, request: Request) -> tuple[Top, RequestParams]:
    """Return the ranking that a request asks for, and its parameters."""
    kind = request.path_params["kind"]
    if kind not in CHOICES:
        raise BadRequest(f"unknown kind of list: {kind}")
    params = page.params(request)
    return await page.ask(request, rankings.top, params.question("by", "min", "n"), kind), params


async def compare(page: ListenerPage, request: Request) -> Response:
    """Compare two listeners."""
    params = page.params(request, all_time=True)
    others = request.state.listener.others
    if not others:
        text = "Only one listener has a log here. To add one, start a logger with LISTENER=NAME."
        return page.render(request, "error.html", title="Nobody to compare", message=text, can_retry=False)
    chosen = request.query_params.get("with", "")
    other = chosen if chosen in others else others[0]
    data = await page.ask(request, page.compare, params.question("by", "min"), other)
    links = await page.links(line.key for line in (*data.artists, *data.tracks))
    return page.render(
        request, "compare.html", data=data, params=params, other=other, others=others, links=links
    )


async def item(page: ListenerPage, request: Request) -> Response:
    """Show a track, an artist or an album."""
    kind = request.scope["path"].strip("/")
    params = page.params(request, all_time=True)
    text = search_text(request.query_params, "q")
    if not text:
        raise BadRequest("the parameter q is missing")
    data = await page.ask(request, item_page.page, params.question("by", "min"), f"{kind}s", text)
    found = data.found
    keys = [line.key for line in data.candidates[:DEFAULT_LIMIT]]
    latest = None
    if found:
        keys = [found.key, *(line.key for part in (found.tracks, found.albums, found.ids) for line in part)]
        question = params.question("min", limit=PLAYS_OF_ITEM)
        latest = await page.ask(request, timeline.recent, question, f"{kind}s", found.text)
        keys += [catalog_key_of_play(line) for line in latest.lines]
    return page.render(
        request,
        "item.html",
        kind=kind,
        text=text,
        data=data,
        params=params,
        links=await page.links(keys),
        latest=latest,
        lines=DEFAULT_LIMIT,
    )


async def search(page: ListenerPage, request: Request) -> Response:
    """Show how many times something was played."""
    params = page.params(request, all_time=True)
    text = search_text(request.query_params, "q")
    data = await page.ask(request, count.count, params.question("by", "min"), text) if text else None
    tracks = data.tracks if data else ()
    links = await page.links(track.keys[0] for track in tracks[:DEFAULT_LIMIT])
    about = {"text": text, "lines": DEFAULT_LIMIT, "pages": _matching_pages(text, tracks)}
    return page.render(request, "search.html", data=data, params=params, links=links, **about)


async def suggest(page: ListenerPage, request: Request) -> Response:
    """Render the suggestions below a search field."""
    text = search_text(request.query_params, "q")
    question = page.params(request).question(limit=SUGGESTIONS, period=False)
    data = await page.ask(request, item_page.suggestions, question, text)
    return page.render(request, "suggest.html", text=text, data=data)


def _matching_pages(text: str, tracks: Iterable[CountedTrack]) -> list[tuple[str, str]]:
    """Return the kind and the name of the artists and albums whose words all occur in `text`."""
    wanted, found = set(TextSearch(text).words), dict[tuple[str, ...], tuple[str, str]]()
    for track in tracks:
        names = [*(("artist", name) for name in (track.artists, *track.artist_names)), ("album", track.album)]
        for kind, name in names:
            words = TextSearch(name).words
            if words and wanted.issuperset(words):
                found[kind, *words] = kind, name
    return list(found.values())
