"""Print pip constraints with the lowest version of each dependency that pyproject.toml allows."""
# ruff: noqa: INP001, T201 - a script that prints

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"].values()
for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
    if bound := re.match(r"([\w.-]+)>=([\w.]+)", requirement):
        print("{}=={}".format(*bound.groups()))
