"""Checked access to the values of a TOML table; errors name the place of an unusable value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from atrion.errors import ConfigurationError
from atrion.physics.config import check_number

__all__ = ["Table"]

T = TypeVar("T")
REQUIRED: Any = object()


class Table:
    """A table at a ``place``, such as ``servers.api``; what was not asked for is unknown to :meth:`close`.

    Raises:
        ConfigurationError: it is no table.
    """

    def __init__(self, place: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise ConfigurationError(place, value, "give a table, such as { key = value }")
        self.place: str = place
        self._value: Mapping[str, Any] = value
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._value

    def at(self, key: str) -> str:
        """The place of a key."""
        return f"{self.place}.{key}" if self.place else key

    def refuse(self, key: str, cure: str) -> ConfigurationError:
        """The error that names the value of a key."""
        return ConfigurationError(self.at(key), self._value.get(key), cure)

    def get(self, key: str, default: Any = REQUIRED) -> Any:
        """Any value.

        Raises:
            ConfigurationError: there is none, and no default.
        """
        self._known.append(key)
        if key in self._value:
            return self._value[key]
        if default is REQUIRED:
            raise ConfigurationError(self.at(key), None, "it is missing: give it")
        return default

    def number(
        self,
        key: str,
        default: Any = REQUIRED,
        low: float = 0.0,
        high: float = math.inf,
        *,
        above: bool = False,
    ) -> Any:
        """A finite number in [low, high], or in (low, high] with ``above``; the default is not checked.

        Raises:
            ConfigurationError: it is none.
        """
        value = self.get(key, default)
        if key in self._value:
            check_number(self.at(key), value, low, high, above=above)
        return value

    def whole(self, key: str, default: Any = REQUIRED, low: int = 0, high: int = 1_000_000) -> Any:
        """A whole number in [low, high].

        Raises:
            ConfigurationError: it is none.
        """
        value = self.get(key, default)
        if key in self._value and (type(value) is not int or not low <= value <= high):
            raise self.refuse(key, f"give a whole number of at least {low} and at most {high}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false.

        Raises:
            ConfigurationError: it is neither.
        """
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, "give true or false")
        return value

    def text(self, key: str, default: Any = REQUIRED, among: tuple[str, ...] = ()) -> Any:
        """A text that is not empty, one of ``among`` where there are any.

        Raises:
            ConfigurationError: it is none.
        """
        value = self.get(key, default)
        if key in self._value:
            if not isinstance(value, str) or not value.strip():
                raise self.refuse(key, "give a text in quotes")
            if among and value not in among:
                raise self.refuse(key, f"use one of {', '.join(among)}")
        return value

    def items(self, key: str, default: Any = REQUIRED) -> list[Any]:
        """A list.

        Raises:
            ConfigurationError: it is none.
        """
        value = self.get(key, default)
        if not isinstance(value, list):
            raise self.refuse(key, "give a list, such as [1, 2]")
        return value

    def table(self, key: str, default: Any = REQUIRED) -> Table:
        """A table.

        Raises:
            ConfigurationError: it is none.
        """
        return Table(self.at(key), self.get(key, default))

    def tables(self, key: str, default: Any = REQUIRED) -> list[Table]:
        """A list of tables, each with its number in its place.

        Raises:
            ConfigurationError: it is none.
        """
        return [Table(f"{self.at(key)}[{at}]", each) for at, each in enumerate(self.items(key, default))]

    def each(self, read: Callable[[Table], T]) -> dict[str, T]:
        """What every entry reads as, itself a table."""
        return {key: read(self.table(key)) for key in self._value}

    def names(self) -> tuple[str, ...]:
        """The keys it has."""
        return tuple(self._value)

    def close(self) -> None:
        """Nothing more is known.

        Raises:
            ConfigurationError: there is a key that nobody asked for.
        """
        for key, value in self._value.items():
            if key not in self._known:
                known = ", ".join(dict.fromkeys(self._known))
                raise ConfigurationError(self.at(key), value, f"it is unknown here: use {known}")
