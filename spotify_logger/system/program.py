"""How a module of this package is started as a process. Standard library only, without `pathlib`."""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - see the module

# `python -m` would search the current folder first, and run whatever somebody has put there. In a clone that
# is not installed, nothing but the folder of the running package leads to the same code.
_RUN = (
    "import runpy, sys; root, module = sys.argv[1:3]; del sys.argv[1:3]; "
    "root in sys.path or sys.path.insert(0, root); runpy.run_module(module, None, '__main__', True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this very copy of the package, from whatever folder.

    Args:
        module: Its full name, such as "spotify_logger.daemon.preflight".
        arguments: What it is given.
    """
    return [sys.executable, "-P", "-c", _RUN, _ROOT, module, *arguments]
