"""How the processes of this package start and hear of signals. Standard library only, without `pathlib`.

Any Python 3 can import this file.
"""

import os
import signal
import sys

MINIMUM_PYTHON = (3, 11)
PIPES_VARIABLE = "SPOTIFY_LOGGER_FDS"  # "<beat pipe, write end>,<liveness pipe, read end>,<lock>"
EXIT_INTERRUPTED = 130  # the exit code after Ctrl-C, by shell convention: 128 + SIGINT

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - see the module

# `python -m` would search the current folder first, and run whatever is there. In a clone that is not
# installed, only the folder of the running package leads to the same code.
_RUN = (
    "import runpy, sys; root, module = sys.argv[1:3]; del sys.argv[1:3]; "
    "root in sys.path or sys.path.insert(0, root); runpy.run_module(module, None, '__main__', True)"
)


def check_python(program: str) -> None:
    """Exit with code 78 and a line on stderr if Python is too old for `program`, such as "run.py"."""
    if sys.version_info < MINIMUM_PYTHON:
        have, wanted = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, MINIMUM_PYTHON))
        advice = f"Try: python{wanted} {program}"
        sys.stderr.write(f"Spotify Logger needs Python {wanted} or newer, not {have}. {advice}\n")
        sys.exit(os.EX_CONFIG)


def module_command(module: str, *arguments: str) -> "list[str]":
    """Return the command that runs a module of this copy of the package, from any folder."""
    return [sys.executable, "-P", "-c", _RUN, _ROOT, module, *arguments]


def catch_signals(*numbers: int) -> int:
    """Catch signals from now on; each writes its number to the pipe whose read end is returned."""
    wake_fd, write_fd = os.pipe()
    for descriptor in (wake_fd, write_fd):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return wake_fd
