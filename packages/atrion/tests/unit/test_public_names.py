"""Every ``__all__`` holds what its module offers, and nothing that is not there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import atrion

LAYERS = (
    "control",
    "engine",
    "errors",
    "integrations",
    "physics",
    "propagation",
    "providers",
    "sensing",
    "state",
    "testing",
    "workload",
)


def names() -> list[str]:
    found = ["atrion"]
    for module in pkgutil.walk_packages(atrion.__path__, "atrion."):
        parts = module.name.split(".")
        if parts[1] in LAYERS and not any(part.startswith("_") for part in parts):
            found.append(module.name)
    return found


def offered(module: ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", names())
def test_all_is_complete(name: str) -> None:
    module = importlib.import_module(name)
    exported: list[str] = module.__all__
    assert len(exported) == len(set(exported))
    assert [entry for entry in exported if not hasattr(module, entry)] == []
    assert offered(module) - set(exported) == set()


def test_the_root_offers_every_error_and_the_build() -> None:
    errors = importlib.import_module("atrion.errors")
    assert set(errors.__all__) <= set(atrion.__all__)
    assert isinstance(atrion.compiled, bool)
