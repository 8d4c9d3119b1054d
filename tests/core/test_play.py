from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

import pytest

from spotify_logger.core import times
from spotify_logger.core.periods import Zone
from spotify_logger.core.play import Play, format_duration, format_play, format_title
from spotify_logger.core.player_state import Item
from spotify_logger.core.times import from_iso, local, to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from spotify_logger.core.player_state import FieldValue

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
STARTED_MS = SECOND * 1000 + 123
ITEM = Item("track:4uLU6h", "spotify:track:4uLU6h", 345_000, {"name": "Veridis Quo", "album_id": "2noR"})
FIELDS: Mapping[str, FieldValue] = {
    "id": "4uLU6h",
    "uri": "spotify:track:4uLU6h",
    "type": "track",
    "name": "Veridis Quo",
    "artists": "Daft Punk",
    "album": "Discovery",
    "duration_ms": 345_000,
    "explicit": 0,
    "device_name": "Kitchen",
    "shuffle_state": 1,
    "repeat_state": "off",
    "timestamp": STARTED_MS,
    "progress_ms": 61_000,
    "playing": 1,
}
PLAY = Play(SECOND, ITEM, STARTED_MS, STARTED_MS + 61_000, 60_900, fields=FIELDS)
STORED = {
    "uri": "spotify:track:4uLU6h",
    "type": "track",
    "id": "4uLU6h",
    "started_at": "2026-11-22T18:00:00.123Z",
    "ended_at": "2026-11-22T18:01:01.123Z",
    "ms_played": "60900",
}
"""The fields of a hash that are required."""


MISSING = "missing"


class TestHash:
    def test_a_play_adds_its_fields_to_those_of_the_player_state(self) -> None:
        assert PLAY.to_hash() == {
            **FIELDS,
            "started_at": "2026-11-22T18:00:00.123Z",
            "ended_at": "2026-11-22T18:01:01.123Z",
            "ms_played": 60_900,
            "source": "live",
        }
        assert PLAY.index == "track:4uLU6h 60900 open"

    @pytest.mark.parametrize(("reason", "source"), [(None, "live"), ("trackdone", "backfill")])
    def test_a_play_is_read_back(self, reason: str | None, source: str) -> None:
        play = Play(SECOND, ITEM, STARTED_MS, STARTED_MS + 9, 9, reason, source, FIELDS)
        stored = {name: str(value) for name, value in play.to_hash().items()}
        assert stored.get("end_reason") == reason
        again = Play.from_hash(SECOND, stored)
        assert again is not None
        assert again.to_hash() == play.to_hash()
        assert (again.second, again.item.key, again.item.duration_ms) == (SECOND, ITEM.key, 345_000)

    def test_required_fields_are_enough_and_invalid_others_ignored(self) -> None:
        others = {"duration_ms": "long", "playing": "yes", "progress_ms": "", "timestamp": "-1", "x": ""}
        play = Play.from_hash(SECOND, STORED | others)
        assert play is not None
        assert (play.item.key, play.ms_played, play.end_reason) == ("track:4uLU6h", 60_900, None)
        assert play.item.duration_ms is None
        assert "x" not in play.fields

    @pytest.mark.parametrize(
        "changes",
        [
            *({name: MISSING} for name in ("uri", "started_at", "ended_at", "ms_played")),
            {"started_at": "1969-12-31T23:59:59.999Z"},
            {"ended_at": "2026-11-22T17:59:59.999Z"},
            {"ms_played": "-5"},
            {"ms_played": "61001"},
            {"id": "two words"},
            {"type": "chapter"},
        ],
    )
    def test_an_invalid_hash_is_not_a_play(self, changes: dict[str, str]) -> None:
        fields = {name: text for name, text in {**STORED, **changes}.items() if text != MISSING}
        assert Play.from_hash(SECOND, fields) is None


class TestDisplay:
    def test_title(self) -> None:
        assert format_title({"album": "The Show", "name": "#1: Hello"}) == "The Show – #1: Hello"
        assert format_title({}) == "untitled"

    def test_duration(self) -> None:
        assert list(map(format_duration, (999, 3_599_999, 3_661_000))) == ["0:00", "59:59", "1:01:01"]

    def test_play(self) -> None:
        assert format_play(PLAY) == "Daft Punk – Veridis Quo, 1:00 of 5:45, Kitchen"
        unknown = Item("local:0", "spotify:local:::Demo:0", None, {})
        assert format_play(Play(1, unknown, 1000, 9000, 8000, fields={"name": "Demo"})) == "Demo, 0:08"


@pytest.mark.parametrize(
    ("text", "stamp_ms"),
    [
        ("1969-12-31T23:59:59.999Z", None),
        ("9999-12-31T23:59:59.999Z", None),
        ("2026-11-22T19:00:00+01:00", SECOND * 1000),
        ("2026-11-22T18:00:00", SECOND * 1000),
        ("2026-11-22T18:00:00.1234567Z", STARTED_MS),
        ("0001-01-01T00:00:00+23:59", None),
        ("22.11.2026", None),
        ("1795370400", None),
        ("", None),
    ],
)
def test_iso_is_read(text: str, stamp_ms: int | None) -> None:
    assert from_iso(text) == stamp_ms


def test_iso_is_written() -> None:
    assert to_iso(STARTED_MS) == "2026-11-22T18:00:00.123Z"
    assert to_iso(-1) == "1969-12-31T23:59:59.999Z"


class Datetime32(datetime):
    """The datetime of a 32-bit system."""

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: tzinfo | None = None) -> Self:
        if timestamp >= 2**31:
            raise OverflowError
        return super().fromtimestamp(timestamp, tz)

    def timestamp(self) -> float:
        if self.year > 2037 and self.tzinfo is None:
            raise OverflowError
        return super().timestamp()


def test_local_times_also_after_2038_on_a_32_bit_system(
    monkeypatch: pytest.MonkeyPatch, set_timezone: Callable[[str], None]
) -> None:
    set_timezone("XXX2")  # two hours behind UTC
    assert local(SECOND + 0.5) == datetime(2026, 11, 22, 16, 0, 0, 500_000)  # noqa: DTZ001
    assert Zone().second(local(SECOND)) == SECOND
    monkeypatch.setattr(times, "datetime", Datetime32)
    assert local(SECOND) == datetime(2026, 11, 22, 16)  # noqa: DTZ001
    assert local(2**33) == datetime(2242, 3, 16, 12, 56, 32)  # noqa: DTZ001
    assert Zone().second(Datetime32(2242, 3, 16, 12, 56, 32)) == 2**33
