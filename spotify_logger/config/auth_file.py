"""`auth.py` as data: it is parsed, never run."""

from __future__ import annotations

import ast
import warnings
from importlib.util import decode_source
from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured, bounded_nesting

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("client_id", "client_secret", "redirect_uri")
"""The names that are read; everything else in the file is ignored."""


def parse(source: bytes, path: str) -> dict[str, tuple[str, int]]:
    """Return value and line of each of `NAMES` assigned at the top level; the last assignment counts.

    Raises:
        Misconfigured: It is not valid Python, or one of the names is not assigned a quoted string.
    """
    values = {}
    for name, node in _assignments(decode(source, path), path):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str | None):
            raise Misconfigured(
                f"{name} in {path}:{node.lineno} must be a quoted string: the file is read, not run"
            )
        values[name] = node.value or "", node.lineno
    return values


def decode(source: bytes, path: str) -> str:
    """Return the text of the file, which may declare its encoding, like any Python file."""
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
