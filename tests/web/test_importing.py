"""Imports from the page: uploads, the command that imports them, and what becomes of the files."""

from __future__ import annotations

import json
import time
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZipFile

import pytest

from spotify_logger.storage.bulk import Archive
from spotify_logger.web import importing, server
from tests.conftest import wait_until
from tests.exports import A, B, extended
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.web.page import HttpResponse

HISTORY = "Streaming_History_Audio_2026.json"


class Served(NamedTuple):
    """A page, its log, and the folder to which it uploads."""

    page: PageClient
    store: Archive
    folder: Path

    def upload(self, files: Mapping[str, bytes], **headers: str) -> HttpResponse:
        return self.page.request("/import", "POST", form(files), {"Content-Type": KIND}, **headers)

    def result(self) -> str:
        """Wait for the end of the import, and return what the page says."""
        wait_until(lambda: "data-busy" not in self.page.request("/settings").text)
        return self.page.request("/settings").text

    def uploaded(self) -> list[str]:
        return [path.name for path in self.folder.glob("page-*/*")]


KIND = "multipart/form-data; boundary=----border"
HEAD = f"POST /import HTTP/1.1\r\nHost: localhost\r\nContent-Type: {KIND}\r\nContent-Length: {{}}\r\n\r\n"


def form(files: Mapping[str, bytes]) -> bytes:
    head = '------border\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\n\r\n'
    parts = [head.format(name).encode() + content + b"\r\n" for name, content in files.items()]
    return b"".join([*parts, b"------border--\r\n"])


def history(*names: str) -> bytes:
    """Return two plays, by users with these names."""
    rows = [extended(A, 0, 100), extended(B, 100, 200)]
    return json.dumps([row | ({"username": name} if name else {}) for row in rows for name in names]).encode()


def zipped(**members: bytes) -> bytes:
    with BytesIO() as file:
        with ZipFile(file, "w") as archive:
            for name, content in members.items():
                archive.writestr(f"{name}/{HISTORY}", content)
        return file.getvalue()


@pytest.fixture
def served(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    with closing(Archive(redis_url)) as store, serve_page(settings_for(redis_url, tmp_path)) as page:
        yield Served(page, store, tmp_path)


def test_an_upload_is_imported_with_the_accounting_of_the_command(served: Served) -> None:
    answer = served.upload({"my_data.zip": zipped(a=history(""))})
    assert (answer.status, answer.headers["location"]) == (303, "/settings")
    text = served.result()
    assert "Imported." in text
    assert "2 rows in 1 file" in text
    assert len(list(served.store.rows())) == 2
    assert served.uploaded() == []
    again = served.upload({"a.json": history(""), "../../b.json": b"[]"})
    assert again.status == 303
    text = served.result()
    assert "Not everything could be imported." in text
    assert "2\talready imported" in text
    assert "b.json: empty: download or export it again" in text
    assert str(served.folder) not in text


def test_whose_plays_to_import_is_chosen(served: Served) -> None:
    served.upload({"two.zip": zipped(anna=history("anna"), ben=history("ben"))})
    text = served.result()
    assert all(f'value="{name}"' in text for name in ("anna", "ben"))
    assert [*served.store.rows()] == []
    assert served.page.post("/import/user", "user=ben").status == 303
    assert "1 file of other users skipped" in served.result()
    assert len(list(served.store.rows())) == 2
    served.upload({"two.zip": zipped(anna=history("anna"), ben=history("ben"))})
    served.result()
    served.page.post("/import/user", "user=")
    assert "Whose plays" not in served.result()
    assert served.uploaded() == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form({}), KIND),
        (form({"": b"x"}), KIND),
        (form({"a.json": history("")})[:-20], KIND),
        (b"files=x", "application/x-www-form-urlencoded"),
        (b"x" * 5000, KIND),
    ],
)
def test_a_form_without_whole_files_is_refused(served: Served, body: bytes, kind: str) -> None:
    assert served.page.request("/import", "POST", body, {"Content-Type": kind}).status == 400
    assert served.upload({"a.json": history("")}, Origin="http://evil.example").status == 403
    assert [*served.store.rows()] == []
    assert [*served.folder.glob("page-*")] == []


def test_what_is_too_large_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_UPLOAD_BYTES", 1000)
    assert "too large" in served.upload({"a.json": history("")}).text
    monkeypatch.undo()
    monkeypatch.setenv("CACHE_DIRECTORY", str(served.folder))
    monkeypatch.setattr(importing, "SPARE_BYTES", 1 << 60)
    assert "too large" in served.upload({"a.json": history("")}).text
    assert [*served.folder.glob("page-*")] == []


def test_a_slow_upload_arrives_while_no_other_import_begins(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_TIMEOUT", 1.0)
    body = form({"..": history("")})
    head = HEAD.format(len(body))
    with served.page.connect() as slow:
        slow.sendall(head.encode() + body[:200])
        wait_until(lambda: "Receiving files" in served.page.request("/settings").text)
        (path,) = served.folder.glob("page-*/*")
        assert (path.name, path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (
            "file",
            0o600,
            0o700,
        )
        assert "an import is already running" in served.upload({"a.json": history("")}).text
        for at in range(200, len(body), 200):
            time.sleep(1.5 if at == 200 else 0)  # longer than a whole request may take elsewhere
            slow.sendall(body[at : at + 200])
        assert b"303" in slow.recv(100)
    assert "2 rows in 1 file" in served.result()
    with served.page.connect() as refused:
        refused.sendall(head.replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n").encode())
        assert b"403" in refused.recv(100)


def test_a_command_that_cannot_be_started_does_not_keep_others_away(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(importing, "module_command", lambda *_: ["/nowhere"])
        served.upload({"a.json": history("")})
        assert "try again" in served.result()
    assert served.uploaded() == []
    served.upload({"a.json": history("")})
    assert "Imported." in served.result()


def test_an_upload_that_is_cut_off_leaves_nothing(served: Served) -> None:
    with served.page.connect() as cut:
        cut.sendall(HEAD.format(9999).encode() + form({"a.json": history("")})[:200])
        wait_until(lambda: bool(served.uploaded()))
    wait_until(lambda: not served.uploaded())
    assert served.upload({"a.json": history("")}).status == 303
    assert "2 rows in 1 file" in served.result()
