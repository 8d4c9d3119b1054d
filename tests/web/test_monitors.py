"""What monitors read: /healthz and /metrics."""

from __future__ import annotations

import json
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics import parser

from spotify_logger.core.forwarding import ReceiverStatus
from spotify_logger.core.times import to_iso
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.state import to_json
from tests.conftest import EVERY_KIND, free_port
from tests.web.log import write_play, write_status
from tests.web.page import PageClient, password_auth, serve_page, served_url, settings_for, start_page

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRAPES = 3600 if EVERY_KIND else 300
"""An hour of them; less where a test may not take minutes. A leak of 10 kB in each would show."""
RECEIVER = ReceiverStatus("FORWARD_TOKEN", "koito.example", 12, 3, "", "away", stopped=True)


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    """A page with a password."""
    auth = password_auth(tmp_path, "open, sesame", time.time)
    with serve_page(settings_for(redis_url, tmp_path), auth) as page:
        yield page


@pytest.fixture
def store(redis_url: str) -> Iterator[Archive]:
    with closing(Archive(redis_url)) as store:
        yield store


def in_days(days: float) -> str:
    return to_iso(round((time.time() + days * 86_400) * 1000))


@pytest.mark.parametrize(
    ("ago", "fields", "word"),
    [
        (0, {}, "ok"),
        (1000, {}, "stopped"),
        (0, {"login": "needed", "state": "secret-state"}, "login"),
        (0, {"login_valid_until": in_days(-1)}, "login"),
        (0, {"last_poll": in_days(-1), "blind": "offline"}, "spotify"),
        (0, {"outbox_trouble": "no space left on /secret"}, "storage"),
    ],
)
def test_healthz_says_in_a_word_what_is_wrong(
    page: PageClient, store: Archive, ago: float, fields: dict[str, Any], word: str
) -> None:
    write_status(store, ago=ago, **fields)
    answer = page.request("/healthz?listener=zoe", Cookie="spotify_logger_listener=zoe")
    assert (answer.status, answer.text) == (200 if word == "ok" else 503, f"{word}\n")


def test_healthz_and_metrics_without_redis(tmp_path: Path) -> None:
    with serve_page(settings_for(f"redis://127.0.0.1:{free_port()}/0", tmp_path)) as page:
        answer = page.request("/healthz")
        assert (answer.status, answer.text) == (503, "redis\n")
        found = scrape(page)
        assert (found["spotify_logger_redis_up"], found["spotify_logger_well"]) == (0, 0)
        assert "spotify_logger_plays" not in found


def scrape(page: PageClient) -> dict[str, float]:
    """Return the value of each metric, with its labels other than the listener."""
    answer = page.request("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    return {
        " ".join(
            [sample.name, *(text for name, text in sample.labels.items() if name != "listener")]
        ): sample.value
        for family in parser.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def test_metrics(redis_url: str, store: Archive, tmp_path: Path) -> None:
    write_play(store, second=1_795_370_400, end="trackdone")
    write_play(store, second=1_795_370_500, end="skipped", ms_played=9000)
    times: dict[str, Any] = {"last_poll": in_days(-1 / 24), "login_valid_until": in_days(10)}
    figures: dict[str, Any] = {
        "requests_24h": 350,
        "outbox": 4,
        "polls": json.dumps({"ok": 9, "rate limited": 1}),
    }
    write_status(store, **times, **figures, forwarding=to_json([RECEIVER]))
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        found = scrape(page)
    assert found.pop("spotify_logger_login_remaining_seconds") == pytest.approx(10 * 86_400, abs=60)
    assert found.pop("spotify_logger_blind_seconds") == pytest.approx(3600, abs=60)
    assert found == {
        "spotify_logger_well": 0,
        "spotify_logger_redis_up": 1,
        "spotify_logger_requests_last_day": 350,
        "spotify_logger_outbox_plays": 4,
        "spotify_logger_polls_total ok": 9,
        "spotify_logger_polls_total rate limited": 1,
        "spotify_logger_forward_waiting koito.example": 12,
        "spotify_logger_forward_refused koito.example": 3,
        "spotify_logger_forward_stopped koito.example": 1,
        "spotify_logger_plays": 1,
        "spotify_logger_all_plays": 2,
        "spotify_logger_played_seconds": 69,
    }


def resident_kilobytes(pid: int) -> int:
    (line,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1])


@pytest.mark.timeout(1800)
def test_an_hour_of_scrapes_every_second_takes_no_memory(
    redis_url: str, store: Archive, tmp_path: Path
) -> None:
    write_play(store, end="trackdone")
    write_status(store, next_in=3600)
    with start_page(redis_url, tmp_path) as process:
        try:
            port = int(served_url(process).rpartition(":")[2])
            with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                for number in range(SCRAPES):
                    connection.request("GET", "/metrics")
                    response = connection.getresponse()
                    assert (response.status, response.read()[-6:]) == (200, b"# EOF\n")
                    if number == SCRAPES // 3:
                        before = resident_kilobytes(process.pid)
            after = resident_kilobytes(process.pid)
        finally:
            process.terminate()
    assert after - before < 2000
