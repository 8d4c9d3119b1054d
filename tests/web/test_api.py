"""The API: the answers of the command as JSON, who gets them, and what is refused."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import redis

from spotify_logger.core.play import TRACKDONE
from spotify_logger.core.player_state import catalog_key
from spotify_logger.core.redis_keys import TOKENS
from spotify_logger.queries import sql
from spotify_logger.storage.bulk import Archive
from spotify_logger.web.api import MAX_WRONG_TOKENS
from spotify_logger.web.templating import PROBLEM_JSON
from tests.cli.conftest import run_main
from tests.conftest import free_port
from tests.indexed_log import CatalogItem
from tests.web.log import QUO, write_play, write_status
from tests.web.page import ManualClock, PageClient, password_auth, serve_page, settings_for
from tests.web.test_listeners import add_listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.web.page import HttpResponse

    Command = Callable[..., str]

PASSWORD = "open, sesame"
SECOND = 1_795_370_400
"""2026-11-22T18:00:00Z."""
ELSEWHERE = {"X-Forwarded-For": "198.51.100.7"}


@pytest.fixture
def command(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command and returns what it prints."""
    for name, value in {
        "REDIS_URL": redis_url,
        "STATE_DIR": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0) -> str:
        ended, out, err = run_main([*words], capsys)
        assert ended == code, err
        return out or err

    return run


@pytest.fixture
def page(command: Command, redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    """A page for this machine only, with a log of two tracks."""
    with closing(Archive(redis_url)) as store:
        write_play(store, QUO, SECOND, end="trackdone")
        write_play(store, QUO, SECOND + 300, end="trackdone")
        write_play(
            store, CatalogItem("track:one", "One More Time", ["Daft Punk"], "Discovery", "d"), SECOND - 90
        )
        write_status(store, state="nothing plays", polls='{"ok": 7}')
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


@pytest.fixture
def proxied(command: Command, redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    """A page behind a proxy, of two listeners."""
    for name in ("anna", "ben"):
        add_listener(redis_url, name)
    auth = password_auth(tmp_path, PASSWORD, ManualClock())
    with serve_page(settings_for(redis_url, tmp_path), auth, behind_proxy=True) as page:
        yield page


def make_token(command: Command, *words: str) -> dict[str, str]:
    """Make a token, and return the headers of a request that has it."""
    return {"Authorization": f"Bearer {json.loads(command(*words, '--json'))['token']}"}


def is_problem(answer: HttpResponse, status: int, word: str) -> bool:
    """Check an answer for an error with a status, and with a word that says why."""
    assert (answer.status, answer.headers["content-type"]) == (status, PROBLEM_JSON)
    problem = json.loads(answer.text)
    assert problem["status"] == status
    assert word in problem["detail"]
    return True


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("recent?n=2", "recent -n 2"),
        ("recent?year=2025", "recent --year 2025"),
        ("top/tracks?by=time&n=1", "top tracks --by time -n 1"),
        ("top/devices?month=2026-11", "top devices --month 2026-11"),
        ("count?q=veridis+quo&min=0", "count veridis quo --min 0"),
        (
            "stats?since=2026-11-22&until=2026-11-22&tz=UTC",
            "stats --since 2026-11-22 --until 2026-11-22 --tz UTC",
        ),
        ("stats?exact=true", "stats --exact"),
        ("track/quo?min=half", "track track:quo --min half"),
        ("artist/DaftPunk", "artist artist:DaftPunk"),
        ("album/d", "album album:d"),
        ("day?day=2026-11-22&tz=Europe/Berlin", "day 2026-11-22 --tz Europe/Berlin"),
        ("day", "day"),
        ("clock?month=2026-11", "clock --month 2026-11"),
        ("calendar", "calendar"),
        ("calendar?year=2025&by=time", "calendar --year 2025 --by time"),
        ("year?year=2026", "year 2026"),
        ("now", "now"),
    ],
)
def test_answers_what_the_command_answers(page: PageClient, command: Command, path: str, words: str) -> None:
    answer = page.request(f"/api/v1/{path}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.text) == json.loads(command(*words.split(), "--json"))


def test_every_row_leads_to_its_own_resource(page: PageClient, redis_url: str) -> None:
    local = f"spotify:local:AC%2FDC:{'Live+' * 40}:T%C3%A2che:200"
    key = catalog_key("track", "", local)
    with closing(Archive(redis_url)) as store:
        write_play(
            store, CatalogItem("episode:e", "On AC/DC", [], "A show", "s"), SECOND + 900, end=TRACKDONE
        )
        write_play(
            store, CatalogItem(key, "Tâche", [], "Live"), SECOND + 1200, uri=local, id="", type="track"
        )
        store.write([("HSET", key, "artists", "AC/DC"), ("HDEL", key, "artist_ids", "artist_list")])

    def ask(path: str) -> Any:  # noqa: ANN401 - any JSON
        answer = page.request(f"/api/v1/{path}")
        assert answer.status == 200, path
        return json.loads(answer.text)

    rows = [(kind.removesuffix("s"), row) for kind in sql.KINDS for row in ask(f"top/{kind}")["top"]]
    assert {"AC/DC", "A show", "Veridis Quo", "Discovery", "Tâche", "Live"} <= {
        row["name"] for _, row in rows
    }
    for noun, row in rows:
        found = ask(f"{noun}/{quote(row['text'], safe='')}")["found"]
        assert (found["name"], found["plays"]) == (row["name"], row["plays"])
    for play in ask("recent"):
        found = ask(f"{play['type']}/{quote(play['uri'], safe='')}")["found"]
        assert found["name"] == play["name"]
    for track in ask("count?q=discovery")["tracks"]:
        assert ask(f"track/{track['keys'][0]}")["found"]["name"] == track["name"]


def test_the_status_is_that_of_the_command(page: PageClient, command: Command) -> None:
    answer: dict[str, Any] = json.loads(page.request("/api/v1/status").text)
    assert answer == json.loads(command("status", "--json"))
    assert (answer["well"], answer["polls"]) == (True, {"ok": 7})


def test_an_answer_is_sent_again_when_it_has_changed(page: PageClient, redis_url: str) -> None:
    def ask(etag: str = "") -> HttpResponse:
        return page.request("/api/v1/top/tracks", If_None_Match=etag)

    etag = ask().headers["etag"]
    unchanged = ask(etag)
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)
    with closing(Archive(redis_url)) as store:
        write_play(store, QUO, SECOND + 600, end="trackdone")
    changed = ask(etag)
    assert changed.status == 200
    new = changed.headers["etag"]
    for known in (f'"other", {new}', new.removeprefix("W/"), "*"):
        assert ask(known).status == 304


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("top/tracks?limit=5", 400, "unknown parameter 'limit'"),
        ("now?n=5", 400, "unknown parameter"),
        ("top/tracks?n=5&n=6", 400, "twice"),
        ("top/tracks?by=", 400, "empty"),
        ("top/tracks?by=fame", 400, "plays or time"),
        ("top/tracks?n=501", 400, "500"),
        ("top/tracks?exact=yes", 400, "exact"),
        ("top/tracks?year=2026&last=3d", 400, "cannot be combined"),
        ("top/nothing", 404, ""),
        ("count", 400, "q is missing"),
        ("count?q=+", 400, "empty"),
        (f"count?q={'a' * 201}", 400, "too long"),
        ("day?day=2026-02-30", 400, "not a day"),
        ("track/nothing", 404, "ID"),
        ("now?listener=zoe", 400, "no listener called zoe has a log here; listeners: -"),
        ("track/+", 404, "name"),
        ("nothing", 404, ""),
    ],
)
def test_what_is_wrong_is_a_problem_that_says_so(page: PageClient, path: str, status: int, word: str) -> None:
    assert is_problem(page.request(f"/api/v1/{path}"), status, word)


def test_it_only_reads(page: PageClient) -> None:
    answer = page.request("/api/v1/now", "DELETE")
    assert is_problem(answer, 405, "")
    assert answer.headers["allow"] in ("GET, HEAD", "HEAD, GET")


def test_says_that_redis_is_away(tmp_path: Path) -> None:
    with serve_page(settings_for(f"redis://127.0.0.1:{free_port()}/0", tmp_path)) as page:
        assert is_problem(page.request("/api/v1/stats"), 503, "Redis")
        assert json.loads(page.request("/api/v1/status").text)["well"] is False
        assert is_problem(page.request("/api/v1/now", Authorization="Bearer x"), 503, "Redis")


class TestTokens:
    def test_from_elsewhere_only_a_token_opens_it(self, proxied: PageClient, command: Command) -> None:
        cookie = proxied.post("/sign-in", f"password={PASSWORD.replace(' ', '+')}").cookie
        for path in ("/api/v1/now", "/metrics"):
            for headers in ({}, {"Cookie": cookie}, {"Authorization": "Basic YTpi"}):
                answer = proxied.request(path, more={**ELSEWHERE, **headers})
                assert is_problem(answer, 401, "spotify-logger token new")
                assert answer.headers["www-authenticate"] == "Bearer"
        token = make_token(command, "token", "new", "grafana", "anna")
        for path in ("/api/v1/now", "/metrics"):
            assert proxied.request(path, more={**ELSEWHERE, **token}).status == 200
        assert proxied.request("/recent", more={**ELSEWHERE, **token}).status == 303

    def test_on_this_machine_it_is_open_as_the_page_is(self, proxied: PageClient, page: PageClient) -> None:
        cookie = proxied.post("/sign-in", f"password={PASSWORD.replace(' ', '+')}").cookie
        assert proxied.request("/api/v1/recent").status == 401
        assert proxied.request("/api/v1/recent", Cookie=cookie).status == 200
        assert page.request("/api/v1/recent").status == 200
        assert is_problem(page.request("/api/v1/recent", X_Forwarded_For="198.51.100.7"), 403, "proxy")
        assert is_problem(page.request("/api/v1/recent", Host="evil.example"), 421, "host")

    def test_a_token_opens_the_logs_that_it_is_for(self, proxied: PageClient, command: Command) -> None:
        ben = make_token(command, "--listener", "ben", "token", "new", "for-ben")
        both = make_token(command, "token", "new", "for-both", "ben", "anna")

        def ask(path: str, token: dict[str, str]) -> HttpResponse:
            return proxied.request(path, more={**ELSEWHERE, **token})

        for path, token, name in (
            ("recent", ben, "ben"),
            ("recent?listener=ben", ben, "ben"),
            ("recent", both, "ben"),
            ("recent?listener=anna", both, "anna"),
        ):
            assert f"Song of {name}" in ask(f"/api/v1/{path}", token).text
        for name in ("anna", "zoe", "-"):
            assert is_problem(ask(f"/api/v1/recent?listener={name}", ben), 403, "for-ben")
            assert is_problem(ask(f"/metrics?listener={name}", ben), 403, "for-ben")
        assert set(re.findall(r'listener="(\w+)"', ask("/metrics", ben).text)) == {"ben"}
        assert set(re.findall(r'listener="(\w+)"', ask("/metrics", both).text)) == {"anna", "ben"}

    def test_a_revoked_token_is_refused_at_once(
        self, proxied: PageClient, command: Command, redis_url: str
    ) -> None:
        token = make_token(command, "--listener", "anna", "token", "new", "grafana")
        assert "exists" in command("token", "new", "grafana", code=1)
        with redis.Redis.from_url(redis_url) as client:
            assert token["Authorization"].split()[1] not in str(client.hgetall(TOKENS))
        (listed,) = json.loads(command("token", "list", "--json"))
        assert (listed["name"], listed["listeners"], sorted(listed)) == (
            "grafana",
            ["anna"],
            ["created_at", "listeners", "name"],
        )
        assert "grafana\tanna" in command("token", "list")
        assert proxied.request("/api/v1/now", more={**ELSEWHERE, **token}).status == 200
        command("token", "revoke", "grafana")
        assert is_problem(proxied.request("/api/v1/now", more={**ELSEWHERE, **token}), 401, "revoked")
        assert "no token" in command("token", "revoke", "grafana", code=1)
        assert "no tokens" in command("token", "list")

    def test_very_many_wrong_tokens_have_to_wait_and_right_ones_do_not(
        self, proxied: PageClient, command: Command
    ) -> None:
        token = make_token(command, "--listener", "anna", "token", "new", "grafana")

        def ask(Authorization: str) -> HttpResponse:  # noqa: N803 - the name of the header
            return proxied.request("/api/v1/now", more=ELSEWHERE, Authorization=Authorization)

        for _ in range(MAX_WRONG_TOKENS):
            assert ask(Authorization="Bearer wrong\xe9").status == 401
        answer = ask(Authorization="Bearer wrong")
        assert is_problem(answer, 429, "wrong tokens")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert ask(**token).status == 200
        assert (
            proxied.request("/api/v1/now", X_Forwarded_For="203.0.113.9", Authorization="Bearer x").status
            == 401
        )

    def test_malformed_tokens_in_redis_open_nothing(
        self, proxied: PageClient, redis_url: str, command: Command
    ) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.hset(TOKENS, mapping={"a": "[]", "b": "x", "c": '{"name": "c", "listeners": []}'})
            assert is_problem(proxied.request("/api/v1/now", Authorization="Bearer "), 401, "wrong")
            assert json.loads(command("token", "list", "--json")) == []
            client.delete(TOKENS)
            client.set(TOKENS, "of another type")
        assert is_problem(proxied.request("/api/v1/now", Authorization="Bearer x"), 401, "wrong")

    @pytest.mark.parametrize(
        ("words", "code", "word"),
        [
            (["new"], 2, "token new"),
            (["list", "grafana"], 2, "token list"),
            (["revoke", "grafana", "anna"], 2, "token revoke"),
            (["new", "grafana", "zoe"], 1, "zoe"),
        ],
    )
    def test_the_command_says_what_is_wrong(
        self, command: Command, words: list[str], code: int, word: str
    ) -> None:
        assert word in command("token", *words, code=code)
