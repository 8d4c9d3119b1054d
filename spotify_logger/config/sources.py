"""Where a setting comes from: the environment, systemd's credentials, `.env`, `auth.py`, or its default.

The first of these that has a value wins; a blank value counts as none. The environment and `.env` may also
name a file that holds the value, as NAME_FILE; a credential is a file named like the setting. For commands
that only look at the log, the files of the systemd service come before the defaults.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured

AUTH_FILE = "auth.py"
DOTENV_FILE = ".env"
EXAMPLE_FILE = "auth.example.py"
TOKEN_FILE = "token.json"  # noqa: S105 - the name of the file with the login, in the state folder
# The settings of the systemd service: the later file wins, and only root can read it, and enter the folder.
SERVICE_FILES = (Path("/etc/spotify-logger.conf"), Path("/etc/spotify-logger.env"))
SERVICE_STATE_DIR = Path("/var/lib/spotify-logger")

FORWARD_PREFIXES = ("FORWARD", *(f"FORWARD_{number}" for number in range(2, 10)))
# The settings that may hold a secret, and the client ID that goes with one; with their defaults.
SECRET_SETTINGS = {
    "SPOTIFY_CLIENT_ID": "",
    "SPOTIFY_CLIENT_SECRET": "",
    "SPOTIFY_REFRESH_TOKEN": "",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "ALERT_URL": "",
    "HEARTBEAT_URL": "",
    "WEB_PASSWORD": "",
    **{f"{prefix}_{part}": "" for prefix in FORWARD_PREFIXES for part in ("URL", "TOKEN")},
}
# Those whose values errors and reports may show; an empty STATE_DIR means a folder of the system.
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


def find_settings(
    directory: Path, environ: Mapping[str, str], *, is_reader: bool = False
) -> dict[str, RawSetting]:
    """Return every setting from the first source that has it; Misconfigured if one cannot be read.

    A command that only looks at the log `is_reader`, and need not have the right to read files of settings.
    """
    environment = _not_blank(RawSetting(name, value, "the environment") for name, value in environ.items())

    def read(path: Path) -> dict[str, RawSetting]:
        # Some people call their virtual environment .env.
        is_there = os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112 - `is_dir` may raise OSError
        if not is_there or (is_reader and not os.access(path, os.R_OK)):
            return {}
        from spotify_logger.config import files  # noqa: PLC0415 - a logger may have none

        return _not_blank(files.read_settings(path))

    dotenv = read(directory / DOTENV_FILE)
    for name in PUBLIC_SETTINGS:
        if pointer := dotenv.get(f"{name}_FILE"):
            # The value would be shown, and with it the content of any file.
            raise pointer.error(f"only works for secrets: write {name}=... there instead")
    for name, setting in (environment | dotenv).items():
        receiver = re.fullmatch(r"(FORWARD_[0-9]+_(URL|TOKEN))(_FILE)?", name)
        if receiver and receiver[1] not in DEFAULTS:
            raise setting.error("is not a setting: further receivers are FORWARD_2_URL to FORWARD_9_URL")
    auth = read(directory / AUTH_FILE)
    service = {name: each for path in SERVICE_FILES for name, each in read(path).items()} if is_reader else {}
    # Lazily, in this order: a file that is overridden need not be readable.
    return {
        name: _from_mapping(environment, name, directory)
        or _from_credential(name, environ)
        or _from_mapping(dotenv, name, directory)
        or auth.get(name.removeprefix("SPOTIFY_").lower())
        or service.get(name)
        or RawSetting(name, default, "")
        for name, default in DEFAULTS.items()
    }


def xdg_folder(name: str, default: str, environ: Mapping[str, str]) -> str:
    """Return our folder below one of the XDG Base Directory Specification; it may begin with "~"."""
    base = environ.get(name, "")
    # The specification says to ignore a relative path.
    return f"{base if base.startswith('/') else default}/spotify-logger"


def strip_pasted(text: str) -> str:
    """Return `text` without the whitespace and quotes that were copied along with it."""
    return text.strip(_PASTED_CHARACTERS)


def printable(setting: RawSetting) -> str:
    """Return the value of a setting that may hold any text, without control characters (Misconfigured)."""
    if not setting.value.isprintable():
        raise setting.error("contains a control character: copy it again, without line breaks")
    return setting.value


def _not_blank(settings: Iterable[RawSetting]) -> dict[str, RawSetting]:
    """Return the settings of one source that are not blank, by name; the last of each name counts."""
    stripped = (replace(setting, value=strip_pasted(setting.value)) for setting in settings)
    return {setting.name: setting for setting in stripped if setting.value}


def _from_mapping(source: Mapping[str, RawSetting], name: str, directory: Path) -> RawSetting | None:
    """Return a setting of the environment or `.env`, given there directly or through NAME_FILE."""
    setting, pointer = source.get(name), source.get(f"{name}_FILE")
    if pointer is None:
        return setting
    if setting is not None:
        raise Misconfigured(f"both {setting.label} and {pointer.label} are set: remove one of them")
    try:
        return _from_file(name, directory / Path(printable(pointer)).expanduser(), pointer.label)
    except RuntimeError:
        raise pointer.error("begins with ~, but there is no home folder: write the full path") from None


def _from_credential(name: str, environ: Mapping[str, str]) -> RawSetting | None:
    """Return systemd's credential of that name (systemd.exec(5), LoadCredential=)."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not os.access(path := Path(folder, name), os.F_OK):
        return None
    return _from_file(name, path, f"the credential {name}")


def _from_file(name: str, path: Path, label: str) -> RawSetting | None:
    """Return the setting whose value is the content of a file, which must exist; None if it is blank."""
    try:
        path.stat()
        text = (atomic_file.read(path) or b"").decode()
    except OSError as error:
        trouble = f"{label} is {log.sanitize(str(path))}, which cannot be read ({error.strerror})"
        raise Misconfigured(f"{trouble}: correct its name, owner or mode") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{name} in {path} is not UTF-8 text: write it again") from None
    setting = RawSetting(name, strip_pasted(text), str(path))
    return setting if printable(setting) else None
