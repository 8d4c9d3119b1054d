"""`auth.py` as data: it is parsed, never run, and values are filled in without touching the rest."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from importlib.util import decode_source
from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured, bounded_nesting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("client_id", "client_secret", "redirect_uri")
"""The names that are read; everything else in the file is ignored."""


@dataclass(frozen=True)
class AuthValue:
    """The string assigned to a name, and its line, counted from 1."""

    text: str = field(repr=False)
    line: int


def parse(source: bytes, path: str) -> dict[str, AuthValue]:
    """Return the values of `NAMES` assigned at the top level of `source`; the last assignment counts.

    Args:
        source: The content of the file, which may declare its encoding, like any Python file.
        path: The name of the file in errors.

    Raises:
        Misconfigured: It is not valid Python, or one of the names is not assigned a quoted string.
    """
    return _values(_decode(source, path), path)


def fill(source: bytes, path: str, values: Mapping[str, str]) -> str:
    """Return the text of the file with `values` filled in; missing names are appended.

    Args:
        source: The content of the file; empty if there is none yet.
        path: The name of the file in errors.
        values: Some of `NAMES`, and their new values.

    Raises:
        Misconfigured: It is not valid Python, one of the names is not assigned a quoted string, or it
            declares an encoding other than UTF-8, in which the result is written.
    """
    text = _decode(source, path)
    lines = text.encode().split(b"\n")
    for name, node, is_only_target in reversed(list(_assignments(text, path))):
        if is_only_target and name in values:
            _replace_node(lines, node, repr(values[name]).encode())
    filled = b"\n".join(lines).decode()
    filled += "\n" if filled and not filled.endswith("\n") else ""
    written = _values(filled, path)
    missing = [name for name in values if name not in written or written[name].text != values[name]]
    filled += "".join(f"{name} = {values[name]!r}\n" for name in missing)
    if _decode(filled.encode(), path) != filled:
        raise Misconfigured(f"{path} is not UTF-8 text: write it again")
    return filled


def _decode(source: bytes, path: str) -> str:
    try:
        text = decode_source(source)
        text.encode()
    except (SyntaxError, ValueError, LookupError):
        raise Misconfigured(f"{path} is not UTF-8 text: write it again") from None
    return text


def _values(text: str, path: str) -> dict[str, AuthValue]:
    values = {}
    for name, node, _ in _assignments(text, path):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str | None):
            raise Misconfigured(
                f"{name} in {path}:{node.lineno} must be a quoted string: the file is read, not run"
            )
        values[name] = AuthValue(node.value or "", node.lineno)
    return values


def _assignments(text: str, path: str) -> Iterator[tuple[str, ast.expr, bool]]:
    """Yield name, value and whether it is the only target, for `name = value` and `name: str = value`."""
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
        with bounded_nesting(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes; the values are validated anyway
            return ast.parse(text)
    except SyntaxError as error:
        raise Misconfigured(f"{path}:{error.lineno or 1} is not valid Python ({error.msg})") from None
    except (ValueError, MemoryError):
        raise Misconfigured(f"{path} is not valid Python") from None


def _replace_node(lines: list[bytes], node: ast.expr, text: bytes) -> None:
    # ast counts columns in UTF-8 bytes, and lines from 1.
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    head, tail = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    lines[first : last + 1] = [head + text + tail]
