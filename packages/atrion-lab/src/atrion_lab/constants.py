"""The constants of the controller, read from its source: names, explanations and values."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import pairwise

import atrion
from atrion import control, sensing
from atrion.errors import AtrionError, ConfigurationError
from atrion.physics.config import PhysicsConfig

__all__ = ["CONFIG", "Constant", "allowed", "changed", "constants"]

CONFIG = "PhysicsConfig"
NO_LAW = (
    "atrion.control.base",
    "atrion.control.decorators",
    "atrion.control.route",
    "atrion.control.shedding",
)
"""Modules whose numbers are places, tokens and clocks, and no constants of the control."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of the control.

    Attributes:
        name: Its own name.
        place: The module that sets it, or CONFIG for a field of :class:`~atrion.PhysicsConfig`.
        value: What it is.
        meaning: Unit and meaning, as the source says them.
    """

    name: str
    place: str
    value: float
    meaning: str

    @property
    def label(self) -> str:
        """How tables call it: the last part of its place, and its name."""
        return f"{self.place.rpartition('.')[2]}.{self.name}"

    def times(self, factor: float) -> float:
        """Another value: ``factor`` times its own, whole where it is whole, at least 1 then.

        A share that would be above 1 moves towards 1 instead, by the same factor of what is left.
        """
        value = self.value * factor
        if isinstance(self.value, int):
            return max(round(value), 1)
        if self.value < 1.0 < value and "share" in self.meaning.partition(":")[0].lower():
            return 1.0 - (1.0 - self.value) / factor
        return value


def constants() -> tuple[Constant, ...]:
    """Every documented number of ``atrion.sensing`` and ``atrion.control``, and the fields of PhysicsConfig.

    Raises:
        AtrionError: the core is compiled, and has its constants built in.
    """
    if atrion.compiled:
        raise AtrionError(
            "constants can only be changed in the pure Python core, and this one is compiled: "
            "install the source with ATRION_COMPILE=0, such as "
            'ATRION_COMPILE=0 pip install --no-binary atrion "atrion[lab]"'
        )
    return (*_fields(), *(each for name in _modules() for each in _documented(name)))


def _modules() -> list[str]:
    packages = (sensing, control)
    names = (
        each.name
        for package in packages
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    )
    return sorted(name for name in names if name not in NO_LAW)


def _documented(place: str) -> Iterator[Constant]:
    """Numbers with a docstring below; one without is a name for a number, and no choice."""
    module = importlib.import_module(place)
    for statement, below in pairwise(ast.parse(inspect.getsource(module)).body):
        match statement, below:
            case (
                ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)),
                ast.Expr(ast.Constant(str() as text)),
            ) if name.isupper():
                value = getattr(module, name)
                if type(value) in {int, float}:
                    yield Constant(name, place, value, " ".join(text.split()))


def _fields() -> Iterator[Constant]:
    """Fields that are numbers, with what the class says of each."""
    said = (inspect.getdoc(PhysicsConfig) or "").partition("Attributes:")[2].partition("Raises:")[0]
    config = PhysicsConfig()
    for field in fields(config):
        value = getattr(config, field.name)
        found = re.search(rf"^ +{field.name}: (.*(?:\n {{8,}}.*)*)", said, re.MULTILINE)
        if type(value) in {int, float} and found is not None:
            yield Constant(field.name, CONFIG, value, " ".join(found[1].split()))


@contextmanager
def changed(constant: Constant | None, value: float) -> Iterator[PhysicsConfig]:
    """Another value meanwhile, in every module that has imported it; yields the constants of the laws.

    Raises:
        ConfigurationError: the laws refuse that value.
    """
    if constant is None or constant.place == CONFIG:
        yield PhysicsConfig(**({} if constant is None else {constant.name: value}))  # type: ignore[arg-type]  # numbers
        return
    own = vars(sys.modules[constant.place])[constant.name]
    holders = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("atrion.", "atrion_lab.")) and vars(module).get(constant.name) is own
    ]
    try:
        for module in holders:
            setattr(module, constant.name, value)
        yield PhysicsConfig()
    finally:
        for module in holders:
            setattr(module, constant.name, own)


def allowed(constant: Constant, value: float) -> bool:
    """Whether the laws take that value; a module's own number has no range of its own."""
    try:
        with changed(constant, value):
            return True
    except ConfigurationError:
        return False
