"""Forwards plays to receivers that have ListenBrainz's API, one request at a time, between two polls.

A play waits in the outbox from the transaction that closes it until the receiver has taken it. After a crash
between answer and mark the same bytes are sent again, which ListenBrainz and Koito take for the same listen.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spotify_logger.config.settings import ForwardTarget, Settings
from spotify_logger.core import forwarding
from spotify_logger.core.backoff import Backoff
from spotify_logger.core.forwarding import Outcome, ReceiverStatus, Verdict
from spotify_logger.core.matching import Identity, identity
from spotify_logger.core.play import Play, format_title
from spotify_logger.daemon.alerts import MAX_RETRY, MIN_RETRY, Alerts
from spotify_logger.daemon.poller import Environment
from spotify_logger.spotify.http import Request
from spotify_logger.storage.outbox import RETRY_NOTE, Listen, Outbox, OutboxPlay
from spotify_logger.system import log
from spotify_logger.system.errors import TryLater
from spotify_logger.system.state import to_json

PAUSE = 1.0  # seconds between two requests to a receiver
MAX_REQUEST = 4.0  # seconds that a request may take, less than the pause between two polls
NEVER = float("inf")


@dataclass
class _Receiver:
    """A target, and what is known of it."""

    target: ForwardTarget
    backoff: Backoff
    due: float = 0.0  # when the next request may be sent; `NEVER` once the token was refused
    not_before: float = 0.0  # until when the receiver has asked to wait
    trouble: str = ""  # the last failure; "" after a success
    announced: Identity | None = None  # the last play that was sent as playing now
    batch: int = 1  # listens in the next request
    suspect: Listen | None = None  # the receiver may have crashed because of it


class Forwarder:
    """Sends what is playing, and the listens in the outbox, oldest first."""

    def __init__(self, settings: Settings, environment: Environment, outbox: Outbox, alerts: Alerts) -> None:
        self._send, self._clock, chance = environment.send_alert, environment.clock, environment.chance
        self._outbox, self._alerts = outbox, alerts
        self._room = min(MAX_REQUEST, 0.8 * settings.poll_min)  # seconds before a poll in which none begins
        self._receivers = [
            _Receiver(target, Backoff(MIN_RETRY, MAX_RETRY, chance)) for target in settings.forward
        ]
        self.playing: Play | None = None
        outbox.listens_of = self._listens

    def wait(self, left: float) -> float:
        """Return the seconds until a request is due; `NEVER` if the poll, in `left` seconds, is too near."""
        receiver = self._next()
        wait = NEVER if receiver is None else max(0.0, receiver.due - self._clock.monotonic())
        return wait if left - wait >= self._room else NEVER

    def turn(self, left: float) -> None:
        """Send a request if one is due, and the poll in `left` seconds is not too near."""
        receiver = self._next()
        if receiver is None or self.wait(left) > 0:
            return
        if (play := self._unannounced(receiver)) is not None:
            receiver.announced = identity(play)  # whether it arrives or not
            track = forwarding.track_metadata(play.item.key, {**play.item.catalog, **play.fields})
            self._post(receiver, "playing_now", [json.dumps({"track_metadata": track})])
            return
        listens = self._outbox.unsent(receiver.target.number, receiver.batch + 1)
        if receiver.trouble and len(listens) > 1:  # if another listen is taken, the receiver is well
            listens = [listen for listen in listens if listen != receiver.suspect]
        self._forward(receiver, listens[: receiver.batch])

    def status(self) -> str:
        """Return the `ReceiverStatus` of all receivers as JSON."""
        found = []
        for each in self._receivers:
            target, trouble, stopped = each.target, each.trouble, each.due == NEVER
            waiting, refused = self._outbox.count(target.number), self._outbox.refused(target.number)
            found.append(ReceiverStatus(target.setting, target.host, waiting, *refused, trouble, stopped))
        return to_json(found)

    def _listens(self, row: OutboxPlay) -> Iterator[Listen]:
        key, play = row
        body = forwarding.encode_listen(key, play.item.key, {**play.item.catalog, **play.to_hash()})
        for receiver in self._receivers if body else ():
            yield Listen(receiver.target.number, *identity(play), key, body)

    def _next(self) -> _Receiver | None:
        """Return the receiver that has something to get, and is due first."""
        if not self._outbox.on_disk and len(self._outbox):  # there are plays neither on disk nor in Redis
            return None
        if self._outbox.note(RETRY_NOTE):
            self._outbox.set_note(RETRY_NOTE, "")
            for receiver in self._receivers:
                receiver.due = receiver.not_before
        able, unsent = [each for each in self._receivers if each.due < NEVER], self._outbox.unsent
        busy = [each for each in able if self._unannounced(each) or unsent(each.target.number, 1)]
        return min(busy, key=lambda receiver: receiver.due, default=None)

    def _unannounced(self, receiver: _Receiver) -> Play | None:
        """Return the play to send as playing now; None while listens fail: it would prove nothing."""
        play = None if receiver.trouble else self.playing
        if play is not None and receiver.announced != identity(play) and forwarding.is_music(play.fields):
            return play
        return None

    def _forward(self, receiver: _Receiver, listens: Sequence[Listen]) -> None:
        was_well = not receiver.trouble
        bodies = [listen.body for listen in listens]
        outcome = self._post(receiver, "single" if len(bodies) == 1 else "import", bodies)
        if outcome.verdict is Verdict.TAKEN:
            self._outbox.update(listen._replace(body="") for listen in listens)
            receiver.batch = min(2 * receiver.batch, outcome.max_batch)
        elif outcome.verdict in (Verdict.REFUSED, Verdict.FAILED):
            receiver.batch = max(1, len(listens) // 2)
            is_guilty = outcome.verdict is Verdict.REFUSED or (was_well and listens[0] == receiver.suspect)
            if len(listens) == 1 and is_guilty:
                metadata = json.loads(bodies[0])["track_metadata"]
                title = format_title({"artists": metadata["artist_name"], "name": metadata["track_name"]})
                log.warning(f"{receiver.target.host} refuses {title} ({outcome.why}); skipping it")
                self._outbox.update([listens[0]._replace(refusal=f"{title}: {outcome.why}")])
            receiver.suspect = listens[0]

    def _post(self, receiver: _Receiver, listen_type: str, bodies: Sequence[str]) -> Outcome:
        """Send a request, decide when the next one is due, and return what the answer means."""
        target = receiver.target
        headers = {"Authorization": f"Token {target.token}", "Content-Type": "application/json"}
        text = forwarding.encode_request(listen_type, bodies)
        try:
            response = self._send(Request("POST", target.url + forwarding.SUBMIT_PATH, headers, text=text))
        except TryLater as error:
            outcome = Outcome(Verdict.LATER, str(error).removeprefix(f"{target.host}: "))
        else:
            outcome = forwarding.read_answer(response.status, response.headers, response.json, len(bodies))
        outcome = outcome._replace(why=log.sanitize(outcome.why, log.DETAIL_LIMIT))
        known, receiver.trouble = receiver.trouble, outcome.why
        now, alert = self._clock.monotonic(), f"forward-{target.number}"
        receiver.not_before = now + outcome.pause
        if outcome.verdict is Verdict.UNAUTHORIZED:
            receiver.due = NEVER
            trouble = f"plays are not forwarded: {target.host} refuses {target.setting} ({outcome.why})"
            trouble += ". Fix the token and restart the logger, or run `spotify-logger forward retry`"
            log.error(trouble)
            self._alerts.follow(alert, trouble)
        elif outcome.verdict in (Verdict.TAKEN, Verdict.REFUSED):
            receiver.backoff.succeeded()
            receiver.due, receiver.trouble = now + max(PAUSE, outcome.pause), ""
            if known:
                log.info(f"forwarding plays to {target.host} again")
            self._alerts.follow(alert, "")
        else:
            receiver.due = now + (outcome.pause or receiver.backoff.failed())
            if not known:
                log.warning(f"cannot forward plays to {target.host} ({outcome.why}); queued until it answers")
        return outcome
