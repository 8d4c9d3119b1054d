"""Start modules of this package as processes. Standard library only, without `pathlib`."""

import os
import sys

EXIT_INTERRUPTED = 130  # the exit code after Ctrl-C, by shell convention: 128 + SIGINT

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - see the module

# `python -m` would search the current folder first, and run whatever is there. In a clone that is not
# installed, only the folder of the running package leads to the same code.
_RUN = (
    "import runpy, sys; root, module = sys.argv[1:3]; del sys.argv[1:3]; "
    "root in sys.path or sys.path.insert(0, root); runpy.run_module(module, None, '__main__', True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this copy of the package, from any folder."""
    return [sys.executable, "-P", "-c", _RUN, _ROOT, module, *arguments]
