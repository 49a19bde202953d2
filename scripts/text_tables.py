"""Turns the text tables that commands print into Markdown tables.

MkDocs loads this file as a hook: a line ``<!-- table: docs/tables/bench.txt -->`` of a page becomes the tables of that
file, and so does a block of text that includes a file of the lab. As a program, ``text_tables.py FILE PAGE``, it writes
them into PAGE, between the lines ``<!-- table: FILE -->`` and ``<!-- end of table -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GAP = re.compile(r"(?<!met)(?<!MISSED) {2,}|(?<=\d) (?=met\b|MISSED\b)")
TITLE = re.compile(r"^([a-z0-9.-]+)(?:, \d+ seeds)?:(?= )")
MARKER = re.compile(r"^<!-- table: (\S+) -->$", re.MULTILINE)
NUMBER = re.compile(r"[-−+(]?[\d.,e-]+\)?%?( ±[\d.]+| s)?|-|never|gave up")
INDENT = "      "
INCLUDES = re.compile(r'^```text\n((?:--8<-- "docs/lab/[^"\n]+"\n)+)```$', re.MULTILINE)
CONTROLLER = re.compile(r"^(?:[✓✗] )? *(\S+) +mean  ")
BOUND = re.compile(r"^  ([✓✗]) (?:met|missed) +(.+)")
CONSTANT = re.compile(r"^([\w.…]+ = \S+): (.+)")


def cells(line: str) -> list[str]:
    """The cells of one line."""
    return [cell.replace("|", "\\|") for cell in GAP.split(line.strip())]


def table(lines: list[str]) -> list[str]:
    """Lines of aligned columns as a Markdown table."""
    lines = [line for line in lines if line.strip("─ ")]
    head, *rows = [cells(line) for line in lines]
    width = max(map(len, rows))
    if any(NUMBER.fullmatch(cell) for cell in head[1:]):  # there is no line of titles
        rows.insert(0, head)
        lines.insert(0, "")
        head = [""] * width
    for line, row in zip(lines, [head, *rows], strict=True):
        if line.startswith(INDENT):
            row[:0] = [""] * (
                width - len(row)
            )  # the first columns repeat what stands above, or have no title
        row.extend([""] * (width - len(row)))
    right = [all(NUMBER.fullmatch(row[column]) for row in rows if row[column]) for column in range(width)]
    rule = ["---:" if column and numbers else "---" for column, numbers in enumerate(right)]
    return ["| " + " | ".join(row) + " |" for row in [head, rule, *rows]]


def comparison(lines: list[str]) -> Iterator[str]:
    """The means and worst values of several controllers, each followed by the bounds it met or missed."""
    controller = ""
    rows: list[str] = []
    bounds: dict[str, list[str]] = {}
    for line in lines:
        if found := CONTROLLER.match(line):
            controller = found[1]
        if found := BOUND.match(line):
            bounds.setdefault(controller, []).append(f"{found[1]} {found[2]}")
        else:
            rows.append(line)
    yield from [*table(rows), ""]
    for controller, each in bounds.items():
        yield f"- `{controller}`: {'; '.join(each)}"
    yield ""


def sensitivity(lines: list[str]) -> Iterator[str]:
    """What halving and doubling each constant changes; a constant and its meaning stand above its rows."""
    titles = re.split(r" {2,}|(?<=critical) ", lines[0].strip())
    yield "| constant | value | " + " | ".join(titles) + " |"
    yield "| --- | ---: |" + " ---: |" * (len(titles) - 1) + " --- |"
    constant = ""
    for line in lines[1:]:
        if found := CONSTANT.match(line):
            constant = f"`{found[1]}`: {found[2]}".replace("|", "\\|")
        else:
            row = cells(line)
            yield "| " + " | ".join([constant, *row, *[""] * (len(titles) + 1 - len(row))]) + " |"
            constant = ""


def lab(text: str) -> Iterator[str]:
    """Output of the lab: the command, tables where it has titled columns, and other text as it is."""
    lines = text.strip("\n").splitlines()
    if lines[0].startswith("$ "):
        yield from ["```console", lines.pop(0), "```", ""]
    if any(map(CONTROLLER.match, lines)):
        yield from ["", lines[0], "", *comparison(lines[1:])]
    elif any(map(CONSTANT.match, lines)):
        yield from ["", lines[0], "", *sensitivity(lines[1:]), ""]
    else:
        for title, *rows in (each.splitlines() for each in re.split(r"\n{2,}", "\n".join(lines))):
            if len(rows) > 1 and all(len(cells(row)) > 2 for row in rows):
                yield from ["", f"**{title}**", "", *table(rows), ""]
            else:
                yield from ["```text", title, *rows, "```", ""]


def glossary(lines: list[str]) -> list[str]:
    """Terms and their explanations, which go on in indented lines, as a list."""
    found: list[str] = []
    for line in lines:
        if line.startswith(INDENT):
            found[-1] += f" {line.strip()}"
        else:
            term, _, text = line.partition("  ")
            found.append(f"- **{term}**: {text.strip()}")
    return found


def block(lines: list[str]) -> Iterator[str]:
    """One block of the output, which empty lines enclose: sentences, tables and a glossary."""
    if lines[0].startswith("$ "):
        yield from ["```console", lines.pop(0), "```", ""]
    aligned = [len(cells(line)) > 1 or not line.strip("─ ") for line in lines]
    if aligned[0] and max(len(cells(line)) for line in lines) == 2 and lines[0][0] != " ":
        yield from [*glossary(lines), ""]
        return
    for is_table, group in groupby(zip(lines, aligned, strict=True), key=itemgetter(1)):
        found = [line for line, _ in group]
        if is_table and len(found) > 1:
            yield from table(found)
        else:
            for line in found:
                titled = TITLE.sub(r"**`\1`**:", line.strip())
                yield from ["", titled, ""] if titled != line.strip() else [line.strip()]
        yield ""


def markdown(text: str) -> str:
    """A command's output as Markdown."""
    blocks = re.split(r"\n{2,}", text.strip("\n"))
    return "\n".join(line for each in blocks for line in block(each.splitlines())).strip()


def on_page_markdown(text: str, **_: Any) -> str:
    """Put the tables where a page names their files. MkDocs calls this for each page."""

    def included(block: re.Match[str]) -> str:
        names = re.findall(r'"(.+)"', block[1])
        return "\n".join(line for name in names for line in lab((ROOT / name).read_text())).strip()

    text = MARKER.sub(lambda marker: markdown((ROOT / marker[1]).read_text()), text)
    return INCLUDES.sub(included, text)


def write(source: str, page: Path) -> None:
    """Write the tables of a file between the page's markers."""
    between = re.compile(rf"(<!-- table: {re.escape(source)} -->\n).*?(<!-- end of table -->)", re.DOTALL)
    new = markdown((ROOT / source).read_text())
    text, count = between.subn(lambda match: f"{match[1]}\n{new}\n\n{match[2]}", page.read_text())
    if count != 1:
        raise SystemExit(f"{page} has {count} places for {source}, it must have one")
    page.write_text(text)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
