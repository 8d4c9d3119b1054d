"""The health of the logger, its login to Spotify, and what listeners change, as the commands do."""

import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from spotify_logger.core.redis_keys import play_key, second_of_key
from spotify_logger.monitoring.status import OVERDUE_AFTER, days_of_login, status
from spotify_logger.queries.question import FINISHED, HALF, PARAMETERS, Question
from spotify_logger.report.answers import Table
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer import delete
from spotify_logger.transfer import hide as hiding
from spotify_logger.transfer.export import ExportFormat, LogPeriod, export_file
from spotify_logger.web.auth import set_cookie
from spotify_logger.web.importing import MAX_UPLOAD_BYTES, temporary_folder
from spotify_logger.web.listeners import ListenerPage
from spotify_logger.web.request_params import CHOICES, COOKIE, BadRequest, chosen, read_form

EXPORT_FORMATS: Sequence[ExportFormat] = ("jsonl", "csv", "spotify", "listenbrainz")
THRESHOLDS = ("0", "10s", "30s", "60s", "240s", HALF, FINISHED)  # to choose from
CHUNK_BYTES = 64 * 1024


async def health(page: ListenerPage, request: Request) -> Response:
    """Show the health of the logger; the status is 503 if it needs attention, for monitoring."""
    data = await page.observe(status)
    now = time.time() - (data.clock_offset or 0)
    about = {"login": page.login, "overdue": OVERDUE_AFTER, "days_of_login": days_of_login(data, now)}
    return page.render(request, "health.html", 200 if data.well else 503, data=data, now=now, **about)


async def log_in(page: ListenerPage, request: Request) -> Response:
    """Begin a Spotify login, or complete it with a pasted URL."""
    pasted = (await read_form(request)).get("address", "").strip()
    if not pasted:
        await page.run(page.begin_login)
    elif page.login:
        page.login.attempt.take_line(pasted)
    return RedirectResponse(f"/health{request.state.listener.query}#login", 303)


async def login_state(page: ListenerPage, _: Request) -> Response:
    """Return the state of the login as JSON, never as an error, which browsers show in their consoles."""
    login = page.login
    waiting, done = bool(login and login.url), bool(login and login.attempt.is_done)
    return JSONResponse({"waiting": waiting, "done": done, "lines": login.lines if login else []})


async def forget(page: ListenerPage, request: Request) -> Response:
    """Delete a play."""
    second = second_of_key((await read_form(request)).get("play", ""))
    if second is None:
        raise BadRequest("the form does not name a play")
    await page.run(lambda store: delete.forget(LogPeriod(store), play_key(second), time.time(), None))
    return RedirectResponse(f"/day/{page.zone.day(second)}#deleted", 303)


async def hide(page: ListenerPage, request: Request) -> Response:
    """Hide a track, an artist or a show."""
    form = await read_form(request)
    kind, text = f"{form.get('kind')}s", form.get("text", "")
    if kind not in hiding.KEYS or not text.strip():
        raise BadRequest("the form does not name a track, an artist or a show")
    question = page.params(request).question(period=False)
    answer = await page.ask(request, hiding.hide, question, kind, text)
    if answer.code:
        tables = (part for part in answer.page if isinstance(part, Table))
        choices = "; ".join(f"{key} ({title})" for table in tables for title, key in table.rows)
        raise BadRequest(f"{answer.page[0]} {choices}".rstrip())
    return RedirectResponse("/settings#hidden", 303)


async def undo(page: ListenerPage, request: Request) -> Response:
    """Bring a deleted play back, or show something hidden again."""
    key = (await read_form(request)).get("key", "")
    if not key:
        raise BadRequest("the form does not name what to bring back")
    await page.run(lambda store: delete.undo(store, key))
    second = second_of_key(key)
    place = "/settings#hidden" if second is None else f"/day/{page.zone.day(second)}#deleted"
    return RedirectResponse(place, 303)


async def settings(page: ListenerPage, request: Request) -> Response:
    """Show what the listener has chosen for the page and the log."""
    read = PARAMETERS["min"].value
    return page.render(
        request,
        "settings.html",
        chosen=chosen(request),
        thresholds={text: Question(0.0, threshold=read(text)).rule_words for text in THRESHOLDS},
        zones=(files("tzdata") / "zones").read_text().split(),
        hidden=await page.run(hiding.hidden_things),
        job=page.importing,
        limit=MAX_UPLOAD_BYTES,
    )


async def upload(page: ListenerPage, request: Request) -> Response:
    """Import uploaded files."""
    await page.importing.upload(request)
    return RedirectResponse("/settings", 303)


async def choose_user(page: ListenerPage, request: Request) -> Response:
    """Import the plays of one of the users whose files were uploaded."""
    page.importing.choose((await read_form(request)).get("user", ""))
    return RedirectResponse("/settings", 303)


async def save_settings(_: ListenerPage, request: Request) -> Response:
    """Keep what the listener has chosen for the page."""
    answer, form = RedirectResponse("/settings", 303), await read_form(request)
    for name in CHOICES:
        if text := form.get(name, "").strip():  # if there is none, the default
            PARAMETERS[name].value(text)
        set_cookie(request, answer, COOKIE.format(name), text)
    return answer


async def export(page: ListenerPage, request: Request) -> Response:
    """Send the whole log as a zip, one at a time, as it may take minutes."""
    form: Any = (await read_form(request)).get("format")
    if form not in EXPORT_FORMATS:
        raise BadRequest("the form does not name an export format")
    name = f"spotify-logger-{form}.zip"
    async with page.exporting:
        file = await page.run(partial(_exported, form, name))
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-length": str(os.fstat(file.fileno()).st_size),
        "content-encoding": "identity",  # it is compressed already
    }
    return StreamingResponse(_chunks(file), 200, headers, "application/zip")


def _exported(form: ExportFormat, name: str, store: Archive) -> BinaryIO:
    """Return the log as a zip: an open file that is gone when it is closed, whatever happens."""
    with temporary_folder() as folder:
        export_file(LogPeriod(store), form, Path(folder, name))
        return Path(folder, name).open("rb")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
