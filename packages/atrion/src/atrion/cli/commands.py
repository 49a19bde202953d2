"""The commands there are: the core's own, and those that other distributions bring by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from atrion.errors import AtrionError

__all__ = ["GROUP", "LAB", "declare", "found"]

GROUP = "atrion.commands"
"""Entry points of this group are functions that declare one command, of the entry point's name."""
OWN = EntryPoint("doctor", "atrion.cli.doctor:add_parser", GROUP)
LAB = ("demo", "lab")
"""Commands of atrion-lab; each comes with the extra of its name."""


def found() -> dict[str, EntryPoint]:
    """The commands by name, in the order of the alphabet; no distribution replaces the core's."""
    entries = {entry.name: entry for entry in (*entry_points(group=GROUP), OWN)}
    return dict(sorted(entries.items()))


def declare(entry: EntryPoint, commands: Any) -> None:
    """Add a command to the subparsers.

    Raises:
        AtrionError: whatever went wrong in the distribution that brings it.
    """
    try:
        entry.load()(commands)
        if entry.name not in commands.choices:
            raise LookupError(f"{entry.value} declares no such command")
    except (Exception, SystemExit) as error:  # anybody may register a command; none may break the others
        whose = f" of {entry.dist.name}" if entry.dist else ""
        raise AtrionError(f"the command {entry.name}{whose} cannot be loaded: {error!r}") from error
