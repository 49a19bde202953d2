from __future__ import annotations

import ast
import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from atrion.testing import Law, check_law, laws_for

EXAMPLE = Path(__file__).parents[4] / "examples" / "file_provider.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("file_provider", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FileProvider: Any = example().FileProvider


@pytest.mark.parametrize("law", laws_for(FileProvider), ids=lambda law: law.name)
def test_the_example_keeps_every_law(law: Law, tmp_path: Path) -> None:
    asyncio.run(check_law(law, lambda store: FileProvider(tmp_path / store)))


def test_the_example_has_at_most_thirty_lines() -> None:
    text = EXAMPLE.read_text()
    body = ast.parse(text).body
    provider = next(node for node in body if isinstance(node, ast.ClassDef))
    lines = text.splitlines()[provider.lineno - 1 : provider.end_lineno]
    assert len([line for line in lines if line.strip()]) <= 30


def test_the_example_goes_by_url(tmp_path: Path) -> None:
    assert FileProvider.from_url(f"file://{tmp_path}/a%20b").folder == tmp_path / "a b"
