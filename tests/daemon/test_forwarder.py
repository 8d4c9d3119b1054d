"""Plays reach their receivers once, whatever dies, answers nonsense or is away."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from spotify_logger.config.settings import ForwardTarget
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.daemon.alerts import ALERTS_NOTE, Alerts
from spotify_logger.daemon.failover import Failover
from spotify_logger.daemon.forwarder import MAX_REQUEST, NEVER, Forwarder
from spotify_logger.daemon.poller import Environment
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.spotify.http import HttpSender, Response
from spotify_logger.storage.outbox import Outbox, retry_listens
from spotify_logger.system.errors import Unreachable
from tests.scripted_server import ScriptedServer, http_response, respond_with
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.receivers import TOKEN, Koito, ListenBrainz, Maloja
from tests.testbed.virtual_run import make_settings
from tests.testbed.virtual_time import VirtualClock, VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spotify_logger.spotify.http import Request
    from tests.scripted_server import ServerConnection

T = 1_795_348_800  # 2026-11-22T12:00:00Z
DAY, HOUR = 86400.0, 3600.0
TARGET = ForwardTarget(1, "FORWARD_TOKEN", "https://lb.test", TOKEN)
OFFLINE = Response(0, {}, b"")
RECEIVERS = [ListenBrainz, Koito, Maloja]


class Killed(BaseException):
    """The process is killed."""


def play(
    name: str, second: int = 0, heard: int = 200, *, title: str = "", reason: str | None = "trackdone"
) -> Play:
    """Return a play of a track of 200 seconds, that many seconds after noon."""
    uri, begun = f"spotify:track:{name}", (T + second) * 1000
    names: dict[str, str | int] = {
        "name": title or name,
        "artists": "Tyler, The Creator, Kali Uchis",
        "duration_ms": 200_000,
    }
    item = Item(f"track:{name}", uri, 200_000, {**names, "artist_ids": "1", "isrc": "USX", "album_id": "2"})
    fields: dict[str, str | int] = {**names, "uri": uri, "type": "track", "id": name}
    return Play(T + second, item, begun, begun + heard * 1000, heard * 1000, reason, "live", fields)


class Rig:
    """A forwarder between its outbox and a receiver, with polls every half minute."""

    def __init__(
        self,
        folder: Path,
        kind: Callable[[Callable[[], float]], ListenBrainz] = ListenBrainz,
        target: ForwardTarget = TARGET,
    ) -> None:
        self.clock = VirtualClock(T + HOUR)
        self.receiver = kind(self.clock.utc)
        self.requests: list[Request] = []
        self._folder = folder
        settings = make_settings(folder, "redis://none/0")
        self._settings = replace(settings, forward=(target,), alert_url="https://alerts.test")
        self._opened: list[Outbox] = []
        self.restart()

    def restart(self) -> None:
        """Start anew with what is on disk, as after kill -9."""
        self.outbox = Outbox(self._folder / "outbox.sqlite", self.clock.monotonic)
        self._opened.append(self.outbox)
        environment = Environment(self.clock, self._send, self._send, lambda: 1.0)
        alerts = Alerts(self._send, self._settings, self.clock, self.outbox, lambda: 1.0)
        self.forwarder = Forwarder(self._settings, environment, self.outbox, alerts)

    def run(self, seconds: float = HOUR) -> None:
        """Let the time pass, and restart where the process is killed."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            left = 30.0
            while (wait := self.forwarder.wait(left)) < NEVER:
                self.clock.sleep(wait)
                try:
                    self.forwarder.turn(left - wait)
                except Killed:
                    self.restart()
                left -= wait
            self.clock.sleep(left)

    def status(self) -> dict[str, Any]:
        (status,) = json.loads(self.forwarder.status())
        assert TOKEN not in str(status)
        return dict(status)

    def close(self) -> None:
        for outbox in self._opened:
            outbox.close()

    def _send(self, request: Request) -> Response:
        assert TOKEN not in repr(request)
        self.requests.append(request)
        response = self.receiver.handle(request)
        if response is OFFLINE:
            self.clock.sleep(MAX_REQUEST)
            raise Unreachable("lb.test: connection refused")
        return response


@pytest.fixture(params=RECEIVERS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path, request.param)) as rig:
        yield rig


@pytest.fixture
def lb(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path)) as rig:
        yield rig


@pytest.fixture
def maloja(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path, Maloja)) as rig:
        yield rig


def plays(count: int) -> list[Play]:
    return [play(f"P{number}", number) for number in range(count)]


class TestWhatIsSent:
    def test_listen(self, rig: Rig) -> None:
        rig.outbox.put([play("A", heard=150)])
        rig.run()
        (listen,) = rig.receiver.listens.values()
        info = listen["track_metadata"].pop("additional_info")
        assert listen == {
            "listened_at": T,
            "track_metadata": {"artist_name": "Tyler, The Creator, Kali Uchis", "track_name": "A"},
        }
        assert (info["duration_ms"], info["duration_played"], info["isrc"]) == (200_000, 150, "USX")
        assert info["artist_names"] == ["Tyler, The Creator, Kali Uchis"]
        assert info["origin_url"] == "https://open.spotify.com/track/A"

    def test_only_what_counts_and_once_for_all_of_its_states(self, rig: Rig) -> None:
        episode = replace(play("E"), fields={**play("E").fields, "type": "episode"})
        short = play("S", 3, 20)
        short = replace(short, fields={**short.fields, "duration_ms": 20_000})
        rig.outbox.put([play("A"), play("B", 1, 99), play("C", 2, reason=None), episode, short])
        rig.run()
        assert rig.receiver.titles == ["A"]
        rig.outbox.put([play("A", heard=201, title="A (Remastered)"), play("B", 1, 100), play("C", 2)])
        rig.run()
        assert rig.receiver.titles == ["A", "B", "C"]

    def test_catalog_that_only_the_outbox_remembers(self, lb: Rig) -> None:
        lb.outbox.put([play("A", reason=None)])
        lb.outbox.put([replace(play("A"), item=replace(play("A").item, catalog={}))])
        lb.run()
        (listen,) = lb.receiver.listens.values()
        assert listen["track_metadata"]["additional_info"]["isrc"] == "USX"

    def test_plays_that_were_deleted_or_left_to_another_logger_are_not_sent(self, rig: Rig) -> None:
        rig.outbox.put([play("A"), play("B", 10), play("C", 20)])
        rig.outbox.mark_deleted({T})
        rig.outbox.drop_listens(play("B", 10))
        rig.run()
        assert rig.receiver.titles == ["C"]

    def test_a_play_that_got_another_key_is_found_when_it_is_deleted(self, rig: Rig) -> None:
        rig.outbox.put([play("A"), play("B", 10)])
        rig.outbox.rekey(play("A"), T + 5)
        rig.outbox.mark_deleted({T + 5})
        rig.run()
        assert rig.receiver.titles == ["B"]

    def test_playing_now_once_and_not_when_it_is_late(self, lb: Rig) -> None:
        lb.forwarder.playing = play("A", reason=None)
        lb.run()
        lb.receiver.answer = OFFLINE
        lb.outbox.put([play("B", 300)])
        lb.run(60)
        lb.forwarder.playing = play("C", 600, reason=None)
        lb.run(300)
        lb.forwarder.playing, lb.receiver.answer = None, None
        lb.run()
        assert lb.receiver.playing == ["A"]
        assert lb.receiver.titles == ["B"]


class TestOnceEach:
    def test_kill_between_send_and_mark(self, rig: Rig) -> None:
        number = count(1)

        def die() -> None:
            if next(number) in {1, 4, 9}:
                raise Killed

        rig.receiver.taken = die
        rig.outbox.put(plays(20))
        rig.run()
        assert rig.receiver.titles == [f"P{number}" for number in range(20)]
        assert rig.status()["waiting"] == 0

    def test_title_changes_between_two_tries(self, rig: Rig) -> None:
        def die() -> None:
            rig.receiver.taken = lambda: None
            raise Killed

        rig.receiver.taken = die
        rig.outbox.put([play("A")])
        rig.run(1)
        rig.outbox.put([play("A", title="A - Remastered 2027")])
        rig.run()
        assert rig.receiver.titles == ["A"]
        assert len(rig.requests) == 2

    def test_week_without_the_receiver(self, rig: Rig) -> None:
        rig.receiver.answer = OFFLINE
        for day in range(7):
            rig.outbox.put([play(f"P{day}-{number}", day * 90_000 + number * 300) for number in range(40)])
            rig.run(DAY)
        assert rig.status()["waiting"] == 280
        assert len(rig.requests) < 7 * 30
        rig.receiver.answer = None
        rig.restart()
        rig.run(3 * HOUR)
        assert len(rig.receiver.titles) == 280
        seconds = [listen["listened_at"] for listen in rig.receiver.listens.values()]
        assert seconds == sorted(seconds)

    def test_backfilled_play_that_is_older_than_what_was_sent(self, rig: Rig) -> None:
        rig.outbox.put([play("B", 1000)])
        rig.run()
        rig.outbox.put([replace(play("A"), source="backfill")])
        rig.run()
        assert rig.receiver.titles == ["B", "A"]

    def test_another_track_in_the_same_second(self, maloja: Rig) -> None:
        maloja.receiver.listens[T] = {"track_metadata": {"track_name": "from another client"}}
        maloja.outbox.put([play("A"), play("B", 5)])
        maloja.run()
        assert maloja.receiver.titles == ["from another client", "B"]
        assert (maloja.status()["waiting"], maloja.status()["refused"]) == (0, 0)


class TestRefusals:
    def test_one_bad_listen_in_a_hundred(self, lb: Rig) -> None:
        lb.receiver.invalid = ("P57",)
        lb.outbox.put(plays(100))
        lb.run()
        assert len(lb.receiver.titles) == 99
        assert (lb.status()["waiting"], lb.status()["refused"]) == (0, 1)
        assert "P57" in lb.status()["last_refused"]
        assert len(lb.receiver.sizes) < 30
        lb.outbox.put([replace(play("1970", -T + 5), started_ms=5000, ended_ms=205_000)])
        lb.run()
        assert lb.status()["refused"] == 2

    def test_a_listen_at_which_the_receiver_crashes(self, maloja: Rig) -> None:
        maloja.receiver.broken = ("P3",)  # type: ignore[attr-defined]
        maloja.outbox.put(plays(10))
        maloja.run()
        assert len(maloja.receiver.titles) == 9
        assert "P3" in maloja.status()["last_refused"]
        maloja.receiver.broken = ()  # type: ignore[attr-defined]
        maloja.outbox.write(retry_listens)
        maloja.run()
        assert len(maloja.receiver.titles) == 10

    def test_playing_now_does_not_prove_that_listens_are_taken(self, maloja: Rig) -> None:
        maloja.receiver.broken = ("P0",)  # type: ignore[attr-defined]
        maloja.outbox.put(plays(1))
        for name in "ABCDEF":
            maloja.forwarder.playing = play(name, reason=None)
            maloja.run()
        assert (maloja.status()["waiting"], maloja.status()["refused"]) == (1, 0)

    def test_receiver_that_only_crashes_gets_everything_later(self, rig: Rig) -> None:
        rig.receiver.answer = Response(500, {}, b"")
        rig.outbox.put(plays(3))
        rig.run(DAY)
        rig.receiver.answer = None
        rig.run(2 * HOUR)
        assert len(rig.receiver.titles) == 3

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_token_stops_it_until_somebody_says_so(self, rig: Rig, status: int) -> None:
        rig.receiver.answer = Response(status, {}, b'{"error": "Invalid authorization token."}')
        rig.outbox.put(plays(3))
        rig.run(DAY)
        rig.restart()
        rig.run(DAY)
        assert len(rig.requests) == 2  # one in each process
        assert rig.status()["stopped"]
        assert "FORWARD_TOKEN" in json.loads(rig.outbox.note(ALERTS_NOTE))["queue"]["forward-1"]
        rig.receiver.answer = None
        rig.outbox.write(retry_listens)
        rig.run()
        assert len(rig.receiver.titles) == 3
        assert not rig.status()["stopped"]

    def test_rate_limit(self, lb: Rig) -> None:
        lb.receiver.answer = Response(429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset-in": "200"}, b"")
        lb.outbox.put(plays(3))
        lb.run(50)
        lb.outbox.write(retry_listens)
        lb.run(100)
        assert len(lb.requests) == 1
        lb.receiver.answer = None
        lb.run(90)
        assert lb.receiver.titles == ["P0", "P1", "P2"]

    @pytest.mark.parametrize(
        "answer",
        [
            Response(200, {}, b"<!doctype html>"),
            Response(200, {}, b'{"code": 200, "error": "Invalid Method"}'),
            Response(301, {}, b""),
            Response(404, {}, b"<!doctype html>"),
            OFFLINE,
        ],
    )
    def test_what_is_no_receiver_loses_nothing(self, rig: Rig, answer: Response) -> None:
        rig.receiver.answer = answer
        rig.outbox.put(plays(3))
        rig.run(DAY)
        assert rig.status()["waiting"] == 3
        assert "answered" in rig.status()["trouble"] or answer is OFFLINE
        assert len(rig.requests) < 40
        rig.receiver.answer = None
        rig.run(2 * HOUR)
        assert len(rig.receiver.titles) == 3


def test_no_request_begins_shortly_before_a_poll(lb: Rig) -> None:
    lb.outbox.put(plays(1))
    assert lb.forwarder.wait(MAX_REQUEST - 0.1) == NEVER
    lb.forwarder.turn(MAX_REQUEST - 0.1)
    assert lb.requests == []
    assert lb.forwarder.wait(MAX_REQUEST) == 0


class Wire(ListenBrainz):
    """Whatever listens on a real socket."""

    url = ""

    def handle(self, request: Request) -> Response:
        with closing(HttpSender(read_timeout=1.0, deadline=1.0)) as send:
            return send(replace(request, url=request.url.replace(TARGET.url, self.url)))


def test_answers_on_a_real_socket(tmp_path: Path) -> None:
    def drip(line: ServerConnection) -> None:
        line.read_request()
        line.send_slowly(http_response(b'{"status": "ok"}'))

    bodies = (b"<!doctype html>", b"x" * 3_000_000, b'{"status": "ok"}')
    answers = [respond_with(http_response(body)) for body in bodies]
    with closing(ScriptedServer(drip, *answers)) as server, closing(Rig(tmp_path, Wire)) as rig:
        rig.receiver.url = server.url  # type: ignore[attr-defined]
        rig.outbox.put([play("A", title="Łódź\ud83d")])
        rig.run(DAY)
        assert (rig.status()["waiting"], len(server.requests)) == (0, 4)
        assert len({request.partition(b"\r\n\r\n")[2] for request in server.requests}) == 1
        assert b"Content-Type: application/json\r\n" in server.requests[0]


class LoggerRun(NamedTuple):
    """What a logger did in an hour."""

    polls: list[float]
    receivers: dict[str, ListenBrainz]
    status: str


def run_logger(folder: Path, names: Sequence[str], offline: str = "") -> LoggerRun:
    """Let the listener play six tracks, one of them for a minute, and a logger forward them."""
    history = History(T)
    for name in "ABCDEF":
        history = history.play(song(name, 200), 60 if name == "C" else 200)
    world = VirtualWorld.of(history.gone(HOUR).finish())
    receivers = {kind.__name__: kind(world.clock.utc) for kind in RECEIVERS if kind.__name__ in names}
    polls: list[float] = []

    def send(request: Request) -> Response:
        polls.append(world.clock.now)
        return world.send(request)

    def send_listens(request: Request) -> Response:
        name = request.url.split("/")[2]
        if name == offline:
            world.clock.sleep(MAX_REQUEST)
            raise Unreachable(f"{name}: no answer within 5 s")
        return receivers[name].handle(request)

    folder.mkdir()
    targets = [ForwardTarget(number, "T", f"http://{name}", TOKEN) for number, name in enumerate(receivers)]
    settings = replace(make_settings(folder, "redis://stand-in/0"), forward=tuple(targets))
    redis = FakeRedis(lambda: world.clock.now, world.clock.sleep, "aof")
    environment = Environment(world.clock, send, send_listens, lambda: 0.5, redis.client)
    with closing(Failover(settings, environment, "here")) as failover:
        while world.clock.now < T + HOUR:
            turn = failover.turn()
            world.clock.sleep(max(0.001, turn.due - world.clock.monotonic()))
    return LoggerRun(polls, receivers, redis.fields("spotify_logger:status")["forwarding"])


def test_logger_forwards_every_play_that_counts_and_delays_no_poll(tmp_path: Path) -> None:
    alone = run_logger(tmp_path / "alone", [])
    run = run_logger(tmp_path / "forwarding", ["ListenBrainz", "Koito", "Maloja"], offline="Koito")
    for name in ("ListenBrainz", "Maloja"):
        assert run.receivers[name].titles == ["A", "B", "D", "E", "F"]
    assert run.receivers["ListenBrainz"].playing == list("ABCDEF")
    assert [each["waiting"] for each in json.loads(run.status)] == [0, 5, 0]
    assert run.polls == pytest.approx(alone.polls, abs=0.5)
