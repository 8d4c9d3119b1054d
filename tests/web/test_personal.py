"""What listeners change in their logs from the page."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.storage.bulk import Archive
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
    assert page.post("/undo", f"play=listening:{SECOND}").status == 303
    assert store.hash(f"listening:{SECOND}") == before
    assert "1 play, " in page.request(day).text
    assert page.post("/forget", "play=nonsense").status == 400
    assert page.post("/forget", f"play=listening:{SECOND}", Origin="http://evil.example").status == 403
    assert store.hash(f"listening:{SECOND}") == before


def test_exports_the_log_as_a_zip(
    store: Archive, page: PageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_play(store, QUO, SECOND, end="trackdone", ms_played=300_000)
    folder = tmp_path / "exports"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    for form in ("jsonl", "csv", "spotify", "listenbrainz"):
        assert f'value="{form}"' in page.request("/health").text
        answer = page.post("/export", f"format={form}")
        assert answer.headers["content-disposition"] == f'attachment; filename="spotify-logger-{form}.zip"'
        with ZipFile(BytesIO(answer.body)) as archive:
            assert "Veridis Quo" in archive.read(archive.namelist()[0]).decode()
    assert page.post("/export", "format=../etc").status == 400
    assert page.post("/export", "format=csv", Sec_Fetch_Site="cross-site").status == 403
    assert [*folder.iterdir()] == []


def test_open_play_cannot_be_deleted(store: Archive, page: PageClient) -> None:
    second = write_play(store)
    assert "/forget" in page.request("/recent").text
    assert f'value="listening:{second}"' not in page.request("/recent").text
    page.post("/forget", f"play=listening:{second}")
    assert store.hash(f"listening:{second}")
