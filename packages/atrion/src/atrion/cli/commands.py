"""The available commands: those of this package, and those that other distributions add by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from atrion.errors import AtrionError

__all__ = ["ELSEWHERE", "GROUP", "declare", "found"]

GROUP = "atrion.commands"
"""Entry points of this group are functions that declare one command, of the entry point's name."""
OWN = tuple(
    EntryPoint(name, f"atrion.cli.{name}:add_parser", GROUP)
    for name in ("doctor", "init", "metrics", "migrate")
)
ELSEWHERE = {
    "demo": 'pip install "atrion[demo]"',
    "lab": 'pip install "atrion[lab]"',
    "license": "pip install atrion-cluster",
    "studio": "pip install atrion-studio",
    "top": "pip install atrion-studio",
}
"""Commands of other distributions, and what brings them."""


def found() -> dict[str, EntryPoint]:
    """The commands by name, sorted; other distributions cannot replace those of this package."""
    entries = {entry.name: entry for entry in (*entry_points(group=GROUP), *OWN)}
    return dict(sorted(entries.items()))


def declare(entry: EntryPoint, commands: Any) -> None:
    """Add a command to the subparsers.

    Raises:
        AtrionError: the distribution that has the command raised an exception.
    """
    try:
        entry.load()(commands)
        if entry.name not in commands.choices:
            raise LookupError(f"{entry.value} declares no such command")
    except (Exception, SystemExit) as error:  # a broken command of one distribution must not break the others
        whose = f" of {entry.dist.name}" if entry.dist else ""
        raise AtrionError(f"the command {entry.name}{whose} cannot be loaded: {error!r}") from error
