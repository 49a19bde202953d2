"""Finds the framework of a project by reading its files; nothing of the project is imported or executed."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Application", "Project", "read"]

SKIPPED = {
    "__pycache__",
    "build",
    "dist",
    "docs",
    "examples",
    "node_modules",
    "site-packages",
    "test",
    "tests",
}
MOST_FILES = 5000
LARGEST = 1_000_000
"""Bytes of a file above which it is not read; no program is that long."""


@dataclass(frozen=True)
class Application:
    """A place where an application is made.

    Attributes:
        kind: what is called, such as ``fastapi.FastAPI``.
        path: the file.
        line: its line, from 1.
        name: the variable that it is assigned to; empty if it is none.
    """

    kind: str
    path: Path
    line: int
    name: str


@dataclass
class Project:
    """What is known of a project."""

    folder: Path
    applications: list[Application] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)


def read(folder: Path) -> Project:
    """Read the requirements and the programs of a folder. Files that cannot be read are passed over."""
    project = Project(folder)
    for text in _requirements(folder):
        name = re.match(r"\s*([A-Za-z0-9][\w.-]*)", text)
        if name is not None:
            project.required.add(re.sub(r"[-_.]+", "-", name[1]).lower())
    for path in _programs(folder):
        try:
            if path.stat().st_size <= LARGEST:
                _search(project, path, ast.parse(path.read_bytes()))
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
    return project


def _programs(folder: Path) -> Iterator[Path]:
    """The Python files of a project, those of upper folders first, without tests and environments."""
    left = MOST_FILES
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED
            and not name.startswith(".")
            and not (Path(place) / name / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if name.endswith(".py") and not name.startswith("test_") and name != "conftest.py":
                left -= 1
                if left < 0:
                    return
                yield Path(place) / name


def _requirements(folder: Path) -> Iterator[str]:
    """The requirements that are declared, one a string."""
    for path in sorted([*folder.glob("requirements*.txt"), *folder.glob("requirements/*.txt")]):
        try:
            yield from path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
    try:
        declared = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return
    poetry = _table(_table(declared, "tool"), "poetry")
    yield from _table(poetry, "dependencies")
    for group in _table(poetry, "group").values():
        yield from _table(group, "dependencies")
    project = _table(declared, "project")
    extras = [
        *_table(project, "optional-dependencies").values(),
        *_table(declared, "dependency-groups").values(),
    ]
    for listed in [project.get("dependencies"), *extras]:
        yield from (text for text in listed or () if isinstance(text, str))


def _table(data: Any, key: str) -> dict[str, Any]:
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _search(project: Project, path: Path, tree: ast.Module) -> None:
    """Add the imports of one program, and the applications that it makes."""
    names: dict[str, str] = {}
    targets: dict[ast.AST, str] = {}
    made: list[tuple[str, ast.stmt | ast.expr, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                project.imported.add(alias.name.partition(".")[0])
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            project.imported.add(node.module.partition(".")[0])
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if node.value is not None:
                targets[node.value] = ast.unparse(target)
            if isinstance(target, ast.Name) and target.id == "ROOT_URLCONF":
                made.append(("django.ROOT_URLCONF", node, ""))
        elif isinstance(node, ast.ClassDef) and node.name == "WorkerSettings":
            made.append(("arq.WorkerSettings", node, ""))
        elif isinstance(node, ast.Call):
            made.append((_dotted(node.func), node, targets.get(node, "")))
    for called, node, name in made:
        first, dot, rest = called.partition(".")
        kind = f"{names[first]}{dot}{rest}" if first in names else called
        if called and (first in names or isinstance(node, ast.stmt)):
            project.applications.append(Application(kind, path, node.lineno, name))


def _dotted(node: ast.expr) -> str:
    """The dotted name of an expression; empty if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return inner and f"{inner}.{node.attr}"
    return ""
