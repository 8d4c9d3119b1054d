"""The documents agree with the code: commands, settings, keys, messages, modules; and their links work."""

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
from spotify_logger.core.play import PLAY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "spotify_logger"
README = PROJECT / "README.md"
DOCS = PROJECT / "docs"
DOCUMENTS = [README, PROJECT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
MAX_README_WORDS = 900


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def without_blocks(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", read(document), flags=re.DOTALL | re.MULTILINE)


def code_spans(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_blocks(document))


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_resolve(document: Path) -> None:
    broken = []
    for client in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", read(document)):
        path, _, anchor = client.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(client)
    assert not broken


def test_the_readme() -> None:
    text = read(README)
    assert len(text.split()) <= MAX_README_WORDS
    assert [path.name for path in DOCS.glob("*.md") if f"](docs/{path.name})" not in text] == []
    for name in ("Run", "Test"):  # CI runs these lines
        (line,) = re.findall(rf"^- {name}: `(.*)`$", text, re.MULTILINE)
        assert line.startswith("python3 -m venv .venv && ")


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name
                yield from options_of(command)
        elif not isinstance(action, argparse._HelpAction):
            yield from action.option_strings


def test_commands_and_options_are_documented() -> None:
    words = set(re.findall(r"(?<![\w-])-{0,2}\w[\w-]*", " ".join(code_spans(DOCS / "commands.md"))))
    assert set(options_of(command_parser())) - words == set()


def test_settings_and_keys_are_documented() -> None:
    settings = {re.sub(r"_[3-9]_", "_2_", name) for name in DEFAULTS}  # numbered ones are the same
    assert settings - set(re.findall(r"[A-Z0-9_]+", read(DOCS / "settings.md"))) == set()
    text = read(DOCS / "keyspace.md")
    texts = {name: value for name, value in vars(redis_keys).items() if isinstance(value, str)}
    names = {text for name, text in texts.items() if name[0].isupper()}
    assert "now_playing" in names
    days = redis_keys.index_key(redis_keys.EPOCH_DAY)
    kinds = {key.partition(":")[0] for key in (redis_keys.play_key(1), redis_keys.gap_key(1), days)}
    wanted = names | PLAY_FIELDS | {*redis_keys.END_REASONS, *(f"{kind}:<" for kind in kinds)}
    assert [name for name in sorted(wanted) if name not in text] == []


def test_modules_of_the_architecture_exist() -> None:
    spans = set(code_spans(DOCS / "architecture.md"))
    modules = {span for span in spans if re.fullmatch(r"\w+/(\w+/)*(\w+\.(py|js))?", span)}
    assert len(modules) > 30
    assert [each for each in modules if not ((PACKAGE / each).exists() or (PROJECT / each).exists())] == []


def texts_of(node: ast.AST) -> Iterator[str]:
    """Yield every text of a module, with an ellipsis for each value in it."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from texts_of(child)


def test_messages_of_the_troubleshooting_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (.*?) \|", read(DOCS / "troubleshooting.md"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 20
    texts = {text for path in PACKAGE.rglob("*.py") for text in texts_of(ast.parse(read(path)))}
    parts = [part for message in messages for each in message.split("…") if (part := each.strip(" ():,"))]
    assert [part for part in parts if not any(part in text for text in texts)] == []
