"""SQL statements, from the files in ``sql/``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, LiteralString

__all__ = ["migrations", "statement"]

_SQL = files("atrion_cluster.postgres") / "sql"


@cache
def statement(name: str) -> LiteralString:
    """The statement of a name."""
    text: Any = (_SQL / f"{name}.sql").read_text()  # from this package, so as trustworthy as a literal
    found: LiteralString = text
    return found


@cache
def migrations() -> dict[int, LiteralString]:
    """Migrations by their number, in order."""
    found = sorted(entry.name for entry in (_SQL / "migrations").iterdir() if entry.name.endswith(".sql"))
    return {int(name[:4]): statement(f"migrations/{name.removesuffix('.sql')}") for name in found}
