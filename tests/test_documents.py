"""The documents say what is there: commands, settings, keys, messages, modules, and links that work."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli.commands import command_parser
from spotify_logger.config.sources import DEFAULTS
from spotify_logger.core import redis_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "spotify_logger"
DOCS = PROJECT / "docs"
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
MAX_README_WORDS = 900


def read(document: str) -> str:
    return (DOCS / document).read_text(encoding="utf-8")


def spans(document: Path) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(document))


def without_blocks(document: Path) -> str:
    text = document.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def slugs(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_resolve(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", path):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.is_file() or (anchor and anchor not in slugs(target)):
            broken.append(link)
    assert not broken


def test_every_document_is_linked_from_the_readme() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in DOCS.glob("*.md") if f"](docs/{path.name})" not in text] == []


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("name", ["Run", "Test"])
def test_the_readme_has_the_line_that_ci_runs(name: str) -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(rf"^- {name}: `(.*)`$", text, re.MULTILINE)
    assert len(lines) == 1
    assert lines[0].startswith("python3 -m venv .venv && ")


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name
                yield from options_of(command)
        elif not isinstance(action, argparse._HelpAction):
            yield from action.option_strings


def test_commands_and_options_are_documented() -> None:
    words = set(re.findall(r"(?<![\w-])-{0,2}\w[\w-]*", " ".join(spans(DOCS / "commands.md"))))
    assert set(options_of(command_parser())) - words == set()


def test_settings_are_documented() -> None:
    assert set(DEFAULTS) - set(re.findall(r"[A-Z_]+", read("settings.md"))) == set()


def test_keys_are_documented() -> None:
    text = read("keyspace.md")
    names = {value for name, value in vars(redis_keys).items() if name.isupper() and isinstance(value, str)}
    assert "now_playing" in names
    days = redis_keys.index_key(redis_keys.EPOCH_DAY)
    kinds = {key.partition(":")[0] for key in (redis_keys.play_key(1), redis_keys.gap_key(1), days)}
    wanted = names | redis_keys.PLAY_FIELDS | {*redis_keys.END_REASONS, *(f"{kind}:<" for kind in kinds)}
    assert [name for name in sorted(wanted) if name not in text] == []


def test_modules_and_names_of_the_architecture_exist() -> None:
    said = set(spans(DOCS / "architecture.md"))
    modules = {span for span in said if re.fullmatch(r"\w+/(\w+/)*(\w+\.(py|js))?", span)}
    assert len(modules) > 30
    assert [
        module for module in modules if not any((at / module).exists() for at in (PACKAGE, PROJECT))
    ] == []
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    defined = set(re.findall(r"^ *(?:class|def|async def) (\w+)", source, re.MULTILINE))
    names = {span for span in said if re.fullmatch(r"(?=[A-Z]\w*[a-z])\w+\.\w+", span)}
    assert len(names) > 5
    assert [name for name in names if not set(name.split(".")) <= defined] == []


def texts_of(node: ast.AST) -> Iterator[str]:
    """Every text of a module, with an ellipsis for what is put in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from texts_of(child)


def without_ellipses(text: str) -> list[str]:
    """The fixed parts of a message."""
    return [part for each in text.split("…") if (part := each.strip(" ():,"))]


def is_said(message: str, texts: Collection[str]) -> bool:
    return all(any(part in text for text in texts) for part in without_ellipses(message))


def test_messages_of_the_troubleshooting_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (.*?) \|", read("troubleshooting.md"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    texts = {
        text
        for path in PACKAGE.rglob("*.py")
        for text in texts_of(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(messages) > 20
    missing = [message for message in messages if not is_said(message, texts)]
    assert not missing, "\n".join(missing)
