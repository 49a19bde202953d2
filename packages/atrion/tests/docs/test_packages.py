from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[4]


def extras() -> set[tuple[str, str]]:
    found = set()
    for path in (ROOT / "packages").glob("*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        found |= {(project["name"], extra) for extra in project.get("optional-dependencies", {})}
    return found


def test_every_extra_is_named_in_one_table() -> None:
    table = (
        (ROOT / "docs" / "packages.md")
        .read_text(encoding="utf-8")
        .partition("## Extras")[2]
        .partition("## ")[0]
    )
    told = {
        (name, extra)
        for name, listed in re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|", table, re.MULTILINE)
        for extra in re.findall(r"`(\w+)`", listed)
    }
    assert told == extras()
