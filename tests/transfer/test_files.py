from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer import files
from spotify_logger.transfer.importer.files import FoundFiles, find_sources
from spotify_logger.transfer.importer.json_rows import UnreadableFile, read_rows
from tests.exports import A, account, extended, write

if TYPE_CHECKING:
    from pathlib import Path

ROW = b'[{"ts": "2025-01-01T00:00:00Z"}]'


def names(*paths: Path) -> list[str]:
    return [source.name.rpartition("/")[2] for source in find_sources(paths).sources]


def refusal(*paths: Path) -> str:
    """Return the reason of the only refusal."""
    ((_, reason),) = find_sources(paths).refused
    return reason


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


HISTORIES = (
    "Streaming_History_Audio_2019-2020_1.json",
    "Streaming_History_Audio_2025.json",
    "endsong_0.json",
    "StreamingHistory0.json",
    "StreamingHistory_music_0.json",
    "StreamingHistory_podcast_12.json",
)
OTHERS = ("Playlist1.json", "ReadMeFirst_ExtendedStreamingHistory.pdf", "._Streaming_History_Audio_2025.json")


def test_histories_in_folders_and_zips_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "MyData").mkdir()
    members = (*HISTORIES, *OTHERS, "Streaming_History_Video_2019.json")
    for name in members:
        (tmp_path / "MyData" / name).write_bytes(ROW)
    zipped = make_zip(tmp_path / "my_spotify_data.zip", {f"Account Data/{name}": ROW for name in members})
    for path in (tmp_path / "MyData", zipped):
        assert names(path) == sorted(HISTORIES)
        assert (find_sources([path]).videos, find_sources([path]).others) == (1, len(OTHERS))
    assert sorted(names(tmp_path)) == sorted(2 * HISTORIES)
    (tmp_path / "Streaming_History_Video_2020.json").write_text("{}")
    assert find_sources([tmp_path / "Streaming_History_Video_2020.json"]).videos == 1


@pytest.mark.parametrize(
    "row",
    [extended(A, 0, 100), account(A, 0, 100), {"kind": "item", "key": "track:1", "fields": {}}],
    ids=["extended", "account", "own"],
)
def test_given_file_may_have_any_name(tmp_path: Path, row: dict[str, object]) -> None:
    assert names(write(tmp_path / "what I heard.txt", [row])) == ["what I heard.txt"]


@pytest.mark.parametrize("content", ["[1]", "{}", '{"playlists": []}', "hello", ""])
def test_given_file_without_plays_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    assert "contains no plays" in refusal(tmp_path / "file")


def test_own_exports_in_folders_are_found(tmp_path: Path) -> None:
    for name in ("backup.jsonl", "spotify-logger-2026.json"):
        (tmp_path / name).write_text('{"kind": "gap", "second": 1, "fields": {}}\n')
    (tmp_path / "something.jsonl").write_text('{"level": "info"}\n')
    assert names(tmp_path) == ["backup.jsonl", "spotify-logger-2026.json"]
    assert find_sources([tmp_path]).others == 1


def test_each_file_is_read_once_whatever_the_links(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = write(inner / "endsong_0.json", [])
    (inner / "endsong_1.json").symlink_to(path)
    (inner / "outer").symlink_to(tmp_path)
    (inner / "endsong_2.json").symlink_to(inner / "endsong_2.json")
    assert names(path, tmp_path, path) == ["endsong_0.json"]
    assert "symbolic links" in refusal(tmp_path)


def test_missing_file_and_pipe_are_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpotifyLoggerError, match=r"missing: No such file"):
        find_sources([tmp_path / "missing"])
    with pytest.raises(SpotifyLoggerError, match="pipe is not a regular file"):
        find_sources([tmp_path / "pipe"])
    assert find_sources([tmp_path]) == FoundFiles()


def test_zip_member_is_read_without_unpacking(tmp_path: Path) -> None:
    content = b'[{"ts": 1}, {"ts": 2}]'
    (source,) = find_sources([make_zip(tmp_path / "z.zip", {"a/endsong_0.json": content})]).sources
    assert (source.name, source.size) == (f"{tmp_path}/z.zip/a/endsong_0.json", len(content))
    with source.open() as text:
        assert list(read_rows(text)) == [{"ts": 1}, {"ts": 2}]
    assert [path.name for path in tmp_path.iterdir()] == ["z.zip"]


@pytest.mark.parametrize("name", ["../endsong_0.json", "/etc/endsong_0.json", "a/../../b", "C:/x", "..\\x"])
def test_zip_with_paths_out_of_it_is_refused(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_1.json": ROW, name: ROW})
    assert names(path) == []
    assert "paths that lead out" in refusal(path)


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": b" " * (1 << 25), "endsong_1.json": ROW})
    assert names(path) == ["endsong_1.json"]
    assert "zip bomb" in refusal(path)


def test_zip_bomb_with_a_wrong_size_gives_no_more_than_that(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": b" " * (1 << 25)})
    size, wrong_size = ((1 << 25).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(path.read_bytes().replace(size, wrong_size))
    (source,) = find_sources([path]).sources
    with source.open() as text, pytest.raises(UnreadableFile, match="Bad CRC-32"):
        list(read_rows(text))


def test_zip_with_overlapping_members_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {f"endsong_{n}.json": bytes(range(256)) * 9 for n in range(2)})
    content = path.read_bytes()
    size = zipfile.ZipFile(path).infolist()[0].compress_size
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (len(content) * 2).to_bytes(4, "little")))
    assert "overlap" in refusal(path)


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refusal(path)


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW * 100})
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a readable zip" in refusal(tmp_path)
    assert "not a readable zip" in refusal(path)


def test_damaged_member_and_vanished_file_cannot_be_read(tmp_path: Path) -> None:
    zipped = make_zip(tmp_path / "z.zip", {"endsong_0.json": os.urandom(5000)})
    zipped.write_bytes(b"nope" + zipped.read_bytes()[4:])
    path = write(tmp_path / "endsong_1.json", [])
    sources = find_sources([zipped, path]).sources
    path.unlink()
    for source in sources:
        with pytest.raises(UnreadableFile, match="cannot be read"), source.open():
            pass


@pytest.mark.parametrize(("limit", "number"), [("MAX_ZIP_MEMBERS", 1), ("MAX_DIRECTORY_BYTES", 20)])
def test_zip_with_very_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, number: int
) -> None:
    monkeypatch.setattr(files, limit, number)
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW, "endsong_1.json": ROW})
    assert "far more files" in refusal(path)
