from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from spotify_logger.daemon.alerts import ALERTS_NOTE, MAX_TEXT_LENGTH, Alerts
from spotify_logger.spotify.http import HttpSender, Request, Response
from spotify_logger.system import log
from spotify_logger.system.errors import TryLater
from tests.scripted_server import ScriptedServer, http_response, respond_with
from tests.testbed.virtual_run import make_settings
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from spotify_logger.spotify.http import Send
    from spotify_logger.storage.outbox import Outbox

DAY = 86400.0
EXPIRY = 1_811_073_600.0  # 2027-05-23T12:00:00Z, on the 23rd in most time zones
START = EXPIRY - 180 * DAY
URL = "https://ntfy.test/tops3cret"
ADVICE = "run `spotify-logger login`"
REFUSED = f"Spotify no longer accepts the login (invalid_grant: Refresh token revoked): {ADVICE}"
OFFLINE = -1


class FakeNotes:
    """Notes in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def note(self, name: str) -> str:
        return self.texts.get(name, "")

    def set_note(self, name: str, text: str) -> None:
        self.texts[name] = text


class FakeWebhook:
    """Answers with a status, counts requests, and keeps the texts it accepted."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.accepted: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.requests += 1
        if self.status == OFFLINE:
            raise TryLater("ntfy.test: connection refused")
        if self.status == 200:
            self.accepted.append(request.text or "")
        return Response(self.status, {}, b"")


def make_alerts(
    send: Send, clock: VirtualClock, notes: FakeNotes, alert_url: str, heartbeat_url: str = ""
) -> Alerts:
    settings = replace(make_settings(Path(), ""), alert_url=alert_url, heartbeat_url=heartbeat_url)
    return Alerts(send, settings, clock, cast("Outbox", notes), lambda: 1.0)


class AlertsHarness:
    """Alerts with a virtual clock, notes that survive a restart, and a webhook."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.notes = FakeNotes()
        self.webhook = FakeWebhook()
        self.restart()

    def restart(self, url: str = URL) -> None:
        self.alerts = make_alerts(self.webhook, self.clock, self.notes, url)

    def check(self, day: float, expires: float | None = 180, trouble: str = "") -> list[str]:
        """Check the login on a day, counted from the start; return the texts that arrive."""
        self.clock.now = START + day * DAY
        self.alerts.check_login(None if expires is None else START + expires * DAY, trouble)
        for _ in range(3):
            self.alerts.deliver()
        arrived, self.webhook.accepted = self.webhook.accepted, []
        return arrived


@pytest.fixture
def harness() -> AlertsHarness:
    return AlertsHarness()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Log lines, as pairs of priority and text."""
    lines: list[tuple[str, str]] = []
    for name, priority in (("info", "<6>"), ("warning", "<4>"), ("error", "<3>")):
        monkeypatch.setattr(log, name, lambda text, priority=priority: lines.append((priority, text)))
    return lines


FAILED, WORKS_AGAIN = "login does not work", "login has worked again"
LOGINS: dict[str, list[tuple[float, float | None, str, list[str]]]] = {
    "from start to renewal": [
        (149.9, 180, "", []),
        (150, 180, "", ["expires in 30 days"]),
        (166, 180, "", ["expires in 14 days"]),
        (173.01, 180, "", ["expires in 7 days"]),
        (177, 180, "", ["expires in 3 days"]),
        (179, 180, "", ["expires in 1 day,"]),
        (180.01, 180, "", []),
        (180.02, 180, REFUSED, [FAILED]),
        (201, 381, "", [WORKS_AGAIN]),
        (350, 381, "", []),
        (351, 381, "", ["expires in 30 days"]),
    ],
    "refused by mistake while it expires": [
        (166, 180, "", ["expires in 14 days"]),
        (167, 180, REFUSED, [FAILED]),
        (173.6, 180, "", [WORKS_AGAIN, "expires in 7 days"]),
        (174, 180, REFUSED, [FAILED]),
    ],
    "renewed early, with an expiry known to the day": [
        (160, 180, "", ["expires in 20 days"]),
        (160.1, 180.9, "", []),
        (160.2, 179.5, "", []),
        (161, 341, "", []),
        (311, 341, "", ["expires in 30 days"]),
    ],
}


@pytest.mark.parametrize("name", LOGINS)
def test_each_alert_arrives_once_even_across_restarts(harness: AlertsHarness, name: str) -> None:
    for day, expires, trouble, expected in LOGINS[name]:
        arrived = harness.check(day, expires, trouble)
        assert len(arrived) == len(expected), (day, arrived)
        assert all(words in text for words, text in zip(expected, arrived, strict=True)), (day, arrived)
        saved = dict(harness.notes.texts)
        harness.restart()
        assert harness.check(day, expires, trouble) == []
        assert harness.notes.texts == saved, "nothing new to save, and SD cards wear out"


def test_texts_say_what_happened_when_and_what_to_do(harness: AlertsHarness) -> None:
    (expires,) = harness.check(166)
    assert expires == f"Spotify Logger: The Spotify login expires in 14 days, on 2027-05-23: {ADVICE}"
    (failed,) = harness.check(167, None, "the scope is missing")
    assert "so nothing is logged. The scope is missing; if this persists, " + ADVICE in failed
    (works_again,) = harness.check(168)
    assert "again since 2027-05-11" in works_again
    assert works_again.endswith("plays are logged. It expires on 2027-05-23.")
    (cleaned,) = harness.check(171, 180, "first\nsecond\x1b[2J \ud800" + 10_000 * "x")
    assert len(cleaned) == MAX_TEXT_LENGTH
    assert "First second�[2J �xx" in cleaned


def test_without_alerts_reminders_are_logged_and_nothing_is_sent_later(
    harness: AlertsHarness, logged: list[tuple[str, str]]
) -> None:
    harness.alerts.follow("redis", "Redis is away")
    harness.restart("")
    for day in (150, 166, 173, 177, 179):
        assert harness.check(day) == []
    assert [level for level, _ in logged] == [*["<4>"] * 4, "<3>"]
    assert all("expires in" in line for _, line in logged)
    harness.alerts.follow("disk", "the disk is full")
    harness.restart()
    assert harness.check(179) == []


def test_other_alerts_are_sent_once_until_they_are_resolved(harness: AlertsHarness) -> None:
    for _ in range(2):
        harness.alerts.follow("disk", "the disk is full")
        harness.restart()
        harness.alerts.follow("disk", "the disk is fuller")
        assert harness.check(0) == ["Spotify Logger: The disk is full."]
        harness.alerts.follow("disk", "")
        harness.alerts.follow("unknown", "")
    harness.alerts.follow("disk", "the disk is full")
    harness.alerts.follow("disk", "")
    assert harness.check(0) == [], "it was over before it was delivered"


def test_queued_alerts_are_replaced_by_what_supersedes_them(harness: AlertsHarness) -> None:
    harness.webhook.status = OFFLINE
    harness.check(150)
    harness.check(166)
    harness.webhook.status = 200
    (reminder,) = harness.check(166.1)
    assert "expires in 14 days" in reminder
    harness.webhook.status = OFFLINE
    harness.check(167, 180, REFUSED)
    harness.check(173)
    harness.webhook.status = 200
    works_again, reminder = harness.check(173.1)
    assert WORKS_AGAIN in works_again
    assert "expires in 7 days" in reminder
    harness.webhook.status = OFFLINE
    harness.check(177)
    harness.webhook.status = 200
    assert harness.check(178, 347) == [], "the login that expired in 3 days was renewed"


@pytest.mark.parametrize(
    ("status", "waits"),
    [(OFFLINE, [60, 120, 240, 480, 960, 1920, 3600, 3600]), (404, [60, 120])],
)
def test_undelivered_alerts_are_retried_and_logged_once(
    harness: AlertsHarness, logged: list[tuple[str, str]], status: int, waits: list[float]
) -> None:
    harness.webhook.status = status
    harness.alerts.follow("disk", "the disk is full")
    harness.alerts.deliver()
    for wait in waits:
        requests = harness.webhook.requests
        harness.clock.sleep(wait - 1)
        harness.alerts.deliver()
        assert harness.webhook.requests == requests
        harness.clock.sleep(1)
        harness.alerts.deliver()
        assert harness.webhook.requests == requests + 1
    harness.webhook.status = 200
    harness.clock.sleep(3600)
    harness.alerts.deliver()
    assert harness.webhook.accepted == ["Spotify Logger: The disk is full."]
    assert [level for level, _ in logged] == ["<4>", "<6>"]
    assert ("connection refused" if status == OFFLINE else f"answered {status}") in logged[0][1]


def test_the_state_of_an_older_version_is_read(harness: AlertsHarness) -> None:
    harness.notes.texts[ALERTS_NOTE] = json.dumps({"ends": EXPIRY, "days": 7, "told": ["disk"], "queue": {}})
    harness.restart()
    harness.alerts.follow("disk", "the disk is full")
    harness.alerts.deliver()
    assert harness.webhook.accepted == []


def test_invalid_notes_count_as_none(harness: AlertsHarness) -> None:
    note = {"ends": EXPIRY, "days": 14, "raised": [], "queue": {}}
    for invalid in ({"days": 15}, {"ends": 10**300}):
        harness.notes.texts[ALERTS_NOTE] = json.dumps({**note, **invalid})
        harness.restart()
        assert len(harness.check(166)) == 1


def test_alerts_over_http_arrive_after_failures_and_keep_the_url_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    scripts = (
        respond_with(http_response(b"tops3cret", status=b"500 tops3cret")),
        respond_with(http_response(b"", b"Location: /tops3cret", status=b"302 Found")),
        respond_with(http_response()),
    )
    clock = VirtualClock(START)
    with closing(ScriptedServer(*scripts)) as server, closing(HttpSender()) as sender:
        alerts = make_alerts(sender, clock, FakeNotes(), f"{server.url}/tops3cret?a=b")
        alerts.follow("disk", "Grüße: the disk is full")
        for _ in range(3):
            alerts.deliver()
            clock.sleep(3600)
        assert len(server.requests) == 3
        head, _, body = server.requests[-1].decode().partition("\r\n\r\n")
    assert body == "Spotify Logger: Grüße: the disk is full."
    first, *headers = head.split("\r\n")
    assert first == "POST /tops3cret?a=b HTTP/1.1"
    assert "Content-Type: text/plain; charset=utf-8" in headers
    assert not any(header.startswith(("Authorization", "Cookie")) for header in headers)
    warning, info = capsys.readouterr().err.splitlines()
    assert "answered 500" in warning
    assert "works again" in info
    assert "tops3cret" not in warning + info


def test_heartbeats_are_sent_when_due_and_failures_logged_once(logged: list[tuple[str, str]]) -> None:
    clock, webhook = VirtualClock(START), FakeWebhook()
    make_alerts(webhook, clock, FakeNotes(), "").beat()  # off without a URL
    alerts = make_alerts(webhook, clock, FakeNotes(), "", URL)
    for seconds, status, is_sent in (
        (1, 200, True),
        (300, 200, False),
        (301, OFFLINE, True),
        (360, 200, False),
        (361, 404, True),
        (421, 200, True),
        (481, 200, False),
    ):
        clock.now = START + seconds
        webhook.status, requests = status, webhook.requests
        alerts.beat()
        assert webhook.requests == requests + is_sent, seconds
    assert webhook.requests == 4
    (level, line), (last_level, _) = logged
    assert (level, last_level) == ("<4>", "<6>")
    assert "connection refused" in line
