from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer import files
from spotify_logger.transfer.importer.files import FoundFiles, find_sources
from spotify_logger.transfer.importer.json_stream import UnreadableFile, read_elements
from tests.exports import A, account, extended, write

if TYPE_CHECKING:
    from pathlib import Path

ROW = b'[{"ts": "2025-01-01T00:00:00Z"}]'


def found(*paths: Path) -> FoundFiles:
    return find_sources(paths)


def names(*paths: Path) -> list[str]:
    return [os.path.basename(source.name) for source in found(*paths).sources]  # noqa: PTH119 - of a member too


def refused(*paths: Path) -> str:
    """Why the only one that is refused is."""
    ((_, why),) = found(*paths).refused
    return why


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("name", "is_history"),
    [
        ("Streaming_History_Audio_2019-2020_1.json", True),
        ("Streaming_History_Audio_2025.json", True),
        ("endsong_0.json", True),
        ("endsong.json", True),
        ("StreamingHistory0.json", True),
        ("StreamingHistory_music_0.json", True),
        ("StreamingHistory_podcast_12.json", True),
        ("Streaming_History_Video_2019.json", False),
        ("Playlist1.json", False),
        ("YourLibrary.json", False),
        ("ReadMeFirst_ExtendedStreamingHistory.pdf", False),
        ("._Streaming_History_Audio_2025.json", False),
    ],
)
def test_in_folders_and_zips_files_are_known_by_their_names(
    tmp_path: Path,
    name: str,
    is_history: bool,  # noqa: FBT001 - a table
) -> None:
    (tmp_path / "MyData").mkdir()
    (tmp_path / "MyData" / name).write_bytes(ROW)
    zipped = make_zip(tmp_path / "my_spotify_data.zip", {f"Spotify Account Data/{name}": ROW})
    expected = [name] if is_history else []
    assert (names(tmp_path / "MyData"), names(zipped)) == (expected, expected)
    assert names(tmp_path) == 2 * expected


def test_what_is_no_history_is_counted(tmp_path: Path) -> None:
    for name in ("Streaming_History_Video_2019.json", "Playlist1.json", "Userdata.json"):
        (tmp_path / name).write_bytes(b"{}")
    assert (found(tmp_path).videos, found(tmp_path).others) == (1, 2)
    assert found(tmp_path / "Streaming_History_Video_2019.json").videos == 1


@pytest.mark.parametrize(
    "row",
    [extended(A, 0, 100), account(A, 0, 100), {"kind": "item", "key": "track:1", "fields": {}}],
    ids=["extended", "account", "own"],
)
def test_a_file_that_is_named_may_be_called_anything(tmp_path: Path, row: dict[str, object]) -> None:
    assert names(write(tmp_path / "what I heard.txt", [row])) == ["what I heard.txt"]


def test_a_file_that_is_named_and_holds_no_plays_is_refused(tmp_path: Path) -> None:
    for content in ("[1]", "{}", '{"playlists": []}', "hello", ""):
        (tmp_path / "file").write_text(content)
        assert "contains no plays" in refused(tmp_path / "file")


def test_exports_of_this_program_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("backup.jsonl", "spotify-logger-2026.json"):
        (tmp_path / name).write_text('{"kind": "gap", "second": 1, "fields": {}}\n')
    (tmp_path / "something.jsonl").write_text('{"level": "info"}\n')
    assert names(tmp_path) == ["backup.jsonl", "spotify-logger-2026.json"]
    assert found(tmp_path).others == 1


def test_a_file_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "endsong_0.json", [])
    (tmp_path / "endsong_1.json").symlink_to(path)
    assert names(path, tmp_path, path) == ["endsong_0.json"]


def test_links_that_lead_in_circles_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "outer").symlink_to(tmp_path)
    (tmp_path / "inner" / "endsong_0.json").symlink_to(tmp_path / "inner" / "endsong_0.json")
    write(tmp_path / "inner" / "endsong_1.json", [])
    assert names(tmp_path) == ["endsong_1.json"]
    assert refused(tmp_path) == "cannot be read: Too many levels of symbolic links"


def test_folders_are_not_looked_into_for_ever(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    write(deep / "endsong_0.json", [])
    assert refused(tmp_path) == "nested too deeply: name this folder itself"
    assert names(deep) == ["endsong_0.json"]


def test_where_there_is_nothing_is_said_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpotifyLoggerError, match=r"cannot read .*missing: No such file or directory"):
        found(tmp_path / "missing")
    with pytest.raises(SpotifyLoggerError, match="pipe is not a regular file"):
        found(tmp_path / "pipe")
    assert found(tmp_path) == FoundFiles()


# Zips


def test_a_member_is_read_where_it_lies(tmp_path: Path) -> None:
    content = b'[{"ts": 1}, {"ts": 2}]'
    (source,) = found(make_zip(tmp_path / "z.zip", {"a/endsong_0.json": content})).sources
    assert (source.name, source.size) == (f"{tmp_path}/z.zip/a/endsong_0.json", len(content))
    with source.open() as stream:
        assert [more for _, more in read_elements(stream) if more] == [[{"ts": 1}, {"ts": 2}]]
    with source.open(12) as stream:
        assert stream.read() == content[12:]
    assert [path.name for path in tmp_path.iterdir()] == ["z.zip"]


@pytest.mark.parametrize("name", ["../endsong_0.json", "/etc/endsong_0.json", "a/../../b", "C:/x", "..\\x"])
def test_a_zip_that_names_files_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_1.json": ROW, name: ROW})
    assert (names(path), refused(path)) == (
        [],
        "contains paths that lead out of it, which Spotify's zips never do",
    )


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": b" " * (1 << 25), "endsong_1.json": ROW})
    assert (names(path), refused(path)) == (
        ["endsong_1.json"],
        "far too large when unpacked: it is a zip bomb",
    )


def test_a_zip_bomb_that_lies_about_its_length_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": b" " * (1 << 25)})
    lie = path.read_bytes().replace((1 << 25).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(lie)
    (source,) = found(path).sources
    with (
        source.open() as stream,
        pytest.raises(UnreadableFile, match="cannot be read any further: Bad CRC-32"),
    ):
        list(read_elements(stream))


def test_a_zip_whose_files_lie_over_each_other_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {f"endsong_{n}.json": bytes(range(256)) * 9 for n in range(2)})
    content = path.read_bytes()
    size = zipfile.ZipFile(path).infolist()[0].compress_size
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (len(content) * 2).to_bytes(4, "little")))
    assert refused(path) == "its files overlap: it is a zip bomb"


def test_a_zip_in_a_zip_is_refused(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"endsong_0.json": ROW})
    outer = make_zip(tmp_path / "outer.zip", {"inner.zip": inner.read_bytes()})
    assert (names(outer), refused(outer)) == ([], "a zip inside a zip: unpack the outer one")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert refused(path) == "encrypted: unpack it with its password"


def test_a_member_that_is_packed_in_a_way_without_bounds_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW}, zipfile.ZIP_LZMA)
    assert "a compression method that Spotify does not use" in refused(path)


def test_a_zip_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": ROW * 100})
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a readable zip" in refused(tmp_path)
    assert "not a readable zip" in refused(path)


def test_a_member_that_is_garbled_is_broken(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"endsong_0.json": os.urandom(5000)})
    content = bytearray(path.read_bytes())
    content[0:4] = b"nope"
    path.write_bytes(content)
    (source,) = found(path).sources
    with pytest.raises(UnreadableFile, match="cannot be read: "), source.open():
        pass


def test_a_file_that_is_gone_meanwhile_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "endsong_0.json", [])
    (source,) = found(path).sources
    path.unlink()
    with pytest.raises(UnreadableFile, match="cannot be read: No such file or directory"), source.open():
        pass


@pytest.mark.parametrize("count", [files.MAX_ZIP_MEMBERS + 1, 100_000])
def test_a_zip_of_very_many_files_is_one_line(tmp_path: Path, count: int) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("endsong_0.json", ROW)
    # The list again and again, as it is written at the end; it takes long to make such a zip in a proper way.
    content = path.read_bytes()
    begin = content.index(b"PK\x01\x02")
    entry = content[begin : content.index(b"PK\x05\x06")]
    listed = b"".join(entry.replace(b"endsong_0", b"%09d" % number) for number in range(count))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *2 * [min(count, 65535)], len(listed), begin, 0)
    path.write_bytes(content[:begin] + listed + end)
    tracemalloc.start()
    assert refused(path).startswith("contains far more files")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_zip_with_as_many_files_as_may_be(tmp_path: Path) -> None:
    path = make_zip(
        tmp_path / "z.zip", {f"endsong_{number}.json": ROW for number in range(files.MAX_ZIP_MEMBERS)}
    )
    assert len(names(path)) == files.MAX_ZIP_MEMBERS


def test_a_zip_that_names_a_file_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("endsong_0.json", ROW)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("endsong_0.json", ROW)
    assert (names(path), refused(path)) == ([], "lists a file twice, which Spotify's zips never do")
