"""Make the man page and the shell completions of the command, for the wheel, from its own parser."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import shtab
from argparse_manpage.manpage import Manpage
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPLETIONS = {
    "bash": "share/bash-completion/completions/spotify-logger",
    "fish": "share/fish/vendor_completions.d/spotify-logger.fish",
    "zsh": "share/zsh/site-functions/_spotify-logger",
}
MAN_PAGE = "share/man/man1/spotify-logger.1"


class SharedFiles(BuildHookInterface[Any]):
    """Adds the files to the wheel, which installs them below the prefix of its environment."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - as hatchling calls it
        """Write the files, which are the same in every version of the wheel."""
        sys.path.insert(0, self.root)
        from spotify_logger.cli.commands import command_parser  # noqa: PLC0415 - it is not installed yet

        parser = command_parser()
        (commands,) = (action.choices for action in parser._actions if action.dest == "command")  # noqa: SLF001 - no public name
        for command in dict(commands or ()).values():
            for action in command._actions:  # noqa: SLF001 - the same
                if action.type is Path:
                    action.complete = shtab.FILE
        texts = {path: shtab.complete(parser, shell=shell) for shell, path in COMPLETIONS.items()}
        texts[MAN_PAGE] = str(Manpage(parser))
        self._folder = tempfile.mkdtemp()
        for path, text in texts.items():
            file = Path(self._folder, path)
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(file)] = path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the files, which are in the wheel now."""
        shutil.rmtree(self._folder)
