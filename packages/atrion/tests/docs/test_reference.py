"""The API reference has every public name, and no name that does not exist."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import atrion.integrations

REFERENCE = Path(__file__).parents[4] / "docs/reference"
SHOWN = {
    name for page in REFERENCE.glob("*.md") for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
}
ELSEWHERE = {"atrion.physics", "atrion.testing.LAWS", "atrion.integrations.urllib3.until_closed"}
"""Of a module of its own, a table that functions read, and what subclasses of urllib3's pools use."""
MODULES = [
    "atrion",
    "atrion.testing",
    *(f"atrion.integrations.{found.name}" for found in pkgutil.iter_modules(atrion.integrations.__path__)),
]


def public(module: str) -> list[str]:
    if "._" in module:
        return []
    names = importlib.import_module(module).__all__
    shared = {"tier", "budget", "RetryBudget"} if module.startswith("atrion.integrations.") else set()
    return [f"{module}.{name}" for name in names if name not in shared]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_is_in_the_reference(module: str) -> None:
    assert set(public(module)) - SHOWN - ELSEWHERE == set()


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_name_of_the_reference_exists(name: str) -> None:
    parts = name.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            found = getattr(found, part)
        return
    pytest.fail(f"there is no module of {name}")
