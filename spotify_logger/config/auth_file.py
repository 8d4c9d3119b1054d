"""`auth.py` as data: its text is parsed and never run, and filled in without touching what else it says."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from importlib.util import decode_source
from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("client_id", "client_secret", "redirect_uri")
"""The names that are looked for; whatever else the file says is left alone."""


@dataclass(frozen=True)
class AuthValue:
    """The text given to one name, and the line where it stands, counted from 1."""

    text: str = field(repr=False)
    line: int


def parse(source: bytes, path: str) -> dict[str, AuthValue]:
    """Return the values of `NAMES` that `source` assigns at its top level; the last one of a name counts.

    Args:
        source: The bytes of the file, which may declare their encoding, as in any Python file.
        path: How errors call the file.

    Raises:
        Misconfigured: The text is no Python, or gives one of the names something else than a quoted text.
    """
    return _values(_decode(source, path), path)


def fill(source: bytes, path: str, values: Mapping[str, str]) -> str:
    """Return the text with `values` put in place of what stood there; names it lacks are added at its end.

    Args:
        source: The bytes of the file; empty where there is none yet.
        path: How errors call the file.
        values: Names out of `NAMES`, and what to give them.

    Raises:
        Misconfigured: See `parse`; or the text, which is written in UTF-8, declares another encoding.
    """
    text = _decode(source, path)
    lines = text.encode().split(b"\n")
    for name, node, alone in reversed(list(_assignments(text, path))):
        if alone and name in values:
            _put(lines, node, repr(values[name]).encode())
    filled = b"\n".join(lines).decode()
    filled += "\n" if filled and not filled.endswith("\n") else ""
    written = _values(filled, path)
    missing = [name for name in values if name not in written or written[name].text != values[name]]
    filled += "".join(f"{name} = {values[name]!r}\n" for name in missing)
    if _decode(filled.encode(), path) != filled:
        raise Misconfigured(f"{path} is not text in UTF-8: write it again")
    return filled


def _decode(source: bytes, path: str) -> str:
    try:
        text = decode_source(source)
        text.encode()
    except (SyntaxError, ValueError, LookupError):
        raise Misconfigured(f"{path} is not text in UTF-8: write it again") from None
    return text


def _values(text: str, path: str) -> dict[str, AuthValue]:
    values = {}
    for name, node, _ in _assignments(text, path):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str | None):
            raise Misconfigured(
                f"{name} in {path}:{node.lineno} must be a text in quotes: the file is read, not run"
            )
        values[name] = AuthValue(node.value or "", node.lineno)
    return values


def _assignments(text: str, path: str) -> Iterator[tuple[str, ast.expr, bool]]:
    """Yield name, value and "this name alone is given it", for `name = value` and `name: str = value`."""
    tree = _tree(text, path)
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                yield from (
                    (target.id, value, len(targets) == 1)
                    for target in targets
                    if isinstance(target, ast.Name) and target.id in NAMES
                )
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name in NAMES:
                yield name, value, True


def _tree(text: str, path: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes; the values are checked anyway
            return ast.parse(text)
    except SyntaxError as error:
        raise Misconfigured(f"{path}:{error.lineno or 1} is not valid Python ({error.msg})") from None
    except (ValueError, RecursionError, MemoryError):
        raise Misconfigured(f"{path} is not valid Python") from None


def _put(lines: list[bytes], node: ast.expr, text: bytes) -> None:
    # ast counts columns in bytes of UTF-8, and lines from 1.
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    head, tail = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    lines[first : last + 1] = [head + text + tail]
