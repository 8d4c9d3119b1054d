from __future__ import annotations

import warnings
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.config import auth_file
from spotify_logger.system.errors import Misconfigured


def texts(source: bytes) -> dict[str, str]:
    return {name: value.text for name, value in auth_file.parse(source, "auth.py").items()}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", {}),
        ("client_id = \"abc\"\nclient_secret = 'def'\n", {"client_id": "abc", "client_secret": "def"}),
        ('client_id: str = "abc"', {"client_id": "abc"}),
        ('client_id = "a" "b"', {"client_id": "ab"}),
        ('client_id = client_secret = "abc"', {"client_id": "abc", "client_secret": "abc"}),
        ('client_id = "old"\nclient_id = "new"', {"client_id": "new"}),
        ("client_secret = None", {"client_secret": ""}),
        ("client_id: str", {}),
        ('"""words"""\nimport os\nscope = os.environ["X"]\nother.client_id = 1', {}),
        (b'# -*- coding: latin-1 -*-\nclient_id = "\xe4"', {"client_id": "ä"}),
        (b'\xef\xbb\xbfclient_id = "abc"\r\n', {"client_id": "abc"}),
        (r'client_id = "a\dc"', {"client_id": r"a\dc"}),
    ],
)
def test_values_are_read_and_nothing_is_run(source: bytes | str, expected: dict[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts(source.encode() if isinstance(source, str) else source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('x = 1\nclient_id = os.environ["X"]', r"client_id in auth\.py:2 must be a quoted string"),
        ('client_id = f"{x}"', r"auth\.py:1 must be"),
        ("client_id = 12", r"auth\.py:1 must be"),
        ('client_id = b"abc"', r"auth\.py:1 must be"),
        ("\n\nclient_id = 'abc", r"auth\.py:3 is not valid Python \(unterminated"),
        ("client_id = abc def", r"auth\.py:1 is not valid Python"),
        (b"\xff\xfe\x00", r"auth\.py is not UTF-8 text"),
        (b"#\x80", r"auth\.py is not UTF-8 text"),
        (b"# coding: hex\n", r"auth\.py is not UTF-8 text"),
        (b"# coding: unicode_escape\nx = '\\ud800'\n", r"auth\.py is not UTF-8 text"),
        (b"client_id = '\x00'", r"auth\.py.* is not valid Python"),
        ("(" * 5000, r"auth\.py.* is not valid Python"),
        ("-" * 60_000 + "1", r"auth\.py.* is not valid Python"),
    ],
)
def test_what_is_no_text_is_one_line(source: bytes | str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        auth_file.parse(source.encode() if isinstance(source, str) else source, "auth.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"", b"client_id = 'A'\nclient_secret = 'B'\n"),
        (b'client_id = ""', b"client_id = 'A'\nclient_secret = 'B'\n"),
        (
            b'# \xc3\xa4\nclient_secret = ""  # kept\nclient_id = ("x"\n  "y")  # too\nmine = 1\n',
            b"# \xc3\xa4\nclient_secret = 'B'  # kept\nclient_id = ('A')  # too\nmine = 1\n",
        ),
        (
            b'x = "\xc3\xa4"; client_id = ""; client_secret: str = ""\r\n',
            b"x = \"\xc3\xa4\"; client_id = 'A'; client_secret: str = 'B'\n",
        ),
        (
            b"client_id = client_secret = ''",
            b"client_id = client_secret = ''\nclient_id = 'A'\nclient_secret = 'B'\n",
        ),
    ],
)  # fmt: skip
def test_filling_in_changes_the_values_and_nothing_else(source: bytes, expected: bytes) -> None:
    filled = auth_file.fill(source, "auth.py", {"client_id": "A", "client_secret": "B"})
    assert filled.encode() == expected
    assert texts(filled.encode()) == {"client_id": "A", "client_secret": "B"}


def test_a_file_that_makes_no_sense_is_not_filled_in() -> None:
    with pytest.raises(Misconfigured, match="not valid Python"):
        auth_file.fill(b"client_id = (", "auth.py", {"client_id": "A"})


def test_a_file_that_would_be_read_as_another_is_not_filled_in() -> None:
    latin = '# coding: latin-1\nclient_id = ""  # \xe4\n'.encode("latin-1")
    with pytest.raises(Misconfigured, match=r"^auth\.py is not UTF-8 text: write it again$"):
        auth_file.fill(latin, "auth.py", {"client_id": "A"})
    ascii_only = b"# coding: latin-1\nclient_id = ''\n"
    filled = auth_file.fill(ascii_only, "auth.py", {"client_id": "A"})
    assert filled == "# coding: latin-1\nclient_id = 'A'\n"


@settings(deadline=None)
@given(st.text("!\"#'\\{}azAZ09~ä", max_size=20), st.text("!\"#'\\{}azAZ09~ä", max_size=20))
def test_what_is_filled_in_is_read_again(client_id: str, secret: str) -> None:
    source = b'"""Words."""\nclient_id = "x"\nclient_secret = "y"  # here\n'
    filled = auth_file.fill(source, "auth.py", {"client_id": client_id, "client_secret": secret})
    assert texts(filled.encode()) == {"client_id": client_id, "client_secret": secret}


ODD_LINES = st.text(max_size=200).map(lambda text: f"client_id = {text}".encode("utf-8", "replace"))


@settings(deadline=None)
@given(st.binary(max_size=200) | ODD_LINES)
def test_garbage_is_read_or_refused(source: bytes) -> None:
    with suppress(Misconfigured):
        auth_file.parse(source, "auth.py")
    with suppress(Misconfigured):
        auth_file.fill(source, "auth.py", {"client_id": "A"})
