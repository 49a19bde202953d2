"""Values as plain data, for JSON and logs."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["Plain"]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name.lower()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


class Plain:
    """A dataclass that turns into plain data."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields as data that ``json.dumps`` takes; members of enumerations become their names in lower case."""
        data: dict[str, Any] = _plain(self)
        return data
