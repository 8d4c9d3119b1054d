from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from spotify_logger import journal
from spotify_logger.errors import Misconfigured
from spotify_logger.web.password import FREE_TRIES, TRIES_SPAN, VALID, Door, Keep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_secrets", set())


class TestKeep:
    def test_it_makes_a_password_once(self, tmp_path: Path) -> None:
        folder = tmp_path / "not" / "there"
        keep = Keep(folder)
        assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", keep.password)
        assert len(keep.key) == 32
        again = Keep(folder)
        assert (again.password, again.key) == (keep.password, keep.key)
        assert (folder / "web.json").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_each_machine_has_its_own(self, tmp_path: Path) -> None:
        one, other = Keep(tmp_path / "a"), Keep(tmp_path / "b")
        assert one.password != other.password
        assert one.key != other.key

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"key": "ab", "password": "x"}', '{"key": 1}', "null"]
    )
    def test_a_file_that_makes_no_sense_is_replaced(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "web.json").write_text(text)
        keep = Keep(tmp_path)
        assert json.loads((tmp_path / "web.json").read_text())["password"] == keep.password

    def test_a_folder_that_cannot_be_had(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Misconfigured, match=r"web\.json cannot be read or written .*: correct its owner"):
            Keep(tmp_path / "file")

    def test_a_folder_that_others_may_write(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(0o777)
        with pytest.raises(Misconfigured, match="is not trusted"):
            Keep(tmp_path / "state")

    def test_the_password_is_in_no_line_of_the_log(self, tmp_path: Path) -> None:
        keep = Keep(tmp_path)
        assert journal.clean(f"it is {keep.password}") == "it is ***"


class TestDoor:
    @pytest.fixture
    def moment(self) -> list[float]:
        return [1_800_000_000.0]

    @pytest.fixture
    def door(self, moment: list[float]) -> Door:
        return Door("sesame ö", b"key", lambda: moment[0], lambda: moment[0])

    def test_who_knows_the_password_is_let_in(self, door: Door) -> None:
        shown = door.open("sesame ö")
        assert shown is not None
        assert door.lets_in(shown)
        assert door.open(" sesame ö\n")

    @pytest.mark.parametrize("wrong", ["", "sesame", "SESAME Ö", "sesame o"])
    def test_who_does_not_is_not(self, door: Door, wrong: str) -> None:
        assert door.open(wrong) is None

    def test_what_is_shown_is_good_for_a_while(self, door: Door, moment: list[float]) -> None:
        shown = door.open("sesame ö") or ""
        moment[0] += VALID
        assert not door.lets_in(shown)

    def test_what_is_shown_is_void_with_another_password_or_key(self, door: Door) -> None:
        shown = door.open("sesame ö") or ""
        assert not Door("another", b"key", lambda: 0.0).lets_in(shown)
        assert not Door("sesame ö", b"other", lambda: 0.0).lets_in(shown)
        assert Door("sesame ö", b"key", lambda: 0.0).lets_in(shown)

    def test_who_guesses_has_to_wait(self, door: Door, moment: list[float]) -> None:
        for _ in range(FREE_TRIES):
            assert door.wait() == 0
            door.open("guess")
            moment[0] += 1
        assert door.wait() == TRIES_SPAN - FREE_TRIES
        assert door.open("sesame ö") is None
        moment[0] += door.wait()
        assert door.open("sesame ö")
