from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spotify_logger.daemon.alerts import ALERTS_NOTE, MAX_QUEUED, MAX_TEXT_LENGTH, Alerts, Heartbeat
from spotify_logger.spotify.http import HttpSender, Request, Response
from spotify_logger.system import log
from spotify_logger.system.errors import TryLater
from tests.scripted_server import ScriptedServer, ServerConnection, http_response, respond_with
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.scripted_server import Script

DAY = 86400.0
END = 1_811_030_400.0  # 2027-05-23, 00:00 in UTC; where these tests live, two hours earlier
START = END - 180 * DAY
URL = "https://ntfy.test/tops3cret"
ADVICE = "run `spotify-logger login`"
REFUSED = f"Spotify does not take the login any more (invalid_grant: Refresh token revoked): {ADVICE}"
OFFLINE = -1


class Notes:
    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.writes = 0

    def note(self, name: str) -> str:
        return self.texts.get(name, "")

    def set_note(self, name: str, text: str) -> None:
        self.texts[name] = text
        self.writes += 1


class Post:
    """A server of alerts or heartbeats: keeps what it takes, and counts what it is asked."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self.taken: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def __call__(self, request: Request) -> Response:
        self.asked += 1
        self.before()
        if self.status == OFFLINE:
            raise TryLater("ntfy.test: connection refused")
        if self.status == 200:
            self.taken.append(request.text or "")
        return Response(self.status, {}, b"")

    def new(self) -> list[str]:
        """What it took since it was last looked at."""
        new, self.taken = self.taken, []
        return new


class Bench:
    """Alerts, and the world around them."""

    def __init__(self, url: str = URL) -> None:
        self.clock = VirtualClock(START)
        self.notes = Notes()
        self.post = Post()
        self.url = url
        self.start()

    def start(self) -> None:
        """Start them, for the first time or again."""
        self.alerts = Alerts(self.post, self.url, self.clock, self.notes, lambda: 1.0)

    def at(self, day: float, ends: float | None = 180, trouble: str = "") -> list[str]:
        """What arrives when this is known of the login; the days are counted from the start."""
        self.clock.now = START + day * DAY
        self.alerts.check_login(None if ends is None else START + ends * DAY, trouble, self.clock.now)
        for _ in range(MAX_QUEUED):
            self.alerts.deliver()
        return self.post.new()


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The lines of the log, and how grave each is."""
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(log, "_write", lambda *line: lines.append(line))
    return lines


# What is told of the login: (day, the day on which it ends, what is wrong with it, what arrives)

Step = tuple[float, float | None, str, list[str]]
DIED, RECOVERED = "The Spotify login does not work", "The Spotify login works again"
LIVES: dict[str, list[Step]] = {
    "the whole of it": [
        (0, 180, "", []),
        (149.9, 180, "", []),
        (150, 180, "", ["expires in 30 days"]),
        (150.1, 180, "", []),
        (165.9, 180, "", []),
        (166, 180, "", ["expires in 14 days"]),
        (173.01, 180, "", ["expires in 7 days"]),
        (177, 180, "", ["expires in 3 days"]),
        (179, 180, "", ["expires in 1 day,"]),
        (179.9, 180, "", []),
        (180.01, 180, "", []),
        (180.02, 180, REFUSED, [DIED]),
        (180.03, 180, REFUSED, []),
        (200, 180, REFUSED, []),
        (201, 381, "", [RECOVERED]),
        (201.1, 381, "", []),
        (350, 381, "", []),
        (351, 381, "", ["expires in 30 days"]),
    ],
    "off for long, only the most urgent": [
        (0, 180, "", []),
        (174, 180, "", ["expires in 6 days"]),
        (176.9, 180, "", []),
        (177, 180, "", ["expires in 3 days"]),
    ],
    "off until its last hours": [
        (0, 180, "", []),
        (179.7, 180, "", ["expires in 1 day,"]),
        (179.9, 180, "", []),
    ],
    "off until it was over": [(0, 180, "", []), (190, 180, "", []), (190.1, 180, REFUSED, [DIED])],
    "refused by mistake, twice": [
        (10, 180, REFUSED, [DIED]),
        (10.04, 180, REFUSED, []),
        (10.05, 180, "", [RECOVERED]),
        (10.06, 180, "", []),
        (20, 180, REFUSED, [DIED]),
        (20.05, 180, "", [RECOVERED]),
    ],
    "refused by mistake while it ends": [
        (166, 180, "", ["expires in 14 days"]),
        (167, 180, REFUSED, [DIED]),
        (172, 180, "", [RECOVERED]),
        (172.5, 180, REFUSED, [DIED]),
        (173.5, 180, REFUSED, []),
        (173.6, 180, "", [RECOVERED, "expires in 7 days"]),
    ],
    "dead for several reasons, one after the other": [
        (10, 180, REFUSED, [DIED]),
        (11, 180, "Spotify does not know this client", []),
        (12, None, "nobody is logged in", []),
        (13, 193, "", [RECOVERED]),
    ],
    "renewed in time": [
        (160, 180, "", ["expires in 20 days"]),
        (161, 341, "", []),
        (310.9, 341, "", []),
        (311, 341, "", ["expires in 30 days"]),
    ],
    "renewed by one that is dead as well": [
        (180.1, 180, REFUSED, [DIED]),
        (181, 361, REFUSED, []),
        (182, 361, "", [RECOVERED]),
        (331, 361, "", ["expires in 30 days"]),
    ],
    "an end that is not quite certain": [
        (160, 180, "", ["expires in 20 days"]),
        (160.1, 180.9, "", []),
        (160.2, 179.5, "", []),
        (160.3, 180.9, "", []),
    ],
    "another login, which ends sooner": [
        (0, 180, "", []),
        (1, 20, "", ["expires in 19 days"]),
        (1.1, 20, "", []),
    ],
    "nobody knows its end": [
        (0, None, "", []),
        (179.5, None, "", []),
        (181, None, REFUSED, [DIED]),
        (182, None, "", [RECOVERED]),
        (183, 363, "", []),
        (184, None, "", []),
        (333, 363, "", ["expires in 30 days"]),
        (334, None, "", []),
        (335, 363, "", []),
    ],
    "a clock that goes back": [
        (166, 180, "", ["expires in 14 days"]),
        (100, 180, "", []),
        (150, 180, "", []),
        (166, 180, "", []),
        (173, 180, "", ["expires in 7 days"]),
    ],
}


@pytest.mark.parametrize("restarting", [False, True], ids=["one process", "restarts"])
@pytest.mark.parametrize("name", LIVES)
def test_the_life_of_a_login(bench: Bench, name: str, *, restarting: bool) -> None:
    for day, ends, trouble, expected in LIVES[name]:
        if restarting:
            bench.start()
        arrived = bench.at(day, ends, trouble)
        assert len(arrived) == len(expected), (day, arrived)
        for text, words in zip(arrived, expected, strict=True):
            assert words in text, day


@pytest.mark.parametrize("restarting", [False, True], ids=["one process", "restarts"])
@pytest.mark.parametrize("name", LIVES)
def test_a_turn_at_which_nothing_is_told_writes_nothing(bench: Bench, name: str, *, restarting: bool) -> None:
    for day, ends, trouble, _ in LIVES[name]:
        bench.at(day, ends, trouble)
        writes = bench.notes.writes
        if restarting:
            bench.start()
        bench.at(day, ends, trouble)
        assert bench.notes.writes == writes, day


@example([(178.75, False, False), (179.0, False, False)])  # it was away when three days were left
@given(
    turns=st.lists(st.tuples(st.floats(0, 200), st.booleans(), st.booleans()), min_size=1, max_size=30),
)
def test_whatever_fails_the_days_left_only_shrink_and_the_last_word_arrives(
    turns: list[tuple[float, bool, bool]],
) -> None:
    bench = Bench()
    arrived = []
    for day, is_offline, is_restarted in sorted(turns):
        if is_restarted:
            bench.start()
        bench.post.status = OFFLINE if is_offline else 200
        arrived += bench.at(day)
    bench.post.status = 200
    bench.start()
    arrived += bench.at(max(turns)[0])
    days = [int(text.split(" in ")[1].split()[0]) for text in arrived]
    assert days == sorted(set(days), reverse=True)
    last = min((180 - day for day, *_ in turns if 150 <= day < 180), default=None)
    assert (last is None) == (days == [])
    if last is not None:
        assert days[-1] == 1 if last <= 1 else days[-1] >= last


WORDS: list[tuple[float, float | None, str, str]] = [
    (166, 180, "", f"The Spotify login expires in 14 days, on 2027-05-22: {ADVICE}"),
    (167, 180, REFUSED, f"The Spotify login does not work, so nothing is logged. {REFUSED}"),
    (
        168.5,
        180,
        "",
        "The Spotify login works again since 2027-05-11 10:00; plays are logged. It expires on 2027-05-22.",
    ),
    (
        169,
        None,
        "nobody may see this",
        (
            "The Spotify login does not work, so nothing is logged."
            f" Nobody may see this; if it stays like this, {ADVICE}"
        ),
    ),
    (170.5, None, "", "The Spotify login works again since 2027-05-13 10:00; plays are logged."),
]


def test_the_words(bench: Bench) -> None:
    for day, ends, trouble, expected in WORDS:
        assert bench.at(day, ends, trouble) == [f"Spotify Logger: {expected}"]


def test_whatever_is_told_is_one_line_of_bounded_length(bench: Bench) -> None:
    (text,) = bench.at(1, 180, "first\nsecond\x1b[2J \ud800" + 10_000 * "x")
    assert len(text) == MAX_TEXT_LENGTH
    assert "First second�[2J �xx" in text


# The log


def test_the_log_is_told_each_thing_once_and_nothing_that_the_poller_says(
    bench: Bench, logged: list[tuple[str, str]]
) -> None:
    for day, ends, trouble, _ in LIVES["the whole of it"]:
        bench.start()
        bench.at(day, ends, trouble)
    first = "The Spotify login expires in"
    assert logged == [
        ("warning", f"{first} 30 days, on 2027-05-22: {ADVICE}"),
        ("warning", f"{first} 14 days, on 2027-05-22: {ADVICE}"),
        ("warning", f"{first} 7 days, on 2027-05-22: {ADVICE}"),
        ("warning", f"{first} 3 days, on 2027-05-22: {ADVICE}"),
        ("error", f"{first} 1 day, on 2027-05-22: {ADVICE}"),
        ("warning", f"{first} 30 days, on 2027-12-09: {ADVICE}"),
    ]


def test_where_nobody_wants_alerts_only_the_log_is_told(logged: list[tuple[str, str]]) -> None:
    bench = Bench(url="")
    for day, ends, trouble, _ in LIVES["the whole of it"]:
        bench.start()
        assert bench.at(day, ends, trouble) == []
    assert len(logged) == 6
    assert bench.post.asked == 0


def test_what_was_told_while_nobody_wanted_alerts_is_not_told_later() -> None:
    bench = Bench(url="")
    bench.at(166)
    bench.alerts.notify("disk", "The disk is full.")
    bench.url = URL
    bench.start()
    bench.alerts.notify("disk", "The disk is full.")
    assert bench.at(166.1) == []
    assert len(bench.at(173)) == 1


def test_who_takes_the_address_away_wants_none_of_what_waits(bench: Bench) -> None:
    bench.post.status = OFFLINE
    bench.at(166)
    bench.url = ""
    bench.start()
    bench.at(166.1)
    bench.url = URL
    bench.post.status = 200
    bench.start()
    assert bench.at(166.2) == []


# Other alerts


def test_a_thing_is_told_once_until_it_is_over(bench: Bench) -> None:
    for _ in range(2):
        bench.alerts.notify("disk", "The disk is full.")
        bench.alerts.deliver()
        bench.alerts.notify("disk", "The disk is fuller.")
        bench.alerts.notify("redis", "Redis is away.")
        bench.start()
        bench.alerts.notify("disk", "The disk is full.")
        bench.alerts.deliver()
        bench.alerts.deliver()
        assert bench.post.new() == ["Spotify Logger: The disk is full.", "Spotify Logger: Redis is away."]
        bench.alerts.resolve("disk")
        bench.alerts.resolve("disk")
        bench.alerts.resolve("redis")
        bench.start()


def test_what_is_over_before_it_was_delivered_is_not_delivered(bench: Bench) -> None:
    bench.alerts.notify("disk", "The disk is full.")
    bench.alerts.notify("redis", "Redis is away.")
    bench.alerts.resolve("disk")
    assert bench.at(0) == ["Spotify Logger: Redis is away."]


def test_only_the_newest_alerts_wait_and_a_restart_keeps_them(bench: Bench) -> None:
    for number in range(MAX_QUEUED + 2):
        bench.alerts.notify(f"key {number}", f"{number}.")
    bench.start()
    assert bench.at(0) == [f"Spotify Logger: {number}." for number in range(2, MAX_QUEUED + 2)]


# Delivery


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(150, ""), (166, ""), (173, "")], ["expires in 7 days"]),
        ([(166, ""), (167, REFUSED)], [DIED]),
        ([(166, ""), (167, REFUSED), (168, "")], [RECOVERED]),
        ([(167, REFUSED), (168, ""), (169, REFUSED)], [DIED]),
        ([(165, REFUSED), (167, "")], [RECOVERED, "expires in 13 days"]),
    ],
)
def test_what_could_not_be_delivered_gives_way_to_what_makes_it_untrue(
    bench: Bench, steps: list[tuple[float, str]], expected: list[str]
) -> None:
    bench.post.status = OFFLINE
    for day, trouble in steps:
        assert bench.at(day, 180, trouble) == []
    bench.post.status = 200
    day, trouble = steps[-1]
    arrived = bench.at(day + 0.2, 180, trouble)
    assert len(arrived) == len(expected)
    assert all(words in text for words, text in zip(expected, arrived, strict=True))


def test_a_new_login_silences_the_warning_about_the_old_one(bench: Bench) -> None:
    bench.post.status = OFFLINE
    bench.at(166)
    bench.post.status = 200
    assert bench.at(167, 347) == []


def test_one_alert_is_sent_at_a_time(bench: Bench) -> None:
    bench.alerts.notify("a", "A.")
    bench.alerts.notify("b", "B.")
    bench.alerts.deliver()
    assert bench.post.new() == ["Spotify Logger: A."]
    bench.alerts.deliver()
    assert bench.post.new() == ["Spotify Logger: B."]
    bench.alerts.deliver()
    assert bench.post.asked == 2


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        (OFFLINE, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (500, [60, 120, 240]),
        (599, [60, 120, 240]),
        (408, [60, 120, 240]),
        (429, [60, 120, 240]),
        (199, [60, 120, 240]),
        (300, [3600, 3600]),
        (308, [3600, 3600]),
        (404, [3600, 3600]),
        (499, [3600, 3600]),
    ],
)
def test_what_cannot_be_delivered_is_tried_again(
    bench: Bench, logged: list[tuple[str, str]], status: int, waits: list[float]
) -> None:
    bench.post.status = status
    bench.alerts.notify("disk", "The disk is full.")
    bench.alerts.deliver()
    for wait in waits:
        asked = bench.post.asked
        bench.clock.sleep(wait - 1)
        bench.alerts.deliver()
        assert bench.post.asked == asked
        bench.clock.sleep(1)
        bench.alerts.deliver()
        assert bench.post.asked == asked + 1
    reason = "ntfy.test: connection refused" if status == OFFLINE else f"ALERT_URL answered {status}"
    assert logged == [("warning", f"cannot deliver the alert ({reason}); retrying")]
    bench.post.status = 200
    bench.clock.sleep(3600)
    bench.alerts.deliver()
    bench.alerts.deliver()
    assert bench.post.new() == ["Spotify Logger: The disk is full."]
    assert logged[1:] == [("info", "alerts are delivered again")]


def test_a_success_ends_the_waiting_and_the_next_failure_is_said_again(
    bench: Bench, logged: list[tuple[str, str]]
) -> None:
    for key in "abc":
        bench.post.status = 500
        bench.alerts.notify(key, "Something.")
        bench.alerts.deliver()
        bench.post.status = 200
        bench.clock.sleep(60)
        bench.alerts.deliver()
        assert len(bench.post.new()) == 1
    assert [level for level, _ in logged] == ["warning", "info"] * 3


@pytest.mark.parametrize("status", [201, 204, 299])
def test_any_success_will_do(bench: Bench, status: int, logged: list[tuple[str, str]]) -> None:
    bench.post.status = status
    bench.alerts.notify("disk", "The disk is full.")
    bench.alerts.deliver()
    bench.clock.sleep(3600)
    bench.alerts.deliver()
    assert bench.post.asked == 1
    assert logged == []


def test_an_alert_is_noted_before_it_is_sent_and_its_success_right_after(bench: Bench) -> None:
    noted = []
    bench.post.before = lambda: noted.append("The disk is full." in bench.notes.texts[ALERTS_NOTE])
    bench.alerts.notify("disk", "The disk is full.")
    bench.alerts.deliver()
    assert noted == [True]
    assert "The disk is full." not in bench.notes.texts[ALERTS_NOTE]


def test_a_crash_while_it_is_sent_repeats_one_alert(bench: Bench) -> None:
    class Crash(BaseException):
        pass

    def crash() -> None:
        raise Crash

    bench.post.before = crash
    with pytest.raises(Crash):
        bench.at(166)
    bench.post.before = lambda: None
    bench.start()
    assert len(bench.at(166.1)) == 1
    bench.start()
    assert bench.at(166.2) == []


GOOD = {"ends": END, "days": 14, "told": ["disk"], "queue": {"disk": "Spotify Logger: The disk is full."}}


def test_a_note_as_it_is_written_is_understood(bench: Bench) -> None:
    bench.notes.texts[ALERTS_NOTE] = json.dumps(GOOD)
    bench.start()
    bench.alerts.notify("disk", "The disk is fuller.")
    assert bench.at(166) == ["Spotify Logger: The disk is full."]


BAD: list[dict[str, object]] = [
    {"ends": "soon"},
    {"ends": -1},
    {"ends": float("nan")},
    {"ends": float("inf")},
    {"ends": 10**400},
    {"days": 15},
    {"days": "14"},
    {"days": [14]},
    {"told": "disk"},
    {"told": [5]},
    {"told": None},
    {"queue": []},
    {"queue": {"disk": 5}},
    {"queue": {str(number): "x" for number in range(MAX_QUEUED + 1)}},
]
NONSENSE = {
    "half": "{",
    "a list": "[]",
    "null": "null",
    "a number": "5",
    "zeros": "\x00" * 100,
    "deep": "[" * 50_000,
    "a long number": "9" * 10_000,
    **{f"bad {bad}"[:30]: json.dumps({**GOOD, **bad}) for bad in BAD},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_note_that_makes_no_sense_is_as_good_as_none(bench: Bench, name: str) -> None:
    bench.notes.texts[ALERTS_NOTE] = NONSENSE[name]
    bench.start()
    (text,) = bench.at(166)
    assert "expires in 14 days" in text
    bench.start()
    assert bench.at(166.1) == []


# Over a real wire


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ScriptedServer]]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    peers: list[ScriptedServer] = []

    def start(*scripts: Script) -> ScriptedServer:
        peers.append(ScriptedServer(*scripts))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture
def make_sender() -> Iterator[Callable[..., HttpSender]]:
    senders: list[HttpSender] = []

    def make(deadline: float = 30.0) -> HttpSender:
        senders.append(HttpSender(connect_timeout=30, read_timeout=30, deadline=deadline))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close()


def reset(line: ServerConnection) -> None:
    line.read_request()
    line.reset()


def hang(line: ServerConnection) -> None:
    line.read_request()
    line.wait_for_close()


def test_the_wire_sees_the_text_and_nothing_else_of_us(
    serve: Callable[..., ScriptedServer], make_sender: Callable[..., HttpSender]
) -> None:
    peer = serve(respond_with(http_response()))
    alerts = Alerts(make_sender(), f"{peer.url}/tops3cret?a=b", VirtualClock(START), Notes(), lambda: 1.0)
    alerts.notify("disk", "Grüße: the disk is full.")
    alerts.deliver()
    head, _, body = peer.requests[0].decode().partition("\r\n\r\n")
    assert body == "Spotify Logger: Grüße: the disk is full."
    first, *headers = head.split("\r\n")
    assert first == "POST /tops3cret?a=b HTTP/1.1"
    assert "Content-Type: text/plain; charset=utf-8" in headers
    assert {line.partition(":")[0] for line in headers} == {
        "Host",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "Connection",
        "Content-Type",
        "Content-Length",
    }


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (respond_with(http_response(b"tops3cret", status=b"500 tops3cret")), "ALERT_URL answered 500"),
        (
            respond_with(http_response(b"", b"Location: /tops3cret", status=b"302 Found")),
            "ALERT_URL answered 302",
        ),
        (reset, "connection lost"),
        (hang, "no answer within"),
    ],
    ids=["500", "302", "reset", "hang"],
)
def test_after_trouble_on_the_wire_it_arrives_and_no_secret_is_in_the_log(
    serve: Callable[..., ScriptedServer],
    make_sender: Callable[..., HttpSender],
    capsys: pytest.CaptureFixture[str],
    script: Script,
    reason: str,
) -> None:
    peer = serve(script, respond_with(http_response()))
    clock = VirtualClock(START)
    senders = [make_sender(deadline=1.0 if script is hang else 30.0), make_sender()]

    def send(request: Request) -> Response:
        return senders.pop(0)(request)

    alerts = Alerts(send, f"{peer.url}/tops3cret", clock, Notes(), lambda: 1.0)
    alerts.notify("disk", "The disk is full.")
    alerts.deliver()
    clock.sleep(3600)
    alerts.deliver()
    alerts.deliver()
    bodies = [request.partition(b"\r\n\r\n")[2] for request in peer.requests]
    assert bodies == [b"Spotify Logger: The disk is full."] * 2
    warning, info = capsys.readouterr().err.splitlines()
    assert reason in warning
    assert "delivered again" in info
    assert "tops3cret" not in warning + info


def test_a_heartbeat_on_the_wire(
    serve: Callable[..., ScriptedServer],
    make_sender: Callable[..., HttpSender],
    capsys: pytest.CaptureFixture[str],
) -> None:
    peer = serve(respond_with(http_response(), http_response(status=b"404 tops3cret")))
    clock = VirtualClock(START)
    heartbeat = Heartbeat(make_sender(), f"{peer.url}/tops3cret", clock)
    heartbeat.beat(healthy=True)
    assert capsys.readouterr().err == ""
    clock.sleep(300)
    heartbeat.beat(healthy=True)
    assert [request.splitlines()[0] for request in peer.requests] == [b"GET /tops3cret HTTP/1.1"] * 2
    assert all(b"Authorization" not in request for request in peer.requests)
    said = capsys.readouterr().err
    assert "HEARTBEAT_URL answered 404" in said
    assert "tops3cret" not in said


# The heartbeat: (seconds, whether all is well, what the switch answers, whether it is asked)

Beat = tuple[float, bool, int, bool]
BEATS: dict[str, list[Beat]] = {
    "every five minutes": [
        (0, True, 200, True),
        (30, True, 200, False),
        (299, True, 200, False),
        (300, True, 200, True),
        (599, True, 200, False),
        (605, True, 200, True),
        (904, True, 200, False),
        (905, True, 200, True),
    ],
    "not before all is well": [(0, False, 200, False), (400, False, 200, False), (401, True, 200, True)],
    "silent in trouble, and at once after it": [
        (0, True, 200, True),
        (300, False, 200, False),
        (1000, False, 200, False),
        (1001, True, 200, True),
        (1002, False, 200, False),
        (1003, True, 200, False),
        (1301, True, 200, True),
    ],
    "tried again after a minute": [
        (0, True, OFFLINE, True),
        (59, True, 200, False),
        (60, True, 500, True),
        (119, True, 200, False),
        (120, True, 302, True),
        (180, True, 204, True),
        (240, True, 200, False),
        (480, True, 200, True),
    ],
    "not tried again in trouble": [
        (0, True, OFFLINE, True),
        (60, False, 200, False),
        (70, True, 200, True),
    ],
}


@pytest.mark.parametrize("name", BEATS)
def test_the_heartbeat(name: str) -> None:
    clock, post = VirtualClock(START), Post()
    heartbeat = Heartbeat(post, URL, clock)
    for seconds, well, status, expected in BEATS[name]:
        clock.now = START + seconds
        clock.correct(clock.now - 2 * seconds)  # a machine that finds out that it is ahead
        post.status, asked = status, post.asked
        heartbeat.beat(healthy=well)
        assert post.asked == asked + expected, seconds


def test_a_heartbeat_that_fails_is_one_line_and_another_when_it_arrives(
    logged: list[tuple[str, str]],
) -> None:
    clock, post = VirtualClock(START), Post()
    heartbeat = Heartbeat(post, URL, clock)
    for status in (200, OFFLINE, 500, 404, 200, 200, 500):
        post.status = status
        heartbeat.beat(healthy=True)
        clock.sleep(300)
    assert logged == [
        ("warning", "cannot send the heartbeat (ntfy.test: connection refused); retrying"),
        ("info", "the heartbeat works again"),
        ("warning", "cannot send the heartbeat (HEARTBEAT_URL answered 500); retrying"),
    ]


def test_without_a_switch_nothing_is_asked() -> None:
    post = Post()
    Heartbeat(post, "", VirtualClock(START)).beat(healthy=True)
    assert post.asked == 0
