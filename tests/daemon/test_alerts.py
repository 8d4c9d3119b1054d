from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_logger.daemon.alerts import (
    ALERTS_NOTE,
    MAX_QUEUED,
    MAX_TEXT_LENGTH,
    REMINDER_DAYS,
    Alerts,
    Heartbeat,
)
from spotify_logger.spotify.http import HttpSender, Request, Response
from spotify_logger.system import log
from spotify_logger.system.errors import TryLater
from tests.scripted_server import ScriptedServer, ServerConnection, http_response, respond_with
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = 86400.0
EXPIRY = (
    1_811_030_400.0  # 2027-05-23T00:00:00Z; two hours earlier, on the 22nd, in the time zone of these tests
)
START = EXPIRY - 180 * DAY
URL = "https://ntfy.test/tops3cret"
ADVICE = "run `spotify-logger login`"
REFUSED = f"Spotify no longer accepts the login (invalid_grant: Refresh token revoked): {ADVICE}"
OFFLINE = -1


class CountingNotes:
    """Notes in memory; counts the writes."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.writes = 0

    def note(self, name: str) -> str:
        return self.texts.get(name, "")

    def set_note(self, name: str, text: str) -> None:
        self.texts[name] = text
        self.writes += 1


class FakeWebhook:
    """Answers with a status, counts requests, and keeps the texts it accepted."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.accepted: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def __call__(self, request: Request) -> Response:
        self.requests += 1
        self.before()
        if self.status == OFFLINE:
            raise TryLater("ntfy.test: connection refused")
        if self.status == 200:
            self.accepted.append(request.text or "")
        return Response(self.status, {}, b"")

    def take(self) -> list[str]:
        """Return and forget the texts accepted so far."""
        texts, self.accepted = self.accepted, []
        return texts


class AlertsHarness:
    """Alerts with a virtual clock, notes that survive a restart, and a webhook."""

    def __init__(self, url: str = URL) -> None:
        self.clock = VirtualClock(START)
        self.notes = CountingNotes()
        self.webhook = FakeWebhook()
        self.url = url
        self.restart()

    def restart(self, url: str | None = None) -> None:
        self.url = self.url if url is None else url
        self.alerts = Alerts(self.webhook, self.url, self.clock, self.notes, lambda: 1.0)

    def check(self, day: float, expires: float | None = 180, trouble: str = "") -> list[str]:
        """Check the login on a day, counted from the start; return the texts that arrive."""
        self.clock.now = START + day * DAY
        self.alerts.check_login(None if expires is None else START + expires * DAY, trouble, self.clock.now)
        for _ in range(MAX_QUEUED):
            self.alerts.deliver()
        return self.webhook.take()


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def harness() -> AlertsHarness:
    return AlertsHarness()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Log lines, as pairs of level and text."""
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(log, "_write", lambda *line: lines.append(line))
    return lines


FAILED, WORKS_AGAIN = "The Spotify login does not work", "The Spotify login works again"
LOGINS: dict[str, list[tuple[float, float | None, str, list[str]]]] = {
    "from start to renewal": [
        (149.9, 180, "", []),
        (150, 180, "", ["expires in 30 days"]),
        (165.9, 180, "", []),
        (166, 180, "", ["expires in 14 days"]),
        (173.01, 180, "", ["expires in 7 days"]),
        (177, 180, "", ["expires in 3 days"]),
        (179, 180, "", ["expires in 1 day,"]),
        (180.01, 180, "", []),
        (180.02, 180, REFUSED, [FAILED]),
        (200, 180, "Spotify does not know this client", []),
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
    "replaced by one that expires sooner": [(0, 180, "", []), (1, 20, "", ["expires in 19 days"])],
    "unknown expiry": [
        (179.5, None, "", []),
        (181, None, REFUSED, [FAILED]),
        (182, None, "", [WORKS_AGAIN]),
        (333, 363, "", ["expires in 30 days"]),
        (334, None, "", []),
        (335, 363, "", []),
    ],
    "clock set back": [
        (166, 180, "", ["expires in 14 days"]),
        (100, 180, "", []),
        (150, 180, "", []),
        (173, 180, "", ["expires in 7 days"]),
    ],
}


@pytest.mark.parametrize("name", LOGINS)
def test_each_alert_arrives_once_even_across_restarts(harness: AlertsHarness, name: str) -> None:
    for day, expires, trouble, expected in LOGINS[name]:
        arrived = harness.check(day, expires, trouble)
        assert len(arrived) == len(expected), (day, arrived)
        assert all(words in text for words, text in zip(expected, arrived, strict=True)), (day, arrived)
        writes = harness.notes.writes
        harness.restart()
        assert harness.check(day, expires, trouble) == []
        assert harness.notes.writes == writes, "nothing new to save, and SD cards wear out"


@example([(178.75, False, False), (179.0, False, False)])  # off while three days were left
@given(turns=st.lists(st.tuples(st.floats(0, 200), st.booleans(), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=50)
def test_reminders_count_down_and_the_most_urgent_arrives(turns: list[tuple[float, bool, bool]]) -> None:
    harness = AlertsHarness()
    arrived = []
    for day, is_offline, is_restarted in sorted(turns):
        if is_restarted:
            harness.restart()
        harness.webhook.status = OFFLINE if is_offline else 200
        arrived += harness.check(day)
    harness.webhook.status = 200
    harness.restart()
    arrived += harness.check(max(turns)[0])
    days = [int(text.split(" in ")[1].split()[0]) for text in arrived]
    assert days == sorted(set(days), reverse=True)
    last = min((180 - day for day, *_ in turns if 150 <= day < 180), default=None)
    assert (last is None) == (days == [])
    if last is not None:
        assert days[-1] == 1 if last <= 1 else days[-1] >= last


def test_texts_say_what_happened_when_and_what_to_do(harness: AlertsHarness) -> None:
    texts = [
        *harness.check(166),
        *harness.check(167, 180, REFUSED),
        *harness.check(168.5),
        *harness.check(169, None, "the scope is missing"),
        *harness.check(170.5, None),
    ]
    assert [text.removeprefix("Spotify Logger: ") for text in texts] == [
        f"The Spotify login expires in 14 days, on 2027-05-22: {ADVICE}",
        f"The Spotify login does not work, so nothing is logged. {REFUSED}",
        "The Spotify login works again since 2027-05-11 10:00; plays are logged. It expires on 2027-05-22.",
        (
            "The Spotify login does not work, so nothing is logged."
            f" The scope is missing; if it stays like this, {ADVICE}"
        ),
        "The Spotify login works again since 2027-05-13 10:00; plays are logged.",
    ]
    (text,) = harness.check(171, 180, "first\nsecond\x1b[2J \ud800" + 10_000 * "x")
    assert len(text) == MAX_TEXT_LENGTH
    assert "First second�[2J �xx" in text


@pytest.mark.parametrize("url", ["", URL])
def test_reminders_are_logged_whether_alerts_are_on_or_not(logged: list[tuple[str, str]], url: str) -> None:
    harness = AlertsHarness(url)
    for day, expires, trouble, _ in LOGINS["from start to renewal"][:10]:
        harness.check(day, expires, trouble)
        harness.restart()
    assert [level for level, _ in logged] == [*["warning"] * 4, "error"]
    for (_, line), days in zip(logged, REMINDER_DAYS, strict=True):
        assert f"expires in {days} day" in line
    assert (harness.webhook.requests == 0) == (url == "")


def test_nothing_from_before_alerts_were_turned_on_is_sent(harness: AlertsHarness) -> None:
    harness.webhook.status = OFFLINE
    harness.check(166)
    harness.restart("")
    harness.alerts.notify("disk", "The disk is full.")
    harness.webhook.status = 200
    harness.restart(URL)
    harness.alerts.notify("disk", "The disk is full.")
    assert harness.check(166.1) == []
    assert len(harness.check(173)) == 1


def test_other_alerts_are_sent_once_until_they_are_resolved(harness: AlertsHarness) -> None:
    for _ in range(2):
        harness.alerts.notify("disk", "The disk is full.")
        harness.alerts.notify("redis", "Redis is away.")
        harness.alerts.deliver()
        assert harness.webhook.take() == ["Spotify Logger: The disk is full."], "one in each turn"
        harness.restart()
        harness.alerts.notify("disk", "The disk is fuller.")
        assert harness.check(0) == ["Spotify Logger: Redis is away."]
        harness.alerts.resolve("disk")
        harness.alerts.resolve("redis")
        harness.alerts.resolve("unknown")
        harness.restart()
    harness.alerts.notify("disk", "The disk is full.")
    harness.alerts.resolve("disk")
    assert harness.check(0) == [], "it was over before it was delivered"


def test_only_the_newest_alerts_are_queued(harness: AlertsHarness) -> None:
    for number in range(MAX_QUEUED + 2):
        harness.alerts.notify(f"key {number}", f"{number}.")
    harness.restart()
    assert harness.check(0) == [f"Spotify Logger: {number}." for number in range(2, MAX_QUEUED + 2)]


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([(150, 180, ""), (166, 180, ""), (173, 180, "")], ["expires in 7 days"]),
        ([(166, 180, ""), (167, 180, REFUSED)], [FAILED]),
        ([(165, 180, REFUSED), (167, 180, "")], [WORKS_AGAIN, "expires in 13 days"]),
        ([(166, 180, ""), (167, 347, "")], []),
    ],
    ids=["newer reminder", "login failed", "login works again", "new login"],
)
def test_queued_alerts_are_replaced_by_what_supersedes_them(
    harness: AlertsHarness, checks: list[tuple[float, float, str]], expected: list[str]
) -> None:
    harness.webhook.status = OFFLINE
    for day, expires, trouble in checks:
        assert harness.check(day, expires, trouble) == []
    harness.webhook.status = 200
    day, expires, trouble = checks[-1]
    arrived = harness.check(day + 0.2, expires, trouble)
    assert len(arrived) == len(expected)
    assert all(words in text for words, text in zip(expected, arrived, strict=True))


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        (OFFLINE, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (500, [60, 120]),
        (408, [60, 120]),
        (429, [60, 120]),
        (302, [3600, 3600]),
        (404, [3600, 3600]),
    ],
)
def test_undelivered_alerts_are_retried_and_logged_once(
    harness: AlertsHarness, logged: list[tuple[str, str]], status: int, waits: list[float]
) -> None:
    for _ in range(2):
        harness.webhook.status = status
        harness.alerts.notify("disk", "The disk is full.")
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
        assert harness.webhook.take() == ["Spotify Logger: The disk is full."]
        harness.alerts.resolve("disk")
    assert [level for level, _ in logged] == ["warning", "info"] * 2
    assert ("connection refused" if status == OFFLINE else f"answered {status}") in logged[0][1]


def test_a_crash_during_delivery_sends_an_alert_again_but_only_once(harness: AlertsHarness) -> None:
    def crash() -> None:
        raise KeyboardInterrupt

    harness.webhook.before = crash
    with pytest.raises(KeyboardInterrupt):
        harness.check(166)
    harness.webhook.before = lambda: None
    harness.restart()
    assert len(harness.check(166.1)) == 1
    harness.restart()
    assert harness.check(166.2) == []


def test_invalid_notes_count_as_none(harness: AlertsHarness) -> None:
    note = {"ends": EXPIRY, "days": 14, "told": ["disk"], "queue": {"disk": "The disk is full."}}
    overlong = dict.fromkeys(map(str, range(MAX_QUEUED + 1)), "x")
    for invalid in ({"days": 15}, {"ends": -1}, {"ends": 10**300}, {"queue": overlong}):
        harness.notes.texts[ALERTS_NOTE] = json.dumps({**note, **invalid})
        harness.restart()
        (text,) = harness.check(166)
        assert "expires in 14 days" in text, invalid
    harness.notes.texts[ALERTS_NOTE] = json.dumps(note)
    harness.restart()
    assert harness.check(166) == ["The disk is full."]


def reset_connection(connection: ServerConnection) -> None:
    connection.read_request()
    connection.reset()


def test_alerts_over_http_arrive_after_failures_and_keep_the_url_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    scripts = (
        reset_connection,
        respond_with(http_response(b"tops3cret", status=b"500 tops3cret")),
        respond_with(http_response(b"", b"Location: /tops3cret", status=b"302 Found")),
        respond_with(http_response()),
    )
    clock = VirtualClock(START)
    with closing(ScriptedServer(*scripts)) as server, closing(HttpSender()) as sender:
        alerts = Alerts(sender, f"{server.url}/tops3cret?a=b", clock, CountingNotes(), lambda: 1.0)
        alerts.notify("disk", "Grüße: the disk is full.")
        for _ in range(6):
            alerts.deliver()
            clock.sleep(3600)
        assert len(server.requests) == 4
        head, _, body = server.requests[-1].decode().partition("\r\n\r\n")
    assert body == "Spotify Logger: Grüße: the disk is full."
    first, *headers = head.split("\r\n")
    assert first == "POST /tops3cret?a=b HTTP/1.1"
    assert "Content-Type: text/plain; charset=utf-8" in headers
    assert not any(header.startswith(("Authorization", "Cookie")) for header in headers)
    warning, info = capsys.readouterr().err.splitlines()
    assert "connection lost" in warning
    assert "delivered again" in info
    assert "tops3cret" not in warning + info


def test_heartbeats_are_sent_when_due_and_failures_logged_once(logged: list[tuple[str, str]]) -> None:
    clock, webhook = VirtualClock(START), FakeWebhook()
    heartbeat = Heartbeat(webhook, URL, clock)
    for seconds, healthy, status, is_sent in (
        (0, False, 200, False),
        (1, True, 200, True),
        (300, True, 200, False),
        (301, True, 204, True),
        (700, False, 200, False),
        (701, True, OFFLINE, True),
        (760, True, 200, False),
        (761, True, 500, True),
        (821, True, 302, True),
        (881, True, 200, True),
        (941, True, 200, False),
        (1181, True, 404, True),
    ):
        clock.now = START + seconds
        clock.correct(clock.now - 2 * seconds)  # the clock turns out to be ahead
        webhook.status, requests = status, webhook.requests
        heartbeat.beat(healthy=healthy)
        assert webhook.requests == requests + is_sent, seconds
    assert [level for level, _ in logged] == ["warning", "info", "warning"]
    assert "connection refused" in logged[0][1]
    assert "HEARTBEAT_URL answered 404" in logged[2][1]
    Heartbeat(webhook, "", clock).beat(healthy=True)
    assert webhook.requests == requests + 1
