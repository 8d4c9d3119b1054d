from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer import files
from spotify_logger.transfer.importer.files import FoundFiles, UnreadableFile, find_sources
from tests.exports import A, account, extended, write

ROW = b'[{"ts": "2025-01-01T00:00:00Z", "ms_played": 1}]'


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
    "Streaming_History_Audio_2025 (1).json",
    "Streaming_History_Video_2019.json",
    "endsong_0 - Copy.json",
    "endvideo.json",
    "StreamingHistory_podcast_12.json",
    "Historial de reproducción.json",
    "history.txt",
)
OTHERS = {
    "Playlist1.json": b'{"playlists": []}',
    "SearchQueries.json": b'[{"platform": "IPHONE", "searchQuery": "ts"}]',
    "ReadMeFirst_ExtendedStreamingHistory.pdf": b"%PDF-1.7",
    "._Streaming_History_Audio_2025.json": b"\0\5\x16\7",
    "endsong.html": b"<html>",
}


def test_histories_in_folders_and_zips_are_found_whatever_their_names(tmp_path: Path) -> None:
    (tmp_path / "MyData").mkdir()
    members = dict.fromkeys(HISTORIES, ROW) | OTHERS
    for name, content in members.items():
        (tmp_path / "MyData" / name).write_bytes(content)
    folder = "Account Data"
    paths = [
        tmp_path / "MyData",
        make_zip(tmp_path / "my_spotify_data.zip", {f"{folder}/{name}": members[name] for name in members}),
        make_zip(tmp_path / "of_windows.zip", {f"{folder}\\{name}": members[name] for name in members}),
    ]
    inner = {"my_spotify_data (2).ZIP": paths[1].read_bytes(), "more.json": ROW}
    nested = make_zip(tmp_path / "all.zip", inner)
    for path in paths:
        assert names(path) == sorted(HISTORIES)
        assert find_sources([path]).others == len(OTHERS)
    assert names(nested) == ["more.json", *sorted(HISTORIES)]
    assert len(names(tmp_path)) == 4 * len(HISTORIES) + 1
    assert [names(paths[0] / name) for name in HISTORIES] == [[name] for name in HISTORIES]
    with find_sources([nested]).sources[-1].open() as text:
        assert text.read().encode() == ROW


def test_zips_are_read_up_to_two_deep(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "0.zip", {"endsong_0.json": ROW})
    for number in range(1, 3):
        path = make_zip(tmp_path / f"{number}.zip", {"inner.zip": path.read_bytes()})
    assert names(tmp_path / "1.zip") == ["endsong_0.json"]
    assert "a zip inside a zip inside a zip" in refusal(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    text = '[{"ts": "2025-01-01T00:00:00Z", "ms_played": 1, "name": "Björk"}]'
    path = make_zip(tmp_path / "z.zip", {"saved again.json": text.encode(encoding)})
    (source,) = find_sources([path]).sources
    with source.open() as found:
        assert found.read() == text


@pytest.mark.parametrize(
    "row",
    [extended(A, 0, 100), account(A, 0, 100), {"kind": "item", "key": "track:1", "fields": {}}],
    ids=["extended", "account", "own"],
)
def test_given_file_may_have_any_name(tmp_path: Path, row: dict[str, object]) -> None:
    assert names(write(tmp_path / "what I heard.txt", [row])) == ["what I heard.txt"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        *(
            (content, "contains no plays")
            for content in ("[1]", "[" * 100_000, "{}", '{"playlists": []}', "hello", "a,b,c,d\n1,2,3,4")
        ),
        *((content, "empty") for content in ("", " \n", "\ufeff", "[ ]")),
        ("\n<!DOCTYPE html><title>Log in", "web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ('[{"header": "YouTube Music", "title": "Watched A", "time": "2025-01-01T00:00:00Z"}]', "YouTube"),
        ("Apple Music - Track Play History\n", "Apple Music"),
        ("second,started_at,ended_at\n1,2,3\n", "--jsonl"),
    ],
)
def test_given_file_without_plays_is_named_for_what_it_is(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / "file").write_text(content)
    assert word in refusal(tmp_path / "file")


def test_what_is_in_place_of_a_file_is_named_in_a_folder_too(tmp_path: Path) -> None:
    for name, content in {
        "Streaming_History_Audio_1.json": "version https://git-lfs.github.com/spec/v1\n",
        "b.json": "<html>",
        "c.json": "",
        "d.txt": "",
        "e.json": "[]",
        "endsong_0.json": '[{"ts',
        "endsong_1.json": "\0",
    }.items():
        (tmp_path / name).write_text(content)
    found = find_sources([tmp_path])
    reasons = [reason.split()[:2] for _, reason in sorted(found.refused)]
    assert reasons == [["a", "Git"], ["a", "web"], ["empty:", "download"], ["contains", "no"]]
    assert (names(tmp_path), found.others) == (["endsong_0.json"], 2)


def test_users_have_to_be_chosen_if_there_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ann", "bob"):
        (tmp_path / user / "MyData").mkdir(parents=True)
        write(tmp_path / user / "Userdata.json", []).write_text(f'{{"username": "{user}", "email": "?"}}')
        write(tmp_path / user / "MyData" / f"StreamingHistory_{user}.json", [account(A, 60, 50)])
    write(tmp_path / "endsong_ann.json", [extended(A, 0, 100, username="ann")])
    write(tmp_path / "Streaming_History_Audio_2026.json", [extended(A, 0, 100)])
    (tmp_path / "koito.json").write_text(
        '{"user": "annie", "listens": [{"listened_at": "", "track": {}, "artists": []}]}'
    )
    with pytest.raises(SpotifyLoggerError, match="--user") as error:
        find_sources([tmp_path])
    assert "ann, annie, bob" in str(error.value)
    with pytest.raises(SpotifyLoggerError, match="to ann:"):
        find_sources([tmp_path / "ann"], ["carl"])
    found = find_sources([tmp_path], ["ann", "annie"])
    assert [{*source.users} for source in found.sources] == [set(), {"ann"}, {"ann"}, {"annie"}]
    assert found.other_users == 1
    assert len(names(tmp_path / "ann", tmp_path / "endsong_ann.json", tmp_path / "koito.json")) == 3
    monkeypatch.chdir(tmp_path / "bob")
    assert [{*source.users} for source in find_sources([Path()]).sources] == [{"bob"}]


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


def test_missing_file_is_an_error_and_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpotifyLoggerError, match=r"missing: No such file"):
        find_sources([tmp_path / "missing"])
    assert find_sources([tmp_path]) == FoundFiles()
    assert "pipe" in refusal(tmp_path, tmp_path / "pipe")


def test_empty_file_in_the_zip_of_another_logger_is_no_error(tmp_path: Path) -> None:
    listen = b'{"listened_at": 1767268800, "track_metadata": {"track_name": "A", "artist_name": "B"}}'
    members = {"listens/2026/1.jsonl": listen, "pinned_recording.jsonl": b""}
    found = find_sources([make_zip(tmp_path / "z.zip", members)])
    assert ([source.service for source in found.sources], found.refused) == (["ListenBrainz"], [])
    assert "empty" in refusal(make_zip(tmp_path / "a.zip", {"endsong_0.json": b""}))


def test_zip_member_is_read_without_unpacking(tmp_path: Path) -> None:
    content = b'[{"ts": 1}, {"ts": 2}]'
    (source,) = find_sources([make_zip(tmp_path / "z.zip", {"a/endsong_0.json": content})]).sources
    assert (source.name, source.size) == (f"{tmp_path}/z.zip/a/endsong_0.json", len(content))
    with source.open() as text:
        assert list(source.rows(text)) == [{"ts": 1}, {"ts": 2}]
    assert [path.name for path in tmp_path.iterdir()] == ["z.zip"]


def test_member_that_is_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_MEMBER_BYTES", 1 << 20)
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": b" " * (1 << 21), "endsong_1.json": ROW})
    assert names(path) == ["endsong_1.json"]
    assert "gigabyte" in refusal(path)


def test_zip_bomb_with_a_wrong_size_gives_no_more_than_that(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": b" " * (1 << 25)})
    size, wrong_size = ((1 << 25).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(path.read_bytes().replace(size, wrong_size))
    assert "Bad CRC-32" in refusal(path)


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
    found = find_sources([tmp_path])
    path.unlink()
    assert [(name, "cannot be read" in reason) for name, reason in found.refused] == [
        (f"{zipped}/endsong_0.json", True)
    ]
    with pytest.raises(UnreadableFile, match="cannot be read"), found.sources[0].open():
        pass


def test_zip_with_very_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ZIP_MEMBERS", 1)
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW, "endsong_1.json": ROW})
    assert "very many files" in refusal(path)
