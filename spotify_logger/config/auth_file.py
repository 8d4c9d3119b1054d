"""`auth.py` as data: it is parsed, never run, and values are filled in without touching the rest."""

from __future__ import annotations

import ast
import re
import warnings
from functools import partial
from importlib.util import decode_source
from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured, bounded_nesting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("client_id", "client_secret", "redirect_uri")
"""The names that are read; everything else in the file is ignored."""


def parse(source: bytes, path: str) -> dict[str, tuple[str, int]]:
    """Return value and line of each of `NAMES` assigned at the top level; the last assignment counts.

    Args:
        source: The content of the file, which may declare its encoding, like any Python file.
        path: The name of the file in errors.

    Raises:
        Misconfigured: It is not valid Python, or one of the names is not assigned a quoted string.
    """
    values = {}
    for name, node in _assignments(_decode(source, path), path):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str | None):
            raise Misconfigured(
                f"{name} in {path}:{node.lineno} must be a quoted string: the file is read, not run"
            )
        values[name] = node.value or "", node.lineno
    return values


def fill(source: bytes, path: str, values: Mapping[str, str]) -> str:
    """Return the text of the file with some of `NAMES` set: where it has "" for them, or at its end.

    Raises:
        Misconfigured: See `parse`; or it declares an encoding other than UTF-8, in which it is written.
    """
    text = _decode(source, path)
    for name, value in values.items():
        blank = re.compile(rf"^({name} *(?:: *str *)?= *)(?:\"\"|'')(?=\s*(?:#|$))", re.MULTILINE)
        text = blank.sub(partial(_with_value, value), text)
    text += "\n" if text and not text.endswith("\n") else ""
    written = parse(text.encode(), path)
    missing = [name for name in values if name not in written or written[name][0] != values[name]]
    text += "".join(f"{name} = {values[name]!r}\n" for name in missing)
    if _decode(text.encode(), path) != text:
        raise Misconfigured(f"{path} is not UTF-8 text: write it again")
    return text


def _with_value(value: str, found: re.Match[str]) -> str:
    return found[1] + repr(value)


def _decode(source: bytes, path: str) -> str:
    try:
        text = decode_source(source)
        text.encode()
    except (SyntaxError, ValueError, LookupError):
        raise Misconfigured(f"{path} is not UTF-8 text: write it again") from None
    return text


def _assignments(text: str, path: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield name and value of `name = value` and `name: str = value`."""
    try:
        with bounded_nesting(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes; the values are validated anyway
            tree = ast.parse(text)
    except SyntaxError as error:
        raise Misconfigured(f"{path}:{error.lineno or 1} is not valid Python ({error.msg})") from None
    except (ValueError, MemoryError):
        raise Misconfigured(f"{path} is not valid Python") from None
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            yield from ((name, statement.value) for name in names if name in NAMES)
