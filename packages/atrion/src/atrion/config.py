"""Settings from TOML and from the environment."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from atrion.errors import ConfigurationError
from atrion.physics.config import SLO, AdaptiveBreak, PhysicsConfig

__all__ = ["Config", "ConfigSource", "Place", "Switches", "Table"]

logger: logging.Logger = logging.getLogger("atrion")

ConfigSource = str | os.PathLike[str] | Mapping[str, Any]
"""A TOML file by its path, or its content."""

WORDS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
ENGINE: Final = {
    "provider": "str",
    "persistence": "str",
    "gamma": "float",
    "node": "str",
    "max_routes": "int",
    "interval": "float",
    "enforce": "bool",
}
ROUTE: Final = ("gamma", "shared", "pool", "tier", "enforce", "profile")
TABLES: Final[dict[str, Any]] = {"slo": SLO, "config": PhysicsConfig}
OTHERS: Final = (
    "ATRION_ENFORCE",
    "ATRION_DISABLED",
    "ATRION_COMPILE",
    "ATRION_LICENSE_KEY",
    "ATRION_LICENSE_KEYRING",
)
"""Environment variables that are not settings of an engine."""


# --- switches ------------------------------------------------------------------------------------------------


def _switch(name: str, environment: Mapping[str, str]) -> bool | None:
    """The value of a variable: True, False, or None if it is unset or empty.

    Raises:
        ConfigurationError: it is neither.
    """
    text = environment.get(name, "").strip()
    if not text:
        return None
    if text.lower() not in WORDS:
        raise ConfigurationError(name, text, "give 1 or 0")
    return WORDS[text.lower()]


class Switches:
    """Switches for operators, which override the code of every engine of a process.

    Attributes:
        disabled: ``ATRION_DISABLED``: engines do nothing.
        enforce: ``ATRION_ENFORCE``: False lets every engine decide and count but shed nothing, True enforces, None
            follows the code.

    Raises:
        ConfigurationError: a variable is neither 1 nor 0.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.disabled: bool = _switch("ATRION_DISABLED", environment) is True
        self.enforce: bool | None = _switch("ATRION_ENFORCE", environment)


# --- values and where they come from -------------------------------------------------------------------------


class Place:
    """The place of a table of settings, for messages: a file, and the names of the tables around a key."""

    def __init__(self, file: str = "", tables: tuple[str, ...] = ()) -> None:
        self.file = file
        self.tables = tables

    def within(self, table: str) -> Place:
        """The place of a table inside this one."""
        return Place(self.file, (*self.tables, table))

    def outside(self) -> str:
        """The place of this table, as the key of the one around it."""
        return Place(self.file, self.tables[:-1]).of(self.tables[-1]) if self.tables else self.file

    def of(self, key: str) -> str:
        """The place of a key, such as ``pyproject.toml [tool.atrion.slo] latency``."""
        names = [name if re.fullmatch(r"[\w-]+", name) else json.dumps(name) for name in (*self.tables, key)]
        if not self.file:
            return ".".join(names)
        table = f"[{'.'.join(names[:-1])}] " if self.tables else ""
        return f"{self.file} {table}{names[-1]}"


class Table:
    """Values by key, each with its place, which errors of those values name."""

    def __init__(self, data: Any, place: Place, keys: tuple[str, ...]) -> None:
        if not isinstance(data, Mapping):
            raise ConfigurationError(place.outside(), data, "give a table")
        self.values: dict[str, Any] = dict(data)
        self.place = place
        self.places: dict[str, str] = {key: place.of(key) for key in data}
        for key, value in data.items():
            if str(key).startswith(("licen", "atrion_licen")):
                cure = "a secret does not belong into a file; set ATRION_LICENSE_KEY"
                raise ConfigurationError(self.places[key], "…", cure)
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                cure = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
                raise ConfigurationError(self.places[key], value, f"there is no such key; {cure}")

    def set(self, key: str, value: Any, place: str) -> None:
        """Add a value from another place."""
        self.values[key] = value
        self.places[key] = place

    def make(self, make: Callable[..., Any], **more: Any) -> Any:
        """Call ``make`` with the values as keyword arguments.

        Raises:
            ConfigurationError: a value is invalid; the message names the place of the key.
        """
        try:
            return make(**{**self.values, **more})
        except ConfigurationError as error:
            key = error.field.rpartition(".")[2]
            raise ConfigurationError(self.places.get(key, error.field), error.value, error.cure) from None


def _keys(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _parsed(text: str, kind: str) -> Any:
    """The text of a variable converted to ``kind``; other text is kept, and refused when values are checked."""
    if "bool" in kind:
        return WORDS.get(text.lower(), text)
    if "str" in kind:
        return text
    if "None" in kind and text.lower() == "none":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _variables() -> Iterator[tuple[str, str, str, str]]:
    """Names of variables, each with its table ("" for settings of the engine), its key and the type of its value."""
    for key, kind in ENGINE.items():
        if key != "enforce":  # a switch, which applies to all engines
            yield f"ATRION_{key.upper()}", "", key, kind
    for table, made in TABLES.items():
        for field in fields(made):
            if field.name != "adaptive":
                yield f"ATRION_{table.upper()}_{field.name.upper()}", table, field.name, str(field.type)


# --- reading -------------------------------------------------------------------------------------------------


def _read(source: ConfigSource | None) -> tuple[Any, Place]:
    if source is None or isinstance(source, Mapping):
        return source or {}, Place()
    path = Path(source)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            "config", str(path), f"give a TOML file that can be read ({error})"
        ) from error
    tool = data.get("tool", {}).get("atrion")
    if tool is not None:
        return tool, Place(path.name, ("tool", "atrion"))
    if path.name == "pyproject.toml":
        raise ConfigurationError("config", str(path), "add a table [tool.atrion] to it")
    return data, Place(path.name)


class Config:
    """Settings of an engine and its routes, from ``source`` overridden by ``environment``.

    Raises:
        ConfigurationError: the source cannot be read, or a key or value is invalid.
    """

    def __init__(self, source: ConfigSource | None, environment: Mapping[str, str]) -> None:
        data, place = _read(source)
        self.engine: Table = Table(data, place, (*ENGINE, *TABLES, "routes"))
        routes = self.engine.values.pop("routes", {})
        for name, table in self._tables(self.engine, environment).items():
            self.engine.values[name] = _made(table, name)
        self.routes: dict[str, Table] = {}
        within = place.within("routes")
        if not isinstance(routes, Mapping):
            raise ConfigurationError(within.outside(), routes, "give a table")
        for pattern in routes:
            route = Table(routes[pattern], within.within(pattern), (*ROUTE, *TABLES))
            for name in TABLES:
                if name in route.values:
                    route.values[name] = _made(_inner(route, name), name)
            self.routes[pattern] = route

    @staticmethod
    def _tables(engine: Table, environment: Mapping[str, str]) -> dict[str, Table]:
        """The tables of the engine from the source and the environment."""
        tables = {name: _inner(engine, name) for name in TABLES}
        for variable, name, key, kind in _variables():
            text = environment.get(variable, "").strip()
            if text:
                (tables[name] if name else engine).set(key, _parsed(text, kind), variable)
        _warn_of_misspelt(environment)
        return {name: table for name, table in tables.items() if table.values}


def _inner(table: Table, name: str) -> Table:
    return Table(table.values.get(name, {}), table.place.within(name), _keys(TABLES[name]))


def _made(table: Table, name: str) -> Any:
    if "adaptive" in table.values:
        adaptive = Table(table.values["adaptive"], table.place.within("adaptive"), _keys(AdaptiveBreak))
        table.values["adaptive"] = adaptive.make(AdaptiveBreak)
    return table.make(TABLES[name])


def _warn_of_misspelt(environment: Mapping[str, str]) -> None:
    """Unknown variables are not refused: Kubernetes sets some with this prefix for a service named atrion."""
    known = [*(variable for variable, *_ in _variables()), *OTHERS]
    for name in environment:
        if name.startswith("ATRION_") and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.85)
            if near:
                logger.warning("%s in the environment is not read; did you mean %s?", name, near[0])
