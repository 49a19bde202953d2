"""Every ``atrion`` command that a page shows is one that the command line accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from atrion.cli.commands import declare, found
from atrion.cli.parser import Parser

ROOT = Path(__file__).parents[4]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs/lab").glob("*.txt")),
]
COMMAND = re.compile(r"^ *(?:\$ )?(atrion [a-z]+(?:[^\n\\]|\\\n)*)$", re.MULTILINE)
FENCE = re.compile(r"^```(?:console|sh|text)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> dict[str, str]:
    """The commands of all pages, each with the page that shows it first."""
    shown: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in FENCE.findall(text) if page.suffix == ".md" else [text.partition("\n")[0]]:
            for command in COMMAND.findall(block):
                shown.setdefault(command.replace("\\\n", " "), page.name)
    return shown


@pytest.mark.parametrize("command", commands())
def test_a_command_of_a_page_is_accepted(command: str) -> None:
    _, name, *words = shlex.split(command.partition(" > ")[0].partition(" | ")[0], comments=True)
    parser = Parser(prog="atrion")
    declare(found()[name], parser.add_subparsers())
    parser.parse_args([name, *words])


def test_commands_are_found() -> None:
    assert len(commands()) > 40
