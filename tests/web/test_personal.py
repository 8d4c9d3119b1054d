"""What listeners change in their logs from the page."""

from __future__ import annotations

import json
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.storage.bulk import Archive
from tests.indexed_log import CatalogItem
from tests.web.log import QUO, write_play
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 1_795_370_400


@pytest.fixture
def store(redis_url: str) -> Iterator[Archive]:
    with closing(Archive(redis_url)) as store:
        yield store


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


def test_deletes_a_play_and_brings_it_back(store: Archive, page: PageClient) -> None:
    write_play(store, QUO, SECOND, end="trackdone")
    before = store.hash(f"listening:{SECOND}")
    day = f"/day/{Zone().day(SECOND)}"
    assert f'value="listening:{SECOND}"' in page.request(day).text
    answer = page.post("/forget", f"play=listening:{SECOND}")
    assert (answer.status, answer.headers["location"]) == (303, f"{day}#deleted")
    text = page.request(day).text
    assert "No plays on this day" in text
    assert "Veridis Quo" in text
    assert page.post("/undo", f"key=listening:{SECOND}").status == 303
    assert store.hash(f"listening:{SECOND}") == before
    assert "1 play, " in page.request(day).text
    assert page.post("/forget", "play=nonsense").status == 400
    assert page.post("/forget", f"play=listening:{SECOND}", Origin="http://evil.example").status == 403
    assert store.hash(f"listening:{SECOND}") == before


@pytest.mark.parametrize(("kind", "key"), [("track", QUO.key), ("artist", "artist:DaftPunk")])
def test_hides_from_statistics_and_shows_again(store: Archive, page: PageClient, kind: str, key: str) -> None:
    write_play(store, QUO, SECOND, end="trackdone")
    item = f"/{kind}?q={key}"
    assert f'value="{key}">Hide from statistics' in page.request(item).text
    assert page.post("/hide", f"kind={kind}&text={key}").headers["location"] == "/settings#hidden"
    assert [*store.hash("hidden")] == [key]
    assert "hidden from statistics</a>" in page.request(item).text
    assert "Veridis Quo" not in page.request("/top/tracks").text
    for path in ("stats", "top/tracks"):
        assert json.loads(page.request(f"/api/v1/{path}").body)["plays"] == 0
    assert json.loads(page.request("/api/v1/recent").body)[0]["hidden"] is True
    assert ">hidden<" in page.request("/recent").text
    assert f'value="{key}">Show again' in page.request("/settings").text
    assert page.post("/undo", f"key={key}", Origin="http://evil.example").status == 403
    assert page.post("/undo", f"key={key}").headers["location"] == "/settings#hidden"
    assert "Hide from statistics" in page.request(item).text
    assert "Veridis Quo" in page.request("/top/tracks").text


@pytest.mark.parametrize(
    "form", ["kind=track&text=", "kind=album&text=Discovery", "text=quo", "kind=track&text=nobody"]
)
def test_nothing_is_hidden_by_a_form_that_names_nothing(store: Archive, page: PageClient, form: str) -> None:
    write_play(store, QUO, SECOND, end="trackdone")
    assert page.post("/hide", form).status == 400
    assert page.post("/hide", "kind=track&text=quo", Sec_Fetch_Site="cross-site").status == 403
    assert page.post("/undo", "key=").status == 400
    write_play(store, CatalogItem("track:cover", "Veridis Quo", ["Somebody"]), SECOND + 600, end="trackdone")
    refused = page.post("/hide", "kind=track&text=veridis+quo").text
    assert "track:cover (Somebody – Veridis Quo)" in refused
    assert store.hash("hidden") == {}


def test_exports_the_log_as_a_zip(
    store: Archive, page: PageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_play(store, QUO, SECOND, end="trackdone", ms_played=300_000)
    folder = tmp_path / "exports"
    folder.mkdir()
    monkeypatch.setenv("CACHE_DIRECTORY", str(folder))
    for form in ("jsonl", "csv", "spotify", "listenbrainz"):
        assert f'value="{form}"' in page.request("/settings").text
        answer = page.post("/export", f"format={form}")
        assert answer.headers["content-disposition"] == f'attachment; filename="spotify-logger-{form}.zip"'
        with ZipFile(BytesIO(answer.body)) as archive:
            assert "Veridis Quo" in archive.read(archive.namelist()[0]).decode()
    refused = page.post("/export", "format=../etc")
    assert refused.status == 400
    assert "Try again" not in refused.text
    assert page.post("/export", "format=csv", Sec_Fetch_Site="cross-site").status == 403
    assert [*folder.glob("page-*")] == []


def test_open_play_cannot_be_deleted(store: Archive, page: PageClient) -> None:
    second = write_play(store)
    assert "/forget" in page.request("/recent").text
    assert f'value="listening:{second}"' not in page.request("/recent").text
    page.post("/forget", f"play=listening:{second}")
    assert store.hash(f"listening:{second}")
