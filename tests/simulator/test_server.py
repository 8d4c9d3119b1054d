from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from spotify_logger.simulator.__main__ import main
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.server import HOST, SimulatorServer
from spotify_logger.simulator.service import Service
from tests.conftest import wait_until
from tests.simulated_login import simulated_spotify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = 1_700_000_000.0
PLAYER = "/v1/me/player?additional_types=track,episode"
FORM = {"content-type": "application/x-www-form-urlencoded"}
TIMEOUT = 30.0


class SpotifyClient:
    """One connection, kept open as long as the server lets it."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> tuple[int, bytes]:
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        return response.status, response.read()

    def authorization(self) -> dict[str, str]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": DEMO_REFRESH_TOKEN,
            "client_id": DEMO_CLIENT_ID,
        }
        status, body = self.request("POST", "/api/token", FORM, urlencode(form))
        assert status == 200, body
        return {"Authorization": f"Bearer {json.loads(body)['access_token']}"}

    def add_fault(self, **fault: object) -> tuple[int, dict[str, object]]:
        status, body = self.request("POST", "/control/faults", body=json.dumps(fault))
        answer = json.loads(body)
        assert isinstance(answer, dict)
        return status, answer


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    record = History(T).play(song("A", 200)).play(song("B", 300), 50).gone(600).finish()
    with simulated_spotify(Service(record), now=lambda: T + 220) as server:
        yield server


@pytest.fixture
def client(server: SimulatorServer) -> Iterator[SpotifyClient]:
    client = SpotifyClient(server.server_address[1])
    yield client
    client.connection.close()


def test_one_connection_serves_many_requests(client: SpotifyClient) -> None:
    token = client.authorization()
    client.add_fault(fault="nothing", requests=1)
    connection = client.connection.sock
    assert client.request("GET", PLAYER, token) == (204, b"")
    for _ in range(3):
        status, body = client.request("GET", PLAYER, token)
        assert (status, json.loads(body)["item"]["name"]) == (200, "B")
    assert client.connection.sock is connection


class TestControl:
    def test_faults_are_added_and_removed(self, client: SpotifyClient) -> None:
        token = client.authorization()
        assert client.add_fault(fault="error_502", requests=2) == (200, {"faults": ["error_502"]})
        both = (200, {"faults": ["error_502", "rate_limit"]})
        assert client.add_fault(fault="rate_limit", value=9, path="/v1/me/player/recently-played") == both
        assert client.request("GET", PLAYER, token)[0] == 502
        assert client.add_fault(fault="none") == (200, {"faults": []})
        assert client.request("GET", PLAYER, token)[0] == 200

    @pytest.mark.parametrize(
        "body",
        ["nonsense", "[]", '{"fault": "earthquake"}', '{"fault": "slow", "speed": 1}'],
    )
    def test_an_invalid_fault_is_refused(self, client: SpotifyClient, body: str) -> None:
        assert client.request("POST", "/control/faults", body=body)[0] == 400

    def test_the_true_plays(self, client: SpotifyClient) -> None:
        status, body = client.request("GET", "/control/truth")
        first, second = json.loads(body)["plays"]
        assert status == 200
        expected = {"name": "A", "ms_played": 200_000, "started_at": T, "end_reason": "trackdone"}
        assert expected.items() <= first.items()
        expected = {"name": "B", "ms_played": 20_000, "ended_at": T + 220, "end_reason": ""}
        assert expected.items() <= second.items()

    def test_the_requests(self, client: SpotifyClient) -> None:
        for token in (client.authorization(), {}):
            client.request("GET", PLAYER, token)
        status, body = client.request("GET", "/control/requests")
        expected = {"/api/token": {"200": 1}, "/v1/me/player": {"200": 1, "401": 1}}
        assert (status, json.loads(body)) == (200, expected)
        assert client.request("GET", "/control/faults")[0] == 404


def connect(client: SpotifyClient, token: Mapping[str, str]) -> socket.socket:
    """Send a request over another socket, to see the bytes of its response."""
    line = socket.create_connection((client.connection.host, client.connection.port), timeout=TIMEOUT)
    headers = f"Host: x\r\nAuthorization: {token['Authorization']}\r\n\r\n"
    line.sendall(f"GET {PLAYER} HTTP/1.1\r\n{headers}".encode())
    return line


def read_all(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(65536), b""))


class TestNetworkFaults:
    def test_a_reset(self, client: SpotifyClient) -> None:
        token = client.authorization()
        client.add_fault(fault="reset", requests=1)
        with connect(client, token) as line, pytest.raises(ConnectionResetError):
            line.recv(1)
        assert client.request("GET", PLAYER, token)[0] == 200

    def test_a_hang_ends_with_the_client_or_after_its_time(self, client: SpotifyClient) -> None:
        token = client.authorization()
        client.add_fault(fault="hang", requests=1)
        with connect(client, token) as line:
            line.settimeout(0.2)
            with pytest.raises(TimeoutError):
                line.recv(1)
        client.add_fault(fault="hang", requests=1, value=0.1)
        with connect(client, token) as line, pytest.raises(ConnectionResetError):
            line.recv(1)

    def test_a_truncated_response(self, client: SpotifyClient) -> None:
        token = client.authorization()
        client.add_fault(fault="cut", requests=1)
        with connect(client, token) as line:
            head, _, body = read_all(line).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert len(body) == length // 2

    @pytest.mark.parametrize(("fault", "begin"), [("drip", b"HTTP/1.1 200 OK\r\n"), ("drip_headers", b"H")])
    def test_a_response_in_small_pieces(self, client: SpotifyClient, fault: str, begin: bytes) -> None:
        token = client.authorization()
        client.add_fault(fault=fault, requests=1, value=1)
        with connect(client, token) as line:
            received = line.recv(65536)
            assert received.startswith(begin)
            assert b"}" not in received
        client.add_fault(fault=fault, requests=1, value=0)
        with connect(client, token) as line:
            assert json.loads(read_all(line).partition(b"\r\n\r\n")[2])["item"]["name"] == "B"

    def test_a_slow_response(self, client: SpotifyClient) -> None:
        token = client.authorization()
        client.add_fault(fault="slow", requests=1, value=0.15)
        begun = time.monotonic()
        assert client.request("GET", PLAYER, token)[0] == 200
        assert time.monotonic() - begun >= 0.15

    def test_a_client_may_leave_before_the_end(
        self, client: SpotifyClient, capfd: pytest.CaptureFixture[str]
    ) -> None:
        token = client.authorization()
        before = threading.active_count()
        client.add_fault(fault="huge", requests=2)
        for _ in range(2):
            with connect(client, token) as line:
                assert line.recv(10) == b"HTTP/1.1 2"
        assert client.request("GET", PLAYER, token)[0] == 200
        wait_until(lambda: threading.active_count() <= before)
        assert capfd.readouterr().err == ""


def test_the_command_serves_until_a_signal() -> None:
    options = ("--port", "0", "--pace", "40", "--days", "0.1")
    command = [sys.executable, "-m", "spotify_logger.simulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline()
            assert address.startswith("listening on http://127.0.0.1:")
            client = SpotifyClient(int(address.rpartition(":")[2]))
            status, body = client.request("GET", PLAYER, client.authorization())
            assert (status, json.loads(body)["is_playing"]) == (200, True), "it begins at once"
            client.connection.close()
            process.terminate()
            assert process.communicate(timeout=TIMEOUT) == ("", "")
            assert process.returncode == 0
        finally:
            process.kill()


def test_a_port_in_use_is_one_line(server: SimulatorServer, capsys: pytest.CaptureFixture[str]) -> None:
    host, port = server.server_address[:2]
    assert host == "127.0.0.1"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert main(["--port", str(port), "--days", "0.1"]) == 1
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    error = capsys.readouterr().err
    assert f"port {port}: " in error
    assert error.count("\n") == 1


def test_an_excessive_pace_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--pace", "101"])
