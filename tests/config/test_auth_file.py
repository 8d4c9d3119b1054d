from __future__ import annotations

import warnings
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.config.files import parse_auth_file
from spotify_logger.daemon.preflight import fill_auth_file
from spotify_logger.system.errors import Misconfigured


def parse(source: bytes) -> dict[str, str]:
    return {setting.name: setting.value for setting in parse_auth_file(source, "auth.py")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("client_id = \"abc\"\nclient_secret = 'def'\n", {"client_id": "abc", "client_secret": "def"}),
        ("client_secret = None\nclient_id: str", {"client_secret": ""}),
        ('"""words"""\nimport os\nscope = os.environ["X"]\nother.client_id = 1', {}),
        (b'# -*- coding: latin-1 -*-\nclient_id = "\xe4"', {"client_id": "ä"}),
        (b'\xef\xbb\xbfclient_id = "abc"\r\n', {"client_id": "abc"}),
        (r'client_id = "a\dc"', {"client_id": r"a\dc"}),
    ],
)
def test_values_are_read_without_running_the_file(source: bytes | str, expected: dict[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(source.encode() if isinstance(source, str) else source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b'x = 1\nclient_id = os.environ["X"]', r"client_id in auth\.py:2 must be a quoted string"),
        (b'client_id = f"{x}"', r"auth\.py:1 must be"),
        (b"\n\nclient_id = 'abc", r"auth\.py:3 is not valid Python"),
        (b"# coding: unicode_escape\nx = '\\ud800'\n", r"auth\.py.* is not valid Python"),
        (b"-" * 60_000 + b"1", r"auth\.py.* is not valid Python"),
    ],
)
def test_an_invalid_file_is_reported_in_one_line(source: bytes, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        parse(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", "client_id = 'A'\nclient_secret = 'B'\n"),
        (
            '# ä\nclient_secret = ""  # kept\nclient_id: str = ""\nmine = 1',
            "# ä\nclient_secret = 'B'  # kept\nclient_id: str = 'A'\nmine = 1\n",
        ),
        (
            'client_id = ("x"\n"y")\nx = 1; client_secret = ""\r\n',
            'client_id = ("x"\n"y")\nx = 1; client_secret = ""\r\nclient_id = \'A\'\nclient_secret = \'B\'\n',
        ),
        (
            "client_id = client_secret = ''",
            "client_id = client_secret = ''\nclient_id = 'A'\nclient_secret = 'B'\n",
        ),
    ],
)
def test_filling_in_changes_only_the_values(source: str, expected: str) -> None:
    filled = fill_auth_file(source.encode(), "auth.py", {"client_id": "A", "client_secret": "B"})
    assert filled == expected
    assert parse(filled.encode()) == {"client_id": "A", "client_secret": "B"}


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"client_id = {text}".encode()))
def test_garbage_is_read_or_refused(source: bytes) -> None:
    with suppress(Misconfigured):
        parse(source)


TEXTS = st.text("!\"#'\\{}azAZ09~ä", max_size=20)


@given(TEXTS, TEXTS)
def test_filled_in_values_are_read_again(client_id: str, secret: str) -> None:
    source = b'"""Words."""\nclient_id = "x"\nclient_secret = "y"  # here\n'
    filled = fill_auth_file(source, "auth.py", {"client_id": client_id, "client_secret": secret})
    assert parse(filled.encode()) == {"client_id": client_id, "client_secret": secret}
