"""Settings in files: `auth.py` and `.env`."""

import ast
import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from spotify_logger.config.sources import AUTH_FILE, RawSetting
from spotify_logger.system import atomic_file, ownership
from spotify_logger.system.errors import Misconfigured

AUTH_NAMES = ("client_id", "client_secret", "redirect_uri")  # everything else in `auth.py` is ignored


def read_settings(path: Path) -> Iterator[RawSetting]:
    """Yield the settings of an `auth.py` or a `.env`; Misconfigured if it is invalid or not trusted."""

    def require_trust(what: str, which: Path, status: os.stat_result) -> None:
        if reason := ownership.distrust_reason(which, status):
            trouble = f"{path} is not trusted, because {what} {reason}"
            raise Misconfigured(f"{trouble}: correct that, or run this in another folder")

    try:  # whoever can change it or its folder could redirect the secrets
        require_trust("its folder", path.parent, path.parent.stat())
        source = atomic_file.read(path, partial(require_trust, "it", path)) or b""
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}): correct its owner or mode") from None
    yield from parse_auth_file(source, path) if path.name == AUTH_FILE else _parse_dotenv(source, path)


def parse_auth_file(source: bytes, path: Path | str) -> Iterator[RawSetting]:
    """Yield the strings that `auth.py` (never run) assigns to `AUTH_NAMES`; Misconfigured if invalid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes; the values are validated anyway
            tree = ast.parse(source)
    except SyntaxError as error:
        raise Misconfigured(f"{path}:{error.lineno or 1} is not valid Python ({error.msg})") from None
    except (ValueError, MemoryError, RecursionError):
        raise Misconfigured(f"{path} is not valid Python") from None
    for statement in tree.body:
        match statement:
            case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                if name not in AUTH_NAMES:
                    continue
                setting = RawSetting(name, "", f"{path}:{value.lineno}")
                if not isinstance(value, ast.Constant) or not isinstance(value.value, str | None):
                    raise setting.error("must be a quoted string: the file is read, not run")
                yield replace(setting, value=value.value or "")


def _parse_dotenv(source: bytes, path: Path) -> Iterator[RawSetting]:
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text: write it again") from None
    try:
        from dotenv.parser import parse_stream  # noqa: PLC0415 - start-up time: most have no such file
    except ImportError:  # packages are missing, and the alert about that needs ALERT_URL
        for text_line in text.splitlines():
            name, _, value = text_line.partition("=")
            yield RawSetting(name.strip().removeprefix("export "), value.partition(" #")[0], str(path))
        return
    # Values are taken literally: `${...}` in a password does not refer to another variable.
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        line = binding.original.line + original[: -len(original.lstrip()) or None].count("\n")
        if binding.error:
            raise Misconfigured(f"{path}:{line} is not a NAME=value line: correct it, or put a # before it")
        if binding.key:
            yield RawSetting(binding.key, binding.value or "", f"{path}:{line}")
