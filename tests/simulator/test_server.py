from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from spotify_logger.simulator.__main__ import main
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.server import HOST, SimulatorServer
from spotify_logger.simulator.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = 1_700_000_000.0
PLAYER = "/v1/me/player?additional_types=track,episode"
FORM = {"content-type": "application/x-www-form-urlencoded"}
GENEROUS = 30.0


@contextmanager
def serving(server: SimulatorServer) -> Iterator[SimulatorServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(GENEROUS)


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    record = History(T).play(song("A", 200)).play(song("B", 300), 50).gone(600).finish()
    with serving(SimulatorServer(Service(record), now=lambda: T + 220)) as running:
        yield running


class Client:
    """One connection, kept alive as long as the server lets it."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection(HOST, port, timeout=GENEROUS)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> tuple[int, bytes]:
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        return response.status, response.read()

    def token(
        self, refresh_token: str = DEMO_REFRESH_TOKEN, client_id: str = DEMO_CLIENT_ID
    ) -> dict[str, str]:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client_id}
        status, body = self.ask("POST", "/api/token", FORM, urlencode(form))
        assert status == 200, body
        return {"Authorization": f"Bearer {json.loads(body)['access_token']}"}

    def control(self, **fault: object) -> tuple[int, dict[str, object]]:
        status, body = self.ask("POST", "/control/faults", body=json.dumps(fault))
        answer = json.loads(body)
        assert isinstance(answer, dict)
        return status, answer


@pytest.fixture
def client(server: SimulatorServer) -> Iterator[Client]:
    client = Client(server.server_address[1])
    yield client
    client.connection.close()


def test_one_connection_serves_many_requests(client: Client) -> None:
    bearer = client.token()
    sockets = set()
    for _ in range(5):
        status, body = client.ask("GET", PLAYER, bearer)
        assert (status, json.loads(body)["item"]["name"]) == (200, "B")
        sockets.add(id(client.connection.sock))
    assert len(sockets) == 1


def test_204_has_no_body_and_the_connection_goes_on() -> None:
    record = History(T).gone(600).finish()
    with serving(SimulatorServer(Service(record), now=lambda: T + 5)) as server:
        client = Client(server.server_address[1])
        bearer = client.token()
        answers = [client.ask("GET", PLAYER, bearer) for _ in range(3)]
        client.connection.close()
    assert answers == [(204, b"")] * 3


def test_answers_carry_one_date_and_their_length(client: Client) -> None:
    client.connection.request("GET", PLAYER, headers=client.token())
    response = client.connection.getresponse()
    body = response.read()
    assert response.headers.get_all("date") == ["Tue, 14 Nov 2023 22:17:00 GMT"]
    assert response.headers["content-length"] == str(len(body))
    assert response.headers["content-type"] == "application/json; charset=utf-8"


def test_only_a_form_is_taken_for_a_form(client: Client) -> None:
    form = urlencode({"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN})
    status, body = client.ask("POST", "/api/token", {"content-type": "application/json"}, form)
    assert (status, json.loads(body)["error"]) == (400, "unsupported_grant_type")


def test_it_listens_on_the_loopback_only(server: SimulatorServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}"


def test_a_fault_is_switched_on_and_off(client: Client) -> None:
    bearer = client.token()
    assert client.control(fault="error_502", requests=2) == (200, {"faults": ["error_502"]})
    assert client.control(fault="rate_limit", value=9, path="/v1/me/player/recently-played") == (
        200,
        {"faults": ["error_502", "rate_limit"]},
    )
    assert client.ask("GET", PLAYER, bearer)[0] == 502
    assert client.control(fault="none") == (200, {"faults": []})
    assert client.ask("GET", PLAYER, bearer)[0] == 200


@pytest.mark.parametrize(
    "body",
    ["", "nonsense", "[]", "{}", '{"fault": "earthquake"}', '{"fault": "slow", "speed": 1}', '{"fault": 1}'],
)
def test_a_wish_for_what_is_no_fault_is_refused(client: Client, body: str) -> None:
    status, answer = client.ask("POST", "/control/faults", body=body)
    assert (status, json.loads(answer)["error"][:8]) == (400, "no fault")


def test_an_unknown_endpoint_of_the_control(client: Client) -> None:
    assert client.ask("GET", "/control/faults")[0] == 404
    assert client.ask("POST", "/control/listen")[0] == 404


def test_the_truth_so_far(client: Client) -> None:
    status, body = client.ask("GET", "/control/truth")
    first, second = json.loads(body)["plays"]
    assert status == 200
    assert (first["name"], first["ms_played"], first["started_at"], first["end_reason"]) == (
        "A",
        200_000,
        T,
        "trackdone",
    )
    assert (second["name"], second["ms_played"], second["ended_at"], second["end_reason"]) == (
        "B",
        20_000,
        T + 220,
        "",
    )
    assert second["item"] == second["uri"].removeprefix("spotify:")


def test_requests_are_counted(client: Client) -> None:
    bearer = client.token()
    client.ask("GET", PLAYER, bearer)
    client.ask("GET", PLAYER, bearer)
    client.ask("GET", PLAYER)
    status, body = client.ask("GET", "/control/requests")
    assert (status, json.loads(body)) == (
        200,
        {"/api/token": {"200": 1}, "/v1/me/player": {"200": 2, "401": 1}},
    )


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def raw(client: Client, bearer: Mapping[str, str]) -> socket.socket:
    """Send a request over a socket of its own, so that the wire can be looked at."""
    host, port = client.connection.host, client.connection.port
    wire = socket.create_connection((host, port), timeout=GENEROUS)
    wire.sendall(
        f"GET {PLAYER} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n\r\n".encode()
    )
    return wire


def read_all(wire: socket.socket) -> bytes:
    parts = []
    while part := wire.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_reset(client: Client) -> None:
    bearer = client.token()
    client.control(fault="reset", requests=1)
    with raw(client, bearer) as wire, pytest.raises(ConnectionResetError):
        wire.recv(1)
    assert client.ask("GET", PLAYER, bearer)[0] == 200


def test_a_hang_ends_when_the_client_goes_or_after_its_time(client: Client) -> None:
    bearer = client.token()
    client.control(fault="hang", requests=1)
    with raw(client, bearer) as wire:
        wire.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.recv(1)
    client.control(fault="hang", requests=1, value=0.1)
    with raw(client, bearer) as wire, pytest.raises(ConnectionResetError):
        wire.recv(1)


def test_an_answer_that_is_cut_in_its_middle(client: Client) -> None:
    bearer = client.token()
    client.control(fault="cut", requests=1)
    with raw(client, bearer) as wire:
        head, _, body = read_all(wire).partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert len(body) == length // 2


@pytest.mark.parametrize("fault", ["drip", "drip_headers"])
def test_an_answer_in_drips(client: Client, fault: str) -> None:
    bearer = client.token()
    client.control(fault=fault, requests=1, value=1)
    with raw(client, bearer) as wire:
        received = wire.recv(65536)
        if fault == "drip":
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            received = wire.recv(65536)
        else:
            assert received.startswith(b"H")
        assert len(received) < 20, "only a few bytes have come yet"
    client.control(fault=fault, requests=1, value=0)
    with raw(client, bearer) as wire:
        whole = read_all(wire)
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["item"]["name"] == "B"


def test_a_slow_answer_is_a_whole_one_and_the_connection_goes_on(client: Client) -> None:
    bearer = client.token()
    client.control(fault="slow", requests=1, value=0.15)
    before = time.monotonic()
    assert client.ask("GET", PLAYER, bearer)[0] == 200
    assert time.monotonic() - before >= 0.15
    assert client.ask("GET", PLAYER, bearer)[0] == 200


def test_a_client_that_does_not_read_to_the_end_disturbs_nobody(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    bearer = client.token()
    before = threading.active_count()
    client.control(fault="huge", requests=3)
    for _ in range(3):
        with raw(client, bearer) as wire:
            assert wire.recv(10) == b"HTTP/1.1 2"
    assert client.ask("GET", PLAYER, bearer)[0] == 200
    wait_for(lambda: threading.active_count() <= before)
    assert capfd.readouterr().err == ""


def test_a_body_that_is_too_long_is_not_read(client: Client) -> None:
    client.connection.putrequest("POST", "/api/token")
    client.connection.putheader("content-length", "100000000")
    client.connection.endheaders()
    response = client.connection.getresponse()
    assert (response.status, response.headers["connection"]) == (400, "close")
    response.read()


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    command = [sys.executable, "-m", "spotify_logger.simulator", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), line
            client = Client(int(line.rpartition(":")[2]))
            yield child, client
            client.connection.close()
        finally:
            child.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(stop: signal.Signals) -> None:
    with process("--port", "0", "--seed", "5", "--pace", "40", "--days", "1") as (child, client):
        status, body = client.ask("GET", PLAYER, client.token())
        assert (status, json.loads(body)["is_playing"]) == (200, True), "listening begins at once"
        child.send_signal(stop)
        out, err = child.communicate(timeout=GENEROUS)
    assert (child.returncode, out, err) == (0, "", "")


def test_the_command_knows_an_app_and_a_token_of_ones_own() -> None:
    options = [
        "--client-id",
        "app",
        "--client-secret",
        "s",
        "--refresh-token",
        "mine",
        "--rotate",
        "--days",
        "0.5",
    ]
    with process(*options) as (child, client):
        form = {
            "grant_type": "refresh_token",
            "refresh_token": "mine",
            "client_id": "app",
            "client_secret": "s",
        }
        status, body = client.ask("POST", "/api/token", FORM, urlencode(form))
        assert (status, json.loads(body)["refresh_token"][:2]) == (200, "AQ")
        bearer = {"Authorization": f"Bearer {json.loads(body)['access_token']}"}
        client.connection.request("GET", PLAYER, headers=bearer)
        response = client.connection.getresponse()
        assert json.loads(response.read())["is_playing"] is True
        date = parsedate_to_datetime(response.headers["date"]).timestamp()
        assert abs(date - time.time()) < GENEROUS
        (play,) = json.loads(client.ask("GET", "/control/truth")[1])["plays"]
        assert abs(play["started_at"] - time.time()) < GENEROUS
        child.terminate()
        assert child.wait(GENEROUS) == 0


def test_a_port_that_is_taken_is_one_line(server: SimulatorServer) -> None:
    port = str(server.server_address[1])
    command = [sys.executable, "-m", "spotify_logger.simulator", "--port", port, "--days", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GENEROUS, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"port {port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("--pace", "0"), ("--pace", "101"), ("--days", "1001"), ("--port", "x")]
)
def test_options_that_make_no_sense(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_demonstration_secrets_are_made_up() -> None:
    assert DEMO_CLIENT_SECRET.startswith("made-up")
    assert "made-up" in DEMO_REFRESH_TOKEN
