"""Where a setting comes from: the environment, systemd's credentials, `.env`, `auth.py`, or its default.

The first of these that has a value wins; a blank value counts as none. The environment and `.env` may also
name a file that holds the value, as NAME_FILE; a credential is a file named like the setting.
"""

from __future__ import annotations

import ast
import io
import os
import unicodedata
import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_logger.system import atomic_file, log, ownership
from spotify_logger.system.errors import Misconfigured, bounded_nesting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

AUTH_FILE = "auth.py"
AUTH_NAMES = ("client_id", "client_secret", "redirect_uri")  # everything else in it is ignored
DOTENV_FILE = ".env"

SECRET_SETTINGS = {
    "SPOTIFY_CLIENT_ID": "",
    "SPOTIFY_CLIENT_SECRET": "",
    "SPOTIFY_REFRESH_TOKEN": "",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "ALERT_URL": "",
    "HEARTBEAT_URL": "",
    "WEB_PASSWORD": "",
}
"""The settings that may hold a secret, and the client ID that goes with one; with their defaults."""
PUBLIC_SETTINGS = {
    "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8888/callback",
    "SPOTIFY_API_URL": "https://api.spotify.com",
    "SPOTIFY_ACCOUNTS_URL": "https://accounts.spotify.com",
    "REDIS_PREFIX": "",
    "LISTENER": "",
    "STATE_DIR": "",
    "POLL_MIN": "5",
    "POLL_MAX": "30",
}
"""The settings whose values errors and reports may show; an empty STATE_DIR means a folder of the system."""
DEFAULTS = SECRET_SETTINGS | PUBLIC_SETTINGS

# Characters that are copied along with a value: whitespace, quotes, byte order marks.
_PASTED_CHARACTERS = " \t\r\n\v\f\u00a0\u200b\ufeff\"'`\u201c\u201d\u2018\u2019"


@dataclass(frozen=True)
class RawSetting:
    """A setting as it was found, not yet validated; its source is for people, and "" for the default."""

    name: str
    value: str = field(repr=False)
    origin: str

    @property
    def label(self) -> str:
        """Name and source, as the beginning of an error message."""
        return f"{self.name} in {self.origin}" if self.origin else f"{self.name} (not set)"

    def error(self, text: str) -> Misconfigured:
        """Return the error to raise: what is wrong with it, and what to do."""
        return Misconfigured(f"{self.label} {text}")


def find_settings(directory: Path, environ: Mapping[str, str]) -> dict[str, RawSetting]:
    """Return every setting from the first source that has it; Misconfigured if one cannot be read."""
    environment = _not_blank(RawSetting(name, value, "the environment") for name, value in environ.items())
    dotenv = _not_blank(_parse_dotenv(directory / DOTENV_FILE))
    for name in PUBLIC_SETTINGS:
        if pointer := dotenv.get(f"{name}_FILE"):
            # The value would be shown, and with it the content of any file.
            raise pointer.error(f"is not for a secret: write {name}=... there instead")
    auth = _not_blank(parse_auth_file(_read_trusted(directory / AUTH_FILE), directory / AUTH_FILE))
    # Lazily, in this order: a file that is overridden need not be readable.
    return {
        name: _from_mapping(environment, name, directory, environ)
        or _from_credential(name, environ)
        or _from_mapping(dotenv, name, directory, environ)
        or auth.get(name.removeprefix("SPOTIFY_").lower())
        or RawSetting(name, default, "")
        for name, default in DEFAULTS.items()
    }


def strip_pasted(text: str) -> str:
    """Return `text` without the whitespace and quotes that were copied along with it."""
    return text.strip(_PASTED_CHARACTERS)


def printable(setting: RawSetting) -> str:
    """Return the value of a setting that may hold any text, without control characters (Misconfigured)."""
    if any(unicodedata.category(character)[0] == "C" for character in setting.value):
        raise setting.error("contains a control character: copy it again, without line breaks")
    return setting.value


def expand_home(path: str, environ: Mapping[str, str]) -> Path:
    """Expand a leading "~", as a shell would; raises RuntimeError for a user without a home folder."""
    if path != "~" and not path.startswith("~/"):
        return Path(path)
    return Path(environ.get("HOME") or Path.home(), path[2:])


def _not_blank(settings: Iterable[RawSetting]) -> dict[str, RawSetting]:
    """Return the settings of one source that are not blank, by name; the last of each name counts."""
    stripped = (replace(setting, value=strip_pasted(setting.value)) for setting in settings)
    return {setting.name: setting for setting in stripped if setting.value}


def _from_mapping(
    source: Mapping[str, RawSetting], name: str, directory: Path, environ: Mapping[str, str]
) -> RawSetting | None:
    """Return a setting of the environment or `.env`, given there directly or through NAME_FILE."""
    setting, pointer = source.get(name), source.get(f"{name}_FILE")
    if pointer is None:
        return setting
    if setting is not None:
        raise Misconfigured(f"both {setting.label} and {pointer.label} are set: remove one of them")
    try:
        path = directory / expand_home(printable(pointer), environ)
    except RuntimeError:
        raise pointer.error("begins with ~, but there is no home folder: write the full path") from None
    return _from_file(name, path, pointer.label)


def _from_credential(name: str, environ: Mapping[str, str]) -> RawSetting | None:
    """Return systemd's credential of that name (systemd.exec(5), LoadCredential=)."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not os.access(Path(folder, name), os.F_OK):
        return None
    return _from_file(name, Path(folder, name), f"the credential {name}")


def _from_file(name: str, path: Path, label: str) -> RawSetting | None:
    """Return the setting whose value is the content of a file, which must exist; None if it is blank."""
    try:
        path.stat()
        text = (atomic_file.read(path) or b"").decode()
    except OSError as error:
        raise Misconfigured(
            f"{label} is {log.sanitize(str(path))}, which cannot be read ({error.strerror}): "
            "correct its name, owner or mode"
        ) from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{name} in {path} is not UTF-8 text: write it again") from None
    setting = RawSetting(name, strip_pasted(text), str(path))
    return setting if printable(setting) else None


def parse_auth_file(source: bytes, path: Path | str) -> Iterator[RawSetting]:
    """Yield the strings that `auth.py` (never run) assigns to `AUTH_NAMES`; Misconfigured if invalid."""
    try:
        with bounded_nesting(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes; the values are validated anyway
            tree = ast.parse(source)
    except SyntaxError as error:
        raise Misconfigured(f"{path}:{error.lineno or 1} is not valid Python ({error.msg})") from None
    except (ValueError, MemoryError):
        raise Misconfigured(f"{path} is not valid Python") from None
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        value = statement.value
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [target.id for target in targets if isinstance(target, ast.Name) and target.id in AUTH_NAMES]
        for name in names:
            setting = RawSetting(name, "", f"{path}:{value.lineno}")
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str | None):
                raise setting.error("must be a quoted string: the file is read, not run")
            yield replace(setting, value=value.value or "")


def _parse_dotenv(path: Path) -> Iterator[RawSetting]:
    try:
        text = _read_trusted(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text: write it again") from None
    if not text:
        return
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


def _read_trusted(path: Path) -> bytes:
    """Return a file's content, b"" without one; Misconfigured if others could redirect the secrets by it."""

    def require_trust(what: str, which: Path, status: os.stat_result) -> None:
        if reason := ownership.distrust_reason(which, status):
            raise Misconfigured(
                f"{path} is not trusted, because {what} {reason}: correct that, or run this in another folder"
            )

    try:
        if not os.path.lexists(path) or path.is_dir():  # some people call their virtual environment .env
            return b""
        require_trust("its folder", path.parent, path.parent.stat())
        return atomic_file.read(path, partial(require_trust, "it", path)) or b""
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}): correct its owner or mode") from None
