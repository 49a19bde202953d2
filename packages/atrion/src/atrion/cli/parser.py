"""The parser of every command: errors suggest the nearest option, and examples keep their lines."""

from __future__ import annotations

import argparse
import difflib
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NoReturn

from atrion._secrets import without_licence_keys

__all__ = ["Parser", "examples"]


def examples(*lines: str) -> str:
    """The end of a command's help: one example per line."""
    return "\n".join(["examples:", *(f"  {line}" for line in lines)])


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose usage errors, which end with status 2, name the nearest option or choice.

    Subcommands are parsed by the same class. Descriptions are wrapped; the end of the help stays as it is written.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        description = options.get("description")
        if description is not None and "\n" not in description:
            options["description"] = textwrap.fill(description, 100)
        super().__init__(*arguments, **options)

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with status 2."""
        message = without_licence_keys(message)  # given as an argument by mistake
        near = self._nearest(message)
        super().error(message if near is None else f"{message}; did you mean {near}?")

    def _nearest(self, message: str) -> str | None:
        unknown = re.search(r"unrecognized arguments: (?:.* )?(--[\w-]+)", message)
        choice = re.search(r"invalid choice: '([^']+)' \(choose from (.*)\)", message)
        if unknown is not None:
            found = difflib.get_close_matches(unknown[1], [*self._options()], 1)
        elif choice is not None:
            found = difflib.get_close_matches(choice[1], re.findall(r"[^\s,']+", choice[2]), 1)
        else:
            found = []
        return found[0] if found else None

    def _options(self) -> Iterator[str]:
        """The long options of this command and its subcommands."""
        for action in self._actions:
            yield from (option for option in action.option_strings if option.startswith("--"))
            if isinstance(action.choices, dict):
                for command in action.choices.values():
                    if isinstance(command, Parser):
                        yield from command._options()
