"""Every Python block of the README files and of the documentation runs, page by page, from top to bottom.

A block that cannot run here says why in a comment above it: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]*?) -->\n+)?"
    r"(?P<indent> *)(?P<marks>`{3,})(?: \{ \.python \}|python)[^\n]*\n(?P<code>.*?)^(?P=indent)(?P=marks)$",
    re.MULTILINE | re.DOTALL,
)
INCLUDE = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)


def blocks(page: Path) -> list[tuple[int, str]]:
    """First line and text of each block that is to run, indentation and all lines above kept for tracebacks."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        if match["reason"] is not None:
            assert len(match["reason"].split()) >= 3, f"{page}: say why {match['code']!r} is not run"
            continue
        width = len(match["indent"])
        code = "".join(line[width:] or "\n" for line in match["code"].splitlines(keepends=True))
        code = INCLUDE.sub(lambda include: (ROOT / include[1]).read_text(), code)
        found.append((text.count("\n", 0, match.start("code")) + 1, code))
    return found


SETTINGS = {"REDIS_URL": "redis://127.0.0.1:1/0", "ATRION_LICENSE_KEY": ""}
"""What pages read from the environment. Nobody answers at that address, which must harm no program."""
RUNNER = """
import ast, asyncio, inspect
def run(code, name):
    result = eval(compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), globals())
    if inspect.iscoroutine(result):
        asyncio.run(result)
"""


def program(page: Path) -> str:
    """All blocks of a page as one program that reports errors by the page's own lines; they may await."""
    parts = [f"run({code!r}, {f'{page.name}, block at line {line}'!r})" for line, code in blocks(page)]
    return "\n".join([RUNNER, *parts])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_includes_is_there(page: Path) -> None:
    text = page.read_text()
    included = INCLUDE.findall(text)
    assert len(included) == len(re.findall(r"8\s*<\s*-", text))
    assert [name for name in included if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program(page)],
        check=False,
        cwd=tmp_path,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


def test_blocks_are_found_where_they_are() -> None:
    assert len(PAGES) > 10
    assert blocks(ROOT / "README.md")
