"""`spotify-logger forward`: what waits for the receivers of plays, and sending earlier plays."""

import argparse
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from functools import partial

from spotify_logger.config.settings import ForwardTarget, Settings
from spotify_logger.core import forwarding
from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import STATUS
from spotify_logger.core.times import from_iso
from spotify_logger.monitoring.status import describe_receiver, is_overdue, receivers
from spotify_logger.report.answers import Answer, Table
from spotify_logger.report.progress import progress_bar
from spotify_logger.report.words import counted
from spotify_logger.spotify.http import HttpSender, Request
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.outbox import OUTBOX_FILE, Listen, add_listens, retry_listens
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater
from spotify_logger.system.log import DETAIL_LIMIT, sanitize
from spotify_logger.transfer.export import LogPeriod, completed_plays

LISTENS_PER_BATCH = 500  # written at once, so that the logger does not have to wait
NOT_SET = "nothing is forwarded: set FORWARD_URL and FORWARD_TOKEN, and restart the logger"


def answer(options: argparse.Namespace, store: Archive, settings: Settings) -> Answer:
    """Run one of the actions; SpotifyLoggerError if that is not possible here."""
    if options.action == "status":
        return status(store)
    if not settings.forward:
        raise Misconfigured(NOT_SET)
    if options.action == "check":
        return check(settings)
    # The logger creates the file, and its tables.
    path, now = settings.state_dir.absolute() / OUTBOX_FILE, options.question.now
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=30.0)) as outbox:
            if options.action == "retry":
                with outbox:
                    number, refused = retry_listens(outbox)
                retried = f"The logger will retry {counted(number, 'listen')}"
                done, data = f"{retried}, {refused:,} of them refused before.", {"refused": refused}
            else:
                number = _queue(outbox, store, settings, options.question.period.begin or 0)
                queued = f"{counted(number, 'listen')} queued for the logger to send"
                done, data = f"{queued}: see `spotify-logger forward status`.", {"queued": number}
    except sqlite3.Error as error:
        raise SpotifyLoggerError(
            f"cannot write to {path} ({error}): run this on the logger's machine, as its user"
        ) from None
    is_stopped = False
    with suppress(StoreError):
        is_stopped = is_overdue(store.hash(STATUS), now)
    return Answer(data, [done, "But no logger is running: start it."] if is_stopped else [done])


def status(store: Archive) -> Answer:
    """Report what waits for each receiver, as the logger says; exit code 1 if one refuses its token."""
    found = receivers(store.hash(STATUS))
    rows = [(each.host, describe_receiver(each)) for each in found]
    page = [Table(rows)] if rows else [f"{NOT_SET[0].upper()}{NOT_SET[1:]}."]
    data = {"receivers": [asdict(each) for each in found]}
    return Answer(data, page, code=int(any(each.stopped for each in found)))


def check(settings: Settings) -> Answer:
    """Ask all receivers whether they accept their tokens; exit code 1 if one does not."""
    with closing(HttpSender()) as send:
        found = [(target.host, *_validate(send, target)) for target in settings.forward]
    data = [{"host": host, "valid": valid, "answer": words} for host, valid, words in found]
    rows = [(host, words) for host, _, words in found]
    return Answer({"receivers": data}, [Table(rows)], code=int(not all(valid for _, valid, _ in found)))


def _validate(send: HttpSender, target: ForwardTarget) -> tuple[bool, str]:
    url = target.url + forwarding.VALIDATE_PATH
    request = Request("GET", url, {"Authorization": f"Token {target.token}"})
    try:
        response = send(request)
    except TryLater as error:
        return False, str(error).removeprefix(f"{target.host}: ")
    found = response.json or {}
    if found.get("valid") is True:
        return True, sanitize(f"accepts {target.setting}, for {found.get('user_name') or '?'}", DETAIL_LIMIT)
    outcome = forwarding.read_answer(response.status, response.headers, response.json, 1)
    why = outcome.why or "the token is not valid"
    if not outcome.why or outcome.verdict is forwarding.Verdict.UNAUTHORIZED:
        why = f"does not accept {target.setting}: {why}"
    return False, sanitize(why, DETAIL_LIMIT)


def _queue(outbox: sqlite3.Connection, store: Archive, settings: Settings, begin: int) -> int:
    """Queue the listens from a second on, and return their number."""
    number = 0
    with progress_bar(sys.stderr) as show:
        log = LogPeriod(store, begin, progress=partial(show, "reading the log"))
        for batch in batched(_listens(log, settings), LISTENS_PER_BATCH):
            with outbox:
                number += add_listens(outbox, batch)
    return number


def _listens(log: LogPeriod, settings: Settings) -> Iterator[Listen]:
    names = (*forwarding.PLAY_FIELDS, "started_at", "uri")
    for play in completed_plays(log, names, forwarding.CATALOG_FIELDS):
        started_ms, body = from_iso(play.fields.get("started_at", "")), forwarding.encode_listen(*play)
        if body and started_ms is not None and "end_reason" in play.fields:  # or it is still open
            for target in settings.forward:
                yield Listen(target.number, started_ms, play.fields.get("uri", ""), play.second, body)
