"""Forwarding to a real Maloja, which MALOJA names: it has dependencies that ours must not be mixed with."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.config.settings import ForwardTarget
from spotify_logger.spotify.http import HttpSender, Request
from spotify_logger.system.errors import Unreachable
from tests.conftest import free_port, wait_until
from tests.daemon.test_forwarder import Killed, Rig, play, plays
from tests.testbed.receivers import ListenBrainz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spotify_logger.spotify.http import Response


class RealMaloja(ListenBrainz):
    """A running Maloja."""

    def __init__(self, utc: Callable[[], float], url: str) -> None:
        super().__init__(utc)
        self.send, self._url = HttpSender(), url

    @property
    def titles(self) -> list[str]:
        response = self.send(Request("GET", f"{self._url}/apis/mlj_1/scrobbles?from=2002/01/01"))
        found: list[dict[str, Any]] = json.loads(response.body)["list"]
        return [each["track"]["title"] for each in reversed(found)]

    def handle(self, request: Request) -> Response:
        response = self.send(request)
        self.taken()
        return response

    def is_up(self) -> bool:
        try:
            return self.send(Request("GET", f"{self._url}/apis/mlj_1/serverinfo")).status == 200
        except Unreachable:
            return False


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    program = os.environ.get("MALOJA")
    if program is None:
        pytest.skip("MALOJA does not name a program")
    folder, url = tmp_path / "maloja", f"http://127.0.0.1:{(port := free_port())}"
    folder.mkdir()
    environment = {"PATH": f"{Path(program).parent}:{os.environ['PATH']}", "HOME": str(folder)}
    settings = {"DATA_DIRECTORY": folder, "SKIP_SETUP": "true", "PORT": port, "HOST": "127.0.0.1"}
    environment |= {f"MALOJA_{name}": str(value) for name, value in settings.items()}
    environment["MALOJA_FORCE_PASSWORD"] = "made-up"
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        [program, "run"], env=environment, cwd=folder, stdout=quiet, stderr=quiet
    ) as process:
        try:
            maloja = RealMaloja(lambda: 0.0, url)
            wait_until(maloja.is_up)
            token = (folder / "apikeys.yml").read_text().split()[-1]
            target = ForwardTarget(1, "FORWARD_TOKEN", f"{url}/apis/listenbrainz", token)
            with closing(Rig(tmp_path, lambda _: maloja, target)) as rig:
                yield rig
            maloja.send.close()
        finally:
            process.kill()


def test_every_play_once(rig: Rig) -> None:
    lives = iter(range(3))

    def die() -> None:
        if next(lives, None) is not None:
            raise Killed

    rig.receiver.taken = die
    rig.outbox.put(plays(8))
    rig.run()
    rig.outbox.put([play("older", -1000)])
    rig.forwarder.playing = play("Now", 5000, reason=None)
    rig.run()
    assert rig.receiver.titles == ["older", *(f"P{number}" for number in range(8))]
    rig.outbox.write(lambda database: database.execute("DELETE FROM listens"))
    rig.outbox.put([play("another track in that second", -1000), play("last", 9)])  # as after a lost outbox
    rig.run()
    assert rig.receiver.titles == ["older", *(f"P{number}" for number in range(8)), "last"]
    assert (rig.status()["waiting"], rig.status()["refused"]) == (0, 0)
    target = rig.forwarder._receivers[0].target
    rig.forwarder._receivers[0].target = replace(target, token="wrong")
    rig.outbox.put([play("A", 20)])
    rig.run()
    assert rig.status()["stopped"]
